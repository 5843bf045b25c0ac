"""What a launch says of itself before anybody has verified it: which platform, which context, which course. Pure.

References: LTI 1.1 implementation guide §3; 1EdTech Security Framework 1.0 §5.1.1; LTI Core 1.3 §5.3 and §5.4.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from coursewarehub.wire import paths

LARGEST: Final = 64 * 1024
"""Bytes of query and form together."""
_MOST_PARAMETERS: Final = 1000
_LONGEST: Final = 4096
_CLAIM: Final = "https://purl.imsglobal.org/spec/lti/claim/"
_TEACHING: Final = frozenset({"Instructor", "ContentDeveloper", "Administrator", "TeachingAssistant"})
_COURSE: Final = re.compile(r"[a-z0-9-]{1,64}", re.ASCII)
# What a link can say, by its custom parameters or in its address.
_NAMES_A_COURSE: Final = ("custom_course", "course")
_NAMES_A_SERVER: Final = ("course_server", "custom_course_server")
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Asked:
    """What a launch says of itself, unverified.

    `key` is a consumer key of LTI 1.1; `issuer` and `clients` (any of them) are of LTI 1.3. `course` is named by the
    author of the link; `server` is what links made for NII's CoursewareHub call a course (`course_server`).
    `teaches`: the roles have one of those who teach; `title` is what the platform calls its course.
    """

    key: str | None = None
    issuer: str | None = None
    clients: tuple[str, ...] = ()
    context: str | None = None
    course: str | None = None
    server: str | None = None
    teaches: bool = False
    title: str | None = None

    @property
    def method(self) -> str:
        """The method of the platform in the configuration."""
        return "lti13" if self.key is None else "lti11"

    @property
    def platform(self) -> str:
        """The platform in the words of the launch."""
        if self.key is not None:
            return self.key
        return " ".join((self.issuer or "", *self.clients)).strip()


class Unreadable(Exception):
    """The request is no launch; `field` is what it lacks."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


def pairs(encoded: bytes) -> Pairs:
    """Names and values of a query or form in order, blanks and duplicates kept.

    Raises Unreadable for more than 1000 of them.
    """
    try:
        return parse_qsl(encoded.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise Unreadable("parameters") from None


def asked_by_form(form: Pairs, query: Pairs = ()) -> Asked:
    """What a launch of LTI 1.1 says (a form, perhaps with more in the query). Raises Unreadable without a key."""
    said = _first([*form, *query])
    key = said.get("oauth_consumer_key")
    if not key:
        raise Unreadable("oauth_consumer_key")
    return Asked(
        key=key,
        context=said.get("context_id") or None,
        course=_course(said),
        server=_server(said),
        teaches=_teaches(said.get("roles", "").split(",")),
        title=said.get("context_title") or said.get("context_label") or None,
    )


def asked_by_login(parameters: Pairs, query: Pairs = ()) -> Asked:
    """What the beginning of a login of LTI 1.3 says. Raises Unreadable without `iss`."""
    said = _first([*parameters, *query])
    issuer = said.get("iss")
    if not issuer:
        raise Unreadable("iss")
    clients = (said["client_id"],) if said.get("client_id") else ()
    of_target = _of_address(said.get("target_link_uri", ""))
    named = _course(said) or of_target[0]
    return Asked(issuer=issuer, clients=clients, course=named, server=_server(said) or of_target[1])


def asked_by_token(form: Pairs, query: Pairs = ()) -> Asked:
    """What the end of a login of LTI 1.3 says, by its token. Raises Unreadable when there is no token to read."""
    said = _first(form)
    claims = _payload(said.get("id_token", ""))
    issuer, audience = claims.get("iss"), claims.get("aud")
    clients = [claims.get("azp"), *(audience if isinstance(audience, list) else [audience])]
    texts = tuple(dict.fromkeys(each for each in clients if isinstance(each, str) and each))[:20]
    if not isinstance(issuer, str) or not issuer:
        raise Unreadable("id_token")
    context, custom = claims.get(f"{_CLAIM}context"), claims.get(f"{_CLAIM}custom")
    context_id = context.get("id") if isinstance(context, dict) else None
    of_link = (
        {name: value for name, value in custom.items() if isinstance(value, str)} if isinstance(custom, dict) else {}
    )
    in_query = _first(query)
    target = claims.get(f"{_CLAIM}target_link_uri")
    of_target = _of_address(target) if isinstance(target, str) else (None, None)
    return Asked(
        issuer=issuer,
        clients=texts,
        context=context_id if isinstance(context_id, str) and context_id else None,
        course=_course(of_link) or of_target[0] or _course(in_query),
        server=_server(of_link) or of_target[1] or _server(in_query),
        teaches=_teaches(claims.get(f"{_CLAIM}roles")),
        title=_title(context),
    )


def asked_by_state(form: Pairs) -> Asked:
    """Which platform a login of LTI 1.3 began at, by its `state` (`coursewareauthenticator.lti.login`).

    Raises Unreadable when it is none of ours.
    """
    part = _first(form).get("state", "").partition(".")[0]
    try:
        issuer, client, *_ = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise Unreadable("id_token") from None
    if not isinstance(issuer, str) or not isinstance(client, str):
        raise Unreadable("id_token")
    return Asked(issuer=issuer, clients=(client,))


def _title(context: object) -> str | None:
    """What the platform calls its course."""
    names = [context.get("title"), context.get("label")] if isinstance(context, dict) else []
    return next((name for name in names if isinstance(name, str) and name), None)


def _teaches(roles: object) -> bool:
    names = [role for role in roles if isinstance(role, str)] if isinstance(roles, list) else []
    return any(role.rpartition("#")[2].rpartition("/")[2] in _TEACHING for role in names)


def _first(found: Pairs) -> dict[str, str]:
    """The first value of each name."""
    said: dict[str, str] = {}
    for name, value in found:
        said.setdefault(name, value)
    return said


def _course(said: Mapping[str, str]) -> str | None:
    """The course that is named, None when none is."""
    for name in _NAMES_A_COURSE:
        if value := said.get(name):
            return value[:_LONGEST]
    return None


def _server(said: Mapping[str, str]) -> str | None:
    """What `course_server` says, None when it says nothing."""
    for name in _NAMES_A_SERVER:
        if value := said.get(name):
            return value[:_LONGEST]
    return None


def _of_address(url: str) -> tuple[str | None, str | None]:
    """The course that an address is below or names in its query, and what `course_server` in it says."""
    try:
        parts = urlsplit(url[:_LONGEST])
        said = _first(parse_qsl(parts.query, max_num_fields=100))
    except ValueError:
        return None, None
    below = paths.course_of(parts.path)
    return (below if below and _COURSE.fullmatch(below) else None) or _course(said), _server(said)


def _payload(token: str) -> dict[str, Any]:
    """The claims of a token, unverified. Raises Unreadable."""
    part = token.split(".", 2)[1] if token.count(".") == 2 else ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError, binascii.Error):
        raise Unreadable("id_token") from None
    if not isinstance(claims, dict):
        raise Unreadable("id_token")
    return claims
