"""LTI 1.1 launches: a form, signed with a secret that platform and hub share. Pure.

References: LTI 1.1.1 implementation guide; RFC 5849 (OAuth 1.0a) §3.4 for the signature.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

from coursewareauthenticator.lti.launch import (
    BadSignature,
    Context,
    Launch,
    LaunchRefused,
    Message,
    Once,
    Outcomes,
    Person,
    ResourceLink,
    Services,
    check_form,
    check_size,
    email,
    first,
    identifier,
    label,
    optional_identifier,
    web_address,
)
from coursewarehub.i18n import N_

METHODS: Final = {"HMAC-SHA1": hashlib.sha1, "HMAC-SHA256": hashlib.sha256}
REMEMBERED: Final = 90 * 60
"""Seconds for which a nonce is kept beyond the window, so that it is not forgotten when a clock is set back."""
_OAUTH_REQUIRED: Final = (
    "oauth_consumer_key",
    "oauth_signature_method",
    "oauth_timestamp",
    "oauth_nonce",
    "oauth_signature",
)
_MOST_PARAMETERS: Final = 1000
_TIMESTAMP: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
_OTHER_MESSAGES: Final = frozenset({"ContentItemSelectionRequest", "ContentItemSelection"})
Pairs = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Request:
    """A request as it arrived. `url` is the public address of the launch, from the configuration, without a query."""

    method: str
    url: str
    query: bytes = b""
    body: bytes = b""
    content_type: str = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Consumer:
    """One platform of LTI 1.1. Two secrets while one is being replaced; `contexts` None means any course of it.

    Raises ValueError when the key or a secret is empty or a method is unknown.
    """

    key: str
    secrets: tuple[str, ...] = field(repr=False)
    methods: frozenset[str] = frozenset(METHODS)
    contexts: frozenset[str] | None = None
    guests: bool = False

    def __post_init__(self) -> None:
        if not self.key or not self.secrets or not all(self.secrets):
            raise ValueError("a consumer of LTI 1.1 needs a key and a secret that is not empty")
        if not self.methods <= METHODS.keys():
            raise ValueError(f"signature methods are {', '.join(METHODS)}")

    @property
    def registration(self) -> str:
        """Its part of an identity; no LTI 1.3 registration has the same."""
        return f"lti11:{self.key}"


def verify(request: Request, consumers: Mapping[str, Consumer], now: float, window: float) -> Launch:
    """Return what a signed launch says; `launch.once` has to be used up before it counts.

    `now` is in seconds since 1970, `window` how many seconds the platform's clock may differ from it. Raises
    LaunchRefused, and nothing else, in this order: form, OAuth parameters, signature, time, LTI parameters.
    """
    body = _form(request)
    query = _pairs(request.query)
    form = _Form(body)
    consumer, method = _oauth(form, query, consumers)
    _check_signature(request, body, query, consumer, method)
    timestamp = _check_time(form.one("oauth_timestamp"), now, window)
    # With its time, which is part of what must not come twice (RFC 5849 §3.3).
    nonce = f"{timestamp} {identifier(form.one('oauth_nonce'), 'oauth_nonce')}"
    once = Once(consumer.registration, nonce, int(max(timestamp, now) + window + REMEMBERED))
    return _launch(form, _Form(query), consumer, once)


def _form(request: Request) -> Pairs:
    if request.method != "POST":
        raise LaunchRefused(
            405,
            "method",
            N_("A launch is a form sent by POST, not %(method)s: open the link in your course again."),
            method=request.method,
        )
    check_size(len(request.body) + len(request.query))
    check_form(request.content_type)
    return _pairs(request.body)


def _pairs(encoded: bytes) -> Pairs:
    """Names and values of a form or query in order, as bytes, blanks and duplicates kept (RFC 5849 §3.4.1.3)."""
    parts = [part for part in encoded.split(b"&") if part]
    if len(parts) > _MOST_PARAMETERS:
        raise LaunchRefused(413, "body", N_("The launch has more than 1000 parameters: remove custom parameters."))
    split = (part.replace(b"+", b" ").partition(b"=") for part in parts)
    return [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in split]


class _Form:
    """Parameters by name, decoded when they are read, so that a refusal can name the one that is wrong."""

    def __init__(self, pairs: Pairs) -> None:
        self._values: dict[bytes, list[bytes]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def all(self, name: str) -> tuple[str, ...]:
        """Every value in order. LaunchRefused 400 when one is not UTF-8."""
        try:
            return tuple(value.decode() for value in self._values.get(name.encode(), ()))
        except UnicodeDecodeError:
            raise LaunchRefused(
                400, name, N_("`%(field)s` is not valid UTF-8: set the platform to UTF-8 or correct that text.")
            ) from None

    def get(self, name: str) -> str | None:
        """The one value, None when it is absent. LaunchRefused 400 when there are several."""
        values = self.all(name)
        if len(values) > 1:
            raise LaunchRefused(400, name, N_("`%(field)s` was sent more than once: remove the one added by hand."))
        return first(values)

    def one(self, name: str) -> str:
        """The one value, not empty. LaunchRefused 400 otherwise."""
        value = self.get(name)
        if not value:
            raise LaunchRefused(
                400, name, N_("The launch has no `%(field)s`: open the link in your course, or have it set up anew.")
            )
        return value

    def names(self) -> list[str]:
        """All names that are not empty. LaunchRefused 400 when one is not UTF-8."""
        try:
            return [name.decode() for name in self._values if name]
        except UnicodeDecodeError:
            raise LaunchRefused(400, "parameters", N_("A parameter's name is not valid UTF-8: rename it.")) from None


def _oauth(form: _Form, query: Pairs, consumers: Mapping[str, Consumer]) -> tuple[Consumer, str]:
    """The consumer that the launch names, and its signature method (RFC 5849 §3.1, §3.2)."""
    if stray := first(name for name, _ in query if name.startswith(b"oauth_")):
        name = stray.decode(errors="replace")
        raise LaunchRefused(400, name[:64], N_("`%(field)s` belongs into the form: remove it from the launch address."))
    values = {name: form.one(name) for name in _OAUTH_REQUIRED}
    method = values["oauth_signature_method"]
    if form.get("oauth_version") not in {None, "1.0"}:
        raise LaunchRefused(400, "oauth_version", N_("`%(field)s` must be 1.0, or left out."))
    key = values["oauth_consumer_key"]
    consumer = consumers.get(key)
    if consumer is None:
        raise LaunchRefused(
            401,
            "oauth_consumer_key",
            N_("This course knows no consumer key %(key)s: correct it in the platform, or add it to the course."),
            key=key,
        )
    if method not in consumer.methods:
        raise LaunchRefused(
            400,
            "oauth_signature_method",
            N_("`%(field)s` must be %(methods)s, not %(method)s."),
            methods=" or ".join(sorted(consumer.methods)),
            method=method,
        )
    return consumer, method


def _check_signature(request: Request, body: Pairs, query: Pairs, consumer: Consumer, method: str) -> None:
    """Compare in constant time with what each secret gives. LaunchRefused 401.

    Some platforms copy the address's query into the form and sign it once; then it is in the form in full, and the
    form alone is what they have signed.
    """
    given = first(value for name, value in body if name == b"oauth_signature") or b""
    texts = [base_string(request.method, request.url, body + query)]
    if query and set(query) <= set(body):
        texts.append(base_string(request.method, request.url, body))
    expected = [signature(text, secret, method) for text in texts for secret in consumer.secrets]
    if not any(hmac.compare_digest(given, one) for one in expected):
        raise BadSignature(
            401,
            "oauth_signature",
            N_("The signature does not fit: make secret and launch address (%(url)s) the same in platform and course."),
            url=request.url,
        )


def base_string(method: str, url: str, parameters: Iterable[tuple[bytes, bytes]]) -> bytes:
    """What is signed (RFC 5849 §3.4.1): method, normalised address, and all parameters but the signature, sorted."""
    encoded = sorted((_encode(name), _encode(value)) for name, value in parameters if name != b"oauth_signature")
    joined = b"&".join(name + b"=" + value for name, value in encoded)
    return b"&".join((method.upper().encode(), _encode(_base_url(url)), _encode(joined)))


def _base_url(url: str) -> bytes:
    """Scheme and host in lower case, no default port, no query (RFC 5849 §3.4.1.2)."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    host = parts.netloc.lower().removesuffix({"http": ":80", "https": ":443"}.get(scheme, ":"))
    return f"{scheme}://{host}{parts.path or '/'}".encode()


def _encode(raw: bytes) -> bytes:
    """RFC 3986: everything but letters, digits and `-._~` as %XX."""
    return quote_from_bytes(raw, safe="~").encode()


def signature(text: bytes, secret: str, method: str) -> bytes:
    """The signature of a base string in base64; there is no token, so the key ends with `&` (RFC 5849 §3.4.2)."""
    key = _encode(secret.encode()) + b"&"
    return base64.b64encode(hmac.new(key, text, METHODS[method]).digest())


def _check_time(text: str, now: float, window: float) -> int:
    """Seconds since 1970. LaunchRefused 400 when it is no number, 401 when it is too far from `now`."""
    if _TIMESTAMP.fullmatch(text) is None:
        raise LaunchRefused(
            400,
            "oauth_timestamp",
            N_("`%(field)s` must be the seconds since 1970 in at most ten digits, not %(text)s."),
            text=text,
        )
    timestamp = int(text)
    off = round(timestamp - now)
    if abs(timestamp - now) > window:
        ahead = N_(
            "`%(field)s` is %(off)s s ahead of this hub's clock; %(window)s s are allowed: "
            "open the link again, or set the clock of the platform or of the hub."
        )
        behind = N_(
            "`%(field)s` is %(off)s s behind this hub's clock; %(window)s s are allowed: "
            "open the link again, or set the clock of the platform or of the hub."
        )
        template = ahead if off > 0 else behind
        raise LaunchRefused(401, "oauth_timestamp", template, off=abs(off), window=round(window))
    return timestamp


def _launch(form: _Form, query: _Form, consumer: Consumer, once: Once) -> Launch:
    """The LTI part, when the signature is right (LTI 1.1 §3)."""
    _check_message(form)
    resource_link = ResourceLink(
        identifier(form.one("resource_link_id"), "resource_link_id"),
        label(form.get("resource_link_title"), "resource_link_title"),
        label(form.get("resource_link_description"), "resource_link_description"),
    )
    names = {name: form.all(name) for name in form.names() if not name.startswith("oauth_")}
    return Launch(
        version="1.1",
        message=Message.RESOURCE_LINK,
        registration=consumer.registration,
        subject=_subject(form, consumer),
        once=once,
        roles=tuple(role for role in map(str.strip, (form.get("roles") or "").split(",")) if role),
        context=_context(form, consumer),
        resource_link=resource_link,
        custom=_custom(form, query),
        return_url=web_address(form.get("launch_presentation_return_url"), "launch_presentation_return_url"),
        locale=label(form.get("launch_presentation_locale"), "launch_presentation_locale"),
        services=Services(outcomes=_outcomes(form)),
        person=_person(form),
        parameters=names,
    )


def _check_message(form: _Form) -> None:
    kind, version = form.one("lti_message_type"), form.one("lti_version")
    if kind in _OTHER_MESSAGES:
        raise LaunchRefused(
            400,
            "lti_message_type",
            N_("Content cannot be chosen through LTI 1.1: register this hub with LTI 1.3, or add a link by hand."),
        )
    if kind != "basic-lti-launch-request":
        raise LaunchRefused(
            400, "lti_message_type", N_("`%(field)s` must be basic-lti-launch-request, not %(kind)s."), kind=kind
        )
    if version != "LTI-1p0":
        raise LaunchRefused(
            400,
            "lti_version",
            N_("`%(field)s` must be LTI-1p0, not %(version)s: register LTI 1.3 at its own address."),
            version=version,
        )


def _subject(form: _Form, consumer: Consumer) -> str | None:
    subject = optional_identifier(form.get("user_id"), "user_id")
    if subject is None and not consumer.guests:
        raise LaunchRefused(
            400, "user_id", N_("The launch has no `%(field)s`: let the platform share the user's id with this tool.")
        )
    return subject


def _context(form: _Form, consumer: Consumer) -> Context | None:
    ident = optional_identifier(form.get("context_id"), "context_id")
    if consumer.contexts is not None and ident not in consumer.contexts:
        raise LaunchRefused(
            403,
            "context_id",
            N_("The platform's course %(context)s is not one of this course: add its `%(field)s` to the course file."),
            context=ident or "without an id",
        )
    if ident is None:
        return None
    types = tuple(part.strip() for part in (form.get("context_type") or "").split(",") if part.strip())
    title = label(form.get("context_title"), "context_title")
    return Context(ident, label(form.get("context_label"), "context_label"), title, types)


def _custom(form: _Form, query: _Form) -> Mapping[str, str]:
    """What the author of the link has set: `custom_*` and `next`, from form or launch address; the first of each.

    Nothing else is read from the address, which an author can write and a form cannot be without.
    """
    found: dict[str, str] = {}
    for source in (form, query):
        for name in source.names():
            if name == "next" or name.startswith("custom_"):
                found.setdefault(name.removeprefix("custom_"), source.all(name)[0])
    return found


def _outcomes(form: _Form) -> Outcomes | None:
    """Where the grade goes. Both parameters or neither; a platform sends only the address to teachers."""
    url = web_address(form.get("lis_outcome_service_url"), "lis_outcome_service_url")
    sourcedid = form.get("lis_result_sourcedid")
    return Outcomes(url, sourcedid) if url and sourcedid else None


def _person(form: _Form) -> Person:
    prefix = "lis_person_name_"
    full, given, family = (label(form.get(prefix + part), prefix + part) for part in ("full", "given", "family"))
    mail = "lis_person_contact_email_primary"
    joined = " ".join(part for part in (given, family) if part) or None
    return Person(full or joined, given, family, email(form.get(mail), mail))
