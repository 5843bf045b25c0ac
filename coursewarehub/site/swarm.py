"""A Docker Swarm, as the site needs it: its nodes made ready for the courses, itself in the courses' networks.

The site is a service of the swarm. A network that comes later is joined while it runs: the swarm brings a network to a
node for whoever is attached to it, so a short-lived helper is attached first, and then the site gets the address that
the network keeps for it, outside the part that the swarm gives out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from coursewarehub.engine import Conflict, Engine, EngineError, Gone, Refused
from coursewarehub.engine import networks as engine_networks
from coursewarehub.engine.observe import nodes_of, of_service
from coursewarehub.engine.states import Condition
from coursewarehub.model.names import object_name
from coursewarehub.model.networks import CourseNetwork
from coursewarehub.site.cluster import Seen, Server, Wanted
from coursewarehub.site.janitor import Owned, owned
from coursewarehub.site.readiness import (
    Found,
    changes,
    check_service,
    label_changes,
    markers,
    reports,
)
from coursewarehub.site.sides import Networks, server_of
from coursewarehub.wire import labels

log = logging.getLogger("coursewarehub.site.swarm")

_REMOVALS: Final = 8
_HELPER_SECONDS: Final = 60
_JOIN_SECONDS: Final = 30.0
_MARKER_MODE: Final = 0o755

_Object = Mapping[str, Any]


class Swarm:
    """Services of a swarm. `storage` is the folder that all nodes share; `constraints` are the site's placement.

    With `isolated`, only nodes on which the agent runs take learners' servers.
    """

    def __init__(
        self, engine: Engine, site_id: str, storage: Path, constraints: Iterable[str] = (), *, isolated: bool = True
    ) -> None:
        self._engine = engine
        self._site_id = site_id
        self._storage = storage
        self._constraints = tuple(constraints)
        self._isolated = isolated
        self._found = Found((), (), {}, frozenset() if isolated else None)
        self._services: list[_Object] = []
        self._networks = Networks(engine, site_id, swarm=True)
        self._line = asyncio.Semaphore(_REMOVALS)

    def isolation(self) -> str | None:
        """Why network rules between learners' containers are not in force everywhere; None when they are."""
        if self._found.agents is None:
            return "`spawner.isolation` is `accepted_off`: learners' containers are not kept apart"
        if not self._found.agents:
            return "no agent applies the network rules on the nodes: run `coursewarehub deploy swarm`"
        return None

    async def look(self, wanted: Wanted) -> Seen:
        """Look at the swarm, and which of its nodes are ready for the images in use. Raises EngineError."""
        mine = {"label": [f"{labels.SITE}={self._site_id}"]}
        nodes, services, tasks, networks = await asyncio.gather(
            self._engine.get("/nodes"),
            self._engine.get("/services", filters=mine),
            self._engine.get("/tasks", filters=mine),
            self._engine.get("/networks", filters=mine),
        )
        self._services = services
        self._found = Found(
            nodes=tuple(nodes),
            tasks=tuple(tasks),
            checks={_label(each, labels.IMAGE): each["ID"] for each in services if _kind(each) == labels.KIND_CHECK},
            agents=_ids(services, labels.KIND_AGENT) if self._isolated else None,
            earlier=self._found.running() if self._found.nodes else None,
        )
        servers = running_servers(services, tasks, nodes)
        return Seen(
            nodes=reports(self._found, wanted.images, Counter(node for node, _ in servers)),
            servers=tuple(server for _, server in servers),
            objects=tuple(map(owned, services)),
            networks=tuple(map(owned, networks)),
        )

    async def tend(self, wanted: Wanted, seen: Seen) -> list[str]:
        """Make what is missing; what is wrong, in sentences. Raises EngineError."""
        await asyncio.to_thread(mark, self._storage, self._site_id)
        troubles = await self._networks.ensure(wanted, seen)
        await self._check_nodes(wanted)
        await self._label_nodes(wanted)
        troubles += await self._join(wanted)
        return troubles

    async def end_server(self, server: Owned) -> None:
        """Remove the service of one server; its container has its time to stop. Raises EngineError."""
        async with self._line:
            with contextlib.suppress(Gone):
                await self._engine.delete(f"/services/{server.id}")

    async def remove_network(self, network: Owned) -> bool:
        """Leave and remove a course's network; False when it is still in use. Raises EngineError.

        The swarm takes a network away from a node when the last container that it attached there goes. It did not
        attach the site itself, so a helper goes last; otherwise this node would keep, under the name and with the
        addresses, what the swarm has forgotten and nobody could remove.
        """
        own = await self._own_container()
        if own is not None:
            with contextlib.suppress(Gone, Refused, Conflict):
                await self._engine.post(f"/networks/{network.name}/disconnect", {"Container": own["Id"], "Force": True})
            with contextlib.suppress(Gone, Refused, Conflict):
                async with self._helper(str(own["Image"]), network.name):
                    pass
        return await engine_networks.remove(self._engine, network.name)

    # -- nodes -------------------------------------------------------------------------------------------------

    async def _check_nodes(self, wanted: Wanted) -> None:
        """Have a check service for each image in use, and no other."""
        specs = [
            check_service(self._site_id, image, self._storage, self._constraints) for image in sorted(wanted.images)
        ]
        present = [service for service in self._services if _kind(service) == labels.KIND_CHECK]
        due = changes(specs, present)
        for service in due.remove:
            with contextlib.suppress(Gone):
                await self._engine.delete(f"/services/{service}")
        for spec in due.make:
            with contextlib.suppress(Conflict):
                await self._engine.post("/services/create", spec)

    async def _label_nodes(self, wanted: Wanted) -> None:
        """Have the nodes' labels say what they are ready for: an image that nobody uses any more is not checked.

        At the first look nothing is known yet, and what an earlier site process has found stands.
        """
        if self._found.earlier is None:
            return
        nodes = {node["ID"]: node for node in self._found.nodes}
        ready = {image: ids if image in wanted.images else () for image, ids in self._found.ready().items()}
        for node_id, due in label_changes(self._found.nodes, ready, self._site_id).items():
            node = nodes[node_id]
            spec = {**node["Spec"], "Labels": due}
            # Somebody else may have changed the node meanwhile: the next look makes up for it.
            with contextlib.suppress(Gone, Conflict, Refused):
                await self._engine.post(f"/nodes/{node_id}/update", spec, version=node["Version"]["Index"])

    # -- the site in the courses' networks ---------------------------------------------------------------------

    async def _join(self, wanted: Wanted) -> list[str]:
        """Be in every course's network, at the address that is the site's there."""
        own = await self._own_container()
        if own is None:
            return ["the site does not run on this swarm, so no server reaches it: run `coursewarehub deploy swarm`"]
        joined = addresses_of(own)
        troubles = []
        for network in wanted.networks.values():
            if joined.get(network.name) == network.site_address:
                continue
            try:
                await self._join_one(own, network, leave=network.name in joined)
            except (Refused, Conflict) as error:
                troubles.append(f"the site cannot join the network {network.name}: {error}")
            except Gone:
                continue  # made at the next look
        return troubles

    async def _own_container(self) -> _Object | None:
        """The container in which this process runs, None when it runs in none of the site's."""
        mine = {"label": [f"{labels.SITE}={self._site_id}", f"{labels.KIND}={labels.KIND_SITE}"]}
        host = socket.gethostname()
        for entry in await self._engine.get("/containers/json", filters=mine):
            if entry["Id"].startswith(host):
                found: _Object = await self._engine.get(f"/containers/{entry['Id']}/json")
                return found
        return None

    async def _join_one(self, own: _Object, network: CourseNetwork, *, leave: bool) -> None:
        if leave:
            await self._engine.post(f"/networks/{network.name}/disconnect", {"Container": own["Id"], "Force": True})
        async with self._helper(str(own["Image"]), network.name):
            await self._engine.post(
                f"/networks/{network.name}/connect",
                {
                    "Container": own["Id"],
                    "EndpointConfig": {"IPAMConfig": {"IPv4Address": network.site_address}},
                },
                timeout=_JOIN_SECONDS,
            )
        log.info("the site is in the network %s at %s", network.name, network.site_address)

    @contextlib.asynccontextmanager
    async def _helper(self, image: str, network: str) -> AsyncIterator[None]:
        """A container that holds a network on this node. Raises EngineError."""
        name = object_name("courseware-join", network)
        with contextlib.suppress(Gone):
            await self._engine.delete(f"/containers/{name}", force=True)
        made = await self._engine.post(
            "/containers/create",
            {
                "Image": image,
                "Entrypoint": ["sleep"],
                "Cmd": [str(_HELPER_SECONDS)],
                "Labels": {labels.SITE: self._site_id, labels.KIND: labels.KIND_CHECK},
                "Healthcheck": {"Test": ["NONE"]},
                "HostConfig": {
                    "NetworkMode": network,
                    "CapDrop": ["ALL"],
                    "ReadonlyRootfs": True,
                    "RestartPolicy": {"Name": "no"},
                },
            },
            name=name,
        )
        try:
            # One that cannot start brings no network; it waits for the swarm to give it an address.
            await self._engine.post(f"/containers/{made['Id']}/start", timeout=_JOIN_SECONDS)
            yield
        finally:
            with contextlib.suppress(EngineError):
                await self._engine.delete(f"/containers/{made['Id']}", force=True)


def mark(storage: Path, site_id: str) -> None:
    """Have the files by which a node knows the site's storage."""
    for file in markers(storage):
        if file.exists():
            continue
        try:
            file.parent.mkdir(parents=True, exist_ok=True, mode=_MARKER_MODE)
            file.write_text(f"{site_id}\n")
            file.chmod(0o644)
        except OSError as error:
            log.warning("the storage cannot be marked as the site's: %s", error)


def running_servers(
    services: Iterable[_Object], tasks: Iterable[_Object], nodes: Iterable[_Object]
) -> list[tuple[str, Server]]:
    """The learners' servers that run, each with the id of its node."""
    known = nodes_of(list(nodes))
    by_service: dict[str, list[_Object]] = {}
    for task in tasks:
        by_service.setdefault(task.get("ServiceID", ""), []).append(task)
    now = datetime.now(UTC)
    found = []
    for service in services:
        if _kind(service) == labels.KIND_SERVER:
            seen = of_service(service, by_service.get(service["ID"], []), known, None, now)
            if seen.condition is Condition.RUNNING:
                found.append((seen.node_id, server_of(_labels(service), seen.node_name, seen.address)))
    return found


def addresses_of(container: _Object) -> dict[str, str]:
    """Addresses of a container by the names of its networks."""
    networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
    return {name: str(end.get("IPAddress") or "") for name, end in networks.items()}


def _labels(service: _Object) -> Mapping[str, str]:
    return service["Spec"].get("Labels") or {}


def _label(service: _Object, name: str) -> str:
    return _labels(service).get(name, "")


def _kind(service: _Object) -> str:
    return _label(service, labels.KIND)


def _ids(services: Iterable[_Object], kind: str) -> frozenset[str]:
    return frozenset(service["ID"] for service in services if _kind(service) == kind)
