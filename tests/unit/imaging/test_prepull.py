"""Pulling on every node, against a fake engine; what is reported of each node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fake_engine import Answer, Asked, FakeEngine, fake_engine

from coursewarehub.cli import main
from coursewarehub.engine import Engine
from coursewarehub.imaging.errors import ImagingError
from coursewarehub.imaging.prepull import NodeReport, Report, State, by_digest, job_payload, prepull, report, table

DIGEST = "sha256:" + "b" * 64
BY_DIGEST = f"r.example:5000/course@{DIGEST}"


def node(name: str, state: str = "ready", availability: str = "active") -> dict[str, Any]:
    described = {"Description": {"Hostname": name}, "Status": {"State": state}, "Spec": {"Availability": availability}}
    return {"ID": f"id-{name}", **described}


def task(name: str, state: str, words: str = "", created: str = "1") -> dict[str, Any]:
    status = {"State": state, "Err": words}
    spec = {"ContainerSpec": {"Image": BY_DIGEST}}
    return {"NodeID": f"id-{name}", "Status": status, "DesiredState": "complete", "CreatedAt": created, "Spec": spec}


@pytest.mark.parametrize(
    ("nodes", "tasks", "expected"),
    [
        ([node("n1")], [], [("n1", State.PULLING)]),
        ([node("n1")], [task("n1", "preparing")], [("n1", State.PULLING)]),
        ([node("n1")], [task("n1", "complete")], [("n1", State.READY)]),
        ([node("n1")], [task("n1", "rejected", "No such image: x")], [("n1", State.FAILED)]),
        ([node("n1", "down")], [task("n1", "complete")], [("n1", State.AWAY)]),
        ([node("n1", "unknown")], [], [("n1", State.AWAY)]),
        ([node("n1", availability="drain")], [], [("n1", State.DRAINED)]),
        ([node("n1", "down", "pause")], [], [("n1", State.DRAINED)]),
        (
            [node("n2"), node("n1")],
            [task("n1", "complete", created="2"), task("n1", "failed", created="1"), task("n2", "running")],
            [("n1", State.READY), ("n2", State.PULLING)],
        ),
    ],
)
def test_what_is_known_of_each_node(nodes: Any, tasks: Any, expected: Any) -> None:
    assert [(found.node, found.state) for found in report(nodes, tasks)] == expected


@pytest.mark.parametrize(
    ("states", "well"),
    [
        ([State.READY], True),
        ([State.READY, State.DRAINED], True),
        ([State.DRAINED], False),
        ([State.READY, State.AWAY], False),
        ([State.READY, State.PULLING], False),
        ([State.READY, State.FAILED], False),
        ([], False),
    ],
)
def test_when_all_is_well(states: list[State], well: bool) -> None:
    assert Report("x", tuple(NodeReport(str(state), state) for state in states)).is_well is well


def test_the_job_is_one_task_a_node_and_ours() -> None:
    job = job_payload("courseware-prepull-1", BY_DIGEST)
    assert job["Mode"] == {"GlobalJob": {}} and job["EndpointSpec"] == {"Mode": "dnsrr"}
    assert job["Labels"] == {"coursewarehub.kind": "check"}
    template = job["TaskTemplate"]
    assert template["ContainerSpec"]["Image"] == BY_DIGEST and template["ContainerSpec"]["Command"] == ["true"]
    assert template["RestartPolicy"] == {"Condition": "none"}


def test_the_table() -> None:
    rows = [NodeReport("n1", State.READY), NodeReport("node-2", State.AWAY, "the node is down")]
    assert table(rows) == "n1      ready\nnode-2  away    the node is down"


# --- with a fake engine ------------------------------------------------------------------------


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    with fake_engine(tmp_path) as engine:
        engine.on("GET", "/distribution/r.example:5000/course:1/json", {"Descriptor": {"digest": DIGEST}})
        engine.on("POST", "/services/create", Answer(201, {"ID": "job"}))
        engine.on("DELETE", "/services/job", {})
        engine.on("GET", "/nodes", [node("n1"), node("n2")])
        engine.on("GET", "/info", {"Swarm": {"LocalNodeState": "active"}})
        yield engine


def tasks_in_turn(*answers: list[dict[str, Any]]) -> Any:
    left = list(answers)

    def answer(_: Asked) -> Answer:
        return Answer(body=left.pop(0) if len(left) > 1 else left[0])

    return answer


def ask(fake: FakeEngine, **options: Any) -> Report:
    async def work() -> Report:
        engine = Engine(fake.url, timeout=2)
        try:
            return await asyncio.wait_for(prepull(engine, "r.example:5000/course:1", **options), 20)
        finally:
            engine.close()

    return asyncio.run(work())


def test_all_nodes_pull(fake: FakeEngine) -> None:
    begun = [task("n1", "preparing")]
    done = [task("n1", "complete"), task("n2", "complete")]
    fake.on("GET", "/tasks", tasks_in_turn(begun, done))
    heard: list[NodeReport] = []
    found = ask(fake, tell=heard.append)
    assert found.is_well and found.image == BY_DIGEST
    assert [node.state for node in heard] == [State.PULLING, State.PULLING, State.READY, State.READY]
    assert len(fake.asked_for("/services/job")) == 1, "the job is taken away"


def test_a_node_that_cannot_pull_is_named_with_the_reason(fake: FakeEngine) -> None:
    fake.on("GET", "/tasks", [task("n1", "complete"), task("n2", "rejected", "no space left on device")])
    found = ask(fake)
    assert not found.is_well
    assert found.nodes[1] == NodeReport("n2", State.FAILED, "The disk of the machine n2 is full")


def test_patience_has_an_end_and_the_job_too(fake: FakeEngine) -> None:
    fake.on("GET", "/tasks", [task("n1", "complete"), task("n2", "preparing")])
    found = ask(fake, seconds=0)
    assert [node.state for node in found.nodes] == [State.READY, State.PULLING] and not found.is_well
    assert len(fake.asked_for("/services/job")) == 1


def test_a_silent_moment_of_the_engine_is_not_the_end(fake: FakeEngine) -> None:
    answers = iter([Answer(500, {"message": "rpc error: The swarm does not have a leader"})])
    done = Answer(body=[task("n1", "complete"), task("n2", "complete")])
    fake.on("GET", "/tasks", lambda _: next(answers, done))
    assert ask(fake).is_well


def test_an_image_that_no_registry_has(fake: FakeEngine) -> None:
    fake.fails("GET", "/distribution/local:1/json", 404, "manifest unknown")
    engine = Engine(fake.url, timeout=2)
    with pytest.raises(ImagingError, match=r"no registry tells the digest of local:1.*coursewarehub image push"):
        asyncio.run(by_digest(engine, "local:1"))
    engine.close()


def test_the_command_prints_the_table(fake: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    fake.on("GET", "/tasks", [task("n1", "complete"), task("n2", "rejected", "No such image: x")])
    assert main(["image", "prepull", "r.example:5000/course:1", "--engine", fake.url]) == 1
    out = capsys.readouterr().out
    assert f"{BY_DIGEST}\nn1  ready\nn2  failed" in out


def test_without_names_it_takes_the_images_of_the_site(fake: FakeEngine, tmp_path: Path) -> None:
    root = tmp_path / "site"
    (root / "courses.d").mkdir(parents=True)
    spawner = {"kind": "swarm", "storage": "/srv/x", "image": "r.example:5000/course:1", "engine": fake.url}
    (root / "site.yaml").write_text(json.dumps({"spawner": spawner}))
    (root / "courses.d/new.yaml").write_text("id: new\ntitle: A\nimage: r.example:5000/own:2\n")
    (root / "courses.d/old.yaml").write_text("id: old\ntitle: B\nimage: r.example:5000/old:2\nstate: archived\n")
    fake.on("GET", "/distribution/r.example:5000/own:2/json", {"Descriptor": {"digest": DIGEST}})
    fake.on("GET", "/tasks", [task("n1", "complete"), task("n2", "complete")])
    assert main(["--site", str(root), "image", "prepull"]) == 0
    created = [asked.body["TaskTemplate"]["ContainerSpec"]["Image"] for asked in fake.asked_for("/services/create")]
    assert created == [BY_DIGEST, f"r.example:5000/own@{DIGEST}"]


def test_a_site_without_containers_needs_no_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site.yaml").write_text("mode: development\n")
    assert main(["--site", str(tmp_path), "image", "prepull"]) == 1
    assert "The site's spawner is `local`" in capsys.readouterr().err
