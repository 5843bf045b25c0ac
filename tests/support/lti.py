"""A platform for tests: it signs as other people's software does, never with the code under test."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from functools import cache
from typing import Any
from urllib.parse import urlencode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from oauthlib.oauth1 import SIGNATURE_HMAC_SHA1, SIGNATURE_TYPE_BODY, Client

NOW = 1_800_000_000
LAUNCH_URL = "https://hub.example.org/courses/python/hub/lti/launch"
KEY, SECRET = "moodle", "s3cret & more"
Params = Iterable[tuple[str, str]]

FORM_11 = {
    "lti_message_type": "basic-lti-launch-request",
    "lti_version": "LTI-1p0",
    "resource_link_id": "link-7",
    "resource_link_title": "Week 3",
    "user_id": "42",
    "roles": "Instructor,urn:lti:instrole:ims/lis/Administrator",
    "context_id": "course-1",
    "context_label": "PY",
    "context_title": "Python for all",
    "context_type": "CourseSection",
    "lis_person_name_full": "Ada Lovelace",
    "lis_person_name_given": "Ada",
    "lis_person_name_family": "Lovelace",
    "lis_person_contact_email_primary": "ada@example.org",
    "lis_outcome_service_url": "https://lms.example.org/outcomes",
    "lis_result_sourcedid": '{"data":{"instanceid":"1","userid":"42"},"hash":"ab:cd"}',
    "launch_presentation_return_url": "https://lms.example.org/course/view?id=1",
    "launch_presentation_locale": "ja-JP",
    "custom_notebook": "week3/演習 1.ipynb",
    "custom_blank": "",
    "tool_consumer_instance_guid": "lms.example.org",
}


def signed(
    params: Params,
    *,
    url: str = LAUNCH_URL,
    key: str = KEY,
    secret: str = SECRET,
    timestamp: str = str(NOW),
    nonce: str = "nonce-1",
    method: str = SIGNATURE_HMAC_SHA1,
) -> bytes:
    """The body of a launch, signed by oauthlib."""
    client: Any = Client(
        key,
        client_secret=secret,
        signature_method=method,
        signature_type=SIGNATURE_TYPE_BODY,
        timestamp=timestamp,
        nonce=nonce,
    )
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    _, _, body = client.sign(url, "POST", urlencode(list(params)), headers)
    return body.encode() if isinstance(body, str) else bytes(body)


def form(**changes: str | None) -> list[tuple[str, str]]:
    """A whole launch of LTI 1.1 with some fields changed, or left out when None."""
    return [(name, value) for name, value in (FORM_11 | changes).items() if value is not None]


CLAIM = "https://purl.imsglobal.org/spec/lti/claim/"
ISSUER, CLIENT, DEPLOYMENT = "https://lms.example.org", "client-1", "4"
MEMBERSHIP = "http://purl.imsglobal.org/vocab/lis/v2/membership"


def rsa_key(name: str = "platform", bits: int = 2048) -> rsa.RSAPrivateKey:
    """A key for each name, made once."""
    return _rsa_key(name, bits)


@cache
def _rsa_key(_name: str, bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def b64_number(number: int, size: int = 0) -> str:
    return b64(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    """The public part of a key as RFC 7517 writes it."""
    numbers = key.public_key().public_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        members = {"kty": "RSA", "n": b64_number(numbers.n), "e": b64_number(numbers.e), "alg": "RS256"}
    else:
        members = {"kty": "EC", "crv": "P-256", "x": b64_number(numbers.x, 32), "y": b64_number(numbers.y, 32)}
    return members | {"kid": kid, "use": "sig"} | more


def key_set(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys) or [jwk(rsa_key(), "k1"), jwk(ec_key(), "e1")]}).encode()


def token(claims: Any, *, header: dict[str, Any] | None = None, key: Any = None, kid: str = "k1") -> str:
    """A signed token, made by hand: any header, any payload."""
    key = key or rsa_key()
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    head = {"typ": "JWT", "alg": algorithm, "kid": kid} | (header or {})
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    text = f"{b64(json.dumps({k: v for k, v in head.items() if v is not None}).encode())}.{b64(payload)}"
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    else:
        r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return f"{text}.{b64(signature)}"


def claims(nonce: str = "n-1", **changes: Any) -> dict[str, Any]:
    """The claims of a whole launch of LTI 1.3; those of LTI by their short names; one that is None is left out."""
    core = {
        "version": "1.3.0",
        "message_type": "LtiResourceLinkRequest",
        "deployment_id": DEPLOYMENT,
        "target_link_uri": "https://hub.example.org/courses/python/hub/user-redirect/lab",
        "roles": [f"{MEMBERSHIP}#Learner"],
        "resource_link": {"id": "link-7", "title": "Week 3"},
        "context": {"id": "course-1", "label": "", "title": "Python for all", "type": ["CourseSection"]},
        "custom": {"notebook": "week3/a.ipynb", "points": 3, "open": True, "none": None},
        "launch_presentation": {"return_url": "https://lms.example.org/back", "locale": "fr"},
    }
    plain = {
        "iss": ISSUER,
        "aud": CLIENT,
        "sub": "42",
        "nonce": nonce,
        "iat": NOW,
        "exp": NOW + 60,
        "name": "Ada Lovelace",
        "email": "ada@example.org",
        "https://purl.imsglobal.org/spec/lti-ags/claim/endpoint": {
            "scope": ["https://purl.imsglobal.org/spec/lti-ags/scope/score"],
            "lineitems": "https://lms.example.org/items",
            "lineitem": "https://lms.example.org/items/1?type_id=1",
        },
        "https://purl.imsglobal.org/spec/lti-nrps/claim/namesroleservice": {
            "context_memberships_url": "https://lms.example.org/members",
            "service_versions": ["2.0"],
        },
        "https://purl.imsglobal.org/spec/lti-bo/claim/basicoutcome": {
            "lis_outcome_service_url": "https://lms.example.org/outcomes",
            "lis_result_sourcedid": '{"a":"b:c"}',
        },
    }
    known = core.keys() | {"for_user", "lti1p1", "deep_linking_settings"}
    full = plain | {CLAIM + name: value for name, value in core.items()}
    full |= {CLAIM + name if name in known else name: value for name, value in changes.items()}
    return {name: value for name, value in full.items() if value is not None}
