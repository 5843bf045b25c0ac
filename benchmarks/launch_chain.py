"""From the first click to the first cell's result for one student, stage by stage.

Run ``python -m benchmarks.launch_chain`` (or ``python benchmarks/launch_chain.py``); ``--help``
lists the options.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.browserless import STAGES, Chain, Student
from benchmarks.logins import wait_for_logins
from benchmarks.measure import Aim, Row
from benchmarks.ours import Ours
from benchmarks.report import Machine, note, parser, publish, run, stacks
from benchmarks.stack import Stack
from benchmarks.stock import Stock

SCENARIOS = {
    "cold": "server not running",
    "warm": "server running, new browser session",
    "asleep": "server not running and the course's hub asleep (ours only)",
}
AIMS = {("cold", STAGES[-1]): Aim(ratio=0.2)}

Chains = dict[tuple[str, str], list[Chain]]


def walk(stack: Stack) -> Chain:
    """One student in a new browser session, from the entry to the result."""
    return asyncio.run(_walk(stack))


async def _walk(stack: Stack) -> Chain:
    async with Student(stack.courses[0], stack.entry, "student001") as student:
        return await student.first_result()


def measure(stack: Stack, chains: Chains) -> None:
    """Cold, then warm, on a fresh stack."""
    stack.start()
    wait_for_logins(stack.courses, stack.check)
    for scenario in ("cold", "warm"):
        chains[stack.name, scenario].append(walk(stack))


def measure_asleep(chains: Chains) -> None:
    """Our chain when the course's hub sleeps as well."""
    with Ours(1, sleep_after="2s") as site:
        site.start()
        wait_for_logins(site.courses, site.check)
        site.wait_until_asleep(site.courses, 60)
        chains["ours", "asleep"].append(walk(site))


def rows(chains: Chains) -> list[Row]:
    """One line per scenario and stage, and the number of requests."""
    found: list[Row] = []
    for scenario in SCENARIOS:
        stock, ours = chains["stock", scenario], chains["ours", scenario]
        for stage in STAGES:
            values = [tuple(chain.stages[stage] for chain in each if stage in chain.stages) for each in (stock, ours)]
            if any(values):
                aim = AIMS.get((scenario, stage))
                found.append(Row(f"{scenario}: {stage}", "s", values[0], values[1], aim))
        requests = [tuple(float(chain.requests) for chain in each) for each in (stock, ours)]
        if any(requests):
            found.append(Row(f"{scenario}: requests", "", requests[0], requests[1]))
    return found


def main() -> int:
    """Measure, print, and return the exit code."""
    options = arguments()
    machine = Machine()
    chains: Chains = defaultdict(list)
    for number in range(options.rounds):
        for name in stacks(options):
            note(f"round {number + 1} of {options.rounds}: {name}")
            with Stock(1) if name == "stock" else Ours(1) as stack:
                measure(stack, chains)
            if name == "ours" and not options.no_asleep:
                measure_asleep(chains)
    notes = ["seconds since the first request, at the end of each stage"]
    notes += [f"{name}: {meaning}" for name, meaning in SCENARIOS.items()]
    notes.append("stock starts at the course's address, ours at the portal")
    return publish("launch_chain", options, rows(chains), machine, notes)


def arguments() -> argparse.Namespace:
    """The command line."""
    found = parser("Login to first result for one student, against stock.", rounds=5)
    found.add_argument("--no-asleep", action="store_true", help="leave out the sleeping course")
    return found.parse_args()


if __name__ == "__main__":
    run(main)
