"""The reference page of the spawners names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from coursewarehub.wire import labels
from coursewarespawner import messages
from coursewarespawner.defaults import NOT_TAKEN
from coursewarespawner.docker import CoursewareDockerSpawner
from coursewarespawner.plan import MATERIAL, SHARED, STUDENTS
from coursewarespawner.planned import PlannedSpawner
from coursewarespawner.swarm import CoursewareSwarmSpawner

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = (DOCS / "reference/spawners.md").read_text(encoding="utf-8")
EXPLANATION = (DOCS / "explanation/containers.md").read_text(encoding="utf-8")


def rows(first: str) -> dict[str, list[str]]:
    """The rows of a table by their first cell, without backquotes."""
    lines = REFERENCE.split(f"| {first} |", 1)[1].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in _until_blank(lines)]
    return {row[0].strip("`"): row[1:] for row in cells}


def _until_blank(lines: list[str]) -> list[str]:
    return lines[: lines.index("")] if "" in lines else lines


def own_settings() -> dict[str, object]:
    base = set(PlannedSpawner.__mro__[1].class_trait_names())
    return {
        name: trait.default() for name, trait in PlannedSpawner.class_traits(config=True).items() if name not in base
    }


def test_every_setting_is_there() -> None:
    assert set(rows("Setting")) == set(own_settings())


@pytest.mark.parametrize("name", ["engine_url", "site_id", "course_id", "start_limit", "ready_limit", "patience"])
def test_defaults_are_what_they_are(name: str) -> None:
    told = rows("Setting")[name][0].strip("`")
    default = own_settings()[name]
    assert told == (f"{default:g}" if isinstance(default, float) else str(default))


def test_what_is_refused_is_named() -> None:
    refused = REFERENCE.split("Refused, because", 1)[1].split(". A start", 1)[0]
    assert tuple(re.findall(r"`(\w+)`", refused)) == NOT_TAKEN


def test_labels_are_the_ones_of_wire() -> None:
    of_servers = {"SITE", "COURSE", "USER", "SERVER", "KIND", "IMAGE", "POLICY", "SPAWN"}
    assert set(rows("Label")) == {getattr(labels, name) for name in of_servers}


def test_classes_are_where_they_are_said_to_be() -> None:
    told = rows("Name")
    for name, spawner in (("courseware-docker", CoursewareDockerSpawner), ("courseware-swarm", CoursewareSwarmSpawner)):
        assert told[name][0].strip("`") == f"{spawner.__module__}.{spawner.__name__}"


def test_values_of_events_are_all_there() -> None:
    shown = (messages.IN_LINE, messages.NEXT_IN_LINE, messages.PULLING, messages.PREPARING_ON, messages.FENCED)
    assert {name for template in shown for name in re.findall(r"%\((\w+)\)s", template)} == set(rows("Value"))


def test_folders_of_a_container_are_where_they_are_said_to_be() -> None:
    for folder in (SHARED, STUDENTS, MATERIAL):
        assert f"| `{folder}` |" in EXPLANATION
