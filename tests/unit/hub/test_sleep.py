"""When a hub goes to sleep, with its clock and its servers given."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from coursewarehub.hub.main import CourseHub


class Slow(RequestHandler):
    async def get(self) -> None:
        await asyncio.sleep(0.3)
        self.finish("done")


def a_user(*servers: Any) -> SimpleNamespace:
    return SimpleNamespace(spawners={str(number): server for number, server in enumerate(servers)})


OFF = SimpleNamespace(active=False, pending=None)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[CourseHub]:
    monkeypatch.setattr(CourseHub, "users", {})
    made = CourseHub(sleep_after=10.0)
    yield made
    CourseHub.clear_instance()


@pytest.mark.parametrize(
    ("ago", "users", "needed"),
    [
        (20, (), False),
        (20, (a_user(), a_user(OFF)), False),
        (5, (), True),
        (20, (a_user(OFF), a_user(OFF, SimpleNamespace(active=True, pending=None))), True),
        (20, (a_user(SimpleNamespace(active=False, pending="spawn")),), True),
        (20, (a_user(SimpleNamespace(active=False, pending="stop")),), True),
    ],
)
def test_needed(hub: CourseHub, ago: float, users: tuple[Any, ...], needed: bool) -> None:
    hub._last_request = time.monotonic() - ago
    hub.users = dict(enumerate(users))
    assert hub._needed() is needed


async def with_server(hub: CourseHub, told: list[str]) -> None:
    """A hub that listens on an inherited socket, ready to sleep."""
    hub.listening = socket.create_server(("127.0.0.1", 0))
    hub.listening.setblocking(False)
    hub.tell = told.append
    hub._periodic_callbacks = {"sleep": SimpleNamespace(stop=lambda: None)}
    hub.http_server = server = HTTPServer(
        Application([("/.*", Slow)], log_function=lambda _: setattr(hub, "_last_request", time.monotonic()))
    )
    server.listen(1, address="192.0.2.1")
    hub._last_request = time.monotonic() - 20


async def ask(hub: CourseHub) -> bytes:
    assert hub.listening is not None
    reader, writer = await asyncio.open_connection(*hub.listening.getsockname())
    writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


def test_hub_listens_on_the_socket_it_was_given(hub: CourseHub) -> None:
    async def run() -> bytes:
        await with_server(hub, [])
        return await asyncio.wait_for(ask(hub), 5)

    assert b"200 OK" in asyncio.run(run())


def test_idle_hub_says_that_it_sleeps(hub: CourseHub, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    async def shut_down(_hub: CourseHub) -> None:
        told.append("shut down")

    monkeypatch.setattr(CourseHub, "shutdown_cancel_tasks", shut_down)

    async def run() -> None:
        await with_server(hub, told)
        await hub._sleep_if_idle()
        await asyncio.sleep(0)

    asyncio.run(run())
    assert told == ["sleeping", "shut down"]


def test_request_that_came_in_while_falling_asleep_is_finished_and_wakes(hub: CourseHub) -> None:
    told: list[str] = []

    async def run() -> tuple[bytes, bytes]:
        await with_server(hub, told)
        asking = asyncio.ensure_future(ask(hub))
        await asyncio.sleep(0.1)
        await hub._sleep_if_idle()
        return await asking, await asyncio.wait_for(ask(hub), 5)

    first, second = asyncio.run(run())
    assert b"200 OK" in first and b"200 OK" in second
    assert told == [] and not hub._closing
