"""Processes are told apart by pid and start time, waited for, and ended with everything below them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from support.sites import alive, eventually

from coursewarehub.state import processes
from coursewarehub.wire.prefork import ProcessRecord

Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def run() -> Iterator[Run]:
    started: list[subprocess.Popen[str]] = []

    def start(*command: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def record(process: subprocess.Popen[str]) -> ProcessRecord:
    return processes.record_of("test", process.pid)


def another(of: ProcessRecord) -> ProcessRecord:
    """The record of an earlier process that had the same pid."""
    return ProcessRecord(of.name, of.pid, of.start_time - 1)


def pids_from(process: subprocess.Popen[str], count: int) -> list[int]:
    assert process.stdout is not None
    return [int(process.stdout.readline()) for _ in range(count)]


def test_own_process_is_known() -> None:
    mine = processes.record_of("me", os.getpid(), 80)
    assert mine.name == "me" and mine.port == 80
    assert processes.alive(mine.pid, mine.start_time)
    assert processes.rss_bytes(mine.pid) > 1_000_000


def test_name_with_parentheses_and_spaces_is_read(run: Run) -> None:
    script = (
        "import ctypes, time; ctypes.CDLL(None).prctl(15, b') R 1 (x', 0, 0, 0); print(1, flush=True); time.sleep(60)"
    )
    process = run(sys.executable, "-c", script)
    pids_from(process, 1)
    assert abs(record(process).start_time - processes.record_of("me", os.getpid()).start_time) < 1_000_000
    assert process.pid in processes.children()[os.getpid()]


@pytest.mark.parametrize("pid", [0, -1, 1 << 30])
def test_no_such_process(pid: int) -> None:
    assert not processes.alive(pid, 1)
    assert processes.start_time(pid) is None if pid > 0 else True
    assert processes.rss_bytes(1 << 30) == 0
    with pytest.raises(ProcessLookupError):
        processes.record_of("x", 1 << 30)


def test_zombie_is_not_alive(run: Run) -> None:
    process = run("sleep", "60")
    known = record(process)
    process.kill()
    eventually(lambda: processes.start_time(process.pid) is None, 5)
    assert not processes.alive(known.pid, known.start_time)
    assert process.returncode is None, "it must not have been waited for yet"


def test_reused_pid_is_left_alone(run: Run) -> None:
    process = run("sleep", "60")
    earlier = another(record(process))
    assert not processes.alive(earlier.pid, earlier.start_time)
    processes.send(earlier, 9)
    processes.kill([earlier])
    assert asyncio.run(processes.stop_tree(earlier, patience=1))
    asyncio.run(processes.stop_tree(earlier, patience=0))
    assert process.poll() is None
    assert processes.wait_all([earlier], 5) == []


def test_ended_waits_for_a_process_that_is_no_child() -> None:
    shell = subprocess.run(
        ["sh", "-c", "sleep 0.3 >/dev/null 2>&1 & echo $!"], capture_output=True, text=True, check=True
    )
    stranger = processes.record_of("sleep", int(shell.stdout))
    begin = time.monotonic()
    asyncio.run(asyncio.wait_for(processes.ended(stranger), 5))
    assert time.monotonic() - begin < 2
    assert not alive(stranger.pid)


def test_ended_returns_at_once_for_what_has_ended(run: Run) -> None:
    process = run("true")
    known = ProcessRecord("x", process.pid, 1)
    process.wait()

    async def both() -> None:
        await asyncio.wait_for(processes.ended(known), 1)
        await asyncio.wait_for(processes.ended(another(processes.record_of("me", os.getpid()))), 1)

    asyncio.run(both())


def test_ended_leaves_no_descriptor_behind(run: Run) -> None:
    process = run("sleep", "60")
    known = record(process)

    async def give_up() -> int:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(processes.ended(known), 0.01)
        return len(os.listdir("/proc/self/fd")) - before

    assert asyncio.run(give_up()) == 0


FAMILY = "sleep 600 & echo $!; setsid sleep 600 & echo $!; (sleep 600; :) & echo $!; "


def test_stop_tree_ends_children_in_other_sessions_too(run: Run) -> None:
    process = run("sh", "-c", f"{FAMILY} wait")
    below = pids_from(process, 3)
    known = record(process)
    eventually(lambda: len(processes.descendants(process.pid)) == 4, 5)
    assert asyncio.run(processes.stop_tree(known, patience=5)) is True
    eventually(lambda: not [pid for pid in (process.pid, *below) if alive(pid)], 5)


def test_stop_tree_kills_what_ignores_sigterm(run: Run) -> None:
    process = run("sh", "-c", f"trap '' TERM; {FAMILY} while :; do sleep 0.1; done")
    below = pids_from(process, 3)
    begin = time.monotonic()
    assert asyncio.run(processes.stop_tree(record(process), patience=0.3)) is False
    assert 0.3 <= time.monotonic() - begin < 3
    eventually(lambda: not [pid for pid in (process.pid, *below) if alive(pid)], 5)


def test_stop_tree_without_patience_kills_at_once(run: Run) -> None:
    process = run("sh", "-c", "trap 'sleep 600' TERM; echo 1; while :; do sleep 0.1; done")
    pids_from(process, 1)
    begin = time.monotonic()
    asyncio.run(processes.stop_tree(record(process), patience=0))
    assert time.monotonic() - begin < 2
    eventually(lambda: not alive(process.pid), 5)


def test_stop_tree_of_something_dead_is_done_at_once(run: Run) -> None:
    process = run("sleep", "60")
    known = record(process)
    process.kill()
    process.wait()
    assert asyncio.run(processes.stop_tree(known, patience=5)) is True


def test_wait_all_tells_who_is_left(run: Run) -> None:
    short, long = run("sleep", "0.1"), run("sleep", "60")
    records = [record(short), record(long)]
    assert processes.wait_all(records, 0.4) == [records[1]]
    long.kill()
    assert processes.wait_all(records, 5) == []
