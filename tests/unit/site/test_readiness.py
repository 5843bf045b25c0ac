"""Which nodes of a swarm are ready, from what the swarm says of the services that check them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from coursewarehub.site.readiness import (
    BEING_CHECKED,
    Found,
    NodeReport,
    changes,
    check_name,
    check_service,
    label_changes,
    markers,
    reports,
    standing,
)
from coursewarehub.wire import labels

IMAGE, OTHER = "image:1", "image:2"
NO_AGENT = "the agent that applies the network rules does not run there"
NO_STORAGE = "the storage is not there, or it is not this site's"


def node(
    number: int, state: str = "ready", availability: str = "active", own: Mapping[str, str] | None = None
) -> dict[str, Any]:
    return {
        "ID": f"id{number}",
        "Spec": {"Availability": availability, "Role": "worker", "Labels": dict(own or {})},
        "Description": {"Hostname": f"n{number}", "Resources": {}},
        "Status": {"State": state},
    }


def task(service: str, number: int, state: str = "running", desired: str = "running", **more: Any) -> dict[str, Any]:
    status = {"State": state, "Timestamp": "2026-11-25T10:00:00Z", **more}
    made = {"CreatedAt": "2026-11-25T09:59:59Z", "Spec": {"ContainerSpec": {"Image": IMAGE}}}
    return {
        "ID": f"{service}-{number}",
        "ServiceID": service,
        "NodeID": f"id{number}",
        "DesiredState": desired,
        "Status": status,
        **made,
    }


def found(
    *tasks: dict[str, Any],
    nodes: tuple[dict[str, Any], ...] = (node(1), node(2)),
    agents: frozenset[str] | None = frozenset({"agent"}),
    earlier: frozenset[str] | None = None,
) -> Found:
    """A look at a swarm with one check and one agent; what runs ran at the look before, unless `earlier` says so."""
    looked = Found(nodes, tasks, {IMAGE: "check"}, agents)
    return Found(nodes, tasks, looked.checks, agents, looked.running() if earlier is None else earlier)


WELL = (task("agent", 1), task("check", 1))


# --- which nodes are ready ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "failing",
    [
        (task("agent", 1),),
        (task("check", 1),),
        (task("agent", 1), task("check", 1, "failed")),
        (task("agent", 1), task("check", 1, "running", "shutdown")),
        (task("agent", 1, "preparing"), task("check", 1)),
        (task("agent", 2), task("check", 1)),
        (),
    ],
    ids=["no check", "no agent", "check failed", "check is stopping", "agent not up", "agent elsewhere", "nothing"],
)
def test_a_node_is_ready_only_with_both(failing: tuple[dict[str, Any], ...]) -> None:
    assert found(*WELL).ready() == {IMAGE: {"id1"}}
    assert found(*failing).ready() == {IMAGE: frozenset()}


def test_no_agent_is_needed_where_isolation_is_accepted_to_be_off() -> None:
    assert found(task("check", 1), agents=None).ready() == {IMAGE: {"id1"}}


def test_a_program_that_ends_at_once_makes_no_node_ready() -> None:
    """It runs for a moment, again and again: each time it is another task."""
    assert found(*WELL, earlier=frozenset({"check-0"})).ready() == {IMAGE: frozenset()}


@pytest.mark.parametrize("state", ["down", "unknown", "disconnected"])
def test_a_node_that_does_not_answer_is_not_ready(state: str) -> None:
    """Its tasks are still told to run."""
    assert found(*WELL, nodes=(node(1, state),)).ready() == {IMAGE: frozenset()}


def test_tasks_without_a_node_stand_nowhere() -> None:
    unplaced = {**task("check", 1), "NodeID": ""}
    missing = {key: value for key, value in unplaced.items() if key != "NodeID"}
    assert standing([unplaced, missing], {"check"}) == {}


# --- what is said of them ----------------------------------------------------------------------


def lacks(*tasks: dict[str, Any], **how: Any) -> tuple[str, ...]:
    (report,) = reports(found(*tasks, nodes=(node(1),), **how), {IMAGE}, {})
    return report.lacks


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        (WELL, ()),
        ((task("check", 1),), (NO_AGENT, f"{BEING_CHECKED} {IMAGE}")),
        ((task("agent", 1),), (f"{BEING_CHECKED} {IMAGE}",)),
        ((task("agent", 1), task("check", 1, "preparing")), (f"{BEING_CHECKED} {IMAGE}",)),
        ((task("agent", 1), task("check", 1, "failed", ContainerStatus={"ExitCode": 1})), (NO_STORAGE,)),
        (
            (task("agent", 1), task("check", 1, "rejected", Err=f"No such image: {IMAGE}")),
            (f"The image {IMAGE} is not on this machine",),
        ),
        (
            (task("agent", 1), task("check", 1, "rejected", Err="bind source path does not exist: /srv/x")),
            ("The folder /srv/x is missing",),
        ),
        ((task("agent", 1), task("check", 2, "failed")), (f"{BEING_CHECKED} {IMAGE}",)),
    ],
    ids=["well", "no agent", "no check yet", "preparing", "storage", "image", "folder", "failed elsewhere"],
)
def test_an_unready_node_is_told_with_why(tasks: tuple[dict[str, Any], ...], said: tuple[str, ...]) -> None:
    assert lacks(*tasks) == said


def test_a_node_whose_check_has_only_just_begun_is_being_checked() -> None:
    assert lacks(*WELL, earlier=frozenset()) == (f"{BEING_CHECKED} {IMAGE}",)


def test_a_node_is_not_ready_for_an_image_that_nothing_checks_yet() -> None:
    """As at the site's first look, and when a course with another image comes."""
    (report,) = reports(found(*WELL, nodes=(node(1),)), {IMAGE, OTHER}, {})
    assert report.lacks == (f"{BEING_CHECKED} {OTHER}",)


def test_what_checks_an_image_that_nobody_uses_keeps_no_node_back() -> None:
    assert reports(found(task("agent", 1), nodes=(node(1),)), (), {})[0].ready


def test_one_reason_for_several_images_is_told_once() -> None:
    failed = [task(f"check{i}", 1, "failed", ContainerStatus={"ExitCode": 1}) for i in (1, 2)]
    looked = Found((node(1),), (task("agent", 1), *failed), {IMAGE: "check1", OTHER: "check2"}, frozenset({"agent"}))
    assert reports(looked, {IMAGE, OTHER}, {})[0].lacks == (NO_STORAGE,)


@pytest.mark.parametrize(
    ("state", "availability"), [("ready", "drain"), ("ready", "pause"), ("down", "active"), ("down", "drain")]
)
def test_of_a_node_that_takes_no_servers_nothing_is_missing(state: str, availability: str) -> None:
    (report,) = reports(found(nodes=(node(1, state, availability),)), {IMAGE}, {"id1": 3})
    assert report == NodeReport("id1", "n1", state, availability, (), 3)
    assert not report.ready


def test_nodes_are_told_by_name_with_their_servers() -> None:
    nameless = {"ID": "idx", "Spec": {}, "Status": {}}
    made = reports(found(*WELL, nodes=(node(2), nameless, node(1))), {IMAGE}, {"id1": 4})
    assert [(report.name, report.servers, report.state) for report in made] == [
        ("idx", 0, "unknown"),
        ("n1", 4, "ready"),
        ("n2", 0, "ready"),
    ]
    assert [report.ready for report in made] == [False, True, False]


# --- labels ------------------------------------------------------------------------------------

READY = labels.ready("site", IMAGE)
READY_ELSEWHERE = labels.ready("another site", IMAGE)
THEIRS = {"zone": "campus", "courseware.draining": "true", READY_ELSEWHERE: "true"}


@pytest.mark.parametrize(
    ("now", "ready", "then"),
    [
        ({}, ["id1"], {READY: "true"}),
        (THEIRS, ["id1"], {**THEIRS, READY: "true"}),
        ({**THEIRS, READY: "true"}, [], THEIRS),
        ({**THEIRS, READY: "true"}, ["id1"], None),
        (THEIRS, [], None),
        ({READY: "false"}, ["id1"], {READY: "true"}),
    ],
    ids=["first", "keeps others", "keeps others when unready", "stays", "stays without", "mends"],
)
def test_a_change_of_labels_keeps_those_of_others(
    now: dict[str, str], ready: list[str], then: dict[str, str] | None
) -> None:
    made = label_changes([node(1, own=now)], {IMAGE: ready}, "site")
    assert made == ({} if then is None else {"id1": then})


def test_a_node_without_any_labels() -> None:
    bare = {"ID": "id1", "Spec": {"Labels": None}}
    assert label_changes([bare], {IMAGE: ["id1"]}, "site") == {"id1": {READY: "true"}}
    assert label_changes([bare], {IMAGE: []}, "site") == {}


# --- the services that check -------------------------------------------------------------------

STORAGE = Path("/srv/courseware")


def spec(image: str = IMAGE, storage: Path = STORAGE, *constraints: str) -> dict[str, Any]:
    return check_service("site", image, storage, constraints)


def at_engine(made: dict[str, Any]) -> dict[str, Any]:
    return {"ID": f"id-{made['Name'][-6:]}", "Spec": made}


def test_what_is_there_as_it_should_be_stays() -> None:
    assert changes([spec()], [at_engine(spec())]) == changes([], [])


def test_what_is_missing_is_made_and_what_nobody_wants_is_removed() -> None:
    due = changes([spec()], [at_engine(spec(OTHER))])
    assert due.make == (spec(),)
    assert due.remove == (at_engine(spec(OTHER))["ID"],)


@pytest.mark.parametrize(
    "before", [spec(storage=Path("/elsewhere")), spec(IMAGE, STORAGE, "node.role==worker"), {**spec(), "Labels": None}]
)
def test_what_is_different_is_made_anew(before: dict[str, Any]) -> None:
    due = changes([spec()], [at_engine(before)])
    assert (due.make, due.remove) == ((spec(),), (at_engine(spec())["ID"],))


def test_names_differ_by_site_and_image() -> None:
    names = {check_name(site, image) for site in ("a", "b") for image in (IMAGE, OTHER)}
    assert len(names) == 4 and all(len(name) <= 63 for name in names)


def test_a_check_may_nothing_and_sees_nothing_but_the_marks() -> None:
    container = spec()["TaskTemplate"]["ContainerSpec"]
    assert container["User"] == "65534:65534"
    assert container["CapabilityDrop"] == ["ALL"] and container["ReadOnly"] is True
    assert all(mount["ReadOnly"] for mount in container["Mounts"])
    assert [mount["Source"] for mount in container["Mounts"]] == [str(file.parent) for file in markers(STORAGE)]
    assert spec()["Mode"] == {"Global": {}}
    assert json.loads(json.dumps(spec())) == spec()


def look(folder: Path, site: str) -> int:
    """Exit status of a check's look, with its folders where the test can write."""
    environment = dict(
        entry.split("=", 1) for entry in check_service(site, IMAGE, STORAGE)["TaskTemplate"]["ContainerSpec"]["Env"]
    )
    program = environment["LOOK"].replace("/check/", f"{folder}/")
    return subprocess.run(["/bin/sh", "-c", program], env=environment, timeout=10, check=False).returncode


def test_a_check_knows_the_storage_of_its_site(tmp_path: Path) -> None:
    assert look(tmp_path, "a") != 0, "nothing is there"
    for folder in ("homes", "shared", "published"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "site").write_text("a\n")
    assert look(tmp_path, "a") == 0
    assert look(tmp_path, "b") != 0, "another site's"
    (tmp_path / "shared" / "site").unlink()
    assert look(tmp_path, "a") != 0, "half of it"
