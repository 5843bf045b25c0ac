"""The nodes of a swarm as an operator sees them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coursewarehub.deploy.nodes import (
    Node,
    Server,
    UnknownNode,
    changed,
    choose,
    node_of,
    rows,
    servers_of,
    wanted_labels,
)
from coursewarehub.model import Course
from coursewarehub.model.spawner import SwarmSpawner
from coursewarehub.wire import labels

GIB = 1024**3
READY = labels.ready("s1te", "image:1")
RESUME = "`coursewarehub node resume` ends that"


def raw(name: str, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ID": f"{name}id",
        "Version": {"Index": 5},
        "Spec": {"Role": "worker", "Availability": "active", "Labels": {READY: "true"}},
        "Description": {"Hostname": name, "Resources": {"NanoCPUs": 8_000_000_000, "MemoryBytes": 16 * GIB}},
        "Status": {"State": "ready", "Addr": "10.0.0.1"},
    }
    for place, value in changes.items():
        found[place] = {**found[place], **value} if isinstance(value, dict) else value
    return found


def test_a_node_as_the_engine_tells_it() -> None:
    manager = raw("n1", Spec={"Role": "manager"}) | {"ManagerStatus": {"Leader": True}}
    assert node_of(manager) == Node(
        id="n1id",
        name="n1",
        role="manager",
        state="ready",
        availability="active",
        cores=8,
        memory=16 * GIB,
        labels={READY: "true"},
        version=5,
        spec=manager["Spec"],
        leader=True,
    )
    bare = node_of({"ID": "x", "Version": {"Index": 1}, "Spec": {}})
    assert (bare.name, bare.state, bare.memory) == ("x", "unknown", 0)


NODES = [node_of(raw(name)) for name in ("n1", "n2", "n2id", "n3")]


@pytest.mark.parametrize(
    ("word", "name"), [("n1", "n1"), ("n3id", "n3"), ("n3i", "n3"), ("n2", "n2"), ("n2id", "n2id")]
)
def test_a_word_means_a_node(word: str, name: str) -> None:
    assert choose(NODES, word).name == name


@pytest.mark.parametrize(
    ("word", "telling"),
    [
        ("n4", "there is no node `n4`; there are n1, n2, n2id, n3"),
        ("", "there is no node ``"),
        ("n", "`n` means several nodes; take one of the ids n1id, n2id"),
    ],
)
def test_a_word_that_means_none_or_several(word: str, telling: str) -> None:
    with pytest.raises(UnknownNode, match=telling):
        choose(NODES, word)


def service(number: int, **own: str) -> dict[str, Any]:
    given = {labels.KIND: "server", labels.COURSE: "demo", labels.USER: f"user{number}", labels.SERVER: "", **own}
    return {"ID": f"s{number}", "Spec": {"Labels": given}}


def task(number: int, node: str, state: str = "running") -> dict[str, Any]:
    return {"ServiceID": f"s{number}", "NodeID": node, "Status": {"State": state}}


def test_servers_are_found_by_label_and_state() -> None:
    services = [
        service(1),
        service(2, **{labels.SERVER: "second"}),
        service(3, **{labels.KIND: "agent"}),
        service(4),
        service(5),
        service(6),
    ]
    tasks = [
        task(1, "a"),
        task(2, "b", "preparing"),
        task(3, "a"),
        task(4, "a", "failed"),
        task(5, "", "pending"),
        task(9, "a"),
    ]
    assert servers_of(services, tasks) == (
        Server("s1", "demo", "user1", "", "a"),
        Server("s2", "demo", "user2", "second", "b"),
    )


def test_the_labels_that_nodes_should_have() -> None:
    def course(name: str, **settings: Any) -> Course:
        return Course.model_validate_json(json.dumps({"id": name, "title": "a", **settings}), strict=True)

    spawner = SwarmSpawner(kind="swarm", storage="/srv/courseware", image="image:1")
    courses = [course("one"), course("two", image="image:2"), course("three", state="archived")]
    assert wanted_labels("s1te", spawner, courses) == {"one": READY, "two": labels.ready("s1te", "image:2")}


@pytest.mark.parametrize(
    ("changes", "ready", "reasons"),
    [
        ({}, ("demo",), ["not ready for other: the image, the storage or the agent is missing there"]),
        ({"Spec": {"Labels": {READY: "true", "b": "true"}}}, ("demo", "other"), []),
        ({"Spec": {"Labels": {READY: "false", "b": "true"}}}, ("other",), ["not ready for demo: the image,"]),
        ({"Spec": {"Availability": "pause"}}, (), [f"takes no new servers (paused; {RESUME})"]),
        ({"Spec": {"Labels": {labels.DRAINING: "true"}}}, (), [f"takes no new servers (paused; {RESUME})"]),
        ({"Spec": {"Availability": "drain"}}, (), [f"drained ({RESUME})"]),
        ({"Status": {"State": "down", "Message": "heartbeat failure"}}, (), ["down: heartbeat failure"]),
        ({"Status": {"State": "down"}, "Spec": {"Availability": "drain"}}, (), ["down", f"drained ({RESUME})"]),
    ],
)
def test_what_the_list_says(changes: dict[str, Any], ready: tuple[str, ...], reasons: list[str]) -> None:
    (row,) = rows([node_of(raw("n1", **changes))], [], {"demo": READY, "other": "b"})
    assert row.ready == ready
    assert len(row.reasons) == len(reasons)
    assert all(found.startswith(telling) for found, telling in zip(row.reasons, reasons, strict=True))


def test_managers_come_first_and_servers_are_counted() -> None:
    nodes = [node_of(raw("n2")), node_of(raw("n1")), node_of(raw("n9", Spec={"Role": "manager"}))]
    servers = [Server("s", "demo", "a", "", "n1id"), Server("t", "demo", "b", "", "n1id")]
    assert [(row.node.name, row.servers) for row in rows(nodes, servers, {})] == [("n9", 0), ("n1", 2), ("n2", 0)]


def test_a_change_keeps_everything_else() -> None:
    node = node_of(raw("n1", Spec={"Name": "mine", "Labels": {"zone": "a", READY: "true"}}))
    paused = changed(node, "pause", draining=True)
    assert paused == {
        "Role": "worker",
        "Name": "mine",
        "Availability": "pause",
        "Labels": {"zone": "a", READY: "true", labels.DRAINING: "true"},
    }
    again = changed(node_of(raw("n1", Spec=paused)), "active", draining=False)
    assert again["Labels"] == {"zone": "a", READY: "true"}
    assert again["Availability"] == "active"
