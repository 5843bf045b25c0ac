"""Reading the claims of a verified token: each has the type that the specification gives it. Pure.

References: LTI Core 1.3 §5.3 and §5.4, AGS 2.0 §3.1, NRPS 2.0 §3.6.1.1, LTI 1.1 outcomes in LTI 1.3.
Every method raises LaunchRefused 400 with the claim's name, and nothing else, when the type is another.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from coursewareauthenticator.lti.launch import (
    LONGEST_TEXT,
    Context,
    Grades,
    LaunchRefused,
    Outcomes,
    Person,
    ResourceLink,
    Roster,
    Services,
    email,
    identifier,
    label,
    web_address,
)
from coursewarehub.i18n import N_

LTI: Final = "https://purl.imsglobal.org/spec/lti/claim/"
DEEP_LINKING: Final = "https://purl.imsglobal.org/spec/lti-dl/claim/"
GRADES: Final = "https://purl.imsglobal.org/spec/lti-ags/claim/endpoint"
ROSTER: Final = "https://purl.imsglobal.org/spec/lti-nrps/claim/namesroleservice"
OUTCOMES: Final = "https://purl.imsglobal.org/spec/lti-bo/claim/basicoutcome"
_MOST: Final = 200
"""Roles, scopes or custom parameters."""


class Claims:
    """The claims of one token; `all` has them as they came."""

    def __init__(self, claims: Mapping[str, Any]) -> None:
        self.all: Mapping[str, Any] = MappingProxyType(dict(claims))

    def lti(self, name: str) -> Any:
        """A claim of LTI Core by its short name; LaunchRefused 400 when it is missing."""
        value = self.all.get(LTI + name)
        if value is None:
            raise _missing(name)
        return value

    def text(self, name: str) -> str:
        """A text that must be there, at most 4096 characters."""
        value = self.all.get(name)
        if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_TEXT:
            raise _missing(name) if value in (None, "") else _wrong(name, N_("text"))
        return value

    def time(self, name: str, *, optional: bool = False) -> float:
        """Seconds since 1970 (RFC 7519 §2); minus infinity when it is optional and absent."""
        value = self.all.get(name)
        if value is None:
            if optional:
                return -math.inf
            raise _missing(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
            raise _wrong(name, N_("a number of seconds since 1970"))
        return value

    def audience(self) -> tuple[str, ...]:
        """`aud`: one client or a list of them."""
        value = self.all.get("aud")
        return self._texts([value] if isinstance(value, str) else value, "aud")

    def object(self, name: str, prefix: str = LTI) -> Mapping[str, Any]:
        """A claim that is an object; empty when it is absent."""
        value = self.all.get(prefix + name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise _wrong(name or prefix.rpartition("/")[2], N_("an object"))
        return value

    def roles(self) -> tuple[str, ...]:
        """All roles; the list must be there and may be empty."""
        return self._texts(self.lti("roles"), "roles")

    def context(self) -> Context | None:
        """The platform's course; without the claim there is none."""
        claim = self.object("context")
        if not claim:
            return None
        types = claim.get("type")
        return Context(
            identifier(claim.get("id"), "context.id"),
            label(claim.get("label"), "context.label"),
            label(claim.get("title"), "context.title"),
            self._texts([] if types is None else types, "context.type"),
        )

    def resource_link(self, *, required: bool) -> ResourceLink | None:
        """The link; its id must be there in a resource link launch."""
        claim = self.object("resource_link")
        if not claim and not required:
            return None
        if claim.get("id") is None:
            raise _missing("resource_link.id")
        return ResourceLink(
            identifier(claim["id"], "resource_link.id"),
            label(claim.get("title"), "resource_link.title"),
            label(claim.get("description"), "resource_link.description"),
        )

    def target(self, *, required: bool) -> str | None:
        """The signed address to open, which `target` looks at further."""
        value = web_address(self.all.get(LTI + "target_link_uri"), "target_link_uri")
        if value is None and required:
            raise _missing("target_link_uri")
        return value

    def custom(self) -> Mapping[str, str]:
        """What the author of the link has set; numbers and truth values as JSON writes them."""
        claim = self.object("custom")
        if len(claim) > _MOST:
            raise _wrong("custom", N_("at most 200 parameters"))
        found = {}
        for name, value in claim.items():
            if value is not None and not isinstance(value, str | int | float):
                raise _wrong(f"custom.{name}", N_("text"))
            found[name] = value if isinstance(value, str) else "" if value is None else json.dumps(value)
        return found

    def return_url(self) -> str | None:
        """Where the platform wants people back."""
        claim = self.object("launch_presentation")
        return web_address(claim.get("return_url"), "launch_presentation.return_url")

    def locale(self) -> str | None:
        """The language of the launch, or of the person."""
        claim = self.object("launch_presentation")
        name = "launch_presentation.locale"
        return label(claim.get("locale"), name) or label(self.all.get("locale"), "locale")

    def person(self) -> Person:
        """Names and e-mail address, as far as the platform shares them."""
        full, given, family = (label(self.all.get(name), name) for name in ("name", "given_name", "family_name"))
        joined = " ".join(part for part in (given, family) if part) or None
        return Person(full or joined, given, family, email(self.all.get("email"), "email"))

    def for_user(self, *, required: bool) -> str | None:
        """Whose work is to be reviewed."""
        claim = self.object("for_user")
        if not claim and not required:
            return None
        return identifier(claim.get("user_id"), "for_user.user_id")

    def services(self) -> Services:
        """Grades, roster and outcomes, where the platform offers them."""
        return Services(self._outcomes(), self._grades(), self._roster())

    def _outcomes(self) -> Outcomes | None:
        claim = self.object("", OUTCOMES)
        url = web_address(claim.get("lis_outcome_service_url"), "basicoutcome.lis_outcome_service_url")
        sourcedid = claim.get("lis_result_sourcedid")
        if sourcedid is not None and not isinstance(sourcedid, str):
            raise _wrong("basicoutcome.lis_result_sourcedid", N_("text"))
        return Outcomes(url, sourcedid) if url and sourcedid else None

    def _grades(self) -> Grades | None:
        claim = self.object("", GRADES)
        if not claim:
            return None
        scopes = claim.get("scope")
        return Grades(
            frozenset(self._texts([] if scopes is None else scopes, "endpoint.scope")),
            web_address(claim.get("lineitems"), "endpoint.lineitems"),
            web_address(claim.get("lineitem"), "endpoint.lineitem"),
        )

    def _roster(self) -> Roster | None:
        claim = self.object("", ROSTER)
        url = web_address(claim.get("context_memberships_url"), "namesroleservice.context_memberships_url")
        versions = claim.get("service_versions")
        found = self._texts([] if versions is None else versions, "namesroleservice.service_versions")
        return Roster(url, found) if url else None

    @staticmethod
    def _texts(value: Any, name: str) -> tuple[str, ...]:
        if not isinstance(value, list) or len(value) > _MOST or not all(isinstance(one, str) for one in value):
            raise _missing(name) if value is None else _wrong(name, N_("a list of texts"))
        return tuple(value)


def _missing(name: str) -> LaunchRefused:
    return LaunchRefused(400, name, N_("The launch has no `%(field)s`: have the link in the platform set up anew."))


def _wrong(name: str, kind: str) -> LaunchRefused:
    return LaunchRefused(
        400, name, N_("`%(field)s` must be %(kind)s: report it to the platform's operator."), kind=kind
    )
