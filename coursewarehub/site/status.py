"""The site's status: what `coursewarehub status --json` prints, and the socket it is asked on."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from tornado.web import Application, RequestHandler

from coursewarehub.state import sockets

Status = dict[str, Any]


class _StatusHandler(RequestHandler):
    def initialize(self, status: Callable[[], Status]) -> None:
        self._status_of = status

    def get(self) -> None:
        """The status as JSON."""
        self.finish(self._status_of())


def serve(path: Path, status: Callable[[], Status]) -> HTTPServer:
    """Answer on a Unix socket that only the site's own account may use."""
    path.unlink(missing_ok=True)
    server = HTTPServer(Application([("/status", _StatusHandler, {"status": status})], log_function=lambda _: None))
    server.add_socket(bind_unix_socket(sockets.address(path), mode=0o600))
    return server


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(sockets.address(self._path))


def ask(path: Path) -> Status | None:
    """The status of the running site, None when none runs."""
    connection = _UnixConnection(path)
    try:
        connection.request("GET", "/status")
        answer: Status = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return answer
