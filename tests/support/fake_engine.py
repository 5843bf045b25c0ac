"""An HTTP server on a Unix socket that answers as it is told to, in the place of a Docker Engine."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

VERSION = {"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}


@dataclass(frozen=True)
class Asked:
    """One request, its path without the version of the API."""

    method: str
    path: str
    version: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """`body` is sent as JSON, or as it is when it is bytes; `parts` are sent one by one, and then, unless `whole`, the
    connection breaks."""

    status: int = 200
    body: Any = None
    kind: str = "application/json"
    delay: float = 0.0
    parts: Iterator[bytes] | None = None
    whole: bool = True
    hang_up: bool = False


Answering = Answer | Callable[[Asked], Answer]


@dataclass
class FakeEngine:
    """Listens at `socket`; tell it what to say with `on`, and read in `asked` what it was asked."""

    socket: Path
    asked: list[Asked] = field(default_factory=list)
    answers: dict[tuple[str, str], Answering] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.on("GET", "/version", VERSION)
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def on(self, method: str, path: str, answer: Any) -> None:
        """Answer so from now on: an Answer, what makes one of a request, or the body of a good one."""
        self.answers[method, path] = answer if isinstance(answer, Answer) or callable(answer) else Answer(body=answer)

    def fails(self, method: str, path: str, status: int, message: str) -> None:
        """Answer with an error as an engine says it."""
        self.on(method, path, Answer(status, {"message": message}))

    def asked_for(self, path: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.path == path]

    def stop(self) -> None:
        """Let nobody answer any more; the socket is left, as after a crash."""
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self._open: set[socket.socket] = set()
        engine.socket.unlink(missing_ok=True)
        super().__init__(str(engine.socket), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def hang_up(self) -> None:
        """End the connections that clients keep."""
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client may go away while it is answered."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_any(self) -> None:
        asked = self._asked()
        self.server.engine.asked.append(asked)
        answer = self.server.engine.answers.get((asked.method, asked.path))
        answer = answer(asked) if callable(answer) else answer
        if answer is None:
            answer = Answer(404, {"message": "page not found"})
        time.sleep(answer.delay)
        if answer.hang_up:
            self.close_connection = True
        elif answer.parts is not None:
            self._stream(answer)
        else:
            self._whole(answer)

    do_GET = do_POST = do_DELETE = handle_any  # noqa: N815

    def _asked(self) -> Asked:
        parts = urlsplit(self.path)
        found = re.fullmatch(r"(?:/v(\d+\.\d+))?(/.*)", unquote(parts.path))
        assert found
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return Asked(
            self.command,
            found[2],
            found[1] or "",
            dict(parse_qsl(parts.query)),
            json.loads(body) if body else None,
            dict(self.headers),
        )

    def _whole(self, answer: Answer) -> None:
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        body = b"" if answer.body is None else body
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        assert answer.parts is not None
        for part in answer.parts:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.flush()
        if answer.whole:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: tests look at `asked`."""


@contextlib.contextmanager
def fake_engine(folder: Path) -> Iterator[FakeEngine]:
    """A fake engine for the length of a block."""
    engine = FakeEngine(folder / "engine.sock")
    try:
        yield engine
    finally:
        engine.stop()
