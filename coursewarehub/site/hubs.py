"""One course's hub, seen from the site: asleep, starting, running, failed.

The site keeps the hub's listening socket open all the time. While no hub runs, requests wait in the kernel's queue of
that socket: the first one wakes the hub, which inherits the socket and answers it. So neither sleep nor a crash ever
refuses or loses a request, whatever its method.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from socket import socket

from tornado.httpserver import HTTPServer
from tornado.web import Application

from coursewarehub.model import ConfigurationError
from coursewarehub.prefork.client import ParentClient, Started, StartRefused
from coursewarehub.state import processes
from coursewarehub.state.databases import DatabaseFailed, HubDatabase
from coursewarehub.state.folders import CourseFolders
from coursewarehub.wire.prefork import Event, ProcessRecord, StartRequest

log = logging.getLogger("coursewarehub.site.hubs")


class HubState(StrEnum):
    """What `coursewarehub status` shows."""

    SLEEPING = "sleeping"
    STARTING = "starting"
    RUNNING = "running"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Attempt:
    """How one run of a hub ended."""

    asleep: bool
    ready: bool
    reason: str
    seconds: float


SETTLED = 10.0
"""A hub that served for so many seconds had started well: its end is no failed start, and it is back at once."""


def pause_before_retry(failures: int) -> float:
    """Seconds to wait before start number `failures` + 1 in a row: none at first, then 1, 2, 4 ... 60."""
    return 0.0 if failures <= 1 else min(60.0, 2.0 ** min(failures - 2, 6))


def last_error(log_file: Path) -> str:
    """The last line of a log that tells of an error, for people; empty when there is none."""
    try:
        with log_file.open("rb") as source:
            source.seek(max(0, source.seek(0, 2) - 65536))
            lines = source.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    telling = [line.strip() for line in lines if _ERROR_MARK in line or line.startswith(("[C ", "[E "))]
    return telling[-1][:300] if telling else ""


_ERROR_MARK = "Error: "


class HubRunner:
    """Keeps one course's hub as it should be, until stopped.

    `request` and `database` are asked anew for each start, so that a changed course or password takes effect;
    `failed_page` is what visitors get while the hub cannot be started; `woken` is called when the hub leaves its sleep.
    """

    def __init__(
        self,
        folders: CourseFolders,
        parent: ParentClient,
        listening: socket,
        request: Callable[[], StartRequest],
        database: Callable[[], HubDatabase],
        failed_page: Application,
        woken: Callable[[], None],
    ) -> None:
        self.course_id = folders.course_id
        self.state = HubState.SLEEPING
        self.reason = ""
        self.record: ProcessRecord | None = None
        self._parent = parent
        self._listening = listening
        self._request = request
        self._database = database
        self._log_file = folders.log
        self._failed_page = failed_page
        self._woken = woken
        self._wanted = asyncio.Event()
        self._reloading = False
        self._outdated = False
        self._task: asyncio.Task[None] | None = None

    # -- from outside ------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """Pid of the hub, None while none runs."""
        return self.record.pid if self.record else None

    def begin(self, adopted: ProcessRecord | None, *, awake: bool) -> None:
        """Take over a running hub, or start one if `awake` or if its servers run, or let it sleep."""
        self._task = asyncio.create_task(self._run(adopted, awake))

    async def reload(self) -> None:
        """Let a changed course take effect: a running hub is replaced, its servers stay."""
        if self.record is not None:
            self._reloading = True
            self._wanted.set()
            await processes.stop_tree(self.record, patience=10)
        elif self.state is HubState.FAILED:
            self._wanted.set()
        elif self.state is HubState.STARTING:
            self._outdated = True

    def wake(self) -> None:
        """Start a hub that sleeps, because somebody is on the way to it."""
        if self.state is HubState.SLEEPING:
            self._wanted.set()

    async def stop(self) -> None:
        """End the hub; learners' servers stay."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self.record is not None:
            await processes.stop_tree(self.record, patience=10)
            self.record = None
        self.state = HubState.STOPPED
        self._listening.close()

    # -- inside ------------------------------------------------------------------------------------------------

    async def _run(self, adopted: ProcessRecord | None, awake: bool) -> None:
        failures = 0
        if awake or (adopted is None and await self._has_servers()):
            self._wanted.set()
        while True:
            try:
                attempt = await (self._watch_adopted(adopted) if adopted else self._run_once())
            except Exception as error:  # a supervisor outlives whatever happens to what it supervises
                log.exception("the hub of %s", self.course_id)
                attempt = Attempt(asleep=False, ready=False, reason=str(error), seconds=0)
            adopted, self.record = None, None
            if attempt.asleep or self._reloading:
                failures, self._reloading = 0, False
                continue
            failures = 1 if attempt.ready and attempt.seconds > SETTLED else failures + 1
            log.error("the hub of %s ended: %s", self.course_id, attempt.reason)
            self.reason = attempt.reason
            self._wanted.set()
            if (pause := pause_before_retry(failures)) > 0:
                await self._show_failure(pause)

    async def _run_once(self) -> Attempt:
        await self._until_wanted()
        self.state = HubState.STARTING
        self._woken()
        begun = time.monotonic()
        try:
            await asyncio.to_thread(lambda: self._database().prepare())
            started = await self._start()
        except (OSError, StartRefused, DatabaseFailed, ConfigurationError) as error:
            return Attempt(asleep=False, ready=False, reason=str(error), seconds=0)
        self.record = started.record
        if self._outdated:
            # The course changed while this hub was being asked for: it may have read either.
            self._outdated, self._reloading = False, True
            self._wanted.set()
            processes.send(started.record, signal.SIGTERM)
        try:
            return await self._follow(started, begun)
        finally:
            started.close()

    async def _start(self) -> Started:
        """Ask the parent for a hub; when told to stop meanwhile, the hub that came of it is known and ended."""
        with self._listening.dup() as duplicate:
            asking = asyncio.ensure_future(self._parent.start(self._request(), duplicate))
            try:
                return await asyncio.shield(asking)
            except asyncio.CancelledError:
                with contextlib.suppress(OSError, StartRefused):
                    started = await asking
                    self.record = started.record
                    started.close()
                raise

    async def _follow(self, started: Started, begun: float) -> Attempt:
        ready = asleep = False
        while True:
            event, status = await started.event()
            if event is Event.READY:
                ready, self.state, self.reason = True, HubState.RUNNING, ""
                log.info("the hub of %s is up after %.2f s", self.course_id, time.monotonic() - begun)
            elif event is Event.SLEEPING:
                asleep = True
            else:
                break
        if status is None:
            # The parent has gone, which says nothing of the hub.
            await processes.ended(started.record)
        return Attempt(asleep, ready, self._why(status), time.monotonic() - begun)

    async def _watch_adopted(self, record: ProcessRecord) -> Attempt:
        self.record, self.state = record, HubState.RUNNING
        self._woken()
        await processes.ended(record)
        return Attempt(asleep=not await self._has_servers(), ready=True, reason="it ended", seconds=61)

    def _why(self, status: int | None) -> str:
        how = f"killed by signal {-status}" if status is not None and status < 0 else f"exit status {status}"
        error = last_error(self._log_file)
        return f"{how}; {error}" if error else how

    async def _until_wanted(self) -> None:
        if not self._wanted.is_set():
            self.state = HubState.SLEEPING
            loop = asyncio.get_running_loop()
            loop.add_reader(self._listening, self._wanted.set)
            try:
                await self._wanted.wait()
            finally:
                loop.remove_reader(self._listening)
        self._wanted.clear()

    async def _show_failure(self, seconds: float) -> None:
        """Answer visitors with a page for so long, or until the course is changed."""
        self.state = HubState.FAILED
        self._wanted.clear()
        server = HTTPServer(self._failed_page, xheaders=True)
        duplicate = self._listening.dup()
        duplicate.setblocking(False)
        server.add_socket(duplicate)
        try:
            await asyncio.wait_for(self._wanted.wait(), seconds)
        except TimeoutError:
            self._wanted.set()
        finally:
            server.stop()

    async def _has_servers(self) -> bool:
        """Whether the hub's database knows a server that was running; where that cannot be told, the hub will."""
        try:
            return await asyncio.to_thread(lambda: self._database().has_servers())
        except (DatabaseFailed, ConfigurationError):
            return True
