"""Students' containers on one Docker host: ours beside stock DockerSpawner, and beside ``xargs -P8 docker run``.

Run ``python -m benchmarks.spawn_docker`` as root; ``--help`` lists the options. The engine is a test bed's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.beds import CHECKOUT, Host, run_on
from benchmarks.bursts import SETTLE, WARM, Values, arguments, ask, empty, measure, notes, sides
from benchmarks.bursts import rows as burst_rows
from benchmarks.logins import wait_for_logins
from benchmarks.measure import Aim, Row
from benchmarks.our_containers import OursDocker
from benchmarks.ours import Ours
from benchmarks.processes import StackError
from benchmarks.report import Machine, note, publish
from benchmarks.servers import names
from benchmarks.stock_containers import StockContainers, StockDocker

OUR_COMMAND = "coursewarehub-singleuser"
BARE = 0.9  # of the starts per second of a bare `docker run`, at least


def bare(host: Host, students: int) -> list[float]:
    """Seconds until each container of a bare ``docker run`` answered."""
    where = (host.facts.url, host.facts.address)
    what = (host.facts.images["singleuser"], OUR_COMMAND, str(students))
    placed = host.placed([sys.executable, "-m", "benchmarks.bare", *where, *what], CHECKOUT)
    done = subprocess.run(placed, capture_output=True, text=True, check=False, timeout=600)
    host.reset()
    if done.returncode != 0:
        raise StackError(f"bare: {done.stderr.strip()[-500:]}")
    found: list[float] = json.loads(done.stdout)
    return found


def ask_hub(host: Host, options: argparse.Namespace) -> float:
    """Seconds until the servers that our hub was asked for are ready; no browser takes its share of the machine."""
    with OursDocker(host) as stack:
        stack.start()
        wait_for_logins(stack.courses, stack.check)
        time.sleep(SETTLE)
        who, token = names(WARM + options.students), stack.token(stack.courses[0])
        ask(stack, token, who[:WARM], options.patience)
        time.sleep(SETTLE)
        return ask(stack, token, who[WARM:], options.patience)


def rows(students: int, values: dict[str, Values]) -> list[Row]:
    """The table's lines."""
    told = (
        f"in the stock column `xargs -P8 docker run` of the image with `{OUR_COMMAND}`, from its start to the last "
        f"container's first answer; at least {BARE} of its starts per second are asked for"
    )
    last = tuple(values["bare"]["last"])
    aim = Aim(ratio=round(1 / BARE, 2))
    return [
        *burst_rows(students, values),
        Row(
            f"{students} asked of the hub: last ready, beside bare",
            "s",
            last,
            tuple(values["asked"]["last"]),
            aim,
            note=told,
        ),
        Row(f"{students} at once: last ready, beside bare", "s", last, tuple(values["ours"]["last ready"])),
    ]


def main(options: argparse.Namespace, host: Host) -> int:
    """Measure, print, and return the exit code."""
    machine = Machine(host.cpu_seconds)
    values = empty()
    for number in range(options.rounds):
        for name in sides(options):
            note(f"round {number + 1} of {options.rounds}: {name}")
            with side(name, options, host) as stack:
                measure(stack, options, values[name])
        note(f"round {number + 1} of {options.rounds}: asked of the hub, and bare docker run")
        values["asked"]["last"].append(ask_hub(host, options))
        values["bare"]["last"].append(max(bare(host, options.students)))
    return publish("spawn_docker", options, rows(options.students, values), machine, notes(options))


def side(name: str, options: argparse.Namespace, host: Host) -> StockContainers | Ours:
    """A stack of this name."""
    if name != "ours":
        return StockDocker(host, command=options.stock_command, patient=name == "patient")
    return OursDocker(host)


if __name__ == "__main__":
    asked = arguments("Students' containers on one host, against stock DockerSpawner.", rounds=3, singles=5)
    run_on("engine", main, asked)
