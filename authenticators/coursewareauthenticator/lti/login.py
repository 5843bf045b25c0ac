"""The login of LTI 1.3, which a platform starts: its request, our answer, and what comes back. Pure.

Reference: 1EdTech Security Framework 1.0 §5.1 (OpenID Connect launch).

Between the two requests nothing is stored: `state` carries what has to be known, sealed with a secret of the site and
tied to one browser, so that no stranger can fill a table and any number of launches go side by side. What is used up,
in `nonces`, is the nonce of a launch that was verified.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from coursewareauthenticator.lti.launch import LaunchRefused, web_address
from coursewareauthenticator.lti.registrations import Registrations
from coursewareauthenticator.lti.tokens import strict_json
from coursewarehub.i18n import N_

LIFETIME: Final = 3600
"""Seconds that a login may take, with detours through an identity provider."""
_LONGEST_PARAMETER: Final = 8192
_STORAGE_TARGET: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
Parameters = Mapping[str, Sequence[str]]
"""Of a form or query: each name with all its values."""


@dataclass(frozen=True)
class Pending:
    """A login on its way, as `state` carries it.

    `expires` is in seconds since 1970, `browser` a digest, `course` the id of the course that it is for.
    """

    issuer: str
    client_id: str
    nonce: str
    expires: int
    browser: str
    course: str = ""

    def check_browser(self, browser: str | None) -> None:
        """Raise LaunchRefused 401 unless the launch ends in the browser that began it."""
        if browser is None or not hmac.compare_digest(self.browser, _digest(browser)):
            raise LaunchRefused(
                401,
                "state",
                N_(
                    "This browser has not begun this launch, or keeps no cookies inside other pages: "
                    "open the link in a window of its own."
                ),
            )


@dataclass(frozen=True)
class Login:
    """Where to send the browser. `storage_target` names the platform's frame that can keep `state` for us."""

    url: str
    state: str
    nonce: str
    storage_target: str | None = None


def begin_login(
    parameters: Parameters,
    registrations: Registrations,
    redirect_uri: str,
    secret: bytes,
    browser: str,
    now: float,
    course: str = "",
) -> Login:
    """Answer the platform's request to log somebody in (Security Framework §5.1.1.1 and §5.1.1.2).

    `redirect_uri` is the public address of the launch, `secret` seals `state`, `browser` is a random value that the
    browser keeps in a cookie, `course` the id of the course that it is for. Raises LaunchRefused 400 or 403.
    """
    issuer, hint = _one(parameters, "iss"), _one(parameters, "login_hint")
    web_address(_one(parameters, "target_link_uri"), "target_link_uri")
    registration = registrations.find(issuer, _optional(parameters, "client_id"))
    if (deployment := _optional(parameters, "lti_deployment_id")) is not None:
        registration.check_deployment(deployment, "lti_deployment_id")
    nonce = secrets.token_urlsafe(24)
    pending = Pending(issuer, registration.client_id, nonce, int(now) + LIFETIME, _digest(browser), course)
    state = seal(pending, secret)
    query = {
        "scope": "openid",
        "response_type": "id_token",
        "response_mode": "form_post",
        "prompt": "none",
        "client_id": registration.client_id,
        "redirect_uri": redirect_uri,
        "login_hint": hint,
        "state": state,
        "nonce": nonce,
    }
    if (message_hint := _optional(parameters, "lti_message_hint")) is not None:
        query["lti_message_hint"] = message_hint
    target = _optional(parameters, "lti_storage_target")
    storage = target if target is not None and _STORAGE_TARGET.fullmatch(target) else None
    return Login(_with_query(registration.auth_url, query), state, nonce, storage)


def _with_query(url: str, query: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query="&".join(part for part in (parts.query, urlencode(query)) if part)))


def seal(pending: Pending, secret: bytes) -> str:
    """`state` for a login: readable, but nobody without the secret can make one."""
    fields = [pending.issuer, pending.client_id, pending.nonce, pending.expires, pending.browser, pending.course]
    body = base64.urlsafe_b64encode(json.dumps(fields).encode()).rstrip(b"=")
    return f"{body.decode()}.{_mac(body, secret)}"


def unseal(state: str, secret: bytes, now: float) -> Pending:
    """The login that `state` belongs to. Raises LaunchRefused 401 when it is not of this hub or too old."""
    body, _, mac = state.partition(".")
    if not hmac.compare_digest(_mac(body.encode("utf-8", "replace"), secret).encode(), mac.encode("utf-8", "replace")):
        raise LaunchRefused(401, "state", N_("This launch was not begun here: open the link in your course again."))
    issuer, client_id, nonce, expires, browser, course = strict_json(
        base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    )
    if now > expires:
        raise LaunchRefused(401, "state", N_("This launch took more than an hour: open the link in your course again."))
    return Pending(issuer, client_id, nonce, expires, browser, course)


def _mac(body: bytes, secret: bytes) -> str:
    return hmac.new(secret, b"lti13 state\0" + body, hashlib.sha256).hexdigest()


def _digest(browser: str) -> str:
    return hashlib.sha256(browser.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Callback:
    """What the platform posts at the end (Security Framework §5.1.1.3)."""

    state: str
    id_token: str


def read_callback(parameters: Parameters) -> Callback:
    """State and token. Raises LaunchRefused 400; with the platform's own words when it has refused the login."""
    if (error := _optional(parameters, "error")) is not None:
        raise LaunchRefused(
            400,
            "error",
            N_("The platform has refused the login: %(error)s %(description)s. Log in there and try again."),
            error=error,
            description=_optional(parameters, "error_description") or "",
        )
    return Callback(_one(parameters, "state"), _one(parameters, "id_token", longest=None))


def _one(parameters: Parameters, name: str, longest: int | None = _LONGEST_PARAMETER) -> str:
    value = _optional(parameters, name, longest)
    if value is None:
        raise LaunchRefused(
            400, name, N_("The request has no `%(field)s`: open the link in your course, or have it set up anew.")
        )
    return value


def _optional(parameters: Parameters, name: str, longest: int | None = _LONGEST_PARAMETER) -> str | None:
    """The one value; None when it is absent or empty."""
    values = parameters.get(name, ())
    if len(values) > 1:
        raise LaunchRefused(400, name, N_("`%(field)s` was sent more than once."))
    value = values[0] if values else ""
    if longest is not None and len(value) > longest:
        raise LaunchRefused(413, name, N_("`%(field)s` is longer than 8192 characters."))
    try:
        value.encode()
    except UnicodeEncodeError:
        raise LaunchRefused(400, name, N_("`%(field)s` is not valid UTF-8.")) from None
    return value or None
