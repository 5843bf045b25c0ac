"""The site's status: what `coursewarehub status --json` prints, and the socket on which it and more is asked."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_unix_socket
from tornado.web import Application, RequestHandler

from coursewarehub.state import sockets
from coursewarehub.wire import control
from coursewarehub.wire.control import NodeNotice

Status = dict[str, Any]
Notify = Callable[[NodeNotice], Awaitable[int]]
"""Shows a notice to the servers on a node; how many showed it."""

_TIMEOUT = 10
_NOTICE_TIMEOUT = 60


class _StatusHandler(RequestHandler):
    def initialize(self, status: Callable[[], Status]) -> None:
        self._status_of = status

    def get(self) -> None:
        """The status as JSON."""
        self.finish(self._status_of())


class _NoticesHandler(RequestHandler):
    def initialize(self, notify: Notify) -> None:
        self._notify = notify

    async def post(self) -> None:
        """Show a notice on a node, and say to how many."""
        try:
            notice = NodeNotice.decode(json.loads(self.request.body))
        except ValueError as error:
            self.set_status(400)
            self.finish({"message": str(error)})
        else:
            self.finish({control.SERVERS: await self._notify(notice)})


def serve(path: Path, status: Callable[[], Status], notify: Notify | None = None) -> HTTPServer:
    """Answer on a Unix socket that only the site's own account may use."""
    path.unlink(missing_ok=True)
    handlers: list[Any] = [("/status", _StatusHandler, {"status": status})]
    if notify is not None:
        handlers.append((control.NOTICES, _NoticesHandler, {"notify": notify}))
    server = HTTPServer(Application(handlers, log_function=lambda _: None))
    server.add_socket(bind_unix_socket(sockets.address(path), mode=0o600))
    return server


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float = _TIMEOUT) -> None:
        super().__init__("localhost", timeout=timeout)
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


def show_notice(path: Path, notice: NodeNotice) -> int | None:
    """Have the running site show a notice on a node; how many servers showed it, None when it cannot be asked."""
    connection = _UnixConnection(path, _NOTICE_TIMEOUT)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", control.NOTICES, json.dumps(notice.encode()), headers)
        answer = connection.getresponse()
        said = json.loads(answer.read()) if answer.status == 200 else {}
        return int(said[control.SERVERS])
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return None
    finally:
        connection.close()
