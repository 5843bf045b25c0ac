"""Networks of courses: what is asked of the engine, and what is left alone."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from support.fake_engine import Answer, Asked, FakeEngine

from coursewarehub.engine import Engine, Gone, Unreachable, networks
from coursewarehub.engine.networks import Clash, is_like, is_ours, overlapping, payload
from coursewarehub.model.networks import CourseNetwork
from coursewarehub.wire import labels

Run = Callable[[Coroutine[Any, Any, Any]], Any]

STATS = CourseNetwork("cw-stats", "10.180.16.0/28", "10.180.16.8/29", "10.180.16.1", "10.180.16.1")
OURS = {labels.SITE: "site-1", labels.COURSE: "stats", labels.KIND: labels.KIND_NETWORK}


def at_engine(network: CourseNetwork = STATS, *, swarm: bool = False, **more: Any) -> dict[str, Any]:
    """The network as the engine tells of it after it was made as we ask."""
    made = payload(network, swarm=swarm, site_id="site-1", course_id="stats")
    made["Options"] = {**made["Options"], "com.docker.network.driver.overlay.vxlanid_list": "4097"}
    return {**made, "Id": "n1", "Created": "2026-11-25T10:00:00Z", "Containers": {}, **more}


class Networks:
    """The networks of a fake engine."""

    def __init__(self, fake: FakeEngine, *found: dict[str, Any]) -> None:
        self.fake = fake
        self.found = list(found)
        fake.on("GET", "/networks", lambda asked: Answer(body=self.found))
        fake.on("POST", "/networks/create", self.create)
        self.show()

    def show(self) -> None:
        for key in [key for key in self.fake.answers if key[1].startswith("/networks/") and key[0] != "POST"]:
            del self.fake.answers[key]
        self.fake.fails("GET", f"/networks/{STATS.name}", 404, f"network {STATS.name} not found")
        for network in self.found:
            self.fake.on("GET", f"/networks/{network['Name']}", network)
            self.fake.on("DELETE", f"/networks/{network['Id']}", self.delete)

    def create(self, asked: Asked) -> Answer:
        self.found.append({**asked.body, "Id": f"new{len(self.found)}"})
        self.show()
        return Answer(201, {"Id": self.found[-1]["Id"]})

    def delete(self, asked: Asked) -> Answer:
        self.found = [network for network in self.found if not asked.path.endswith(network["Id"])]
        self.show()
        return Answer(204)

    def changes(self) -> list[str]:
        return [f"{asked.method} {asked.path}" for asked in self.fake.asked if asked.method != "GET"]


def ensured(engine: Engine, network: CourseNetwork = STATS, *, swarm: bool = False) -> Coroutine[Any, Any, str]:
    return networks.ensure(engine, network, swarm=swarm, site_id="site-1", course_id="stats")


# --- what is asked for -------------------------------------------------------------------------


def test_a_bridge_on_which_containers_do_not_see_each_other() -> None:
    assert payload(STATS, swarm=False, site_id="site-1", course_id="stats") == {
        "Name": "cw-stats",
        "CheckDuplicate": True,
        "Driver": "bridge",
        "Attachable": False,
        "Internal": False,
        "EnableIPv6": False,
        "IPAM": {
            "Driver": "default",
            "Config": [{"Subnet": "10.180.16.0/28", "IPRange": "10.180.16.8/29", "Gateway": "10.180.16.1"}],
        },
        "Options": {
            "com.docker.network.bridge.enable_icc": "false",
            "com.docker.network.bridge.enable_ip_masquerade": "true",
            "com.docker.network.bridge.host_binding_ipv4": "127.0.0.1",
        },
        "Labels": OURS,
    }


def test_an_overlay_to_which_containers_can_be_attached() -> None:
    wanted = payload(STATS, swarm=True, site_id="site-1", course_id="stats")
    assert (wanted["Driver"], wanted["Attachable"], wanted["Options"]) == ("overlay", True, {})


@pytest.mark.parametrize(
    ("change", "like"),
    [
        ({}, True),
        ({"Containers": {"c1": {}}}, True),
        ({"Options": {}}, False),
        ({"Options": None}, False),
        ({"Driver": "macvlan"}, False),
        ({"Internal": True}, False),
        ({"EnableIPv6": True}, False),
        ({"Attachable": True}, False),
        ({"IPAM": {"Config": [{"Subnet": "10.180.16.0/28", "Gateway": "10.180.16.1"}]}}, False),
        ({"IPAM": None}, False),
    ],
)
def test_what_counts_as_the_same_network(change: dict[str, Any], like: bool) -> None:
    wanted = payload(STATS, swarm=False, site_id="site-1", course_id="stats")
    assert is_like(at_engine(**change), wanted) is like


@pytest.mark.parametrize(
    ("held", "site", "ours"),
    [
        (OURS, "site-1", True),
        (OURS, None, True),
        (OURS, "site-2", False),
        ({}, "site-1", False),
        (None, None, False),
        ({labels.KIND: labels.KIND_NETWORK}, None, False),
        ({labels.SITE: "site-1"}, "site-1", False),
    ],
)
def test_whose_a_network_is(held: dict[str, str] | None, site: str | None, ours: bool) -> None:
    assert is_ours({"Labels": held}, site) is ours


@pytest.mark.parametrize(
    ("subnets", "found"),
    [
        ([], None),
        ([None], None),
        (["172.17.0.0/16", "10.180.32.0/28"], None),
        (["172.17.0.0/16", "10.180.16.8/29"], "10.180.16.8/29"),
        (["10.0.0.0/8"], "10.0.0.0/8"),
        (["10.180.16.5/24"], "10.180.16.0/24"),
        (["fd00::/64"], None),
    ],
)
def test_addresses_that_are_taken(subnets: list[str | None], found: str | None) -> None:
    listed = [{"Name": "x", "IPAM": {"Config": [{"Subnet": subnet} if subnet else {}]}} for subnet in subnets]
    bare = [{"Name": "host", "IPAM": {"Config": None}}, {"Name": "none", "IPAM": None}]
    assert overlapping(STATS.subnet, [*bare, *listed]) == (("x", found) if found else None)


# --- doing it ----------------------------------------------------------------------------------


def test_it_is_made_once(fake: FakeEngine, engine: Engine, run: Run) -> None:
    known = Networks(fake)
    assert run(ensured(engine)) == "new0"
    assert run(ensured(engine)) == "new0"
    assert known.changes() == ["POST /networks/create"]


def test_one_that_is_there_is_left(fake: FakeEngine, engine: Engine, run: Run) -> None:
    known = Networks(fake, at_engine(swarm=True))
    assert run(ensured(engine, swarm=True)) == "n1"
    assert known.changes() == []


def test_other_addresses_make_it_anew(fake: FakeEngine, engine: Engine, run: Run) -> None:
    known = Networks(fake, at_engine())
    moved = replace(STATS, subnet="10.181.0.0/28", range="10.181.0.8/29", gateway="10.181.0.1")
    assert run(ensured(engine, moved)) == "new0"
    assert known.changes() == ["DELETE /networks/n1", "POST /networks/create"]
    assert known.found[0]["IPAM"]["Config"][0]["Subnet"] == "10.181.0.0/28"


def test_other_addresses_while_it_is_in_use(fake: FakeEngine, engine: Engine, run: Run) -> None:
    known = Networks(fake, at_engine())
    fake.fails("DELETE", "/networks/n1", 403, "network cw-stats has active endpoints")
    moved = replace(STATS, subnet="10.181.0.0/28", range="10.181.0.8/29", gateway="10.181.0.1")
    with pytest.raises(Clash) as caught:
        run(ensured(engine, moved))
    assert str(caught.value) == (
        "the course `stats` has servers in its network with the former addresses 10.180.16.0/28: "
        "stop them, then it gets 10.181.0.0/28"
    )
    assert [network["Id"] for network in known.found] == ["n1"]


@pytest.mark.parametrize("held", [None, {}, {**OURS, labels.SITE: "site-2"}])
def test_a_foreign_network_of_that_name_is_left_alone(
    fake: FakeEngine, engine: Engine, run: Run, held: dict[str, str] | None
) -> None:
    known = Networks(fake, at_engine(Labels=held, Driver="macvlan"))
    with pytest.raises(Clash, match="the engine has a network `cw-stats` that is not of this site"):
        run(ensured(engine))
    assert known.changes() == []


def test_addresses_of_a_foreign_network(fake: FakeEngine, engine: Engine, run: Run) -> None:
    known = Networks(fake, {"Name": "campus", "Id": "n2", "IPAM": {"Config": [{"Subnet": "10.180.0.0/16"}]}})
    with pytest.raises(Clash) as caught:
        run(ensured(engine))
    assert str(caught.value) == (
        "the addresses 10.180.16.0/28 that the course is to have are partly those of the engine's network `campus` "
        "(10.180.0.0/16): choose other `spawner.addresses` in site.yaml"
    )
    assert known.changes() == []


def test_the_beginning_of_an_id_is_not_its_name(fake: FakeEngine, engine: Engine, run: Run) -> None:
    other = {"Name": "other", "Id": "cw-stats-and-more", "IPAM": None}
    Networks(fake, other)
    fake.on("GET", "/networks/cw-stats", other)
    assert run(ensured(engine)) == "new1"


def test_somebody_else_was_faster(fake: FakeEngine, engine: Engine, run: Run) -> None:
    known = Networks(fake)

    def taken(asked: Asked) -> Answer:
        known.create(asked)
        return Answer(409, {"message": "network with name cw-stats already exists"})

    fake.on("POST", "/networks/create", taken)
    assert run(ensured(engine)) == "new0"


def test_nothing_is_made_while_the_engine_does_not_know(fake: FakeEngine, engine: Engine, run: Run) -> None:
    known = Networks(fake)
    fake.fails("GET", "/networks/cw-stats", 500, "the swarm does not have a leader")
    with pytest.raises(Unreachable):
        run(ensured(engine))
    assert known.changes() == []


@pytest.mark.parametrize(
    ("found", "answer", "removed", "changes"),
    [
        ([], None, True, []),
        ([at_engine()], None, True, ["DELETE /networks/n1"]),
        ([at_engine()], (403, "network cw-stats has active endpoints"), False, ["DELETE /networks/n1"]),
        ([at_engine()], (400, "network n1 is in use by service s1"), False, ["DELETE /networks/n1"]),
        ([at_engine()], (404, "network n1 not found"), True, ["DELETE /networks/n1"]),
        ([at_engine(Labels={})], None, True, []),
        ([at_engine(Labels={labels.SITE: "site-1"})], None, True, []),
    ],
)
def test_removing(
    fake: FakeEngine,
    engine: Engine,
    run: Run,
    found: list[dict[str, Any]],
    answer: tuple[int, str] | None,
    removed: bool,
    changes: list[str],
) -> None:
    known = Networks(fake, *found)
    if answer:
        fake.fails("DELETE", "/networks/n1", *answer)
    assert run(networks.remove(engine, STATS.name)) is removed
    assert known.changes() == changes


# --- room --------------------------------------------------------------------------------------


def test_f22_free_addresses_on_one_host(fake: FakeEngine, engine: Engine, run: Run) -> None:
    ends = ["10.180.16.8/28", "10.180.16.9/28", "10.180.16.1/28", ""]
    Networks(fake, at_engine(Containers={f"c{number}": {"IPv4Address": end} for number, end in enumerate(ends)}))
    assert run(networks.free_addresses(engine, STATS, swarm=False)) == 5


def test_f22_free_addresses_of_a_swarm(fake: FakeEngine, engine: Engine, run: Run) -> None:
    def task(state: str, target: str = "n1", desired: str = "running") -> dict[str, Any]:
        return {"Status": {"State": state}, "DesiredState": desired, "Spec": {"Networks": [{"Target": target}]}}

    Networks(fake, at_engine(swarm=True))
    fake.on("GET", "/nodes", [{"ID": "i1"}, {"ID": "i2"}])
    others = [task("failed"), task("running", "n2"), {"Status": {}, "Spec": {}}]
    fake.on("GET", "/tasks", [task("running"), task("new"), *others])
    assert run(networks.free_addresses(engine, STATS, swarm=True)) == 3


def test_room_in_a_network_that_is_not_there(fake: FakeEngine, engine: Engine, run: Run) -> None:
    Networks(fake)
    with pytest.raises(Gone):
        run(networks.free_addresses(engine, STATS, swarm=False))
