"""Asking a server whether it keeps its lease: only a clear yes counts."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from coursewarespawner import lease


class Server(RequestHandler):
    answers: ClassVar[list[tuple[int, str]]] = []
    asked: ClassVar[list[str]] = []

    def get(self) -> None:
        self.asked.append(f"{self.request.path} {self.request.headers['Authorization']}")
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.set_status(status)
        self.finish(body)


@pytest.mark.parametrize(
    ("answers", "keeps", "asked"),
    [
        ([(200, '{"phase": "held"}')], True, 1),
        ([(200, '{"phase": "paused"}')], True, 1),
        ([(200, '{"phase": "none"}')], False, 1),
        ([(404, "")], False, 1),
        ([(503, ""), (403, ""), (200, '{"phase": "held"}')], True, 3),
        ([(500, "")], False, 5),
        ([(302, "")], False, 5),
        ([(200, "<html>")], False, 5),
        ([(200, "[]")], False, 5),
    ],
)
def test_who_keeps_a_lease(
    monkeypatch: pytest.MonkeyPatch, answers: list[tuple[int, str]], keeps: bool, asked: int
) -> None:
    monkeypatch.setattr(lease, "_PAUSE", 0.01)
    monkeypatch.setattr(Server, "answers", answers)
    monkeypatch.setattr(Server, "asked", [])

    async def test() -> Any:
        socket, port = bind_unused_port()
        server = HTTPServer(Application([(r"/.*", Server)]))
        server.add_socket(socket)
        try:
            return await lease.keeps_lease(f"http://127.0.0.1:{port}/user/sam/", "the-token")
        finally:
            server.stop()

    assert asyncio.run(test()) is keeps
    assert Server.asked == ["/user/sam/courseware/lease token the-token"] * asked


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_PAUSE", 0.01)
    assert asyncio.run(lease.keeps_lease("http://127.0.0.1:1/", "x")) is False
