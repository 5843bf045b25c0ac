"""Notices on their way to learners' servers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import SecretStr
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from coursewarehub.site.notices import Target, notice_of, show
from coursewarehub.wire.control import NodeNotice
from coursewarehub.wire.notices import Level, Notice

ORDER = NodeNotice("n2", {"en": "Soon.", "ja": "まもなく。"}, 60)


def a_target(address: str = "10.180.8.2", port: int = 8888, user: str = "ada", server: str = "") -> Target:
    return Target(address, port, "alpha", user, server, SecretStr("t0ken"))


def test_notice_counts_down_and_saves() -> None:
    assert notice_of(ORDER) == Notice("node-n2", ORDER.text, 60, Level.WARNING, save=True)


@pytest.mark.parametrize("node", ["n2", "a" * 100, "host.example.org", "x" * 58 + ".y", "x" * 58 + "-y"])
def test_every_name_of_a_node_makes_a_notice(node: str) -> None:
    made = notice_of(NodeNotice(node, {"en": "Soon."}, 1))
    assert Notice.decode(made.encode()) == made


@pytest.mark.parametrize(
    ("user", "server", "path"),
    [
        ("ada", "", "user/ada/"),
        ("kim@example.org", "", "user/kim@example.org/"),
        ("山田 太郎", "", "user/%E5%B1%B1%E7%94%B0%20%E5%A4%AA%E9%83%8E/"),
        ("a+b~c", "", "user/a%2Bb~c/"),
        ("ada", "second", "user/ada/second/"),
    ],
)
def test_address_is_that_of_the_server_in_its_network(user: str, server: str, path: str) -> None:
    assert a_target(user=user, server=server).url == f"http://10.180.8.2:8888/courses/alpha/{path}courseware/notices"


def test_everybody_who_answers_is_counted() -> None:
    heard: list[tuple[str, str, Any]] = []

    class Takes(RequestHandler):
        def post(self, name: str) -> None:
            heard.append((name, self.request.headers["Authorization"], json.loads(self.request.body)))
            if name == "old":
                self.set_status(404)
            if name == "away":
                self.redirect("/elsewhere")

    async def send() -> int:
        server = HTTPServer(Application([(r"/courses/alpha/user/(\w+)/courseware/notices", Takes)]))
        socket, port = bind_unused_port()
        server.add_socket(socket)
        unused, closed = bind_unused_port()
        unused.close()
        targets = [a_target("127.0.0.1", port, name) for name in ("ada", "kim", "old", "away")]
        count = await show(notice_of(ORDER), [*targets, a_target("127.0.0.1", closed)])
        server.stop()
        return count

    assert asyncio.run(send()) == 2
    assert {(name, token) for name, token, _ in heard} == {(n, "token t0ken") for n in ("ada", "kim", "old", "away")}
    assert all(body == notice_of(ORDER).encode() for _, _, body in heard)
