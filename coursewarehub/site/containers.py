"""What the site does for spawners that run containers, put together: networks, engine, agent, notices."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any

from coursewarehub.engine import Engine
from coursewarehub.model import ConfigurationError, Course, Site
from coursewarehub.model.networks import CourseNetwork
from coursewarehub.model.spawner import ContainerSpawner, SwarmSpawner
from coursewarehub.model.yaml_source import Source
from coursewarehub.site.agent import Agent, command, obstacle
from coursewarehub.site.cluster import Cluster, Side, Wanted
from coursewarehub.site.notices import Target, notice_of, show
from coursewarehub.site.one_host import OneHost
from coursewarehub.site.swarm import Swarm
from coursewarehub.state.folders import SiteFolders
from coursewarehub.state.identity import site_id
from coursewarehub.state.networks import NetworkBook, PoolExhausted
from coursewarehub.state.secrets import generated_once
from coursewarehub.wire.control import NodeNotice


class Containers:
    """The engine's part of a running site. `served` are the courses that have a hub, by id.

    `kept` are the ids of those of which nothing is removed.
    """

    def __init__(
        self,
        site: Site,
        source: Source,
        folders: SiteFolders,
        served: Callable[[], Mapping[str, Course]],
        kept: Callable[[], frozenset[str]],
    ) -> None:
        """Prepare everything; nothing is asked of the engine yet.

        Raises ConfigurationError when learners' containers could not be kept apart although they must be.
        """
        spawner = site.spawner
        assert isinstance(spawner, ContainerSpawner)
        self._spawner = spawner
        self._folders = folders
        self._served = served
        self._kept = kept
        self._numbers = NetworkBook(folders.networks)
        self._site_id = site_id(folders)
        self._engine = Engine(spawner.engine)
        self._agent: Agent | None = None
        required = spawner.isolation == "required"
        side = self._swarm(spawner, required) if isinstance(spawner, SwarmSpawner) else self._one_host(source, required)
        self.cluster = Cluster(
            spawner.kind, side, self._wanted, self._occupied, folders.engine_state, isolated=required
        )

    def _swarm(self, spawner: SwarmSpawner, required: bool) -> Side:
        storage = spawner.storage_folder(self._folders.root)
        return Swarm(self._engine, self._site_id, storage, spawner.placement.constraints, isolated=required)

    def _one_host(self, source: Source, required: bool) -> Side:
        trouble = obstacle(self._spawner, os.geteuid())
        if trouble is not None and required:
            message = f"learners' containers cannot be kept apart: {trouble}"
            hint = "or accept it with `isolation: accepted_off` in `spawner`"
            raise ConfigurationError([source.problem(("spawner", "kind"), message, hint)])
        if trouble is None:
            agent = self._agent = Agent(command(self._spawner, self._folders), self._folders)
            return OneHost(self._engine, self._site_id, agent.trouble, required=required)
        return OneHost(self._engine, self._site_id, lambda: trouble, required=required)

    # -- what the site asks ------------------------------------------------------------------------------------

    def network(self, course_id: str) -> CourseNetwork:
        """The network of a course. Raises PoolExhausted."""
        return self._numbers.network(self._site_id, course_id, self._spawner)

    def works(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on for as long as the site runs."""
        return [self.cluster.keep(), *([self._agent.keep()] if self._agent else [])]

    async def settle(self, seconds: float) -> None:
        """Wait, for so many seconds at most, until the engine has what the courses need."""
        await self.cluster.settle(seconds)

    async def stop(self) -> None:
        """End what is the site's own; learners' containers go on, and the next site takes them over."""
        if self._agent is not None:
            await self._agent.stop()
        self._engine.close()

    def agent_pid(self) -> int | None:
        """Pid of the agent of one Docker host."""
        return self._agent.record.pid if self._agent and self._agent.record else None

    async def notify(self, order: NodeNotice) -> int:
        """Show a notice in the servers on a node; how many showed it."""
        servers = await self.cluster.servers_on(order.node)
        targets = [
            Target(each.address, each.port, each.course, each.user, each.server, self._token(each.course))
            for each in servers
            if each.course in self._served()
        ]
        return await show(notice_of(order), targets)

    def _token(self, course_id: str) -> Any:
        return generated_once(self._folders.course_secrets(course_id) / "service-token")

    # -- what the cluster asks ---------------------------------------------------------------------------------

    def _wanted(self) -> Wanted:
        served = self._served()
        networks = {}
        for course_id in served:
            if self._numbers.get(course_id) is not None:
                with contextlib.suppress(PoolExhausted):  # the site tells of it as a problem of the course
                    networks[course_id] = self.network(course_id)
        images = frozenset(image for course in served.values() for image in course.images_with(self._spawner.image))
        return Wanted(networks, images, self._kept())

    def _occupied(self, courses: Collection[str]) -> None:
        self._numbers.forget(self._numbers.known() - frozenset(courses))
