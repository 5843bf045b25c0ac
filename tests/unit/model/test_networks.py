"""Which network a course gets, and how many servers fit."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from coursewarehub.model.networks import CourseNetwork, capacity, course_network, courses_that_fit
from coursewarehub.model.spawner import ContainerSpawner, DockerSpawner, SwarmSpawner


def docker(**settings: Any) -> DockerSpawner:
    return DockerSpawner(kind="docker", **settings)


def swarm(**settings: Any) -> SwarmSpawner:
    return SwarmSpawner(kind="swarm", storage="/srv/courseware", **settings)


@pytest.mark.parametrize(
    ("spawner", "index", "expected"),
    [
        (docker(), 0, ("10.180.0.0/20", "10.180.8.0/21", "10.180.0.1", "10.180.0.1")),
        (docker(), 63, ("10.183.240.0/20", "10.183.248.0/21", "10.183.240.1", "10.183.240.1")),
        (swarm(), 1, ("10.180.16.0/20", "10.180.24.0/21", "10.180.16.1", "10.180.16.10")),
        (
            swarm(addresses="192.168.100.0/24", course_network=28),
            2,
            ("192.168.100.32/28", "192.168.100.40/29", "192.168.100.33", "192.168.100.34"),
        ),
        (
            docker(addresses="172.20.0.0/16", course_network=16),
            0,
            ("172.20.0.0/16", "172.20.128.0/17", "172.20.0.1", "172.20.0.1"),
        ),
    ],
)
def test_the_network_of_a_course(spawner: ContainerSpawner, index: int, expected: tuple[str, ...]) -> None:
    network = course_network("0123456789ab", "python-basics", spawner, index)
    assert (network.subnet, network.range, network.gateway, network.site_address) == expected


@pytest.mark.parametrize("spawner", [docker(), swarm(), swarm(course_network=28), docker(course_network=16)])
def test_networks_do_not_meet_and_fixed_addresses_are_no_learner_s(spawner: ContainerSpawner) -> None:
    room = courses_that_fit(spawner)
    numbers = sorted({0, 1, 2, room // 2, room - 2, room - 1} & set(range(room)))
    networks = [course_network("site", f"course-{index}", spawner, index) for index in numbers]
    subnets = [IPv4Network(network.subnet) for network in networks]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(subnets, 2))
    for network, subnet in zip(networks, subnets, strict=True):
        learners = IPv4Network(network.range)
        assert subnet.subnet_of(spawner.addresses)
        assert learners.subnet_of(subnet)
        for fixed in (network.gateway, network.site_address):
            assert IPv4Address(fixed) in subnet
            assert IPv4Address(fixed) not in learners
            assert IPv4Address(fixed) != subnet.network_address


def test_names_differ_by_site_and_course() -> None:
    names = {
        course_network(site, course, docker(), 0).name for site in ("a", "b", "a-b") for course in ("c", "b-c", "d")
    }
    assert len(names) == 9
    assert all(len(name) <= 63 and name.startswith("courseware-") for name in names)


@pytest.mark.parametrize("index", [-1, 64])
def test_there_is_no_network_beyond_the_pool(index: int) -> None:
    with pytest.raises(ValueError, match=r"`spawner.addresses` 10.180.0.0/14 has room for 64 courses"):
        course_network("site", "demo", docker(), index)


@pytest.mark.parametrize(
    ("spawner", "nodes", "expected"),
    [
        (docker(), 0, 2047),
        (swarm(), 3, 2044),
        # M7: of a whole /28 with three nodes ten services get an address; of its upper half four.
        (swarm(course_network=28), 3, 4),
        (swarm(course_network=28), 20, 0),
        (docker(course_network=28), 0, 7),
    ],
)
def test_how_many_servers_fit(spawner: ContainerSpawner, nodes: int, expected: int) -> None:
    assert capacity(course_network("site", "demo", spawner, 0), nodes) == expected


def test_a_network_is_a_value() -> None:
    expected = CourseNetwork(
        name=course_network("site", "demo", docker(), 0).name,
        subnet="10.180.0.0/20",
        range="10.180.8.0/21",
        gateway="10.180.0.1",
        site_address="10.180.0.1",
    )
    assert course_network("site", "demo", docker(), 0) == expected
