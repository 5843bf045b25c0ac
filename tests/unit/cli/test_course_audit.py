"""`course audit`: what happened, in words and for programs, without a running hub."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from coursewarehub.cli.course_audit import moment
from coursewarehub.cli.errors import CommandError
from coursewarehub.state.audit import AuditBook, Entry

Run = Callable[..., Any]
NOW = datetime.now(UTC)


def fill(root: Path) -> None:
    folder = root / "state/courses/alpha"
    folder.mkdir(parents=True)
    book = AuditBook(f"sqlite:///{folder}/hub.sqlite")
    old = NOW - timedelta(days=3)
    told = {"method": "ldap", "reason": "You are not a member of this course.", "address": "192.0.2.0/24", "count": 4}
    book.append(
        [
            Entry(old, "login", "succeeded", "sam", data={"method": "ldap", "role": "student"}),
            Entry(NOW, "login", "refused", "eve", failure=True, data=told),
            *(Entry(NOW, "server", "stop", f"p{n}", "ada", data={"by": "person"}) for n in range(1500)),
            Entry(NOW, "token", "created", "x\x1b[31m\u202e", "ada", data={"by": "person"}),
        ]
    )
    book.close()


def test_in_words_the_oldest_first(root: Path, run: Run) -> None:
    fill(root)
    done = run("course", "audit", "alpha")
    lines = done.out.splitlines()
    assert done.code == 0 and len(lines) == 1503
    assert lines[0].endswith("  sam signed in as student (ldap)")
    assert lines[1].endswith("  eve was refused: is not a member of the course (ldap, 192.0.2.0/24, 4 times)")
    assert lines[2].endswith("  ada had the notebook of p0 stopped")
    assert lines[-1].endswith("ada made an access token for x�[31m�")


def test_for_programs_and_since(root: Path, run: Run) -> None:
    fill(root)
    events = [json.loads(line) for line in run("course", "audit", "alpha", "--json", "--since", "1d").out.splitlines()]
    assert len(events) == 1502
    assert {key: events[0][key] for key in ("kind", "action", "person", "count")} == {
        "kind": "login",
        "action": "refused",
        "person": "eve",
        "count": 4,
    }
    assert datetime.fromisoformat(events[0]["time"]).tzinfo is not None


def test_before_any_hub_has_run(root: Path, run: Run) -> None:
    assert run("course", "audit", "alpha") == (0, "", "")
    assert not (root / "state/courses/alpha/hub.sqlite").exists()


def test_what_cannot_be_read_is_said(root: Path, run: Run) -> None:
    folder = root / "state/courses/alpha"
    folder.mkdir(parents=True)
    (folder / "hub.sqlite").write_bytes(b"x" * 5000)
    run("course", "audit", "alpha").assert_refused(1, "database of the course's hub cannot be read")
    run("course", "audit", "alpha", "--since", "yesterday").assert_refused(1, "--since must be a duration such as")
    run("course", "audit", "beta").assert_refused(1, "There is no course")


def test_moments() -> None:
    now = datetime(2026, 4, 10, 12, tzinfo=UTC)
    assert moment("7d", now) == now - timedelta(days=7)
    assert moment("2026-04-01", now) == datetime(2026, 4, 1, tzinfo=UTC)
    assert moment("never", now) < datetime(1970, 1, 1, tzinfo=UTC)
    for text in ("", "7", "-1d", "2026-04-31", "400d"):
        with pytest.raises(CommandError):
            moment(text, now)
