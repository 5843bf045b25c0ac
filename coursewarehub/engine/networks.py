"""The network of a course at the engine: made once, checked, removed, and how many addresses it has left.

On one Docker host it is a bridge on which containers do not see each other; on a swarm an overlay to which containers
can be attached.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, ip_network
from typing import TYPE_CHECKING, Any, Final

from coursewarehub.engine import states
from coursewarehub.engine.errors import Conflict, EngineError, Gone, Refused
from coursewarehub.wire import labels

if TYPE_CHECKING:
    from coursewarehub.engine.client import Engine
    from coursewarehub.model.networks import CourseNetwork

_BRIDGE: Final = {
    # Docker itself drops what goes from one container of the network to another.
    "com.docker.network.bridge.enable_icc": "false",
    # What goes out of the machine has the machine's address; what goes to the site keeps the container's.
    "com.docker.network.bridge.enable_ip_masquerade": "true",
    # A port that somebody publishes after all is seen on this machine only.
    "com.docker.network.bridge.host_binding_ipv4": "127.0.0.1",
}


class Clash(EngineError):
    """Another network has the name or the addresses."""


async def ensure(engine: Engine, network: CourseNetwork, *, swarm: bool, site_id: str, course_id: str) -> str:
    """Have the network of a course at the engine, and return its id.

    One that is ours, not in use and different (after a change of `spawner.addresses`) is made anew. Raises Clash with a
    sentence when a foreign network has the name or the addresses, or when a different one of ours is in use, and
    EngineError.
    """
    wanted = payload(network, swarm=swarm, site_id=site_id, course_id=course_id)
    found = await _find(engine, network.name)
    if found is None:
        return await _create(engine, network, wanted)
    if not is_ours(found, site_id):
        raise Clash(f"the engine has a network `{network.name}` that is not of this site: remove or rename it")
    if is_like(found, wanted):
        return str(found["Id"])
    try:
        await engine.delete(f"/networks/{found['Id']}")
    except Gone:
        pass
    except Refused as error:
        raise Clash(
            f"the course `{course_id}` has servers in its network with the former addresses "
            f"{_subnet_of(found)}: stop them, then it gets {network.subnet}"
        ) from error
    return await _create(engine, network, wanted)


async def remove(engine: Engine, name: str) -> bool:
    """Remove the network of a course; False when it is still in use. One that is not ours is left alone.

    Raises EngineError.
    """
    found = await _find(engine, name)
    if found is None or not is_ours(found):
        return True
    try:
        await engine.delete(f"/networks/{found['Id']}")
    except Gone:
        return True
    except (Refused, Conflict):
        return False
    return True


async def free_addresses(engine: Engine, network: CourseNetwork, *, swarm: bool) -> int:
    """How many more servers fit into the network now. Raises EngineError: Gone when there is no such network."""
    if not swarm:
        found = await engine.get(f"/networks/{network.name}")
        return _room(network, 0) - len(_addresses(found.get("Containers") or {}, network))
    nodes = await engine.get("/nodes")
    found = await engine.get(f"/networks/{network.name}")
    tasks = await engine.get("/tasks", filters={"desired-state": ["running", "ready"]})
    return _room(network, len(nodes)) - sum(_takes_an_address(task, found["Id"]) for task in tasks)


# --- pure --------------------------------------------------------------------------------------


def payload(network: CourseNetwork, *, swarm: bool, site_id: str, course_id: str) -> dict[str, Any]:
    """The body of `POST /networks/create`."""
    return {
        "Name": network.name,
        "CheckDuplicate": True,
        "Driver": "overlay" if swarm else "bridge",
        "Attachable": swarm,
        "Internal": False,
        "EnableIPv6": False,
        "IPAM": {
            "Driver": "default",
            "Config": [{"Subnet": network.subnet, "IPRange": network.range, "Gateway": network.gateway}],
        },
        "Options": {} if swarm else dict(_BRIDGE),
        "Labels": {labels.SITE: site_id, labels.COURSE: course_id, labels.KIND: labels.KIND_NETWORK},
    }


def is_ours(found: Mapping[str, Any], site_id: str | None = None) -> bool:
    """Whether a network is that of a course: of this site, or of any."""
    held = found.get("Labels") or {}
    named = held.get(labels.SITE)
    return held.get(labels.KIND) == labels.KIND_NETWORK and bool(named) and site_id in {None, named}


def is_like(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a network is what `payload` asks for; further options that the engine has added do not count."""
    same = ("Driver", "Attachable", "Internal", "EnableIPv6")
    return (
        all(found.get(key) == wanted[key] for key in same)
        and (found.get("IPAM") or {}).get("Config") == wanted["IPAM"]["Config"]
        and wanted["Options"].items() <= (found.get("Options") or {}).items()
    )


def overlapping(subnet: str, networks: Iterable[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Name and addresses of the first network of the engine that has some of `subnet`."""
    ours = IPv4Network(subnet)
    for network in networks:
        for config in (network.get("IPAM") or {}).get("Config") or []:
            theirs = ip_network(config.get("Subnet") or "::/128", strict=False)
            if isinstance(theirs, IPv4Network) and theirs.overlaps(ours):
                return str(network["Name"]), str(theirs)
    return None


def _room(network: CourseNetwork, nodes: int) -> int:
    from coursewarehub.model.networks import capacity

    return capacity(network, nodes)


def _addresses(containers: Mapping[str, Mapping[str, Any]], network: CourseNetwork) -> list[str]:
    """Addresses that containers have, out of the part for learners' servers."""
    held = IPv4Network(network.range)
    found = (container.get("IPv4Address", "").split("/")[0] for container in containers.values())
    return [address for address in found if address and ip_network(address).subnet_of(held)]  # type: ignore[arg-type]


def _takes_an_address(task: Mapping[str, Any], network_id: str) -> bool:
    """Whether a task has, or waits for, an address of the network."""
    wanted = [attachment.get("Target") for attachment in task.get("Spec", {}).get("Networks") or []]
    condition = states.of_task(task.get("Status", {}).get("State", ""), task.get("DesiredState", ""), None)
    return not condition.is_over and network_id in wanted


def _subnet_of(found: Mapping[str, Any]) -> str:
    config = (found.get("IPAM") or {}).get("Config") or [{}]
    return str(config[0].get("Subnet", "?"))


# --- the engine --------------------------------------------------------------------------------


async def _find(engine: Engine, name: str) -> Mapping[str, Any] | None:
    """The network of exactly this name; the engine would take the beginning of an id as well."""
    with contextlib.suppress(Gone):
        found: Mapping[str, Any] = await engine.get(f"/networks/{name}")
        return found if found["Name"] == name else None
    return None


async def _create(engine: Engine, network: CourseNetwork, wanted: Mapping[str, Any]) -> str:
    taken = overlapping(network.subnet, await engine.get("/networks"))
    if taken is not None:
        raise Clash(
            f"the addresses {network.subnet} that the course is to have are partly those of the engine's network "
            f"`{taken[0]}` ({taken[1]}): choose other `spawner.addresses` in site.yaml"
        )
    try:
        made = await engine.post("/networks/create", wanted)
    except Conflict:
        found = await _find(engine, network.name)
        if found is not None and is_like(found, wanted):
            return str(found["Id"])
        raise
    return str(made["Id"])
