"""Many students who enter a course at once with their browsers, and the lines of the table that come of it."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from benchmarks.browserless import Student
from benchmarks.logins import wait_for_logins
from benchmarks.measure import Aim, Row, median
from benchmarks.processes import StackError
from benchmarks.report import note, parser, positive, stacks
from benchmarks.servers import names
from benchmarks.stack import Stack

SETTLE = 3.0
LOOK = 0.2  # seconds between two questions whether all are ready
WARM = 3
"""Students before all others, who are not counted: each machine of a Swarm reads the image once."""

Values = dict[str, list[float]]


@dataclass(frozen=True)
class Entered:
    """Seconds from a student's first request to the page of JupyterLab, and until the hub said that the server is
    ready; or why there is no page.
    """

    name: str
    page: float | None = None
    ready: float | None = None
    failure: str = ""


def enter(stack: Stack, who: Sequence[str], patience: float) -> list[Entered]:
    """All these students at the same moment, each with a browser of its own; who has no page after `patience` seconds
    has failed.
    """
    return asyncio.run(_all(stack, who, patience))


async def _all(stack: Stack, who: Sequence[str], patience: float) -> list[Entered]:
    return await asyncio.gather(*(_one(stack, name, patience) for name in who))


async def _one(stack: Stack, name: str, patience: float) -> Entered:
    course = stack.courses[0]
    try:
        async with asyncio.timeout(patience), Student(course, course.login, name, patience) as student:
            stages = (await student.enter()).stages
    except TimeoutError:
        return Entered(name, failure=f"no page after {patience:.0f} s")
    except (StackError, httpx.HTTPError) as error:
        return Entered(name, failure=str(error) or type(error).__name__)
    # Who was not shown the waiting page had to wait for nothing but the page.
    return Entered(name, stages["lab page"], stages.get("ready event", stages["lab page"]))


def students(options: argparse.Namespace) -> list[str]:
    """Their names, in the order in which they come."""
    return names(WARM + options.singles + options.students)


def measure(stack: Stack, options: argparse.Namespace, values: Values) -> None:
    """Some students one after the other, then many at once, on a fresh stack."""
    stack.start()
    wait_for_logins(stack.courses, stack.check)
    time.sleep(SETTLE)
    waiting = iter(students(options))
    enter(stack, [next(waiting) for _ in range(WARM)], options.patience)
    time.sleep(SETTLE)
    for _ in range(options.singles):
        (one,) = told(stack, enter(stack, [next(waiting)], options.patience))
        values["single failures"].append(float(one.page is None))
        if one.page is not None:
            values["single"].append(one.page)
    spread(told(stack, enter(stack, list(waiting), options.patience)), values)


def ask(stack: Stack, token: str, who: Sequence[str], patience: float) -> float:
    """Have the hub start these students' servers, without any browser: seconds until it says that all are ready.

    `StackError` when they are not after `patience` seconds.
    """
    return asyncio.run(_ask(stack, token, who, patience))


async def _ask(stack: Stack, token: str, who: Sequence[str], patience: float) -> float:
    place, own = f"{stack.courses[0].url}hub/api/users", {"Authorization": f"token {token}"}
    async with httpx.AsyncClient(headers=own, timeout=patience, trust_env=False) as client:
        (await client.post(place, json={"usernames": list(who)})).raise_for_status()
        begin = time.monotonic()
        for answer in await asyncio.gather(*(client.post(f"{place}/{name}/server") for name in who)):
            answer.raise_for_status()
        while time.monotonic() - begin < patience:
            users = (await client.get(place)).raise_for_status().json()
            ready = {user["name"] for user in users if user["servers"].get("", {}).get("ready")}
            if ready >= set(who):
                return time.monotonic() - begin
            await asyncio.sleep(LOOK)
    raise StackError(f"{stack.name}: {len(set(who) - ready)} of {len(who)} are not ready after {patience:.0f} s")


def told(stack: Stack, entered: list[Entered]) -> list[Entered]:
    """The same, after saying who failed and why, for the first of them."""
    failed = [each for each in entered if each.page is None]
    if failed:
        note(f"{stack.name}: {len(failed)} of {len(entered)} failed; {failed[0].name}: {failed[0].failure}")
    return entered


def spread(many: Sequence[Entered], values: Values) -> None:
    """Add what a burst came to."""
    pages = [each.page for each in many if each.page is not None]
    values["success"].append(100 * len(pages) / len(many))
    values["failures"].append(len(many) - len(pages))
    if pages:
        values["first"].append(min(pages))
        values["median"].append(median(pages))
        values["last"].append(max(pages))
        values["last ready"].append(max(each.ready for each in many if each.ready is not None))


def empty() -> dict[str, Values]:
    """Values by side: `stock`, `patient`, `ours`, and what else is asked for."""
    return defaultdict(lambda: defaultdict(list))


def sides(options: argparse.Namespace) -> list[str]:
    """The names of what is measured in a round, in order: stock with its own time-outs and with longer ones, ours."""
    return [side for name in stacks(options) for side in (("stock", "patient") if name == "stock" else (name,))]


def rows(count: int, values: dict[str, Values]) -> list[Row]:
    """The lines that both kinds of machines have."""
    stock, patient, ours = (values[side] for side in ("stock", "patient", "ours"))

    def row(theirs: Values, metric: str, label: str, unit: str, aim: Aim | None = None) -> Row:
        return Row(label, unit, tuple(theirs[metric]), tuple(ours[metric]), aim)

    many = f"{count} at once: "
    return [
        row(stock, "single", "one alone: page", "s", Aim(ratio=0.6)),
        row(stock, "single failures", "one alone: failures", "", Aim(value=0)),
        row(stock, "success", f"{many}success", "%"),
        row(stock, "failures", f"{many}failures", "", Aim(value=0)),
        row(patient, "success", f"{many}success, patient stock", "%"),
        row(patient, "first", f"{many}first page, patient stock", "s"),
        row(patient, "median", f"{many}median page, patient stock", "s"),
        row(patient, "last", f"{many}last page, patient stock", "s", Aim(ratio=0.5)),
    ]


def notes(options: argparse.Namespace) -> list[str]:
    """What the figures are of."""
    return [
        "page: from a student's first request, for the login page, to the page of JupyterLab by the proxy",
        f"same image on both sides; stock runs `{options.stock_command}` in it with its own time-outs (60 s, 30 s), "
        "patient stock with 600 s",
        f"{WARM} students before, who are not counted, have the image read",
    ]


def arguments(description: str, rounds: int, singles: int) -> argparse.Namespace:
    """The command line."""
    found = parser(description, rounds=rounds)
    add = found.add_argument
    add("--students", type=positive, default=30, help="how many at once (default 30)")
    add("--singles", type=positive, default=singles, help=f"students alone before, in each round (default {singles})")
    add("--stock-command", default=STOCK_COMMAND, help=f"what stock runs in the image (default {STOCK_COMMAND})")
    add("--patience", type=float, default=300.0, help="seconds until a student counts as lost (default 300)")
    return found.parse_args()


STOCK_COMMAND = "jupyterhub-singleuser"
