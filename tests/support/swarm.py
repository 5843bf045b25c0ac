"""A real Docker Swarm of three machines on one bridge: n1 (manager), n2, n3, and a registry.

This kernel may have no IPVS: create services with `--endpoint-mode dnsrr`, publish ports with `mode=host`.
The bed's storage folder, and any other folder of the host, is the same on all machines.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from support.beds import Slot, slot
from support.engines import BASE, Engine, provide_base
from support.registry import Registry
from support.sites import eventually

NAMES = ("n1", "n2", "n3")
POOL = "10.210.0.0/16"  # overlay networks without a subnet of their own, the ingress network among them


class SwarmBed:
    """Three machines that form a Swarm; n1 manages it, and all three after `managers(3)`."""

    def __init__(self, place: Slot, registry: Registry, engines: list[Engine]) -> None:
        self.place = place
        self.registry = registry
        self.engines = {engine.name: engine for engine in engines}
        self.storage = place.storage

    def __getitem__(self, name: str) -> Engine:
        return self.engines[name]

    @property
    def manager(self) -> Engine:
        return self.engines["n1"]

    def docker(self, *arguments: str, **options: Any) -> str:
        """What `docker ARGUMENTS` prints on the manager."""
        return self.manager.docker(*arguments, **options)

    def each(self, do: Any, *arguments: Any) -> list[Any]:
        """`do(engine, ...)` for all machines at the same time."""
        with ThreadPoolExecutor(len(self.engines)) as pool:
            return list(pool.map(lambda engine: do(engine, *arguments), self.engines.values()))

    # The swarm

    def form(self) -> None:
        """Make the Swarm."""
        manager, *workers = self.engines.values()
        manager.docker("swarm", "init", "--advertise-addr", manager.address, "--default-addr-pool", POOL)
        token = manager.docker("swarm", "join-token", "--quiet", "worker")
        with ThreadPoolExecutor(len(workers)) as pool:
            list(pool.map(lambda engine: self.join(engine, token), workers))
        self.wait_ready()

    def join(self, engine: Engine, token: str) -> None:
        engine.docker("swarm", "join", "--token", token, f"{self.manager.address}:2377")

    def nodes(self) -> dict[str, dict[str, Any]]:
        """The manager's view of the nodes, by host name; one that has just joined has none yet."""
        return {node["Description"].get("Hostname", ""): node for node in self.manager.api("GET", "/nodes")}

    def state(self, name: str) -> str:
        """`ready`, `down`, `disconnected` or `unknown`, as the manager sees it."""
        return str(self.nodes()[name]["Status"]["State"])

    def wait_ready(self, seconds: float = 60) -> None:
        """Until all machines are ready and active."""

        def ready() -> bool:
            nodes = self.nodes()
            states = {name: (nodes[name]["Status"]["State"], nodes[name]["Spec"]["Availability"]) for name in nodes}
            return states == dict.fromkeys(self.engines, ("ready", "active"))

        eventually(ready, seconds, every=0.1)

    def managers(self, count: int) -> None:
        """Let the first `count` machines manage the Swarm."""
        nodes = self.nodes()
        for number, name in enumerate(NAMES):
            role = "manager" if number < count else "worker"
            if nodes[name]["Spec"]["Role"] != role:
                self.docker("node", "promote" if role == "manager" else "demote", name)

        def settled() -> bool:
            nodes = self.nodes()
            reach = [nodes[name].get("ManagerStatus", {}).get("Reachability") for name in NAMES]
            return reach == ["reachable"] * count + [None] * (len(NAMES) - count)

        eventually(settled, 60, every=0.2)

    def tasks(self, service: str) -> list[dict[str, Any]]:
        """The tasks of a service, the newest first."""
        found = self.manager.api("GET", "/tasks", filters={"service": {service: True}})
        return sorted(found, key=lambda task: task["CreatedAt"], reverse=True)

    def running_on(self, service: str) -> list[str]:
        """Names of the machines on which tasks of a service run, sorted."""
        names = {node["ID"]: name for name, node in self.nodes().items()}
        return sorted(names[task["NodeID"]] for task in self.tasks(service) if task["Status"]["State"] == "running")

    # Faults

    def cut(self, *names: str) -> None:
        """Pull the network cable of machines."""
        for name in names:
            network = self.engines[name].network
            assert network is not None
            network.unplug()

    def heal(self, *names: str) -> None:
        """Put the cables back (of all machines when none is named)."""
        for name in names or NAMES:
            network = self.engines[name].network
            assert network is not None
            network.plug()

    def part(self, one: str, other: str) -> None:
        """Two machines do not hear each other any more; each still hears the third."""
        for here, there in ((one, other), (other, one)):
            network = self.engines[here].network
            assert network is not None
            network.run("iptables", "-w", "-I", "INPUT", "-s", self.engines[there].address, "-j", "DROP")

    def join_again(self, one: str, other: str) -> None:
        """The opposite of `part`."""
        for here, there in ((one, other), (other, one)):
            network = self.engines[here].network
            assert network is not None
            network.run("iptables", "-w", "-D", "INPUT", "-s", self.engines[there].address, "-j", "DROP", check=False)

    def reset(self) -> None:
        """All machines run, see each other, and nothing but images is left on them, whatever a test did."""
        self.heal()
        for engine in self.engines.values():
            engine.thaw()
            if not engine.running():
                engine.start()
        for one, other in (("n1", "n2"), ("n1", "n3"), ("n2", "n3")):
            self.join_again(one, other)
        eventually(self._leader, 60, every=0.2)
        for kind in ("service", "secret", "config"):
            found = self.docker(kind, "ls", "--quiet").split()
            if found:
                self.docker(kind, "rm", *found)
        for name, node in self.nodes().items():
            labels = [word for label in node["Spec"].get("Labels") or {} for word in ("--label-rm", label)]
            if labels or node["Spec"]["Availability"] != "active":
                self.docker("node", "update", *labels, "--availability", "active", name)
        self.wait_ready()
        self.managers(1)
        self.each(Engine.remove_containers)
        self._forget_networks()
        self.each(Engine.remove_all)
        try:
            # Swarm keeps a network as long as it counts a task there, also one that is over.
            eventually(self._forget_networks, 30, every=1)
        except AssertionError:
            # What the Swarm has forgotten and a node has not, only a new start of the node's engine removes.
            self.each(Engine.restart)
            eventually(self._leader, 60, every=0.2)
            self.wait_ready()
            eventually(self._forget_networks, 60, every=1)

    def _forget_networks(self) -> bool:
        """Whether none but the ingress was left, of which the others are removed."""
        overlays = self.manager.api("GET", "/networks", filters={"driver": {"overlay": True}})
        ours = [network for network in overlays if not network["Ingress"]]
        for network in ours:
            self._forget(network)
        return not ours

    def _forget(self, network: dict[str, Any]) -> None:
        """Remove an overlay network, on this node too: a service's container may have joined it behind Swarm's back."""
        if network["Attachable"]:
            self.docker("run", "--rm", "--network", network["Id"], BASE, "true", check=False)
        self.docker("network", "rm", network["Id"], check=False)

    def _leader(self) -> bool:
        try:
            self.nodes()
        except (RuntimeError, OSError):
            return False
        return True


@contextmanager
def swarm_bed() -> Iterator[SwarmBed]:
    """Three machines in a Swarm, with `debian:bookworm-slim`, and a registry."""
    with slot("swarm") as place, Registry.running(place) as registry:
        engines = []
        for number, name in enumerate(NAMES):
            network = place.machine(name, 11 + number)
            network.open()
            engines.append(Engine(place, name, network, registry))
        bed = SwarmBed(place, registry, engines)
        try:
            bed.each(Engine.launch)
            bed.each(Engine.wait)
            bed.each(Engine.remove_all)
            bed.form()
            provide_base(bed.manager)
            bed.each(provide_base)
            yield bed
        finally:
            bed.heal()
            bed.each(Engine.close)
