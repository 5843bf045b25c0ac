"""When the tasks of a Swarm run by Docker's records, and when a spawner knew: both sides note the same moments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.beds import Host

_NOTE = """
import functools, time

def _note(event, spawner):
    with open({file!r}, "a") as file:
        file.write(f"{{event}} {{spawner.user.name}} {{time.time()}}\\n")

def _noting(event, method):
    @functools.wraps(method)
    async def noted(self, *args, **kwargs):
        answer = await method(self, *args, **kwargs)
        _note(event, self)
        return answer
    return noted
"""
_STOCK = """
from dockerspawner import SwarmSpawner
SwarmSpawner.start_object = _noting("seen", SwarmSpawner.start_object)
SwarmSpawner.start = _noting("over", SwarmSpawner.start)
"""
_OURS = """
from coursewarespawner.swarm import CoursewareSwarmSpawner

if not hasattr(CoursewareSwarmSpawner, "_timed"):
    CoursewareSwarmSpawner._timed = True
    CoursewareSwarmSpawner.start = _noting("over", CoursewareSwarmSpawner.start)

    def _see(self, seen, see=CoursewareSwarmSpawner._see):
        if seen.condition.name == "RUNNING":
            _note("seen", self)
        see(self, seen)

    CoursewareSwarmSpawner._see = _see
"""


def stock_configuration(file: Path) -> str:
    """Lines of a stock hub's configuration: each start notes in `file` when its task was seen and when it was over."""
    return _NOTE.format(file=str(file)) + _STOCK


def our_configuration(file: Path) -> str:
    """The same for a file of ``hub.d``."""
    return _NOTE.format(file=str(file)) + _OURS


def noted(file: Path, event: str) -> dict[str, float]:
    """The first time of this event for each student, in seconds since the epoch."""
    found: dict[str, float] = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        what, student, when = line.split()
        if what == event:
            found.setdefault(student, float(when))
    return found


@dataclass(frozen=True)
class Task:
    """When a student's task ran, by its node (`ran`) and by the manager (`told`), in seconds since the epoch."""

    student: str
    ran: float
    told: float


def running_tasks(host: Host) -> list[Task]:
    """The tasks of all students' servers that run."""
    services = {service["ID"]: service["Spec"]["Name"] for service in host.api("/services")}
    found = []
    for task in host.api("/tasks"):
        student = re.search(r"student\d+", services.get(task["ServiceID"], ""))
        if student and task["Status"]["State"] == "running":
            found.append(Task(student[0], seconds(task["Status"]["Timestamp"]), seconds(task["UpdatedAt"])))
    return found


def seconds(text: str) -> float:
    """Seconds since the epoch of Docker's way to write a time, which has nanoseconds."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")
