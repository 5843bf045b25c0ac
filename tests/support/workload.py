"""W(n): students who log in, hold a kernel with a value of their own, and work."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import requests
import websocket

from support.invariants import assert_i6_plain_page, owners
from support.sites import eventually
from support.students import Kernel, Student


@dataclass
class Session:
    """One student at work: the kernel holds `x`, which nobody else has."""

    student: Student
    kernel: Kernel
    value: str

    @property
    def name(self) -> str:
        return self.student.name

    def answers(self) -> bool:
        """I2: the same kernel still has the value; a broken connection is made anew, as a browser does."""
        try:
            return self.kernel.run("print(x)") == f"{self.value}\n"
        except (OSError, websocket.WebSocketException):
            pass
        try:
            self.kernel.connect()
            return self.kernel.run("print(x)") == f"{self.value}\n"
        except (OSError, websocket.WebSocketException):
            return False

    def finds(self, snippet: str) -> Any:
        """What a snippet of `probes` prints when it runs in this student's notebook."""
        return json.loads(self.kernel.run(snippet).splitlines()[-1])

    def save(self, text: str) -> requests.Response:
        """Save a file, as an open editor does."""
        model = {"type": "file", "format": "text", "content": text}
        return self.student.api("PUT", "contents/saved.txt", json=model)


def enter(site: Any, name: str, course: str = "alpha", seconds: float = 90) -> Student:
    return Student(site, course, name).enter(seconds)


def work(site: Any, names: list[str], course: str = "alpha", at_once: int = 6) -> list[Session]:
    """So many students in their notebooks."""

    def begin(name: str) -> Session:
        kernel = enter(site, name, course).start_kernel()
        value = f"token-of-{name}-{time.monotonic_ns()}"
        kernel.run(f"x = {value!r}")
        return Session(kernel.student, kernel, value)

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(begin, names))


def lost(sessions: list[Session]) -> list[str]:
    """Names of those whose kernel does not answer any more."""
    with ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(Session.answers, sessions))
    return [session.name for session, fine in zip(sessions, kept, strict=True) if not fine]


def hub_api(site: Any, method: str, path: str, course: str = "alpha", **options: Any) -> requests.Response:
    """What the course's hub answers to an administrator's request; `path` is below `hub/api/`."""
    token = {"Authorization": f"token {site.token(course)}"}
    return requests.request(method, f"{site.course_url(course)}hub/api/{path}", headers=token, timeout=60, **options)


def stop_server(site: Any, name: str, course: str = "alpha") -> None:
    """Have a student's server stopped."""
    answer = hub_api(site, "DELETE", f"users/{name}/server", course)
    assert answer.status_code in (202, 204), (answer.status_code, answer.text)
    eventually(lambda: name not in owners(site, course), 60, every=0.5)


def reason_of_failure(site: Any, name: str, course: str = "alpha", seconds: float = 15) -> str:
    """Log in as a student, ask for a server as the browser does, and read why it does not start."""
    student = Student(site, course, name)
    student.login()
    deadline = time.monotonic() + seconds
    url = f"{student.base}hub/api/users/{name}/server/progress"
    while time.monotonic() < deadline:
        with student.session.get(url, headers={"Accept": "text/event-stream"}, stream=True, timeout=seconds) as events:
            for line in events.iter_lines():
                if line.startswith(b"data:"):
                    event = json.loads(line[5:])
                    if event.get("failed"):
                        assert_i6_plain_page(student.session.get(f"{student.base}hub/home", timeout=10))
                        return str(event.get("html_message") or event["message"])
        time.sleep(0.2)
    raise AssertionError(f"no reason after {seconds} s")
