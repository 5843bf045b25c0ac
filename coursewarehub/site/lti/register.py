"""The address where a platform registers itself (LTI Dynamic Registration 1.0), with a one-time link of the operator's.

The platform's page opens it in a frame or window with two parameters: where the platform describes itself, and a token
of its own. Who is there is asked once; then the platform is asked, told, and stored. A link that led to nothing holds
good still.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from coursewareauthenticator.lti.launch import is_web_address
from coursewarehub.i18n import N_
from coursewarehub.model import ConfigurationError
from coursewarehub.model.platforms import platform_text
from coursewarehub.site.lti import pages
from coursewarehub.site.lti.asked import LARGEST, Unreadable, pairs
from coursewarehub.site.lti.dynamic import (
    Platform,
    Registered,
    RegistrationRefused,
    read_configuration,
    read_registration,
    refused,
    registration,
)
from coursewarehub.site.lti.endpoints import FRAMED, Arrival
from coursewarehub.site.lti.fetch import Fetcher, FetchFailed, as_object
from coursewarehub.site.lti.pages import Notice
from coursewarehub.site.lti.tool import SCOPES, tool_of
from coursewarehub.state.lti_links import Link
from coursewarehub.wire import paths

log = logging.getLogger("coursewarehub.site.lti")

_ASKED: Final = ("openid_configuration", "registration_token")
_LONGEST: Final = 8192


class Register(Arrival):
    """`/lti/register/<token>`: a page with one button, and what the button does."""

    def get(self, token: str = "") -> None:
        """Say with whom, and ask."""
        if not token:
            self.say(Notice.NEEDS_LINK)
            return
        link = self.lti.links.look(token, time.time())
        if link is None:
            self.say(Notice.LINK_OVER)
            return
        if (fields := self._fields(self.request.query.encode())) is None:
            return
        page = pages.register_page(
            self.language,
            site_title=self.site_title,
            host=_host(fields),
            name=link.name,
            action=f"{paths.LTI}register/{token}",
            fields=list(fields.items()),
        )
        self.finish(page)

    async def post(self, token: str = "") -> None:
        """Register, and use up the link if the platform has accepted us."""
        if not token:
            self.say(Notice.NEEDS_LINK)
            return
        if self.read() is None or (fields := self._fields(bytes(self.body))) is None:
            return
        link = self.lti.links.take(token, time.time())
        if link is None:
            self.say(Notice.LINK_OVER)
            return
        is_accepted = False
        try:
            platform, registered = await self._register(link, fields)
            is_accepted = True
            await asyncio.to_thread(self._store, link, platform, registered)
        except (FetchFailed, RegistrationRefused) as error:
            log.warning("registering the platform %s failed: %s", link.name, error)
            self._failed(error, again=None if is_accepted else f"{paths.LTI}register/{token}", fields=fields)
        else:
            log.info("the platform %s (%s) has registered itself", link.name, platform.issuer)
            self._done(link, fields)
        finally:
            if not is_accepted:
                self.lti.links.give_back(token)

    def _fields(self, encoded: bytes) -> dict[str, str] | None:
        """What the platform gave with the link; None when that was answered with a notice."""
        try:
            found = dict(pairs(encoded[:LARGEST]))
        except Unreadable as lacking:
            self.say(Notice.NO_LAUNCH, field=lacking.field)
            return None
        fields = {name: found[name] for name in _ASKED if found.get(name)}
        if not fields:
            self.say(Notice.LINK_FOR_PLATFORM)
            return None
        if not is_web_address(fields.get("openid_configuration", "")) or any(map(_is_long, fields.values())):
            self.say(Notice.NO_LAUNCH, field="openid_configuration")
            return None
        return fields

    async def _register(self, link: Link, fields: Mapping[str, str]) -> tuple[Platform, Registered]:
        """Ask the platform who it is, and tell it who we are. Raises FetchFailed and RegistrationRefused."""
        fetcher = self.lti.fetcher(frozenset([link.private_host] if link.private_host else []))
        url, token = fields["openid_configuration"], fields.get("registration_token")
        # Canvas wants its token for the configuration too.
        is_production = self.catalogue.site.mode == "production"
        platform = read_configuration(await fetcher.json(url, token=token), url, secure=is_production)
        addresses = self.lti.addresses
        document = registration(tool_of(self.catalogue.site, addresses), addresses.callbacks, platform, SCOPES)
        return platform, read_registration(await _told(fetcher, platform.registration_url, document, token))

    def _store(self, link: Link, platform: Platform, registered: Registered) -> None:
        """Write the platform's file. Raises RegistrationRefused when that cannot be."""
        values = {
            "method": "lti13",
            "issuer": platform.issuer,
            "client_id": registered.client_id,
            "auth_url": platform.auth_url,
            "jwks_url": platform.jwks_url,
            "token_url": platform.token_url,
            "token_audience": platform.audience,
        }
        try:
            self.lti.add_platform(link.name, platform_text(link.name, values))
        except (ConfigurationError, OSError) as error:
            log.error("the file of the platform %s cannot be written: %s", link.name, error)
            raise RegistrationRefused(
                N_(
                    "The platform has registered this site, but it could not be stored here (%(why)s): "
                    "remove the tool there, and start anew with another link."
                ),
                why=error,
            ) from None

    def _failed(self, error: FetchFailed | RegistrationRefused, again: str | None, fields: Mapping[str, str]) -> None:
        """Say why; `again` is where to try once more, None when the link is used up."""
        self.set_status(502)
        page = pages.failed_page(
            self.language,
            site_title=self.site_title,
            template=error.template,
            values=error.values,
            again=again,
            fields=list(fields.items()),
        )
        self.finish(page)

    def _done(self, link: Link, fields: Mapping[str, str]) -> None:
        nonce = secrets.token_urlsafe(16)
        self.set_header("Content-Security-Policy", f"{FRAMED}; script-src 'nonce-{nonce}'")
        page = pages.registered_page(
            self.language, site_title=self.site_title, host=_host(fields), name=link.name, script_nonce=nonce
        )
        self.finish(page)


async def _told(fetcher: Fetcher, url: str, document: Mapping[str, Any], token: str | None) -> Mapping[str, Any]:
    """The platform's answer to a registration. Raises FetchFailed, and RegistrationRefused in its own words."""
    answer = await fetcher.ask(url, document=document, token=token, refusals=True)
    if answer.status < 400:
        return as_object(url, answer.body)
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        # Moodle says it in plain text.
        said = {"message": answer.body[:200].decode("utf-8", "replace")}
    raise refused(said if isinstance(said, dict) else {}, answer.status)


def _host(fields: Mapping[str, str]) -> str:
    return urlsplit(fields["openid_configuration"]).netloc


def _is_long(text: str) -> bool:
    return len(text) > _LONGEST
