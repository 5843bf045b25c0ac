"""Learners' containers behind their packet filters, on a real engine, with real listeners to reach or not to reach."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.engines import Engine, EngineBed
from support.guarded import POOL, RunningAgent, agent_on, launch, listening, plan_of, probe
from support.netns import run
from support.probes import (
    CLOSED,
    FILTERED,
    INTERNET,
    LISTENERS,
    METADATA,
    OPEN,
    PRIVATE,
    PUBLIC,
    PYTHON,
    UNKNOWN,
    Target,
    connections,
    provide_python,
    reached,
    run_in,
)
from support.sites import eventually

from coursewarehub.nodes.rules import MAIL, POOLS
from coursewarehub.wire import labels
from coursewarehub.wire.policy import NetworkPolicy
from coursewarespawner.payloads import service_payload

pytestmark = pytest.mark.slow

COURSE = "course"
SITE = "10.180.0.1"  # the gateway of the course's network: the machine itself
PORT, REGISTRIES_PORT = 8081, 8082
DOCKER0 = "172.17.0.1"
HUB, HISTORY = 20003, 8005

MACHINE_TCP = (22, 111, 389, 2049, 2375, 2376, 2377, 5000, 5432, 7946, 8001, HISTORY, HUB)
MACHINE_UDP = (53, 4789, 7946)
REFUSED: tuple[Target, ...] = (
    *((INTERNET, port, "tcp") for port in (*MAIL, *POOLS, 2377, 7946)),
    (INTERNET, 4789, "udp"),
)


def policy(egress: str, site: str = SITE, **more: Any) -> NetworkPolicy:
    return NetworkPolicy(site=site, port=PORT, registries_port=REGISTRIES_PORT, egress=egress, **more)


def make_network(engine: Engine, name: str = COURSE, *options: str) -> None:
    """A course's network, as the site makes it on one Docker host."""
    addresses = ("--subnet", "10.180.0.0/20", "--ip-range", "10.180.8.0/21", "--gateway", SITE)
    engine.docker("network", "create", *addresses, *options, name)


@pytest.fixture
def guarded(bed: EngineBed, tmp_path: Path) -> Iterator[RunningAgent]:
    """An agent that looks after the engine's containers; there is a course's network, and an image with Python."""
    provide_python(bed.engine)
    make_network(bed.engine)
    with agent_on(bed.engine, tmp_path / "agent.log", "--host-rules", POOL) as agent:
        yield agent


# --- A07 ---------------------------------------------------------------------------------------


def of_machine(address: str) -> tuple[Target, ...]:
    tcp = ((address, port, "tcp") for port in (*MACHINE_TCP, PORT, REGISTRIES_PORT))
    return (*tcp, *((address, port, "udp") for port in MACHINE_UDP))


@contextmanager
def everything_listens(bed: EngineBed) -> Iterator[tuple[Target, ...]]:
    """All that a container is to be kept from really answers; gives what."""
    bridge = bed.place.bridge
    elsewhere = (*PRIVATE, *PUBLIC, *REFUSED)
    for address in dict.fromkeys(address for address, _, _ in elsewhere):
        bridge.also(address)
    with ExitStack() as stack:
        machine = [target for address in (SITE, bed.engine.address, DOCKER0) for target in of_machine(address)]
        stack.enter_context(listening(bed.engine.inside(), machine))
        stack.enter_context(listening([], [*elsewhere, (bridge.address, 22, "tcp")]))
        registry = (bed.registry.network.address, 5000, "tcp")
        yield (*machine, registry, (bridge.address, 22, "tcp"), *elsewhere)


def not_open(found: dict[Target, str]) -> list[Target]:
    return [target for target, state in found.items() if state != OPEN]


def allowed(egress: str) -> set[Target]:
    site: set[Target] = {(SITE, PORT, "tcp")}
    return {
        "none": site,
        "registries": site | {(SITE, REGISTRIES_PORT, "tcp"), (SITE, 443, "tcp")},
        "open": site | set(PUBLIC),
    }[egress]


@pytest.mark.everyday
def test_a07_only_what_a_course_allows_opens(bed: EngineBed, tmp_path: Path) -> None:
    engine = bed.engine
    provide_python(engine)
    make_network(engine)
    names = {
        egress: launch(engine, plan_of(f"ada-{egress}", COURSE, policy(egress)))
        for egress in ("none", "registries", "open")
    }
    with everything_listens(bed) as targets:
        for name in names.values():
            assert not_open(probe(engine, name, targets)) == []
        with agent_on(engine, tmp_path / "agent.log", "--host-rules", POOL):
            asked = (*targets, (SITE, 443, "tcp"))
            for egress, name in names.items():
                found = probe(engine, name, asked)
                assert {target for target, state in found.items() if state == OPEN} == allowed(egress)
                assert {state for target, state in found.items() if target not in allowed(egress)} == {FILTERED}


# --- A08 ---------------------------------------------------------------------------------------

OTHERS = (8888, 22, 80, 443, 3000, 5000, 5432, 6379, 8000, 8080, 8081, 8889, *range(9000, 9009))
SIX = "fd00:c0de::/64"


def listen_in(engine: Engine, container: str, *families: str) -> None:
    """A learner who opens all doors."""
    wanted = json.dumps([(any_address, port, "tcp") for any_address in families for port in OTHERS])
    engine.docker("exec", "--detach", container, "python3", "-c", LISTENERS, wanted)
    here = [(address.replace("0.0.0.0", "127.0.0.1").replace("::", "::1"), 9000, "tcp") for address in families]
    eventually(lambda: set(probe(engine, container, here).values()) == {OPEN})


def address_of(engine: Engine, container: str, network: str = COURSE, key: str = "IPAddress") -> str:
    return str(engine.inspect("container", container)["NetworkSettings"]["Networks"][network][key])


def doors(*places: str) -> list[Target]:
    return [(place, port, "tcp") for place in places for port in OTHERS]


@pytest.mark.everyday
def test_a08_students_on_one_host_do_not_reach_each_other(bed: EngineBed, tmp_path: Path) -> None:
    engine = bed.engine
    provide_python(engine)
    make_network(engine, COURSE, "--ipv6", "--subnet", SIX)
    for name in ("ada", "bob"):
        launch(engine, plan_of(name, COURSE, policy("open")))
    listen_in(engine, "bob", "0.0.0.0", "::")
    six = address_of(engine, "bob", key="GlobalIPv6Address")
    bob = doors("bob", address_of(engine, "bob"), six, link_local(engine, "bob"))
    eventually(lambda: not not_open(probe(engine, "ada", bob)))  # link-local addresses need a moment
    with agent_on(engine, tmp_path / "agent.log", "--host-rules", POOL):
        assert set(probe(engine, "ada", bob).values()) == {FILTERED}
        # A newcomer, who has never been without rules.
        launch(engine, plan_of("eve", COURSE, policy("none")))
        found = probe(engine, "eve", bob)
        assert {state for (place, _, _), state in found.items() if place == "bob"} == {UNKNOWN}
        assert {state for (place, _, _), state in found.items() if place != "bob"} == {FILTERED}
        # The site, at the gateway's address, reaches bob's server and nothing else.
        said = run(*engine.inside(sys.executable, "-c", connections(doors(address_of(engine, "bob"), six))))
        found = dict(reached(json.loads(said)))
        assert [target for target, state in found.items() if state == OPEN] == [
            (address_of(engine, "bob"), 8888, "tcp")
        ]


def link_local(engine: Engine, container: str) -> str:
    lines = engine.within(container, "ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "link")
    return f"{lines.split()[3].split('/')[0]}%eth0"


RAW = """
import json, socket
refused = []
for what in ((socket.AF_PACKET, socket.SOCK_RAW, 0x300), (socket.AF_INET, socket.SOCK_RAW, 1)):
    try:
        socket.socket(*what).close()
    except PermissionError:
        refused.append(what[0])
print(json.dumps(refused == [socket.AF_PACKET, socket.AF_INET]))
"""


def test_a08_students_cannot_forge_packets(guarded: RunningAgent) -> None:
    launch(guarded.engine, plan_of("ada", COURSE, policy("open")))
    assert run_in(guarded.engine, "ada", RAW) is True


# --- on an overlay network ---------------------------------------------------------------------

SUBNET, SITE_THERE = "10.180.16.0/20", "10.180.16.10"


@contextmanager
def swarm_of_one(engine: Engine) -> Iterator[None]:
    """The engine manages a swarm of its own."""
    engine.docker("swarm", "init", "--advertise-addr", engine.address, "--default-addr-pool", "10.211.0.0/16")
    try:
        yield
    finally:
        for service in engine.docker("service", "ls", "--quiet").split():
            engine.docker("service", "rm", service)
        engine.remove_all()
        engine.docker("swarm", "leave", "--force")


def serve(engine: Engine, name: str, wanted: NetworkPolicy) -> str:
    """A learner's server as a service of the swarm; the name of its container."""
    plan = plan_of(name, COURSE, wanted)
    engine.api("POST", "/services/create", service_payload(plan))

    def running() -> str:
        return engine.docker("ps", "--quiet", "--filter", f"label=com.docker.swarm.service.name={name}")

    return str(eventually(running, 30))


def test_a07_a08_on_an_overlay_network(bed: EngineBed, tmp_path: Path) -> None:
    """What the swarm itself listens at on a node, the site, and another learner, from a learner's service."""
    engine = bed.engine
    provide_python(engine)
    with swarm_of_one(engine), ExitStack() as stack:
        addresses = ("--attachable", "--subnet", SUBNET, "--ip-range", "10.180.24.0/21")
        engine.docker("network", "create", "--driver", "overlay", *addresses, COURSE)
        site = ("--detach", "--name", "site", "--network", COURSE, "--ip", SITE_THERE)
        doors_of_site = [(SITE_THERE, port, "tcp") for port in (PORT, REGISTRIES_PORT, 5432, 8001)]
        engine.docker("run", *site, PYTHON, "python3", "-c", LISTENERS, json.dumps(doors_of_site))
        bed.place.bridge.also(INTERNET)
        bed.place.bridge.also(METADATA)
        elsewhere = [(METADATA, 80, "tcp"), *PUBLIC]
        stack.enter_context(listening([], elsewhere))
        stack.enter_context(listening(engine.inside(), [(engine.address, 22, "tcp")]))
        names = {
            egress: serve(engine, f"ada-{egress}", policy(egress, SITE_THERE))
            for egress in ("none", "registries", "open")
        }
        serve(engine, "bob", policy("open", SITE_THERE))
        bob = serve(engine, "bob-too", policy("open", SITE_THERE))
        listen_in(engine, bob, "0.0.0.0")
        there = address_of(engine, bob)
        of_swarm = [(engine.address, port, "tcp") for port in (22, 2377, 7946)]
        of_swarm += [(gateway(engine, bob), 2377, "tcp"), (gateway(engine, bob), 7946, "tcp")]
        targets = (*doors_of_site, *of_swarm, *elsewhere, *doors("bob-too", there))
        for name in names.values():
            assert not_open(probe(engine, name, targets)) == []
        with agent_on(engine, tmp_path / "agent.log", "--host-rules", POOL):
            for egress, name in names.items():
                found = probe(engine, name, (*targets, (SITE_THERE, 443, "tcp")))
                opened = {target for target, state in found.items() if state == OPEN}
                assert opened == {(SITE_THERE if t[0] == SITE else t[0], *t[1:]) for t in allowed(egress)}
                assert CLOSED not in found.values()
            # From the site to the learner's server, and to no other door.
            found = probe(engine, "site", doors(there))
            assert [target for target, state in found.items() if state == OPEN] == [(there, 8888, "tcp")]
            # One that starts now; and the site, started again, which was locked until it was known to be no learner's.
            engine.docker("restart", "--time", "0", "site")
            late = serve(engine, "late", policy("none", SITE_THERE))
            eventually(lambda: probe(engine, late, [(SITE_THERE, PORT, "tcp")])[SITE_THERE, PORT, "tcp"] == OPEN)
            assert not [t for t, state in probe(engine, late, targets).items() if state == OPEN and t[1] != PORT]


def gateway(engine: Engine, container: str) -> str:
    """The node as a container of an overlay network sees it: the bridge that leads outside."""
    return engine.within(container, "ip", "-4", "route", "show", "default").split()[2]


# --- names -------------------------------------------------------------------------------------

NAME_SERVER = "10.99.0.1"  # a private address, as a university's is
ANSWER = r"""
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
s.bind((sys.argv[1], 53))
print("listening", flush=True)
while True:
    asked, sender = s.recvfrom(512)
    end = asked.index(0, 12) + 5  # of the question
    kind = int.from_bytes(asked[end - 4 : end - 2], "big")
    answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(sys.argv[2]) if kind == 1 else b""
    head = asked[:2] + b"\x81\x80\0\1" + (b"\0\1" if answer else b"\0\0") + b"\0\0\0\0"
    s.sendto(head + asked[12:end] + answer, sender)
"""
LOOK_UP = """
import json, socket
def look_up(how, what):
    try:
        return how(what)
    except OSError:
        return None
there = look_up(socket.gethostbyname, "bob")
print(json.dumps({
    "outside": look_up(socket.gethostbyname, "packages.example.org"),
    "bob": there,
    "whose": look_up(lambda address: socket.gethostbyaddr(address)[0], BOB),
}))
"""


@contextmanager
def name_server(address: str) -> Iterator[None]:
    """Every name leads to INTERNET."""
    command = [sys.executable, "-c", ANSWER, address, INTERNET]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "listening\n"
        yield
        process.terminate()


def test_a08_names_are_answered_as_the_course_allows_and_nobody_learns_whose_an_address_is(
    bed: EngineBed, tmp_path: Path
) -> None:
    engine = bed.engine
    provide_python(engine)
    make_network(engine)
    bed.place.bridge.also(NAME_SERVER)
    launch(engine, plan_of("bob", COURSE, policy("open")))
    for egress in ("none", "registries", "open"):
        launch(engine, plan_of(f"ada-{egress}", COURSE, policy(egress)), Dns=[NAME_SERVER])
    look_up = LOOK_UP.replace("BOB", repr(address_of(engine, "bob")))
    with name_server(NAME_SERVER):
        before = run_in(engine, "ada-none", look_up)
        assert before == {"outside": INTERNET, "bob": address_of(engine, "bob"), "whose": f"bob.{COURSE}"}
        with agent_on(engine, tmp_path / "agent.log", "--host-rules", POOL):
            nothing = dict.fromkeys(before)
            assert run_in(engine, "ada-none", look_up) == nothing
            assert run_in(engine, "ada-registries", look_up) == nothing
            found = run_in(engine, "ada-open", look_up)
            assert found["outside"] == INTERNET and found["whose"] is None
            # Docker's name server asks for the learner, who does not reach it without.
            assert probe(engine, "ada-open", [(NAME_SERVER, 53, "udp")]) == {(NAME_SERVER, 53, "udp"): FILTERED}


# --- the agent ---------------------------------------------------------------------------------

HASTE = f"(exec 3<>/dev/tcp/{SITE}/2375) 2>/dev/null && echo {OPEN} || echo {FILTERED}; sleep 100"
FORBIDDEN: list[Target] = [(SITE, 2375, "tcp")]


def opened(engine: Engine, name: str) -> bool:
    return probe(engine, name, FORBIDDEN)[FORBIDDEN[0]] == OPEN


def test_a_program_is_locked_in_from_its_first_instruction(bed: EngineBed, tmp_path: Path) -> None:
    engine = bed.engine
    provide_python(engine)
    make_network(engine)

    def hasty(name: str) -> str:
        launch(engine, plan_of(name, COURSE, policy("open"), "bash", "-c", HASTE))
        return str(eventually(lambda: engine.docker("logs", name)))

    with listening(engine.inside(), FORBIDDEN):
        assert hasty("before") == OPEN
        with agent_on(engine, tmp_path / "agent.log", "--host-rules", POOL):
            # The node's own rules would keep it in as well; without them it is the container's alone.
            run(*engine.inside("iptables", "-w", "-I", "INPUT", "-j", "ACCEPT"))
            assert [hasty(f"after-{number}") for number in range(5)] == [FILTERED] * 5
        run(*engine.inside("iptables", "-w", "-D", "INPUT", "-j", "ACCEPT"))


def test_twenty_at_once_have_their_rules_soon_after_their_start(guarded: RunningAgent) -> None:
    engine = guarded.engine
    names = [f"ada-{number}" for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda name: launch(engine, plan_of(name, COURSE, policy("open"))), names))
    waits = sorted(guarded.waits(name) for name in names)
    print(f"from start to rules: median {waits[9]:.0f} ms, p95 {waits[18]:.0f} ms, longest {waits[19]:.0f} ms")
    assert waits[18] <= 1000  # on a machine with others on it; the aim is 150
    eventually(lambda: guarded.check() == (0, "rules are in force in 20 containers"))


def test_the_rest_of_a_connection_that_was_there_before_the_rules_is_cut(bed: EngineBed, tmp_path: Path) -> None:
    engine = bed.engine
    provide_python(engine)
    make_network(engine)
    talk = (
        "import socket, sys, time\n"
        f"s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(0.5); s.connect(({SITE!r}, 4789))\n"
        "while True:\n"
        "    try:\n"
        "        s.send(b'x'); print(s.recv(10), flush=True)\n"
        "    except OSError as error:\n"
        "        print('cut', flush=True)\n"
        "    time.sleep(0.1)\n"
    )
    with listening(engine.inside(), [(SITE, 4789, "udp")]):
        name = launch(engine, plan_of("ada", COURSE, policy("open"), "python3", "-u", "-c", talk))
        eventually(lambda: engine.docker("logs", "--tail", "1", name) == "b'x'")
        with agent_on(engine, tmp_path / "agent.log", "--host-rules", POOL):
            eventually(lambda: set(engine.docker("logs", "--tail", "3", name).split()) == {"cut"})


def test_rules_stay_when_the_agent_ends_and_the_next_one_finds_them(bed: EngineBed, tmp_path: Path) -> None:
    engine = bed.engine
    provide_python(engine)
    make_network(engine)
    agent = RunningAgent(engine, tmp_path / "agent.log", "--host-rules", POOL)
    with listening(engine.inside(), FORBIDDEN):
        agent.start()
        launch(engine, plan_of("ada", COURSE, policy("open")))
        agent.waits("ada")
        agent.kill()
        assert not opened(engine, "ada")
        before = engine.within("ada", "iptables-save", "-t", "filter").splitlines()[1:-1]
        launch(engine, plan_of("bob", COURSE, policy("open")))
        eventually(lambda: agent.check()[0] == 1, 40, every=1)
        agent.start()
        assert agent.guards("bob")
        after = engine.within("ada", "iptables-save", "-t", "filter").splitlines()[1:-1]
        agent.stop()
        agent.remove()
    assert strip(before) == strip(after)
    assert agent.check()[0] == 1


def strip(saved: list[str]) -> list[str]:
    """Rules without counts of packets."""
    return [line.partition(" [")[0] for line in saved]


def test_rules_that_somebody_removed_are_back_in_the_next_round(bed: EngineBed, tmp_path: Path) -> None:
    engine = bed.engine
    provide_python(engine)
    make_network(engine)
    with (
        listening(engine.inside(), FORBIDDEN),
        agent_on(engine, tmp_path / "agent.log", "--host-rules", POOL, "--round", "1") as agent,
    ):
        launch(engine, plan_of("ada", COURSE, policy("open")))
        agent.waits("ada")
        for command in (("-P", "INPUT", "ACCEPT"), ("-P", "OUTPUT", "ACCEPT"), ("-F",)):
            engine.within("ada", "iptables", "-w", *command)
        run(*engine.inside("iptables", "-w", "-F", "INPUT"))
        eventually(lambda: not opened(engine, "ada"), 20)
        eventually(lambda: "CW-HOST" in run(*engine.inside("iptables", "-S", "INPUT")), 20)
        assert "the rules of ada were not in force any more" in agent.said()


def test_an_engine_that_starts_again_is_followed_again(guarded: RunningAgent) -> None:
    engine = guarded.engine
    launch(engine, plan_of("ada", COURSE, policy("open")))
    guarded.waits("ada")
    engine.restart()
    launch(engine, plan_of("bob", COURSE, policy("open")))
    eventually(lambda: guarded.guards("bob"), 30)
    assert guarded.said().count("trying again") == 1
    assert "the engine answers again" in guarded.said()


def test_one_that_cannot_have_rules_is_ended_and_the_others_have_theirs(guarded: RunningAgent) -> None:
    engine = guarded.engine
    before = run(*engine.inside("iptables-save"))
    launch(engine, plan_of("host", "host", policy("open")))
    odd = plan_of("odd", COURSE, policy("open"))
    launch(engine, replace(odd, labels={**odd.labels, labels.POLICY: "{}"}))
    launch(engine, plan_of("ada", COURSE, policy("open")))
    guarded.waits("ada")
    guarded.waits("odd")
    with listening(engine.inside(), [*FORBIDDEN, (SITE, PORT, "tcp")]):
        assert probe(engine, "ada", [(SITE, PORT, "tcp")]) == {(SITE, PORT, "tcp"): OPEN}
        assert probe(engine, "odd", [(SITE, PORT, "tcp")]) == {(SITE, PORT, "tcp"): FILTERED}
    eventually(lambda: engine.inspect("container", "host")["State"]["Status"] == "exited", 20)
    assert "the rules of host cannot be applied, so it is ended: it has no network namespace" in guarded.said()
    assert "the container odd reaches nothing: its label is not a network policy" in guarded.said()
    assert chains(before) == chains(run(*engine.inside("iptables-save")))


def chains(saved: str) -> list[str]:
    return [line.split()[0] for line in saved.splitlines() if line.startswith(":")]


def test_containers_of_others_are_left_alone(guarded: RunningAgent) -> None:
    engine = guarded.engine
    engine.docker("network", "create", "elsewhere")
    for network in ("elsewhere", COURSE):  # the second one is locked until it is known to be nobody's of ours
        engine.docker("run", "--detach", "--name", f"foreign-{network}", "--network", network, PYTHON, "sleep", "1000")
    with listening(engine.inside(), [("0.0.0.0", 5000, "tcp"), *FORBIDDEN]):
        place = [(engine.address, 5000, "tcp")]
        assert set(probe(engine, "foreign-elsewhere", place).values()) == {OPEN}
    for name in ("foreign-elsewhere", f"foreign-{COURSE}"):
        saved = eventually(lambda name=name: engine.within(name, "iptables", "-S", "INPUT"))
        assert eventually(lambda name=name: engine.within(name, "iptables", "-S", "INPUT") == "-P INPUT ACCEPT"), saved


def test_rules_of_the_node_keep_the_pool_in_and_can_be_removed(guarded: RunningAgent) -> None:
    engine = guarded.engine
    launch(engine, plan_of("ada", COURSE, policy("open")))
    guarded.waits("ada")
    before = run(*engine.inside("iptables-save"))
    assert f"-A INPUT -s {POOL} -j CW-HOST-" in before and f"-A DOCKER-USER -s {POOL} -j CW-FWD-" in before
    # A container without rules of its own, at an address of the pool.
    engine.docker("run", "--detach", "--name", "bare", "--network", COURSE, PYTHON, "sleep", "1000")
    eventually(lambda: engine.within("bare", "iptables", "-S", "INPUT") == "-P INPUT ACCEPT")
    site = [(SITE, port, "tcp") for port in (PORT, REGISTRIES_PORT, 22, 2375)]
    with listening(engine.inside(), site):
        found = probe(engine, "bare", [*site, (engine.registry.network.address, 5000, "tcp")])
        assert [target[1] for target, state in found.items() if state == OPEN] == [PORT, REGISTRIES_PORT]
        guarded.stop()
        assert guarded.remove() == "the node's rules are removed"
        assert "CW-" not in run(*engine.inside("iptables-save"))
        assert not_open(probe(engine, "bare", site)) == []
    assert guarded.remove() == "the node has no such rules"
