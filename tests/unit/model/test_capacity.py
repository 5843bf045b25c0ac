"""What so many students need, computed from course files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coursewarehub.model import Course, Site
from coursewarehub.model.capacity import CapacityPlan, NodeSize, in_words, plan_capacity

GIB = 1024**3
SWARM = {"kind": "swarm", "storage": "/srv/courseware"}

# NII's published design for 400 students at once: guaranteed 1 GB and 0.5 cores, at most 2 GB and 2 cores; 5 worker
# nodes with 140 cores and 480 GB in all, of which 80 GB are for the system.
NII_RESOURCES = {"default": {"mem_guarantee": "1G", "mem_limit": "2G", "cpu_guarantee": 0.5, "cpu_limit": 2.0}}
NODE = NodeSize(16 * GIB, 8)
NII_NODE = NodeSize(96 * GIB, 28)


def course(name: str = "demo", **settings: Any) -> Course:
    return Course.model_validate_json(json.dumps({"id": name, "title": "Demo", **settings}), strict=True)


def site(spawner: dict[str, Any]) -> Site:
    return Site.model_validate_json(json.dumps({"spawner": spawner}), strict=True)


def plan(
    resources: dict[str, Any],
    students: int,
    node: NodeSize = NODE,
    nodes: int | None = None,
    spawner: dict[str, Any] = SWARM,
) -> CapacityPlan:
    return plan_capacity(site(spawner), [course(resources=resources)], {"demo": students}, node, nodes)


def test_the_published_example() -> None:
    found = plan(NII_RESOURCES, 400, NII_NODE, nodes=5)
    assert (found.server_count, found.memory, found.cores) == (400, 400 * GIB, 200)
    assert 5 * (NII_NODE.memory - NII_NODE.for_servers) == 80 * GIB
    assert (found.nodes_for_memory, found.nodes_for_cores, found.nodes) == (5, 8, 8)
    assert found.problems == (
        "The CPU guarantee does not fit: 400 servers with 0.5 cores each need 200 cores, and 5 nodes have 140, enough "
        "for 280 servers; take 8 nodes or lower `cpu_guarantee` to 0.35.",
    )
    assert found.courses[0].addresses == 400
    assert found.courses[0].addresses_available == 2042


def test_the_published_example_without_its_cpu_guarantee_fits() -> None:
    resources = {"default": {**NII_RESOURCES["default"], "cpu_guarantee": 0.35}}
    found = plan(resources, 400, NII_NODE, nodes=5)
    assert (found.nodes, found.problems) == (5, ())


def test_on_eight_of_its_nodes_all_of_it_fits() -> None:
    assert plan(NII_RESOURCES, 400, NII_NODE, nodes=8).problems == ()
    assert len(plan(NII_RESOURCES, 449, NII_NODE, nodes=8).problems) == 1


@pytest.mark.parametrize(
    ("resources", "students", "nodes"),
    [
        # 13 1/3 GiB of 16 are for servers.
        ({"memory_guarantee": "1G"}, 13, (1, 1, 1)),
        ({"memory_guarantee": "1G"}, 14, (2, 2, 1)),
        ({"memory_guarantee": "1G", "cpu_guarantee": 0.5}, 26, (2, 2, 2)),
        ({"memory_guarantee": "256M", "cpu_guarantee": 1.0}, 40, (5, 1, 5)),
        # Without a guarantee a server counts with its limit of memory, and with no processors.
        ({}, 6, (1, 1, 1)),
        ({}, 7, (2, 2, 1)),
        # Tenths are exact.
        ({"memory_guarantee": "64M", "cpu_guarantee": 0.1}, 80, (1, 1, 1)),
        ({"memory_guarantee": "64M", "cpu_guarantee": 0.1}, 81, (2, 1, 2)),
    ],
)
def test_nodes(resources: dict[str, Any], students: int, nodes: tuple[int, int, int]) -> None:
    found = plan(resources, students)
    assert (found.nodes, found.nodes_for_memory, found.nodes_for_cores) == nodes
    assert found.problems == ()


def test_a_small_server_goes_where_a_large_one_leaves_room() -> None:
    large = course("large", resources={"memory": "10G", "memory_guarantee": "10G"})
    small = course("small", resources={"memory_guarantee": "3G", "memory": "3G"})
    found = plan_capacity(site(SWARM), [small, large], {"large": 2, "small": 2}, NodeSize(16 * GIB, 8))
    assert found.nodes == 2
    assert found.memory == 26 * GIB


def test_staff_count_with_what_they_get() -> None:
    members = {"owners": ["a"], "instructors": ["b"], "assistants": ["c"], "students": ["d"], "observers": ["e"]}
    resources = {"memory_guarantee": "1G", "admin": {"mem_limit": "4G", "mem_guarantee": "4G"}}
    found = plan_capacity(
        site(SWARM), [course(members=members, resources=resources)], {"demo": 10}, NodeSize(64 * GIB, 8)
    )
    (needs,) = found.courses
    assert (needs.students, needs.staff, needs.server_count, needs.memory) == (10, 3, 13, (10 + 1 + 4 + 4) * GIB)


def test_the_limit_of_a_course_counts() -> None:
    limited = course(limits={"servers": 30}, members={"owners": ["a"]})
    found = plan_capacity(site(SWARM), [limited], {"demo": 100}, NodeSize(64 * GIB, 8))
    assert found.courses[0].server_count == 30
    assert found.problems == ("`limits.servers` of demo allows 30 servers, so 71 of 101 people cannot start one.",)


def test_archived_courses_and_those_that_are_not_asked_for_need_nothing() -> None:
    courses = [course("one"), course("two", state="archived"), course("three")]
    found = plan_capacity(site(SWARM), courses, {"one": 1, "two": 1}, NodeSize(64 * GIB, 8))
    assert [needs.course for needs in found.courses] == ["one"]


@pytest.mark.parametrize(
    ("spawner", "available", "problems"),
    [
        ({"kind": "local"}, None, 1),
        ({"kind": "docker"}, 2047, 1),
        (SWARM, 2047 - 8, 0),
        ({**SWARM, "course_network": 26}, 31 - 8, 1),
    ],
)
def test_addresses(spawner: dict[str, Any], available: int | None, problems: int) -> None:
    found = plan({"memory_guarantee": "1G"}, 100, spawner=spawner)
    assert found.nodes == 8
    assert found.courses[0].addresses_available == available
    assert len(found.problems) == problems


def test_a_full_network_is_a_sentence() -> None:
    (problem,) = plan({"memory_guarantee": "1G"}, 100, spawner={**SWARM, "course_network": 26}).problems
    assert problem == (
        "The network of demo has addresses for 23 servers, not for 100: lower `course_network` in `spawner` of "
        "site.yaml."
    )


def test_too_many_courses_for_the_pool_are_a_sentence() -> None:
    pool = {**SWARM, "addresses": "10.9.0.0/27", "course_network": 28}
    courses = [course(name) for name in ("one", "two", "three")]
    found = plan_capacity(site(pool), courses, dict.fromkeys(("one", "two", "three"), 1), NodeSize(64 * GIB, 8))
    assert found.problems == ("`spawner.addresses` has room for the networks of 2 courses, not of 3.",)


@pytest.mark.parametrize(
    ("resources", "telling"),
    [
        ({"memory": "14G"}, "One server needs 14G of memory, and a node with 16G has 13.3G for servers."),
        ({"cpu": 16, "cpu_guarantee": 12}, "One server needs 12 cores, and a node has 8."),
    ],
)
def test_a_server_that_fits_no_node(resources: dict[str, Any], telling: str) -> None:
    found = plan(resources, 1)
    assert (found.nodes, found.problems) == (None, (telling,))


@pytest.mark.parametrize(
    ("resources", "nodes", "telling"),
    [
        (
            {"memory_guarantee": "1G"},
            2,
            "The memory does not fit: 40 servers need 40G, and 2 nodes with 16G have 26.7G for servers; take 4 nodes",
        ),
        ({"memory_guarantee": "1G"}, 1, "and 1 node with 16G has 13.3G for servers"),
        (
            {"memory_guarantee": "128M", "cpu_guarantee": 1},
            1,
            "40 servers with 1 core each need 40 cores, and 1 node has 8, enough for 8 servers; take 5 nodes",
        ),
    ],
)
def test_too_few_nodes(resources: dict[str, Any], nodes: int, telling: str) -> None:
    (problem,) = plan(resources, 40, nodes=nodes).problems
    assert telling in problem


def test_memory_and_processors_together() -> None:
    memory = course("memory", resources={"memory": "13G", "memory_guarantee": "13G", "cpu_guarantee": 1.0})
    cores = course("cores", resources={"memory_guarantee": "1G", "cpu": 8, "cpu_guarantee": 7.5})
    found = plan_capacity(site(SWARM), [memory, cores], {"memory": 2, "cores": 2}, NodeSize(16 * GIB, 8), nodes=3)
    assert (found.nodes_for_memory, found.nodes_for_cores, found.nodes) == (3, 3, 4)
    assert found.problems == ("Memory and processors together do not fit on 3 nodes; take 4 nodes.",)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (GIB, "1G"),
        (400 * GIB, "400G"),
        (16 * GIB - 16 * GIB // 6, "13.3G"),
        (2048 * GIB, "2T"),
        (1500 * GIB + 1, "1500G"),
    ],
)
def test_sizes_in_words(size: int, words: str) -> None:
    assert in_words(size) == words
