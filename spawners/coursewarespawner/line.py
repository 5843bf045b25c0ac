"""A line in front of a counter: at most so many at a time, the others in order, each told its place."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar, Final
from weakref import WeakKeyDictionary

Tell = Callable[[int], None]

_REMEMBERED: Final = 20


class Line:
    """Lets `width` at a time through, first come first served.

    `tell` is called with the number of others still in front: again whenever it changes, and with 0 when it is
    one's turn.
    """

    _lines: ClassVar[WeakKeyDictionary[Any, Line]] = WeakKeyDictionary()

    def __init__(self, width: int) -> None:
        self.width = width
        self._served = 0
        self._waiting: deque[tuple[asyncio.Future[None], Tell]] = deque()
        self._took: deque[float] = deque(maxlen=_REMEMBERED)

    @classmethod
    def of(cls, owner: Any, width: int) -> Line:
        """The one line of an owner (a hub)."""
        line = cls._lines.get(owner)
        if line is None:
            line = cls._lines[owner] = cls(width)
        line.width = width
        return line

    @contextlib.asynccontextmanager
    async def turn(self, tell: Tell) -> AsyncIterator[None]:
        """Wait for one's turn and hold it."""
        await self._wait(tell)
        began = time.monotonic()
        try:
            yield
            self._took.append(time.monotonic() - began)
        finally:
            self._served -= 1
            self._call_next()

    def seconds(self, place: int) -> float | None:
        """About how long it takes until who has so many in front is done, by the median of the last turns.

        None as long as no turn has come to its end.
        """
        if not self._took:
            return None
        return statistics.median(self._took) * (1 + place / self.width)

    async def _wait(self, tell: Tell) -> None:
        if self._served < self.width and not self._waiting:
            self._served += 1
            tell(0)
            return
        called = asyncio.get_running_loop().create_future()
        self._waiting.append((called, tell))
        tell(len(self._waiting))
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():
                self._served -= 1
                self._call_next()
            else:
                self._waiting = deque(w for w in self._waiting if w[0] is not called)
                self._tell_places()
            raise
        tell(0)

    def _call_next(self) -> None:
        while self._waiting and self._served < self.width:
            called, _ = self._waiting.popleft()
            if not called.cancelled():
                self._served += 1
                called.set_result(None)
        self._tell_places()

    def _tell_places(self) -> None:
        for place, (_, tell) in enumerate(self._waiting, start=1):
            tell(place)
