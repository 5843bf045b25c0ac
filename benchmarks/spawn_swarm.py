"""Students' services on a Swarm of three machines: ours beside stock SwarmSpawner.

Run ``python -m benchmarks.spawn_swarm`` as root; ``--help`` lists the options. The Swarm is a test bed's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.beds import Host, run_on
from benchmarks.bursts import WARM, Values, arguments, empty, measure, notes, sides, students
from benchmarks.bursts import rows as burst_rows
from benchmarks.measure import Aim, Row
from benchmarks.our_containers import OursSwarm
from benchmarks.report import Machine, note, publish
from benchmarks.stock_containers import StockSwarm
from benchmarks.tasks import noted, running_tasks

MILLI = 1000
ADDED = 50.0  # milliseconds

TOLD = {
    "added": "from the manager's record that the task runs (UpdatedAt) to the spawner's knowing it; stock is patient",
    "ran": "from the node's time stamp that the task runs (Status.Timestamp) to the spawner's knowing it",
    "docker": "from the time stamp to the manager's record; managers write at most every 100 ms what nodes tell",
}


def reactions(stack: StockSwarm | OursSwarm, host: Host, options: argparse.Namespace, values: Values) -> None:
    """Add, for each task that runs, the milliseconds from Docker's records to the spawner's knowledge.

    A spawner whose start is over knows, whether it has looked at the task or not.
    """
    come = students(options)
    alone, many = set(come[WARM : -options.students]), set(come[-options.students :])
    seen, over = noted(stack.measured, "seen"), noted(stack.measured, "over")
    for task in running_tasks(host):
        if task.student not in over or task.student not in alone | many:
            continue
        when = "burst" if task.student in many else "alone"
        known = min(over[task.student], seen.get(task.student, over[task.student]))
        values[f"{when}: added"].append(MILLI * max(0.0, known - task.told))
        values[f"{when}: ran"].append(MILLI * max(0.0, known - task.ran))
        values[f"{when}: docker"].append(MILLI * (task.told - task.ran))


def rows(count: int, values: dict[str, Values]) -> list[Row]:
    """The table's lines."""

    def row(metric: str, label: str, share: float, aim: Aim | None = None, told: str = "") -> Row:
        stock, ours = (tuple(values[side][metric]) for side in ("patient", "ours"))
        return Row(label, "ms", stock, ours, aim, share, told)

    table = burst_rows(count, values)
    for when, label in (("alone", "one alone"), ("burst", f"{count} at once")):
        table += [
            row(f"{when}: added", f"{label}: added to task-running, p95", 0.95, Aim(value=ADDED), TOLD["added"]),
            row(f"{when}: added", f"{label}: added to task-running, median", 0.5),
            row(f"{when}: ran", f"{label}: node to spawner, p95", 0.95, told=TOLD["ran"]),
            row(f"{when}: docker", f"{label}: node to manager, p95", 0.95, told=TOLD["docker"]),
        ]
    return table


def main(options: argparse.Namespace, manager: Host) -> int:
    """Measure, print, and return the exit code."""
    machine = Machine(manager.cpu_seconds)
    values = empty()
    for number in range(options.rounds):
        for name in sides(options):
            note(f"round {number + 1} of {options.rounds}: {name}")
            with side(name, options, manager) as stack:
                measure(stack, options, values[name])
                reactions(stack, manager, options, values[name])
    return publish("spawn_swarm", options, rows(options.students, values), machine, notes(options))


def side(name: str, options: argparse.Namespace, manager: Host) -> StockSwarm | OursSwarm:
    """A stack of this name."""
    if name != "ours":
        return StockSwarm(manager, command=options.stock_command, patient=name == "patient")
    return OursSwarm(manager)


if __name__ == "__main__":
    asked = arguments("Students' services on a Swarm, against stock SwarmSpawner.", rounds=2, singles=10)
    run_on("swarm", main, asked)
