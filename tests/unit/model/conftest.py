from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from coursewarehub.cli import main

SITE = "mode: development\n"
COURSE = "id: demo\ntitle: Demo\n"


class Outcome(NamedTuple):
    """What a command did: its exit code and what it printed."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class SiteFolder:
    """A site folder in a temporary place, and the command line pointed at it."""

    root: Path
    run: Callable[..., Outcome]

    def write(self, name: str, text: str | bytes, mode: int = 0o644) -> Path:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        file.chmod(mode)
        return file

    def assert_refused(self, place: str, telling: str) -> None:
        """`check` must end with 2 and exactly one line: the place, and a telling part."""
        outcome = self.run("check")
        assert outcome.code == 2, outcome
        lines = outcome.err.splitlines()
        assert len(lines) == 1, outcome.err
        assert lines[0].startswith(f"{place}: "), outcome.err
        assert telling in lines[0], outcome.err
        assert "Traceback" not in outcome.out + outcome.err
        assert "OK" not in outcome.out

    def assert_told(self, place: str, telling: str) -> None:
        """`check` must end with 2 and tell this of the place, beside others, and no secret (`hunter2`)."""
        outcome = self.run("check")
        assert outcome.code == 2 and "hunter2" not in outcome.err
        lines = [each for each in outcome.err.splitlines() if each.startswith(f"{place}: ")]
        assert any(telling in each for each in lines), outcome.err


@pytest.fixture
def site(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> SiteFolder:
    root = tmp_path / "site"
    root.mkdir()

    def run(*arguments: str) -> Outcome:
        code = main(["--site", str(root), *arguments])
        return Outcome(code, *capsys.readouterr())

    folder = SiteFolder(root, run)
    folder.write("site.yaml", SITE)
    folder.write("courses.d/demo.yaml", COURSE)
    return folder
