"""The file in which the agent says how it is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from coursewarehub.nodes.health import EVERY, Health, check


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "health.json"


@pytest.mark.parametrize(("containers", "words"), [(0, "0 containers"), (1, "1 container"), (3, "3 containers")])
def test_an_agent_that_is_well(file: Path, containers: int, words: str) -> None:
    Health(containers).write(file)
    assert check(file) == (True, f"rules are in force in {words}")
    assert list(file.parent.iterdir()) == [file], "nothing else is left there"


def test_containers_whose_rules_fail_are_named(file: Path) -> None:
    Health(3, ("ada", "bob")).write(file)
    assert check(file) == (False, "the rules of ada, bob cannot be applied; its log says why")


@pytest.mark.parametrize(("age", "well"), [(EVERY, True), (25, True), (40, False), (86400, False)])
def test_an_agent_that_is_silent(file: Path, age: float, well: bool) -> None:
    Health(0).write(file)
    then = time.time() - age
    os.utime(file, (then, then))
    found, said = check(file)
    assert found is well
    assert well or said.startswith(f"the agent has been silent for {age:.0f} s")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"containers": 1}', '{"containers": null, "failed": []}', '"x"']
)
def test_a_file_that_says_nothing_is_no_good_news(file: Path, text: str) -> None:
    file.write_text(text)
    found, said = check(file)
    assert not found and said.startswith(f"{file} cannot be read")


def test_no_file_is_no_good_news(file: Path) -> None:
    assert check(file) == (
        False,
        f"no agent has written {file}: it does not run, or its engine does not answer",
    )


def test_a_folder_that_is_missing_is_the_writers_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Health(0).write(tmp_path / "missing" / "health.json")
