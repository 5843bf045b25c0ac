"""Access to a platform's services: what is asked with, and what is answered. Pure.

References: 1EdTech Security Framework 1.0 §4.1 (client credentials with a signed assertion), RFC 7523 §3, RFC 6749
§4.4, §5.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from coursewareauthenticator.lti.keys import ToolKey
from coursewareauthenticator.lti.registrations import Registration
from coursewareauthenticator.lti.services.reasons import Kind, Reason, ServiceFailure
from coursewareauthenticator.lti.tokens import strict_json

LIFETIME: Final = 300
"""Seconds for which an assertion counts; platforms refuse more than five minutes."""
DRIFT: Final = 5
"""Seconds by which it is dated back, for platforms whose clock is behind and that refuse the future."""
MARGIN: Final = 60
"""Seconds before its end from which a token is not used any more, or half its life if that is shorter."""
_LONGEST_LIFE: Final = 24 * 3600
_TOKEN: Final = re.compile(r"[!-~]{1,16384}", re.ASCII)


@dataclass(frozen=True)
class Token:
    """An access token, which is in no `repr`. `until` is in seconds since 1970: from then on a new one is needed."""

    value: str = field(repr=False)
    until: float


def token_request(registration: Registration, key: ToolKey, scopes: Iterable[str], now: float) -> bytes:
    """The form that asks for a token; `now` is in seconds since 1970. Each counts once (`jti`).

    Raises ServiceFailure when the registration has no token address.
    """
    if registration.token_url is None:
        raise ServiceFailure(Kind.RETRY, Reason.NO_TOKEN, "no token address", everything=True)
    claims: dict[str, Any] = {
        "iss": registration.client_id,
        "sub": registration.client_id,
        "aud": registration.token_audience or registration.token_url,
        "iat": int(now) - DRIFT,
        "exp": int(now) - DRIFT + LIFETIME,
        "jti": secrets.token_urlsafe(24),
    }
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": key.sign(claims),
        "scope": " ".join(sorted(scopes)),
    }
    return urlencode(form).encode()


def read_token(status: int, body: bytes, now: float) -> Token:
    """The token of an answer. Raises ServiceFailure for every other answer, with the platform's own word for it."""
    try:
        values = strict_json(body)
    except ValueError:
        values = None
    if status != 200:
        said = values.get("error") if isinstance(values, dict) else None
        raise refused_token(f"HTTP {status}" + (f", {said}" if isinstance(said, str) else ""))
    value = values.get("access_token") if isinstance(values, dict) else None
    if not isinstance(value, str) or _TOKEN.fullmatch(value) is None:
        raise refused_token("no token in the answer")
    if str(values.get("token_type", "bearer")).lower() != "bearer":
        raise refused_token("not a bearer token")
    life = _seconds(values.get("expires_in"))
    return Token(value, now + max(life - MARGIN, life / 2))


def refused_token(said: str) -> ServiceFailure:
    """The failure of a platform that gives no token: it holds for everything of that platform, until that is mended."""
    return ServiceFailure(Kind.RETRY, Reason.NO_TOKEN, said, everything=True)


def _seconds(value: Any) -> float:
    """The life of a token; what is no number of seconds is an hour, as is usual."""
    try:
        life = float(value)
    except (TypeError, ValueError, OverflowError):
        return 3600.0
    return min(life, _LONGEST_LIFE) if life > 0 else 3600.0
