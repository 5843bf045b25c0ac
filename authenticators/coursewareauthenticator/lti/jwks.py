"""Platforms' public keys: fetched when they are needed, kept, and fetched anew when a launch names one that is unknown.

Runs in: hub. Never blocks the event loop; a platform that does not answer delays its own launches only, for `TIMEOUT`
seconds at most, and not those whose keys are known.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from tornado.httpclient import HTTPError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from coursewareauthenticator.lti.launch import BadSignature, LaunchRefused, UnknownKey, may_be_asked
from coursewareauthenticator.lti.tokens import LARGEST_KEY_SET, KeySet, read_key_set
from coursewarehub.i18n import N_

FRESH: Final = 3600
"""Seconds for which keys are used without asking."""
GRACE: Final = 600
"""Seconds for which they are used longer, while the platform does not answer."""
AGAIN: Final = 5
"""Seconds between two requests to one platform, whatever arrives."""
TIMEOUT: Final = 5
"""Seconds."""
T = TypeVar("T")


@dataclass
class _Entry:
    """What is known of one address; times are the clock's."""

    keys: KeySet | None = None
    fetched: float = float("-inf")
    tried: float = float("-inf")
    failure: LaunchRefused | None = None
    task: asyncio.Task[None] | None = None


class PlatformKeys:
    """Key sets by their address. `http_hosts` are the hosts (`name` or `name:port`) that may be asked without TLS.

    One for a hub; addresses come from its registrations, so that there are not more entries than those.
    """

    def __init__(
        self,
        http_hosts: frozenset[str] = frozenset(),
        *,
        timeout: float = TIMEOUT,
        again: float = AGAIN,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http_hosts = http_hosts
        self._timeout = timeout
        self._again = again
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._client: SimpleAsyncHTTPClient | None = None

    async def check(self, url: str, work: Callable[[KeySet], T]) -> T:
        """What `work` (a pure check of a token) gives with the platform's keys.

        When it misses a key, or a signature does not fit the key of its name, and the last request is some seconds
        ago, the keys are fetched again and `work` is done once more. Raises what `work` raises, and LaunchRefused 502
        or 503 when there are no keys.
        """
        entry = self._entries.setdefault(url, _Entry())
        keys = await self._keys(url, entry)
        try:
            return work(keys)
        except (UnknownKey, BadSignature):
            if not self._may_ask(entry) and entry.task is None:
                raise
            await self._refresh(url, entry)
            if entry.keys is None or entry.keys is keys:
                raise
            return work(entry.keys)

    def close(self) -> None:
        """End what is under way."""
        for entry in self._entries.values():
            if entry.task is not None:
                entry.task.cancel()
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _keys(self, url: str, entry: _Entry) -> KeySet:
        age = self._clock() - entry.fetched
        if entry.keys is not None and age < FRESH + GRACE:
            if age >= FRESH and self._may_ask(entry):
                self._start(url, entry)  # in the background: these keys are good enough meanwhile
            return entry.keys
        if self._may_ask(entry) or entry.task is not None:
            await self._refresh(url, entry)
        if entry.keys is None or self._clock() - entry.fetched >= FRESH + GRACE:
            raise entry.failure or _unreachable(url, "no answer")
        return entry.keys

    def _may_ask(self, entry: _Entry) -> bool:
        return self._clock() - entry.tried >= self._again

    async def _refresh(self, url: str, entry: _Entry) -> None:
        """Wait for one request, which all who need it share; it goes on when one of them leaves."""
        await asyncio.shield(self._start(url, entry))

    def _start(self, url: str, entry: _Entry) -> asyncio.Task[None]:
        if entry.task is None:
            entry.tried = self._clock()
            entry.task = asyncio.ensure_future(self._fetch(url, entry))
        return entry.task

    async def _fetch(self, url: str, entry: _Entry) -> None:
        """Ask once. What goes wrong is kept in the entry, beside the keys of before."""
        try:
            entry.keys = read_key_set(await self._get(url))
            entry.fetched = self._clock()
            entry.failure = None
        except LaunchRefused as failure:
            entry.failure = failure
        finally:
            entry.task = None

    async def _get(self, url: str) -> bytes:
        """The body of a 200. LaunchRefused 502 for an address that is not allowed, 503 for every other failure."""
        if not may_be_asked(url, self._http_hosts):
            raise LaunchRefused(
                502,
                "jwks_url",
                N_("The key set %(url)s is not asked for: it needs https, or its host among those allowed without."),
                url=url,
            )
        if self._client is None:
            self._client = SimpleAsyncHTTPClient(force_instance=True, max_body_size=LARGEST_KEY_SET, max_clients=20)
        request = HTTPRequest(
            url,
            headers={"Accept": "application/jwk-set+json, application/json"},
            connect_timeout=self._timeout,
            request_timeout=self._timeout,
            follow_redirects=False,
            decompress_response=False,
        )
        try:
            async with asyncio.timeout(self._timeout + 1):
                response = await self._client.fetch(request)
        except HTTPError as error:
            raise _unreachable(url, f"HTTP {error.code}") from None
        except (OSError, ValueError, TimeoutError) as error:
            raise _unreachable(url, type(error).__name__) from None
        if response.code != 200:
            raise _unreachable(url, f"HTTP {response.code}")
        return response.body


def _unreachable(url: str, why: str) -> LaunchRefused:
    return LaunchRefused(
        503,
        "jwks_url",
        N_("The platform's key set %(url)s cannot be had (%(why)s): try again in a minute, or check its address."),
        url=url,
        why=why,
    )
