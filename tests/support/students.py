"""A student (or an instructor) over HTTP, with a browser's cookies, and a kernel of theirs."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any, Self
from urllib.parse import quote, urlsplit

import requests
import websocket

from support.sites import PASSWORD, RunningSite, eventually

PAGE = {
    "Accept": "text/html",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Dest": "document",
}
FETCH = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "empty"}


class Student:
    """Logs in and has a server."""

    def __init__(self, site: RunningSite, course: str, name: str) -> None:
        self.base = site.course_url(course)
        self.name = name
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update(PAGE)

    @property
    def user_url(self) -> str:
        return f"{self.base}user/{quote(self.name, safe='@~')}/"

    def cookie(self, name: str, url: str) -> str:
        path = urlsplit(url).path
        found = [c for c in self.session.cookies if c.name == name and path.startswith(c.path)]
        return (max(found, key=lambda c: len(c.path)).value or "") if found else ""

    def login(self, password: str = PASSWORD, follow: bool = True) -> requests.Response:
        page = self.session.get(f"{self.base}hub/login", timeout=30)
        assert page.status_code == 200, page.status_code
        form = {
            "username": self.name,
            "password": password,
            "_xsrf": self.cookie("_xsrf", f"{self.base}hub/login"),
        }
        return self.session.post(f"{self.base}hub/login", data=form, timeout=60, allow_redirects=follow)

    def enter(self, seconds: float = 30) -> Self:
        """Log in and wait until the own server answers."""
        answer = self.login()
        assert answer.status_code == 200, (answer.status_code, answer.text[:500])

        def arrived() -> bool:
            page = self.session.get(self.user_url + "lab", timeout=60)
            return page.status_code == 200 and page.url.startswith(self.user_url)

        eventually(arrived, seconds)
        return self

    def api(self, method: str, path: str, **options: Any) -> requests.Response:
        """A request to the own server's API."""
        url = f"{self.user_url}api/{path}"
        headers = {
            **FETCH,
            "X-XSRFToken": self.cookie("_xsrf", self.user_url),
            "Referer": self.user_url + "lab",
        }
        return self.session.request(method, url, headers=headers, timeout=30, **options)

    def start_kernel(self) -> Kernel:
        answer = self.api("POST", "kernels", json={"name": "python3"})
        assert answer.status_code == 201, (answer.status_code, answer.text)
        return Kernel(self, answer.json()["id"])


class Kernel:
    """A running kernel, over its WebSocket."""

    def __init__(self, student: Student, kernel_id: str) -> None:
        self.student = student
        self.id = kernel_id
        self._socket: websocket.WebSocket | None = None

    def connect(self) -> None:
        url = f"ws{self.student.user_url[4:]}api/kernels/{self.id}/channels"
        path = urlsplit(url).path
        cookies = [c for c in self.student.session.cookies if path.startswith(c.path)]
        cookies.sort(key=lambda c: -len(c.path))
        self._socket = websocket.create_connection(
            url,
            timeout=30,
            origin="http://" + urlsplit(url).netloc,
            cookie="; ".join(f"{c.name}={c.value}" for c in cookies),
        )

    def run(self, code: str, seconds: float = 120) -> str:
        """Run a cell; its standard output. AssertionError when it fails, has not ended in time, or the kernel dies."""
        if self._socket is None:
            self.connect()
        assert self._socket is not None
        question = uuid.uuid4().hex
        header = {
            "msg_id": question,
            "msg_type": "execute_request",
            "session": "t",
            "username": "",
            "version": "5.3",
        }
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
        }
        message = {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "channel": "shell",
        }
        self._socket.send(json.dumps(message))
        said = ""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            kind_of_frame, received = self._socket.recv_data(control_frame=True)
            if kind_of_frame == websocket.ABNF.OPCODE_CLOSE:
                raise websocket.WebSocketConnectionClosedException("the server has closed the connection")
            if kind_of_frame != websocket.ABNF.OPCODE_TEXT:
                continue
            answer = json.loads(received)
            assert answer["content"].get("execution_state") not in ("restarting", "dead"), "the kernel has died"
            if answer.get("parent_header", {}).get("msg_id") != question:
                continue
            kind = answer["header"]["msg_type"]
            if kind == "stream":
                said += answer["content"]["text"]
            assert kind != "error", answer["content"]
            if kind == "status" and answer["content"]["execution_state"] == "idle":
                return said
        raise AssertionError(f"the cell has not ended after {seconds} s")
