from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from coursewarehub.cli import main


class Outcome(NamedTuple):
    """What a command did: its exit code and what it printed."""

    code: int
    out: str
    err: str

    def assert_refused(self, code: int, telling: str) -> None:
        """One sentence on standard error, and nothing a user need not see."""
        assert self.code == code, self
        assert len(self.err.splitlines()) == 1 and telling in self.err, self.err
        assert "Traceback" not in self.err and "coursewarehub/" not in self.err, self.err


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A site folder with one course, which nobody runs."""
    folder = tmp_path / "site"
    (folder / "courses.d").mkdir(parents=True)
    (folder / "content").mkdir()
    write_course(folder, "alpha")
    write_site(folder)
    return folder


def write_site(folder: Path, **settings: Any) -> None:
    (folder / "site.yaml").write_text(json.dumps({"mode": "development", **settings}))


def write_course(folder: Path, course_id: str, **settings: Any) -> None:
    values = {"id": course_id, "title": f"Course {course_id}", "state": "open", **settings}
    (folder / "courses.d" / f"{course_id}.yaml").write_text(json.dumps(values))


@pytest.fixture
def run(root: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    def command(*arguments: str) -> Outcome:
        code = main([*arguments, "--site", str(root)])
        return Outcome(code, *capsys.readouterr())

    return command
