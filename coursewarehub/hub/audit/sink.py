"""Writes events down without keeping the hub waiting: a bounded queue, and one thread that empties it.

What finds no room is counted, and the count becomes an event as soon as the database answers again. What is still there
when the hub ends goes to its log.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from coursewarehub.state.audit import AuditBook, Entry
from coursewarehub.wire.audit import PREFIX, Event, events_lost

MOST_WAITING: Final = 10_000
"""Events in memory while the database does not answer; about 1 KB each."""

_AT_ONCE: Final = 100
_LONGEST_PAUSE: Final = 30.0
_PRUNE_SECONDS: Final = 3600.0
_END_SECONDS: Final = 5.0


class AuditSink(logging.Handler):
    """A handler of jupyter_events' that keeps the events of ours in `book`, and gives each as one line to `write_line`.

    `emit` never blocks and never raises; everything else happens in a thread, which `close` ends.
    """

    def __init__(
        self,
        book: AuditBook,
        course: str,
        log: Any,
        write_line: Callable[[str], None] | None = None,
        most_waiting: int = MOST_WAITING,
        prune_seconds: float = _PRUNE_SECONDS,
    ) -> None:
        super().__init__()
        self.book = book
        self._course = course
        self._log = log
        self._write_line = write_line
        self._most = most_waiting
        self._prune_seconds = prune_seconds
        self._waiting: deque[tuple[Entry, str]] = deque()
        self._lost = 0
        self._ending = False
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._pruned = float("-inf")
        self._said = False

    def emit(self, record: logging.LogRecord) -> None:
        """Take one event; those of other schemas (JupyterHub's own) go elsewhere."""
        capsule = record.msg
        if isinstance(capsule, Mapping) and str(capsule.get("__schema__", "")).startswith(PREFIX):
            self._put(entry_of(capsule), line_of(capsule))

    def _put(self, entry: Entry, line: str) -> None:
        with self._news:
            if len(self._waiting) >= self._most:
                self._lost += 1
                return
            self._waiting.append((entry, line))
            self._news.notify()

    def start(self) -> None:
        """Start the thread, which forgets what is too old at once and every hour; not before the process is forked."""
        with self._news:
            self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what is left, for a few seconds at most; then it goes to the log."""
        with self._news:
            self._ending = True
            self._news.notify()
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_END_SECONDS)
        with self._news:
            left = [line for _, line in self._waiting]
            self._waiting.clear()
            lost, self._lost = self._lost, 0
        for line in left:
            self._log.error("Not in the audit: %s", line)
        if lost:
            self._log.error("%d more events are missing from the audit", lost)
        self.book.close()
        super().close()

    def _work(self) -> None:
        """The thread: what is at the head of the queue is taken away once it is in the database."""
        pause = 0.0
        self._prune()
        while True:
            with self._news:
                if not (self._waiting or self._lost or self._ending):
                    self._news.wait(self._prune_seconds)
                if pause and not self._ending:
                    self._news.wait_for(lambda: self._ending, pause)
                some = [self._waiting[index] for index in range(min(_AT_ONCE, len(self._waiting)))]
                lost = self._lost
                last_try = self._ending
            if not some and not lost:
                if last_try:
                    return
                self._prune()
            elif self._written(some, lost):
                pause = 0.0
                self._prune()
            elif last_try:
                return
            else:
                pause = min(_LONGEST_PAUSE, max(1.0, 2 * pause))

    def _written(self, some: list[tuple[Entry, str]], lost: int) -> bool:
        entries = [entry for entry, _ in some]
        if lost:
            entries.append(self._missing(lost))
        try:
            self.book.append(entries)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises: it is tried again, and said once
            if not self._said:
                self._log.error("The audit cannot be written (%s): it is tried again", type(error).__name__)
            self._said = True
            return False
        self._said = False
        with self._news:
            for _ in some:
                self._waiting.popleft()
            self._lost -= lost
        for _, line in some:
            self._tell(line)
        return True

    def _missing(self, lost: int) -> Entry:
        event = events_lost(lost)
        return entry_from(event, datetime.now(UTC), {"course": self._course, **event.data})

    def _tell(self, line: str) -> None:
        if self._write_line is None:
            return
        try:
            self._write_line(line)
        except OSError as error:
            self._log.error("A line of the audit cannot be written: %s", error.strerror)

    def _prune(self) -> None:
        now = time.monotonic()
        if now - self._pruned < self._prune_seconds:
            return
        self._pruned = now
        try:
            self.book.prune(datetime.now(UTC))
        except Exception as error:  # noqa: BLE001 - as above
            self._log.error("Old events of the audit cannot be forgotten: %s", type(error).__name__)


def entry_of(capsule: Mapping[str, Any]) -> Entry:
    """What is kept of an event as jupyter_events hands it out."""
    data = {key: value for key, value in capsule.items() if not key.startswith("__")}
    event = Event(str(capsule["__schema__"]).removeprefix(PREFIX), data)
    # jupyter_events writes a `Z` behind the time zone.
    return entry_from(event, datetime.fromisoformat(str(capsule["__timestamp__"]).removesuffix("Z")), data)


def entry_from(event: Event, when: datetime, data: Mapping[str, Any]) -> Entry:
    """What is kept of an event that happened at `when`."""
    return Entry(
        time=when,
        kind=event.schema,
        action=event.action,
        person=str(data.get("person", "")),
        actor=str(data.get("actor", "")),
        failure=event.is_failure,
        data={key: value for key, value in data.items() if key not in {"course", "action", "person", "actor"}},
    )


def line_of(capsule: Mapping[str, Any]) -> str:
    """One line of JSON, without a line break."""
    return json.dumps(dict(capsule), ensure_ascii=False)
