"""What `coursewarehub doctor` finds of the Docker Engine, or of the swarm, that runs learners' containers.

Asking is in `_ask`; everything else decides over what was answered.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from coursewarehub.cli import doctor_host
from coursewarehub.cli.doctor import Finding, Level
from coursewarehub.engine import Cause, Engine, EngineError, Gone, Refused, Unreachable, networks
from coursewarehub.engine.client import OLDEST_API, parse_api
from coursewarehub.model.spawner import ContainerSpawner
from coursewarehub.wire import labels

if TYPE_CHECKING:
    from coursewarehub.model import LoadedSite

_Object = Mapping[str, Any]

_TIMEOUT: Final = 5.0
_SERVICE_PRIVILEGES: Final = (1, 44)
"""The first API that can forbid new privileges in a service."""
_OWN_POOLS: Final = 256
"""How many of the first networks of its default pool an engine may soon give to somebody."""
_LIMITS: Final = {
    "MemoryLimit": "the memory",
    "CpuCfsQuota": "the processor time",
    "PidsLimit": "the number of processes",
}


@dataclass(frozen=True)
class Told:
    """What the engine answered. `images` says of each image of a course whether it is there, where that was asked."""

    version: _Object = field(default_factory=dict)
    info: _Object = field(default_factory=dict)
    networks: Sequence[_Object] = ()
    nodes: Sequence[_Object] | Unreachable = ()
    images: Mapping[str, bool] = field(default_factory=dict)


def findings(loaded: LoadedSite, site_id: str, status: Mapping[str, Any] | None) -> Iterator[Finding]:
    """Everything worth telling of the engine; nothing when servers are local processes.

    `status` is what the running site says of itself, None when it does not run.
    """
    spawner = loaded.site.spawner
    if not isinstance(spawner, ContainerSpawner):
        return
    images = images_of(loaded, spawner)
    told = asyncio.run(_ask(spawner, images))
    if isinstance(told, EngineError):
        yield unreachable(told, spawner.engine, installed=shutil.which("dockerd") is not None)
    else:
        yield from of_engine(told, spawner)
        yield from of_addresses(told, spawner, Path("/proc/net/route").read_text())
        if spawner.kind == "swarm":
            yield from of_swarm(told, site_id, images, status)
        else:
            yield from of_images(told, images)
            yield from doctor_host.firewall(spawner)
    yield from doctor_host.storage(spawner.storage_folder(loaded.root))
    yield from of_status(status)


def images_of(loaded: LoadedSite, spawner: ContainerSpawner) -> tuple[str, ...]:
    """Images of the courses' servers."""
    found = {image for course in loaded.courses.values() for image in course.images_with(spawner.image)}
    return tuple(sorted(found or {spawner.image}))


# --- asking ------------------------------------------------------------------------------------


async def _ask(spawner: ContainerSpawner, images: Iterable[str]) -> Told | EngineError:
    engine = Engine(spawner.engine, timeout=_TIMEOUT)
    try:
        version = await engine.version()
        if (old := too_old(version, spawner.engine)) is not None:
            return old
        info, found = await engine.info(), await engine.get("/networks")
        if spawner.kind == "swarm":
            return Told(version, info, found, await _nodes(engine))
        return Told(version, info, found, images={image: await _has(engine, image) for image in images})
    except EngineError as error:
        return error
    finally:
        engine.close()


async def _nodes(engine: Engine) -> Sequence[_Object] | Unreachable:
    try:
        found: Sequence[_Object] = await engine.get("/nodes")
    except Unreachable as error:
        return error
    return found


async def _has(engine: Engine, image: str) -> bool:
    try:
        await engine.get(f"/images/{image}/json")
    except Gone:
        return False
    return True


# --- is there an engine at all -----------------------------------------------------------------


def unreachable(error: EngineError, engine: str, *, installed: bool) -> Finding:
    """Why nothing can be said of the engine, and the mend. `installed`: dockerd is on this machine."""
    cause = error.cause if isinstance(error, Unreachable) else None
    if cause is Cause.MISSING and not installed:
        text = (
            f"there is no Docker on this machine (no socket at {engine}): install Docker 20.10 or newer, on Debian "
            "with `apt install docker.io`"
        )
    elif cause is Cause.MISSING:
        text = (
            f"Docker is installed and there is no socket at {engine}: start it with `systemctl start docker`, or "
            "write in `spawner.engine` where it answers"
        )
    elif cause is Cause.REFUSED:
        text = f"Docker does not run (nothing listens at {engine}): start it with `systemctl start docker`"
    elif cause is Cause.FORBIDDEN:
        text = f"this account may not use Docker ({engine}): run the site, and this command, as root"
    elif cause is Cause.TIMEOUT:
        text = (
            f"Docker does not answer ({engine}): look at `journalctl -u docker`, and restart it with "
            "`systemctl restart docker`"
        )
    elif cause is Cause.BROKEN:
        text = f"what answers at {engine} is no Docker Engine: correct `spawner.engine`"
    else:
        text = str(error)
    return Finding(Level.BAD, text)


def too_old(version: _Object, engine: str) -> Refused | Unreachable | None:
    """The error that an engine of this version is; None when it is new enough."""
    try:
        theirs = parse_api(str(version["ApiVersion"]))
    except (KeyError, ValueError):
        return Unreachable(f"what answers at {engine} is no Docker Engine", Cause.BROKEN)
    if theirs >= OLDEST_API:
        return None
    return Refused(
        f"Docker {version.get('Version', '?')} is too old (API {version['ApiVersion']}): install Docker 20.10 or newer"
    )


# --- what the engine can -----------------------------------------------------------------------


def of_engine(told: Told, spawner: ContainerSpawner) -> Iterator[Finding]:
    """Version, limits, protection of the machine, runtime, disk."""
    version, info = told.version, told.info
    where = f"Docker {version.get('Version')} (API {version['ApiVersion']}) answers at {spawner.engine}"
    yield Finding(Level.GOOD, where)
    yield from limits(info)
    yield from protection(info)
    yield new_privileges(version, info, spawner.kind)
    yield from kernel(info)
    if spawner.runtime and spawner.runtime not in (info.get("Runtimes") or {}):
        yield Finding(
            Level.BAD,
            f"Docker knows no runtime `{spawner.runtime}`: install it and name it in /etc/docker/daemon.json, or "
            "correct `spawner.runtime`",
        )
    if spawner.kind == "docker" and not info.get("LiveRestoreEnabled"):
        yield Finding(
            Level.NOTE,
            "a restart of Docker, as updates do it, ends all learners' servers: set `live-restore` to true in "
            "/etc/docker/daemon.json",
        )
    if spawner.engine.startswith("unix:"):
        yield from doctor_host.docker_disk(str(info.get("DockerRootDir", "")))


def limits(info: _Object) -> Iterator[Finding]:
    """Whether the kernel enforces what `resources` says."""
    for key, what in _LIMITS.items():
        if info.get(key) is False:
            yield Finding(
                Level.BAD,
                f"Docker cannot limit {what} of a container: this kernel's control groups lack it; boot with "
                "`cgroup_enable=memory swapaccount=1`, or use a distribution's own kernel",
            )
    if info.get("SwapLimit") is False:
        yield Finding(
            Level.NOTE,
            "a server over its memory limit may use swap as well, and get slow in place of being stopped: boot with "
            "`swapaccount=1`, or turn swap off",
        )


def protection(info: _Object) -> Iterator[Finding]:
    """Filters of system calls, and settings of the engine under which homes cannot be mounted."""
    options = security_options(info)
    profile = options.get("seccomp", {}).get("profile", "")
    if profile in {"", "unconfined"}:
        why = "Docker has no seccomp" if not profile else "Docker's seccomp profile is `unconfined`"
        mend = "use a kernel with CONFIG_SECCOMP_FILTER" if not profile else "take `seccomp-profile` out of daemon.json"
        yield Finding(Level.BAD, f"{why}, so that containers may use every system call: {mend}")
    for option, name in (("rootless", "rootless mode"), ("userns", "`userns-remap`")):
        if option in options:
            yield Finding(
                Level.BAD,
                f"Docker runs with {name}, under which learners cannot own their homes: use an engine without it",
            )


def security_options(info: _Object) -> dict[str, dict[str, str]]:
    """`name=seccomp,profile=default` as `{"seccomp": {"profile": "default"}}`."""
    found = [dict(part.partition("=")[::2] for part in text.split(",")) for text in info.get("SecurityOptions") or []]
    return {values.pop("name", ""): values for values in found}


def new_privileges(version: _Object, info: _Object, kind: str) -> Finding:
    """Where it is enforced that no program of a container gets rights beyond its account's."""
    if kind == "docker":
        return Finding(Level.GOOD, "new privileges are forbidden in every container")
    if parse_api(str(version["ApiVersion"])) >= _SERVICE_PRIVILEGES:
        return Finding(Level.GOOD, "new privileges are forbidden in every service")
    if "no-new-privileges" in security_options(info):
        return Finding(Level.GOOD, "new privileges are forbidden by the engine; have it so on every node")
    return Finding(
        Level.NOTE,
        f"services of Docker {version.get('Version')} cannot forbid new privileges: have every node forbid them, with "
        '`"no-new-privileges": true` in /etc/docker/daemon.json',
    )


def kernel(info: _Object) -> Iterator[Finding]:
    """What the kernel does with containers' packets."""
    if info.get("IPv4Forwarding") is False:
        yield Finding(
            Level.BAD,
            "this machine forwards no packets, so containers reach nothing outside: `sysctl net.ipv4.ip_forward=1`",
        )
    if info.get("BridgeNfIptables") is False:
        yield Finding(
            Level.BAD,
            "packets between containers pass this machine's filters unseen: `modprobe br_netfilter`, and "
            "`sysctl net.bridge.bridge-nf-call-iptables=1`",
        )


def of_images(told: Told, images: Iterable[str]) -> Iterator[Finding]:
    """Whether one Docker host has what the courses run."""
    for image in images:
        if told.images.get(image) is False:
            yield Finding(
                Level.BAD,
                f"the image {image} is not on this machine: build it with `coursewarehub image build`, or fetch it "
                f"with `docker pull {image}`",
            )


# --- addresses ---------------------------------------------------------------------------------


def of_addresses(told: Told, spawner: ContainerSpawner, routes: str) -> Iterator[Finding]:
    """Whether the site's addresses are anybody else's: other networks, default pools, routes of the machine."""
    pool: IPv4Network = spawner.addresses
    mend = "choose other `spawner.addresses` in site.yaml"
    others = [network for network in told.networks if not networks.is_ours(network)]
    own = frozenset(f"br-{network['Id'][:12]}" for network in told.networks if networks.is_ours(network))
    taken = networks.overlapping(str(pool), others)
    if taken is not None:
        yield Finding(Level.BAD, f"of {pool}, the Docker network `{taken[0]}` has {taken[1]}: {mend}")
    for base in default_pools(told.info):
        if clash(pool, base):
            yield Finding(Level.BAD, f"of {pool}, Docker gives out {base} to other networks: {mend}")
    names = frozenset(f"br-{network['Id'][:12]}" for network in others) | own
    for target, device in doctor_host.routes(routes):
        if target.overlaps(pool) and device not in names:
            yield Finding(Level.BAD, f"of {pool}, this machine reaches {target} by {device}: {mend}")


def default_pools(info: _Object) -> Iterator[IPv4Network]:
    """What the engine, or the swarm, gives to networks that name no addresses."""
    for pool in info.get("DefaultAddressPools") or []:
        if ":" not in pool["Base"]:
            yield IPv4Network(pool["Base"], strict=False)
    for base in ((info.get("Swarm") or {}).get("Cluster") or {}).get("DefaultAddrPool") or []:
        yield IPv4Network(base, strict=False)


def clash(pool: IPv4Network, base: IPv4Network) -> bool:
    """Whether networks out of `base` will meet the pool: it lies there, or holds the pool near its beginning."""
    near = int(pool.network_address) - int(base.network_address) < _OWN_POOLS * 256
    return base.subnet_of(pool) or (pool.subnet_of(base) and near)


# --- swarm -------------------------------------------------------------------------------------


def of_swarm(told: Told, site_id: str, images: Iterable[str], status: Mapping[str, Any] | None) -> Iterator[Finding]:
    """The engine's part in the swarm, the managers, and the nodes."""
    standing = membership(told.info.get("Swarm") or {})
    if standing is not None:
        yield standing
        return
    if isinstance(told.nodes, Unreachable):
        yield lost(told.nodes)
        return
    yield managers(told.nodes)
    lacks = {node["name"]: node["lacks"] for node in ((status or {}).get("engine") or {}).get("nodes") or []}
    own = str((told.info.get("Swarm") or {}).get("NodeID", ""))
    yield from doctor_host.between_nodes(told.nodes, own)
    for node in told.nodes:
        yield of_node(node, site_id, images, lacks.get(_hostname(node)))


def membership(swarm: _Object) -> Finding | None:
    """Why the engine cannot manage a swarm; None when it can."""
    state = swarm.get("LocalNodeState", "inactive")
    if state == "locked":
        text = "the swarm is locked, as it is after a restart with autolock: `docker swarm unlock`"
    elif state != "active":
        text = (
            f"Docker is in no swarm ({state}): make one with `docker swarm init`, or join one as a manager with the "
            "command that `docker swarm join-token manager` prints there"
        )
    elif not swarm.get("ControlAvailable"):
        text = (
            "this node is a worker of its swarm: set `spawner.engine` to a manager, or make it one with "
            "`docker node promote` on a manager"
        )
    else:
        return None
    return Finding(Level.BAD, text)


def lost(error: Unreachable) -> Finding:
    """Why a manager knows nothing of its swarm."""
    if error.cause is Cause.NO_LEADER:
        return Finding(
            Level.BAD,
            "the swarm has no leader, since most of its managers cannot be reached: bring them back, or, if they are "
            "lost for good, `docker swarm init --force-new-cluster` on this one",
        )
    return Finding(Level.BAD, str(error))


def managers(nodes: Sequence[_Object]) -> Finding:
    """How many managers may be lost."""
    found = [node for node in nodes if node.get("ManagerStatus")]
    away = [_hostname(node) for node in found if node["ManagerStatus"].get("Reachability") != "reachable"]
    spare = (len(found) - 1) // 2 - len(away)
    count = f"{len(found)} manager{'s' * (len(found) != 1)}, {len(nodes)} node{'s' * (len(nodes) != 1)}"
    if away:
        text = f"of {len(found)} managers, {', '.join(away)} cannot be reached: the swarm can lose {max(0, spare)} more"
        return Finding(Level.BAD, text)
    if spare == 0:
        text = f"the swarm ({count}) cannot lose a manager: three managers can lose one (`docker node promote`)"
        return Finding(Level.NOTE, text)
    return Finding(Level.GOOD, f"the swarm ({count}) can lose {spare} manager{'s' * (spare != 1)}")


def of_node(node: _Object, site_id: str, images: Iterable[str], lacks: Sequence[str] | None) -> Finding:
    """Whether servers start on a node, and why not. `lacks` is what the running site says of it; None: nothing."""
    name, spec = _hostname(node), node.get("Spec") or {}
    state = (node.get("Status") or {}).get("State")
    if state != "ready":
        return Finding(Level.BAD, f"the node {name} does not answer ({state}): look at its Docker and its network")
    if spec.get("Availability") != "active":
        text = f"the node {name} is out of service ({spec.get('Availability')}): `coursewarehub node resume {name}`"
        return Finding(Level.NOTE, text)
    if lacks:
        return Finding(Level.BAD, f"no servers start on the node {name}: {'; '.join(lacks)}")
    held = spec.get("Labels") or {}
    missing = [image for image in images if held.get(labels.ready(site_id, image)) != "true"]
    if missing:
        return Finding(
            Level.NOTE,
            f"the site has not found the node {name} ready for {', '.join(missing)}: it looks while it runs",
        )
    return Finding(Level.GOOD, f"the node {name} is ready for the servers of every course")


def _hostname(node: _Object) -> str:
    return str((node.get("Description") or {}).get("Hostname") or node["ID"])


# --- the running site --------------------------------------------------------------------------


def of_status(status: Mapping[str, Any] | None) -> Iterator[Finding]:
    """What the running site says of the engine and of the rules between containers."""
    engine = (status or {}).get("engine")
    if not engine:
        return
    if engine.get("message"):
        yield Finding(Level.BAD, f"the running site says of the engine: {engine['message']}")
    isolation = engine.get("isolation") or {}
    if isolation.get("on"):
        yield Finding(Level.GOOD, "the rules between learners' containers are in force")
    elif isolation:
        yield Finding(Level.BAD, f"nothing keeps learners' containers apart: {isolation.get('message')}")
