"""Machines with a real Docker Engine, or a Swarm of three, for benchmarks: the test beds of ``tests/support``.

A bed lives in a process of its own that is no descendant of the benchmark, so that its engines and their containers
are neither weighed nor stopped as parts of a stack. It ends when the benchmark's end of the pipe closes, however
that happens.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [folder for folder in (str(CHECKOUT), str(CHECKOUT / "tests")) if folder not in sys.path]

from benchmarks.measure import parse_usage  # noqa: E402
from benchmarks.processes import StackError, ticks  # noqa: E402
from benchmarks.report import note, run  # noqa: E402

_RESETS = 3


@dataclass(frozen=True)
class Facts:
    """Where a bed's host is: `address` is reached from here, `machine` is the pid of a process on it.

    `images` are full names by `singleuser` and `hub`, `base` that of a small Debian; `storage` is a folder that all
    machines of the bed share. `join` are shell commands that make a process one of the machine's.
    """

    url: str
    address: str
    machine: int
    storage: str
    images: dict[str, str]
    base: str
    join: str


class Host:
    """The only machine of a bed, or the manager of its Swarm, as the benchmark sees it."""

    def __init__(self, bed: subprocess.Popen[str]) -> None:
        self._bed = bed
        self.facts = Facts(**self._answer())

    def placed(self, command: list[str], folder: Path) -> list[str]:
        """The command line that runs a command on the machine, with processor time as a service there has it."""
        join = ["sh", "-c", f'{self.facts.join}exec "$@"', "join"]
        enter = ["nsenter", "--target", str(self.facts.machine), "--mount", "--uts", "--net"]
        return [*join, *enter, f"--wd={folder}", *command]

    def docker(self, *arguments: str) -> str:
        """What ``docker ARGUMENTS`` prints there; `StackError` when it fails."""
        command = ["docker", "-H", self.facts.url, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode != 0:
            raise StackError(f"docker {' '.join(arguments)}: {done.stderr.strip()[-500:]}")
        return done.stdout.strip()

    def api(self, path: str) -> Any:
        """The answer of the engine's API to ``GET path``."""
        return self._ask({"get": path})

    def cpu_seconds(self) -> float:
        """Processor seconds used by the bed's engines and containers up to now."""
        return float(self._ask({"cpu": True}))

    def reset(self) -> None:
        """Remove everything but images; again when a Swarm has not let go of a network yet."""
        for _ in range(_RESETS - 1):
            with contextlib.suppress(StackError):
                self._ask({"reset": True})
                return
        self._ask({"reset": True})

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._bed.stdin is not None
        self._bed.stdin.write(json.dumps(question) + "\n")
        self._bed.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._bed.stdout is not None
        line = self._bed.stdout.readline()
        if not line:
            raise StackError("the test bed ended; its words are above")
        answer = json.loads(line)
        if isinstance(answer, dict) and "error" in answer:
            raise StackError(f"the test bed: {answer['error']}")
        return answer


@contextlib.contextmanager
def bed(kind: str) -> Iterator[Host]:
    """A bed with the images of this checkout, `engine` or `swarm`; gone when the block is left.

    Enter it before `processes.adopt_descendants`.
    """
    command = [sys.executable, "-m", "benchmarks.beds", kind]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT, start_new_session=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield Host(process)
        finally:
            process.stdin.close()
            process.stdout.read()  # ends when the bed has


def run_on(kind: str, main: Callable[[argparse.Namespace, Host], int], options: argparse.Namespace) -> None:
    """Call `main` with a bed's host and leave with its exit code, as `report.run` does."""
    try:
        with bed(kind) as host:
            run(partial(main, options, host))
    except StackError as error:
        note(f"error: {error}")
        raise SystemExit(3) from None


def serve(kind: str) -> None:
    """Open a bed, say where it is, and answer until the input ends."""
    from support.engines import BASE, engine_bed
    from support.images import provide_images
    from support.swarm import swarm_bed

    def answer(question: dict[str, Any]) -> Any:
        if "get" in question:
            return first.api("GET", question["get"])
        return _cpu_seconds(bed.place.name) if "cpu" in question else bed.reset()

    with contextlib.ExitStack() as stack:
        bed = stack.enter_context(engine_bed() if kind == "engine" else swarm_bed())
        engines = [bed.engine] if kind == "engine" else list(bed.engines.values())
        first = engines[0]
        assert first.machine is not None
        images = provide_images(bed.registry, engines)
        base = f"{bed.registry.address}/{BASE}"
        join = first.join("hub")
        _say(asdict(Facts(first.url, first.address, first.machine.pid, str(bed.storage), images, base, join)))
        for line in sys.stdin:
            try:
                _say(answer(json.loads(line)))
            except (AssertionError, RuntimeError, OSError) as error:
                _say({"error": str(error)[-500:]})


def _cpu_seconds(place: str) -> float:
    """Of a bed's control groups; where each resource has a hierarchy of its own, the engines are in that of `pids`."""
    from support.netns import processes_below

    whole = Path("/sys/fs/cgroup", place, "cpu.stat")
    if whole.exists():
        return parse_usage(whole.read_text())
    containers = Path("/sys/fs/cgroup/cpuacct", place, "cpuacct.usage")
    used = int(containers.read_text()) / 1e9 if containers.exists() else 0.0
    inside = {int(pid) for file in containers.parent.rglob("cgroup.procs") for pid in file.read_text().split()}
    return used + ticks(processes_below(f"/{place}") - inside) / os.sysconf("SC_CLK_TCK")


def _say(answer: Any) -> None:
    print(json.dumps(answer), flush=True)


def _detach() -> None:
    """Go on as a process that belongs to nobody and hears no Ctrl-C."""
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    _detach()
    try:
        serve(sys.argv[1])
    except AssertionError as error:
        sys.exit(f"test bed: {error}")
