"""The local spawner: names, a clean environment, and servers that start, end, get lost and are found again."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm
from jupyterhub.objects import Hub, Server
from jupyterhub.user import User
from support.parents import TinyParent
from support.sites import alive

from coursewarehub.state import processes
from coursewarespawner.local import CoursewareLocalSpawner

READY = "tell('ready')\nimport time\ntime.sleep(600)"


@pytest.fixture
def database() -> Iterator[Any]:
    session = orm.new_session_factory("sqlite:///:memory:")()
    yield session
    session.close()
    session.get_bind().dispose()


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[TinyParent]:
    made = TinyParent(tmp_path / "parent")
    yield made
    made.end()


Make = Callable[..., CoursewareLocalSpawner]


@pytest.fixture
def make(database: Any, tmp_path: Path) -> Make:
    hub = Hub()

    def spawner(name: str = "sam", homes: str = "homes", server: str = "", **settings: Any) -> CoursewareLocalSpawner:
        user = database.query(orm.User).filter_by(name=name).first()
        if user is None:
            user = orm.User(name=name)
            database.add(user)
            database.commit()
        if server and server not in user.orm_spawners:
            database.add(orm.Spawner(name=server, user=user))
            database.commit()
        made = User(user, {})._new_spawner(
            server,
            spawner_class=CoursewareLocalSpawner,
            hub=hub,
            oauth_client_id="x",
            parent_folder=str(tmp_path / "parent"),
            homes_folder=str(tmp_path / homes),
            logs_folder=str(tmp_path / "logs"),
            start_parent=False,
            variables={"COURSEWARE_COURSE": "alpha", **settings.pop("variables", {})},
            **settings,
        )
        orm_server = orm.Server(proto="http", ip="127.0.0.1", port=0, base_url=f"/user/{name}/", cookie_name="x")
        database.add(orm_server)
        made.orm_spawner.server = orm_server
        database.commit()
        made.server = Server(orm_server=orm_server)
        made.api_token = "the-token"
        assert isinstance(made, CoursewareLocalSpawner)
        return made

    return spawner


# -- names and environment ------------------------------------------------------------------------------------


NAMES = [
    "sam",
    "Sam",
    "sa m",
    "sa-m",
    "sa.m",
    "söm",
    "som",
    "日本",
    "中国",
    "a" * 64,
    "a" * 63 + "b",
    "ａ",
    "a",
    "../x",
    "-",
]


def test_names_of_servers_are_unique_and_fit(make: Make) -> None:
    spawners = [make(name, homes, server) for name in NAMES for homes in ("alpha", "beta") for server in ("", "x")]
    names = [spawner.object_name for spawner in spawners]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 63 and name.replace("-", "").isalnum() and name.isascii() for name in names)
    homes = {str(spawner.home) for spawner in spawners}
    assert len(homes) == len(NAMES) * 2, "one home for a learner in a course, whatever their servers are called"
    assert all(Path(home).parent.name in ("alpha", "beta") for home in homes)


PLANTED = {
    "AWS_SECRET_ACCESS_KEY": "planted",
    "COURSEWARE_SITE": "/planted",
    "COURSEWARE_EDGE_API": "planted",
    "COURSEWARE_HUB_PORT": "1",
    "WORKSHOP_PASSWORD": "planted",
    "JUPYTERHUB_CRYPT_KEY": "planted",
    "JUPYTERHUB_SERVICE_PREFIX": "/planted",
    "DATABASE_URL": "postgresql://planted",
    "SSH_AUTH_SOCK": "/planted",
    "HOME": "/planted",
    "USER": "planted",
    "PYTHONSTARTUP": "/planted.py",
    "http_proxy": "http://u:planted@proxy/",
}
OWN = ("JUPYTERHUB_", "JPY_", "MEM_", "CPU_")


def test_environment_has_nothing_of_the_hubs(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    environment = make(material="/material", mem_limit="1G").get_env()
    assert not [name for name, value in environment.items() if "planted" in str(value)]
    ours = {name for name in environment if not name.startswith(OWN)}
    inherited = {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH"}
    assert ours - inherited == {"HOME", "USER", "LOGNAME", "SHELL", "COURSEWARE_COURSE", "COURSEWARE_CONTENT"}
    assert environment["HOME"] == environment["JUPYTERHUB_ROOT_DIR"] == str(make().home)
    assert environment["USER"] == environment["LOGNAME"] == "sam"
    assert environment["COURSEWARE_CONTENT"] == "/material"
    assert environment["JUPYTERHUB_API_TOKEN"] == "the-token"
    assert all(isinstance(value, str) for value in environment.values())


def test_without_material_nothing_names_it(make: Make) -> None:
    assert "COURSEWARE_CONTENT" not in make().get_env()


def test_what_the_operator_asks_for_is_there(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LICENCE_SERVER", "x")
    spawner = make(
        environment={"OMP_NUM_THREADS": "1", "WHO": lambda s: s.user.name},
        env_keep=["LICENCE_SERVER"],
        variables={"COURSEWARE_IDLE_SECONDS": "60"},
    )
    environment = spawner.get_env()
    asked = ("OMP_NUM_THREADS", "WHO", "LICENCE_SERVER", "COURSEWARE_IDLE_SECONDS", "COURSEWARE_COURSE")
    assert [environment.get(name) for name in asked] == ["1", "sam", "x", "60", "alpha"]


def test_operator_cannot_move_a_home_by_accident(make: Make) -> None:
    spawner = make(environment={"HOME": "/elsewhere"})
    assert spawner.get_env()["HOME"] == str(spawner.home)


# -- state ----------------------------------------------------------------------------------------------------


def test_process_is_known_again_after_a_hub_restart(make: Make) -> None:
    spawner = make()
    assert spawner.get_state() == {}
    spawner.record = processes.record_of(spawner.object_name, os.getpid(), 4711)
    state = spawner.get_state()
    assert state == {"pid": os.getpid(), "start_time": spawner.record.start_time, "port": 4711}
    again = make()
    again.load_state(state)
    assert again.record == spawner.record and asyncio.run(again.poll()) is None
    again.clear_state()
    assert again.get_state() == {} and asyncio.run(again.poll()) == 0


@pytest.mark.parametrize("state", [{}, {"pid": os.getpid()}, {"pid": os.getpid(), "start_time": 1}, {"pid": 1 << 30}])
def test_reused_pid_is_not_taken_for_the_server(make: Make, state: dict[str, int]) -> None:
    spawner = make()
    spawner.load_state(state)
    assert asyncio.run(spawner.poll()) == 0
    assert spawner.record is None
    asyncio.run(spawner.stop())


# -- life -----------------------------------------------------------------------------------------------------


def with_environment(spawner: CoursewareLocalSpawner, do: str = READY) -> CoursewareLocalSpawner:
    spawner.variables = {**spawner.variables, "DO": do}
    return spawner


def run(parent: TinyParent, test: Callable[[], Awaitable[None]]) -> None:
    parent.start()

    async def main() -> None:
        try:
            await asyncio.wait_for(test(), 20)
        finally:
            parent.seen |= {record.pid for record in await parent.client.processes()}

    asyncio.run(main())


def test_server_starts_and_stops(make: Make, parent: TinyParent, tmp_path: Path, database: Any) -> None:
    async def test() -> None:
        spawner = with_environment(make())
        url = await spawner.start()
        record = spawner.record
        assert record is not None and url == f"http://127.0.0.1:{record.port}"
        assert await spawner.poll() is None
        assert Path(f"/proc/{record.pid}/cwd").readlink() == spawner.home
        assert stat.S_IMODE(spawner.home.stat().st_mode) == 0o700
        assert stat.S_IMODE(spawner.home.parent.stat().st_mode) & 0o077 <= 0o011
        # A hub that is killed now knows it again.
        database.expire_all()
        stored = database.query(orm.Spawner).one()
        assert stored.state["pid"] == record.pid and stored.server.port == record.port
        await spawner.stop()
        assert not alive(record.pid) and await spawner.poll() == 0 and spawner.get_state() == {}

    run(parent, test)


def test_stopping_ends_what_ignores_it(make: Make, parent: TinyParent) -> None:
    stubborn = (
        "import signal, subprocess\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"print(subprocess.Popen(['setsid', 'sleep', '600']).pid, flush=True)\n{READY}"
    )

    async def test() -> None:
        spawner = with_environment(make(stop_patience=0.2), stubborn)
        await spawner.start()
        assert spawner.record is not None
        detached = int((Path(spawner.logs_folder) / f"{spawner.object_name}.log").read_text())
        pid = spawner.record.pid
        await spawner.stop()
        for _ in range(100):
            if not alive(pid) and not alive(detached):
                return
            await asyncio.sleep(0.02)
        pytest.fail("still running")

    run(parent, test)


def test_server_that_does_not_come_up_is_told_in_a_sentence(make: Make, parent: TinyParent) -> None:
    async def test() -> None:
        spawner = with_environment(make(), "leave(4)")
        with pytest.raises(
            RuntimeError, match=r"^Your server ended while it was starting \(status 4\)\. Try once more; "
        ):
            await spawner.start()
        assert await parent.client.processes() == []

    run(parent, test)


def test_start_that_is_given_up_leaves_no_process(make: Make, parent: TinyParent) -> None:
    async def test() -> None:
        spawner = with_environment(make(), "import time\ntime.sleep(600)")
        starting = asyncio.ensure_future(spawner.start())
        while spawner.record is None:
            await asyncio.sleep(0.01)
        pid = spawner.record.pid
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert not alive(pid)

    run(parent, test)


def test_server_that_the_hub_lost_sight_of_is_replaced(make: Make, parent: TinyParent) -> None:
    async def test() -> None:
        lost, again = with_environment(make()), with_environment(make(stop_patience=1))
        await lost.start()
        assert lost.record is not None
        await again.start()
        assert again.record is not None and again.record.pid != lost.record.pid
        assert not alive(lost.record.pid)

    run(parent, test)


def test_server_that_ended_by_itself_can_be_started_at_once(make: Make, parent: TinyParent) -> None:
    async def test() -> None:
        spawner = with_environment(make())
        for _ in range(3):
            await spawner.start()
            assert spawner.record is not None
            os.kill(spawner.record.pid, signal.SIGKILL)
            while await spawner.poll() is None:
                await asyncio.sleep(0.01)

    run(parent, test)


def test_no_more_start_at_once_than_allowed_and_places_are_told(make: Make, parent: TinyParent) -> None:
    slow = f"import time\ntime.sleep(0.3)\n{READY}"

    async def test() -> None:
        spawners = [with_environment(make(name, concurrent_starts=1), slow) for name in ("a", "b", "c")]
        starts = [asyncio.ensure_future(spawner.start()) for spawner in spawners]
        await asyncio.sleep(0.1)
        assert [spawner._position for spawner in spawners] == [0, 1, 2]
        first: AsyncIterator[dict[str, Any]] = spawners[2].progress()
        assert await anext(first) == {"progress": 10, "queue_position": 2, "message": "Number 2 in the queue"}
        await asyncio.gather(*starts)
        assert (await anext(first))["message"] == "Starting"

    run(parent, test)


def test_no_parent_is_a_sentence(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    async def soon(_folder: Path, _seconds: float = 0) -> None:
        raise RuntimeError("the part of the site that starts servers does not answer")

    monkeypatch.setattr("coursewarespawner.local.parent_answers", soon)
    with pytest.raises(RuntimeError, match="does not answer"):
        asyncio.run(make().start())


class Routes:
    """A proxy that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def add_route(self, spec: str, target: str, data: dict[str, str]) -> None:
        self.asked.append(f"add {spec} {data['user']} {target.rsplit(':', 1)[0]}")

    async def delete_route(self, spec: str) -> None:
        self.asked.append(f"delete {spec}")


@pytest.mark.parametrize("early", [True, False])
def test_route_is_told_early_and_taken_back(make: Make, parent: TinyParent, early: bool) -> None:
    async def test() -> None:
        proxy = Routes()
        spawner = with_environment(make(early_route=early))
        spawner.user.settings["proxy"] = proxy
        await spawner.start()
        assert proxy.asked == ([f"add {spawner.proxy_spec} sam http://127.0.0.1"] if early else [])
        await spawner.stop()
        proxy.asked.clear()
        with_environment(spawner, "import time\ntime.sleep(0.2)\nleave(1)")
        with pytest.raises(RuntimeError):
            await spawner.start()
        assert proxy.asked[-1:] == ([f"delete {spawner.proxy_spec}"] if early else [])

    run(parent, test)
