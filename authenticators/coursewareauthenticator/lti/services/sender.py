"""What sends the outbox: a task in the hub's event loop, and as many of them as there are hubs on one database.

Runs in: hub. A platform that is slow or away holds up its own grades only. Nothing here blocks the event loop: the
database is asked in threads of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from coursewareauthenticator.lti.services.backoff import pause
from coursewareauthenticator.lti.services.grades import Grade
from coursewareauthenticator.lti.services.outbox import LEASE, Due, Outbox, Parcel, State
from coursewareauthenticator.lti.services.platforms import Check
from coursewareauthenticator.lti.services.reasons import Kind, Reason, ServiceFailure
from coursewareauthenticator.lti.services.targets import Target

LONGEST: Final = 120.0
"""Seconds that one delivery may take, tokens and all; with one request more it is still within the lease."""
LATEST_START: Final = LEASE / 1000 - LONGEST - 30
"""Seconds after a claim from which on nothing is sent by it: the process was stopped meanwhile, and is too late."""
POLL: Final = 5.0
"""Seconds between two looks at the database, for what other processes have put there."""
PER_PLATFORM: Final = 4
AT_ONCE: Final = 20
_THREADS: Final = 2
_SHORTEST: Final = 0.05
"""Seconds between two looks, whatever is said."""
_TRIES: Final = 5
T = TypeVar("T")
_LOG: Final = logging.getLogger(__name__)


class Deliver(Protocol):
    """What brings a parcel to its platform, as `delivery.Delivery` does."""

    def __call__(self, parcel: Parcel, check: Check) -> Awaitable[Reason | None]:
        """Send it. Raises ServiceFailure, or what `check` raises."""


class TooLate(Exception):
    """The claim of a parcel may be over: somebody else may be sending it."""


@dataclass
class _Gate:
    """How it stands with one platform: failures in a row, and until when it is left alone (monotonic)."""

    failures: int = 0
    until: float = float("-inf")
    under_way: int = 0


class GradeSender:
    """The worker: `start` it in the hub's event loop, `send` what is to go, `stop` it at the end."""

    def __init__(
        self,
        outbox: Outbox,
        deliver: Deliver,
        *,
        poll: float = POLL,
        per_platform: int = PER_PLATFORM,
        at_once: int = AT_ONCE,
        pause: Callable[[int, float, float | None], float] = pause,
    ) -> None:
        self._outbox = outbox
        self._deliver = deliver
        self._poll = poll
        self._per_platform = per_platform
        self._at_once = at_once
        self._pause = pause
        self._gates: dict[str, _Gate] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        self._awake = asyncio.Event()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="grades")

    def start(self) -> None:
        """Begin to send."""
        if self._loop is None:
            self._loop = asyncio.ensure_future(self._run())

    async def stop(self, grace: float = 5.0) -> None:
        """Begin nothing more, and wait for what is under way, for `grace` seconds; the rest is for the next process."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            self._loop = None
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def wake(self) -> None:
        """Look at the outbox now."""
        self._awake.set()

    async def send(self, student: str, target: Target, grade: Grade) -> bool:
        """As `Outbox.put`, without blocking; then the grade is in the database. Raises SQLAlchemy's errors."""
        done = await self._in_thread(self._outbox.put, student, target, grade)
        self.wake()
        return done

    async def try_again(self, ident: str) -> bool:
        """As `Outbox.try_again`, without blocking, and at once also where the platform is being left alone."""
        done = await self._in_thread(self._outbox.try_again, ident)
        for gate in self._gates.values():
            gate.until = float("-inf")
        self.wake()
        return done

    async def _run(self) -> None:
        while True:
            self._awake.clear()
            try:
                wait = await self._round()
            except SQLAlchemyError as error:
                _LOG.warning("Grades wait: the hub's database does not answer (%s).", type(error).__name__)
                wait = self._poll
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._awake.wait()

    async def _round(self) -> float:
        """Start all that can be started; the seconds until the next look."""
        while len(self._tasks) < self._at_once:
            due = await self._in_thread(self._outbox.due, self._closed())
            if not due:
                break
            for one in due:
                if self._is_open(one.registration) and len(self._tasks) < self._at_once:
                    await self._begin(one)
        else:
            return self._poll  # the end of any of them wakes this up
        now = time.monotonic()
        waits = [self._poll, *(gate.until - now for gate in self._gates.values() if gate.until > now)]
        coming = await self._in_thread(self._outbox.until_due, self._closed())
        return max(min(waits if coming is None else [*waits, coming]), _SHORTEST)

    async def _begin(self, due: Due) -> None:
        gate = self._gates.setdefault(due.registration, _Gate())
        claimed = time.clock_gettime(time.CLOCK_BOOTTIME)
        parcel = await self._in_thread(self._outbox.claim, due)
        if parcel is None:
            return
        if parcel.clock_was_set_back:
            _LOG.warning("The clock was set back: the grade of %s is sent as later than the last.", parcel.student)
        gate.under_way += 1
        task = asyncio.ensure_future(self._carry(parcel, gate, claimed))
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, gate))

    def _ended(self, gate: _Gate, task: asyncio.Task[None]) -> None:
        gate.under_way -= 1
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its claim runs out, and it is sent again.
            _LOG.error("A grade was not sent because of a mistake in this hub.", exc_info=error)
        self._awake.set()

    async def _carry(self, parcel: Parcel, gate: _Gate, claimed: float) -> None:
        """Send one parcel and write down what came of it."""

        def check() -> None:
            if time.clock_gettime(time.CLOCK_BOOTTIME) - claimed > LATEST_START:
                raise TooLate

        try:
            async with asyncio.timeout(LONGEST):
                note = await self._deliver(parcel, check)
        except TooLate:
            _LOG.warning("The grade of %s is left to the next try: this process stood still.", parcel.student)
        except ServiceFailure as failed:
            await self._failed(parcel, gate, failed)
        except TimeoutError:
            await self._failed(parcel, gate, ServiceFailure(Kind.RETRY, Reason.NO_ANSWER, everything=True))
        else:
            gate.failures, gate.until = 0, float("-inf")
            await self._write(self._outbox.confirm, parcel, note)

    async def _failed(self, parcel: Parcel, gate: _Gate, failed: ServiceFailure) -> None:
        wait = self._pause(parcel.failures + 1, random.random(), failed.retry_after)  # noqa: S311 - no secret
        if failed.everything:
            gate.failures += 1
            # One failure may be a chance, unless the platform asks for a pause itself.
            if gate.failures > 1 or failed.retry_after is not None:
                whole = self._pause(gate.failures, random.random(), failed.retry_after)  # noqa: S311
                gate.until = time.monotonic() + whole
        state = await self._write(self._outbox.fail, parcel, failed, wait)
        again = f"next try in {wait:.0f} s" if state is State.WAITING else "not tried again by itself"
        _LOG.warning("A grade of %s was not taken (%s; %s).", parcel.student, failed, again)

    def _closed(self) -> list[str]:
        """The registrations that nothing is sent to now."""
        return [registration for registration in self._gates if not self._is_open(registration)]

    def _is_open(self, registration: str) -> bool:
        gate = self._gates.get(registration)
        return gate is None or (gate.under_way < self._per_platform and gate.until <= time.monotonic())

    async def _write(self, work: Callable[..., T], *values: Any) -> T | None:
        """Write down what came of a parcel; while the database is away, some times again, then the claim runs out."""
        for _ in range(_TRIES):
            try:
                return await self._in_thread(work, *values)
            except SQLAlchemyError as error:
                _LOG.warning("What came of a grade cannot be written down yet (%s).", type(error).__name__)
                await asyncio.sleep(1)
        return None

    async def _in_thread(self, work: Callable[..., T], *values: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *values))
