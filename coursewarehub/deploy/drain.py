"""Emptying a node with notice to those who work on it, and taking it back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from coursewarehub.deploy import nodes
from coursewarehub.deploy.nodes import ALIVE, Node, Server
from coursewarehub.engine import Conflict, Engine
from coursewarehub.wire import labels

_ATTEMPTS: Final = 5
_LOOK_EVERY: Final = 0.5  # seconds
_STOPS_AT_ONCE: Final = 8
_STOP_SECONDS: Final = 90
"""A server has 30 seconds to stop; the hub removes it afterwards."""
_EMPTY_SECONDS: Final = 120


class NotEmptied(Exception):
    """Something still runs on the node; the text is one sentence."""


@dataclass(frozen=True)
class Order:
    """What to do with a node, and how those who work there hear of it.

    `notify` tells the servers on a node that so many seconds are left and returns how many heard. `stop` asks the hub
    of a server to stop it and returns None, or why the hub could not be asked.
    """

    site_id: str
    seconds: int
    notify: Callable[[Node, int], Awaitable[int]]
    stop: Callable[[Server], Awaitable[str | None]]
    tell: Callable[[str], None]


async def all_nodes(engine: Engine) -> tuple[Node, ...]:
    """Return the nodes of the swarm. Raises EngineError."""
    return tuple(nodes.node_of(found) for found in await engine.get("/nodes"))


async def all_servers(engine: Engine, site_id: str) -> tuple[Server, ...]:
    """Return the learners' servers of the site that are not over. Raises EngineError."""
    services, tasks = await _ours(engine, site_id)
    return nodes.servers_of(services, tasks)


async def _ours(engine: Engine, site_id: str) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    services = await engine.get("/services", filters={"label": [f"{labels.SITE}={site_id}"]})
    tasks = await engine.get("/tasks") if services else []
    return services, tasks


async def set_availability(engine: Engine, node: Node, availability: str, *, draining: bool) -> None:
    """Change a node, also when the swarm changes it at the same time. Raises EngineError."""
    for attempt in range(_ATTEMPTS):
        current = nodes.node_of(await engine.get(f"/nodes/{node.id}"))
        if current.availability == availability and (current.labels.get(labels.DRAINING) == "true") is draining:
            return
        try:
            body = nodes.changed(current, availability, draining=draining)
            await engine.post(f"/nodes/{node.id}/update", body, version=current.version)
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return


async def drain(engine: Engine, node: Node, order: Order) -> None:
    """Empty a node: no new servers, notice, stop through the hubs, and, unless the site has to stay, everything else.

    Raises EngineError, and NotEmptied when something still runs there at the end.
    """
    if node.availability == "drain" and not await _on(engine, node, order.site_id):
        order.tell(f"{node.name} is drained already")
        return
    await set_availability(engine, node, "drain" if node.availability == "drain" else "pause", draining=True)
    order.tell(f"{node.name}: no new servers start there")
    await _give_notice(engine, node, order)
    await _stop_all(engine, node, order)
    if await _holds_site(engine, node, order.site_id):
        order.tell(f"{node.name} takes no servers; it keeps the site, whose folder is on no other node")
        return
    await set_availability(engine, node, "drain", draining=True)
    if node.state != "ready":
        order.tell(f"{node.name} is {node.state}; it is drained, and empty once it is back")
        return
    if not await _within(_EMPTY_SECONDS, lambda: _is_empty(engine, node, order.site_id)):
        raise NotEmptied(f"something of the site still runs on {node.name}; see `docker node ps {node.name}`")
    order.tell(f"{node.name} is drained: nothing of the site runs there")


async def resume(engine: Engine, node: Node, tell: Callable[[str], None]) -> None:
    """Take a node back. Raises EngineError."""
    if node.takes_servers:
        tell(f"{node.name} takes servers already")
        return
    await set_availability(engine, node, "active", draining=False)
    tell(f"{node.name} takes servers again, as soon as the site finds it ready")


async def _give_notice(engine: Engine, node: Node, order: Order) -> None:
    """Tell those on the node, and wait; not longer than somebody is there."""
    running = await _servers(engine, node, order.site_id)
    if not running or not order.seconds:
        return
    heard = await order.notify(node, order.seconds)
    order.tell(f"{node.name}: {heard} of {len(running)} servers show the notice; waiting {order.seconds} s")
    await _within(order.seconds, lambda: _no_server(engine, node, order.site_id))


async def _stop_all(engine: Engine, node: Node, order: Order) -> None:
    """Let the hubs stop what runs there; what they cannot stop ends with the node."""
    running = await _servers(engine, node, order.site_id)
    if not running:
        return
    order.tell(f"{node.name}: stopping {len(running)} server{'' if len(running) == 1 else 's'}")
    line = asyncio.Semaphore(_STOPS_AT_ONCE)

    async def stop(server: Server) -> str | None:
        async with line:
            return await order.stop(server)

    failed = {reason for reason in await asyncio.gather(*map(stop, running)) if reason is not None}
    for reason in sorted(failed):
        order.tell(f"! {reason}")
    if not failed and node.state == "ready":
        await _within(_STOP_SECONDS, lambda: _no_server(engine, node, order.site_id))


async def _servers(engine: Engine, node: Node, site_id: str) -> list[Server]:
    return [server for server in await all_servers(engine, site_id) if server.node == node.id]


async def _no_server(engine: Engine, node: Node, site_id: str) -> bool:
    return not await _servers(engine, node, site_id)


async def _on(engine: Engine, node: Node, site_id: str) -> list[Mapping[str, Any]]:
    """The tasks of the site on a node that are not over."""
    services, tasks = await _ours(engine, site_id)
    ours = {service["ID"] for service in services}
    return [
        task
        for task in tasks
        if task["ServiceID"] in ours and task.get("NodeID") == node.id and task["Status"]["State"] in ALIVE
    ]


async def _is_empty(engine: Engine, node: Node, site_id: str) -> bool:
    return not await _on(engine, node, site_id)


async def _holds_site(engine: Engine, node: Node, site_id: str) -> bool:
    """Whether the site runs on this node and on no other."""
    services, _ = await _ours(engine, site_id)
    return any(_is_bound(service["Spec"], node) for service in services)


def _is_bound(spec: Mapping[str, Any], node: Node) -> bool:
    constraints: Sequence[str] = (spec["TaskTemplate"].get("Placement") or {}).get("Constraints") or ()
    is_site = (spec.get("Labels") or {}).get(labels.KIND) == labels.KIND_SITE
    return is_site and f"node.id=={node.id}" in constraints


async def _within(seconds: float, done: Callable[[], Awaitable[bool]]) -> bool:
    """Wait until it is so, at most so long; whether it is."""
    try:
        async with asyncio.timeout(seconds):
            while not await done():
                await asyncio.sleep(_LOOK_EVERY)
    except TimeoutError:
        return False
    return True
