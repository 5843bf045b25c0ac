"""How long a hub's event loop keeps everybody waiting, measured in the hub itself.

A probe in `hub.d` asks the loop for a turn every few milliseconds and notes how late it comes. Lateness that the
machine causes is left out: the kernel says for how long the loop's thread could have run and got no processor
(`run_delay` in `/proc/<pid>/task/<tid>/schedstat`). What remains is the hub's own: code that computes or blocks in the
loop.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

LONGEST = 0.05
"""Seconds by which a silent service may delay somebody else's request."""

_PROBE = """
import asyncio, json, os, threading, time

def _run_delay():
    with open(f"/proc/self/task/{threading.get_native_id()}/schedstat") as file:
        return int(file.read().split()[1]) / 1e9

async def _probe(every=0.005):
    with open(_FILE, "a", buffering=1) as file:
        while True:
            begin, waited = time.monotonic(), _run_delay()
            await asyncio.sleep(every)
            end = time.monotonic()
            file.write(json.dumps([end, max(0.0, end - begin - every - (_run_delay() - waited))]) + chr(10))

if course.id == _COURSE:
    _task = asyncio.get_running_loop().create_task(_probe())
    c.CourseHub._lag_probe = _task  # kept, so that it is not collected
"""


class LoopLag:
    """The probe in the hub of one course of a site; make it before the site starts."""

    def __init__(self, root: Path, course: str) -> None:
        self._file = root / f"loop-lag-{course}"
        (root / "hub.d").mkdir(parents=True, exist_ok=True)
        values = f"_FILE, _COURSE = {str(self._file)!r}, {course!r}\n"
        (root / "hub.d" / "50-loop-lag.py").write_text(values + _PROBE)

    def between(self, begin: float, end: float) -> list[float]:
        """The hub's own lateness, in seconds, of every turn between two times of `time.monotonic`, the worst last."""
        turns = [json.loads(line) for line in _whole_lines(self._file)]
        found = sorted(late for at, late in turns if begin <= at <= end)
        assert len(found) > (end - begin) * 20, f"the probe had only {len(found)} turns in {end - begin:.1f} s"
        return found

    def since(self, begin: float) -> list[float]:
        """The same from then until now."""
        return self.between(begin, time.monotonic())


def _whole_lines(file: Path) -> list[str]:
    return file.read_text().rpartition("\n")[0].splitlines()


def added(with_silence: list[float], without: list[float], share: float = 0.999) -> float:
    """By how much a high quantile of one measurement is above that of another: what the silence has added."""
    return _quantile(with_silence, share) - _quantile(without, share)


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * share) - 1)]
