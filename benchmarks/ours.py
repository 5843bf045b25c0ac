"""One CoursewareHub site, driven only through its command line and its pages.

Relied on: ``coursewarehub up --site DIR --port N``, ``coursewarehub status --site DIR --json``
(``ready``, ``url``, ``courses[].id``, ``courses[].hub.state``), ``coursewarehub course token ID
--site DIR`` (the token is the last word printed) and the paths ``/courses/<id>/``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import Command, StackError, clean_environment
from benchmarks.stack import PASSWORD, Address, Stack, free_ports
from benchmarks.stock import sys_bin

COMMAND = (sys.executable, "-m", "coursewarehub")
CHECKOUT = Path(__file__).resolve().parent.parent

SITE = """\
title: Benchmark
mode: development
edge:
  host: {host}
  port: {port}
hubs:
  sleep_after: {sleep_after}
"""

COURSE = """\
id: {id}
title: Benchmark {id}
state: open
authentication:
  method: dummy
  password: file:secrets/password
  self_chosen_names: true
content:
  folder: content
  start: first.ipynb
"""

NOTEBOOK: dict[str, object] = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "first",
            "metadata": {},
            "outputs": [],
            "source": ["1+1"],
        }
    ],
    "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


class Ours(Stack):
    """A generated site with `courses` courses; hubs sleep after `sleep_after` (``never``: not).

    `settings` are further lines of its site.yaml; `host` is where its edge listens and is asked.
    """

    name = "ours"

    def __init__(
        self, courses: int, sleep_after: str = "never", *, host: str = "127.0.0.1", settings: str = ""
    ) -> None:
        super().__init__(courses)
        self._host, self._settings = host, settings
        self._port = free_ports(1)[0]
        self._site = self.folder / "site"
        self._environment = _environment()
        self.courses = [dataclasses.replace(course, url=f"{self.entry}courses/{course.id}/") for course in self.courses]
        self._write(sleep_after)

    def _write(self, sleep_after: str) -> None:
        for name in ("courses.d", "content", "secrets"):
            (self._site / name).mkdir(parents=True)
        secret = self._site / "secrets" / "password"
        secret.touch(mode=0o600)
        secret.write_text(PASSWORD)
        site = SITE.format(host=self._host, port=self._port, sleep_after=sleep_after)
        (self._site / "site.yaml").write_text(site + self._settings)
        (self._site / "content" / "first.ipynb").write_text(json.dumps(NOTEBOOK))
        for course in self.courses:
            (self._site / "courses.d" / f"{course.id}.yaml").write_text(COURSE.format(id=course.id))

    @property
    def entry(self) -> str:
        """The portal."""
        return f"http://{self._host}:{self._port}/"

    def start(self) -> None:
        """Run ``coursewarehub up``."""
        command = [*COMMAND, "up", "--site", str(self._site), "--port", str(self._port)]
        self._commands.append(Command(self._placed(command), self.folder, self._environment))

    def token(self, course: Address) -> str:
        """What ``coursewarehub course token`` prints last."""
        printed = self._run("course", "token", course.id).split()
        if not printed:
            raise StackError(f"ours: `course token {course.id}` printed nothing")
        return printed[-1]

    def status(self) -> dict[str, Any]:
        """What ``coursewarehub status --json`` says."""
        found = json.loads(self._run("status", "--json"))
        if not isinstance(found, dict):
            raise StackError("ours: `status --json` printed no object")
        return found

    def hub_pids(self) -> list[int]:
        """Pids of the hubs that run."""
        courses = self.status().get("courses", [])
        return [course["hub"]["pid"] for course in courses if course["hub"]["pid"]]

    def hub_states(self) -> dict[str, str]:
        """The state of each course's hub, by course id."""
        return {course["id"]: course["hub"]["state"] for course in self.status()["courses"]}

    def wait_until_asleep(self, courses: list[Address], seconds: float) -> None:
        """Return when the hubs of these courses sleep; `StackError` after `seconds`."""
        wanted = {course.id for course in courses}
        deadline = time.monotonic() + seconds
        while True:
            self.check()
            states = self.hub_states()
            awake = sorted(id for id in wanted if states.get(id) != "sleeping")
            if not awake:
                return
            if time.monotonic() > deadline:
                told = ", ".join(f"{id} ({states.get(id, 'missing')})" for id in awake[:3])
                raise StackError(f"ours: {len(awake)} hubs do not go to sleep: {told}")
            time.sleep(1.0)

    def _placed(self, command: list[str]) -> list[str]:
        """The command line that runs the command where the site runs: here."""
        return command

    def _run(self, *arguments: str, seconds: float = 60) -> str:
        command = [*COMMAND, *arguments, "--site", str(self._site)]
        done = subprocess.run(
            self._placed(command),
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        if done.returncode != 0:
            told = done.stderr.strip()[-500:]
            raise StackError(f"ours: `{' '.join(arguments)}` failed: {told}")
        return done.stdout


def _environment() -> dict[str, str]:
    """The caller's environment, able to import the product from this checkout."""
    folders = [str(CHECKOUT / name) for name in ("", "authenticators", "spawners")]
    path = os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    commands = os.pathsep.join([sys_bin(), os.environ.get("PATH", "")])
    return clean_environment({"PYTHONPATH": path, "PATH": commands})
