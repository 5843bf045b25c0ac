"""What `coursewarehub doctor` finds of Docker, of a swarm, and of this machine as a host of containers."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.fake_engine import Answer, FakeEngine, fake_engine
from support.models import a_course, a_site

from coursewarehub.cli import doctor_engine, doctor_host
from coursewarehub.cli.doctor import Finding, Level
from coursewarehub.cli.doctor_engine import Told
from coursewarehub.engine import Cause, Refused, Unreachable
from coursewarehub.model import LoadedSite
from coursewarehub.model.spawner import ContainerSpawner
from coursewarehub.wire import labels

GOOD, NOTE, BAD = Level.GOOD, Level.NOTE, Level.BAD
AT = "unix:///var/run/docker.sock"
SITE = "site-1"

INFO = {
    "MemoryLimit": True,
    "SwapLimit": True,
    "CpuCfsQuota": True,
    "PidsLimit": True,
    "IPv4Forwarding": True,
    "BridgeNfIptables": True,
    "LiveRestoreEnabled": True,
    "SecurityOptions": ["name=apparmor", "name=seccomp,profile=default"],
    "Runtimes": {"runc": {}},
    "DockerRootDir": "/nowhere/docker",
}
VERSION = {"Version": "20.10.24", "ApiVersion": "1.41"}


def spawner(kind: str = "docker", **settings: Any) -> ContainerSpawner:
    storage = {"storage": "/srv/courseware"} if kind == "swarm" else {}
    found = a_site(spawner={"kind": kind, **storage, **settings}).spawner
    assert isinstance(found, ContainerSpawner)
    return found


def bad(found: Iterable[Finding]) -> list[str]:
    return [finding.text for finding in found if finding.level is BAD]


# --- is there an engine ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cause", "installed", "telling"),
    [
        (Cause.MISSING, False, ["there is no Docker on this machine", "apt install docker.io"]),
        (Cause.MISSING, True, ["Docker is installed and there is no socket", "systemctl start docker"]),
        (Cause.REFUSED, True, ["Docker does not run", "systemctl start docker"]),
        (Cause.FORBIDDEN, True, ["this account may not use Docker", "as root"]),
        (Cause.TIMEOUT, True, ["Docker does not answer", "systemctl restart docker"]),
        (Cause.BROKEN, True, ["is no Docker Engine", "spawner.engine"]),
        (Cause.FAILED, True, ["words of the engine"]),
    ],
)
def test_no_engine_is_one_sentence_and_the_fix(cause: Cause, installed: bool, telling: list[str]) -> None:
    error = Unreachable("words of the engine", cause)
    finding = doctor_engine.unreachable(error, AT, installed=installed)
    assert finding.level is BAD
    assert all(words in finding.text for words in telling)


@pytest.mark.parametrize(
    ("version", "text"),
    [
        (
            {"Version": "19.03.15", "ApiVersion": "1.40"},
            "Docker 19.03.15 is too old (API 1.40): install Docker 20.10 or newer",
        ),
        ({"Version": "1.13", "ApiVersion": "1.25"}, "Docker 1.13 is too old (API 1.25): install Docker 20.10 or newer"),
        ({}, f"what answers at {AT} is no Docker Engine"),
        ({"ApiVersion": "new"}, f"what answers at {AT} is no Docker Engine"),
        ({"ApiVersion": "1.41"}, None),
        ({"ApiVersion": "1.51"}, None),
    ],
)
def test_old_engines(version: dict[str, str], text: str | None) -> None:
    found = doctor_engine.too_old(version, AT)
    assert (str(found) if found else None) == text


# --- what the engine can -----------------------------------------------------------------------


def test_a_sound_engine() -> None:
    found = list(doctor_engine.of_engine(Told(VERSION, INFO), spawner()))
    assert found == [
        Finding(GOOD, f"Docker 20.10.24 (API 1.41) answers at {AT}"),
        Finding(GOOD, "new privileges are forbidden in every container"),
    ]


@pytest.mark.parametrize(
    ("change", "level", "telling"),
    [
        ({"MemoryLimit": False}, BAD, ["cannot limit the memory", "cgroup_enable=memory swapaccount=1"]),
        ({"CpuCfsQuota": False}, BAD, ["cannot limit the processor time"]),
        ({"PidsLimit": False}, BAD, ["cannot limit the number of processes"]),
        ({"SwapLimit": False}, NOTE, ["may use swap", "swapaccount=1"]),
        ({"SecurityOptions": None}, BAD, ["Docker has no seccomp", "CONFIG_SECCOMP_FILTER"]),
        ({"SecurityOptions": ["name=seccomp,profile=unconfined"]}, BAD, ["`unconfined`", "daemon.json"]),
        ({"SecurityOptions": [*INFO["SecurityOptions"], "name=userns"]}, BAD, ["`userns-remap`"]),  # type: ignore[misc]
        ({"SecurityOptions": [*INFO["SecurityOptions"], "name=rootless"]}, BAD, ["rootless"]),  # type: ignore[misc]
        ({"IPv4Forwarding": False}, BAD, ["forwards no packets", "sysctl net.ipv4.ip_forward=1"]),
        ({"BridgeNfIptables": False}, BAD, ["unseen", "modprobe br_netfilter"]),
        ({"LiveRestoreEnabled": False}, NOTE, ["ends all learners' servers", "live-restore"]),
    ],
)
def test_what_an_engine_lacks(change: dict[str, Any], level: Level, telling: list[str]) -> None:
    sound = set(doctor_engine.of_engine(Told(VERSION, INFO), spawner()))
    (finding,) = set(doctor_engine.of_engine(Told(VERSION, {**INFO, **change}), spawner())) - sound
    assert finding.level is level
    assert all(words in finding.text for words in telling)


def test_an_old_engine_that_says_little_is_not_blamed_for_it() -> None:
    told = Told(VERSION, {"SecurityOptions": INFO["SecurityOptions"], "LiveRestoreEnabled": True})
    assert bad(doctor_engine.of_engine(told, spawner())) == []


def test_a_runtime_that_is_missing() -> None:
    found = bad(doctor_engine.of_engine(Told(VERSION, INFO), spawner(runtime="runsc")))
    assert len(found) == 1
    assert "no runtime `runsc`" in found[0]
    assert bad(doctor_engine.of_engine(Told(VERSION, INFO), spawner(runtime="runc"))) == []


@pytest.mark.parametrize(
    ("kind", "api", "options", "level", "telling"),
    [
        ("docker", "1.41", [], GOOD, "in every container"),
        ("docker", "1.51", [], GOOD, "in every container"),
        ("swarm", "1.41", [], NOTE, '`"no-new-privileges": true` in /etc/docker/daemon.json'),
        ("swarm", "1.43", [], NOTE, "every node"),
        ("swarm", "1.44", [], GOOD, "in every service"),
        ("swarm", "1.43", ["name=no-new-privileges"], GOOD, "by the engine"),
    ],
)
def test_where_new_privileges_are_forbidden(
    kind: str, api: str, options: list[str], level: Level, telling: str
) -> None:
    finding = doctor_engine.new_privileges({"Version": "x", "ApiVersion": api}, {"SecurityOptions": options}, kind)
    assert finding.level is level
    assert telling in finding.text


def test_images_that_are_missing() -> None:
    told = Told(images={"lab:1": True, "lab:2": False})
    assert bad(doctor_engine.of_images(told, ["lab:1", "lab:2"])) == [
        "the image lab:2 is not on this machine: build it with `coursewarehub image build`, or fetch it with "
        "`docker pull lab:2`"
    ]


@pytest.mark.parametrize(
    ("courses", "images"),
    [({}, ("std:1",)), ({"aa": None}, ("std:1",)), ({"aa": None, "bb": "r:2", "cc": "r:2"}, ("r:2", "std:1"))],
)
def test_images_of_a_site(courses: dict[str, str | None], images: tuple[str, ...]) -> None:
    made = {name: a_course(name, **({"image": image} if image else {})) for name, image in courses.items()}
    site = a_site(spawner={"kind": "docker", "image": "std:1"})
    assert isinstance(site.spawner, ContainerSpawner)
    assert doctor_engine.images_of(LoadedSite(Path(), site, made), site.spawner) == images


# --- addresses ---------------------------------------------------------------------------------

ROUTES = """Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	0100000A	0003	0	0	0	00000000	0	0	0
eth0	0000A8C0	00000000	0001	0	0	0	00FFFFFF	0	0	0
br-0123456789ab	0010B40A	00000000	0001	0	0	0	00F0FFFF	0	0	0
"""
CAMPUS = "vpn0	0000B50A	00000000	0001	0	0	0	0000FFFF	0	0	0\n"


def network(name: str, subnet: str, *, ours: bool = False, number: str = "0123456789abcdef") -> dict[str, Any]:
    held = {labels.SITE: SITE, labels.KIND: labels.KIND_NETWORK} if ours else {}
    return {"Name": name, "Id": number, "Labels": held, "IPAM": {"Config": [{"Subnet": subnet}]}}


def test_routes_of_a_machine() -> None:
    assert list(doctor_host.routes(ROUTES + CAMPUS)) == [
        (IPv4Network("192.168.0.0/24"), "eth0"),
        (IPv4Network("10.180.16.0/20"), "br-0123456789ab"),
        (IPv4Network("10.181.0.0/16"), "vpn0"),
    ]
    assert list(doctor_host.routes("")) == []


@pytest.mark.parametrize(
    ("found", "info", "routes", "telling"),
    [
        ([network("cw-stats", "10.180.16.0/20", ours=True)], {}, ROUTES, []),
        ([], {}, ROUTES.splitlines(keepends=True)[0], []),
        ([network("bridge", "172.17.0.0/16")], {"DefaultAddressPools": None}, "", []),
        ([network("lab", "10.182.0.0/24", number="f" * 16)], {}, "", ["the Docker network `lab` has 10.182.0.0/24"]),
        ([], {}, CAMPUS.join(["Iface\n", ""]), ["this machine reaches 10.181.0.0/16 by vpn0"]),
        ([], {}, ROUTES, ["this machine reaches 10.180.16.0/20 by br-0123456789ab"]),
        ([network("lab", "10.180.16.0/20")], {}, ROUTES, ["the Docker network `lab` has 10.180.16.0/20"]),
        (
            [],
            {"DefaultAddressPools": [{"Base": "10.183.0.0/16", "Size": 24}, {"Base": "fd00::/48", "Size": 64}]},
            "",
            ["Docker gives out 10.183.0.0/16"],
        ),
        ([], {"Swarm": {"Cluster": {"DefaultAddrPool": ["10.0.0.0/8"]}}}, "", []),
        ([], {"Swarm": {"Cluster": {"DefaultAddrPool": ["10.180.0.0/12"]}}}, "", []),
        ([], {"Swarm": {"Cluster": {"DefaultAddrPool": ["10.180.0.0/14"]}}}, "", ["Docker gives out 10.180.0.0/14"]),
    ],
)
def test_addresses_of_others(
    found: list[dict[str, Any]], info: dict[str, Any], routes: str, telling: list[str]
) -> None:
    told = Told(VERSION, info, found)
    texts = bad(doctor_engine.of_addresses(told, spawner(), routes))
    assert len(texts) == len(telling)
    assert all(text.startswith("of 10.180.0.0/14, ") for text in texts)
    assert all("choose other `spawner.addresses`" in text for text in texts)
    assert all(words in text for words, text in zip(telling, texts, strict=True))


@pytest.mark.parametrize(
    ("pool", "base", "clashes"),
    [
        ("10.0.0.0/14", "10.0.0.0/8", True),
        ("10.0.128.0/17", "10.0.0.0/8", True),
        ("10.1.0.0/16", "10.0.0.0/8", False),
        ("10.180.0.0/14", "10.181.4.0/24", True),
        ("10.180.0.0/14", "172.17.0.0/16", False),
    ],
)
def test_default_pools_that_clash(pool: str, base: str, clashes: bool) -> None:
    assert doctor_engine.clash(IPv4Network(pool), IPv4Network(base)) is clashes


# --- swarm -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("swarm", "telling"),
    [
        ({}, ["in no swarm (inactive)", "docker swarm init"]),
        ({"LocalNodeState": "inactive"}, ["in no swarm", "docker swarm join-token manager"]),
        ({"LocalNodeState": "pending"}, ["in no swarm (pending)"]),
        ({"LocalNodeState": "locked"}, ["is locked", "docker swarm unlock"]),
        ({"LocalNodeState": "active", "ControlAvailable": False}, ["a worker", "docker node promote"]),
        ({"LocalNodeState": "active", "ControlAvailable": True}, None),
    ],
)
def test_the_engines_part_in_a_swarm(swarm: dict[str, Any], telling: list[str] | None) -> None:
    finding = doctor_engine.membership(swarm)
    assert (finding is None) is (telling is None)
    if finding is not None and telling is not None:
        assert finding.level is BAD
        assert all(words in finding.text for words in telling)


def node(
    name: str, *, manager: str | None = None, state: str = "ready", availability: str = "active", **held: str
) -> Any:
    found: dict[str, Any] = {
        "ID": f"id-{name}",
        "Description": {"Hostname": name},
        "Status": {"State": state, "Addr": f"10.0.0.{name[1:]}"},
        "Spec": {"Availability": availability, "Labels": held},
    }
    return {**found, "ManagerStatus": {"Reachability": manager}} if manager else found


def managers(*reachable: bool) -> list[Any]:
    states = ["reachable" if up else "unreachable" for up in reachable]
    return [node(f"m{number}", manager=state) for number, state in enumerate(states, 1)]


@pytest.mark.parametrize(
    ("nodes", "level", "text"),
    [
        (
            managers(True),
            NOTE,
            "the swarm (1 manager, 1 node) cannot lose a manager: three managers can lose one (`docker node promote`)",
        ),
        (
            [*managers(True, True), node("w1")],
            NOTE,
            "the swarm (2 managers, 3 nodes) "
            "cannot lose a manager: three managers can lose one (`docker node promote`)",
        ),
        (managers(True, True, True), GOOD, "the swarm (3 managers, 3 nodes) can lose 1 manager"),
        (managers(True, True, True, True, True), GOOD, "the swarm (5 managers, 5 nodes) can lose 2 managers"),
        (
            managers(True, True, False),
            BAD,
            "of 3 managers, m3 cannot be reached: the swarm can lose 0 more",
        ),
        (
            managers(True, True, False, True, True),
            BAD,
            "of 5 managers, m3 cannot be reached: the swarm can lose 1 more",
        ),
    ],
)
def test_managers(nodes: list[Any], level: Level, text: str) -> None:
    assert doctor_engine.managers(nodes) == Finding(level, text)


READY = {labels.ready(SITE, "lab:1"): "true"}


@pytest.mark.parametrize(
    ("found", "lacks", "level", "telling"),
    [
        (node("n2", **READY), None, GOOD, "the node n2 is ready for the servers of every course"),
        (node("n2", **READY), [], GOOD, "is ready"),
        (node("n2"), None, NOTE, "the site has not found the node n2 ready for lab:1: it looks while it runs"),
        (
            node("n2"),
            ["the storage is not mounted", "the agent does not run"],
            BAD,
            "no servers start on the node n2: the storage is not mounted; the agent does not run",
        ),
        (node("n2", state="down", **READY), None, BAD, "the node n2 does not answer (down)"),
        (
            node("n2", availability="drain", **READY),
            ["x"],
            NOTE,
            "the node n2 is out of service (drain): `coursewarehub node resume n2`",
        ),
    ],
)
def test_nodes_and_why_no_servers_start_there(found: Any, lacks: list[str] | None, level: Level, telling: str) -> None:
    finding = doctor_engine.of_node(found, SITE, ["lab:1"], lacks)
    assert finding.level is level
    assert telling in finding.text


def in_swarm(nodes: Any) -> Told:
    return Told(
        VERSION, {"Swarm": {"LocalNodeState": "active", "ControlAvailable": True, "NodeID": "id-m1"}}, (), nodes
    )


def test_a_swarm_without_a_leader() -> None:
    told = in_swarm(Unreachable("the swarm has no leader", Cause.NO_LEADER))
    (finding,) = doctor_engine.of_swarm(told, SITE, ["lab:1"], None)
    assert finding.level is BAD
    assert "most of its managers cannot be reached" in finding.text
    assert "--force-new-cluster" in finding.text


def test_a_swarm_that_cannot_be_asked() -> None:
    told = in_swarm(Unreachable("the engine did not answer", Cause.TIMEOUT))
    assert list(doctor_engine.of_swarm(told, SITE, [], None)) == [Finding(BAD, "the engine did not answer")]


def test_what_the_running_site_says_of_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_host, "_SECONDS", 0.05)
    told = in_swarm([node("m1", manager="reachable", **READY), node("n2")])
    told.nodes[1]["Status"]["Addr"] = "0.0.0.0"  # type: ignore[index]
    status = {"engine": {"nodes": [{"name": "m1", "lacks": []}, {"name": "n2", "lacks": ["no storage"]}]}}
    found = list(doctor_engine.of_swarm(told, SITE, ["lab:1"], status))
    assert Finding(BAD, "no servers start on the node n2: no storage") in found
    assert Finding(GOOD, "the node m1 is ready for the servers of every course") in found


def test_doors_of_the_other_nodes() -> None:
    nodes = [node("m1", manager="reachable"), node("m2", manager="reachable"), node("w3"), node("w4")]
    nodes[3]["Status"]["Addr"] = "0.0.0.0"
    assert doctor_host.doors(nodes, "id-m1") == [
        ("m2", "10.0.0.2", 7946),
        ("m2", "10.0.0.2", 2377),
        ("w3", "10.0.0.3", 7946),
    ]


def test_a_door_that_is_shut() -> None:
    found = node("w3")
    found["Status"]["Addr"] = "127.0.0.1"
    (finding,) = doctor_host.between_nodes([found], "id-m1")
    assert finding.level is BAD
    assert "does not reach port 7946 of the node w3 (127.0.0.1)" in finding.text
    assert "4789/udp" in finding.text


# --- the running site --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "found"),
    [
        (None, []),
        ({}, []),
        ({"engine": {"message": "", "isolation": {"on": True, "message": ""}}}, [(GOOD, "are in force")]),
        (
            {"engine": {"message": "the engine does not answer", "isolation": {"on": False, "message": "no iptables"}}},
            [(BAD, "the engine does not answer"), (BAD, "nothing keeps learners' containers apart: no iptables")],
        ),
    ],
)
def test_what_the_site_says_of_the_engine(status: Mapping[str, Any] | None, found: list[tuple[Level, str]]) -> None:
    told = list(doctor_engine.of_status(status))
    assert [finding.level for finding in told] == [level for level, _ in found]
    assert all(words in finding.text for finding, (_, words) in zip(told, found, strict=True))


# --- storage -----------------------------------------------------------------------------------

MOUNTS = "/dev/sda1 / ext4 rw 0 0\nserver:/x /srv/with\\040space nfs4 rw 0 0\n"
FSTAB = """# static information
UUID=1  /               ext4  defaults 0 1
UUID=2  none            swap  sw       0 0
server:/homes /srv/courseware nfs4 defaults 0 0 # homes
server:/x /srv/with\\040space nfs4 defaults 0 0
broken line
"""


@pytest.mark.parametrize(
    ("folder", "point"),
    [
        ("/srv/courseware", "/srv/courseware"),
        ("/srv/courseware/site", "/srv/courseware"),
        ("/srv/courseware2", None),
        ("/srv/with space/a", None),
        ("/var/lib/site", None),
    ],
)
def test_a_mount_that_was_forgotten(folder: str, point: str | None) -> None:
    found = doctor_host.not_mounted(Path(folder), MOUNTS, FSTAB)
    expected = f"the storage folder {folder} is on {point}, which is not mounted: `mount {point}`"
    assert found == (expected if point else None)


@pytest.mark.parametrize(
    ("number", "telling"),
    [
        (errno.EROFS, ["mounted read only", "`rw`"]),
        (errno.ENOSPC, ["is full"]),
        (errno.EDQUOT, ["is full"]),
        (errno.EPERM, ["root_squash", "no_root_squash"]),
        (errno.EACCES, ["no_root_squash"]),
        (errno.EIO, ["nothing can be written into the storage folder /srv", "Input/output error"]),
    ],
)
def test_why_no_home_can_be_made(number: int, telling: list[str]) -> None:
    text = doctor_host.cannot_make(Path("/srv"), OSError(number, "words"))
    assert all(words in text for words in telling)


def test_storage_that_is_missing_or_no_folder(tmp_path: Path) -> None:
    (finding,) = doctor_host.storage(tmp_path / "none")
    assert finding == Finding(
        BAD, f"the storage folder {tmp_path}/none is missing: mount or make it, or correct `spawner.storage`"
    )
    (tmp_path / "file").touch()
    (finding,) = doctor_host.storage(tmp_path / "file")
    assert "is no folder" in finding.text


def test_homes_need_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (finding,) = doctor_host.storage(tmp_path)
    assert finding.level is BAD
    assert "only root may make homes" in finding.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_sound_storage_is_left_as_it_was(tmp_path: Path) -> None:
    found = list(doctor_host.storage(tmp_path))
    assert found[0] == Finding(GOOD, f"homes can be made in {tmp_path}")
    assert list(tmp_path.iterdir()) == []


GIB = 1 << 30


@pytest.mark.parametrize(
    ("total", "free", "level", "telling"),
    [
        (100 * GIB, 50 * GIB, None, ""),
        (100 * GIB, 14 * GIB, NOTE, "is full to 86 %, 14336 MiB are left"),
        (100 * GIB, GIB, BAD, "is full, 1024 MiB are left"),
        (100 * GIB, 0, BAD, "is full, 0 MiB are left"),
        (10 * GIB, GIB, NOTE, "is full to 90 %"),
        (10 * GIB, GIB // 4, BAD, "is full, 256 MiB"),
    ],
)
def test_disks_that_are_full(total: int, free: int, level: Level | None, telling: str) -> None:
    usage = SimpleNamespace(total=total, used=total - free, free=free)
    found = list(doctor_host.space("the disk", usage))
    assert [finding.level for finding in found] == ([level] if level else [])
    assert all(telling in finding.text for finding in found)


# --- firewall ----------------------------------------------------------------------------------

DOCKERS = """-P FORWARD DROP
-A FORWARD -j DOCKER-USER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
"""
NONE = "-P FORWARD ACCEPT\n"


@pytest.mark.parametrize(
    ("rules", "telling"),
    [
        (DOCKERS, None),
        (DOCKERS + "-A FORWARD -j REJECT --reject-with icmp-host-prohibited\n", None),
        (DOCKERS.replace("-A FORWARD -j DOCKER", "-A FORWARD -s 1.2.3.4/32 -j DROP\n-A FORWARD -j DOCKER"), None),
        (NONE, "systemctl restart docker"),
        ("-P FORWARD DROP\n-A FORWARD -i lo -j ACCEPT\n", "Docker's rules are not in this machine's firewall"),
        (DOCKERS.replace("-A FORWARD -j DOCKER", "-A FORWARD -j DROP\n-A FORWARD -j DOCKER"), "`FORWARD -j DROP`"),
        (
            DOCKERS.replace(
                "-A FORWARD -j DOCKER", "-A FORWARD -j REJECT --reject-with icmp-port-unreachable\n-A FORWARD -j DOCKER"
            ),
            "DOCKER-USER",
        ),
    ],
)
def test_rules_that_stop_what_containers_send(rules: str, telling: str | None) -> None:
    found = doctor_host.forwarding(rules)
    assert (found is None) is (telling is None)
    assert telling is None or telling in str(found)


@pytest.mark.parametrize(
    ("ports", "level", "telling"),
    [
        (None, NOTE, "could not be tried"),
        ({9000: True, 9001: True}, GOOD, "reach the site's ports 9000 and 9001"),
        ({9000: False, 9001: True}, BAD, "(port 9000)"),
        ({9000: False, 9001: False}, BAD, "(port 9000 and 9001)"),
        ({9000: False}, BAD, "-s 10.180.0.0/14 -p tcp -m multiport --dports 9000,9001 -j ACCEPT"),
    ],
)
def test_ports_of_the_site(ports: dict[int, bool] | None, level: Level, telling: str) -> None:
    finding = doctor_host.reached(ports, spawner(port=9000))
    assert finding.level is level
    assert telling in finding.text


@pytest.mark.parametrize(
    ("taken", "subnet"),
    [
        ([], "10.183.255.240/28"),
        (["10.183.255.0/25"], "10.183.255.240/28"),
        (["10.183.255.248/29"], "10.183.255.224/28"),
        (["10.183.248.0/21"], None),
    ],
)
def test_a_free_network_for_trying(taken: list[str], subnet: str | None) -> None:
    found = doctor_host.free_network(IPv4Network("10.180.0.0/14"), [network("x", each) for each in taken])
    assert (found.subnet if found else None) == subnet
    if found:
        assert IPv4Network(found.range).subnet_of(IPv4Network(found.subnet))
    assert doctor_host.free_network(IPv4Network("10.0.0.0/29"), []) is None


def test_without_iptables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    (finding,) = doctor_host.firewall(spawner())
    assert finding == Finding(BAD, "iptables is missing, with which containers are kept apart: `apt install iptables`")


# --- the command -------------------------------------------------------------------------------


@pytest.fixture
def fake(tmp_path: Path) -> Iterable[FakeEngine]:
    with fake_engine(tmp_path) as engine:
        engine.on("GET", "/info", INFO)
        engine.on("GET", "/networks", [])
        yield engine


def doctor_of(run: Callable[..., Any], root: Path, **settings: Any) -> list[str]:
    written = {"mode": "development", "spawner": {"storage": str(root), **settings}}
    (root / "site.yaml").write_text(json.dumps(written))
    outcome = run("doctor")
    assert "Traceback" not in outcome.out + outcome.err
    return outcome.out.splitlines()  # type: ignore[no-any-return]


def test_a_host_without_docker(run: Callable[..., Any], root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    lines = doctor_of(run, root, kind="docker", engine=f"unix://{root}/none")
    assert [line for line in lines if line.startswith("bad") and "Docker" in line] == [
        f"bad   there is no Docker on this machine (no socket at unix://{root}/none): install Docker 20.10 or newer, "
        "on Debian with `apt install docker.io`"
    ]


def test_an_old_docker(run: Callable[..., Any], root: Path, fake: FakeEngine) -> None:
    fake.on("GET", "/version", {"Version": "19.03.15", "ApiVersion": "1.40", "MinAPIVersion": "1.12"})
    lines = doctor_of(run, root, kind="docker", engine=fake.url)
    assert "bad   Docker 19.03.15 is too old (API 1.40): install Docker 20.10 or newer" in lines
    assert not fake.asked_for("/info")


def test_a_missing_image(run: Callable[..., Any], root: Path, fake: FakeEngine) -> None:
    fake.fails("GET", "/images/lab:1/json", 404, "No such image: lab:1")
    lines = doctor_of(run, root, kind="docker", engine=fake.url, image="lab:1")
    assert any(line.startswith("bad   the image lab:1 is not on this machine") for line in lines)


def test_an_engine_in_no_swarm(run: Callable[..., Any], root: Path, fake: FakeEngine) -> None:
    fake.on("GET", "/info", {**INFO, "Swarm": {"LocalNodeState": "inactive"}})
    fake.on("GET", "/nodes", Answer(503, {"message": "This node is not a swarm manager."}))
    lines = doctor_of(run, root, kind="swarm", engine=fake.url)
    assert any(line.startswith("bad   Docker is in no swarm (inactive)") for line in lines)


def test_local_servers_need_no_docker(run: Callable[..., Any], root: Path) -> None:
    (root / "site.yaml").write_text(json.dumps({"mode": "development"}))
    assert not any("Docker" in line for line in run("doctor").out.splitlines())


def test_an_old_engine_is_refused_with_a_status() -> None:
    assert isinstance(doctor_engine.too_old({"ApiVersion": "1.30"}, AT), Refused)
