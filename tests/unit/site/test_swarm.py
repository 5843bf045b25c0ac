"""The site on a swarm: what it asks of a manager, and what it leaves alone."""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from support.fake_engine import Answer, FakeEngine

from coursewarehub.engine import Engine, EngineError, Unreachable
from coursewarehub.engine.networks import payload
from coursewarehub.model.names import object_name
from coursewarehub.model.networks import CourseNetwork
from coursewarehub.site.cluster import Server, Wanted
from coursewarehub.site.janitor import Owned
from coursewarehub.site.readiness import check_service, markers
from coursewarehub.site.swarm import Swarm, addresses_of, mark
from coursewarehub.wire import labels

Run = Callable[[Coroutine[Any, Any, Any]], Any]

SITE, IMAGE = "site-1", "image:1"
STATS = CourseNetwork("cw-stats", "10.180.0.0/20", "10.180.8.0/21", "10.180.0.1", "10.180.0.10")
READY = labels.ready(SITE, IMAGE)
OWN = "c0ffee00aaaa"
NETWORK = {**payload(STATS, swarm=True, site_id=SITE, course_id="stats"), "Id": "net1"}
WANTED = Wanted({"stats": STATS}, frozenset({IMAGE}), frozenset({"stats"}))


def node(number: int, **own: str) -> dict[str, Any]:
    return {
        "ID": f"id{number}",
        "Version": {"Index": 40 + number},
        "Spec": {"Availability": "active", "Role": "worker", "Labels": own},
        "Description": {"Hostname": f"n{number}"},
        "Status": {"State": "ready", "Addr": f"192.168.0.{number}"},
    }


def service(identity: str, kind: str, **more: str) -> dict[str, Any]:
    return {"ID": identity, "Spec": {"Name": f"name-{identity}", "Labels": {labels.KIND: kind, **more}}}


def task(service_id: str, number: int, state: str = "running") -> dict[str, Any]:
    return {
        "ID": f"{service_id}-{number}",
        "ServiceID": service_id,
        "NodeID": f"id{number}",
        "DesiredState": "running",
        "Status": {"State": state},
        "Spec": {},
        "CreatedAt": "2026-11-25T09:59:59Z",
    }


class Bed:
    """A swarm of two nodes, on whose first the site runs, well in every respect."""

    def __init__(self, fake: FakeEngine, engine: Engine, storage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fake, self.storage = fake, storage
        self.side = Swarm(engine, SITE, storage)
        monkeypatch.setattr(socket, "gethostname", lambda: OWN)
        check = check_service(SITE, IMAGE, storage)
        self.nodes = [node(1, **{READY: "true"}), node(2, **{READY: "true"})]
        self.services = [service("agent", labels.KIND_AGENT), {"ID": "check", "Spec": check}]
        self.tasks = [task(each, number) for each in ("agent", "check") for number in (1, 2)]
        self.networks = [NETWORK]
        self.joined = {STATS.name: {"IPAddress": STATS.site_address}}
        for path, told in (
            ("/nodes", lambda: self.nodes),
            ("/services", lambda: self.services),
            ("/tasks", lambda: self.tasks),
            ("/networks", lambda: self.networks),
            ("/containers/json", lambda: [{"Id": "0123456789ab"}, {"Id": f"{OWN}{'0' * 52}"}]),
        ):
            fake.on("GET", path, lambda _asked, told=told: Answer(body=told()))
        fake.on("GET", f"/networks/{STATS.name}", NETWORK)
        fake.on("GET", f"/containers/{OWN}{'0' * 52}/json", lambda _asked: Answer(body=self.own()))

    def own(self) -> dict[str, Any]:
        return {"Id": OWN, "Image": "sha256:1", "NetworkSettings": {"Networks": self.joined}}

    async def once(self, wanted: Wanted = WANTED) -> list[str]:
        """Look and tend; what is wrong."""
        return await self.side.tend(wanted, await self.side.look(WANTED))

    async def twice(self, wanted: Wanted = WANTED) -> list[str]:
        """The second look is the first that can tell that something stands."""
        await self.once(wanted)
        self.fake.asked.clear()
        return await self.once(wanted)

    def changes(self) -> list[tuple[str, str]]:
        return [(asked.method, asked.path) for asked in self.fake.asked if asked.method != "GET"]


@pytest.fixture
def bed(fake: FakeEngine, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bed:
    return Bed(fake, engine, tmp_path / "storage", monkeypatch)


# --- looking -----------------------------------------------------------------------------------


def test_a_swarm_that_is_as_it_should_be_is_left_alone(bed: Bed, run: Run) -> None:
    assert run(bed.twice()) == []
    assert bed.changes() == []


def test_only_objects_of_this_site_are_asked_for(bed: Bed, run: Run) -> None:
    run(bed.side.look(WANTED))
    for path in ("/services", "/tasks", "/networks"):
        (asked,) = bed.fake.asked_for(path)
        assert asked.query["filters"] == f'{{"label": ["{labels.SITE}={SITE}"]}}'


def test_servers_that_run_are_told_with_node_and_address(bed: Bed, run: Run) -> None:
    names = {labels.COURSE: "stats", labels.USER: "ada", labels.SERVER: ""}
    bed.services += [service("ada", labels.KIND_SERVER, **names), service("bob", labels.KIND_SERVER, **names)]
    address = {"Network": {"Spec": {"Name": STATS.name}, "ID": "net1"}, "Addresses": ["10.180.8.3/20"]}
    bed.tasks += [{**task("ada", 2), "NetworksAttachments": [address]}, task("bob", 1, "preparing")]
    seen = run(bed.side.look(WANTED))
    assert seen.servers == (Server("stats", "ada", "", "n2", "10.180.8.3", 8888),)
    assert {report.name: report.servers for report in seen.nodes} == {"n1": 0, "n2": 1}


@pytest.mark.parametrize("path", ["/nodes", "/services", "/tasks", "/networks"])
def test_a_look_that_fails_in_part_tells_nothing(bed: Bed, run: Run, path: str) -> None:
    bed.fake.fails("GET", path, 500, "rpc error: something broke")
    with pytest.raises(Unreachable):
        run(bed.side.look(WANTED))


def test_before_the_first_look_nothing_is_known_to_be_in_force(bed: Bed) -> None:
    assert bed.side.isolation() == "no agent applies the network rules on the nodes: run `coursewarehub deploy swarm`"


def test_isolation_follows_the_agents(bed: Bed, engine: Engine, run: Run) -> None:
    run(bed.side.look(WANTED))
    assert bed.side.isolation() is None
    del bed.services[0]
    run(bed.side.look(WANTED))
    assert "no agent" in str(bed.side.isolation())
    off = Swarm(engine, SITE, bed.storage, isolated=False)
    run(off.look(WANTED))
    assert "accepted_off" in str(off.isolation())


# --- nodes -------------------------------------------------------------------------------------


def test_a_missing_check_is_made_and_one_of_an_image_that_nobody_uses_is_removed(bed: Bed, run: Run) -> None:
    made: list[Any] = []
    bed.fake.on("POST", "/services/create", lambda asked: made.append(asked.body) or Answer(201, {"ID": "new"}))
    bed.fake.on("DELETE", "/services/check", Answer(200))
    for number in (1, 2):
        bed.fake.on("POST", f"/nodes/id{number}/update", Answer(200))
    run(bed.twice(Wanted({"stats": STATS}, frozenset({"image:2"}))))
    assert made[-1] == check_service(SITE, "image:2", bed.storage)
    assert ("DELETE", "/services/check") in bed.changes()
    assert ("DELETE", "/services/agent") not in bed.changes()


def test_another_process_that_was_faster_is_no_error(bed: Bed, run: Run) -> None:
    bed.services = [each for each in bed.services if each["ID"] != "check"]
    bed.fake.fails("POST", "/services/create", 409, "name conflicts with an existing object")
    bed.nodes = [node(1), node(2)]
    assert run(bed.once()) == []


def test_labels_are_set_with_the_version_that_was_seen_and_keep_the_rest(bed: Bed, run: Run) -> None:
    bed.nodes = [node(1, zone="campus"), node(2, **{READY: "true"})]
    bed.fake.on("POST", "/nodes/id1/update", Answer(200))
    run(bed.twice())
    (asked,) = bed.fake.asked_for("/nodes/id1/update")
    assert asked.query == {"version": "41"}
    assert asked.body == {"Availability": "active", "Role": "worker", "Labels": {"zone": "campus", READY: "true"}}


@pytest.mark.parametrize("status", [400, 404, 409])
def test_a_node_that_somebody_else_has_changed_is_left_for_the_next_look(bed: Bed, run: Run, status: int) -> None:
    bed.nodes = [node(1), node(2)]
    bed.fake.fails("POST", "/nodes/id1/update", status, "update out of sequence")
    bed.fake.on("POST", "/nodes/id2/update", Answer(200))
    assert run(bed.twice()) == []
    assert ("POST", "/nodes/id2/update") in bed.changes()


def test_a_node_is_not_ready_any_more_for_an_image_that_nobody_uses(bed: Bed, run: Run) -> None:
    """Nobody looks whether it still has it."""
    bed.fake.on("DELETE", "/services/check", Answer(200))
    for number in (1, 2):
        bed.fake.on("POST", f"/nodes/id{number}/update", Answer(200))
    run(bed.twice(Wanted({"stats": STATS})))
    assert [asked.body["Labels"] for asked in bed.fake.asked if asked.path.endswith("/update")] == [{}, {}]


def test_what_an_earlier_site_process_has_found_stands_until_it_is_known_better(bed: Bed, run: Run) -> None:
    """A site that is started again keeps no course from starting servers meanwhile."""
    assert run(bed.once()) == []
    assert not [asked for asked in bed.fake.asked if asked.path.endswith("/update")]
    bed.tasks = [each for each in bed.tasks if each["ID"] != "check-2"]
    bed.fake.on("POST", "/nodes/id2/update", Answer(200))
    run(bed.once())
    (asked,) = bed.fake.asked_for("/nodes/id2/update")
    assert asked.body["Labels"] == {}


# --- the site in the courses' networks ---------------------------------------------------------

HELPER, CONNECT, DISCONNECT = (
    "/containers/create",
    f"/networks/{STATS.name}/connect",
    f"/networks/{STATS.name}/disconnect",
)


LEFT = object_name("courseware-join", STATS.name)  # what a site that was killed in the middle has left


def can_join(bed: Bed) -> None:
    bed.fake.fails("DELETE", f"/containers/{LEFT}", 404, f"No such container: {LEFT}")
    bed.fake.on("POST", HELPER, Answer(201, {"Id": "helper1"}))
    bed.fake.on("POST", "/containers/helper1/start", Answer(204))
    bed.fake.on("DELETE", "/containers/helper1", Answer(204))
    bed.fake.on("POST", CONNECT, Answer(200))
    bed.fake.on("POST", DISCONNECT, Answer(200))


def join_steps(bed: Bed) -> list[tuple[str, str]]:
    return [step for step in bed.changes() if step != ("DELETE", f"/containers/{LEFT}")]


def test_the_site_joins_a_course_at_its_own_address(bed: Bed, run: Run) -> None:
    bed.joined = {}
    can_join(bed)
    assert run(bed.twice()) == []
    assert join_steps(bed) == [
        ("POST", HELPER),
        ("POST", "/containers/helper1/start"),
        ("POST", CONNECT),
        ("DELETE", "/containers/helper1"),
    ]
    (connect,) = bed.fake.asked_for(CONNECT)
    assert connect.body["EndpointConfig"] == {"IPAMConfig": {"IPv4Address": STATS.site_address}}
    (helper,) = bed.fake.asked_for(HELPER)
    assert helper.body["HostConfig"]["NetworkMode"] == STATS.name
    assert helper.body["Labels"][labels.SITE] == SITE and helper.body["HostConfig"]["CapDrop"] == ["ALL"]


def test_an_address_that_the_swarm_gave_is_changed_for_the_sites(bed: Bed, run: Run) -> None:
    bed.joined = {STATS.name: {"IPAddress": "10.180.8.77"}}
    can_join(bed)
    assert run(bed.twice()) == []
    assert join_steps(bed)[0] == ("POST", DISCONNECT)


@pytest.mark.parametrize("failing", ["/containers/helper1/start", CONNECT])
def test_a_helper_never_stays_and_the_trouble_is_told(bed: Bed, run: Run, failing: str) -> None:
    bed.joined = {}
    can_join(bed)
    bed.fake.fails("POST", failing, 400, "network is not attachable")
    (trouble,) = run(bed.twice())
    assert trouble.startswith(f"the site cannot join the network {STATS.name}: ")
    assert join_steps(bed)[-1] == ("DELETE", "/containers/helper1")


def test_a_network_that_is_gone_again_is_joined_at_the_next_look(bed: Bed, run: Run) -> None:
    bed.joined = {}
    can_join(bed)
    bed.fake.fails("POST", CONNECT, 404, f"network {STATS.name} not found")
    assert run(bed.twice()) == []


def test_a_site_outside_the_swarm_is_told_what_to_do(bed: Bed, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "laptop")
    assert run(bed.twice()) == [
        "the site does not run on this swarm, so no server reaches it: run `coursewarehub deploy swarm`"
    ]
    assert bed.changes() == []


def test_addresses_of_a_container() -> None:
    assert addresses_of({"NetworkSettings": {"Networks": {"a": {"IPAddress": "10.0.0.1"}, "b": {}}}}) == {
        "a": "10.0.0.1",
        "b": "",
    }
    assert addresses_of({}) == addresses_of({"NetworkSettings": {"Networks": None}}) == {}


# --- removing ----------------------------------------------------------------------------------

ADA = Owned("id-ada", "ada", labels.KIND_SERVER, "stats")
GONE = Owned("net1", STATS.name, labels.KIND_NETWORK, "stats")


def test_a_server_that_is_gone_already_is_removed(bed: Bed, run: Run) -> None:
    bed.fake.fails("DELETE", "/services/id-ada", 404, "service id-ada not found")
    run(bed.side.end_server(ADA))
    bed.fake.fails("DELETE", "/services/id-ada", 500, "no")
    with pytest.raises(EngineError):
        run(bed.side.end_server(ADA))


@pytest.mark.parametrize("answer", [Answer(200), Answer(404, {"message": "no such"}), Answer(403, {"message": "no"})])
def test_the_site_leaves_a_network_and_a_helper_goes_last(bed: Bed, run: Run, answer: Answer) -> None:
    can_join(bed)
    bed.fake.on("POST", DISCONNECT, answer)
    bed.fake.on("DELETE", "/networks/net1", Answer(204))
    assert run(bed.side.remove_network(GONE)) is True
    assert join_steps(bed) == [
        ("POST", DISCONNECT),
        ("POST", HELPER),
        ("POST", "/containers/helper1/start"),
        ("DELETE", "/containers/helper1"),
        ("DELETE", "/networks/net1"),
    ]


def test_a_helper_that_cannot_be_made_keeps_no_network(bed: Bed, run: Run) -> None:
    can_join(bed)
    bed.fake.fails("POST", HELPER, 400, "no such image")
    bed.fake.on("DELETE", "/networks/net1", Answer(204))
    assert run(bed.side.remove_network(GONE)) is True


def test_a_network_in_use_stays(bed: Bed, run: Run) -> None:
    can_join(bed)
    bed.fake.fails("DELETE", "/networks/net1", 403, "network cw-stats has active endpoints")
    assert run(bed.side.remove_network(GONE)) is False


# --- the storage -------------------------------------------------------------------------------


def test_the_storage_is_marked_once(tmp_path: Path) -> None:
    mark(tmp_path, "site-1")
    assert [file.read_text() for file in markers(tmp_path)] == ["site-1\n"] * 3
    mark(tmp_path, "site-2")
    assert {file.read_text() for file in markers(tmp_path)} == {"site-1\n"}, "another site's storage stays its own"


def test_a_storage_that_is_not_there_is_told_and_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "storage").write_text("not a folder")
    mark(tmp_path / "storage", "site-1")
    assert "the storage cannot be marked as the site's" in caplog.text
