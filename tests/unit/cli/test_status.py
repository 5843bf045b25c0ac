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
