"""What a page of ours has to remember until its button is pressed, carried by the page itself. Pure.

Pages in a platform's frame often have no cookies. So what they need to go on is in their form, sealed with the secret
of the site as `state` of a login is (`login`), for one purpose and for a while.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from coursewareauthenticator.lti.launch import LaunchRefused, Once
from coursewareauthenticator.lti.login import LIFETIME
from coursewareauthenticator.lti.tokens import strict_json
from coursewarehub.i18n import N_

ENTER: Final = "enter"
"""Purpose: somebody whose launch was verified enters in a window of its own."""
LEAVE: Final = "leave"
"""Purpose: somebody who is signed in wants to be somebody else, whose launch has arrived."""
CHOOSE: Final = "choose"
"""Purpose: somebody who teaches chooses content for a link."""


@dataclass(frozen=True)
class Ticket:
    """An opened ticket: its fields, and what must be used up where it counts once. `course` is who made it."""

    fields: Sequence[Any]
    once: Once


def seal(purpose: str, course: str, fields: Sequence[Any], secret: bytes, now: float) -> str:
    """A ticket for one purpose in one course; `fields` are JSON values, `now` is in seconds since 1970."""
    content = [int(now) + LIFETIME, secrets.token_urlsafe(16), list(fields)]
    body = base64.urlsafe_b64encode(json.dumps(content, ensure_ascii=False).encode()).rstrip(b"=")
    return f"{body.decode()}.{_mac(purpose, course, body, secret)}"


def unseal(purpose: str, course: str, ticket: str, secret: bytes, now: float) -> Ticket:
    """What is in a ticket. Raises LaunchRefused 401 for one that is not of this course and purpose, or too old."""
    body, _, mac = ticket.partition(".")
    raw = body.encode("utf-8", "replace")
    if not hmac.compare_digest(_mac(purpose, course, raw, secret).encode(), mac.encode("utf-8", "replace")):
        raise LaunchRefused(401, "launch", N_("This page is not of this course: open the link in your course again."))
    try:
        expires, nonce, fields = strict_json(base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4)))
    except (ValueError, TypeError, binascii.Error):
        raise LaunchRefused(
            401, "launch", N_("This page is not of this course: open the link in your course again.")
        ) from None
    if now > expires:
        raise LaunchRefused(
            401, "launch", N_("This page was open for more than an hour: open the link in your course again.")
        )
    return Ticket(fields, Once(f"ticket {purpose}", nonce, expires))


def _mac(purpose: str, course: str, body: bytes, secret: bytes) -> str:
    head = b"lti ticket\0" + purpose.encode() + b"\0" + course.encode() + b"\0"
    return hmac.new(secret, head + body, hashlib.sha256).hexdigest()
