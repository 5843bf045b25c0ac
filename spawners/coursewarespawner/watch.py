"""Watching one start: whether the engine says that it fails, and when the server answers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from coursewarehub.engine.observe import Observation
from coursewarehub.engine.states import Condition, Facts, Reason, reason_of_words
from coursewarehub.engine.view import EngineView
from coursewarespawner import messages
from coursewarespawner.messages import NotPlaced, StartFailed

_KNOCK: Final = 0.03
_LOOK_AGAIN: Final = 2.0
NO_ADDRESS: Final = reason_of_words("no available IPv4 addresses", Facts()).template
"""What is told when the course's network is full."""
OTHER: Final = reason_of_words("something else", Facts()).template
"""What is told of words that nobody knows."""
_FAILED: Final = frozenset({Condition.ENDED, Condition.FAILED, Condition.LOST, Condition.GONE})


@dataclass
class Watch:
    """What is to be seen of one start, told to `tell` as it comes.

    `spawn` is the start's id: what belongs to another is not looked at. A reason to wait, such as that no machine has
    room, is a failure when it lasts longer than `patience` seconds.
    """

    spawn: str
    tell: Callable[[Observation], None]
    patience: float = 5.0
    clock: Callable[[], float] = time.monotonic
    _held_since: float | None = field(default=None, init=False)
    _running_since: float | None = field(default=None, init=False)

    def fails(self, seen: Observation) -> bool:
        """Whether the start has failed by what was seen."""
        if not self._is_this(seen):
            return False
        self._note(seen)
        held = self._held_since is not None and self.clock() - self._held_since >= self.patience
        return seen.condition in _FAILED or held

    def placed(self, seen: Observation) -> bool:
        """Whether the server's address is known, or will never be."""
        return self.fails(seen) or (self._is_this(seen) and bool(seen.address))

    def runs_for(self) -> float:
        """Seconds since it was first seen to run."""
        return 0.0 if self._running_since is None else self.clock() - self._running_since

    def _is_this(self, seen: Observation) -> bool:
        return seen.condition is Condition.GONE or seen.spawn == self.spawn

    def _note(self, seen: Observation) -> None:
        waits = seen.condition is Condition.STARTING and seen.reason is not None and seen.verified
        self._held_since = (self._held_since or self.clock()) if waits else None
        if seen.condition is Condition.RUNNING:
            self._running_since = self._running_since or self.clock()
        self.tell(seen)


async def until_failed(view: EngineView, name: str, watch: Watch) -> Observation:
    """Wait until the engine says that the start of `name` has failed."""
    while True:
        # Again and again: that a reason to wait lasts too long is no news to the engine.
        with contextlib.suppress(TimeoutError):
            return await view.wait_for(name, watch.fails, _LOOK_AGAIN)


async def until_placed(view: EngineView, name: str, watch: Watch) -> str:
    """Wait until the address of `name` is known; for ever when the start fails before."""
    while True:
        with contextlib.suppress(TimeoutError):
            seen = await view.wait_for(name, watch.placed, _LOOK_AGAIN)
            if seen.address:
                return seen.address
            await asyncio.sleep(_LOOK_AGAIN)


async def until_it_answers(address: str, port: int, path: str) -> None:
    """Knock until somebody listens, and wait for what is answered to a request for `path`.

    Our server listens at once, and keeps a processor core busy until it answers. Who waited only until it listens would
    have all servers start at the same time, and hardly one would answer before the last.
    """
    request = f"GET {path} HTTP/1.1\r\nHost: {address}:{port}\r\nConnection: close\r\n\r\n".encode()
    while True:
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection(address, port)
            try:
                writer.write(request)
                if await reader.read(1):
                    return
            finally:
                writer.close()
        await asyncio.sleep(_KNOCK)


def failure(seen: Observation, places: int | None) -> StartFailed:
    """What the learner is told of a start that failed; `places` is how many servers the course's network holds."""
    reason = seen.reason
    if isinstance(reason, Reason) and reason.template == NO_ADDRESS and places is not None:
        return StartFailed(messages.COURSE_FULL, places=places)
    if seen.condition is Condition.GONE:
        return StartFailed(messages.REMOVED)
    if seen.condition is Condition.ENDED:
        return StartFailed(messages.ENDED_IN_ORDER)
    if seen.exit_code:
        return StartFailed(messages.ENDED, reason=reason or "")
    if seen.refused or seen.condition is Condition.STARTING:
        return NotPlaced(messages.NOT_STARTED, reason=reason or "", machine=seen.node_id if seen.refused else "")
    return StartFailed(messages.NOT_STARTED, reason=reason or "")
