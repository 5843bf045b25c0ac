"""What happens when the container's memory is used up: the kernel dies, not the server, and the learner is told why.

The kernel of the operating system ends one process of a container that passes its limit. Everything that the server
starts is made the first choice, and a count of such ends (cgroups(7)) tells what a dead kernel died of.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jupyter_server.services.kernels.kernelmanager import ServerKernelManager

from coursewarehub.singleuser import subtree
from coursewarehub.singleuser.notices import Board
from coursewarehub.wire import messages
from coursewarehub.wire.notices import Level, Notice

log = logging.getLogger("coursewarehub.singleuser")

CHECK_SECONDS: Final = 2.0
_FIRST_CHOICE: Final = "1000"
_NO_LIMIT: Final = 1 << 60


def first_to_go(pid: int) -> None:
    """Make a process of ours the out-of-memory killer's first choice (proc_pid_oom_score_adj(5)), if that is allowed.

    What it starts from now on inherits it.
    """
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text(_FIRST_CHOICE)
    except OSError as error:
        log.debug("process %s keeps its place: %s", pid, error)


def children(pid: int) -> set[int]:
    """Pids of a process's children; cheaper than a look at every process of the machine."""
    found: set[int] = set()
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found.update(int(child) for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    except OSError:
        return found
    return found


@dataclass(frozen=True)
class Running:
    """The process of a kernel, told apart from a later one by its start time."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int | None) -> Running | None:
        """The process with this pid, if it runs."""
        process = subtree.look(pid) if pid is not None else None
        return None if process is None or process.state in "ZX" else cls(process.pid, process.start)


launched: deque[tuple[str, Running]] = deque(maxlen=100)
"""Kernels' processes that were started since the watch last looked; one may have died already."""


class CoursewareKernelManager(ServerKernelManager):
    """A kernel that goes before its server when memory is short."""

    async def start_kernel(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Start the kernel."""
        started = await super().start_kernel(*args, **kwargs)
        self._step_forward()
        return started

    async def restart_kernel(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Start it again, as another process."""
        restarted = await super().restart_kernel(*args, **kwargs)
        self._step_forward()
        return restarted

    def _step_forward(self) -> None:
        process = Running.of(pid_of(self))
        if process is not None and self.kernel_id is not None:
            first_to_go(process.pid)
            launched.append((self.kernel_id, process))


def pid_of(kernel: Any) -> int | None:
    """Pid of a kernel manager's process, if it is one of this machine."""
    pid = getattr(getattr(kernel, "provisioner", None), "pid", None)
    return pid if isinstance(pid, int) else None


@dataclass(frozen=True)
class MemoryGroup:
    """A control group's files: how many processes died of its limit, and the limit."""

    count_file: Path
    limit_file: Path

    @classmethod
    def of_container(cls, root: Path = Path("/sys/fs/cgroup")) -> MemoryGroup | None:
        """The group of the container this process is in, version 2 or 1; None where memory has no limit."""
        for group in (
            cls(root / "memory.events", root / "memory.max"),
            cls(root / "memory" / "memory.oom_control", root / "memory" / "memory.limit_in_bytes"),
        ):
            if group.limit() is not None and group.kills() is not None:
                return group
        return None

    def kills(self) -> int | None:
        """How many processes were ended so far because the limit was passed; None where that is not counted."""
        try:
            words = [line.split() for line in self.count_file.read_text().splitlines()]
        except OSError:
            return None
        counts = [int(pair[1]) for pair in words if len(pair) == 2 and pair[0] == "oom_kill"]
        return counts[0] if counts else None

    def limit(self) -> int | None:
        """The limit in bytes; None where there is none."""
        try:
            limit = int(self.limit_file.read_text())
        except (OSError, ValueError):
            return None
        return limit if limit < _NO_LIMIT else None


def told(names: Iterable[str], limit: int) -> list[dict[str, str]]:
    """What the learner is told when these notebooks' kernels died of memory; none: another program did."""
    size = messages.memory_size(limit)
    texts = [messages.fill(messages.KERNEL_OUT_OF_MEMORY, notebook=name, limit=size) for name in names]
    return texts or [messages.fill(messages.PROGRAM_OUT_OF_MEMORY, limit=size)]


class MemoryWatch:
    """Called every few seconds: notices who died of memory, and puts a notice on the board."""

    def __init__(
        self,
        group: MemoryGroup,
        board: Board,
        kernels: Callable[[], Mapping[str, int | None]],
        names: Callable[[], Awaitable[Mapping[str, str]]],
    ) -> None:
        """`kernels` gives the pid of each kernel's process, `names` the notebook of each kernel, by kernel id."""
        self._group = group
        self._board = board
        self._kernels = kernels
        self._names = names
        self._seen = group.kills() or 0
        self._running: dict[str, Running] = {}
        self._known_names: dict[str, str] = {}
        self._puzzled = False
        self._serial = 0

    async def __call__(self) -> None:
        """Look once."""
        for child in children(os.getpid()):
            first_to_go(child)
        kills = self._group.kills() or 0
        started = [*self._running.items(), *launched]
        launched.clear()
        dead = {kernel: None for kernel, process in started if Running.of(process.pid) != process}
        if kills > self._seen:
            # Counted before the process is gone: without a dead kernel, look once more before blaming another program.
            self._puzzled = not dead and not self._puzzled
            if not self._puzzled:
                self._seen = kills
                names = {**self._known_names, **await self._names()}
                self._tell(names.get(kernel, "") for kernel in dead)
        await self._remember()

    async def _remember(self) -> None:
        now = {kernel: Running.of(pid) for kernel, pid in self._kernels().items()}
        self._running = {kernel: process for kernel, process in now.items() if process is not None}
        if self._running.keys() - self._known_names.keys():
            self._known_names = dict(await self._names())

    def _tell(self, names: Iterable[str]) -> None:
        for text in told([name for name in names if name], self._group.limit() or 0):
            log.warning("the memory limit was hit: %s", text["en"])
            self._serial += 1
            self._board.put(Notice(f"memory-{self._serial}", text, level=Level.ERROR))
