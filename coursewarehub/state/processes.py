"""Processes told apart by pid and start time, so that a reused pid is never taken for ours.

Linux only: reads `/proc` (proc_pid_stat(5)) and waits with pidfds (pidfd_open(2)).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from coursewarehub.state.files import replace_text, rotate
from coursewarehub.wire.prefork import ProcessRecord


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third (state) on, or None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def start_time(pid: int) -> int | None:
    """Clock ticks after boot at which a process started; None for a dead one or a zombie."""
    fields = _stat(pid)
    if fields is None or fields[0] in "ZX":
        return None
    return int(fields[19])


def alive(pid: int, started: int) -> bool:
    """Whether exactly this process still runs."""
    return pid > 0 and start_time(pid) == started


def record_of(name: str, pid: int, port: int = 0) -> ProcessRecord:
    """The record of a running process; ProcessLookupError when it has ended."""
    started = start_time(pid)
    if started is None:
        raise ProcessLookupError(f"process {pid} has ended")
    return ProcessRecord(name, pid, started, port)


def children() -> dict[int, list[int]]:
    """Pids of the running processes of this machine by their parent's pid."""
    tree: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields is not None and fields[0] not in "ZX":
                tree.setdefault(int(fields[1]), []).append(int(entry.name))
    return tree


def descendants(pid: int) -> list[ProcessRecord]:
    """Every process below `pid`, nearest first."""
    tree = children()
    found: list[ProcessRecord] = []
    queue = list(tree.get(pid, ()))
    while queue:
        child = queue.pop(0)
        with contextlib.suppress(ProcessLookupError):
            found.append(record_of("", child))
        queue.extend(tree.get(child, ()))
    return found


def recorded(file: Path) -> ProcessRecord | None:
    """The process whose record stands in a JSON file, if it still runs."""
    try:
        record = ProcessRecord(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return record if alive(record.pid, record.start_time) else None


def launch(
    name: str, command: Sequence[str], environment: Mapping[str, str], log_file: Path, record_file: Path
) -> tuple[subprocess.Popen[bytes], ProcessRecord]:
    """Start a process in a session of its own, which writes into its log; its record goes into a file for `recorded`.

    Raises OSError.
    """
    rotate(log_file)
    with log_file.open("ab") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    record = record_of(name, process.pid)
    replace_text(record_file, json.dumps(asdict(record)))
    return process, record


def rss_bytes(pid: int) -> int:
    """Resident memory of a process in bytes, 0 when it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def send(record: ProcessRecord, number: int) -> None:
    """Send a signal, if it is still that process."""
    if alive(record.pid, record.start_time):
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, number)


@contextlib.contextmanager
def _pidfd(record: ProcessRecord) -> Iterator[int | None]:
    """A pidfd of the process, or None when it has ended."""
    try:
        descriptor = os.pidfd_open(record.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield descriptor if alive(record.pid, record.start_time) else None
    finally:
        os.close(descriptor)


async def ended(record: ProcessRecord) -> None:
    """Return when the process has ended. Works for processes that are not our children."""
    with _pidfd(record) as descriptor:
        if descriptor is None:
            return
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.add_reader(descriptor, lambda: None if done.done() else done.set_result(None))
        try:
            await done
        finally:
            loop.remove_reader(descriptor)


async def stop_tree(record: ProcessRecord, *, patience: float) -> bool:
    """End a process and everything below it: SIGTERM to it, after `patience` seconds SIGKILL to all.

    Returns whether it ended by itself in time.
    """
    below = await asyncio.to_thread(descendants, record.pid) if alive(record.pid, record.start_time) else []
    send(record, signal.SIGTERM)
    try:
        await asyncio.wait_for(ended(record), patience)
        in_time = True
    except TimeoutError:
        below += await asyncio.to_thread(descendants, record.pid)
        send(record, signal.SIGKILL)
        await ended(record)
        in_time = False
    kill(below)
    return in_time


def kill(records: Iterable[ProcessRecord]) -> None:
    """SIGKILL each process that still runs."""
    for record in records:
        send(record, signal.SIGKILL)


def wait_all(records: Iterable[ProcessRecord], patience: float) -> list[ProcessRecord]:
    """Block until the processes have ended, `patience` seconds at most; those still running."""
    deadline = time.monotonic() + patience
    left = [r for r in records if alive(r.pid, r.start_time)]
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = [r for r in left if alive(r.pid, r.start_time)]
    return left
