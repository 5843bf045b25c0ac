"""What an HTTP answer of a service means when it is no success. Pure.

A status says what may be tried again and what not; what differs between platforms stands in `families`.
"""

from __future__ import annotations

import math
import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

from coursewareauthenticator.lti.launch import shown
from coursewareauthenticator.lti.outcomes import Reply
from coursewareauthenticator.lti.services.families import OUTCOME_CODES, OUTCOME_TEXTS, Family
from coursewareauthenticator.lti.services.reasons import Kind, Reason, ServiceFailure
from coursewareauthenticator.lti.tokens import strict_json

_AGAIN: Final = frozenset({408, 425, 429})
_LARGEST_EXPLANATION: Final = 16 * 1024
_DIGITS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds to wait by a `Retry-After` header (RFC 9110 §10.2.3), a number or a date; None without a usable one."""
    if header is None:
        return None
    text = header.strip()
    if _DIGITS.fullmatch(text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
        seconds = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def failure(status: int, body: bytes, wait: float | None, family: Family, *, person: bool = False) -> ServiceFailure:
    """The failure of an answer whose status is not a success; `wait` is what `retry_after` found.

    `person` says that the request was about one person in one column, and not about the column or the course.
    """
    said = explanation(status, body)
    if status in _AGAIN or (status == 503 and wait is not None) or _is_pause(status, body, family):
        kind, reason, everything = Kind.RETRY, Reason.BUSY, True
    elif status == 401:
        kind, reason, everything = Kind.RETRY, Reason.TOKEN_REFUSED, True
    elif status == 501 or status < 500:
        (kind, reason), everything = _for_good(status, family, person), False
    else:
        kind, reason, everything = Kind.RETRY, Reason.BROKEN, status in {502, 503, 504}
    return ServiceFailure(kind, reason, said, status=status, retry_after=wait, everything=everything)


def _is_pause(status: int, body: bytes, family: Family) -> bool:
    if status != 403 or not family.busy:
        return False
    text = body[:_LARGEST_EXPLANATION].decode(errors="replace").lower()
    return any(word in text for word in family.busy)


def _for_good(status: int, family: Family, person: bool) -> tuple[Kind, Reason]:
    if person and status in family.not_a_student:
        return Kind.PERMANENT, Reason.NOT_A_STUDENT
    if status == 409:
        return Kind.CONFLICT, Reason.NEWER
    if status in {404, 410}:
        return Kind.GONE, Reason.NOT_THERE
    if status == 403:
        return Kind.PERMANENT, Reason.NOT_ALLOWED
    if 300 <= status < 400:
        return Kind.PERMANENT, Reason.MOVED
    return Kind.PERMANENT, Reason.REFUSED


def explanation(status: int, body: bytes) -> str:
    """The status and, where the body has one, the platform's own short text; never a page of HTML."""
    found = _text_of(body)
    return shown(f"HTTP {status}" + (f": {found}" if found else ""))


def _text_of(body: bytes) -> str:
    if not body or len(body) > _LARGEST_EXPLANATION:
        return ""
    try:
        value: Any = strict_json(body)
    except ValueError:
        line = body.decode(errors="replace").strip()
        return "" if "<" in line or "\n" in line else line
    for name in ("error_description", "message", "reason", "detail", "error", "errors"):
        found = value.get(name) if isinstance(value, dict) else None
        if isinstance(found, str) and found:
            return found
        if isinstance(found, dict | list) and found:
            return _first_text(found)
    return value if isinstance(value, str) else ""


def _first_text(value: Any) -> str:
    for _ in range(5):
        if isinstance(value, dict):
            value = value.get("message", next(iter(value.values()), ""))
        elif isinstance(value, list):
            value = value[0] if value else ""
        else:
            break
    return value if isinstance(value, str) else ""


def outcome_failure(status: int, reply: Reply, wait: float | None, family: Family) -> ServiceFailure | None:
    """The failure that an answer of Basic Outcomes is, or None when it was done. Only the answer's own code says so.

    Without a code it is no answer of this service: then the HTTP status counts, and a page with 200 is tried again.
    """
    if reply.success:
        return None
    if not reply.code:
        if 200 <= status < 300:
            return ServiceFailure(Kind.RETRY, Reason.UNREADABLE, status=status)
        return failure(status, b"", wait, family)
    kind, reason = _outcome_kind(reply)
    everything = reason in {Reason.BAD_SIGNATURE, Reason.BUSY}
    return ServiceFailure(kind, reason, reply.description, status=status, retry_after=wait, everything=everything)


def _outcome_kind(reply: Reply) -> tuple[Kind, Reason]:
    if reply.code == "processing":
        return Kind.RETRY, Reason.BUSY
    if reply.minor in OUTCOME_CODES:
        return OUTCOME_CODES[reply.minor]
    said = reply.description.lower()
    found = next(((kind, reason) for text, kind, reason in OUTCOME_TEXTS if text in said), None)
    return found or (Kind.PERMANENT, Reason.REFUSED)
