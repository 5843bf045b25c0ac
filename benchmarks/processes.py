"""Start, watch, weigh and stop processes of a stack under measurement.

The benchmark makes itself the child subreaper of everything below it, so a process that detaches
from its parent is still found, counted and stopped. One stack runs at a time, therefore "all
processes of the stack" are all descendants of the benchmark.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from benchmarks.measure import Stat, descendants, parse_available, parse_pss, parse_stat

PR_SET_CHILD_SUBREAPER = 36


class StackError(Exception):
    """A stack did not come up or died; the message carries the end of its log."""


def adopt_descendants() -> None:
    """Make detached processes children of this one, and turn SIGTERM into a clean exit."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become the subreaper of the stacks")
    signal.signal(signal.SIGTERM, _exit)


def _exit(signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


def family() -> dict[int, Stat]:
    """Every living process below the benchmark, whichever stack it belongs to."""
    stats: dict[int, Stat] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                stats[int(entry.name)] = parse_stat((entry / "stat").read_text())
    below = descendants({pid: stat.parent for pid, stat in stats.items()}, os.getpid())
    return {pid: stats[pid] for pid in below if stats[pid].state not in "ZX"}


def pss(pids: Iterator[int] | Sequence[int] | set[int] | Mapping[int, object], kind: str = "Pss") -> int:
    """Bytes of proportional set size of these processes together; dead ones count nothing.

    `kind` `Pss_Anon` leaves out the pages of files (programs, libraries), which the kernel drops when it needs them.
    """
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += parse_pss(Path("/proc", str(pid), "smaps_rollup").read_text(), kind)
    return total


def cpu_seconds() -> float:
    """Processor seconds used by all living processes of the stack and their dead children."""
    return sum(stat.cpu_ticks for stat in family().values()) / os.sysconf("SC_CLK_TCK")


def ticks(pids: Iterable[int]) -> int:
    """Clock ticks used by these processes and their dead children; dead ones count nothing."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError):
            total += parse_stat(Path("/proc", str(pid), "stat").read_text()).cpu_ticks
    return total


def available() -> int:
    """Bytes of memory the machine could still give."""
    return parse_available(Path("/proc/meminfo").read_text())


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without Jupyter's own variables and proxies, plus `extra`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JUPYTER", "CONFIGPROXY")) and not name.lower().endswith("_proxy")
    }
    return kept | dict(extra)


class Command:
    """One long-running command in a process group of its own, its output in two files."""

    def __init__(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.output = folder / "stdout.log"
        self.log = folder / "stderr.log"
        with self.output.open("wb") as output, self.log.open("wb") as log:
            self._process = subprocess.Popen(
                arguments,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise `StackError` with the end of the log when the command has ended."""
        code = self._process.poll()
        if code is not None:
            lines = self.log.read_text(errors="replace").splitlines()[-15:]
            raise StackError("\n".join([f"the command ended with exit code {code}:", *lines]))

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the command itself, as an operator does."""
        if self._process.poll() is None:
            self._process.terminate()

    def wait(self, seconds: float) -> bool:
        """Whether the command ended within `seconds`."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a second Ctrl-C or SIGTERM wait until the clean-up is over."""
    names = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(name, signal.SIG_IGN) for name in names]
    try:
        yield
    finally:
        for name, handler in zip(names, previous, strict=True):
            signal.signal(name, handler)


def stop(commands: Sequence[Command], seconds: float = 60.0) -> int:
    """Stop the commands, then kill what they left; return how many processes were left over."""
    with uninterrupted():
        for command in commands:
            command.ask_to_stop()
        deadline = time.monotonic() + seconds
        for command in commands:
            command.wait(max(0.1, deadline - time.monotonic()))
        left = len(_settle())
        _kill_family()
        for command in commands:
            command.wait(5)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0] != 0:
                pass
        return left


def _settle() -> dict[int, Stat]:
    """The processes still there after a grace of two seconds."""
    deadline = time.monotonic() + 2
    while (left := family()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def _kill_family() -> None:
    """Kill until nothing is left (a process may be forking while it is killed), 10 s at most."""
    deadline = time.monotonic() + 10
    while (left := family()) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
