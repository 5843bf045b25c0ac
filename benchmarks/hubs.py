"""Courses nobody is in: memory, sleep, waking and starting, against as many stock JupyterHubs.

Run ``python -m benchmarks.hubs`` (or ``python benchmarks/hubs.py``); ``--help`` lists the options.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.logins import wait_for_logins
from benchmarks.measure import MIB, Aim, Row
from benchmarks.ours import Ours
from benchmarks.processes import StackError, available, cpu_seconds, family, pss
from benchmarks.report import Machine, note, parser, positive, publish, run, stacks
from benchmarks.stack import Stack
from benchmarks.stock import Stock

BATCH = 10


class Samples:
    """The values of each metric on each stack, in the order they were measured."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, stack: str, metric: str, *values: float) -> None:
        """Remember values in the metric's own unit."""
        self._values[stack, metric].extend(values)

    def get(self, stack: str, metric: str) -> tuple[float, ...]:
        """All values, oldest first; empty when nothing was measured."""
        return tuple(self._values.get((stack, metric), ()))

    def named(self, stack: str, prefix: str) -> list[str]:
        """What follows `prefix` in the names of this stack's metrics, in the order they came."""
        return [
            metric.removeprefix(prefix)
            for owner, metric in self._values
            if owner == stack and metric.startswith(prefix)
        ]


def timed_start(stack: Stack) -> float:
    """Seconds from running the stack's commands until all its login pages answer."""
    begin = time.monotonic()
    stack.start()
    wait_for_logins(stack.courses, stack.check)
    return time.monotonic() - begin


def idle(stack: Stack, samples: Samples, settle: float) -> None:
    """Start all courses and weigh them while nobody is there."""
    free = available()
    samples.add(stack.name, "start", timed_start(stack))
    time.sleep(settle)
    if isinstance(stack, Ours):
        _all_running(stack)
    weigh(stack, "idle", free, samples, settle)
    hubs = pss(stack.hub_pids()) if isinstance(stack, Ours) else pss(family())
    samples.add(stack.name, "idle hub", hubs / MIB)


def weigh(stack: Stack, state: str, free: int, samples: Samples, settle: float) -> None:
    """Add memory in MiB and processor use in % of one core of the whole stack as it is now."""
    cpu, begin = cpu_seconds(), time.monotonic()
    time.sleep(settle)
    share = 100 * (cpu_seconds() - cpu) / (time.monotonic() - begin)
    samples.add(stack.name, f"{state} pss", pss(family()) / MIB)
    samples.add(stack.name, f"{state} anonymous", pss(family(), "Pss_Anon") / MIB)
    samples.add(stack.name, f"{state} available", (free - available()) / MIB)
    samples.add(stack.name, f"{state} cpu", share)


def _all_running(stack: Ours) -> None:
    states = stack.hub_states()
    resting = [course.id for course in stack.courses if states.get(course.id) != "running"]
    if resting:
        raise StackError(f"ours: {len(resting)} hubs do not run, {resting[0]} among them")


def weigh_parts(site: Ours, samples: Samples) -> None:
    """Add the memory of each process that is there once, however many courses there are."""
    for name, process in site.status().get("processes", {}).items():
        if process.get("pid"):
            samples.add("ours", f"part {name}", pss([process["pid"]]) / MIB)


def measure_stock(samples: Samples, options: argparse.Namespace, wakes: int) -> None:
    """One round of stock hubs: all idle, then one that is started again and again."""
    note(f"stock: {options.courses} hubs idle")
    with Stock(options.courses) as stack:
        idle(stack, samples, options.settle)
        stack.stop()
        samples.add("stock", "left", stack.left_over)
    note(f"stock: {wakes} starts of one hub")
    with Stock(1) as stack:
        timed_start(stack)  # creates the database, which a hub that is started again has
        for _ in range(wakes):
            stack.stop()
            samples.add("stock", "wake", timed_start(stack))


def measure_ours(samples: Samples, options: argparse.Namespace, wakes: int) -> None:
    """One round of ours: all idle, then a site whose courses sleep and are woken one by one."""
    note(f"ours: {options.courses} courses idle")
    with Ours(options.courses) as site:
        idle(site, samples, options.settle)
        site.stop()
        samples.add("ours", "left", site.left_over)
    note(f"ours: {options.sleeping} courses asleep, {wakes} wakes")
    free = available()
    with Ours(options.sleeping, sleep_after=options.sleep_after) as site:
        site.start()
        for first in range(0, len(site.courses), BATCH):  # each has been awake once
            wait_for_logins(site.courses[first : first + BATCH], site.check)
        site.wait_until_asleep(site.courses, options.patience)
        time.sleep(options.settle)  # the edge takes up the last hubs' routes, the servers' parent ends
        weigh(site, "asleep", free, samples, options.settle)
        weigh_parts(site, samples)
        for number in range(wakes):
            course = site.courses[number % len(site.courses)]
            begin = time.monotonic()
            wait_for_logins([course], site.check)
            samples.add("ours", "wake", time.monotonic() - begin)
            site.wait_until_asleep([course], options.patience)


def rows(samples: Samples, options: argparse.Namespace) -> list[Row]:
    """The table: what was measured, per course or for all sleeping courses together."""
    count, asleep = options.courses, options.sleeping
    scaled = f"stock has no sleep; its figure is {count} idle hubs scaled to {asleep}"

    def per_course(stack: str, metric: str, courses: int) -> tuple[float, ...]:
        return tuple(value / courses for value in samples.get(stack, metric))

    def resting(metric: str, label: str, unit: str, aim: Aim | None, scale: int) -> Row:
        stock = tuple(v * scale / count for v in samples.get("stock", f"idle {metric}"))
        ours = tuple(v * scale / asleep for v in samples.get("ours", f"asleep {metric}"))
        return Row(label, unit, stock, ours, aim, note=scaled if scale > 1 else "")

    def plain(metric: str, label: str, aim: Aim | None, share: float = 0.5, unit: str = "s") -> Row:
        values = (samples.get("stock", metric), samples.get("ours", metric))
        return Row(label, unit, *values, aim, share)

    def awake(metric: str, label: str, unit: str, aim: Aim | None) -> Row:
        stock, ours = (per_course(stack, f"idle {metric}", count) for stack in ("stock", "ours"))
        return Row(label, unit, stock, ours, aim)

    return [
        awake("hub", "a running idle hub (stock: with its proxy), PSS", "MiB", Aim(ratio=0.4)),
        awake("pss", "memory per idle course, everything shared out, PSS", "MiB", None),
        awake("anonymous", "- without pages of program files", "MiB", None),
        awake("available", "memory per idle course, MemAvailable drop", "MiB", None),
        awake("cpu", "processor use per idle course", "% core", None),
        resting("pss", f"memory of {asleep} sleeping courses, PSS", "MiB", Aim(value=150), asleep),
        resting("anonymous", "- without pages of program files", "MiB", None, asleep),
        *(
            Row(f"- of it {name}", "MiB", (), samples.get("ours", f"part {name}"))
            for name in samples.named("ours", "part ")
        ),
        resting("pss", "memory per sleeping course, PSS", "MiB", None, 1),
        resting("available", f"memory of {asleep} sleeping courses, MemAvailable", "MiB", None, asleep),
        resting("cpu", f"processor use of {asleep} sleeping courses", "% core", None, asleep),
        plain("wake", "time to wake, median", Aim(value=0.5)),
        plain("wake", "time to wake, p95", None, 0.95),
        plain("start", f"time to start {count} courses", None),
        plain("left", "processes left after stop", Aim(value=0), unit=""),
    ]


def main() -> int:
    """Measure, print, and return the exit code."""
    options = arguments()
    machine = Machine()
    samples = Samples()
    wakes = math.ceil(options.wakes / options.rounds)
    for number in range(options.rounds):
        note(f"round {number + 1} of {options.rounds}")
        for name in stacks(options):
            (measure_stock if name == "stock" else measure_ours)(samples, options, wakes)
    return publish("hubs", options, rows(samples, options), machine)


def arguments() -> argparse.Namespace:
    """The command line."""
    found = parser("Courses nobody is in, against stock JupyterHubs.", rounds=3)
    add = found.add_argument
    add("--courses", type=positive, default=10, help="idle running courses (default 10)")
    add("--sleeping", type=positive, default=100, help="sleeping courses (default 100)")
    add("--wakes", type=positive, default=10, help="wakes in all rounds together (default 10)")
    add("--settle", type=float, default=5.0, help="seconds to wait before weighing (default 5)")
    add("--sleep-after", default="2s", help="hubs.sleep_after of the sleeping site (default 2s)")
    add("--patience", type=float, default=300.0, help="seconds hubs may take to fall asleep")
    return found.parse_args()


if __name__ == "__main__":
    run(main)
