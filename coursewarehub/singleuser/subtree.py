"""The processes below this one: stopped together, continued together, ended together.

Everything a learner starts is below the server, which is a child subreaper: what detaches itself from its parent stays
below it. So nothing else of the machine can be hit, in a container or outside one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PR_SET_CHILD_SUBREAPER: Final = 36
_PASSES: Final = 60
_PAUSE: Final = 0.005
_RESTING: Final = "TtZX"
"""States (proc_pid_stat(5)) of a process that runs no code: stopped, traced, dead."""


def become_subreaper() -> None:
    """Orphans among our descendants become our children instead of init's (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@dataclass(frozen=True)
class Process:
    """One process, told apart from a later one with the same pid by its start time (clock ticks since boot)."""

    pid: int
    parent: int
    state: str
    start: int


def look(pid: int) -> Process | None:
    """The process with this pid, or None when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return Process(pid, int(fields[1]), fields[0], int(fields[19]))
    except (OSError, ValueError, IndexError):
        return None


def below(root: int) -> list[Process]:
    """Every process below `root`, parents before their children, `root` itself left out."""
    children: dict[int, list[Process]] = {}
    for process in _all():
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    level = children.get(root, [])
    while level:
        found += level
        level = [child for process in level for child in children.get(process.pid, [])]
    return found


def _all() -> Iterator[Process]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            process = look(int(name))
            if process is not None:
                yield process


class Subtree:
    """The processes below `root`, this process if not told otherwise."""

    def __init__(self, root: int | None = None) -> None:
        self.root = root or os.getpid()
        self._stopped: list[Process] = []

    def freeze(self) -> None:
        """Stop every process (SIGSTOP), also those that are started meanwhile; may be called again and again.

        Blocks for a few milliseconds, 0.3 s at most, until none runs.
        """
        known = {(process.pid, process.start) for process in self._stopped}
        for _ in range(_PASSES):
            running = [process for process in below(self.root) if process.state not in _RESTING]
            if not running:
                return
            for process in running:
                _send(process, signal.SIGSTOP)
                if (process.pid, process.start) not in known:
                    known.add((process.pid, process.start))
                    self._stopped.append(process)
            time.sleep(_PAUSE)

    def thaw(self) -> None:
        """Continue (SIGCONT) what `freeze` stopped and nothing else: a job stopped with Ctrl-Z stays so.

        Children first, so that no shell sees its foreground job stopped and takes the terminal from it.
        """
        for process in reversed(self._stopped):
            _send(process, signal.SIGCONT)
        self._stopped.clear()

    def kill(self) -> None:
        """End every process (SIGKILL); they have no time to write anything."""
        self.freeze()
        for process in below(self.root):
            _send(process, signal.SIGKILL)


def _send(process: Process, number: int) -> None:
    now = look(process.pid)
    if now is not None and now.start == process.start:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)
