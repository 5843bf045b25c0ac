"""Choosing content inside the platform: its request, and our signed answer. Pure.

Reference: LTI Deep Linking 2.0 §3.4 (settings), §3.5 (response) and §4 (content items).
"""

from __future__ import annotations

import html
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Protocol

from coursewareauthenticator.lti.claims import DEEP_LINKING, LTI, Claims
from coursewareauthenticator.lti.launch import (
    LONGEST_TEXT,
    Launch,
    LaunchRefused,
    Message,
    is_web_address,
    label,
    web_address,
)
from coursewareauthenticator.lti.registrations import Registration
from coursewareauthenticator.lti.roles import role_of
from coursewarehub.i18n import N_
from coursewarehub.model.roles import Role

RESOURCE_LINK: Final = "ltiResourceLink"
LIFETIME: Final = 300
"""Seconds for which an answer can be delivered."""
MAY_CHOOSE: Final = frozenset({Role.OWNER, Role.INSTRUCTOR})
_SETTINGS: Final = "deep_linking_settings"
_MOST: Final = 100


class Signs(Protocol):
    """A key of the tool's (`keys.ToolKey` is one)."""

    def sign(self, claims: dict[str, Any]) -> str:
        """A JWT of the claims, with the key's name in its header."""


@dataclass(frozen=True)
class Request:
    """What the platform lets somebody choose. `data` is None when it sent none; it goes back byte for byte."""

    return_url: str
    types: frozenset[str]
    targets: tuple[str, ...]
    multiple: bool
    line_items: bool
    auto_create: bool
    title: str | None = None
    text: str | None = None
    data: str | None = None

    @property
    def most(self) -> int:
        """How many links may be chosen: none where the platform takes no links to tools."""
        if RESOURCE_LINK not in self.types:
            return 0
        return _MOST if self.multiple else 1


@dataclass(frozen=True)
class LineItem:
    """A column for grades; `resource_id` is our own, by which a copy of the course is known again."""

    maximum: float
    label: str
    resource_id: str
    tag: str | None = None


@dataclass(frozen=True)
class Item:
    """A link to something of the course. Times have a zone; `width` and `height` are pixels in a frame."""

    url: str
    title: str
    text: str | None = None
    custom: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    line_item: LineItem | None = None
    available: tuple[datetime | None, datetime | None] = (None, None)
    submission: tuple[datetime | None, datetime | None] = (None, None)
    frame: tuple[int, int] | None = None
    new_window: bool = False


def read_request(launch: Launch, more_roles: Mapping[str, Role] = MappingProxyType({})) -> Request:
    """The settings of a deep linking launch; `more_roles` as in `roles.role_of`.

    Raises LaunchRefused 400 for another message or a setting that is missing or of another type, 403 for a person who
    may not choose content: only those who teach may.
    """
    if launch.message is not Message.DEEP_LINKING:
        raise LaunchRefused(400, "message_type", N_("`%(field)s` must be LtiDeepLinkingRequest to choose content."))
    if role_of(launch.roles, more_roles) not in MAY_CHOOSE:
        raise LaunchRefused(403, "roles", N_("Only those who teach this course may choose content: ask one of them."))
    settings = Claims(launch.claims).object(_SETTINGS, DEEP_LINKING)
    url = web_address(settings.get("deep_link_return_url"), f"{_SETTINGS}.deep_link_return_url")
    if url is None:
        raise _missing("deep_link_return_url")
    data = settings.get("data")
    if data is not None and not isinstance(data, str):
        raise _wrong("data", N_("text"))
    return Request(
        return_url=url,
        types=frozenset(_texts(settings, "accept_types")),
        targets=_texts(settings, "accept_presentation_document_targets"),
        multiple=_truth(settings, "accept_multiple", default=False),
        line_items=_truth(settings, "accept_lineitem", default=True),
        auto_create=_truth(settings, "auto_create", default=False),
        title=label(settings.get("title"), f"{_SETTINGS}.title"),
        text=label(settings.get("text"), f"{_SETTINGS}.text"),
        data=data,
    )


def answer(
    launch: Launch,
    request: Request,
    items: Sequence[Item],
    registration: Registration,
    now: float,
    *,
    message: str | None = None,
    error: str | None = None,
) -> dict[str, Any]:
    """The claims of the answer; without items it says that nothing was chosen.

    `message` and `error` are shown by the platform. Raises LaunchRefused 400 when there are more items than it takes,
    and ValueError for an item that cannot be right, which is ours.
    """
    if len(items) > request.most:
        raise LaunchRefused(
            400, "content_items", N_("The platform takes %(most)s links at once: choose fewer."), most=request.most
        )
    claims: dict[str, Any] = {
        "iss": registration.client_id,
        "aud": [registration.issuer],
        "iat": int(now),
        "exp": int(now) + LIFETIME,
        "nonce": secrets.token_urlsafe(24),
        f"{LTI}deployment_id": launch.deployment,
        f"{LTI}message_type": "LtiDeepLinkingResponse",
        f"{LTI}version": "1.3.0",
        f"{DEEP_LINKING}content_items": [_item(item, request) for item in items],
    }
    if request.data is not None:
        claims[f"{DEEP_LINKING}data"] = request.data
    said = {"msg": message, "errormsg": error}
    return claims | {f"{DEEP_LINKING}{name}": text for name, text in said.items() if text}


def page(request: Request, claims: dict[str, Any], key: Signs, nonce: str, words: str = "Continue") -> str:
    """A page that posts the signed answer by itself, or on a click where scripts do not run (§3.5.1).

    `nonce` is that of the page's content security policy, `words` what the button says.
    """
    url, token, name = (html.escape(text) for text in (request.return_url, key.sign(claims), nonce))
    return (
        f'<!doctype html><meta charset="utf-8"><form method="post" action="{url}">'
        f'<input type="hidden" name="JWT" value="{token}"><button>{html.escape(words)}</button></form>'
        f'<script nonce="{name}">document.forms[0].submit()</script>'
    )


def _item(item: Item, request: Request) -> dict[str, Any]:
    if not is_web_address(item.url) or not 0 < len(item.title) <= LONGEST_TEXT:
        raise ValueError("an item has a web address and a title")
    found: dict[str, Any] = {"type": RESOURCE_LINK, "url": item.url, "title": item.title}
    if item.text:
        found["text"] = item.text
    if item.custom:
        found["custom"] = dict(item.custom)
    if item.line_item is not None and request.line_items:
        found["lineItem"] = _line_item(item.line_item)
    for name, span in (("available", item.available), ("submission", item.submission)):
        if any(span):
            found[name] = _span(*span)
    if item.frame is not None:
        found["iframe"] = {"width": item.frame[0], "height": item.frame[1]}
    if item.new_window:
        found["window"] = {"targetName": "_blank"}
    return found


def _line_item(item: LineItem) -> dict[str, Any]:
    if item.maximum <= 0:
        raise ValueError("a line item has a maximum above 0")
    # Some platforms take whole numbers only.
    maximum = int(item.maximum) if item.maximum == int(item.maximum) else item.maximum
    found = {"scoreMaximum": maximum, "label": item.label, "resourceId": item.resource_id}
    return found | ({"tag": item.tag} if item.tag else {})


def _span(start: datetime | None, end: datetime | None) -> dict[str, str]:
    times = {"startDateTime": start, "endDateTime": end}
    if any(time is not None and time.tzinfo is None for time in times.values()):
        raise ValueError("times have a zone")
    return {name: time.isoformat() for name, time in times.items() if time is not None}


def _texts(settings: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = settings.get(name)
    if value is None:
        raise _missing(name)
    if not isinstance(value, list) or len(value) > _MOST or not all(isinstance(one, str) for one in value):
        raise _wrong(name, N_("a list of texts"))
    return tuple(value)


def _truth(settings: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """Some platforms write truth values as text."""
    value = settings.get(name)
    if value is None:
        return default
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise _wrong(name, N_("true or false"))
    return value


def _missing(name: str) -> LaunchRefused:
    return LaunchRefused(
        400,
        f"{_SETTINGS}.{name}",
        N_("The request has no `%(field)s`: have the tool in the platform set up anew."),
    )


def _wrong(name: str, kind: str) -> LaunchRefused:
    return LaunchRefused(
        400,
        f"{_SETTINGS}.{name}",
        N_("`%(field)s` must be %(kind)s: report it to the platform's operator."),
        kind=kind,
    )
