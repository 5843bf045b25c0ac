"""The site on one Docker host: what it sees of its containers, and what it leaves alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from support.fake_engine import Answer, Asked, FakeEngine

from coursewarehub.engine import Engine, EngineError, Unreachable
from coursewarehub.engine.networks import payload
from coursewarehub.model.networks import CourseNetwork
from coursewarehub.site.cluster import Seen, Server, Wanted
from coursewarehub.site.janitor import Owned
from coursewarehub.site.one_host import OneHost
from coursewarehub.site.readiness import NodeReport
from coursewarehub.site.sides import Networks, server_of
from coursewarehub.wire import labels
from coursewarehub.wire.policy import NetworkPolicy

Run = Callable[[Coroutine[Any, Any, Any]], Any]

SITE = "site-1"
STATS = CourseNetwork("cw-stats", "10.180.0.0/20", "10.180.8.0/21", "10.180.0.1", "10.180.0.1")
NETWORK = {**payload(STATS, swarm=False, site_id=SITE, course_id="stats"), "Id": "net1"}
WANTED = Wanted({"stats": STATS}, frozenset(), frozenset({"stats"}))
OWN = {
    labels.SITE: SITE,
    labels.KIND: labels.KIND_SERVER,
    labels.COURSE: "stats",
    labels.USER: "ada",
    labels.SERVER: "",
}
POLICY = NetworkPolicy("10.180.0.1", 8081, 8082, "none", server_port=9999)


def entry(identity: str, state: str = "running", **own: str) -> dict[str, Any]:
    return {
        "Id": identity,
        "Names": [f"/{identity}"],
        "State": state,
        "Created": 1,
        "Labels": {**OWN, **own},
        "NetworkSettings": {"Networks": {STATS.name: {"IPAddress": "10.180.8.2"}}},
    }


def engine_with(fake: FakeEngine, *entries: dict[str, Any], networks: tuple[dict[str, Any], ...] = (NETWORK,)) -> None:
    fake.on("GET", "/info", {"ID": "engine", "Name": "machine"})
    fake.on("GET", "/containers/json", list(entries))
    fake.on("GET", "/networks", list(networks))
    fake.on("GET", f"/networks/{STATS.name}", NETWORK)


def side(engine: Engine, trouble: str | None = None, *, required: bool = True) -> OneHost:
    return OneHost(engine, SITE, lambda: trouble, required=required)


# --- looking -----------------------------------------------------------------------------------


def test_servers_that_run_are_seen_and_others_are_not(fake: FakeEngine, engine: Engine, run: Run) -> None:
    policy = {labels.POLICY: POLICY.encode()}
    strange = entry("x", **{labels.KIND: labels.KIND_CHECK})
    engine_with(fake, entry("ada", **policy), entry("old", "exited"), entry("new", "created"), strange)
    seen = run(side(engine).look(WANTED))
    assert seen.servers == (Server("stats", "ada", "", "machine", "10.180.8.2", 9999),)
    assert seen.nodes == (NodeReport("engine", "machine", "ready", "active", (), 1),)
    assert [each.name for each in seen.objects] == ["ada", "old", "new", "x"]
    assert [each.name for each in seen.networks] == [STATS.name]


def test_only_objects_of_this_site_are_asked_for(fake: FakeEngine, engine: Engine, run: Run) -> None:
    engine_with(fake)
    run(side(engine).look(WANTED))
    for path in ("/containers/json", "/networks"):
        (asked,) = fake.asked_for(path)
        assert asked.query["filters"] == f'{{"label": ["{labels.SITE}={SITE}"]}}'


@pytest.mark.parametrize("required", [True, False])
def test_rules_that_are_not_in_force_keep_the_machine_from_being_ready(
    fake: FakeEngine, engine: Engine, run: Run, required: bool
) -> None:
    engine_with(fake)
    one = side(engine, "the agent does not run", required=required)
    (node,) = run(one.look(WANTED)).nodes
    assert node.lacks == (("the agent does not run",) if required else ())
    assert one.isolation() == "the agent does not run"


@pytest.mark.parametrize("path", ["/info", "/containers/json", "/networks"])
def test_a_look_that_fails_in_part_tells_nothing(fake: FakeEngine, engine: Engine, run: Run, path: str) -> None:
    engine_with(fake)
    fake.fails("GET", path, 500, "broken")
    with pytest.raises(Unreachable):
        run(side(engine).look(WANTED))


@pytest.mark.parametrize("label", ["", "{", POLICY.encode()[:-1]])
def test_a_server_with_a_policy_that_cannot_be_read_has_the_usual_port(label: str) -> None:
    assert server_of({**OWN, labels.POLICY: label}, "n1", "10.180.8.2").port == 8888


def test_a_server_without_labels_is_nobodys() -> None:
    assert server_of({}, "n1", "") == Server("", "", "", "n1", "", 8888)


# --- networks ----------------------------------------------------------------------------------


def changes(fake: FakeEngine) -> list[str]:
    return [f"{asked.method} {asked.path}" for asked in fake.asked if asked.method != "GET"]


def test_a_network_that_stands_is_not_asked_for_again(fake: FakeEngine, engine: Engine, run: Run) -> None:
    engine_with(fake)
    one = side(engine)

    async def twice() -> list[str]:
        seen = await one.look(WANTED)
        return [*await one.tend(WANTED, seen), *await one.tend(WANTED, seen)]

    assert run(twice()) == []
    assert len(fake.asked_for(f"/networks/{STATS.name}")) == 1 and changes(fake) == []


def test_a_network_that_somebody_removed_is_made_again(fake: FakeEngine, engine: Engine, run: Run) -> None:
    engine_with(fake)
    made: list[Any] = []
    fake.on("POST", "/networks/create", lambda asked: made.append(asked.body) or Answer(201, {"Id": "net2"}))
    one = side(engine)

    async def lost() -> None:
        seen = await one.look(WANTED)
        await one.tend(WANTED, seen)
        fake.on("GET", "/networks", [])
        fake.fails("GET", f"/networks/{STATS.name}", 404, f"network {STATS.name} not found")
        await one.tend(WANTED, await one.look(WANTED))

    run(lost())
    assert [body["Name"] for body in made] == [STATS.name]


def test_a_strangers_network_is_told_and_stops_no_other_course(fake: FakeEngine, engine: Engine, run: Run) -> None:
    other = replace(STATS, name="cw-other", subnet="10.180.16.0/20", range="10.180.24.0/21", gateway="10.180.16.1")
    engine_with(fake, networks=())
    fake.on("GET", f"/networks/{STATS.name}", {**NETWORK, "Labels": {}})
    fake.fails("GET", "/networks/cw-other", 404, "network cw-other not found")
    fake.on("POST", "/networks/create", Answer(201, {"Id": "net2"}))
    wanted = Wanted({"stats": STATS, "other": other})
    (trouble,) = run(Networks(engine, SITE, swarm=False).ensure(wanted, Seen()))
    assert trouble == "the engine has a network `cw-stats` that is not of this site: remove or rename it"
    assert changes(fake) == ["POST /networks/create"]


# --- removing ----------------------------------------------------------------------------------

ADA = Owned("ada", "ada", labels.KIND_SERVER, "stats")
GONE = Owned("net1", STATS.name, labels.KIND_NETWORK, "stats")


def test_a_server_has_its_time_to_stop_and_is_removed(fake: FakeEngine, engine: Engine, run: Run) -> None:
    fake.on("POST", "/containers/ada/stop", Answer(204))
    fake.on("DELETE", "/containers/ada", Answer(204))
    run(side(engine).end_server(ADA))
    (stop,) = fake.asked_for("/containers/ada/stop")
    assert stop.query == {"t": "30"}
    assert changes(fake) == ["POST /containers/ada/stop", "DELETE /containers/ada"]


@pytest.mark.parametrize("step", [("POST", "/containers/ada/stop"), ("DELETE", "/containers/ada")])
def test_a_server_that_is_gone_already_is_no_failure_and_any_other_error_is(
    fake: FakeEngine, engine: Engine, run: Run, step: tuple[str, str]
) -> None:
    fake.on("POST", "/containers/ada/stop", Answer(204))
    fake.on("DELETE", "/containers/ada", Answer(204))
    fake.fails(*step, 404, "No such container: ada")
    run(side(engine).end_server(ADA))
    fake.fails(*step, 500, "it hangs")
    with pytest.raises(EngineError):
        run(side(engine).end_server(ADA))


@pytest.mark.parametrize(("status", "removed"), [(204, True), (404, True), (403, False), (409, False)])
def test_a_network_in_use_stays(fake: FakeEngine, engine: Engine, run: Run, status: int, removed: bool) -> None:
    engine_with(fake)
    fake.on("DELETE", "/networks/net1", Answer(status, {"message": "network cw-stats has active endpoints"}))
    assert run(side(engine).remove_network(GONE)) is removed


def test_a_strangers_network_of_that_name_is_not_removed(fake: FakeEngine, engine: Engine, run: Run) -> None:
    fake.on("GET", f"/networks/{STATS.name}", {**NETWORK, "Labels": {}})
    fake.on("DELETE", "/networks/net1", Answer(204))
    assert run(side(engine).remove_network(GONE)) is True
    assert changes(fake) == []


def test_not_all_servers_of_a_large_course_are_stopped_at_once(fake: FakeEngine, run: Run) -> None:
    engine = Engine(fake.url, timeout=5, threads=40)
    at_once: list[int] = []
    going = 0

    def stop(_asked: Asked) -> Answer:
        nonlocal going
        going += 1
        at_once.append(going)
        time.sleep(0.02)
        going -= 1
        return Answer(204)

    servers = [Owned(f"s{number}", f"s{number}", labels.KIND_SERVER, "stats") for number in range(24)]
    for server in servers:
        fake.on("POST", f"/containers/{server.id}/stop", stop)
        fake.on("DELETE", f"/containers/{server.id}", Answer(204))
    one = side(engine)

    async def all_of_them() -> None:
        await asyncio.gather(*map(one.end_server, servers))

    run(all_of_them())
    engine.close()
    assert 1 < max(at_once) <= 8
