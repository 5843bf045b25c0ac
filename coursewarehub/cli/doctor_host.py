"""What `coursewarehub doctor` finds of this machine as a host of learners' containers: storage, disks, firewall."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from coursewarehub.cli.doctor import Finding, Level
from coursewarehub.engine import Engine, EngineError, networks
from coursewarehub.model.networks import CourseNetwork

if TYPE_CHECKING:
    from coursewarehub.model.spawner import ContainerSpawner

_MIB: Final = 1 << 20
_LEAST: Final = 2 << 30
_FULL: Final = 0.85
_SOMEBODY: Final = 100_000
"""An account as learners have one: not that of the site."""
_SECONDS: Final = 3
_SWARM_PORT: Final = 7946
_MANAGER_PORT: Final = 2377


# --- storage -----------------------------------------------------------------------------------


def storage(folder: Path) -> Iterator[Finding]:
    """Whether homes can be made in the folder that servers mount."""
    mounts = Path("/proc/self/mounts").read_text()
    problem = not_mounted(folder, mounts, _text("/etc/fstab")) or _unusable(folder, os.geteuid())
    if problem is not None:
        yield Finding(Level.BAD, problem)
        return
    yield Finding(Level.GOOD, f"homes can be made in {folder}")
    yield from space(f"the disk with the homes ({folder})", shutil.disk_usage(folder))


def not_mounted(folder: Path, mounts: str, fstab: str) -> str | None:
    """Where the folder lies on something that /etc/fstab names and that is not mounted, the sentence."""
    mounted = {_unescaped(line.split()[1]) for line in mounts.splitlines() if len(line.split()) > 1}
    for line in fstab.splitlines():
        words = line.split("#")[0].split()
        if len(words) < 3 or words[2] == "swap":
            continue
        point = Path(_unescaped(words[1]))
        if point != Path("/") and folder.is_relative_to(point) and str(point) not in mounted:
            return f"the storage folder {folder} is on {point}, which is not mounted: `mount {point}`"
    return None


def _unusable(folder: Path, account: int) -> str | None:
    """Why no home can be made in the folder."""
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "is missing"
        return f"the storage folder {folder} {what}: mount or make it, or correct `spawner.storage`"
    if account != 0:
        return f"only root may make homes that learners own: run the site, and this command, as root (now {account})"
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder) as made:
            os.chown(made, _SOMEBODY, _SOMEBODY)
    except OSError as error:
        return cannot_make(folder, error)
    return None


def cannot_make(folder: Path, error: OSError) -> str:
    """Why making a home that belongs to somebody else failed, and the mend."""
    if error.errno == errno.EROFS:
        return f"the storage folder {folder} is mounted read only: mount it with `rw`"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"the disk with the homes ({folder}) is full: remove something, or give it more room"
    if error.errno in {errno.EPERM, errno.EACCES}:
        return (
            f"root may not give files in {folder} to learners, as on NFS with `root_squash`: export it to this "
            "machine with `no_root_squash`"
        )
    return f"nothing can be written into the storage folder {folder}: {os.strerror(error.errno or 0)}"


def docker_disk(root: str) -> Iterator[Finding]:
    """The disk with images and containers."""
    if root and Path(root).is_dir():
        yield from space(f"Docker's disk ({root})", shutil.disk_usage(root), "`docker system prune` removes old images")


def space(what: str, usage: Any, mend: str = "remove something, or give it more room") -> Iterator[Finding]:
    """Whether a disk is full, or will be soon. `usage` has `total`, `used` and `free` bytes."""
    if usage.free < min(_LEAST, usage.total // 20):
        yield Finding(Level.BAD, f"{what} is full, {usage.free // _MIB} MiB are left: {mend}")
    elif usage.used > _FULL * usage.total:
        share = round(100 * usage.used / usage.total)
        yield Finding(Level.NOTE, f"{what} is full to {share} %, {usage.free // _MIB} MiB are left: {mend}")


def _text(file: str) -> str:
    try:
        return Path(file).read_text()
    except OSError:
        return ""


def _unescaped(path: str) -> str:
    return path.replace("\\040", " ").replace("\\011", "\t")


# --- addresses ---------------------------------------------------------------------------------


def routes(text: str) -> Iterator[tuple[IPv4Network, str]]:
    """Networks that this machine reaches, and by which device, from /proc/net/route; not the default route."""
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) > 7 and words[7] != "00000000":
            yield IPv4Network((_address(words[1]), str(_address(words[7])))), words[0]


def _address(little_endian: str) -> IPv4Address:
    return IPv4Address(bytes.fromhex(little_endian)[::-1])


# --- firewall: one Docker host -----------------------------------------------------------------


def firewall(spawner: ContainerSpawner) -> Iterator[Finding]:
    """Whether a firewall of this machine is between learners' containers and what they need, on one Docker host."""
    if shutil.which("iptables") is None:
        yield Finding(Level.BAD, "iptables is missing, with which containers are kept apart: `apt install iptables`")
        return
    if os.geteuid() != 0 or not spawner.engine.startswith("unix:"):
        yield Finding(Level.NOTE, "whether a firewall is in the way is seen as root on the machine with Docker only")
        return
    rules = subprocess.run(["iptables", "-w", "-S", "FORWARD"], capture_output=True, text=True, check=False)
    problem = forwarding(rules.stdout)
    if problem is not None:
        yield Finding(Level.BAD, problem)
    yield reached(asyncio.run(_try_ports(spawner)), spawner)


def forwarding(rules: str) -> str | None:
    """What keeps containers from the outside, by `iptables -S FORWARD`; None when nothing is seen."""
    lines = [line for line in rules.splitlines() if line.startswith("-A ")]
    docker = next((number for number, line in enumerate(lines) if "DOCKER" in line or "docker0" in line), None)
    if docker is None:
        return (
            "Docker's rules are not in this machine's firewall (which was loaded after Docker started, or daemon.json "
            "has `iptables` false), so containers reach nothing outside: `systemctl restart docker`"
        )
    before = next((line for line in lines[:docker] if line in {"-A FORWARD -j DROP", "-A FORWARD -j REJECT"}), None)
    before = before or next((line for line in lines[:docker] if line.startswith("-A FORWARD -j REJECT --")), None)
    if before is None:
        return None
    return (
        f"the firewall's rule `{before.removeprefix('-A ')}` stands before Docker's, so containers reach nothing "
        "outside: remove it, or write what must not pass into the chain DOCKER-USER"
    )


def reached(ports: Mapping[int, bool] | None, spawner: ContainerSpawner) -> Finding:
    """What trying the site's ports from a network of learners showed; None: it could not be tried."""
    wanted = (spawner.port, spawner.port + 1)
    if ports is None:
        return Finding(Level.NOTE, "whether a firewall is in the way could not be tried on this machine")
    shut = [str(port) for port, open_ in ports.items() if not open_]
    if not shut:
        return Finding(Level.GOOD, f"learners' containers reach the site's ports {wanted[0]} and {wanted[1]}")
    both = ",".join(map(str, wanted))
    return Finding(
        Level.BAD,
        f"a firewall of this machine keeps learners' containers from the site (port {' and '.join(shut)}): let them "
        f"in, with `iptables -I INPUT -s {spawner.addresses} -p tcp -m multiport --dports {both} -j ACCEPT`",
    )


async def _try_ports(spawner: ContainerSpawner) -> dict[int, bool] | None:
    """Whether the site's ports are reached from a network that is made for this, as courses have theirs."""
    engine = Engine(spawner.engine)
    try:
        network = free_network(spawner.addresses, await engine.get("/networks"))
        if network is None:
            return None
        body = networks.payload(network, swarm=False, site_id="", course_id="")
        made = await engine.post("/networks/create", body | {"Labels": {}})
        try:
            ports = (spawner.port, spawner.port + 1)
            return await asyncio.to_thread(_try_from, f"br-{made['Id'][:12]}", network, ports)
        finally:
            await engine.delete(f"/networks/{made['Id']}")
    except (EngineError, OSError, subprocess.SubprocessError):
        return None
    finally:
        engine.close()


def free_network(pool: IPv4Network, found: list[Mapping[str, Any]]) -> CourseNetwork | None:
    """A small network at the end of the pool that nobody has."""
    for number in range(1, 65):
        first = pool.broadcast_address - 16 * number + 1
        if first not in pool:
            return None
        subnet = IPv4Network((first, 28))
        if networks.overlapping(str(subnet), found) is None:
            name = f"courseware-doctor-{secrets.token_hex(4)}"
            upper = list(subnet.subnets())[1]
            return CourseNetwork(name, str(subnet), str(upper), str(first + 1), str(first + 1))
    return None


def _try_from(bridge: str, network: CourseNetwork, ports: tuple[int, ...]) -> dict[int, bool] | None:
    """Connect to each port of the gateway from a network namespace on the bridge; None when there is no such bridge."""
    if bridge not in {name for _, name in socket.if_nameindex()}:
        return None
    with ExitStack() as stack:
        for port in ports:
            stack.enter_context(_listening(network.gateway, port))
        inside = stack.enter_context(_guest(bridge, network))
        return {port: _connects(inside, network.gateway, port) for port in ports}


@contextmanager
def _listening(host: str, port: int) -> Iterator[None]:
    """Somebody listens there: the site, or else we."""
    with closing(socket.socket()) as server:
        try:
            server.bind((host, port))
            server.listen()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        yield


@contextmanager
def _guest(bridge: str, network: CourseNetwork) -> Iterator[str]:
    """A network namespace that hangs on the bridge, as a container would; its name."""
    name = f"cwd{secrets.token_hex(4)}"
    address = IPv4Address(network.gateway) + 1
    _ip("netns", "add", name)
    try:
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", name, "master", bridge, "up")
        _ip("-n", name, "address", "add", f"{address}/{IPv4Network(network.subnet).prefixlen}", "dev", "eth0")
        _ip("-n", name, "link", "set", "eth0", "up")
        yield name
    finally:
        _ip("netns", "delete", name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=10)


def _connects(namespace: str, host: str, port: int) -> bool:
    script = f"import socket; socket.create_connection(({host!r}, {port}), {_SECONDS})"
    command = ["ip", "netns", "exec", namespace, sys.executable, "-I", "-c", script]
    return subprocess.run(command, capture_output=True, timeout=_SECONDS + 10, check=False).returncode == 0


# --- firewall: between the nodes of a swarm ----------------------------------------------------


def between_nodes(nodes: Sequence[Mapping[str, Any]], own_id: str) -> Iterator[Finding]:
    """Whether this machine reaches what Swarm needs of the other nodes."""
    wanted = doors(nodes, own_id)
    for name, address, port in asyncio.run(_shut(wanted)):
        yield Finding(
            Level.BAD,
            f"this machine does not reach port {port} of the node {name} ({address}): open 2377/tcp (managers), "
            "7946/tcp, 7946/udp and 4789/udp between the nodes",
        )


def doors(nodes: Sequence[Mapping[str, Any]], own_id: str) -> list[tuple[str, str, int]]:
    """Name, address and port of what must be reached on the other nodes."""
    found = []
    for node in nodes:
        address = (node.get("Status") or {}).get("Addr", "")
        if node["ID"] == own_id or not address or address == "0.0.0.0":  # noqa: S104 - how Swarm says unknown
            continue
        name = (node.get("Description") or {}).get("Hostname") or node["ID"]
        found += [(name, address, port) for port in _doors_of(node)]
    return found


def _doors_of(node: Mapping[str, Any]) -> tuple[int, ...]:
    return (_SWARM_PORT, _MANAGER_PORT) if node.get("ManagerStatus") else (_SWARM_PORT,)


async def _shut(wanted: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    answers = await asyncio.gather(*(_answers(address, port) for _, address, port in wanted))
    return [door for door, answer in zip(wanted, answers, strict=True) if not answer]


async def _answers(address: str, port: int) -> bool:
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(address, port)
    except OSError:
        return False
    writer.close()
    return True
