"""LTI 1.3 launches: a login that the platform starts, and the token that ends it. Pure.

References: 1EdTech Security Framework 1.0 §5.1 (OpenID Connect launch), LTI Core 1.3 §5 (claims).

Between the two requests nothing is stored: `state` carries what has to be known, sealed with a secret of the hub and
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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from coursewareauthenticator.lti.claims import Claims
from coursewareauthenticator.lti.launch import (
    Former,
    Launch,
    LaunchRefused,
    Message,
    Once,
    identifier,
    is_web_address,
    web_address,
)
from coursewareauthenticator.lti.lti11 import Consumer
from coursewareauthenticator.lti.tokens import KeySet, strict_json, verified_claims

LIFETIME: Final = 3600
"""Seconds that a login may take, with detours through an identity provider."""
REMEMBERED: Final = 90 * 60
"""Seconds for which a nonce is kept beyond that, so that it is not forgotten when a clock is set back."""
_LONGEST_PARAMETER: Final = 8192
_STORAGE_TARGET: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_MESSAGES: Final = {
    "LtiResourceLinkRequest": Message.RESOURCE_LINK,
    "LtiDeepLinkingRequest": Message.DEEP_LINKING,
    "LtiSubmissionReviewRequest": Message.SUBMISSION_REVIEW,
}
Parameters = Mapping[str, Sequence[str]]
"""Of a form or query: each name with all its values."""


@dataclass(frozen=True)
class Registration:
    """One client of one platform. `deployments` and `contexts` None mean any of it; `token_audience` None: `token_url`.

    Raises ValueError when something is missing or no web address.
    """

    issuer: str
    client_id: str
    auth_url: str
    jwks_url: str
    token_url: str | None = None
    token_audience: str | None = None
    deployments: frozenset[str] | None = None
    contexts: frozenset[str] | None = None
    guests: bool = False

    def __post_init__(self) -> None:
        if not self.client_id or re.search(r"\s", self.issuer) or not self.issuer:
            raise ValueError("a registration of LTI 1.3 needs an issuer without spaces and a client id")
        for url in (self.auth_url, self.jwks_url, self.token_url or self.jwks_url):
            if not is_web_address(url):
                raise ValueError(f"{url} is not a web address")

    @property
    def registration(self) -> str:
        """Its part of an identity: issuers have no spaces, so that no two registrations have the same."""
        return f"lti13:{self.issuer} {self.client_id}"


class Registrations:
    """All registrations of a course. Raises ValueError when two have one issuer and one client id."""

    def __init__(self, registrations: Iterable[Registration]) -> None:
        self._by_issuer: dict[str, dict[str, Registration]] = {}
        for one in registrations:
            clients = self._by_issuer.setdefault(one.issuer, {})
            if clients.setdefault(one.client_id, one) is not one:
                raise ValueError(f"{one.issuer} has two registrations with the client id {one.client_id}")

    def find(self, issuer: str, client_id: str | None) -> Registration:
        """By both, or by the issuer alone where it has one client only. Raises LaunchRefused 400."""
        clients = self._by_issuer.get(issuer, {})
        if not clients:
            raise LaunchRefused(
                400,
                "iss",
                "This course knows no platform %(issuer)s: add its registration to the course.",
                issuer=issuer,
            )
        if client_id is None and len(clients) == 1:
            return next(iter(clients.values()))
        if client_id is None:
            raise LaunchRefused(
                400,
                "client_id",
                "`%(field)s` is missing, and %(issuer)s has several here: let the platform send it.",
                issuer=issuer,
            )
        if client_id not in clients:
            raise LaunchRefused(
                400,
                "client_id",
                "%(issuer)s has no client %(client)s here: correct it in the platform or the course.",
                issuer=issuer,
                client=client_id,
            )
        return clients[client_id]


@dataclass(frozen=True)
class Pending:
    """A login on its way, as `state` carries it. `expires` is in seconds since 1970, `browser` a digest."""

    issuer: str
    client_id: str
    nonce: str
    expires: int
    browser: str

    def check_browser(self, browser: str | None) -> None:
        """Raise LaunchRefused 401 unless the launch ends in the browser that began it."""
        if browser is None or not hmac.compare_digest(self.browser, _digest(browser)):
            raise LaunchRefused(
                401,
                "state",
                "This browser has not begun this launch, or keeps no cookies inside other pages: "
                "open the link in a window of its own.",
            )


@dataclass(frozen=True)
class Login:
    """Where to send the browser. `storage_target` names the platform's frame that can keep `state` for us."""

    url: str
    state: str
    nonce: str
    storage_target: str | None = None


@dataclass(frozen=True)
class Rules:
    """The time now in seconds since 1970, and in seconds how far clocks may differ and how old a token may be."""

    now: float
    leeway: float = 60
    max_age: float = 600


def begin_login(
    parameters: Parameters, registrations: Registrations, redirect_uri: str, secret: bytes, browser: str, now: float
) -> Login:
    """Answer the platform's request to log somebody in (Security Framework §5.1.1.1 and §5.1.1.2).

    `redirect_uri` is the public address of the launch, `secret` seals `state`, `browser` is a random value that the
    browser keeps in a cookie. Raises LaunchRefused 400 or 403.
    """
    issuer, hint = _one(parameters, "iss"), _one(parameters, "login_hint")
    web_address(_one(parameters, "target_link_uri"), "target_link_uri")
    registration = registrations.find(issuer, _optional(parameters, "client_id"))
    if (deployment := _optional(parameters, "lti_deployment_id")) is not None:
        _check_deployment(deployment, registration, "lti_deployment_id")
    nonce = secrets.token_urlsafe(24)
    pending = Pending(issuer, registration.client_id, nonce, int(now) + LIFETIME, _digest(browser))
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
    fields = [pending.issuer, pending.client_id, pending.nonce, pending.expires, pending.browser]
    body = base64.urlsafe_b64encode(json.dumps(fields).encode()).rstrip(b"=")
    return f"{body.decode()}.{_mac(body, secret)}"


def unseal(state: str, secret: bytes, now: float) -> Pending:
    """The login that `state` belongs to. Raises LaunchRefused 401 when it is not of this hub or too old."""
    body, _, mac = state.partition(".")
    if not hmac.compare_digest(_mac(body.encode("utf-8", "replace"), secret).encode(), mac.encode("utf-8", "replace")):
        raise LaunchRefused(401, "state", "This launch was not begun here: open the link in your course again.")
    issuer, client_id, nonce, expires, browser = strict_json(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    if now > expires:
        raise LaunchRefused(401, "state", "This launch took more than an hour: open the link in your course again.")
    return Pending(issuer, client_id, nonce, expires, browser)


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
            "The platform has refused the login: %(error)s %(description)s. Log in there and try again.",
            error=error,
            description=_optional(parameters, "error_description") or "",
        )
    return Callback(_one(parameters, "state"), _one(parameters, "id_token", longest=None))


def _one(parameters: Parameters, name: str, longest: int | None = _LONGEST_PARAMETER) -> str:
    value = _optional(parameters, name, longest)
    if value is None:
        raise LaunchRefused(
            400, name, "The request has no `%(field)s`: open the link in your course, or have it set up anew."
        )
    return value


def _optional(parameters: Parameters, name: str, longest: int | None = _LONGEST_PARAMETER) -> str | None:
    """The one value; None when it is absent or empty."""
    values = parameters.get(name, ())
    if len(values) > 1:
        raise LaunchRefused(400, name, "`%(field)s` was sent more than once.")
    value = values[0] if values else ""
    if longest is not None and len(value) > longest:
        raise LaunchRefused(413, name, "`%(field)s` is longer than 8192 characters.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise LaunchRefused(400, name, "`%(field)s` is not valid UTF-8.") from None
    return value or None


def verify(
    id_token: str,
    pending: Pending,
    registrations: Registrations,
    keys: KeySet,
    rules: Rules,
    consumers: Mapping[str, Consumer] | None = None,
) -> Launch:
    """Return what a signed launch says; `launch.once` has to be used up before it counts.

    `consumers` are those of LTI 1.1 whose accounts may be kept (LTI Core §6.2, migration). Raises LaunchRefused, and
    nothing else, in this order: token, signature, who and for whom, time, nonce, deployment, message, the rest.
    """
    registration = registrations.find(pending.issuer, pending.client_id)
    claims = Claims(verified_claims(id_token, keys))
    _check_parties(claims, registration)
    _check_times(claims, rules)
    if not hmac.compare_digest(claims.text("nonce").encode(), pending.nonce.encode()):
        raise LaunchRefused(401, "nonce", "This launch answers another request: open the link in your course again.")
    deployment = identifier(claims.lti("deployment_id"), "deployment_id")
    _check_deployment(deployment, registration, "deployment_id")
    message = _message(claims)
    context = claims.context()
    if registration.contexts is not None and (context is None or context.id not in registration.contexts):
        raise LaunchRefused(
            403,
            "context.id",
            "The platform's course %(context)s is not one of this course: add its id to the course.",
            context=context.id if context else "without an id",
        )
    subject = _subject(claims, registration)
    return Launch(
        version="1.3",
        message=message,
        registration=registration.registration,
        subject=subject,
        once=Once(registration.registration, pending.nonce, pending.expires + REMEMBERED),
        roles=claims.roles(),
        deployment=deployment,
        context=context,
        resource_link=claims.resource_link(required=message is Message.RESOURCE_LINK),
        target_link_uri=claims.target(required=message is not Message.DEEP_LINKING),
        custom=claims.custom(),
        return_url=claims.return_url(),
        locale=claims.locale(),
        services=claims.services(),
        person=claims.person(),
        for_user=claims.for_user(required=message is Message.SUBMISSION_REVIEW),
        former=_former(claims, registration, subject, consumers or {}),
        claims=claims.all,
    )


def _check_parties(claims: Claims, registration: Registration) -> None:
    """Who has made the token, and for whom (Security Framework §5.1.3, 2 to 4)."""
    if claims.text("iss") != registration.issuer:
        raise LaunchRefused(
            401,
            "iss",
            "The launch is from %(issuer)s, not from %(expected)s where it began.",
            issuer=claims.text("iss"),
            expected=registration.issuer,
        )
    audience = claims.audience()
    if registration.client_id not in audience:
        raise LaunchRefused(
            401,
            "aud",
            "The launch is meant for another tool: `%(field)s` must have the client id %(client)s.",
            client=registration.client_id,
        )
    authorized = claims.all.get("azp")
    if (authorized is not None or len(audience) > 1) and authorized != registration.client_id:
        raise LaunchRefused(
            401,
            "azp",
            "The launch is meant for another tool: `%(field)s` must be the client id %(client)s.",
            client=registration.client_id,
        )


def _check_times(claims: Claims, rules: Rules) -> None:
    """Neither over, nor from the future, nor old (Security Framework §5.1.3, 7 and 8), with the difference."""
    expires, issued, begins = claims.time("exp"), claims.time("iat"), claims.time("nbf", optional=True)
    again = "open the link in your course again, or set the clock of the platform or of the hub."
    if rules.now > expires + rules.leeway:
        raise LaunchRefused(
            401,
            "exp",
            f"The launch ended %(seconds)s s ago by this hub's clock: {again}",
            seconds=round(rules.now - expires),
        )
    for name, moment in (("iat", issued), ("nbf", begins)):
        if moment > rules.now + rules.leeway:
            raise LaunchRefused(
                401,
                name,
                f"The launch is from %(seconds)s s in the future by this hub's clock: {again}",
                seconds=round(moment - rules.now),
            )
    if rules.now > issued + rules.max_age + rules.leeway:
        raise LaunchRefused(
            401,
            "iat",
            f"The launch is %(seconds)s s old by this hub's clock, %(most)s s are allowed: {again}",
            seconds=round(rules.now - issued),
            most=round(rules.max_age),
        )


def _check_deployment(deployment: str, registration: Registration, name: str) -> None:
    if registration.deployments is not None and deployment not in registration.deployments:
        raise LaunchRefused(
            403,
            name,
            "The deployment %(deployment)s of the platform is new here: add its id to the course's "
            "registration, if it is meant to come in.",
            deployment=deployment,
        )


def _message(claims: Claims) -> Message:
    version, kind = claims.lti("version"), claims.lti("message_type")
    if version != "1.3.0":
        raise LaunchRefused(400, "version", "`%(field)s` must be 1.3.0, not %(version)s.", version=version)
    if not isinstance(kind, str) or kind not in _MESSAGES:
        raise LaunchRefused(
            400,
            "message_type",
            "`%(field)s` must be one of %(known)s, not %(kind)s.",
            known=", ".join(_MESSAGES),
            kind=kind,
        )
    return _MESSAGES[kind]


def _subject(claims: Claims, registration: Registration) -> str | None:
    value = claims.all.get("sub")
    if value is None and registration.guests:
        return None
    if value is None:
        raise LaunchRefused(
            400, "sub", "The launch does not say who you are (`%(field)s`): let the platform share the user's id."
        )
    return identifier(value, "sub")


def _former(
    claims: Claims, registration: Registration, subject: str | None, consumers: Mapping[str, Consumer]
) -> Former | None:
    """The account of LTI 1.1 days, when the platform proves that it knows that consumer's secret (LTI Core §6.2).

    None without the claim, without the proof, or when the consumer is unknown. LaunchRefused 401 for a wrong proof.
    """
    name = "lti1p1"
    claim = claims.object(name)
    key, sign = claim.get("oauth_consumer_key"), claim.get("oauth_consumer_key_sign")
    consumer = consumers.get(key) if isinstance(key, str) else None
    if consumer is None or sign is None:
        return None
    user = claim.get("user_id", subject)
    if user is None:
        return None
    link = claim.get("resource_link_id")
    signed = (
        key,
        claims.lti("deployment_id"),
        registration.issuer,
        registration.client_id,
        claims.all["exp"],
        claims.text("nonce"),
    )
    text = "&".join(map(str, signed)).encode()
    proofs = (hmac.new(secret.encode(), text, hashlib.sha256).digest() for secret in consumer.secrets)
    given = str(sign).encode()
    if not any(hmac.compare_digest(base64.b64encode(proof), given) for proof in proofs):
        raise LaunchRefused(
            401,
            f"{name}.oauth_consumer_key_sign",
            "`%(field)s` does not fit the secret of the consumer %(key)s.",
            key=key,
        )
    return Former(
        consumer.registration,
        identifier(user, f"{name}.user_id"),
        None if link is None else identifier(link, f"{name}.resource_link_id"),
    )
