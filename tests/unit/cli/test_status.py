"""`coursewarehub status` for a site that does not run, and how a running one is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coursewarehub.cli import status

Run = Callable[..., Any]


def test_site_that_does_not_run_has_the_same_shape(run: Run, root: Path) -> None:
    outcome = run("status", "--json")
    assert outcome.code == 1 and outcome.err == ""
    assert json.loads(outcome.out) == {
        "ready": False,
        "url": "http://127.0.0.1:8000/",
        "processes": {},
        "courses": [
            {
                "id": "alpha",
                "title": "Course alpha",
                "url": "http://127.0.0.1:8000/courses/alpha/",
                "state": "open",
                "hub": {"state": "stopped", "pid": None, "rss_bytes": 0, "reason": ""},
            }
        ],
        "problems": [],
    }


def test_for_people(run: Run, root: Path) -> None:
    (root / "courses.d" / "beta.yaml").write_text("id: beta\ntitle: Beta\nstat: open\n")
    outcome = run("status")
    first, *courses = outcome.out.splitlines()
    assert outcome.code == 1
    assert first == "http://127.0.0.1:8000/  not running (start it with `coursewarehub up`)"
    assert courses[0].split() == ["alpha", "open", "hub", "stopped", "Course", "alpha"]
    assert courses[1].startswith("! courses.d/beta.yaml:3: ")


def test_sleeping_running_and_failed_hubs() -> None:
    def course(course_id: str, hub: dict[str, Any]) -> dict[str, Any]:
        return {"id": course_id, "state": "open", "title": course_id.title(), "hub": hub}

    shown = status.lines(
        {
            "ready": True,
            "url": "http://x/",
            "problems": ["a: b"],
            "courses": [
                course("a", {"state": "running", "pid": 7, "rss_bytes": 50 << 20, "reason": ""}),
                course("long-id", {"state": "failed", "pid": None, "rss_bytes": 0, "reason": "NameError: x"}),
            ],
        }
    )
    assert [line.split() for line in shown] == [
        ["http://x/", "ready"],
        ["a", "open", "hub", "running", "50", "MiB", "A"],
        ["long-id", "open", "hub", "failed", "Long-Id"],
        ["NameError:", "x"],
        ["!", "a:", "b"],
    ]
    assert shown[1].index("open") == shown[2].index("open")


# --- the engine --------------------------------------------------------------------------------


def engine(*nodes: dict[str, Any], on: bool = True, **more: Any) -> dict[str, Any]:
    isolation = {"on": on, "message": "" if on else "no agent runs"}
    since = "2026-11-25T10:00:00+00:00"
    told = {"kind": "swarm", "state": "answering", "since": since, "message": "", "isolation": isolation}
    return {**told, "nodes": list(nodes), **more}


def node(
    name: str, *lacks: str, servers: int = 0, state: str = "ready", availability: str = "active"
) -> dict[str, Any]:
    ready = state == "ready" and availability == "active" and not lacks
    told = {"name": name, "state": state, "availability": availability, "ready": ready}
    return {**told, "servers": servers, "lacks": list(lacks)}


def shown_with(told: dict[str, Any]) -> list[str]:
    return status.lines({"ready": True, "url": "http://x/", "courses": [], "engine": told, "problems": ["a: b"]})


def test_engine_and_its_nodes_for_people() -> None:
    storage = "the storage is not there, or it is not this site's"
    nodes = [
        node("n1", servers=4),
        node("worker-2", storage, "being checked for x:1", servers=1),
        node("n3", state="down"),
        node("n4", availability="drain"),
        node("n5", availability="pause"),
    ]
    assert shown_with(engine(*nodes, state="degraded", message=f"n3 is down; worker-2: {storage}")) == [
        "http://x/  ready",
        f"swarm engine  degraded since 2026-11-25T10:00:00+00:00: n3 is down; worker-2: {storage}",
        "  network rules between learners are in force",
        "  n1        ready      4 servers",
        "  worker-2  not ready  1 server",
        f"            {storage}",
        "            being checked for x:1",
        "  n3        down       0 servers",
        "  n4        drained    0 servers",
        "  n5        paused     0 servers",
        "! a: b",
    ]


def test_rules_that_are_not_in_force_are_told_with_why() -> None:
    shown = shown_with(engine(on=False))
    assert shown[1:3] == [
        "swarm engine  answering since 2026-11-25T10:00:00+00:00",
        "  network rules between learners are not in force: no agent runs",
    ]


def test_engine_that_has_never_answered_has_no_nodes() -> None:
    shown = shown_with(engine(state="checking", message="the engine has not been asked yet"))
    assert shown[1].endswith("checking since 2026-11-25T10:00:00+00:00: the engine has not been asked yet")
    assert shown[3:] == ["! a: b"]


def test_site_without_containers_says_nothing_of_an_engine(run: Run, root: Path) -> None:
    assert "engine" not in run("status").out


@pytest.mark.parametrize(
    ("text", "telling"),
    [("mode: [", "site.yaml:1: "), ("mood: x\n", "did you mean `mode`"), (None, "site.yaml: is missing")],
)
def test_broken_site_is_one_sentence(run: Run, root: Path, text: str | None, telling: str) -> None:
    if text is None:
        (root / "site.yaml").unlink()
    else:
        (root / "site.yaml").write_text(text)
    run("status").assert_refused(2, telling)
    run("status", "--json").assert_refused(2, telling)


def test_stale_socket_of_a_killed_site_means_not_running(run: Run, root: Path) -> None:
    import socket

    folder = root / "state" / "run"
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "site.socket"))
    assert run("status").code == 1
