"""Access tokens of platforms: asked for when they are needed, shared, and kept until shortly before their end.

Runs in: hub. One request at a time for each platform and set of rights, however many need the token.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from coursewareauthenticator.lti.keys import KeysUnusable, ToolKey
from coursewareauthenticator.lti.registrations import Registration
from coursewareauthenticator.lti.services.answers import retry_after
from coursewareauthenticator.lti.services.assertions import Token, read_token, refused_token, token_request
from coursewareauthenticator.lti.services.http import Call, ServiceHttp
from coursewareauthenticator.lti.services.reasons import Kind, Reason, ServiceFailure

AGAIN: Final = 5.0
"""Seconds for which a failure is the answer to all who ask."""
_LARGEST: Final = 64 * 1024
_Wanted = tuple[str, frozenset[str]]


@dataclass
class _Entry:
    """What is known for one platform and set of rights; `failed` is the monotonic clock's."""

    token: Token | None = None
    failure: ServiceFailure | None = None
    failed: float = float("-inf")
    task: asyncio.Task[None] | None = None


class AccessTokens:
    """Tokens by registration and rights. `key` is the tool's key for a platform; it may block, and runs in a thread.

    `clock` is in seconds since 1970. There are not more entries than registrations and services.
    """

    def __init__(
        self, http: ServiceHttp, key: Callable[[Registration], ToolKey], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._http = http
        self._key = key
        self._clock = clock
        self._entries: dict[_Wanted, _Entry] = {}

    async def get(self, registration: Registration, scopes: frozenset[str]) -> Token:
        """A token that still counts. Raises ServiceFailure, the same for all who ask within some seconds."""
        entry = self._entries.setdefault((registration.registration, scopes), _Entry())
        if entry.token is not None and self._clock() < entry.token.until:
            return entry.token
        if entry.task is None:
            if entry.failure is not None and time.monotonic() - entry.failed < AGAIN:
                raise entry.failure.with_traceback(None)
            entry.task = asyncio.ensure_future(self._fetch(registration, scopes, entry))
        # One who leaves does not end it for the others.
        await asyncio.shield(entry.task)
        if entry.token is None:
            raise (entry.failure or refused_token("no answer")).with_traceback(None)
        return entry.token

    def drop(self, registration: Registration, scopes: frozenset[str], token: Token) -> None:
        """Forget a token that the platform refused; not one that has been fetched since."""
        entry = self._entries.get((registration.registration, scopes))
        if entry is not None and entry.token is token:
            entry.token = None

    async def _fetch(self, registration: Registration, scopes: frozenset[str], entry: _Entry) -> None:
        """Ask once; what comes of it is in the entry."""
        entry.token = None
        try:
            entry.token = await self._ask(registration, scopes)
            entry.failure = None
        except ServiceFailure as failure:
            entry.failure, entry.failed = failure, time.monotonic()
        finally:
            entry.task = None

    async def _ask(self, registration: Registration, scopes: frozenset[str]) -> Token:
        now = self._clock()
        body = await asyncio.to_thread(self._form, registration, scopes, now)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        answer = await self._http.send(Call("POST", registration.token_url or "", headers, body))
        if answer.status == 429 or answer.status >= 500:
            wait = retry_after(answer.retry_after, now)
            reason = Reason.BUSY if answer.status in {429, 503} else Reason.BROKEN
            said = f"HTTP {answer.status}"
            raise ServiceFailure(Kind.RETRY, reason, said, status=answer.status, retry_after=wait, everything=True)
        return read_token(answer.status, answer.body[:_LARGEST], now)

    def _form(self, registration: Registration, scopes: frozenset[str], now: float) -> bytes:
        try:
            return token_request(registration, self._key(registration), scopes, now)
        except KeysUnusable:
            # Which file is wrong is for the operator, who sees it where keys are looked after.
            raise refused_token("the key of this tool cannot be used") from None
