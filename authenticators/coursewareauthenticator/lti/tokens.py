"""Signed tokens of a platform and the keys that fit them. Pure.

References: RFC 7515 (JWS), RFC 7517 (JWK), RFC 8725 (what to be careful about). PyJWT does the arithmetic; which key
and which algorithm is decided here, from what the platform publishes, never from what a token says about itself.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from coursewareauthenticator.lti.launch import LARGEST_BODY, BadSignature, LaunchRefused, UnknownKey
from coursewarehub.i18n import N_

ALGORITHMS: Final = ("RS256", "ES256")
LARGEST_KEY_SET: Final = 256 * 1024
"""Bytes."""
_MOST_KEYS: Final = 100
_PUBLIC_MEMBERS: Final = {"RSA": ("kty", "n", "e"), "EC": ("kty", "crv", "x", "y")}
_ALGORITHM_OF: Final = {"RSA": "RS256", "EC": "ES256"}
# What brings a key of the token's own, or asks for what is not done here.
_REFUSED_HEADERS: Final = ("crit", "jku", "jwk", "x5u", "x5c", "enc", "zip", "b64")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True)
class Header:
    """What of a token's header is used, and nothing of it is believed before the signature fits."""

    algorithm: str
    kid: str


class KeySet:
    """A platform's public keys by their `kid`."""

    def __init__(self, keys: Mapping[str, Sequence[jwt.PyJWK]]) -> None:
        self._keys = dict(keys)

    def __contains__(self, kid: object) -> bool:
        return kid in self._keys

    def find(self, header: Header) -> jwt.PyJWK:
        """The key for a token. Raises UnknownKey 401 when there is none of that name for that algorithm."""
        for key in self._keys.get(header.kid, ()):
            if key.algorithm_name == header.algorithm:
                return key
        raise UnknownKey(
            401,
            "kid",
            N_("The platform publishes no key %(kid)s for %(algorithm)s: check the address of its key set."),
            kid=header.kid,
            algorithm=header.algorithm,
        )


def read_key_set(document: bytes) -> KeySet:
    """The usable keys of a JWKS document: RSA of 2048 to 8192 bits and P-256, for signatures, with a `kid`.

    Raises LaunchRefused 502 when it is no key set or has no usable key.
    """
    try:
        if len(document) > LARGEST_KEY_SET:
            raise ValueError("too large")
        keys = strict_json(document)["keys"]
        if not isinstance(keys, list) or len(keys) > _MOST_KEYS:
            raise ValueError("no list of keys")
    except (ValueError, KeyError, TypeError):
        raise LaunchRefused(502, "jwks", N_("The platform's key set is not valid: check its address.")) from None
    found: dict[str, list[jwt.PyJWK]] = {}
    for key in keys:
        if (usable := _usable(key)) is not None:
            found.setdefault(key["kid"], []).append(usable)
    if not found:
        raise LaunchRefused(502, "jwks", N_("The platform's key set has no RSA or P-256 key to check with."))
    return KeySet(found)


def _usable(data: Any) -> jwt.PyJWK | None:
    """A public key for one of our algorithms, or None; private parts are not looked at."""
    if not isinstance(data, dict) or not isinstance(data.get("kid"), str) or data.get("use", "sig") != "sig":
        return None
    kind = str(data.get("kty"))
    algorithm = _ALGORITHM_OF.get(kind)
    if algorithm is None or data.get("alg", algorithm) != algorithm:
        return None
    try:
        key = jwt.PyJWK({name: data[name] for name in _PUBLIC_MEMBERS[kind]}, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return key if _is_strong(key.key) else None


def _is_strong(key: Any) -> bool:
    if isinstance(key, RSAPublicKey):
        return 2048 <= key.key_size <= 8192 and key.public_numbers().e.bit_length() <= 32
    return isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)


def read_header(token: str) -> Header:
    """What a token says about its key. Raises LaunchRefused 400, or 413 when it is larger than 64 KB."""
    header = _json(_segments(token)[0])
    for name in _REFUSED_HEADERS:
        if name in header:
            raise _invalid(f"`{name}` in its header")
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise _invalid(N_("it must be signed with RS256 or ES256"))
    if not isinstance(kind, str) or kind.upper() != "JWT":
        raise _invalid(N_("its type must be JWT"))
    if not isinstance(kid, str) or not 1 <= len(kid) <= 1024:
        raise _invalid(N_("its header must name a key (`kid`)"))
    return Header(algorithm, kid)


def verified_claims(token: str, keys: KeySet) -> dict[str, Any]:
    """The claims of a token whose signature fits the platform's key of its `kid`.

    Raises LaunchRefused 400 or 413 for what is no token, UnknownKey and BadSignature 401.
    """
    header = read_header(token)
    key = keys.find(header)
    try:
        payload = jwt.PyJWS().decode(token, key, algorithms=[header.algorithm])
    except (jwt.PyJWTError, ValueError, TypeError):
        raise BadSignature(
            401,
            "id_token",
            N_("The launch is not signed with the platform's key %(kid)s: open the link in your course again."),
            kid=header.kid,
        ) from None
    return _json(payload)


def _segments(token: str) -> list[bytes]:
    """Header, payload and signature as bytes (RFC 7515 §7.1)."""
    if len(token) > LARGEST_BODY:
        raise LaunchRefused(413, "id_token", N_("`%(field)s` is larger than 64 KB: remove long custom parameters."))
    parts = token.split(".")
    if len(parts) == 5:
        raise _invalid(N_("it is encrypted, which a launch must not be"))
    if len(parts) != 3 or not all(_SEGMENT.fullmatch(part) for part in parts):
        raise _invalid(N_("it must have three parts in base64url"))
    try:
        return [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in parts]
    except binascii.Error:
        raise _invalid(N_("it must have three parts in base64url")) from None


def _json(raw: bytes) -> dict[str, Any]:
    try:
        value = strict_json(raw)
    except ValueError:
        raise _invalid(N_("its header and payload must be valid JSON")) from None
    if not isinstance(value, dict):
        raise _invalid(N_("its header and payload must be objects"))
    return value


def strict_json(raw: bytes) -> Any:
    """JSON; ValueError for all that is none, and for doubled names, infinities, half characters and endless depth."""
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_without_doubles, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError:
        raise ValueError("too deep") from None
    return value


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _invalid(why: str) -> LaunchRefused:
    return LaunchRefused(
        400,
        "id_token",
        N_("`%(field)s` is not valid: %(why)s. Check the platform's settings of this tool."),
        why=why,
    )
