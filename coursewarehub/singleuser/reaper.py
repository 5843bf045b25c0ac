"""Burying what nobody waits for.

Everything a learner starts stays below the server (which is a child subreaper), so that it ends with it. What detached
itself from its parent and ended becomes a zombie child of the server; this takes it away.
"""

from __future__ import annotations

import os
from pathlib import Path


class Reaper:
    """Called now and then, reaps child processes that have been dead since the last call.

    Who started a process itself (a kernel manager, a terminal) asks for its end within moments; what is still there one
    call later is an orphan.
    """

    def __init__(self) -> None:
        self._dead: set[int] = set()

    def __call__(self) -> None:
        """Reap."""
        dead = dead_children(os.getpid())
        for pid in dead & self._dead:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
        self._dead = dead


def dead_children(parent: int) -> set[int]:
    """Pids of the zombies among a process's children (proc_pid_stat(5))."""
    found = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                state, ppid, *_ = Path(entry.path, "stat").read_text().rsplit(")", 1)[1].split()
            except (OSError, ValueError, IndexError):
                continue
            if state == "Z" and int(ppid) == parent:
                found.add(int(entry.name))
    return found
