"""A learner's server as a container's main program, and a hub that answers as a test wants."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Self

import requests
import websocket

from support.sites import alive, eventually, free_port
from support.students import Kernel

OWN_TOKEN = "token-of-the-server"
SCOPES = ["access:servers!server=sam/", "read:users:name!user=sam"]
MODELS = {
    OWN_TOKEN: {"kind": "user", "name": "sam", "scopes": SCOPES},
    "another-student": {"kind": "user", "name": "eve", "scopes": ["access:servers!server=eve/"]},
    "the-instructor": {"kind": "user", "name": "ada", "admin": True, "scopes": ["access:servers"]},
    "a-service": {"kind": "service", "name": "site", "scopes": ["access:servers"]},
    "a-service-without-access": {"kind": "service", "name": "other", "scopes": ["list:users"]},
}
"""What the hub says of whom."""


class FakeHub:
    """A hub. `mode` says how it answers:

    `current` as a hub does; `replaced` refuses the server's own token; `no database` refuses every token, as a hub does
    whose database is away; `broken` 500; `captive` 200 from somebody who is no hub; `silent` not at all.
    """

    def __init__(self) -> None:
        self.mode = "current"
        self.asked: Counter[str] = Counter()
        self.connections = 0
        self._silence = threading.Event()
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                hub.connections += 1
                super().setup()

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                hub.answer(self)

            do_POST = do_GET  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/hub/api"

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        path = request.path.split("?")[0].removeprefix("/hub/api")
        self.asked[path] += 1
        mode = self.mode
        if mode == "silent":
            self._silence.wait()
            return
        token = request.headers.get("Authorization", "").removeprefix("token ")
        status, body = self._say(mode, path, token)
        content = json.dumps(body).encode()
        request.send_response(status)
        if mode != "captive":
            request.send_header("X-JupyterHub-Version", "6.1.1")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _say(self, mode: str, path: str, token: str) -> tuple[int, Any]:
        if mode in ("broken", "captive"):
            return (500 if mode == "broken" else 200), {}
        if path == "/oauth2/token":
            return {"no database": 500, "replaced": 401}.get(mode, 400), {}
        if path == "/user":
            refused = mode == "no database" or (mode == "replaced" and token == OWN_TOKEN) or token not in MODELS
            return (403, {"message": None}) if refused else (200, MODELS[token])
        return 200, {}

    def close(self) -> None:
        self._silence.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LearnerServer:
    """`python -m coursewarehub.singleuser` in a home of its own."""

    prefix = "/user/sam/"

    def __init__(self, home: Path, hub: FakeHub, **variables: str) -> None:
        self.home = home
        self.hub = hub
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}{self.prefix}"
        self.log = home.parent / f"{home.name}.log"
        self.variables = variables
        self.through: list[str] = []
        """A command that the server is started through, such as `setpriv`."""
        self.process: subprocess.Popen[bytes] | None = None
        home.mkdir(exist_ok=True)

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{self.port}{self.prefix}",
            "JUPYTERHUB_SERVICE_PREFIX": self.prefix,
            "JUPYTERHUB_API_URL": self.hub.api,
            "JUPYTERHUB_ACTIVITY_URL": f"{self.hub.api}/users/sam/activity",
            "JUPYTERHUB_API_TOKEN": OWN_TOKEN,
            "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-sam",
            "JUPYTERHUB_USER": "sam",
            "JUPYTERHUB_HOST": "",
            "JUPYTERHUB_BASE_URL": "/",
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES": '["access:servers!server=sam/", "access:servers!user=sam"]',
            "JUPYTERHUB_OAUTH_SCOPES": '["access:servers!server=sam/", "access:servers!user=sam"]',
            "JUPYTERHUB_ROOT_DIR": str(self.home),
            **self.variables,
        }

    def launch(self) -> Self:
        """Start the process, without waiting for it."""
        command = [*self.through, sys.executable, "-m", "coursewarehub.singleuser"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.home, env=self.environment(), stdout=log, stderr=log, start_new_session=True
            )
        return self

    def start(self) -> Self:
        """Start it and wait until it answers."""
        self.launch()
        deadline = time.monotonic() + 60
        while True:
            assert self.process is not None and self.process.poll() is None, self.said()
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, self.said()
                time.sleep(0.02)
        assert self.request("GET", "api/status").status_code == 200, self.said()
        return self

    def request(self, method: str, path: str, token: str = OWN_TOKEN, **options: Any) -> requests.Response:
        headers = {"Authorization": f"token {token}", **options.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=60, **options)

    def save(self, name: str, text: str) -> requests.Response:
        return self.request("PUT", f"api/contents/{name}", json={"type": "file", "format": "text", "content": text})

    def start_kernel(self, notebook: str = "") -> ServerKernel:
        path, body = "kernels", {"name": "python3"}  # type: tuple[str, dict[str, Any]]
        if notebook:
            path, body = "sessions", {"path": notebook, "name": notebook, "type": "notebook", "kernel": body}
        answer = self.request("POST", f"api/{path}", json=body)
        assert answer.status_code == 201, (answer.text, self.said())
        return ServerKernel(self, (answer.json()["kernel"] if notebook else answer.json())["id"])

    def wait(self, seconds: float = 40) -> int:
        assert self.process is not None
        return self.process.wait(timeout=seconds)

    def said(self) -> str:
        """All that it has written: a test looks for words, which must not depend on how much came after them."""
        return self.log.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        """End it and all that it started, also what is stopped."""
        if self.process is None:
            return
        below = [self.process.pid, *descendants(self.process.pid)]
        for pid in below:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        self.process.wait(timeout=10)
        eventually(lambda: not any(alive(pid) for pid in below), 10)


class ServerKernel(Kernel):
    """A kernel of such a server."""

    def __init__(self, server: LearnerServer, kernel_id: str) -> None:
        self.server = server
        self.id = kernel_id
        self._socket: websocket.WebSocket | None = None

    def connect(self) -> None:
        url = f"ws{self.server.url[4:]}api/kernels/{self.id}/channels"
        self._socket = websocket.create_connection(
            url,
            timeout=20,  # less than from one ping to the next, which would begin it anew
            header={"Authorization": f"token {OWN_TOKEN}"},
            suppress_origin=True,
        )

    def send(self, code: str) -> None:
        """Have a cell run, without waiting for its end."""
        assert self._socket is not None
        header = {"msg_id": "sent", "msg_type": "execute_request", "session": "t", "username": "", "version": "5.3"}
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        self._socket.send(json.dumps(message))


def descendants(root: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
    found: list[int] = []
    level = [root]
    while level:
        level = [pid for pid, parent in parents.items() if parent in level]
        found += level
    return found
