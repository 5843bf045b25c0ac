"""Passwords as hashes: argon2id, in a few threads of our own, so that memory is bounded and the event loop is free.

Parameters are OWASP's first choice (Password Storage Cheat Sheet): 19 MiB, two passes, one lane.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from coursewareauthenticator.methods import BUSY, LoginFailedError

MEMORY_KIB: Final = 19 * 1024
PASSES: Final = 2
THREADS: Final = 2
"""Hashes at once: 38 MiB at most."""
MOST_WAITING: Final = 300
"""Hashes asked for at once; at about 30 ms each, two at a time, the last waits some five seconds."""


class Hasher:
    """Makes and checks hashes."""

    def __init__(self, memory_kib: int = MEMORY_KIB, passes: int = PASSES, threads: int = THREADS) -> None:
        self._argon2 = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._waiting = 0
        self._nobody = ""

    async def hash(self, password: str) -> str:
        """The hash of a password, with its salt and parameters (PHC string). LoginFailedError when too many wait."""
        made: str = await self._run(self._argon2.hash, password)
        return made

    async def fits(self, hashed: str | None, password: str) -> bool:
        """Whether a password has this hash. Without one it costs the same, and the answer is no."""
        if not self._nobody:
            self._nobody = await self.hash("nobody has this account")
        verified: bool = await self._run(self._verify, hashed or self._nobody, password)
        return verified and hashed is not None

    def outdated(self, hashed: str) -> bool:
        """Whether a hash was made with other parameters than today's."""
        return self._argon2.check_needs_rehash(hashed)

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._argon2.verify(hashed, password)
        except (VerificationError, InvalidHashError, UnicodeError):
            return False

    async def _run(self, step: Any, *arguments: str) -> Any:
        if self._waiting >= MOST_WAITING:
            raise LoginFailedError(BUSY, "too many passwords wait to be checked", 503)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="password")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, step, *arguments)
        finally:
            self._waiting -= 1
