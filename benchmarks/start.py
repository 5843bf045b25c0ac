"""From the request for a server to a server that answers, for 1, 20 and 50 students at once.

Run ``python -m benchmarks.start`` (or ``python benchmarks/start.py``); ``--help`` lists all.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.logins import wait_for_logins
from benchmarks.measure import MIB, Aim, Row, median, quantile
from benchmarks.ours import Ours
from benchmarks.processes import available, cpu_seconds, family, pss
from benchmarks.report import Machine, note, numbers, parser, positive, publish, run, stacks
from benchmarks.servers import Started, names, start_servers
from benchmarks.stack import Stack
from benchmarks.stock import Stock

MANY = 50
SETTLE = 3.0

Values = dict[str, list[float]]


def measure(stack: Stack, students: int, options: argparse.Namespace, values: Values) -> None:
    """One burst on a fresh stack: times, memory and processor seconds into `values`."""
    course = stack.courses[0]
    stack.start()
    wait_for_logins(stack.courses, stack.check)
    token = stack.token(course)
    time.sleep(SETTLE)
    before, free, cpu = set(family()), available(), cpu_seconds()
    started = start_servers(course, token, names(students), options.ready_path, options.patience)
    used = cpu_seconds() - cpu
    time.sleep(SETTLE)
    times = [each.seconds for each in started if each.seconds is not None]
    values["failures"].append(students - len(times))
    _tell_failures(stack.name, started)
    if not times:
        return
    values["first"].append(min(times))
    values["p50"].append(median(times))
    values["p95"].append(quantile(times, 0.95))
    values["last"].append(max(times))
    values["rate"].append(60 * len(times) / max(times))
    values["pss"].append(pss(set(family()) - before) / len(times) / MIB)
    values["available"].append((free - available()) / len(times) / MIB)
    values["cpu"].append(used / len(times))


def _tell_failures(stack: str, started: list[Started]) -> None:
    for each in started:
        if each.seconds is None:
            note(f"{stack}: {each.name} failed: {each.failure}")


def rows(students: int, stock: Values, ours: Values) -> list[Row]:
    """The table's lines for one number of students."""
    many = students >= MANY

    def row(metric: str, label: str, unit: str, aim: Aim | None = None) -> Row:
        label = f"{students} at once: {label}"
        return Row(label, unit, tuple(stock[metric]), tuple(ours[metric]), aim)

    spread = [
        row("first", "first ready", "s"),
        row("p50", "p50", "s"),
        row("p95", "p95", "s"),
        row("last", "last ready", "s", Aim(ratio=0.15) if many else None),
        row("rate", "starts per minute", "/min"),
    ]
    return [
        *(spread if students > 1 else [row("last", "ready", "s")]),
        row("pss", "memory per server, PSS", "MiB", Aim(ratio=0.35) if many else None),
        row("available", "memory per server, MemAvailable drop", "MiB"),
        row("cpu", "processor time per start", "s"),
        row("failures", "failures", "", Aim(value=0)),
    ]


def main() -> int:
    """Measure, print, and return the exit code."""
    options = arguments()
    machine = Machine()
    table: list[Row] = []
    for students in options.students:
        values: dict[str, Values] = {name: defaultdict(list) for name in ("stock", "ours")}
        rounds = options.rounds if students < MANY else options.large_rounds
        for number in range(rounds):
            for name in stacks(options):
                note(f"{students} at once, round {number + 1} of {rounds}: {name}")
                with Stock(1, students) if name == "stock" else Ours(1) as stack:
                    measure(stack, students, options, values[name])
        table += rows(students, values["stock"], values["ours"])
    told = (
        f"ready: the hub says so and /user/NAME/{options.ready_path} answers 200 by the proxy; "
        "processor time is of the whole stack (hub, proxy, servers)"
    )
    return publish("start", options, table, machine, [told])


def arguments() -> argparse.Namespace:
    """The command line."""
    found = parser("Students' servers at once, against stock JupyterHub.", rounds=3)
    add = found.add_argument
    add("--students", type=numbers, default=[1, 20, MANY], help="bursts (default 1,20,50)")
    add("--large-rounds", type=positive, default=1, help=f"rounds of {MANY} or more (default 1)")
    add("--ready-path", default="api/status", help="path below the server (default api/status)")
    add("--patience", type=float, default=300.0, help="seconds until a start counts as failed")
    return found.parse_args()


if __name__ == "__main__":
    run(main)
