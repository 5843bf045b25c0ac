"""Basic Outcomes 1.1: one grade to, or from, a platform of LTI 1.1. Pure: messages and replies, no network.

References: LTI Outcomes Management 1.0 §2, OAuth Request Body Hash 1.0, RFC 5849 §3.5.1 (Authorization header).
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from coursewareauthenticator.lti.launch import LONGEST_TEXT, Outcomes, shown
from coursewareauthenticator.lti.lti11 import Consumer, base_string, signature

NAMESPACE: Final = "http://www.imsglobal.org/services/ltiv1p1/xsd/imsoms_v1p0"
LARGEST_REPLY: Final = 64 * 1024
"""Bytes."""
_METHOD: Final = "HMAC-SHA1"
_NOT_IN_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Action(StrEnum):
    """What is asked for."""

    REPLACE = "replaceResult"
    READ = "readResult"
    DELETE = "deleteResult"


@dataclass(frozen=True)
class Message:
    """One POST. It counts once: a retry needs a new message, with a nonce of its own."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What the platform says; only `success` says whether it was done, the HTTP status does not.

    `code` is `imsx_codeMajor` and `minor` `imsx_codeMinorFieldValue`, in lower case; empty when the answer is no
    answer of this service.
    """

    success: bool
    description: str
    score: float | None = None
    code: str = field(default="", compare=False)
    minor: str = field(default="", compare=False)


def message(action: Action, outcomes: Outcomes, consumer: Consumer, now: float, score: float | None = None) -> Message:
    """The signed message. `score` is from 0 to 1, what is outside is cut; `now` is in seconds since 1970.

    Raises ValueError when a replaced result has no score or no number, or when the platform's id cannot be in XML.
    """
    body = _envelope(action, outcomes.sourcedid, score)
    digest = base64.b64encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode()
    oauth = {
        "oauth_version": "1.0",
        "oauth_nonce": secrets.token_urlsafe(24),
        "oauth_timestamp": str(int(now)),
        "oauth_signature_method": _METHOD,
        "oauth_consumer_key": consumer.key,
        "oauth_body_hash": digest,
    }
    pairs = [*oauth.items(), *parse_qsl(urlsplit(outcomes.url).query, keep_blank_values=True)]
    text = base_string("POST", outcomes.url, [(name.encode(), value.encode()) for name, value in pairs])
    oauth["oauth_signature"] = signature(text, consumer.secrets[0], _METHOD).decode()
    header = ", ".join(f'{name}="{quote(value, safe="~")}"' for name, value in oauth.items())
    return Message(outcomes.url, {"Authorization": f"OAuth {header}", "Content-Type": "application/xml"}, body)


def _envelope(action: Action, sourcedid: str, score: float | None) -> bytes:
    if _NOT_IN_XML.search(sourcedid):
        raise ValueError("the platform's result id has characters that XML has not")
    result = ""
    if action is Action.REPLACE:
        result = (
            "<result><resultScore><language>en</language>"
            f"<textString>{_decimal(score)}</textString></resultScore></result>"
        )
    # A line end in an id would be read as a space or another line end.
    ident = escape(sourcedid, {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;"})
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<imsx_POXEnvelopeRequest xmlns="{NAMESPACE}">'
        "<imsx_POXHeader><imsx_POXRequestHeaderInfo><imsx_version>V1.0</imsx_version>"
        f"<imsx_messageIdentifier>{secrets.token_hex(16)}</imsx_messageIdentifier>"
        "</imsx_POXRequestHeaderInfo></imsx_POXHeader>"
        f"<imsx_POXBody><{action}Request><resultRecord>"
        f"<sourcedGUID><sourcedId>{ident}</sourcedId></sourcedGUID>{result}"
        f"</resultRecord></{action}Request></imsx_POXBody></imsx_POXEnvelopeRequest>"
    ).encode()


def _decimal(score: float | None) -> str:
    """From 0 to 1 with a point and without an exponent, in any locale."""
    if score is None or math.isnan(score):
        raise ValueError("a result to replace needs a score from 0 to 1")
    # Plus 0.0: there is no grade of minus zero.
    return f"{min(max(score, 0.0), 1.0) + 0.0:.6f}".rstrip("0").rstrip(".")


def read_reply(body: bytes) -> Reply:
    """The platform's answer; whatever it is, and an answer that is none is no success."""
    # A document type is what entities need that grow without end; in two bytes a character it would not be seen.
    if len(body) > LARGEST_REPLY or b"<!DOCTYPE" in body or b"\0" in body:
        return Reply(False, "The platform's answer is not valid.")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - without a document type, and small
    except (ElementTree.ParseError, ValueError, LookupError):
        return Reply(False, "The platform's answer is not XML.")
    found = {element.tag.rpartition("}")[2]: (element.text or "").strip() for element in root.iter()}
    code = found.get("imsx_codeMajor", "")
    described = shown(found.get("imsx_description", "")[:LONGEST_TEXT])
    said = described or code or "The platform's answer says nothing."
    minor = found.get("imsx_codeMinorFieldValue", "")[:64].lower()
    return Reply(code == "success", said, _number(found), code[:64].lower(), minor)


def _number(found: Mapping[str, str]) -> float | None:
    try:
        score = float(found.get("textString") or "nan")
    except ValueError:
        return None
    return score if math.isfinite(score) else None
