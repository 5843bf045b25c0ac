"""One hub as the site keeps it: asleep, woken, crashed, replaced, given up for a while; a tiny program is the hub."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.models import a_course, a_site
from support.parents import TinyParent
from support.sites import alive

from coursewarehub.site.hubs import HubRunner, HubState, last_error, pause_before_retry
from coursewarehub.site.portal import Catalogue, failed_application
from coursewarehub.state.databases import DatabaseFailed, HubDatabase, SqliteDatabase
from coursewarehub.state.folders import SiteFolders
from coursewarehub.state.ports import listen_on
from coursewarehub.wire.prefork import StartRequest


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0), (1, 0), (2, 1), (3, 2), (4, 4), (7, 32), (8, 60), (9, 60), (1026, 60), (100_000, 60)],
)
def test_pause_grows_to_a_minute(failures: int, seconds: float) -> None:
    assert pause_before_retry(failures) == seconds


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ""),
        ("all is well\n", ""),
        ("NameError: name 'x' is not defined\n", "NameError: name 'x' is not defined"),
        ("ValueError: first\n   KeyError: last  \nand on\n", "KeyError: last"),
        ("[I 2026 x] fine\n[E 2026 x] not fine\n[I 2026 x] fine\n", "[E 2026 x] not fine"),
        ("[C 2026 x] dying\n", "[C 2026 x] dying"),
        (f"XError: {'y' * 1000}\n", f"XError: {'y' * 292}"),
        (f"OldError: x\n{'z' * 70_000}\n", ""),
    ],
)
def test_last_error_of_a_log(tmp_path: Path, text: str, told: str) -> None:
    log = tmp_path / "log"
    log.write_text(text)
    assert last_error(log) == told


def test_last_error_of_no_log_or_of_bytes(tmp_path: Path) -> None:
    assert last_error(tmp_path / "none") == ""
    (tmp_path / "log").write_bytes(b"\xff\xfeSomeError: \xff\n")
    assert "SomeError: " in last_error(tmp_path / "log")


HUB = """
import os, signal, time
listening.setblocking(True)
tell("ready")
while True:
    connection, _ = listening.accept()
    asked = connection.recv(65536).decode()
    word = asked.split()[1] if asked else ""
    body = f"{asked.split()[0]} {environment['TITLE']} {os.getpid()}"
    head = f"HTTP/1.1 200 OK\\r\\nContent-Length: {len(body)}\\r\\nConnection: close\\r\\n\\r\\n"
    connection.sendall((head + body).encode())
    connection.close()
    if word == "/sleep":
        tell("sleeping")
        leave(0)
"""
BROKEN = "raise RuntimeError('a mistake in hub.d')"


class Hub:
    """A runner, its tiny hub, and a visitor."""

    def __init__(self, parent: TinyParent, root: Path) -> None:
        self.parent = parent
        self.folders = SiteFolders(root).course("alpha")
        self.folders.state.mkdir(parents=True)
        self.folders.log.parent.mkdir(parents=True)
        self.listening = listen_on("127.0.0.1", 0)
        self.port: int = self.listening.getsockname()[1]
        self.do, self.title = HUB, "one"
        self.mistake: Exception | None = None
        self.database: HubDatabase = SqliteDatabase(self.folders.database)
        self.woken = 0

    def make(self) -> HubRunner:
        catalogue = Catalogue(a_site(), {"alpha": a_course()})
        return HubRunner(
            folders=self.folders,
            parent=self.parent.client,
            listening=self.listening,
            request=self.request,
            database=lambda: self.database,
            failed_page=failed_application(lambda: catalogue),
            woken=self.count,
        )

    def count(self) -> None:
        self.woken += 1

    def request(self) -> StartRequest:
        if self.mistake is not None:
            raise self.mistake
        environment = {"TITLE": self.title}
        return self.parent.request("hub-alpha", self.do, environment=environment, log_file=str(self.folders.log))

    async def ask(self, path: str = "/", method: str = "GET") -> str:
        """Status and body; empty when the connection ended without an answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        try:
            answer = (await asyncio.wait_for(reader.read(), 10)).decode()
        except ConnectionResetError:
            answer = ""
        finally:
            writer.close()
        head, _, body = answer.partition("\r\n\r\n")
        return f"{head[9:12]} {body}" if head else ""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    parent = TinyParent(tmp_path / "parent")
    parent.start()
    made = Hub(parent, tmp_path)
    yield made
    parent.end()
    made.listening.close()


def with_runner(hub: Hub, test: Callable[[HubRunner], Awaitable[None]], *, awake: bool = False) -> HubRunner:
    async def run() -> HubRunner:
        runner = hub.make()
        runner.begin(None, awake=awake)
        try:
            await asyncio.wait_for(test(runner), 20)
        finally:
            await runner.stop()
        return runner

    return asyncio.run(run())


def test_woken_for_somebody_who_is_on_the_way(hub: Hub) -> None:
    """No request is there yet; a hub that runs is left alone."""

    async def test(runner: HubRunner) -> None:
        await asyncio.sleep(0.1)
        assert (runner.state, hub.woken) == (HubState.SLEEPING, 0)
        runner.wake()
        while runner.state is not HubState.RUNNING:
            await asyncio.sleep(0.01)
        runner.wake()
        first = await hub.ask("/", "POST")
        assert first == f"200 POST one {runner.pid}"
        assert hub.woken == 1

    with_runner(hub, test)


async def until(check: Callable[[], object]) -> None:
    for _ in range(1000):
        if check():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not happen")


async def killed(answer: str) -> None:
    """Kill the hub that gave this answer, and wait until it accepts nothing any more."""
    pid = int(answer.rsplit(maxsplit=1)[-1])
    os.kill(pid, signal.SIGKILL)
    await until(lambda: not alive(pid))


def test_hub_sleeps_until_a_request_comes_which_it_answers(hub: Hub) -> None:
    async def test(runner: HubRunner) -> None:
        await asyncio.sleep(0.1)
        assert (runner.state, runner.pid, hub.woken) == (HubState.SLEEPING, None, 0)
        answer = await hub.ask("/courses/alpha/lti", "POST")
        assert answer.startswith("200 POST one ")
        await until(lambda: runner.state is HubState.RUNNING)
        assert str(runner.pid) == answer.split()[-1] and hub.woken == 1

    runner = with_runner(hub, test)
    assert (runner.state, runner.pid) == (HubState.STOPPED, None)
    assert hub.parent.names() == set()


def test_hub_that_never_sleeps_starts_by_itself(hub: Hub) -> None:
    async def test(runner: HubRunner) -> None:
        await until(lambda: runner.state is HubState.RUNNING)

    with_runner(hub, test, awake=True)


def test_hub_that_fell_asleep_is_woken_again(hub: Hub) -> None:
    async def test(runner: HubRunner) -> None:
        first = await hub.ask("/sleep")
        await until(lambda: runner.state is HubState.SLEEPING and runner.pid is None)
        assert runner.reason == ""
        second = await hub.ask()
        assert second.startswith("200 GET") and second != first

    with_runner(hub, test)


def test_crashed_hub_is_back_at_once_and_requests_wait_for_it(hub: Hub) -> None:
    async def test(runner: HubRunner) -> None:
        first = await hub.ask()
        await killed(first)
        answers = await asyncio.gather(*(hub.ask(method=m) for m in ("GET", "POST", "PUT")))
        assert [a.split()[:2] for a in answers] == [["200", "GET"], ["200", "POST"], ["200", "PUT"]]
        await until(lambda: runner.reason == "" and runner.state is HubState.RUNNING)

    with_runner(hub, test)


def test_hub_that_cannot_start_is_explained_and_comes_back_when_mended(hub: Hub) -> None:
    async def test(runner: HubRunner) -> None:
        hub.do = BROKEN
        asking = asyncio.ensure_future(hub.ask())
        await until(lambda: runner.state is HubState.FAILED)
        assert "exit status 1; RuntimeError: a mistake in hub.d" in runner.reason
        assert (await asking).startswith("503") and "mistake" not in await asking
        hub.do = HUB
        await runner.reload()
        await until(lambda: runner.state is not HubState.FAILED)
        assert (await hub.ask()).startswith("200 GET one ")
        await until(lambda: runner.reason == "")

    with_runner(hub, test)


def test_changed_course_replaces_the_hub(hub: Hub) -> None:
    async def test(runner: HubRunner) -> None:
        first = await hub.ask()
        await until(lambda: runner.state is HubState.RUNNING)
        hub.title = "two"
        await runner.reload()
        second = await hub.ask()
        assert first.startswith("200 GET one ") and second.startswith("200 GET two ")
        assert not alive(int(first.split()[-1]))

    with_runner(hub, test)


def test_changed_course_of_a_sleeping_hub_does_not_wake_it(hub: Hub) -> None:
    async def test(runner: HubRunner) -> None:
        await runner.reload()
        await asyncio.sleep(0.2)
        assert runner.state is HubState.SLEEPING
        hub.title = "two"
        assert (await hub.ask()).startswith("200 GET two ")

    with_runner(hub, test)


@pytest.mark.parametrize("mistake", [KeyError("alpha"), OSError("no"), ValueError("x"), OverflowError("y")])
def test_supervisor_outlives_every_mistake(hub: Hub, mistake: Exception) -> None:
    async def test(runner: HubRunner) -> None:
        hub.mistake = mistake
        asking = asyncio.ensure_future(hub.ask())
        await until(lambda: runner.state is HubState.FAILED)
        assert (await asking).startswith("503")
        hub.mistake = None
        await runner.reload()
        await until(lambda: runner.state is not HubState.FAILED)
        assert (await hub.ask()).startswith("200")

    with_runner(hub, test)


def test_running_hub_is_taken_over_and_supervised(hub: Hub) -> None:
    async def run() -> None:
        started = await hub.parent.client.start(hub.request(), hub.listening.dup())
        await started.event()
        started.close()
        runner = hub.make()
        runner.begin(started.record, awake=False)
        try:
            await until(lambda: runner.state is HubState.RUNNING)
            assert runner.pid == started.record.pid
            assert (await hub.ask()).endswith(f" {runner.pid}")
            await killed(await hub.ask())
            answer = await hub.ask()
            assert answer.startswith("200") and not answer.endswith(f" {started.record.pid}")
        finally:
            await runner.stop()

    asyncio.run(run())


def test_hub_lives_on_when_its_parent_dies(hub: Hub) -> None:
    async def test(runner: HubRunner) -> None:
        first = await hub.ask()
        await until(lambda: runner.state is HubState.RUNNING)
        hub.parent.seen.add(int(first.split()[-1]))
        hub.parent.kill()
        await asyncio.sleep(0.2)
        assert await hub.ask() == first and runner.state is HubState.RUNNING
        hub.parent.start()
        await killed(first)
        second = await hub.ask()
        assert second.startswith("200") and second != first

    with_runner(hub, test)


@pytest.mark.parametrize(("server_id", "starts"), [(None, False), (7, True)])
def test_hub_whose_servers_run_starts_by_itself(hub: Hub, server_id: int | None, starts: bool) -> None:
    with closing(sqlite3.connect(hub.folders.database)) as database:
        database.execute("CREATE TABLE spawners (id INTEGER, server_id INTEGER)")
        database.execute("INSERT INTO spawners VALUES (1, ?)", (server_id,))
        database.commit()

    async def test(runner: HubRunner) -> None:
        await asyncio.sleep(0.3)
        assert (runner.pid is not None) == starts

    with_runner(hub, test)


def test_spoilt_database_is_no_reason_to_fail(hub: Hub) -> None:
    hub.folders.database.write_bytes(b"no database at all" * 100)

    async def test(runner: HubRunner) -> None:
        assert (await hub.ask()).startswith("200")

    with_runner(hub, test)


@dataclass
class Far:
    """A database on a server, which may not answer."""

    answers: bool = True
    prepared: int = 0

    def prepare(self) -> None:
        if not self.answers:
            raise DatabaseFailed("the database server cannot be used: connection refused")
        self.prepared += 1

    def has_servers(self) -> bool:
        if not self.answers:
            raise DatabaseFailed("the database server cannot be used: connection refused")
        return False


def test_database_is_made_before_each_start_of_the_hub(hub: Hub) -> None:
    hub.database = database = Far()

    async def test(runner: HubRunner) -> None:
        await asyncio.sleep(0.2)
        assert (runner.pid, database.prepared) == (None, 0)
        await hub.ask("/sleep")
        await until(lambda: runner.state is HubState.SLEEPING)
        await hub.ask()
        assert database.prepared == 2

    with_runner(hub, test)


def test_database_that_does_not_answer_is_the_reason_until_it_does(hub: Hub) -> None:
    """Whether servers run cannot be told, so the hub is tried; visitors get the page, `status` the reason."""
    hub.database = database = Far(answers=False)

    async def test(runner: HubRunner) -> None:
        await until(lambda: runner.state is HubState.FAILED)
        assert runner.reason == "the database server cannot be used: connection refused"
        assert (await hub.ask()).startswith("503")
        database.answers = True
        await until(lambda: runner.state is HubState.RUNNING)
        assert (await hub.ask()).startswith("200")

    with_runner(hub, test)


def test_stop_closes_the_door(hub: Hub) -> None:
    async def test(runner: HubRunner) -> None:
        await hub.ask()

    with_runner(hub, test)
    asyncio.run(hub.parent.client.release_socket("hub-alpha"))
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(hub.ask())


def test_stop_while_the_hub_is_being_started_leaves_none(hub: Hub) -> None:
    hub.parent.end()
    hub.parent.start(pause=0.5)

    async def run() -> None:
        runner = hub.make()
        runner.begin(None, awake=True)
        await until(lambda: runner.state is HubState.STARTING)
        await asyncio.sleep(0.2)
        await runner.stop()
        assert [record.name for record in await hub.parent.client.processes()] == []

    asyncio.run(run())
