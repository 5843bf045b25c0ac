"""What the swarm's words about tasks mean for somebody who deploys."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from coursewarehub.deploy.apply import (
    DeployError,
    address_of,
    log_lines,
    manager,
    pending,
    pinned,
    reason,
    refuse_failure,
)
from coursewarehub.engine import Refused, Unreachable


def task(state: str, created: str = "2026-01-01", **status: str) -> dict[str, Any]:
    return {"CreatedAt": created, "DesiredState": "running", "Status": {"State": state, **status}}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (task("rejected", Err="No such image: a:1"), "No such image: a:1"),
        (task("failed", Err="task: non-zero exit (2)."), "task: non-zero exit (2)"),
        (task("failed", Message="started"), "started"),
        (task("failed", Err="one\n  two"), "one two"),
        (task("pending"), "pending"),
    ],
)
def test_the_reason_is_the_engine_s(found: Mapping[str, Any], said: str) -> None:
    assert reason(found) == said


def test_one_or_two_failures_are_no_end() -> None:
    refuse_failure([])
    refuse_failure([task("failed"), task("rejected"), task("running"), task("pending")])


def test_the_third_failure_is_told_with_the_newest_reason() -> None:
    tasks = [task("failed", f"2026-01-0{day}", Err=f"reason {day}") for day in (2, 3, 1)]
    with pytest.raises(DeployError, match="the site does not come up: reason 3"):
        refuse_failure(tasks)


@pytest.mark.parametrize(
    ("frames", "lines"),
    [
        (b"", []),
        (b"\x01\0\0\0\0\0\0\x04one\n\x02\0\0\0\0\0\0\x0a two\nthree", ["one", "two", "three"]),
        (b"\x01\0\0\0\0\0\0\x02\xff\n", ["\ufffd"]),
        (b"\x01\0\0\0\0\0\0\x7fcut off", ["cut off"]),
        (b"\x01\0", []),
    ],
)
def test_a_log_in_frames(frames: bytes, lines: list[str]) -> None:
    assert log_lines(frames) == lines


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([], None),
        ([task("running")], None),
        ([task("pending")], None),
        ([task("pending", Err="no suitable node (3 nodes not available for new tasks)")], "no suitable node (3 nodes"),
        ([task("pending", "2026-01-01", Err="old"), task("preparing", "2026-01-02")], None),
    ],
)
def test_why_nothing_starts(tasks: list[dict[str, Any]], said: str | None) -> None:
    found = pending(tasks)
    assert found == said or (said is not None and found is not None and found.startswith(said))


class Said:
    """An engine that says one thing."""

    url = "unix:///var/run/docker.sock"

    def __init__(self, said: Any) -> None:
        self.said = said

    async def get(self, path: str, **_: Any) -> Any:
        del path
        if isinstance(self.said, Exception):
            raise self.said
        return self.said

    async def info(self) -> Any:
        return await self.get("/info")


@pytest.mark.parametrize(
    ("swarm", "telling"),
    [
        ({}, "is in no swarm; make one with `docker swarm init`"),
        ({"LocalNodeState": "inactive"}, "is in no swarm"),
        ({"LocalNodeState": "active", "ControlAvailable": False}, "is a worker; run this on a manager"),
    ],
)
def test_who_is_no_manager(swarm: dict[str, Any], telling: str) -> None:
    with pytest.raises(DeployError, match=telling):
        asyncio.run(manager(Said({"Swarm": swarm})))  # type: ignore[arg-type]


def test_who_is_a_manager() -> None:
    swarm = {"LocalNodeState": "active", "ControlAvailable": True, "NodeID": "n0de", "NodeAddr": "10.0.0.1"}
    found = asyncio.run(manager(Said({"Swarm": swarm})))  # type: ignore[arg-type]
    assert (found.node, found.address) == ("n0de", "10.0.0.1")


@pytest.mark.parametrize(
    ("image", "said", "name"),
    [
        ("hub:1", {"Descriptor": {"digest": "sha256:0"}}, "hub:1@sha256:0"),
        ("hub:1@sha256:1", {"Descriptor": {"digest": "sha256:0"}}, "hub:1@sha256:1"),
        ("hub:1", Refused("no such manifest"), "hub:1"),
        ("hub:1", Unreachable("no registry"), "hub:1"),
    ],
)
def test_an_image_is_pinned_when_its_registry_knows_it(image: str, said: Any, name: str) -> None:
    assert asyncio.run(pinned(Said(said), image)) == name  # type: ignore[arg-type]


@pytest.mark.parametrize(("said", "address"), [("10.0.0.7", "10.0.0.7"), ("0.0.0.0", "127.0.0.1"), ("", "127.0.0.1")])
def test_where_a_task_runs(said: str, address: str) -> None:
    engine = Said({"Status": {"Addr": said}})
    assert asyncio.run(address_of(engine, {"NodeID": "n0de"})) == address  # type: ignore[arg-type]
