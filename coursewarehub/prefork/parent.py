"""The parent: takes requests on a Unix socket, forks, tells what became of its processes."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import logging
import os
import resource
import selectors
import signal
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from coursewarehub.prefork.child import EVENTS, ChildTask, become_subreaper, reset_signals
from coursewarehub.state import processes, sockets
from coursewarehub.wire.prefork import (
    MAX_LINE,
    Event,
    Operation,
    ProcessRecord,
    StartRequest,
    decode,
    encode,
)

log = logging.getLogger("coursewarehub.prefork")


@dataclass
class _Caller:
    """One connection: who asked, and the socket that came along."""

    connection: socket.socket
    buffer: bytes = b""
    descriptors: list[int] = field(default_factory=list)

    def tell(self, message: dict[str, Any], *sockets: socket.socket) -> None:
        """Send one line; a caller that went away is nobody's loss."""
        with contextlib.suppress(OSError):
            if sockets:
                socket.send_fds(self.connection, [encode(message)], [s.fileno() for s in sockets])
            else:
                self.connection.sendall(encode(message))


@dataclass
class _Process:
    """One running process: its record, where its status comes from, who wants to know."""

    record: ProcessRecord
    pidfd: int
    status_pipe: int | None = None
    caller: _Caller | None = None


class Parent:
    """Forks processes of one kind; see the package docstring for what it guarantees.

    `folder` is the parent's own: `socket` in it takes requests, `records/` lists the running processes so that
    a parent started anew after a crash knows them again.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.records = folder / "records"
        self.records.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = self._be_the_only_one()
        self._selector = selectors.DefaultSelector()
        self._processes: dict[str, _Process] = {}
        self._held: dict[str, socket.socket] = {}
        self._callers: dict[int, _Caller] = {}
        self._task: ChildTask | None = None
        self._stopping = False
        self._listener = self._open_socket()

    # -- life ---------------------------------------------------------------------------------------------

    def serve(self) -> ChildTask | None:
        """Take requests until told to shut down. In a forked child, returns its task instead of None."""
        if len(os.listdir("/proc/self/task")) > 1:
            raise RuntimeError("a prefork parent must have one thread only; an import started another")
        become_subreaper()
        _allow_many_descriptors()
        self._watch_signals()
        self._adopt()
        gc.collect()
        gc.freeze()
        gc.disable()
        while not self._stopping:
            for key, _ in self._selector.select():
                key.data()
                if self._task is not None:
                    return self._task
                if self._stopping:
                    break
        self._end_everything()
        return None

    def _be_the_only_one(self) -> int:
        """Hold the folder's lock; BlockingIOError when another parent has it."""
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor

    def _open_socket(self) -> socket.socket:
        path = self.folder / "socket"
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(sockets.address(path))
        path.chmod(0o600)
        listener.listen(256)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        return listener

    def _watch_signals(self) -> None:
        readable, writable = socket.socketpair()
        for end in (readable, writable):
            end.setblocking(False)
        self._wakeup = (readable, writable)
        signal.set_wakeup_fd(writable.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        self._selector.register(readable, selectors.EVENT_READ, self._on_signal)

    def _on_signal(self) -> None:
        numbers = self._wakeup[0].recv(4096)
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self._stopping = True
        self._reap_orphans()

    def _adopt(self) -> None:
        """Know the processes again that an earlier parent of this folder started."""
        for file in self.records.iterdir():
            record = processes.recorded(file)
            if record is None:
                file.unlink(missing_ok=True)
                continue
            self._know(record)

    # -- callers ------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            log.error("a caller could not be taken: %s", error)
            return
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[1] not in (os.geteuid(), 0):
            connection.close()
            return
        caller = _Caller(connection)
        self._callers[connection.fileno()] = caller
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._read(caller))

    def _read(self, caller: _Caller) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(caller.connection, 65536, 4)
        except OSError:
            data, descriptors = b"", []
        caller.descriptors += descriptors
        caller.buffer += data
        if not data or len(caller.buffer) > MAX_LINE:
            self._forget_caller(caller)
            return
        while b"\n" in caller.buffer and self._task is None:
            line, caller.buffer = caller.buffer.split(b"\n", 1)
            self._handle(caller, line)

    def _forget_caller(self, caller: _Caller) -> None:
        self._selector.unregister(caller.connection)
        self._callers.pop(caller.connection.fileno(), None)
        for process in self._processes.values():
            if process.caller is caller:
                process.caller = None
        for unused in caller.descriptors:
            os.close(unused)
        caller.connection.close()

    def _handle(self, caller: _Caller, line: bytes) -> None:
        actions: dict[str, Callable[[_Caller, dict[str, Any]], None]] = {
            Operation.START: self._start,
            Operation.LIST: self._list,
            Operation.SOCKET: self._hand_back_socket,
            Operation.RELEASE: self._release_socket,
            Operation.SHUTDOWN: self._shutdown,
        }
        try:
            message = decode(line)
            action = actions[str(message.get("operation", ""))]
            action(caller, message)
        except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
            caller.tell({"event": Event.REFUSED, "reason": str(error)})

    def _list(self, caller: _Caller, _: dict[str, Any]) -> None:
        caller.tell({"processes": [asdict(p.record) for p in self._processes.values()]})

    def _hand_back_socket(self, caller: _Caller, message: dict[str, Any]) -> None:
        held = self._held.get(str(message["name"]))
        caller.tell({"held": held is not None}, *([held] if held else []))

    def _release_socket(self, caller: _Caller, message: dict[str, Any]) -> None:
        held = self._held.pop(str(message["name"]), None)
        if held is not None:
            held.close()
        caller.tell({"held": False})

    def _shutdown(self, _caller: _Caller, _message: dict[str, Any]) -> None:
        self._stopping = True

    # -- processes ----------------------------------------------------------------------------------------

    def _start(self, caller: _Caller, message: dict[str, Any]) -> None:
        request = StartRequest.decode(message)
        if request.name in self._processes:
            raise ValueError(f"`{request.name}` is running already")
        if not caller.descriptors:
            raise ValueError("the request came without its environment")
        environment = caller.descriptors.pop(0)
        listening = self._socket_for(caller, request)
        readable, writable = os.pipe()
        pid = os.fork()
        if pid == 0:
            reset_signals()
            self._task = ChildTask(self.kind, request, environment, listening, writable, inherited=self)
            return
        os.close(writable)
        os.close(environment)
        os.set_blocking(readable, False)
        port = listening.getsockname()[1] if listening else 0
        try:
            record = processes.record_of(request.name, pid, port)
        except ProcessLookupError:
            record = ProcessRecord(request.name, pid, 0, port)
        if listening is not None and request.name not in self._held:
            listening.close()
        process = self._know(record)
        process.caller, process.status_pipe = caller, readable
        self._selector.register(readable, selectors.EVENT_READ, lambda: self._on_status(process))
        caller.tell({"event": Event.STARTED, **asdict(record)})

    def _socket_for(self, caller: _Caller, request: StartRequest) -> socket.socket | None:
        if caller.descriptors:
            given = socket.socket(fileno=caller.descriptors.pop(0))
            earlier = self._held.pop(request.name, None)
            if earlier is not None:
                earlier.close()
            self._held[request.name] = given
            return given
        if not request.listen:
            return None
        listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        listening.setblocking(False)
        return listening

    def _know(self, record: ProcessRecord) -> _Process:
        process = _Process(record, os.pidfd_open(record.pid))
        self._processes[record.name] = process
        self._record_file(record).write_text(json.dumps(asdict(record)))
        self._selector.register(process.pidfd, selectors.EVENT_READ, lambda: self._on_exit(process))
        return process

    def _record_file(self, record: ProcessRecord) -> Path:
        return self.records / f"{record.pid}-{record.start_time}"

    def _on_status(self, process: _Process) -> None:
        if process.status_pipe is None:
            return
        try:
            codes = os.read(process.status_pipe, 64)
        except BlockingIOError:
            return
        if not codes:
            self._close_status_pipe(process)
            return
        for code in codes:
            self._tell(process, {"event": EVENTS[bytes([code])]})

    def _close_status_pipe(self, process: _Process) -> None:
        if process.status_pipe is not None:
            self._selector.unregister(process.status_pipe)
            os.close(process.status_pipe)
            process.status_pipe = None

    def _tell(self, process: _Process, message: dict[str, Any]) -> None:
        if process.caller is not None:
            process.caller.tell(message)

    def _on_exit(self, process: _Process) -> None:
        self._on_status(process)
        status = self._reap(process.record.pid)
        self._selector.unregister(process.pidfd)
        os.close(process.pidfd)
        self._close_status_pipe(process)
        self._processes.pop(process.record.name, None)
        self._record_file(process.record).unlink(missing_ok=True)
        self._tell(process, {"event": Event.EXITED, "status": status})
        self._reap_orphans()

    @staticmethod
    def _reap(pid: int) -> int | None:
        """Exit status as `os.waitstatus_to_exitcode` gives it; None for a process that is not our child."""
        try:
            return os.waitstatus_to_exitcode(os.waitpid(pid, os.WNOHANG)[1])
        except ChildProcessError:
            return None

    def _reap_orphans(self) -> None:
        """Processes left behind by an ended process become our children: end them, and reap the dead."""
        own = {process.record.pid for process in self._processes.values()}
        for pid in processes.children().get(os.getpid(), ()):
            if pid not in own:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None or found.si_pid in own:
                return
            with contextlib.suppress(ChildProcessError):
                os.waitpid(found.si_pid, os.WNOHANG)

    def _end_everything(self) -> None:
        """SIGTERM to every process, SIGKILL after ten seconds, orphans last."""
        records = [process.record for process in self._processes.values()]
        below = [r for record in records for r in processes.descendants(record.pid)]
        for record in records:
            processes.send(record, signal.SIGTERM)
        deadline = time.monotonic() + 10
        left = records
        while left and time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
            left = processes.wait_all(left, 0.05)
        processes.kill(left)
        processes.kill(below)
        processes.kill(processes.descendants(os.getpid()))
        for record in records:
            self._record_file(record).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            (self.folder / "socket").unlink()


def _allow_many_descriptors() -> None:
    """Two for each process: as many as the system lets us have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
