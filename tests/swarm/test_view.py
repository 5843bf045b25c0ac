"""The shared view of a real swarm of three machines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import datetime
from typing import Any

import pytest
from support.engines import BASE
from support.swarm import SwarmBed

from coursewarehub.engine import Engine, networks
from coursewarehub.engine.networks import Clash
from coursewarehub.engine.observe import Observation
from coursewarehub.engine.states import Condition
from coursewarehub.engine.view import EngineView
from coursewarehub.model.networks import CourseNetwork
from coursewarehub.wire import labels

pytestmark = pytest.mark.slow

Run = Callable[[Coroutine[Any, Any, Any]], Any]
OURS = {labels.SITE: "site-1", labels.COURSE: "stats"}
RUNNING, LOST, GONE, FAILED = Condition.RUNNING, Condition.LOST, Condition.GONE, Condition.FAILED
TINY = CourseNetwork("cw-stats", "10.180.16.0/28", "10.180.16.8/29", "10.180.16.1", "10.180.16.2")


@pytest.fixture
def api(swarm: SwarmBed) -> Iterator[Engine]:
    api = Engine(swarm.manager.url, timeout=5)
    yield api
    api.close()


@pytest.fixture
def view(api: Engine) -> EngineView:
    return EngineView(api, OURS, swarm=True)


@pytest.fixture
def run() -> Run:
    def run(work: Coroutine[Any, Any, Any]) -> Any:
        async def bounded() -> Any:
            return await asyncio.wait_for(work, 200)

        return asyncio.run(bounded())

    return run


def service(
    swarm: SwarmBed, name: str, *command: str, on: str = "", network: str = "", image: str = "", **more: Any
) -> dict[str, Any]:
    task: dict[str, Any] = {
        "ContainerSpec": {
            "Image": image or f"{swarm.registry.address}/{BASE}",
            "Args": list(command or ("sleep", "1000")),
            "StopGracePeriod": 1_000_000_000,
            "Init": True,
            **more.pop("ContainerSpec", {}),
        },
        "RestartPolicy": {"Condition": "none"},
        "Placement": {"Constraints": [f"node.hostname=={on}"] if on else []},
        "Networks": [{"Target": network}] if network else [],
        **more,
    }
    return {"Name": name, "Labels": OURS, "TaskTemplate": task, "EndpointSpec": {"Mode": "dnsrr"}}


def runs(seen: Observation) -> bool:
    return seen.condition is RUNNING


def test_running_is_seen_within_50_ms_of_what_the_manager_knows(
    swarm: SwarmBed, api: Engine, view: EngineView, run: Run
) -> None:
    async def one(number: int) -> float:
        name = f"ann-{number}"
        await api.post("/services/create", service(swarm, name))
        found = await view.wait_for(name, runs, 60)
        seen = time.time()
        (task,) = await api.get("/tasks", filters={"service": [name]})
        assert found.node_name in {"n1", "n2", "n3"}
        return seen - datetime.fromisoformat(task["UpdatedAt"]).timestamp()

    async def work() -> list[float]:
        return sorted([await one(number) for number in range(15)])

    late = run(work())
    assert late[len(late) // 2] < 0.05, late


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"image": "nowhere.invalid/lab:1"}, "The image nowhere.invalid/lab:1 is not on the machine n2."),
        (
            {"ContainerSpec": {"Mounts": [{"Type": "bind", "Source": "/no/such", "Target": "/x"}]}},
            "The folder /no/such is missing on the machine n2.",
        ),
        (
            {"ContainerSpec": {"Args": ["no-such-program"]}},
            "has no such program as it is told to run (exit status 127).",
        ),
        ({"ContainerSpec": {"Args": ["sh", "-c", "exit 3"]}}, "The program ended at once (exit status 3)."),
        (
            {
                "ContainerSpec": {"Args": ["sh", "-c", "x=a; while :; do x=$x$x; done"]},
                "Resources": {"Limits": {"MemoryBytes": 32 << 20}},
            },
            "most likely because it used more memory than the 32 MB it may (exit status 137).",
        ),
    ],
)
def test_f21_f24_why_it_did_not_come_up(
    swarm: SwarmBed, api: Engine, view: EngineView, run: Run, changes: dict[str, Any], reason: str
) -> None:
    async def work() -> Observation:
        await api.post("/services/create", service(swarm, "ann", on="n2", **changes))
        return await view.wait_for("ann", lambda seen: seen.condition.is_over, 60)

    found = run(work())
    assert (found.condition, found.node_name) == (FAILED, "n2")
    assert str(found.reason).endswith(reason)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"Resources": {"Reservations": {"MemoryBytes": 900 << 30}}},
            "No machine has room: 900.0 GB of memory are asked for.",
        ),
        ({"on": "n9"}, "No machine is ready for this course"),
    ],
)
def test_f23_why_it_waits(
    swarm: SwarmBed, api: Engine, view: EngineView, run: Run, changes: dict[str, Any], reason: str
) -> None:
    async def work() -> Observation:
        await api.post("/services/create", service(swarm, "ann", **changes))
        return await view.wait_for("ann", lambda seen: seen.reason is not None, 20)

    found = run(work())
    assert found.condition is Condition.STARTING
    assert str(found.reason).startswith(reason)


def test_f06_a_machine_without_its_cable(swarm: SwarmBed, api: Engine, view: EngineView, run: Run) -> None:
    async def condition(name: str, wanted: Condition) -> Observation:
        while (found := await view.look(name)).condition is not wanted:
            await asyncio.sleep(0.1)
        return found

    async def work() -> None:
        for name, node in (("ann", "n1"), ("bob", "n2"), ("eve", "n3")):
            await api.post("/services/create", service(swarm, name, on=node))
            await view.wait_for(name, runs, 60)
        begun = time.monotonic()
        await asyncio.to_thread(swarm.cut, "n2")
        lost = await condition("bob", LOST)
        assert time.monotonic() - begun < 30
        assert lost.reason == "The machine n2 does not answer."
        assert view.degraded() == "n2 of 3 machines does not answer"
        assert [(await view.look(name)).condition for name in ("ann", "eve")] == [RUNNING, RUNNING]
        await asyncio.to_thread(swarm.heal, "n2")
        async with asyncio.timeout(60):
            while view.degraded() is not None:
                await view.look("bob")
                await asyncio.sleep(0.2)
        assert [(await view.look(name)).condition for name in ("ann", "eve")] == [RUNNING, RUNNING]

    run(work())


def test_f04_without_a_leader_nothing_is_lost(swarm: SwarmBed, api: Engine, view: EngineView, run: Run) -> None:
    names = [f"ann-{number}" for number in range(4)]
    known: dict[str, Observation] = {}

    async def work() -> None:
        for name in names:
            await api.post("/services/create", service(swarm, name, on="n1"))
            known[name] = await view.wait_for(name, runs, 60)
        await asyncio.to_thread(swarm.managers, 3)
        await asyncio.to_thread(swarm.cut, "n2", "n3")
        end = time.monotonic() + 40
        told = set()
        while time.monotonic() < end:
            begun = time.monotonic()
            seen = [await view.look(name) for name in names]
            assert time.monotonic() - begun < 12
            assert not [found for found in seen if found.condition.is_over or found.condition is LOST]
            if view.error:
                told.add(view.error.split(" (since")[0])
            await asyncio.sleep(0.5)
        assert "the swarm has no leader: most of its managers cannot be reached" in told, told
        await asyncio.to_thread(swarm.heal, "n2", "n3")
        async with asyncio.timeout(60):
            while [await view.look(name) for name in names] != [known[name] for name in names]:
                await asyncio.sleep(0.2)

    run(work())


def test_f26_removed_behind_our_back_and_a_foreign_service(
    swarm: SwarmBed, api: Engine, view: EngineView, run: Run
) -> None:
    async def work() -> None:
        for name in ("ann", "bob"):
            await api.post("/services/create", service(swarm, name))
            await view.wait_for(name, runs, 60)
        await api.post("/services/create", {**service(swarm, "foreign"), "Labels": {}})
        swarm.docker("service", "rm", "ann")
        begun = time.monotonic()
        while view.observations["ann"].condition is not GONE:
            await asyncio.sleep(0.05)
        assert time.monotonic() - begun < 5
        assert (await view.look("foreign")).condition is GONE
        assert (await view.look("bob")).condition is RUNNING

    run(work())


def test_f22_a_full_network_is_known_beforehand(swarm: SwarmBed, api: Engine, view: EngineView, run: Run) -> None:
    async def work() -> None:
        network = await networks.ensure(api, TINY, swarm=True, site_id="site-1", course_id="stats")
        room = await networks.free_addresses(api, TINY, swarm=True)
        assert room == 4  # 8 addresses: one for broadcasts, one for each node
        for number in range(room):
            await api.post("/services/create", service(swarm, f"ann-{number}", network=network))
        found = [await view.wait_for(f"ann-{number}", runs, 60) for number in range(room)]
        assert {each.address for each in found} <= {f"10.180.16.{last}" for last in range(8, 15)}
        assert len({each.address for each in found}) == room
        assert await networks.free_addresses(api, TINY, swarm=True) == 0
        assert await networks.remove(api, TINY.name) is False
        with pytest.raises(Clash):
            overlapping = CourseNetwork("cw-other", "10.180.0.0/16", "10.180.128.0/17", "10.180.0.1", "10.180.0.10")
            await networks.ensure(api, overlapping, swarm=True, site_id="site-1", course_id="other")

    run(work())
