"""When the tasks of a Swarm run by Docker's records, and when a spawner knew: both sides note the same moments."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from docker import APIClient

from benchmarks.beds import Host

_AGAIN = 0.02  # seconds

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


class Watcher:
    """Asks the manager for its tasks again and again, and notes when each is first shown to run.

    Nobody can know earlier by the API: managers show a record when most of them have written it down.
    """

    def __init__(self, host: Host) -> None:
        self._api = APIClient(base_url=host.facts.url)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.shown: dict[str, float] = {}
        """By id of the task, in seconds since the epoch."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._api.close()

    def _watch(self) -> None:
        while not self._over.wait(_AGAIN):
            for task in self._api.tasks():
                if task["Status"]["State"] == "running":
                    self.shown.setdefault(task["ID"], time.time())


@dataclass(frozen=True)
class Task:
    """When a student's task ran, in seconds since the epoch.

    By its node (`ran`), by the manager's record (`told`), and by what the manager's API first showed (`shown`).
    """

    student: str
    ran: float
    told: float
    shown: float


def running_tasks(host: Host, watcher: Watcher) -> list[Task]:
    """The tasks of all students' servers that run."""
    services = {service["ID"]: service["Spec"]["Name"] for service in host.api("/services")}
    found = []
    for task in host.api("/tasks"):
        student = re.search(r"student\d+", services.get(task["ServiceID"], ""))
        if student and task["Status"]["State"] == "running":
            told = seconds(task["UpdatedAt"])
            shown = watcher.shown.get(task["ID"], told)
            found.append(Task(student[0], seconds(task["Status"]["Timestamp"]), told, shown))
    return found


def seconds(text: str) -> float:
    """Seconds since the epoch of Docker's way to write a time, which has nanoseconds."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")
