"""A site folder and its running site, handled through the command line only."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PASSWORD = "correct horse"

NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "id": "sum",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": "print('six times seven is', 6 * 7)",
        }
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def free_pair() -> int:
    """The first of two ports that follow each other, free at every address."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError, OverflowError):
            for each in (port, port + 1):
                socket.create_server(("0.0.0.0", each)).close()
            return port


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def eventually(check: Any, seconds: float = 10.0, every: float = 0.05) -> Any:
    """The first truthy answer of `check`; AssertionError with the last answer after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"still {answer!r} after {seconds} s"
        time.sleep(every)


class SiteFolder:
    """A site folder written for a test; `host`: the address its edge listens on."""

    def __init__(self, root: Path, host: str = "127.0.0.1", **settings: Any) -> None:
        self.root = root
        self.port = free_port()
        self.url = f"http://{host}:{self.port}/"
        root.mkdir(parents=True, exist_ok=True)
        (root / "courses.d").mkdir(exist_ok=True)
        secret = root / "password"
        secret.write_text(PASSWORD + "\n")
        secret.chmod(0o600)
        edge = {"port": self.port, **({} if host == "127.0.0.1" else {"host": host})}
        site = {"mode": "development", "edge": edge, **settings}
        (root / "site.yaml").write_text(json.dumps(site, indent=1))

    def add_course(self, course_id: str, **changes: Any) -> Path:
        """Write a course file (YAML is a superset of JSON), replacing it whole as an editor does."""
        folder = self.root / "content" / course_id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "start.ipynb").write_text(json.dumps(NOTEBOOK))
        course = {
            "id": course_id,
            "title": f"Course {course_id}",
            "state": "open",
            "authentication": {"method": "dummy", "password": "file:password", "self_chosen_names": True},
            "members": {"instructors": ["ada"], "assistants": ["grace"]},
            "content": {"folder": f"content/{course_id}", "start": "start.ipynb"},
            **changes,
        }
        file = self.root / "courses.d" / f"{course_id}.yaml"
        partial = self.root / f"{course_id}.partial"
        partial.write_text(json.dumps(course, indent=1))
        os.replace(partial, file)
        return file


class RunningSite:
    """`coursewarehub up` on a folder; `inside` makes a command line one that runs on a machine of a test bed."""

    def __init__(self, folder: SiteFolder, inside: Callable[..., list[str]] = lambda *command: list(command)) -> None:
        self.folder = folder
        self.inside = inside
        self.url = folder.url
        self.process: subprocess.Popen[str] | None = None

    def course_url(self, course_id: str) -> str:
        return f"{self.url}courses/{course_id}/"

    def start(self, *arguments: str) -> str:
        """Start it and return its ready line."""
        output = (self.folder.root / "up.log").open("a")
        self.process = subprocess.Popen(
            self._command("up", "--verbose", *arguments),
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "ready" in line, f"no ready line but {line!r}; {(self.folder.root / 'up.log').read_text()[-2000:]}"
        return line

    def _command(self, *arguments: str) -> list[str]:
        """What runs the site's command line; nsenter replaces itself, so signals reach the site."""
        return self.inside(sys.executable, "-m", "coursewarehub", *arguments, "--site", str(self.folder.root))

    def cli(self, *arguments: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(self._command(*arguments), capture_output=True, text=True, timeout=timeout, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.cli("status", "--json", check=False).stdout)
        return answer

    def hub(self, course_id: str) -> dict[str, Any]:
        """The hub's part of the status."""
        hubs = {course["id"]: course["hub"] for course in self.status()["courses"]}
        hub: dict[str, Any] = hubs[course_id]
        return hub

    def token(self, course_id: str) -> str:
        return self.cli("course", "token", course_id).stdout.strip()

    def pids(self) -> set[int]:
        """Every process that runs for this site, found by its working folder or command line."""
        found = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and alive(int(entry.name)) and self._ours(entry):
                found.add(int(entry.name))
        return found

    def _ours(self, entry: Path) -> bool:
        root = str(self.folder.root)
        try:
            inside = str((entry / "cwd").readlink()).startswith(root)
            return inside or root.encode() in (entry / "cmdline").read_bytes()
        except OSError:
            return False

    def stop(self) -> int:
        """SIGTERM and wait; the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def kill(self) -> None:
        """SIGKILL to the site process alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=10)
