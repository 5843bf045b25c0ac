"""The processes below one: stopped, continued and ended together, and no other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from support.sites import alive, eventually

from coursewarehub.singleuser.subtree import Subtree, below, look

NEST = """
import ctypes, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
# A child with a child, one that left its session, and an orphan that the root inherits.
subprocess.Popen(["sh", "-c", "sleep 61 & sleep 62"])
subprocess.Popen(["sleep", "63"], start_new_session=True)
subprocess.Popen(["sh", "-c", "setsid sleep 64 & exit 0"]).wait()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def root() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", NEST], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    eventually(lambda: len(below(process.pid)) == 5)
    yield process
    for found in below(process.pid):
        os.kill(found.pid, signal.SIGKILL)
    process.kill()
    process.wait()


def states(pids: list[int]) -> str:
    return "".join(process.state for pid in pids if (process := look(pid)) is not None)


def test_all_below_are_found_parents_first(root: subprocess.Popen[str]) -> None:
    found = below(root.pid)
    assert len(found) == 5
    seen = {root.pid}
    for process in found:
        assert process.parent in seen
        seen.add(process.pid)


def test_freeze_stops_all_but_the_root_and_thaw_continues_them(root: subprocess.Popen[str]) -> None:
    outside = subprocess.Popen(["sleep", "60"])
    pids = [process.pid for process in below(root.pid)]
    tree = Subtree(root.pid)
    try:
        tree.freeze()
        assert states(pids) == "TTTTT"
        assert states([root.pid, outside.pid, os.getpid()]) in ("SSR", "SSS")
        tree.freeze()  # again, as the keeper does
        tree.thaw()
        eventually(lambda: "T" not in states(pids), 2)
        assert set(states(pids)) <= set("SRD") and len(states(pids)) == 5
    finally:
        outside.kill()
        outside.wait()


def test_what_was_stopped_before_stays_stopped(root: subprocess.Popen[str]) -> None:
    pids = [process.pid for process in below(root.pid)]
    os.kill(pids[1], signal.SIGSTOP)
    eventually(lambda: states(pids).count("T") == 1)
    tree = Subtree(root.pid)
    tree.freeze()
    tree.thaw()
    eventually(lambda: states(pids).count("T") == 1, 2)
    time.sleep(0.1)
    assert states([pids[1]]) == "T"


def test_nothing_escapes_by_forking() -> None:
    """A tree that starts new processes all the time."""
    program = (
        "import os, time\n"
        "for _ in range(3): os.fork()\n"
        "while True:\n"
        "    if os.fork() == 0: time.sleep(0.05); os._exit(0)\n"
        "    time.sleep(0.002)\n"
        "    try: os.waitpid(-1, os.WNOHANG)\n"
        "    except ChildProcessError: pass\n"
    )
    # A child subreaper of its own, as a server is: else orphans would become ours.
    outer = (
        "import ctypes, subprocess, sys\nctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"
        f"subprocess.Popen([sys.executable, '-c', {program!r}]).wait()"
    )
    root = subprocess.Popen([sys.executable, "-c", outer])
    tree = Subtree(root.pid)
    try:
        eventually(lambda: len(below(root.pid)) > 20)
        tree.freeze()
        running = [p for p in below(root.pid) if p.state not in "TZX"]
        before = {p.pid for p in below(root.pid)}
        time.sleep(0.2)
        assert running == []
        assert {p.pid for p in below(root.pid)} <= before
    finally:
        tree.kill()
        root.kill()
        root.wait()


def test_kill_ends_all_but_the_root(root: subprocess.Popen[str]) -> None:
    pids = [process.pid for process in below(root.pid)]
    Subtree(root.pid).kill()
    eventually(lambda: not any(alive(pid) for pid in pids), 3)
    assert alive(root.pid)


def test_a_reused_pid_is_left_alone() -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        tree = Subtree()
        now = look(process.pid)
        assert now is not None
        tree._stopped.append(type(now)(now.pid, now.parent, "S", now.start - 1))
        os.kill(process.pid, signal.SIGSTOP)
        eventually(lambda: states([process.pid]) == "T")
        tree.thaw()
        time.sleep(0.1)
        assert states([process.pid]) == "T"
    finally:
        process.kill()
        process.wait()
