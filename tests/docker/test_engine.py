"""Client, view and networks against a real Docker Engine."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from support import engines
from support.engines import BASE
from support.faults import frozen

from coursewarehub.engine import Conflict, Engine, Gone, Refused, Unreachable, networks
from coursewarehub.engine.networks import Clash
from coursewarehub.engine.observe import Observation
from coursewarehub.engine.states import Condition
from coursewarehub.engine.view import EngineView
from coursewarehub.model.networks import CourseNetwork
from coursewarehub.wire import labels

pytestmark = pytest.mark.slow

Run = Callable[[Coroutine[Any, Any, Any]], Any]
OURS = {labels.SITE: "site-1", labels.COURSE: "stats"}
STATS = CourseNetwork("cw-stats", "10.180.16.0/28", "10.180.16.8/29", "10.180.16.1", "10.180.16.1")


@pytest.fixture
def api(engine: engines.Engine) -> Iterator[Engine]:
    api = Engine(engine.url, timeout=5)
    yield api
    api.close()


@pytest.fixture
def view(api: Engine) -> EngineView:
    return EngineView(api, OURS, swarm=False)


@pytest.fixture
def run() -> Run:
    def run(work: Coroutine[Any, Any, Any]) -> Any:
        async def bounded() -> Any:
            return await asyncio.wait_for(work, 100)

        return asyncio.run(bounded())

    return run


def container(*command: str, **host: Any) -> dict[str, Any]:
    configuration = {"NetworkMode": "none", **host}
    return {"Image": BASE, "Cmd": list(command), "Labels": OURS, "HostConfig": configuration}


async def started(api: Engine, name: str, *command: str, **host: Any) -> None:
    await api.post("/containers/create", container(*command, **host), name=name)
    await api.post(f"/containers/{name}/start", timeout=30)


def is_over(seen: Observation) -> bool:
    return seen.condition.is_over


# --- client ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "telling"),
    [
        ("get", "/containers/nobody/json", None, Gone, "no container `nobody`"),
        ("delete", "/containers/nobody", None, Gone, "no container `nobody`"),
        ("post", "/containers/nobody/start", None, Gone, "no container `nobody`"),
        ("get", "/networks/nothing", None, Gone, "no network `nothing`"),
        ("get", "/images/no/such:image/json", None, Gone, "no image `no/such:image`"),
        ("post", "/networks/bridge/connect", {"Container": "nobody"}, Refused, "nobody"),
        ("post", "/containers/create", {"Image": "no/such:image"}, Refused, "no/such:image"),
        ("get", "/services", None, Unreachable, "not a manager of a swarm"),
        ("get", "/no/such/path", None, Unreachable, "does not speak as a Docker Engine does"),
    ],
)
def test_what_a_real_engines_errors_are(
    api: Engine, run: Run, method: str, path: str, body: Any, kind: type[Exception], telling: str
) -> None:
    with pytest.raises(Exception) as caught:
        run(getattr(api, method)(path, *([body] if method == "post" else [])))
    assert type(caught.value) is kind
    assert telling in str(caught.value)


def test_a_name_that_is_taken(api: Engine, run: Run) -> None:
    async def work() -> None:
        await api.post("/containers/create", container("true"), name="ann")
        await api.post("/containers/create", container("true"), name="ann")

    with pytest.raises(Conflict):
        run(work())


def test_events_and_their_end(engine: engines.Engine, api: Engine, run: Run) -> None:
    async def work() -> list[str]:
        told = []
        events = api.stream("/events", filters={"type": ["container"], "label": [f"{labels.SITE}=site-1"]})
        asyncio.get_running_loop().call_later(0.5, asyncio.ensure_future, started(api, "ann", "true"))
        async with contextlib.aclosing(events):
            async for event in events:
                told.append(event["Action"])
                if event["Action"] == "die":
                    break
        waiting = asyncio.create_task(anext(api.stream("/events", filters={"type": ["volume"]})))
        await asyncio.sleep(0.5)
        engine.kill()
        with pytest.raises(Unreachable):
            await waiting
        return told

    assert run(work()) == ["create", "start", "die"]


# --- view --------------------------------------------------------------------------------------


def test_a_start_is_seen_within_50_ms(api: Engine, view: EngineView, run: Run) -> None:
    async def one(number: int) -> float:
        name = f"ann-{number}"
        await api.post("/containers/create", container("sleep", "100"), name=name)
        starting = asyncio.create_task(api.post(f"/containers/{name}/start"))
        await view.wait_for(name, lambda seen: seen.condition is Condition.RUNNING, 20)
        seen = time.time()
        await starting
        inspected = await api.get(f"/containers/{name}/json")
        return seen - datetime.fromisoformat(inspected["State"]["StartedAt"]).timestamp()

    async def work() -> list[float]:
        return sorted([await one(number) for number in range(12)])

    late = run(work())
    assert late[len(late) // 2] < 0.05, late


@pytest.mark.parametrize(
    ("command", "host", "condition", "code", "reason"),
    [
        (("true",), {}, Condition.ENDED, 0, None),
        (("sh", "-c", "exit 3"), {}, Condition.FAILED, 3, "The program ended at once (exit status 3)."),
        (
            ("sh", "-c", "x=a; while :; do x=$x$x; done"),
            {"Memory": 32 << 20, "MemorySwap": 32 << 20},
            Condition.FAILED,
            137,
            "It was stopped because it used more memory than the 32 MB it may.",
        ),
        (("sh", "-c", "kill -KILL 0"), {}, Condition.FAILED, 137, "It was killed (exit status 137)."),
    ],
)
def test_f21_f24_how_it_ended(
    api: Engine,
    view: EngineView,
    run: Run,
    command: tuple[str, ...],
    host: dict[str, Any],
    condition: Condition,
    code: int,
    reason: str | None,
) -> None:
    async def work() -> Observation:
        await started(api, "ann", *command, Init=True, **host)
        return await view.wait_for("ann", is_over, 20)

    found = run(work())
    assert (found.condition, found.exit_code, found.reason) == (condition, code, reason)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (container("no-such-program"), f"The image {BASE} has no program no-such-program."),
        (container("/etc/passwd"), f"The program /etc/passwd of the image {BASE} may not be executed."),
        (container("true", NetworkMode="no-such-network"), "The course's network is missing."),
    ],
)
def test_f21_why_it_did_not_start(api: Engine, view: EngineView, run: Run, body: dict[str, Any], reason: str) -> None:
    from coursewarehub.engine.states import reason_of_container

    async def work() -> Any:
        await api.post("/containers/create", body, name="ann")
        with pytest.raises((Refused, Unreachable, Gone)):
            await api.post("/containers/ann/start", timeout=30)
        return await api.get("/containers/ann/json")

    assert reason_of_container(run(work())) == reason


def test_f26_removed_behind_our_back(engine: engines.Engine, api: Engine, view: EngineView, run: Run) -> None:
    async def work() -> None:
        await started(api, "ann", "sleep", "100")
        engine.docker("run", "--detach", "--name", "foreign", BASE, "sleep", "100")
        assert (await view.look("ann")).condition is Condition.RUNNING
        assert (await view.look("foreign")).condition is Condition.GONE
        engine.docker("rm", "--force", "ann")
        assert (await view.wait_for("ann", is_over, 5)).condition is Condition.GONE

    run(work())


def test_f03_while_the_engine_is_frozen(engine: engines.Engine, run: Run) -> None:
    api = Engine(engine.url, timeout=1)
    view = EngineView(api, OURS, swarm=False)

    async def work() -> None:
        await started(api, "ann", "sleep", "100")
        assert (await view.look("ann")).verified
        with frozen(engine):
            await asyncio.sleep(0.2)  # until all its threads have stopped
            found = await view.look("ann", max_age=0)
            assert (found.condition, found.verified) == (Condition.RUNNING, False)
            assert "did not answer" in str(view.error)
        async with asyncio.timeout(10):
            while view.error is not None:
                await asyncio.sleep(0.05)
        assert (await view.look("ann")).verified

    run(work())
    api.close()


def test_a_restart_of_the_engine_ends_servers_and_the_view_goes_on(
    engine: engines.Engine, api: Engine, view: EngineView, run: Run
) -> None:
    async def work() -> None:
        await started(api, "ann", "sleep", "100")
        assert (await view.look("ann")).condition is Condition.RUNNING
        await asyncio.to_thread(engine.restart)
        found = await view.wait_for("ann", is_over, 20)
        assert found.condition in {Condition.ENDED, Condition.FAILED}
        await api.post("/containers/ann/start", timeout=30)
        await view.wait_for("ann", lambda seen: seen.condition is Condition.RUNNING, 5)

    run(work())


# --- networks ----------------------------------------------------------------------------------


def ensured(api: Engine, network: CourseNetwork = STATS) -> Coroutine[Any, Any, str]:
    return networks.ensure(api, network, swarm=False, site_id="site-1", course_id="stats")


def test_a_course_network_keeps_its_containers_apart(engine: engines.Engine, api: Engine, run: Run) -> None:
    assert run(ensured(api)) == run(ensured(api))
    listen = "use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => 80, Listen => 9); sleep 100"
    arguments = ("run", "--detach", "--network", STATS.name)
    engine.docker(*arguments, "--name", "ann", "--publish", "8099:80", BASE, "perl", "-e", listen)
    engine.docker(*arguments, "--name", "bob", BASE, "sleep", "100")
    address = engine.inspect("container", "ann")["NetworkSettings"]["Networks"][STATS.name]["IPAddress"]
    assert address == "10.180.16.8"
    assert run(networks.free_addresses(api, STATS, swarm=False)) == 5
    call = ("timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{address}/80 && echo in")
    assert engine.docker("exec", "bob", *call, check=False) == ""
    assert engine.docker("exec", "ann", *call) == "in"
    published = engine.inspect("container", "ann")["NetworkSettings"]["Ports"]["80/tcp"]
    assert [each["HostIp"] for each in published] == ["127.0.0.1"]


def test_new_addresses_when_nobody_is_in_it(engine: engines.Engine, api: Engine, run: Run) -> None:
    moved = replace(STATS, subnet="10.181.0.0/28", range="10.181.0.8/29", gateway="10.181.0.1")
    first = run(ensured(api))
    engine.docker("run", "--detach", "--name", "ann", "--network", STATS.name, BASE, "sleep", "100")
    with pytest.raises(Clash, match="former addresses"):
        run(ensured(api, moved))
    assert run(networks.remove(api, STATS.name)) is False
    engine.docker("rm", "--force", "ann")
    assert run(ensured(api, moved)) != first
    assert engine.inspect("network", STATS.name)["IPAM"]["Config"][0]["Subnet"] == "10.181.0.0/28"
    assert run(networks.remove(api, STATS.name)) is True
    assert run(networks.remove(api, STATS.name)) is True


def test_foreign_networks_are_left_alone(engine: engines.Engine, api: Engine, run: Run) -> None:
    engine.docker("network", "create", "--subnet", "10.180.16.0/24", "campus")
    with pytest.raises(Clash, match="`campus`"):
        run(ensured(api))
    engine.docker("network", "create", "--subnet", "10.200.0.0/24", STATS.name)
    with pytest.raises(Clash, match="not of this site"):
        run(ensured(api))
    run(networks.remove(api, STATS.name))
    assert engine.inspect("network", STATS.name)["Labels"] == {}
