"""LTI 1.3 launches: the token that ends a login. Pure.

References: 1EdTech Security Framework 1.0 §5.1.3 (checks of the token), LTI Core 1.3 §5 (claims), §6.2 (migration).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from coursewareauthenticator.lti.claims import Claims
from coursewareauthenticator.lti.launch import Former, Launch, LaunchRefused, Message, Once, identifier
from coursewareauthenticator.lti.login import Pending
from coursewareauthenticator.lti.lti11 import Consumer
from coursewareauthenticator.lti.registrations import Registration, Registrations
from coursewareauthenticator.lti.tokens import KeySet, verified_claims
from coursewarehub.i18n import N_

REMEMBERED: Final = 90 * 60
"""Seconds for which a nonce is kept beyond its login, so that it is not forgotten when a clock is set back."""
_MESSAGES: Final = {
    "LtiResourceLinkRequest": Message.RESOURCE_LINK,
    "LtiDeepLinkingRequest": Message.DEEP_LINKING,
    "LtiSubmissionReviewRequest": Message.SUBMISSION_REVIEW,
}


@dataclass(frozen=True)
class Rules:
    """The time now in seconds since 1970, and in seconds how far clocks may differ and how old a token may be."""

    now: float
    leeway: float = 60
    max_age: float = 600


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
        raise LaunchRefused(
            401, "nonce", N_("This launch answers another request: open the link in your course again.")
        )
    deployment = identifier(claims.lti("deployment_id"), "deployment_id")
    registration.check_deployment(deployment, "deployment_id")
    message = _message(claims)
    context = claims.context()
    if registration.contexts is not None and (context is None or context.id not in registration.contexts):
        raise LaunchRefused(
            403,
            "context.id",
            N_("The platform's course %(context)s is not one of this course: add its id to the course."),
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
            N_("The launch is from %(issuer)s, not from %(expected)s where it began."),
            issuer=claims.text("iss"),
            expected=registration.issuer,
        )
    audience = claims.audience()
    if registration.client_id not in audience:
        raise LaunchRefused(
            401,
            "aud",
            N_("The launch is meant for another tool: `%(field)s` must have the client id %(client)s."),
            client=registration.client_id,
        )
    authorized = claims.all.get("azp")
    if (authorized is not None or len(audience) > 1) and authorized != registration.client_id:
        raise LaunchRefused(
            401,
            "azp",
            N_("The launch is meant for another tool: `%(field)s` must be the client id %(client)s."),
            client=registration.client_id,
        )


def _check_times(claims: Claims, rules: Rules) -> None:
    """Neither over, nor from the future, nor old (Security Framework §5.1.3, 7 and 8), with the difference."""
    expires, issued, begins = claims.time("exp"), claims.time("iat"), claims.time("nbf", optional=True)
    if rules.now > expires + rules.leeway:
        raise LaunchRefused(
            401,
            "exp",
            N_(
                "The launch ended %(seconds)s s ago by this hub's clock: "
                "open the link in your course again, or set the clock of the platform or of the hub."
            ),
            seconds=round(rules.now - expires),
        )
    for name, moment in (("iat", issued), ("nbf", begins)):
        if moment > rules.now + rules.leeway:
            raise LaunchRefused(
                401,
                name,
                N_(
                    "The launch is from %(seconds)s s in the future by this hub's clock: "
                    "open the link in your course again, or set the clock of the platform or of the hub."
                ),
                seconds=round(moment - rules.now),
            )
    if rules.now > issued + rules.max_age + rules.leeway:
        raise LaunchRefused(
            401,
            "iat",
            N_(
                "The launch is %(seconds)s s old by this hub's clock, %(most)s s are allowed: "
                "open the link in your course again, or set the clock of the platform or of the hub."
            ),
            seconds=round(rules.now - issued),
            most=round(rules.max_age),
        )


def _message(claims: Claims) -> Message:
    version, kind = claims.lti("version"), claims.lti("message_type")
    if version != "1.3.0":
        raise LaunchRefused(400, "version", N_("`%(field)s` must be 1.3.0, not %(version)s."), version=version)
    if not isinstance(kind, str) or kind not in _MESSAGES:
        raise LaunchRefused(
            400,
            "message_type",
            N_("`%(field)s` must be one of %(known)s, not %(kind)s."),
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
            400, "sub", N_("The launch does not say who you are (`%(field)s`): let the platform share the user's id.")
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
            N_("`%(field)s` does not fit the secret of the consumer %(key)s."),
            key=key,
        )
    return Former(
        consumer.registration,
        identifier(user, f"{name}.user_id"),
        None if link is None else identifier(link, f"{name}.resource_link_id"),
    )
