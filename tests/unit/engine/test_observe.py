"""What lists of the engine's objects say about each server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from coursewarehub.engine.observe import (
    Node,
    Observation,
    choose,
    name_of_container,
    needs_inspection,
    nodes_of,
    of_entry,
    of_service,
    trouble_of,
)
from coursewarehub.engine.states import Condition
from coursewarehub.wire import labels

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
NODES = {"i1": Node("n1", "ready", manager=True), "i2": Node("n2", "down"), "i3": Node("n3", "unknown")}


def task(state: str, made: str = "11:59:00", node: str = "i1", desired: str = "running", **more: Any) -> dict[str, Any]:
    status = {"State": state, **more.pop("status", {})}
    placed = {"NodeID": node} if node else {}
    made = f"2026-11-25T{made}.5Z"
    return {"ID": f"t{made}{state}", "CreatedAt": made, "DesiredState": desired, "Status": status, **placed, **more}


SERVICE = {
    "ID": "s1",
    "CreatedAt": "2026-11-25T11:59:30.5Z",
    "Spec": {"Name": "ann", "Labels": {labels.SPAWN: "start-7"}},
}


def seen(*tasks: dict[str, Any], network: str | None = None, **service: Any) -> Observation:
    return of_service(SERVICE | service, tasks, NODES, network, NOW)


# --- services ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tasks", "state", "made"),
    [
        ([], None, None),
        # S5: the newest, in whatever order they come.
        ([task("failed", "11:00:00"), task("starting", "11:30:00")], "starting", "11:30:00"),
        ([task("starting", "11:30:00"), task("failed", "11:00:00")], "starting", "11:30:00"),
        ([task("ready", "11:30:00"), task("shutdown", "11:20:00"), task("failed", "11:10:00")], "ready", "11:30:00"),
        # What runs speaks for its service while its successor is on its way.
        ([task("running", "11:00:00"), task("preparing", "11:30:00")], "running", "11:00:00"),
        # S6: more than one that runs.
        ([task("running", "11:00:00"), task("running", "11:30:00")], "running", "11:30:00"),
        # One behind a partition does not run for sure.
        ([task("running", "11:00:00", "i2"), task("starting", "11:30:00")], "starting", "11:30:00"),
    ],
)
def test_s5_s6_which_task_speaks_for_a_service(tasks: list[dict[str, Any]], state: str | None, made: str) -> None:
    chosen = choose(tasks, NODES)
    if state is None:
        assert chosen is None
    else:
        assert chosen is not None
        assert (chosen["Status"]["State"], chosen["CreatedAt"][11:19]) == (state, made)


def test_a_service_that_runs() -> None:
    attachments = [
        {"Network": {"Spec": {"Name": "ingress"}}, "Addresses": ["10.0.0.5/24"]},
        {"Network": {"Spec": {"Name": "course"}}, "Addresses": ["10.180.24.7/20"]},
        {"Network": {"Spec": {"Name": "later"}}, "Addresses": []},
    ]
    found = seen(task("running", NetworksAttachments=attachments), network="course")
    assert found == Observation(
        Condition.RUNNING, node_id="i1", node_name="n1", address="10.180.24.7", object_id="s1", spawn="start-7"
    )
    assert seen(task("running", NetworksAttachments=attachments)).address == "10.0.0.5"
    assert seen(task("running", NetworksAttachments=attachments), network="later").address == ""
    assert seen(task("running", NetworksAttachments=None)).address == ""


@pytest.mark.parametrize(
    ("tasks", "condition", "machine", "reason"),
    [
        ([task("running", node="i2")], Condition.LOST, "n2", "The machine n2 does not answer."),
        ([task("running", node="i3")], Condition.UNKNOWN, "n3", None),
        ([task("running", node="left")], Condition.LOST, "", "The machine on which it ran has left."),
        ([task("pending", node="")], Condition.STARTING, "", None),
        (
            [task("rejected", status={"Err": "No such image: lab:1"}, Spec={"ContainerSpec": {"Image": "lab:1"}})],
            Condition.FAILED,
            "n1",
            "The image lab:1 is not on the machine n1.",
        ),
    ],
)
def test_s8_s9_condition_and_reason(
    tasks: list[dict[str, Any]], condition: Condition, machine: str, reason: str | None
) -> None:
    found = seen(*tasks)
    assert (found.condition, found.node_name, found.reason) == (condition, machine, reason)


def test_exit_code_of_what_has_ended() -> None:
    ended = {"ContainerStatus": {"ExitCode": 3}}
    assert seen(task("failed", status=ended)).exit_code == 3
    assert seen(task("complete", status={"ContainerStatus": {"ExitCode": 0}})).exit_code == 0
    assert seen(task("rejected")).exit_code is None
    assert seen(task("running", status={"ContainerStatus": {"ExitCode": 0}})).exit_code is None


@pytest.mark.parametrize(
    ("made", "condition"),
    [("11:59:55", Condition.STARTING), ("11:59:01", Condition.STARTING), ("11:58:00", Condition.ENDED)],
)
def test_a_service_without_a_task(made: str, condition: Condition) -> None:
    assert seen(CreatedAt=f"2026-11-25T{made}Z").condition is condition


# --- machines ----------------------------------------------------------------------------------


def test_machines_of_a_swarm() -> None:
    listed = [
        {
            "ID": "i1",
            "Description": {"Hostname": "n1"},
            "Status": {"State": "ready"},
            "ManagerStatus": {"Leader": True, "Reachability": "reachable"},
        },
        {
            "ID": "i2",
            "Description": {"Hostname": "n2"},
            "Status": {"State": "unknown"},
            "ManagerStatus": {"Reachability": "unreachable"},
        },
        {"ID": "i3", "Description": {"Hostname": "n3"}, "Status": {"State": "down"}},
        {"ID": "i4"},
    ]
    assert nodes_of(listed) == {
        "i1": Node("n1", "ready", manager=True, reachable=True),
        "i2": Node("n2", "unknown", manager=True, reachable=False),
        "i3": Node("n3", "down"),
        "i4": Node("i4", "unknown"),
    }


def managers(*reachable: bool) -> list[Node]:
    return [Node(f"m{number}", "ready", True, up) for number, up in enumerate(reachable, 1)]


@pytest.mark.parametrize(
    ("nodes", "trouble"),
    [
        ([], None),
        (managers(True, True, True), None),
        ([*managers(True), Node("w1", "ready")], None),
        ([*managers(True), Node("w1", "down"), Node("w2", "ready")], "w1 of 3 machines does not answer"),
        ([*managers(True), Node("w2", "down"), Node("w1", "down")], "w1 and w2 of 3 machines do not answer"),
        (
            managers(True, True, False),
            "of 3 managers, m3 cannot be reached: the swarm bears the loss of no more",
        ),
        (
            managers(True, True, True, True, False),
            "of 5 managers, m5 cannot be reached: the swarm bears the loss of 1 more",
        ),
        (
            managers(True, True, True, False, False),
            "of 5 managers, m4 and m5 cannot be reached: the swarm bears the loss of no more",
        ),
    ],
)
def test_f04_trouble_of_a_swarm(nodes: list[Node], trouble: str | None) -> None:
    assert trouble_of(nodes) == trouble


# --- containers --------------------------------------------------------------------------------


def entry(state: str, status: str = "", age: int = 10, **more: Any) -> dict[str, Any]:
    return {
        "Id": "c1",
        "Names": ["/ann"],
        "State": state,
        "Status": status,
        "Created": int(NOW.timestamp()) - age,
        "Labels": {labels.SPAWN: "start-7"},
        "NetworkSettings": {"Networks": {"bridge": {"IPAddress": ""}, "course": {"IPAddress": "10.180.8.2"}}},
        **more,
    }


def inspected(**state: Any) -> dict[str, Any]:
    return {"State": state, "Config": {"Image": "lab:1"}, "HostConfig": {"Memory": 1 << 30}}


@pytest.mark.parametrize(
    ("listed", "known", "condition", "reason", "code"),
    [
        (entry("created"), None, Condition.STARTING, None, None),
        (entry("created", age=500), None, Condition.FAILED, "It was made and never started.", None),
        (
            entry("created", age=500),
            inspected(Status="created", ExitCode=128, Error="No available addresses on this pool"),
            Condition.FAILED,
            "No address is free in the course's network: the course is full.",
            128,
        ),
        (entry("running", age=500), None, Condition.RUNNING, None, None),
        (entry("paused"), None, Condition.RUNNING, None, None),
        (entry("exited", "Exited (0) 3 seconds ago"), None, Condition.ENDED, None, 0),
        (entry("exited", "Exited (3) 3 seconds ago"), None, Condition.FAILED, None, 3),
        (
            entry("exited", "Exited (137) 3 seconds ago"),
            inspected(Status="exited", ExitCode=137, OOMKilled=True),
            Condition.FAILED,
            "It was stopped because it used more memory than the 1.0 GB it may.",
            137,
        ),
        (entry("removing"), None, Condition.ENDED, None, None),
        (entry("dead"), None, Condition.FAILED, None, None),
        (entry("odd"), None, Condition.UNKNOWN, None, None),
    ],
)
def test_condition_of_a_container(
    listed: dict[str, Any], known: dict[str, Any] | None, condition: Condition, reason: str | None, code: int | None
) -> None:
    found = of_entry(listed, known, None, NOW)
    assert (found.condition, found.reason, found.exit_code) == (condition, reason, code)
    assert (found.object_id, found.spawn) == ("c1", "start-7")


@pytest.mark.parametrize(
    ("listed", "needed"),
    [
        (entry("created"), False),
        (entry("created", age=500), True),
        (entry("running"), False),
        (entry("exited", "Exited (0) 1 second ago"), True),
        (entry("dead"), True),
        (entry("odd"), False),
    ],
)
def test_what_is_inspected(listed: dict[str, Any], needed: bool) -> None:
    assert needs_inspection(listed, NOW) is needed


@pytest.mark.parametrize(("network", "address"), [(None, "10.180.8.2"), ("course", "10.180.8.2"), ("bridge", "")])
def test_address_of_a_container(network: str | None, address: str) -> None:
    assert of_entry(entry("running"), None, network, NOW).address == address


def test_an_entry_with_little_in_it() -> None:
    bare = {"Id": "c1", "State": "running", "Created": 0, "Names": None, "Labels": None, "NetworkSettings": None}
    assert of_entry(bare, None, None, NOW) == Observation(Condition.RUNNING, object_id="c1")
    assert name_of_container(bare) == ""
    assert name_of_container({"Names": ["/ann", "/other/alias"]}) == "ann"
