"""Addresses: which network a course gets, and how many servers fit into it.

Every course has one network, the one with its number in the site's pool. Its lower half is for what has a fixed
address there (gateway, site), its upper half for learners' servers, so that the two never meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from coursewarehub.model.names import object_name
from coursewarehub.model.spawner import ContainerSpawner

_SMALLEST = 28
_SITE = 10


@dataclass(frozen=True)
class CourseNetwork:
    """The network of one course: addresses as text, `range` the part for learners' servers."""

    name: str
    subnet: str
    range: str
    gateway: str
    site_address: str


def course_network(site_id: str, course_id: str, spawner: ContainerSpawner, index: int) -> CourseNetwork:
    """Return the network of the course with the number `index` (from 0). Raises ValueError when the pool has no such.

    The site answers at the gateway on one Docker host, where that is the host itself, and at an address of its own
    on a swarm.
    """
    room = courses_that_fit(spawner)
    if not 0 <= index < room:
        raise ValueError(f"`spawner.addresses` {spawner.addresses} has room for {room} courses, not for {index + 1}")
    subnet = _subnet(spawner, index)
    lower, upper = subnet.subnets()
    gateway = lower.network_address + 1
    site = (
        gateway if spawner.kind == "docker" else lower.network_address + (2 if subnet.prefixlen >= _SMALLEST else _SITE)
    )
    name = object_name("courseware", f"{site_id}/{course_id}")
    return CourseNetwork(name, str(subnet), str(upper), str(gateway), str(site))


def courses_that_fit(spawner: ContainerSpawner) -> int:
    """Return how many courses can have a network of their own."""
    bits: int = spawner.course_network - spawner.addresses.prefixlen
    return int(2**bits)


def capacity(network: CourseNetwork, nodes: int) -> int:
    """Return how many learners' servers have an address at once, with servers on `nodes` nodes of a swarm.

    On one Docker host `nodes` is 0: a bridge needs no address per node. The last address is for broadcasts.
    """
    return max(0, IPv4Network(network.range).num_addresses - 1 - nodes)


def _subnet(spawner: ContainerSpawner, index: int) -> IPv4Network:
    size = 2 ** (32 - spawner.course_network)
    first = IPv4Address(int(spawner.addresses.network_address) + index * size)
    return IPv4Network((first, spawner.course_network))
