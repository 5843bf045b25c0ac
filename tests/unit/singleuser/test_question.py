"""What the hub says, as the lease understands it: only the hub counts, and only when it knows."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
from support.learner_server import OWN_TOKEN, FakeHub

from coursewarehub.singleuser.lease import Answer
from coursewarehub.singleuser.question import Connection, Question


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as hub:
        yield hub


def question(api: str, token: str = OWN_TOKEN) -> Question:
    return Question({"JUPYTERHUB_API_URL": api, "JUPYTERHUB_API_TOKEN": token, "JUPYTERHUB_CLIENT_ID": "c"})


@pytest.mark.parametrize(
    ("mode", "answer"),
    [
        ("current", Answer.CURRENT),
        ("replaced", Answer.REPLACED),
        ("no database", Answer.UNKNOWN),
        ("broken", Answer.UNKNOWN),
        ("captive", Answer.UNKNOWN),
    ],
)
def test_answers(hub: FakeHub, mode: str, answer: Answer) -> None:
    hub.mode = mode
    assert asyncio.run(question(hub.api)()) is answer


def test_a_token_the_hub_never_knew(hub: FakeHub) -> None:
    assert asyncio.run(question(hub.api, "never")()) is Answer.REPLACED


def test_silence_is_cut_short_and_its_late_answer_never_counts(hub: FakeHub) -> None:
    async def story() -> list[Answer]:
        ask = question(hub.api)
        answers = [await ask()]
        hub.mode = "silent"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await ask()
        hub.mode = "replaced"
        return [*answers, await ask()]

    assert asyncio.run(story()) == [Answer.CURRENT, Answer.REPLACED]


def test_one_connection_is_kept_and_made_anew_when_the_hub_comes_back(hub: FakeHub) -> None:
    async def story() -> None:
        ask = question(hub.api)
        for _ in range(5):
            assert await ask() is Answer.CURRENT
        assert (hub.asked["/user"], hub.connections) == (5, 1)

    asyncio.run(story())


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert asyncio.run(question(f"http://127.0.0.1:{port}/hub/api")()) is Answer.UNKNOWN
    assert asyncio.run(question("")()) is Answer.UNKNOWN


@pytest.mark.parametrize(
    "answers",
    [
        [b""],
        [b"\x00" * 70_000],
        [b"SSH-2.0-OpenSSH\r\n\r\n"],
        [b"HTTP/1.1 abc\r\n\r\n"],
        [b"HTTP/1.1 200 OK\r\nX-JupyterHub-Version: 6\r\nContent-Length: 100\r\n\r\nshort"],
    ],
)
def test_answers_that_are_none(answers: list[bytes]) -> None:
    with Raw(answers * 2) as raw:
        assert asyncio.run(question(raw.url)()) is Answer.UNKNOWN


def test_a_connection_that_was_closed_while_it_waited_is_made_anew() -> None:
    good = b"HTTP/1.1 200 OK\r\nX-JupyterHub-Version: 6\r\nContent-Length: 2\r\n\r\n{}"

    async def story(url: str) -> list[Answer]:
        ask = question(url)
        first = await ask()
        await asyncio.sleep(0.1)  # Raw closes after each answer
        return [first, await ask()]

    with Raw([good, good]) as raw:
        assert asyncio.run(story(raw.url)) == [Answer.CURRENT, Answer.CURRENT]


def test_a_body_without_a_length_does_not_keep_the_connection() -> None:
    async def story(url: str) -> tuple[int, bool]:
        connection = Connection(url)
        reply = await connection.request("GET", "/user", {})
        return reply.status, connection._writer is None

    with Raw([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]) as raw:
        assert asyncio.run(story(raw.url)) == (200, True)


class Raw:
    """Says these bytes, one answer a connection, and closes."""

    def __init__(self, answers: list[bytes]) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve, args=(answers,), daemon=True)
        self.thread.start()

    def _serve(self, answers: list[bytes]) -> None:
        for answer in answers:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
