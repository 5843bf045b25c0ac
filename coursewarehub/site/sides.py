"""What one Docker host and a swarm have in common, seen from the site: servers by their labels, courses' networks."""

from __future__ import annotations

from collections.abc import Mapping

from coursewarehub.engine import Engine
from coursewarehub.engine import networks as engine_networks
from coursewarehub.engine.networks import Clash
from coursewarehub.model.networks import CourseNetwork
from coursewarehub.site.cluster import Seen, Server, Wanted
from coursewarehub.wire import labels
from coursewarehub.wire.policy import NetworkPolicy


def server_of(own: Mapping[str, str], node: str, address: str) -> Server:
    """The learner's server that has these labels, on a node, at an address of its course's network."""
    try:
        port = NetworkPolicy.decode(own.get(labels.POLICY, "")).server_port
    except ValueError:
        port = NetworkPolicy.server_port
    return Server(
        course=own.get(labels.COURSE, ""),
        user=own.get(labels.USER, ""),
        server=own.get(labels.SERVER, ""),
        node=node,
        address=address,
        port=port,
    )


class Networks:
    """Has the networks of the courses at the engine; one that stands as it is wanted is not asked for again."""

    def __init__(self, engine: Engine, site_id: str, *, swarm: bool) -> None:
        self._engine = engine
        self._site_id = site_id
        self._swarm = swarm
        self._made: dict[str, CourseNetwork] = {}

    async def ensure(self, wanted: Wanted, seen: Seen) -> list[str]:
        """Make what is missing or different; what cannot be made, in sentences. Raises EngineError."""
        troubles = []
        there = {network.name for network in seen.networks}
        for course_id, network in wanted.networks.items():
            if self._made.get(course_id) == network and network.name in there:
                continue
            try:
                await engine_networks.ensure(
                    self._engine, network, swarm=self._swarm, site_id=self._site_id, course_id=course_id
                )
                self._made[course_id] = network
            except Clash as error:
                troubles.append(str(error))
        return troubles
