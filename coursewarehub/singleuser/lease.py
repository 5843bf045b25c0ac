"""The lease: never two writers on one home.

A server may write while the hub has confirmed, not longer ago than the lease, that it is still the one. Without that
it pauses: everything below it is stopped, and what would change something is refused, until the hub confirms again.
When the hub says that another server has taken its place, it ends at once. `Lease` decides; `LeaseKeeper` does.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

log = logging.getLogger("coursewarehub.singleuser")

REPLACED_STATUS: Final = 77
"""Exit status of a server whose place another one has taken."""

_ASKS: Final = 6
"""How often the hub is asked while one lease lasts."""


class Answer(StrEnum):
    """What the hub says of this server."""

    CURRENT = "current"
    REPLACED = "replaced"
    UNKNOWN = "unknown"


class Phase(StrEnum):
    """What this server may do: everything, wait, nothing any more."""

    HELD = "held"
    PAUSED = "paused"
    LOST = "lost"


@dataclass(frozen=True)
class State:
    """Where a lease stands; `confirmed` is when the question was asked to which the hub last said yes."""

    phase: Phase
    confirmed: float


@dataclass(frozen=True)
class Heard:
    """An answer, and when its question was asked: a late yes is worth no more than an early one."""

    answer: Answer
    asked: float


@dataclass(frozen=True)
class Lease:
    """The rules, for a lease of so many seconds. All times are of one clock that never goes back."""

    seconds: float

    def begin(self, now: float) -> State:
        """A server that was started just now is the one."""
        return State(Phase.HELD, now)

    def next(self, state: State, heard: Heard | None, now: float) -> State:
        """The state after an answer, or after time has passed (`heard` None)."""
        if state.phase is Phase.LOST or (heard is not None and heard.answer is Answer.REPLACED):
            return State(Phase.LOST, state.confirmed)
        confirmed = state.confirmed
        if heard is not None and heard.answer is Answer.CURRENT:
            confirmed = max(confirmed, heard.asked)
        return State(Phase.HELD if now - confirmed < self.seconds else Phase.PAUSED, confirmed)

    def ends(self, state: State) -> float:
        """When the lease is over if nothing more is heard."""
        return state.confirmed + self.seconds

    @property
    def interval(self) -> float:
        """Seconds from one question to the next."""
        return self.seconds / _ASKS


@dataclass(frozen=True)
class Deeds:
    """What follows from a change of phase. `pause` may be called again and again; `end` does not come back."""

    pause: Callable[[], None]
    resume: Callable[[], None]
    end: Callable[[], None]


def clock() -> float:
    """Seconds since the machine was started, sleep included; not the time of day."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeaseKeeper(threading.Thread):
    """Asks the hub and does what follows, in a thread and an event loop of its own.

    The server's loop may hang in a slow file system; the lease must not.
    """

    def __init__(self, seconds: float, ask: Callable[[], Awaitable[Answer]], deeds: Deeds) -> None:
        super().__init__(name="lease", daemon=True)
        self.lease = Lease(seconds)
        self.state = self.lease.begin(clock())
        self._ask = ask
        self._deeds = deeds

    def may_write(self) -> bool:
        """Whether the server may change something now; exact also when the thread is late."""
        return self.state.phase is Phase.HELD and clock() < self.lease.ends(self.state)

    def run(self) -> None:
        """Keep the lease until it is lost; whatever goes wrong in here must not leave a server without one."""
        try:
            asyncio.run(self._keep())
        except Exception:
            log.exception("lease: it cannot be kept")
            self._deeds.end()

    async def _keep(self) -> None:
        while self.state.phase is not Phase.LOST:
            self._enter(self.lease.next(self.state, None, clock()))
            asked = clock()
            answer = await self._answer()
            self._enter(self.lease.next(self.state, Heard(answer, asked), clock()))
            await asyncio.sleep(max(0.0, self._wake(asked + self.lease.interval) - clock()))

    async def _answer(self) -> Answer:
        try:
            async with asyncio.timeout(self._wake(clock() + self.lease.interval) - clock()):
                return await self._ask()
        except TimeoutError:
            return Answer.UNKNOWN

    def _wake(self, latest: float) -> float:
        """`latest`, or earlier when the lease ends before that."""
        return min(latest, self.lease.ends(self.state)) if self.state.phase is Phase.HELD else latest

    def _enter(self, state: State) -> None:
        before, self.state = self.state.phase, state
        if state.phase is not before:
            log.warning("lease: %s, last confirmed %.0f s ago", state.phase, clock() - state.confirmed)
        if state.phase is Phase.LOST:
            self._deeds.end()
        elif state.phase is Phase.PAUSED:
            self._deeds.pause()  # each time anew, for what was started meanwhile
        elif before is Phase.PAUSED:
            self._deeds.resume()


_keeper: LeaseKeeper | None = None


def keep(keeper: LeaseKeeper) -> None:
    """Make this the lease of the process and start it."""
    global _keeper  # noqa: PLW0603 - a process has one
    _keeper = keeper
    keeper.start()


def current() -> LeaseKeeper | None:
    """The lease of this process; None for a server that needs none."""
    return _keeper


def may_write() -> bool:
    """Whether this server may change something now."""
    return _keeper is None or _keeper.may_write()
