"""What one server gets, by role and groups, in our words and in those of NII's CoursewareHub."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coursewarehub.model import Course, EffectiveResources, Role, resources_for
from coursewarehub.model.yaml_source import parse

GIB = 1024**3
MIB = 1024**2

# The example in NII's notebook 711 (parameters of CoursewareHub), word for word.
NII = """
groups:
    student:
        mem_limit: 1G
        cpu_limit: 1.0
        priority: 10
    teaching-assistant:
        mem_limit: 2G
        cpu_limit: 2.0
        mem_guarantee: 1G
        cpu_guarantee: 0.5
        priority: 1
admin:
    mem_limit: 5G
default:
    mem_limit: 1G
    cpu_limit: 2.0
    mem_guarantee: 1G
    cpu_guarantee: 0.5
"""


def course(resources: dict[str, Any]) -> Course:
    data = {"id": "demo", "title": "Demo", "resources": resources}
    return Course.model_validate_json(json.dumps(data), strict=True)


def shown(found: EffectiveResources) -> tuple[float, float, float, float]:
    """Memory limit and guarantee in GiB, processor limit and guarantee."""
    return found.memory / GIB, found.memory_guarantee / GIB, found.cpu, found.cpu_guarantee


@pytest.mark.parametrize(
    ("role", "groups", "expected"),
    [
        (Role.STUDENT, [], (1, 0, 1, 0)),
        (Role.STUDENT, ["student"], (1, 0, 1, 0)),
        (Role.STUDENT, ["teaching-assistant"], (2, 1, 2, 0.5)),
        (Role.STUDENT, ["teaching-assistant", "unknown"], (2, 1, 2, 0.5)),
        (Role.ASSISTANT, [], (1, 1, 2, 0.5)),
        (Role.ASSISTANT, ["student"], (1, 0, 1, 0)),
        (Role.OBSERVER, [], (1, 1, 2, 0.5)),
        (None, [], (1, 1, 2, 0.5)),
        (None, ["teaching-assistant"], (2, 1, 2, 0.5)),
        (Role.INSTRUCTOR, [], (5, 0, 2, 0)),
        (Role.OWNER, ["student", "teaching-assistant"], (5, 0, 2, 0)),
    ],
)
def test_the_published_example(role: Role | None, groups: list[str], expected: tuple[float, ...]) -> None:
    resources = parse(NII, "resource.yaml").data
    assert shown(resources_for(course(resources), role, groups)) == expected


@pytest.mark.parametrize(
    ("resources", "role", "expected"),
    [
        ({}, Role.STUDENT, (2, 0, 2, 0)),
        ({"memory": "4G", "memory_guarantee": "1G", "cpu": 1.5, "cpu_guarantee": 0.25}, None, (4, 1, 1.5, 0.25)),
        ({"memory_guarantee": GIB}, Role.STUDENT, (2, 1, 2, 0)),
        # What a group leaves out is the course's, and a guarantee never above the group's own limit.
        ({"memory_guarantee": "1G", "groups": {"student": {"cpu_limit": 1}}}, Role.STUDENT, (2, 1, 1, 0)),
        ({"memory_guarantee": "1G", "groups": {"student": {"mem_limit": "512M"}}}, Role.STUDENT, (0.5, 0.5, 2, 0)),
        ({"memory_guarantee": "1G", "groups": {"student": {"mem_guarantee": 0}}}, Role.STUDENT, (2, 0, 2, 0)),
        ({"cpu_guarantee": 1.0, "default": {"cpu_limit": 0.5}}, Role.STUDENT, (2, 0, 0.5, 0.5)),
        # Without `admin`, owners are like anybody else.
        ({"groups": {"owner": {"mem_limit": "3G"}}, "default": {"mem_limit": "1G"}}, Role.OWNER, (3, 0, 2, 0)),
        ({"default": {"mem_limit": "1G"}}, Role.OWNER, (1, 0, 2, 0)),
        # Sizes as numbers, as JupyterHub takes them.
        ({"default": {"mem_limit": 2 * GIB, "mem_guarantee": GIB}}, Role.STUDENT, (2, 1, 2, 0)),
    ],
)
def test_what_follows(resources: dict[str, Any], role: Role | None, expected: tuple[float, ...]) -> None:
    assert shown(resources_for(course(resources), role, [])) == expected


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_the_smallest_number_wins_in_any_order(order: tuple[str, str]) -> None:
    limits = {"a": {"mem_limit": "1G", "priority": -1}, "b": {"mem_limit": "3G", "priority": 0}}
    found = resources_for(course({"groups": {name: limits[name] for name in order}}), None, ["b", "a"])
    assert found.memory == GIB


def test_what_is_the_same_for_everybody() -> None:
    given = {
        "processes": 100,
        "open_files": 300,
        "shared_memory": "128M",
        "temporary": "1G",
        "disk": "5G",
        "gpus": 1,
        "ulimits": {"memlock": -1},
        "admin": {"mem_limit": "4G"},
    }
    expected = EffectiveResources(
        memory=4 * GIB,
        memory_guarantee=0,
        cpu=2.0,
        cpu_guarantee=0.0,
        processes=100,
        open_files=300,
        shared_memory=128 * MIB,
        temporary=GIB,
        disk=5 * GIB,
        gpus=1,
        ulimits={"memlock": -1},
    )
    assert resources_for(course(given), Role.OWNER, []) == expected
    assert resources_for(course({}), Role.OWNER, []).disk is None
