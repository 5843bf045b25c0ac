"""Students' services on a Swarm of three machines: ours beside stock SwarmSpawner.

Run ``python -m benchmarks.spawn_swarm`` as root; ``--help`` lists the options. The Swarm is a test bed's.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.beds import CHECKOUT, Host, run_on
from benchmarks.bursts import WARM, Values, arguments, empty, measure, notes, sides, students
from benchmarks.bursts import rows as burst_rows
from benchmarks.measure import Aim, Row
from benchmarks.our_containers import OursSwarm
from benchmarks.processes import StackError
from benchmarks.report import Machine, note, publish
from benchmarks.stock_containers import StockSwarm
from benchmarks.tasks import Watcher, noted, running_tasks

MILLI = 1000
ADDED = 50.0  # milliseconds

BARE = "bare"
PATIENCE = 300.0  # seconds until the bare services run

TOLD = {
    "bare": "in the stock column services of the image that only sleep, made by `xargs -P8 docker service create`, "
    "from the first command until the manager says that all run; what Docker takes for itself on this machine",
    "added": "from the moment when the manager's API first shows that the task runs, to one who asks every 20 ms and "
    "does nothing else, to the spawner's knowing it; stock is patient",
    "record": "from the manager's record that the task runs (UpdatedAt) to the spawner's knowing it; the API shows "
    "the record when most managers have written it to their disks",
    "ran": "from the node's time stamp that the task runs (Status.Timestamp) to the spawner's knowing it",
    "docker": "from the time stamp to the manager's record; managers write at most every 100 ms what nodes tell",
}


def reactions(
    stack: StockSwarm | OursSwarm, host: Host, watcher: Watcher, options: argparse.Namespace, values: Values
) -> None:
    """Add, for each task that runs, the milliseconds from what Docker knows and shows to the spawner's knowledge.

    A spawner whose start is over knows, whether it has looked at the task or not.
    """
    come = students(options)
    alone, many = set(come[WARM : -options.students]), set(come[-options.students :])
    seen, over = noted(stack.measured, "seen"), noted(stack.measured, "over")
    for task in running_tasks(host, watcher):
        if task.student not in over or task.student not in alone | many:
            continue
        when = "burst" if task.student in many else "alone"
        known = min(over[task.student], seen.get(task.student, over[task.student]))
        values[f"{when}: added"].append(MILLI * max(0.0, known - task.shown))
        values[f"{when}: record"].append(MILLI * max(0.0, known - task.told))
        values[f"{when}: ran"].append(MILLI * max(0.0, known - task.ran))
        values[f"{when}: docker"].append(MILLI * (task.told - task.ran))


def bare(host: Host, options: argparse.Namespace, values: Values) -> None:
    """Add the seconds that the Swarm itself takes for services that only sleep: for one alone, and for many at once."""
    host.docker("network", "create", "--driver", "overlay", BARE)
    for number in range(WARM):
        _services(host, f"warm{number}-", 1)
    for number in range(options.singles):
        values["single"].append(_services(host, f"single{number}-", 1))
    values["last"].append(_services(host, "many-", options.students))
    host.reset()


def _services(host: Host, prefix: str, count: int) -> float:
    """Seconds until so many new services run by the manager's records. `StackError`."""
    create = ["docker", "-H", host.facts.url, "service", "create", "--detach", "--quiet", "--name", f"{prefix}@"]
    where = ["--network", BARE, "--endpoint-mode", "dnsrr", "--restart-condition", "none"]
    command = ["xargs", "-P8", "-I@", *create, *where, host.facts.images["singleuser"], "sleep", "600"]
    begin = time.monotonic()
    names = "\n".join(map(str, range(count)))
    done = subprocess.run(
        host.placed(command, CHECKOUT), input=names, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    if done.returncode != 0:
        raise StackError(f"bare services: {done.stderr.strip()[-500:]}")
    while time.monotonic() - begin < PATIENCE:
        mine = {each["ID"] for each in host.api("/services") if each["Spec"]["Name"].startswith(prefix)}
        run = {task["ServiceID"] for task in host.api("/tasks") if task["Status"]["State"] == "running"}
        if len(mine & run) == count:
            return time.monotonic() - begin
        time.sleep(0.05)
    raise StackError(f"bare services: not all of {count} run after {PATIENCE:.0f} s")


def rows(count: int, values: dict[str, Values]) -> list[Row]:
    """The table's lines."""

    def row(metric: str, label: str, share: float, aim: Aim | None = None, told: str = "") -> Row:
        stock, ours = (tuple(values[side][metric]) for side in ("patient", "ours"))
        return Row(label, "ms", stock, ours, aim, share, told)

    docker, ours = values["bare"], values["ours"]
    table = [
        *burst_rows(count, values),
        Row("one alone: page, beside bare", "s", tuple(docker["single"]), tuple(ours["single"]), note=TOLD["bare"]),
        Row(f"{count} at once: last ready, beside bare", "s", tuple(docker["last"]), tuple(ours["last ready"])),
    ]
    for when, label in (("alone", "one alone"), ("burst", f"{count} at once")):
        table += [
            row(f"{when}: added", f"{label}: added to task-running, p95", 0.95, Aim(value=ADDED), TOLD["added"]),
            row(f"{when}: added", f"{label}: added to task-running, median", 0.5),
            row(f"{when}: record", f"{label}: record to spawner, p95", 0.95, told=TOLD["record"]),
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
            with side(name, options, manager) as stack, Watcher(manager) as watcher:
                measure(stack, options, values[name])
                reactions(stack, manager, watcher, options, values[name])
        note(f"round {number + 1} of {options.rounds}: bare services")
        bare(manager, options, values["bare"])
    return publish("spawn_swarm", options, rows(options.students, values), machine, notes(options))


def side(name: str, options: argparse.Namespace, manager: Host) -> StockSwarm | OursSwarm:
    """A stack of this name."""
    if name != "ours":
        return StockSwarm(manager, command=options.stock_command, patient=name == "patient")
    return OursSwarm(manager)


if __name__ == "__main__":
    asked = arguments("Students' services on a Swarm, against stock SwarmSpawner.", rounds=2, singles=10)
    run_on("swarm", main, asked)
