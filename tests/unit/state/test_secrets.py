"""Secrets are made once, the same for everybody who asks, and for the own account only."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from coursewarehub.model import ConfigurationError
from coursewarehub.state import secrets
from coursewarehub.state.secrets import generated_once


def test_made_once_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "secrets" / "courses" / "alpha" / "token"
    first = generated_once(file).get_secret_value()
    assert len(first) == 64 and int(first, 16) >= 0
    assert generated_once(file).get_secret_value() == first
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(file.parent.iterdir()) == [file], "nothing is left beside it"


def test_two_files_two_secrets(tmp_path: Path) -> None:
    values = {generated_once(tmp_path / name).get_secret_value() for name in "abc"}
    assert len(values) == 3


def test_secret_does_not_print_itself(tmp_path: Path) -> None:
    secret = generated_once(tmp_path / "a")
    assert secret.get_secret_value() not in f"{secret} {secret!r}"


def test_loser_of_a_race_takes_the_winners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"

    def somebody_was_faster(_source: Path, target: Path) -> None:
        target.write_text("winner")
        target.chmod(0o600)
        raise FileExistsError

    monkeypatch.setattr(secrets.os, "link", somebody_was_faster)
    assert generated_once(file).get_secret_value() == "winner"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.slow
def test_processes_that_ask_at_the_same_time_get_the_same(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom coursewarehub.state.secrets import generated_once\n"
        "print('here', flush=True)\nsys.stdin.readline()\nprint(generated_once(Path(sys.argv[1])).get_secret_value())"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "token")]
    racers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None and racer.stdout.readline() == "here\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    assert len({racer.communicate(timeout=20)[0] for racer in racers}) == 1


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o644, 0o660])
def test_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "token"
    value = generated_once(file).get_secret_value()
    file.chmod(mode)
    with pytest.raises(ConfigurationError, match=r"can be read by others \(run `chmod 600 ") as error:
        generated_once(file)
    assert value not in str(error.value) and len(str(error.value).splitlines()) == 1


def test_what_a_crash_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    """In a container the pid is the same at each start."""
    (tmp_path / f".token.{os.getpid()}").write_text("half")
    assert len(generated_once(tmp_path / "token").get_secret_value()) == 64
