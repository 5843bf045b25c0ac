"""Costs that may not grow unnoticed: a change that makes one 10 % worse fails.

The figures of `baseline.json` do not depend on how busy or fast the machine is: calls, modules and commits are counted,
and processor time is measured in units of a stock server's start in the same minutes. When a change is worth its
price, write the new figure into the file.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.sites import RunningSite
from support.students import Student

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]

HERE = Path(__file__).parent
BASELINE = json.loads((HERE / "baseline.json").read_text())
ALLOWED = 1.10

COUNT_COMMITS = """
from sqlalchemy import event
from sqlalchemy.engine import Engine

@event.listens_for(Engine, "commit")
def count(connection):
    with open("commits", "a") as file:
        file.write(".")
"""


def within(name: str, figure: float) -> None:
    assert figure <= BASELINE[name] * ALLOWED, f"{name} is {figure:.3g}; baseline {BASELINE[name]}, 10 % more allowed"


def measure(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "measure_server.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def test_imports_and_calls_of_a_learners_server() -> None:
    figures = measure("--calls")
    within("modules", figures["modules"])
    within("late_modules", figures["late_modules"])
    within("calls", figures["calls"])


def test_processor_time_of_a_learners_server() -> None:
    """Least of several starts, over the least of as many stock starts in turn with them.

    What others do on the machine only ever adds, and slows work of the same nature alike.
    """
    ours: list[float] = []
    stock: list[float] = []
    while True:
        for _ in range(4):
            ours.append(measure()["cpu"])
            stock.append(measure("--stock")["cpu"])
        ratio = min(ours) / min(stock)
        if ratio <= BASELINE["cpu"] * ALLOWED or len(ours) >= 24:
            break
    within("cpu", ratio)


def test_sql_commits_per_launch(make_site: MakeSite) -> None:
    site = make_site()
    (site.folder.root / "hub.d").mkdir()
    (site.folder.root / "hub.d" / "count.py").write_text(COUNT_COMMITS)
    site.start()
    Student(site, "alpha", "first").enter()
    commits = site.folder.root / "state" / "courses" / "alpha" / "commits"
    time.sleep(1)
    before = len(commits.read_text())
    Student(site, "alpha", "second").enter()
    time.sleep(1)
    launch = len(commits.read_text()) - before
    assert launch > 5, "the counter does not count"
    within("sql_commits", launch)
