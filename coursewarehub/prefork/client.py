"""Asking a prefork parent.

Runs in: site, hub. Blocking socket calls are short (a Unix socket on this machine) and made in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coursewarehub.state import sockets
from coursewarehub.wire.prefork import Event, Operation, ProcessRecord, StartRequest, decode, encode


class StartRefused(Exception):
    """The parent did not start the process; the text says why."""


class Started:
    """A process that a parent started for us, and the events that come of it."""

    def __init__(self, record: ProcessRecord, events: asyncio.StreamReader, close: Any) -> None:
        self.record = record
        self._events = events
        self._close = close

    async def event(self) -> tuple[Event, int | None]:
        """The next event and, for `exited`, the exit status; `exited` too when the parent itself has gone."""
        line = await self._events.readline()
        if not line:
            return Event.EXITED, None
        message = decode(line)
        return Event(message["event"]), message.get("status")

    def close(self) -> None:
        """Stop listening to events; the process goes on."""
        self._close()


class ParentClient:
    """Talks to the parent of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known_pid: int | None = None

    async def start(self, request: StartRequest, listening: socket.socket | None = None) -> Started:
        """Start a process, handing `listening` on if given; StartRefused or OSError when that fails."""
        connection = await asyncio.to_thread(self._send, request, listening)
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        message = decode(await reader.readline() or b"{}")
        if message.get("event") != Event.STARTED:
            writer.close()
            raise StartRefused(str(message.get("reason", "the parent process ended")))
        record = ProcessRecord(message["name"], message["pid"], message["start_time"], message["port"])
        return Started(record, reader, writer.close)

    async def processes(self) -> list[ProcessRecord]:
        """What runs under this parent."""
        message, _ = await asyncio.to_thread(self._ask, {"operation": Operation.LIST})
        return [ProcessRecord(**each) for each in message["processes"]]

    async def held_socket(self, name: str) -> socket.socket | None:
        """The listening socket that was handed over when `name` was last started."""
        _, received = await asyncio.to_thread(self._ask, {"operation": Operation.SOCKET, "name": name})
        return received[0] if received else None

    async def release_socket(self, name: str) -> None:
        """Let the parent close the socket it keeps for `name`, so that nobody waits in it in vain."""
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._ask, {"operation": Operation.RELEASE, "name": name})

    async def pid(self) -> int | None:
        """Pid of the parent that answers, None when none does."""
        try:
            self.known_pid = await asyncio.to_thread(self._peer)
        except OSError:
            self.known_pid = None
        return self.known_pid

    def _peer(self) -> int:
        with self._connect() as connection:
            size = struct.calcsize("3i")
            pid: int = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))[0]
            return pid

    async def shut_down(self) -> None:
        """Ask the parent to end everything it started, and itself."""
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._ask, {"operation": Operation.SHUTDOWN})

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(10)
        connection.connect(sockets.address(self.folder / "socket"))
        return connection

    def _send(self, request: StartRequest, listening: socket.socket | None) -> socket.socket:
        connection = self._connect()
        # A file in memory without a name: the child alone reads it, so no secret passes through the parent.
        environment = os.memfd_create("environment", os.MFD_CLOEXEC)
        try:
            os.write(environment, request.encode_environment())
            os.lseek(environment, 0, os.SEEK_SET)
            descriptors = [environment] if listening is None else [environment, listening.fileno()]
            line = request.encode()
            sent = socket.send_fds(connection, [line], descriptors)
            connection.sendall(line[sent:])
        finally:
            os.close(environment)
        return connection

    def _ask(self, message: Mapping[str, Any]) -> tuple[dict[str, Any], list[socket.socket]]:
        with self._connect() as connection:
            connection.sendall(encode(message))
            answer, received = b"", []
            while not answer.endswith(b"\n"):
                data, descriptors, _, _ = socket.recv_fds(connection, 65536, 4)
                received += [socket.socket(fileno=d) for d in descriptors]
                if not data:
                    break
                answer += data
        return decode(answer or b"{}"), received


def clean_environment() -> dict[str, str]:
    """What a process of ours may inherit: where programs and libraries are, the language, nothing else."""
    kept = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH")
    return {name: os.environ[name] for name in kept if name in os.environ}


async def parent_answers(folder: Path, seconds: float = 30.0) -> None:
    """Return when a parent answers at `folder`; RuntimeError with a sentence after so many seconds."""
    for _ in range(int(seconds * 50)):
        if sockets.answering(folder / "socket"):
            return
        await asyncio.sleep(0.02)
    raise RuntimeError("the part of the site that starts servers does not answer")


async def ensure_parent(kind: str, folder: Path, log_file: Path) -> subprocess.Popen[bytes] | None:
    """Make sure that a parent answers at `folder`; the process if it had to be started, else None.

    RuntimeError when it does not come up within 60 s.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if sockets.answering(folder / "socket"):
        return None
    with log_file.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "coursewarehub.prefork", kind, str(folder)],
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        for _ in range(6000):
            if sockets.answering(folder / "socket"):
                return process
            if process.poll() not in (None, 0):
                break
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        # Nobody will ask it to end, so it must not come up behind our back.
        process.kill()
        process.wait()
        raise
    raise RuntimeError(f"the {kind} parent process did not start; its log is {log_file}")
