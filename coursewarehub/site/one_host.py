"""The engine of one Docker host, as the site needs it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from coursewarehub.engine import Engine, Gone
from coursewarehub.engine import networks as engine_networks
from coursewarehub.engine.observe import of_entry
from coursewarehub.engine.states import Condition
from coursewarehub.site.cluster import Seen, Server, Wanted
from coursewarehub.site.janitor import Owned, owned
from coursewarehub.site.readiness import NodeReport
from coursewarehub.site.sides import Networks, server_of
from coursewarehub.wire import labels

_STOP_SECONDS: Final = 30
_REMOVALS: Final = 8


class OneHost:
    """Containers of one machine. `isolation` says why rules between them are not in force, None when they are."""

    def __init__(self, engine: Engine, site_id: str, isolation: Callable[[], str | None], *, required: bool) -> None:
        self._engine = engine
        self._site_id = site_id
        self._isolation = isolation
        self._required = required
        self._line = asyncio.Semaphore(_REMOVALS)
        self._networks = Networks(engine, site_id, swarm=False)

    def isolation(self) -> str | None:
        """Why network rules between learners' containers are not in force; None when they are."""
        return self._isolation()

    async def look(self, _wanted: Wanted) -> Seen:
        """Look at the engine. Raises EngineError."""
        mine = {"label": [f"{labels.SITE}={self._site_id}"]}
        info, entries, networks = await asyncio.gather(
            self._engine.info(),
            self._engine.get("/containers/json", all=True, filters=mine),
            self._engine.get("/networks", filters=mine),
        )
        name = str(info.get("Name") or "localhost")
        found = [_server(entry, name) for entry in entries]
        servers = tuple(server for server in found if server is not None)
        missing = self.isolation() if self._required else None
        lacks = () if missing is None else (missing,)
        node = NodeReport(str(info.get("ID", "")), name, "ready", "active", lacks, len(servers))
        return Seen((node,), servers, tuple(map(owned, entries)), tuple(map(owned, networks)))

    async def tend(self, wanted: Wanted, seen: Seen) -> list[str]:
        """Make the courses' networks; what is wrong, in sentences."""
        return await self._networks.ensure(wanted, seen)

    async def end_server(self, server: Owned) -> None:
        """Stop and remove one server. Raises EngineError."""
        async with self._line:
            with contextlib.suppress(Gone):
                await self._engine.post(f"/containers/{server.id}/stop", timeout=_STOP_SECONDS + 10, t=_STOP_SECONDS)
                await self._engine.delete(f"/containers/{server.id}", force=True)

    async def remove_network(self, network: Owned) -> bool:
        """Remove a course's network; False when it is still in use. Raises EngineError."""
        return await engine_networks.remove(self._engine, network.name)


def _server(entry: Mapping[str, Any], node: str) -> Server | None:
    """The running server that an entry of the list is; None for anything else."""
    own = entry.get("Labels") or {}
    seen = of_entry(entry, None, None, datetime.now(UTC))
    if own.get(labels.KIND) != labels.KIND_SERVER or seen.condition is not Condition.RUNNING:
        return None
    return server_of(own, node, seen.address)
