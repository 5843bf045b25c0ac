"""The agent of a node with an engine and a kernel that do as they are told: what fails, what lies, what comes late.

Real engines and real packet filters are in `tests/docker/test_nodes.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from support.fake_engine import Answer, Asked, FakeEngine

from coursewarehub.engine import Engine
from coursewarehub.nodes import agent as module
from coursewarehub.nodes import health, host, iptables, namespaces, tables
from coursewarehub.nodes.agent import Agent, Settings
from coursewarehub.nodes.iptables import IptablesError
from coursewarehub.nodes.namespaces import NamespaceGone, NotAContainers
from coursewarehub.nodes.rules import Node, Rule, locked, rules_for
from coursewarehub.nodes.tables import Saved
from coursewarehub.wire import labels
from coursewarehub.wire.policy import EGRESS, NetworkPolicy

POOL = IPv4Network("10.180.0.0/14")
ADA, BOB = "a" * 64, "b" * 64
HERE, THERE = "000000000001", "000000000002"


def policy(egress: str = "none", **more: Any) -> NetworkPolicy:
    return NetworkPolicy("10.180.0.1", 8081, 8082, egress, **more)


class Kernel:
    """Network namespaces and what is in force in each; `refusals` is how often rules are refused from now on."""

    def __init__(self) -> None:
        self.tables: dict[str, Saved] = {}
        self.addresses: dict[str, list[IPv4Address]] = {}
        self.refusals = 0
        self.error: Exception | None = None
        self.restored: list[str] = []
        self._at = threading.local()

    def add(self, name: str) -> None:
        self.tables[name] = Saved()

    @contextlib.contextmanager
    def inside(self, namespace: Path) -> Iterator[None]:
        if namespace.name not in self.tables:
            raise NamespaceGone(str(namespace))
        self._at.name = namespace.name
        try:
            yield
        finally:
            del self._at.name

    def restore(self, _family: str, script: str) -> None:
        if self.error is not None:
            raise self.error
        if self.refusals > 0:
            self.refusals -= 1
            raise IptablesError("no such match")
        found = self.tables[self._at.name]
        made = Saved.parse(script.replace("-I OUTPUT 1 ", "-A OUTPUT "))
        found.rules.update(made.rules)
        found.policies.update(made.policies)
        self.restored.append(self._at.name)

    def save(self, _family: str) -> Saved:
        return self.tables[self._at.name]

    def has(self, name: str, rules: tuple[Rule, ...]) -> bool:
        """Whether exactly these rules are in force in a namespace."""
        wanted = Saved.parse(tables.in_container(rules, "ip").replace("-I OUTPUT 1 ", "-A OUTPUT "))
        return self.tables[name] == wanted

    def untouched(self, name: str) -> bool:
        return self.tables[name] == Saved()


@dataclass
class Machine:
    """An engine with containers, and its kernel."""

    fake: FakeEngine
    kernel: Kernel
    containers: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: queue.Queue[dict[str, Any] | None] = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        self.fake.on("GET", "/info", {"Swarm": {}, "SecurityOptions": []})
        self.fake.on("GET", "/_ping", "OK")
        self.fake.on("GET", "/containers/json", self._list)
        self.fake.on("GET", "/events", lambda _asked: Answer(parts=self._told()))

    def run(self, identity: str, namespace: str, label: str | None, name: str = "ada") -> None:
        """Have a container that runs, without a word about it."""
        self.kernel.add(namespace)
        own = {} if label is None else {labels.POLICY: label}
        self.containers[identity] = {"Id": identity, "Names": [f"/{name}"], "Labels": own}
        self.fake.on(
            "GET",
            f"/containers/{identity}/json",
            {"State": {"Running": True}, "NetworkSettings": {"SandboxKey": f"/var/run/docker/netns/{namespace}"}},
        )
        self.fake.on("POST", f"/containers/{identity}/kill", self._kill)

    def start(self, identity: str, namespace: str, label: str | None, name: str = "ada") -> None:
        self.run(identity, namespace, label, name)
        self.tell("start", identity)

    def end(self, identity: str) -> None:
        del self.containers[identity]
        self.tell("die", identity)

    def tell(self, action: str, identity: str) -> None:
        item = self.containers.get(identity, {"Labels": {}, "Names": ["/?"]})
        attributes = {"name": item["Names"][0].lstrip("/"), **item["Labels"]}
        self.events.put({"Type": "container", "Action": action, "Actor": {"ID": identity, "Attributes": attributes}})

    def hang_up(self) -> None:
        """The engine ends the stream of its events."""
        self.events.put(None)

    def killed(self) -> list[str]:
        return [asked.path.split("/")[2] for asked in self.fake.asked if asked.path.endswith("/kill")]

    def _list(self, asked: Asked) -> Answer:
        ours = "filters" in asked.query
        found = [item for item in self.containers.values() if not ours or labels.POLICY in item["Labels"]]
        return Answer(body=found)

    def _kill(self, asked: Asked) -> Answer:
        self.end(asked.path.split("/")[2])
        return Answer(204)

    def _told(self) -> Iterator[bytes]:
        while (event := self.events.get()) is not None:
            yield json.dumps(event).encode() + b"\n"


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(iptables, "families", lambda: ("ip",))
    monkeypatch.setattr(iptables, "abilities", lambda node: node)
    monkeypatch.setattr(iptables, "restore", made.restore)
    monkeypatch.setattr(iptables, "save", made.save)
    monkeypatch.setattr(namespaces, "inside", made.inside)
    monkeypatch.setattr(namespaces, "public_addresses", list)
    monkeypatch.setattr(namespaces, "watcher", lambda path: contextlib.nullcontext(path.name))
    monkeypatch.setattr(namespaces, "addresses", lambda name: made.addresses.get(name, []))
    monkeypatch.setattr(module, "_RETRIES", (0.01, 0.01))
    monkeypatch.setattr(module, "_BACK_OFF", (0.02,))
    monkeypatch.setattr(health, "EVERY", 0.02)
    return made


@pytest.fixture
def machine(fake: FakeEngine, kernel: Kernel) -> Iterator[Machine]:
    made = Machine(fake, kernel)
    yield made
    made.hang_up()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = tmp_path / "netns"
    folder.mkdir()
    return Settings(folder, health=tmp_path / "health.json", round=0.05)


Guarding = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture
def guarding(machine: Machine, engine: Engine, settings: Settings) -> Guarding:
    """Do something while an agent runs; it must still run afterwards."""
    return lambda work: guard(Agent(engine, settings), work, machine)


def guard(agent: Agent, work: Coroutine[Any, Any, None], machine: Machine) -> None:
    async def both() -> None:
        running = asyncio.create_task(agent.run())
        try:
            await asyncio.wait_for(work, 10)
            assert not running.done(), running
        finally:
            running.cancel()
            machine.hang_up()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(both())


async def until(check: Callable[[], Any]) -> None:
    while not check():
        await asyncio.sleep(0.005)


# --- rules are applied -------------------------------------------------------------------------


@pytest.mark.parametrize("egress", EGRESS)
def test_what_runs_already_and_what_starts_gets_its_rules(machine: Machine, guarding: Guarding, egress: str) -> None:
    machine.run(ADA, HERE, policy(egress).encode())

    async def work() -> None:
        await until(lambda: machine.kernel.has(HERE, rules_for(policy(egress))))
        machine.start(BOB, THERE, policy(egress).encode())
        await until(lambda: machine.kernel.has(THERE, rules_for(policy(egress))))

    guarding(work())
    assert machine.killed() == []


MALFORMED = {
    "empty": "",
    "no JSON": "egress: open",
    "a list": '["open"]',
    "no keys": "{}",
    "unknown egress": policy("all").encode(),
    "one key too many": policy("open").encode()[:-1] + ',"any":true}',
    "no address": policy("open").encode().replace("10.180.0.1", "everywhere"),
    "port as text": policy("open").encode().replace("8081", '"8081"'),
    "rule as address": policy("open", others=("0.0.0.0/0 -j ACCEPT",)).encode(),
    "mask turned round": policy("open", others=("10.0.0.0/0.255.255.255",)).encode(),
    "too deep": "[" * 20_000,
}


@pytest.mark.parametrize("label", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_policy_opens_nothing(machine: Machine, guarding: Guarding, label: str) -> None:
    machine.run(ADA, HERE, label)

    async def work() -> None:
        await until(lambda: machine.kernel.has(HERE, locked()))
        # Nor does it at the next looks.
        await asyncio.sleep(0.15)

    guarding(work())
    assert machine.kernel.has(HERE, locked()) and machine.killed() == []


def test_containers_of_others_are_never_touched(machine: Machine, guarding: Guarding) -> None:
    machine.run(BOB, THERE, None)

    async def work() -> None:
        machine.start(ADA, HERE, policy().encode())
        await until(lambda: machine.kernel.has(HERE, rules_for(policy())))
        machine.tell("start", BOB)
        await asyncio.sleep(0.15)

    guarding(work())
    assert machine.kernel.untouched(THERE) and machine.killed() == []


def test_rules_that_are_in_force_are_not_applied_again(machine: Machine, guarding: Guarding) -> None:
    machine.run(ADA, HERE, policy().encode())

    async def work() -> None:
        await until(lambda: machine.kernel.restored)
        await asyncio.sleep(0.2)
        assert machine.kernel.restored == [HERE]

    guarding(work())


# --- what fails --------------------------------------------------------------------------------


def test_an_engine_that_is_down_at_the_start_is_waited_for(
    machine: Machine, guarding: Guarding, settings: Settings
) -> None:
    machine.run(ADA, HERE, policy("open").encode())
    machine.fake.fails("GET", "/info", 500, "not yet")

    async def work() -> None:
        await until(lambda: len(machine.fake.asked_for("/info")) > 3)
        assert machine.kernel.untouched(HERE)
        assert health.check(settings.health)[0] is False
        machine.fake.on("GET", "/info", {"Swarm": None, "SecurityOptions": None})
        await until(lambda: machine.kernel.has(HERE, rules_for(policy("open"))))
        await until(lambda: health.check(settings.health) == (True, "rules are in force in 1 container"))

    guarding(work())


def test_what_starts_while_the_engine_is_not_heard_gets_its_rules_afterwards(
    machine: Machine, guarding: Guarding
) -> None:
    async def work() -> None:
        await until(lambda: machine.fake.asked_for("/events"))
        machine.fake.fails("GET", "/containers/json", 500, "frozen")
        machine.hang_up()
        machine.run(ADA, HERE, policy().encode())
        await asyncio.sleep(0.1)
        assert machine.kernel.untouched(HERE)
        machine.fake.on("GET", "/containers/json", machine._list)
        await until(lambda: machine.kernel.has(HERE, rules_for(policy())))

    guarding(work())


def test_rules_that_are_refused_at_first_are_tried_again(machine: Machine, guarding: Guarding) -> None:
    machine.kernel.refusals = 2
    machine.run(ADA, HERE, policy().encode())

    async def work() -> None:
        await until(lambda: machine.kernel.has(HERE, rules_for(policy())))

    guarding(work())
    assert machine.killed() == []


@pytest.mark.parametrize("error", [IptablesError("no such match"), OSError(24, "Too many open files"), KeyError("x")])
def test_a_container_whose_rules_cannot_be_applied_is_ended(
    machine: Machine, guarding: Guarding, error: Exception
) -> None:
    """Whatever the reason is, also one that nobody thought of."""
    machine.kernel.error = error
    machine.run(ADA, HERE, policy().encode())

    async def work() -> None:
        await until(machine.killed)

    guarding(work())
    assert set(machine.killed()) == {ADA}


@pytest.mark.parametrize(
    "inspected",
    [
        {"State": {"Running": True}, "NetworkSettings": {"SandboxKey": "/var/run/docker/netns/default"}},
        {"State": {"Running": True}, "NetworkSettings": {"SandboxKey": ""}},
        {"State": {"Running": True}, "NetworkSettings": {}},
        {},
    ],
    ids=["the node's network", "no network", "no key", "nothing"],
)
def test_a_container_without_a_network_of_its_own_is_ended(
    machine: Machine, guarding: Guarding, inspected: dict[str, Any]
) -> None:
    machine.kernel.add("default")
    machine.run(ADA, HERE, policy().encode())
    machine.fake.on("GET", f"/containers/{ADA}/json", inspected)

    async def work() -> None:
        await until(machine.killed)

    guarding(work())
    assert machine.kernel.untouched("default"), "rules for containers are not the node's"


def test_the_nodes_own_namespace_is_not_a_containers(
    machine: Machine, guarding: Guarding, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def inside(namespace: Path) -> Iterator[None]:
        raise NotAContainers(str(namespace))
        yield

    monkeypatch.setattr(namespaces, "inside", inside)
    machine.run(ADA, HERE, policy().encode())

    async def work() -> None:
        await until(machine.killed)

    guarding(work())
    assert machine.kernel.restored == []


def test_one_that_could_not_be_ended_is_not_left_without_rules(
    machine: Machine, guarding: Guarding, settings: Settings
) -> None:
    machine.kernel.error = IptablesError("no such match")
    machine.run(ADA, HERE, policy().encode())
    machine.fake.fails("POST", f"/containers/{ADA}/kill", 500, "frozen")

    async def work() -> None:
        await until(lambda: len(machine.killed()) >= 2)
        await until(lambda: "the rules of ada cannot be applied" in health.check(settings.health)[1])
        machine.kernel.error = None
        await until(lambda: machine.kernel.has(HERE, rules_for(policy())))
        await until(lambda: health.check(settings.health)[0])

    guarding(work())


def test_one_that_fails_stops_no_other(machine: Machine, guarding: Guarding) -> None:
    machine.run(ADA, "default", policy().encode())
    machine.run(BOB, THERE, policy().encode(), "bob")

    async def work() -> None:
        await until(lambda: machine.kernel.has(THERE, rules_for(policy())))
        await until(machine.killed)

    guarding(work())
    assert set(machine.killed()) == {ADA}


def test_one_that_ends_before_it_has_its_rules_is_no_failure(
    machine: Machine, guarding: Guarding, settings: Settings
) -> None:
    machine.run(ADA, HERE, policy().encode())
    del machine.kernel.tables[HERE]
    machine.fake.on("GET", f"/containers/{ADA}/json", {"State": {"Running": False}, "NetworkSettings": {}})
    machine.run(BOB, THERE, policy().encode())
    machine.fake.fails("GET", f"/containers/{BOB}/json", 404, f"No such container: {BOB}")

    async def work() -> None:
        await until(lambda: health.check(settings.health) == (True, "rules are in force in 0 containers"))

    guarding(work())
    assert machine.killed() == []


# --- what comes about later --------------------------------------------------------------------


def test_rules_that_somebody_has_flushed_are_applied_again(machine: Machine, guarding: Guarding) -> None:
    machine.run(ADA, HERE, policy().encode())

    async def work() -> None:
        await until(lambda: machine.kernel.has(HERE, rules_for(policy())))
        machine.kernel.add(HERE)
        await until(lambda: machine.kernel.has(HERE, rules_for(policy())))

    guarding(work())


def test_a_container_that_was_started_again_unheard_has_rules_in_its_new_namespace(
    machine: Machine, guarding: Guarding
) -> None:
    machine.run(ADA, HERE, policy().encode())

    async def work() -> None:
        await until(lambda: machine.kernel.has(HERE, rules_for(policy())))
        del machine.kernel.tables[HERE]
        machine.run(ADA, THERE, policy().encode())
        await until(lambda: machine.kernel.has(THERE, rules_for(policy())))

    guarding(work())


def test_a_list_that_is_older_than_a_start_makes_it_not_forgotten(machine: Machine, guarding: Guarding) -> None:
    """The engine made the list, the container started and got its rules, and then the list arrived."""
    kept = threading.Event()

    def late(asked: Asked) -> Answer:
        before = machine._list(asked)
        if ADA not in machine.containers:
            machine.start(ADA, HERE, policy().encode())
            kept.wait(5)
        return before

    async def work() -> None:
        await until(lambda: machine.fake.asked_for("/events"))
        machine.fake.on("GET", "/containers/json", late)
        await until(lambda: machine.kernel.restored)
        await asyncio.sleep(0.05)
        kept.set()
        await asyncio.sleep(0.1)
        machine.kernel.add(HERE)
        await until(lambda: machine.kernel.has(HERE, rules_for(policy())))

    guarding(work())


def test_an_address_of_a_node_that_becomes_known_is_refused_to_all(machine: Machine, guarding: Guarding) -> None:
    machine.run(ADA, HERE, policy("open").encode())

    async def work() -> None:
        await until(lambda: machine.kernel.has(HERE, rules_for(policy("open"))))
        remote = [{"Addr": "8.8.4.4:2377"}, {"Addr": "10.0.0.9:2377"}]
        machine.fake.on("GET", "/info", {"Swarm": {"NodeAddr": "8.8.8.8", "RemoteManagers": remote}})
        wanted = rules_for(policy("open"), Node(("8.8.4.4", "8.8.8.8")))
        await until(lambda: machine.kernel.has(HERE, wanted))

    guarding(work())


def test_where_users_are_remapped_senders_are_not_told_apart(machine: Machine, guarding: Guarding) -> None:
    machine.fake.on("GET", "/info", {"Swarm": {}, "SecurityOptions": ["name=seccomp", "name=userns"]})
    machine.run(ADA, HERE, policy("open").encode())

    async def work() -> None:
        await until(lambda: machine.kernel.has(HERE, rules_for(policy("open"), Node(owner=False))))

    guarding(work())


# --- before a container starts -----------------------------------------------------------------


@pytest.fixture
def pooled(machine: Machine, engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Guarding:
    """As `guarding`, with rules for the node and containers locked before they start."""
    monkeypatch.setattr(host, "keep", lambda *_: False)
    wanted = Settings(settings.folder, POOL, (8081, 8082), settings.health, settings.round)
    return lambda work: guard(Agent(engine, wanted), work, machine)


def arrive(machine: Machine, settings: Settings, name: str, address: str) -> None:
    """The engine makes a namespace, and gives it an address."""
    machine.kernel.add(name)
    machine.kernel.addresses[name] = [IPv4Address(address)]
    (settings.folder / name).touch()


def test_a_namespace_with_an_address_of_the_pool_is_locked_until_it_is_known_whose_it_is(
    machine: Machine, pooled: Guarding, settings: Settings
) -> None:
    async def work() -> None:
        await until(lambda: machine.fake.asked_for("/events"))
        arrive(machine, settings, HERE, "10.180.8.2")
        arrive(machine, settings, THERE, "10.180.8.3")
        await until(lambda: machine.kernel.has(HERE, locked()) and machine.kernel.has(THERE, locked()))
        machine.start(ADA, HERE, policy("open").encode())
        await until(lambda: machine.kernel.has(HERE, rules_for(policy("open"))))

    pooled(work())


def test_what_is_locked_and_turns_out_to_be_somebody_elses_is_opened(
    machine: Machine, pooled: Guarding, settings: Settings
) -> None:
    async def work() -> None:
        await until(lambda: machine.fake.asked_for("/events"))
        arrive(machine, settings, HERE, "10.180.8.2")
        await until(lambda: machine.kernel.has(HERE, locked()))
        shut = machine.kernel.tables[HERE]
        machine.run(BOB, HERE, None, "site")
        machine.kernel.tables[HERE] = shut
        machine.tell("start", BOB)
        opened = {("filter", chain): "ACCEPT" for chain in ("INPUT", "FORWARD", "OUTPUT")}
        await until(lambda: opened.items() <= machine.kernel.tables[HERE].policies.items())
        assert not machine.kernel.tables[HERE].rules["filter", "OUTPUT"]

    pooled(work())


@pytest.mark.parametrize(
    ("name", "address"), [(HERE, "172.17.0.2"), ("default", "10.180.8.2"), ("1-abcdefghij", "10.180.8.2")]
)
def test_other_namespaces_are_left_alone(
    machine: Machine, pooled: Guarding, settings: Settings, name: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of containers elsewhere, of the node itself, and of the engine's networks."""
    monkeypatch.setattr(module, "_ARRIVAL", 0.1)

    async def work() -> None:
        await until(lambda: machine.fake.asked_for("/events"))
        arrive(machine, settings, name, address)
        await asyncio.sleep(0.25)

    pooled(work())
    assert machine.kernel.untouched(name)


def test_the_node_opens_others_to_what_containers_may_reach(
    machine: Machine, pooled: Guarding, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(host, "keep", lambda *args: bool(asked.append(args)))
    machine.run(ADA, HERE, policy(others=("10.0.0.5",)).encode())
    machine.run(BOB, THERE, policy(others=("10.1.0.0/16", "10.0.0.5")).encode())

    async def work() -> None:
        await until(lambda: (str(POOL), (8081, 8082), ["10.0.0.5", "10.1.0.0/16"]) in asked)
        machine.end(BOB)
        await until(lambda: asked[-1] == (str(POOL), (8081, 8082), ["10.0.0.5"]))

    pooled(work())


def test_a_node_that_refuses_its_own_rules_keeps_containers_apart_all_the_same(
    machine: Machine, pooled: Guarding, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> bool:
        raise IptablesError("resource busy")

    monkeypatch.setattr(host, "keep", refuse)
    machine.run(ADA, HERE, policy().encode())

    async def work() -> None:
        await until(lambda: machine.kernel.has(HERE, rules_for(policy())))

    pooled(work())
    assert "the node's own rules cannot be applied: resource busy" in caplog.text
