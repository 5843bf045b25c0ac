"""Attacks on the site on a real Swarm, by students in their own notebooks and by strangers.

Each case's test carries its id. Whatever is not to be reached really is there, and is reached as soon as the rules of
the attacker's container are taken away (`unguarded`): so each test sees that it would have noticed.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from support.deployed import DeployedSite
from support.engines import Engine
from support.guarded import POOL, listening
from support.invariants import assert_i1_three_views_agree, owners
from support.netns import run
from support.probes import (
    EVIL,
    EVIL_ADDRESS,
    FORGERIES,
    INTERNET,
    LISTENERS,
    OPEN,
    PRIVATE,
    PUBLIC,
    Header,
    Target,
    answered,
    claims,
    connections,
    reached,
    requests_to,
)
from support.sites import eventually
from support.workload import Session, enter, lost, stop_server, work

from coursewarehub.nodes import tables
from coursewarehub.nodes.rules import DOCKER_USER, MAIL, POOLS, host_rules
from coursewarehub.wire import labels
from coursewarehub.wire.policy import NetworkPolicy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EGRESS = {"alpha": "open", "packages": "registries", "exam": "none"}


@pytest.fixture(scope="module", autouse=True)
def courses(site: DeployedSite) -> None:
    """A course for each kind of egress; `alpha` is there, and open."""
    for course in ("packages", "exam"):
        site.open_course(course, egress=EGRESS[course])


@pytest.fixture(autouse=True)
def all_well(whole: None, site: DeployedSite) -> Iterator[None]:
    """What `whole` sees to, and nobody left in the other courses."""
    yield
    for course in ("packages", "exam"):
        if any(service["Spec"]["Labels"][labels.COURSE] == course for service in site.services()):
            assert_i1_three_views_agree(site, course)
            for name in owners(site, course):
                stop_server(site, name, course)


def policy_of(site: DeployedSite, name: str, course: str = "alpha") -> NetworkPolicy:
    service = site.service_of(name, course)
    assert service is not None
    return NetworkPolicy.decode(service["Spec"]["Labels"][labels.POLICY])


@contextmanager
def unguarded(*machines: tuple[Engine, str]) -> Iterator[None]:
    """Containers without their rules; the agent of the node has them back in force within a minute anyway."""
    with ExitStack() as stack:
        for engine, container in machines:
            for program in ("iptables", "ip6tables"):
                saved = engine.within(container, f"{program}-save", "--table", "filter")
                put_back = (f"{program}-restore", "--noflush")
                stack.callback(engine.within, container, *put_back, given=f"{saved}\n")
                engine.within(container, *put_back, given=tables.opened())
        yield


def probe(session: Session, targets: Iterable[Target]) -> dict[Target, str]:
    """What a student reaches from a notebook."""
    return dict(reached(session.finds(connections(targets))))


def open_of(found: dict[Target, str]) -> set[Target]:
    return {target for target, state in found.items() if state == OPEN}


def assert_rules_alone_close(session: Session, targets: Iterable[Target], *machines: tuple[Engine, str]) -> None:
    """Without the rules of these containers a student reaches every target: all of them have proved something."""
    closed = set(targets)

    def all_open() -> bool:
        with unguarded(*machines):
            closed.difference_update(open_of(probe(session, closed)))
        return not closed

    with contextlib.suppress(AssertionError):
        eventually(all_open, 20)
    assert not closed, f"these prove nothing, for they do not open without rules either: {sorted(closed)}"


# -- A06: who one says one is -----------------------------------------------------------------------------------------

PAGES = ("hub/home", "hub/admin", "hub/api/user", "hub/api/users", "user/ada/lab", "user/ada/api/status", "hub/login")
SIGNS = ('"ada"', ">ada<")
"""How an answer to ada says who she is; three letters alone are in many a random text."""


def answers(run_it: Callable[[str], Any], place: str, wanted: list[tuple[str, list[Header]]]) -> list[dict[str, Any]]:
    parts = urlsplit(place)
    found: list[dict[str, Any]] = run_it(requests_to(parts.hostname or "", parts.port or 80, wanted, SIGNS))
    return found


def from_outside(snippet: str) -> Any:
    return json.loads(run(sys.executable, "-c", snippet, timeout=300).splitlines()[-1])


def assert_claims_change_nothing(
    run_it: Callable[[str], Any], place: str, paths: Iterable[str], but: str = ""
) -> list[dict[str, Any]]:
    """Whatever is claimed, the answer is (but for one part) the one without the claim; gives the answers without."""
    paths = list(paths)
    plain = answers(run_it, place, [(path, []) for path in paths])
    wanted = [(path, claim) for path in paths for claim in claims("ada")]
    for (path, claim), seen in zip(wanted, answers(run_it, place, wanted), strict=True):
        usual = plain[paths.index(path)]
        assert seen | {but: None} == usual | {but: None}, (path, claim, seen, usual)
    print(f"A06: {len(wanted)} requests to {place}")
    return plain


def test_a06_strangers_stay_strangers_whatever_they_say(site: DeployedSite) -> None:
    """From outside, at the front door: portal, hub and the running server of an instructor."""
    ada = enter(site, "ada")
    begin = urlsplit(site.course_url("alpha")).path
    plain = assert_claims_change_nothing(from_outside, site.url, [f"{begin}{page}" for page in PAGES] + ["/"])
    assert [seen["status"] for seen in plain] == [302, 302, 403, 403, 302, 403, 200, 200]
    for seen in plain:
        assert not seen["place"] or seen["place"].startswith(begin), seen
        names = {cookie.partition(";")[0] for cookie in seen["cookies"]}
        assert not names & {"jupyterhub-hub-login", "jupyterhub-user-ada"}, seen
        assert seen["told"] == [], seen
    # Another host is nobody's: neither the answer nor a page leads there.
    strange: list[list[Header]] = [[("Host", EVIL)], [("Host", f"{EVIL}:80")], [("Host", f"x@{EVIL}")], [("Host", "")]]
    wanted = [(f"{begin}{page}", claim) for page in PAGES for claim in strange]
    for (path, claim), seen in zip(wanted, answers(from_outside, site.url, wanted), strict=True):
        assert seen["status"] in {200, 302, 400, 403, 404}, (path, claim, seen)
        assert EVIL not in seen["place"] and seen["told"] == [], (path, claim, seen)
    # Whoever is known stays who they are.
    me = f"{site.course_url('alpha')}hub/api/user"
    sam = enter(site, "sam")
    for claim in claims("ada"):
        name, _ = claim[0]
        if name != "Authorization" and len(claim) == 1:
            headers = {**dict(claim), "X-XSRFToken": sam.cookie("_xsrf", me), "Sec-Fetch-Site": "same-origin"}
            assert sam.session.get(me, headers=headers, timeout=30).json()["name"] == "sam", claim
    assert SIGNS[0] in ada.session.get(me, headers={"Sec-Fetch-Site": "same-origin"}, timeout=30).text
    for log in (site.folder.root / "state" / "logs").rglob("*.log"):
        assert EVIL_ADDRESS not in log.read_text(errors="replace"), f"{log.name} believes in the claimed address"


def test_a06_a_container_is_who_its_token_says_and_nobody_without(site: DeployedSite) -> None:
    """From a student's container: at the site's door for containers, and at the own server behind the proxy's back."""
    enter(site, "ada")
    (sam,) = work(site, ["sam"])
    policy = policy_of(site, "sam")
    door, own = f"http://{policy.site}:{policy.port}", "http://127.0.0.1:8888"
    begin = urlsplit(site.course_url("alpha")).path
    there = [f"{begin}hub/api/user", f"{begin}hub/api/users", f"{begin}hub/home", "/courses/beta/hub/api/user", "/"]
    plain = assert_claims_change_nothing(sam.finds, door, there)
    assert [seen["status"] for seen in plain] == [403, 403, 404, 404, 404]
    # It believes in https, and marks its cookies so: nobody but its owner can tell it.
    behind = [f"{begin}user/sam/api/status", f"{begin}user/sam/lab"]
    plain = assert_claims_change_nothing(sam.finds, own, behind, but="cookies")
    assert [seen["status"] for seen in plain] == [403, 302]
    token = sam.kernel.run("import os; print(os.environ['JUPYTERHUB_API_TOKEN'])").strip()
    mine: Header = ("Authorization", f"token {token}")
    wanted = [(f"{begin}hub/api/user", [mine, *claim]) for claim in claims("ada") if len(claim) == 1]
    wanted = [(path, claim) for path, claim in wanted if claim[1][0] != "Authorization"]
    for seen in answers(sam.finds, door, wanted):
        assert (seen["status"], seen["told"]) == (200, []), seen
    assert answers(sam.finds, door, [(f"{begin}hub/api/users/ada", [mine])])[0]["status"] in {403, 404}


# -- A07: the allow-list ----------------------------------------------------------------------------------------------

MACHINE = (22, 111, 389, 2049, 2375, 2376, 5000, 5432, 8001, 8005, 20003)
SWARM_TCP, SWARM_UDP = (2377, 7946), (4789, 7946)
REFUSED: tuple[Target, ...] = (
    *((INTERNET, port, "tcp") for port in (*MAIL, *POOLS, *SWARM_TCP)),
    *((INTERNET, port, "udp") for port in SWARM_UDP),
)
BRIDGE = "docker_gwbridge"


def gateway(engine: Engine, container: str) -> str:
    """The node as a container of an overlay network sees it."""
    return engine.within(container, "ip", "-4", "route", "show", "default").split()[2]


@contextmanager
def everything_listens(site: DeployedSite, engine: Engine, container: str, door: str) -> Iterator[tuple[Target, ...]]:
    """All that a container is to be kept from really answers, with Docker's own ports; gives what.

    On every node, at the bridge of the container's own, at the address of the site, and outside.
    """
    bed, bridge = site.bed, site.bed.place.bridge
    elsewhere = (*PRIVATE, *PUBLIC, *REFUSED)
    for address in dict.fromkeys(address for address, _, _ in elsewhere):
        bridge.also(address)
    here = gateway(engine, container)
    places = [(each, each.address) for each in bed.engines.values()] + [(engine, here)]
    found: list[Target] = []
    with ExitStack() as stack:
        for each, address in places:
            targets: list[Target] = [(address, port, "tcp") for port in MACHINE] + [(address, 53, "udp")]
            stack.enter_context(listening(each.inside(), targets))
            found += [*targets, (address, 7946, "tcp")]
        of_site: list[Target] = [(door, port, "tcp") for port in (*MACHINE, *SWARM_TCP)]
        of_site += [(door, port, "udp") for port in (53, *SWARM_UDP)]
        stack.enter_context(listening(bed.manager.into(site.site_container()), of_site))
        stack.enter_context(listening([], elsewhere))
        manager = (bed.manager.address, 2377, "tcp")
        edge = (bed.manager.address, site.folder.port, "tcp")
        yield (*found, manager, edge, (bed.registry.network.address, 5000, "tcp"), *of_site, *elsewhere)


def allowed(egress: str, door: NetworkPolicy) -> set[Target]:
    site: set[Target] = {(door.site, door.port, "tcp")}
    registries: set[Target] = {(door.site, door.registries_port, "tcp"), (door.site, 443, "tcp")}
    return {"none": site, "registries": site | registries, "open": site | set(PUBLIC)}[egress]


@pytest.mark.parametrize("course", EGRESS)
def test_a07_only_what_a_course_allows_opens(site: DeployedSite, course: str) -> None:
    (sam,) = work(site, ["sam"], course)
    machine = engine, container = site.machine_of(sam.name, course)
    policy = policy_of(site, "sam", course)
    with everything_listens(site, engine, container, policy.site) as targets:
        near = [target for target in targets if target[0] == engine.address]
        itself = reached(json.loads(run(*engine.inside(sys.executable, "-c", connections(near)))))
        assert open_of(dict(itself)) == set(near)
        asked = (*targets, (policy.site, policy.port, "tcp"), (policy.site, policy.registries_port, "tcp"))
        found = probe(sam, (*asked, (policy.site, 443, "tcp")))
        assert open_of(found) == allowed(EGRESS[course], policy)
        assert_rules_alone_close(sam, targets, machine)
        assert sent_to_the_swarm(site, sam, engine, container) == 0
        with unguarded(machine):
            assert sent_to_the_swarm(site, sam, engine, container) > 0
    print(f"A07: {len(found)} targets, {EGRESS[course]}: {sorted(allowed(EGRESS[course], policy))} open")


def sent_to_the_swarm(site: DeployedSite, session: Session, engine: Engine, container: str) -> int:
    """How many datagrams of a student come to the ports of overlay networks and of gossip, which do not answer."""
    count = ("PREROUTING", "-i", BRIDGE, "-p", "udp", "-m", "multiport", "--dports", ",".join(map(str, SWARM_UDP)))
    assert engine.network is not None
    engine.network.run("iptables", "-w", "-t", "raw", "-I", *count)
    try:
        addresses = [each.address for each in site.bed.engines.values()] + [gateway(engine, container)]
        probe(session, [(address, port, "udp") for address in addresses for port in SWARM_UDP])
        rules = engine.network.run("iptables", "-w", "-t", "raw", "-nvxL", "PREROUTING").splitlines()
        return int(next(line for line in rules if "multiport" in line).split()[0])
    finally:
        engine.network.run("iptables", "-w", "-t", "raw", "-D", *count)


METADATA6 = "fd00:ec2::254"


def test_a07_nothing_of_ipv6_opens(site: DeployedSite) -> None:
    """Networks of the site have no IPv6, so the test gives it to the container, and the node the metadata address."""
    (sam,) = work(site, ["sam"])
    machine = engine, container = site.machine_of(sam.name)
    assert engine.network is not None
    card = engine.within(container, "ip", "-4", "route", "show", "default").split()[4]
    give_six(engine, container, card, "fd00:ec2::1/64")
    engine.network.run("sysctl", "-qw", f"net.ipv6.conf.{BRIDGE}.disable_ipv6=0")
    engine.network.run("ip", "-6", "addr", "replace", f"{METADATA6}/64", "dev", BRIDGE, "nodad")
    try:
        targets = [(METADATA6, port, "tcp") for port in (80, 2375)] + [(METADATA6, 53, "udp")]
        with listening(engine.inside(), targets):
            assert open_of(probe(sam, targets)) == set()
            assert_rules_alone_close(sam, targets, machine)
    finally:
        engine.network.run("ip", "-6", "addr", "del", f"{METADATA6}/64", "dev", BRIDGE)


def give_six(engine: Engine, container: str, card: str, address: str) -> None:
    """An address of IPv6 for one card of a container."""
    engine.within(container, "sysctl", "-qw", f"net.ipv6.conf.{card}.disable_ipv6=0")
    engine.within(container, "ip", "-6", "addr", "replace", address, "dev", card, "nodad")


def test_a07_nothing_for_a_server_leaves_for_elsewhere(site: DeployedSite) -> None:
    """The site asks for a server in a network that it is not in: a machine outside with that address hears nothing."""
    bed = site.bed
    elsewhere = "10.183.240.1"  # of the last course that could be
    bed.place.bridge.also(elsewhere)
    targets: list[Target] = [(elsewhere, 8888, "tcp")]
    jump = next(rule for rule in host_rules(POOL, (8081,)) if rule.arguments[0] == "-d").arguments
    assert bed.manager.network is not None

    def from_the_site() -> set[Target]:
        command = (*bed.manager.into(site.site_container()), sys.executable, "-c", connections(targets))
        return open_of(dict(reached(json.loads(run(*command)))))

    with listening([], targets):
        assert from_the_site() == set()
        bed.manager.network.run("iptables", "-w", "-D", DOCKER_USER, *jump)
        assert from_the_site() == set(targets)


# -- A08: each other --------------------------------------------------------------------------------------------------

DOORS = (8888, 22, 80, 443, 3000, 5000, 5432, 6379, 8000, 8080, 8081, 8889, *range(9000, 9009))


def open_all_doors(session: Session) -> None:
    """A student who listens at every port, beside the server's own."""
    wanted = [(address, port, "tcp") for address in ("0.0.0.0", "::") for port in DOORS[1:] if port > 1023]
    session.kernel.run(
        "import subprocess, sys\n"
        f"doors = subprocess.Popen([sys.executable, '-c', {LISTENERS!r}, {json.dumps(wanted)!r}], stdout=-1)\n"
        "assert doors.stdout.readline() == b'listening\\n'"
    )


def card_of(engine: Engine, container: str, network: str = "10.180.") -> tuple[str, str, str]:
    """Name, IPv4 address and hardware address of a container's card in its course's network."""
    shown = json.loads(engine.within(container, "ip", "-j", "addr"))
    for card in shown:
        for address in card["addr_info"]:
            if address["local"].startswith(network):
                return card["ifname"], address["local"], card["address"]
    raise AssertionError(shown)


def test_a08_students_do_not_reach_each_other(site: DeployedSite) -> None:
    """By name, address and IPv6 (which the test gives them: the site's networks have none), near and far."""
    students = work(site, [f"a08-{number}" for number in range(4)])
    places = {session.name: site.machine_of(session.name) for session in students}
    mallory = next(s for s in students if sum(places[o.name][0] is places[s.name][0] for o in students) > 1)
    here = places[mallory.name]
    near = next(s for s in students if s is not mallory and places[s.name][0] is here[0])
    far = next(s for s in students if places[s.name][0] is not here[0])
    cards = {}
    for number, session in enumerate((mallory, near, far), start=1):
        cards[session.name] = card_of(*places[session.name])
        give_six(*places[session.name], cards[session.name][0], f"fd00:c0de::{number}/64")
    for session in (near, far):
        open_all_doors(session)
    listening_at = [8888, *(port for port in DOORS[1:] if port > 1023)]
    # Docker carries no neighbour discovery between machines: who knows the hardware address needs none.
    for one, other, address in ((mallory, far, 3), (far, mallory, 1)):
        engine, container = places[one.name]
        (card, _, _), (_, _, hardware) = cards[one.name], cards[other.name]
        neighbour = (f"fd00:c0de::{address}", "lladdr", hardware, "dev", card)
        engine.within(container, "ip", "-6", "neigh", "replace", *neighbour)
    names = {s.name: site.service_of(s.name)["Spec"]["Name"] for s in (near, far)}  # type: ignore[index]
    by_address = {near.name: [cards[near.name][1], "fd00:c0de::2"], far.name: [cards[far.name][1], "fd00:c0de::3"]}
    doors: list[Target] = [
        (place, port, "tcp")
        for session in (near, far)
        for place in (names[session.name], *by_address[session.name])
        for port in listening_at
    ]
    found = probe(mallory, doors)
    assert open_of(found) == set()
    # The site reaches the server of each and no other door.
    for session in (near, far):
        place = cards[session.name][1]
        snippet = connections([(place, port, "tcp") for port in listening_at])
        seen = reached(json.loads(run(*site.bed.manager.into(site.site_container()), sys.executable, "-c", snippet)))
        assert [port for (_, port, _), state in seen.items() if state == OPEN] == [8888]
    assert lost(students) == []
    # The rules of either side are enough.
    theirs = [places[near.name], places[far.name]]
    for side in ([here], theirs):
        with unguarded(*side):
            assert open_of(probe(mallory, doors)) == set()
    there = [target for target in doors if not (":" in target[0] and target[1] == 8888)]  # servers speak IPv4
    assert_rules_alone_close(mallory, there, here, *theirs)
    print(f"A08: {len(found)} doors")


def test_a08_students_cannot_forge_frames_packets_or_neighbours(site: DeployedSite) -> None:
    """Spoofing ARP, neighbours or senders needs CAP_NET_RAW or CAP_NET_ADMIN: root of the node can, in that network."""
    (sam,) = work(site, ["sam"])
    assert set(sam.finds(FORGERIES).values()) == {"PermissionError"}
    engine, container = site.machine_of(sam.name)
    as_root = json.loads(engine.within(container, sys.executable, "-c", FORGERIES))
    assert "PermissionError" not in as_root.values(), as_root


def test_a08_names_tell_nobody_whose_an_address_is(site: DeployedSite) -> None:
    """Docker's name server answers questions about the internet, in an open course, and none about addresses."""
    sam, bob = work(site, ["sam", "bob"])
    machine = site.machine_of(sam.name)
    there = card_of(*site.machine_of(bob.name))[1]
    pointer = ".".join(reversed(there.split("."))) + ".in-addr.arpa"
    network = [f"{last}.8.180.10.in-addr.arpa" for last in range(1, 12)]
    guesses = [(name, 1) for name in ("bob", "jupyter-bob", "jupyter-alpha-bob", "tasks.bob", "*", "alpha")]
    questions = [(pointer, 12), (pointer.upper(), 12), (pointer, 255), *((name, 12) for name in network), *guesses]
    found = sam.finds(answered(questions))
    assert not any(found), dict(zip(questions, found, strict=True))

    def told() -> bool:
        with unguarded(machine):
            return bool(sam.finds(answered([(pointer, 12)]))[0])

    eventually(told, 20)
    (exam,) = work(site, ["sam"], "exam")
    service = site.service_of("sam", "exam")
    assert service is not None
    assert exam.finds(answered([(service["Spec"]["Name"], 1), ("pypi.org", 1), (pointer, 12)])) == [None] * 3


# -- A14: nobody's choice ---------------------------------------------------------------------------------------------

CHOICES: dict[str, Any] = {
    "image": "evil:1",
    "cmd": ["sh", "-c", "sleep 1000"],
    "args": ["--allow-root"],
    "env": {"EVIL": "1"},
    "environment": {"EVIL": "1"},
    "mounts": [{"source": "/", "target": "/host", "type": "bind"}],
    "volumes": {"/": "/host"},
    "network": "host",
    "network_name": "host",
    "runtime": "evil",
    "mem_limit": "100G",
    "cpu_limit": 64,
    "memory": "100G",
    "processes": 100000,
    "egress": "open",
    "user": "0:0",
    "privileged": True,
    "extra_host_config": {"privileged": True},
    "extra_container_spec": {"user": "root"},
    "plan": "x",
    "profile": "x",
}


def spec_of(site: DeployedSite, name: str) -> str:
    """A student's service without what differs from start to start: the token and the start's id."""
    service = site.service_of(name)
    assert service is not None
    spec = service["Spec"]
    container = spec["TaskTemplate"]["ContainerSpec"]
    container["Env"] = [each for each in container["Env"] if "API_TOKEN=" not in each]
    for place in (spec, container):
        place["Labels"].pop(labels.SPAWN)
    return json.dumps(spec, sort_keys=True)


def test_a14_options_of_a_start_choose_nothing(site: DeployedSite) -> None:
    """In the form, in JSON, in the query, and as a named server: refused, or the same service as without."""
    sam = enter(site, "sam")
    plain = spec_of(site, "sam")
    hub = f"{site.course_url('alpha')}hub/"
    form = {key: json.dumps(value) for key, value in CHOICES.items()}
    query = {f"opt-{key}": value for key, value in form.items()}

    def headers() -> dict[str, str]:
        return {
            "X-XSRFToken": sam.cookie("_xsrf", hub),
            "Sec-Fetch-Mode": "cors",
            "Sec-Fetch-Dest": "empty",
            "Referer": f"{hub}home",
        }

    def json_(method: str, path: str, body: Any = CHOICES) -> requests.Response:
        return sam.session.request(method, f"{hub}api/users/sam/{path}", json=body, headers=headers(), timeout=60)

    def page(method: str, params: Any = None, data: Any = None) -> requests.Response:
        return sam.session.request(method, f"{hub}spawn", params=params, data=data, timeout=60, allow_redirects=False)

    def patched() -> requests.Response:
        assert json_("PATCH", "server", {"user_options": CHOICES}).ok
        return page("GET")

    def xsrf() -> dict[str, str]:
        return {"_xsrf": sam.cookie("_xsrf", hub)}

    ways: dict[str, Callable[[], requests.Response]] = {
        "json": lambda: json_("POST", "server"),
        "json, nested": lambda: json_("POST", "server", dict.fromkeys(("user_options", "options", "spawner"), CHOICES)),
        "form": lambda: page("POST", data=form | xsrf()),
        "query": lambda: page("GET", params=form | query),
        "query of the form": lambda: page("POST", params=form | query | xsrf(), data=form),
        "options of a stopped server": patched,
    }
    for way, start in ways.items():
        stop_server(site, "sam")
        answer = start()
        assert answer.status_code < 500, (way, answer.status_code)
        print(f"A14: {way}: {answer.status_code}")
        if answer.status_code < 400:
            eventually(lambda: "sam" in owners(site), 60, every=0.2)
            assert spec_of(site, "sam") == plain, way
        else:
            assert site.service_of("sam") is None, way
            sam.enter(60)
    assert_i1_three_views_agree(site)
    # There is no server of another name, and one that runs is not to be changed.
    for method, path, body in (
        ("POST", "servers/evil", CHOICES),
        ("PATCH", "servers/evil", {"user_options": CHOICES}),
        ("PATCH", "server", {"name": "evil"}),
        ("PATCH", "server", {"display_name": "evil", "user_options": CHOICES}),
    ):
        assert 400 <= json_(method, path, body).status_code < 500, (method, path)
    assert [service["Spec"]["Name"] for service in site.services()] == [json.loads(plain)["Name"]]
    assert spec_of(site, "sam") == plain
