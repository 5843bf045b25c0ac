"""What a launch says, the same for every version of LTI, and how one is refused. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit, urlunsplit

from coursewarehub.i18n import N_

LONGEST_ID: Final = 255
"""Characters of an identifier: of a user, a context, a resource link, a deployment, a nonce."""
LONGEST_TEXT: Final = 4096
"""Characters of a title, a name, an address."""
LARGEST_BODY: Final = 64 * 1024
"""Bytes of a request that is looked at."""
LONGEST_SHOWN: Final = 80
# Characters that turn the direction of what follows, so that a name could rewrite the text around it.
_TURNING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
T = TypeVar("T")


class LaunchRefused(Exception):
    """The only exception of this package for what a platform or a browser sent.

    `status` is the HTTP status, `field` the parameter, claim or header that is wrong, `template` one sentence that
    names the fix, with `%(name)s` for each of `values`; a translation takes the place of the template.
    """

    def __init__(self, status: int, field: str, template: str, **values: object) -> None:
        self.status = status
        self.field = field
        self.template = template
        self.values = {name: shown(value) for name, value in {"field": field, **values}.items()}
        super().__init__(self.sentence)

    @property
    def sentence(self) -> str:
        """The sentence in English."""
        return self.template % self.values

    def translated(self, gettext: Callable[[str], str]) -> str:
        """The sentence in the language of `gettext`; so are those of its values that stand for words of ours."""
        return gettext(self.template) % {name: value and gettext(value) for name, value in self.values.items()}


class UnknownKey(LaunchRefused):
    """The platform's key set, as far as it is known, has no such key: worth fetching it again, once."""


class BadSignature(LaunchRefused):
    """The signature does not fit the platform's key of that name: worth fetching the key set again, once."""


def shown(value: object) -> str:
    """What of a value may stand in a message or a log line: one short line of visible characters."""
    text = str(value)
    line = "".join(char if unicodedata.category(char)[0] not in "CZ" or char == " " else "?" for char in text[:200])
    return line if len(line) <= LONGEST_SHOWN else f"{line[:LONGEST_SHOWN]}..."


class Message(StrEnum):
    """What a launch is for."""

    RESOURCE_LINK = "resource link"
    DEEP_LINKING = "deep linking"
    SUBMISSION_REVIEW = "submission review"


@dataclass(frozen=True)
class Once:
    """What must be used up in `nonces.NonceStore` before the launch counts.

    `expires` is in seconds since 1970: until then the store has to remember.
    """

    owner: str
    value: str
    expires: int


@dataclass(frozen=True)
class Former:
    """Who the person was under LTI 1.1, proved with the secret of that consumer."""

    registration: str
    subject: str
    resource_link: str | None = None


@dataclass(frozen=True)
class Person:
    """Attributes of a person, for showing; none of them says who somebody is."""

    name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    email: str | None = None


@dataclass(frozen=True)
class Context:
    """The platform's course."""

    id: str
    label: str | None = None
    title: str | None = None
    types: tuple[str, ...] = ()


@dataclass(frozen=True)
class ResourceLink:
    """The place in the platform's course where the person has clicked."""

    id: str
    title: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class Outcomes:
    """Basic Outcomes 1.1: where to send one grade for one person; `sourcedid` is kept byte for byte."""

    url: str
    sourcedid: str


@dataclass(frozen=True)
class Grades:
    """Assignment and Grade Services 2.0: the addresses and what may be done there."""

    scopes: frozenset[str]
    lineitems: str | None
    lineitem: str | None


@dataclass(frozen=True)
class Roster:
    """Names and Role Provisioning Services 2.0."""

    url: str
    versions: tuple[str, ...]


@dataclass(frozen=True)
class Services:
    """What the platform offers for this launch."""

    outcomes: Outcomes | None = None
    grades: Grades | None = None
    roster: Roster | None = None


@dataclass(frozen=True)
class Launch:
    """One launch, all of it signed by the platform.

    `registration` and `subject` together say who it is (`identity.account`); `subject` is None for a guest.
    `roles` are as the platform wrote them (`roles.role_of` reads them). `custom` has what the author of the link set.
    `parameters` are all parameters of LTI 1.1 but OAuth's, `claims` all claims of LTI 1.3. What is personal or lets
    grades be sent is not in its `repr`, which may end in a log.
    """

    version: str
    message: Message
    registration: str
    subject: str | None
    once: Once
    roles: tuple[str, ...] = ()
    deployment: str | None = None
    context: Context | None = None
    resource_link: ResourceLink | None = None
    target_link_uri: str | None = None
    custom: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    return_url: str | None = None
    locale: str | None = None
    services: Services = field(default=Services(), repr=False)
    person: Person = field(default=Person(), repr=False)
    for_user: str | None = None
    former: Former | None = None
    parameters: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _NOTHING, repr=False)
    claims: Mapping[str, Any] = field(default_factory=lambda: _NOTHING, repr=False)


def first(values: Iterable[T]) -> T | None:
    """The first of some values, or None."""
    return next(iter(values), None)


def identifier(value: object, name: str) -> str:
    """An identifier as the platform means it, untouched.

    Raises LaunchRefused 400 unless it is text of 1 to 255 characters without control characters or half characters.
    """
    if not isinstance(value, str):
        raise LaunchRefused(
            400, name, N_("`%(field)s` must be text: correct it in the platform's settings of this tool.")
        )
    if not 1 <= len(value) <= LONGEST_ID:
        raise LaunchRefused(
            400, name, N_("`%(field)s` must have 1 to 255 characters, not %(length)s."), length=len(value)
        )
    if any(unicodedata.category(char) in {"Cc", "Cs"} for char in value):
        raise LaunchRefused(400, name, N_("`%(field)s` must not have control characters in it."))
    return value


def optional_identifier(value: object, name: str) -> str | None:
    """As `identifier`; None when it is absent or empty."""
    return None if value is None or value == "" else identifier(value, name)


def label(value: object, name: str) -> str | None:
    """A text for showing: controls, also those of direction, out; at most 4096 characters; None when nothing is left.

    Raises LaunchRefused 400 when it is not text at all.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise LaunchRefused(
            400, name, N_("`%(field)s` must be text: correct it in the platform's settings of this tool.")
        )
    visible = (" " if unicodedata.category(char) in {"Cc", "Cs"} or char in _TURNING else char for char in value)
    return "".join(visible)[:LONGEST_TEXT].strip() or None


def email(value: object, name: str) -> str | None:
    """An e-mail address as an attribute; None for what cannot be one. Raises LaunchRefused 400 for another type."""
    text = label(value, name)
    if text is None or len(text) > 254 or text.count("@") != 1 or any(char.isspace() for char in text):
        return None
    return text if all(text.split("@")) else None


def web_address(value: object, name: str) -> str | None:
    """An absolute http or https URL, or None when absent or empty.

    Raises LaunchRefused 400 for everything else: no other scheme, no user name or password, no space or control.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str) and is_web_address(value):
        return value
    raise LaunchRefused(400, name, N_("`%(field)s` must be a complete address that starts with https:// or http://."))


def is_web_address(text: str) -> bool:
    """Whether a text is an absolute http(s) URL without credentials, in visible ASCII characters or letters."""
    if len(text) > LONGEST_TEXT or any(unicodedata.category(char)[0] in "CZ" or char in '\\"<>`' for char in text):
        return False
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and port != 0
        and "@" not in parts.netloc
        and parts.netloc.isascii()
    )


def may_be_asked(url: str, http_hosts: frozenset[str]) -> bool:
    """Whether an address may be asked: https, or a host (`name` or `name:port`) that is allowed without."""
    if not is_web_address(url):
        return False
    parts = urlsplit(url)
    return parts.scheme == "https" or bool(http_hosts & {parts.netloc, parts.hostname})


def check_size(size: int) -> None:
    """Raise LaunchRefused 413 for a body and query that are larger together than what is looked at."""
    if size > LARGEST_BODY:
        raise LaunchRefused(413, "body", N_("The launch is larger than 64 KB: remove long custom parameters."))


def check_form(content_type: str) -> None:
    """Raise LaunchRefused 415 for a body that is no form."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise LaunchRefused(
            415,
            "Content-Type",
            N_("A launch is a form of the type application/x-www-form-urlencoded, not %(kind)s."),
            kind=kind or "nothing",
        )


def return_address(
    url: str | None, *, error: str | None = None, message: str | None = None, log: str | None = None
) -> str | None:
    """The platform's page to go back to, with a sentence for the person (LTI 1.1 §4.2, LTI 1.3 §5.4.5).

    `error` goes into `lti_errormsg`, `message` into `lti_msg`; `log`, for the platform's administrators, into
    `lti_errorlog` beside an error and into `lti_log` otherwise. None when the platform gave no address.
    """
    if url is None:
        return None
    names = {"lti_errormsg": error, "lti_msg": message, "lti_errorlog" if error else "lti_log": log}
    said = [(name, text) for name, text in names.items() if text]
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, urlencode(said)) if part)
    return urlunsplit(parts._replace(query=query))
