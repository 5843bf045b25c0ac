"""Network namespaces of this machine's kernel: entering and leaving them, and seeing them appear.

What enters one needs root and is left out for others.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from coursewarehub.nodes import iptables, namespaces, tables
from coursewarehub.nodes.iptables import IptablesError
from coursewarehub.nodes.namespaces import Arrivals, NamespaceGone, NotAContainers, any_in, inside, inside_new
from coursewarehub.nodes.rules import Node, locked, rules_for
from coursewarehub.wire.policy import EGRESS, NetworkPolicy

OWN = Path("/proc/self/ns/net")
IN_ONE_OF_ITS_OWN = """
import ctypes, sys
assert ctypes.CDLL(None).unshare(0x40000000) == 0
print("made", flush=True)
sys.stdin.read()
"""


def may_make_namespaces() -> bool:
    command = [sys.executable, "-c", IN_ONE_OF_ITS_OWN]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


root = pytest.mark.skipif(os.geteuid() != 0 or not may_make_namespaces(), reason="network namespaces need root")
filters = pytest.mark.skipif(shutil.which("iptables-restore") is None, reason="iptables is not installed")


@pytest.fixture
def another() -> Iterator[Path]:
    """The namespace of a process that has one of its own."""
    command = [sys.executable, "-c", IN_ONE_OF_ITS_OWN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == b"made\n"
        yield Path(f"/proc/{process.pid}/ns/net")
        process.stdin.close()


def here() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


# --- names and addresses -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "containers"),
    [
        ("0a1b2c3d4e5f", True),
        ("default", False),
        ("1-abcdefghij", False),
        ("lb_abcdefghi", False),
        ("0A1B2C3D4E5F", False),
        ("0a1b2c3d4e5", False),
        ("0a1b2c3d4e5f6", False),
        ("0a1b2c3d4e5f\n", False),
        ("", False),
    ],
)
def test_names_of_containers_namespaces(name: str, containers: bool) -> None:
    assert namespaces.is_containers(name) is containers


def test_addresses_of_a_pool() -> None:
    pool = IPv4Network("10.180.0.0/14")
    assert any_in([IPv4Address("172.17.0.2"), IPv4Address("10.183.255.255")], pool)
    assert not any_in([IPv4Address("10.184.0.0")], pool) and not any_in([], pool)


def test_loopback_is_nobodys_public_address() -> None:
    assert not {"127.0.0.1", "::1"} & set(namespaces.public_addresses())


# --- appearing ---------------------------------------------------------------------------------


def test_files_are_told_once_as_they_appear(tmp_path: Path) -> None:
    (tmp_path / "before").touch()
    arrivals = Arrivals()
    try:
        assert arrivals.watch(tmp_path) and arrivals.watch(tmp_path)
        assert arrivals.read() == []
        for name in ("0a1b2c3d4e5f", "x" * 200, "ä"):
            (tmp_path / name).touch()
        (tmp_path / "before").touch()
        assert arrivals.read() == ["0a1b2c3d4e5f", "x" * 200, "ä"]
        assert arrivals.read() == []
    finally:
        arrivals.close()


def test_a_folder_that_is_made_later_is_watched_when_it_is_there(tmp_path: Path) -> None:
    arrivals = Arrivals()
    try:
        folder = tmp_path / "netns"
        assert arrivals.watch(folder) is False
        folder.mkdir()
        assert arrivals.watch(folder) is True
        (folder / "0a1b2c3d4e5f").touch()
        assert arrivals.read() == ["0a1b2c3d4e5f"]
    finally:
        arrivals.close()


# --- entering ----------------------------------------------------------------------------------


def test_a_namespace_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NamespaceGone), inside(tmp_path / "missing"):
        raise AssertionError


@root
def test_a_file_that_is_no_namespace_yet(tmp_path: Path) -> None:
    """Docker makes the file first, and then mounts the namespace there."""
    (tmp_path / "0a1b2c3d4e5f").touch()
    with pytest.raises(NamespaceGone), inside(tmp_path / "0a1b2c3d4e5f"):
        raise AssertionError


@root
def test_the_nodes_own_namespace_is_refused() -> None:
    with pytest.raises(NotAContainers), inside(OWN):
        raise AssertionError


@root
def test_a_thread_is_there_for_the_block_and_back_afterwards(another: Path) -> None:
    before = here()
    with inside(another):
        assert here() == another.stat().st_ino != before
    assert here() == before
    with pytest.raises(ZeroDivisionError), inside(another):
        raise ZeroDivisionError
    assert here() == before


@root
def test_what_a_thread_starts_there_is_there(another: Path) -> None:
    with inside(another):
        told = subprocess.run(["readlink", "/proc/self/ns/net"], capture_output=True, text=True, check=True).stdout
    assert told.strip() == f"net:[{another.stat().st_ino}]"


@root
def test_addresses_are_asked_for_from_outside(another: Path) -> None:
    with namespaces.watcher(another) as asked:
        assert namespaces.addresses(asked) == []
    assert here() == os.stat(OWN).st_ino


@root
def test_descriptors_are_given_back(another: Path) -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = opened()
    for _ in range(20):
        with inside(another), inside_new():
            pass
    assert opened() == before


# --- real packet filters -----------------------------------------------------------------------


def filters_work() -> bool:
    if os.geteuid() != 0 or shutil.which("iptables-restore") is None:
        return False
    try:
        iptables.abilities(Node())
    except IptablesError:
        return False
    return True


@root
@filters
@pytest.mark.parametrize("egress", [*EGRESS, "locked"])
def test_rules_are_in_force_as_written_and_again(another: Path, egress: str) -> None:
    """The agent compares how many rules there are in its own chains; here every one is what was asked for."""
    if not filters_work():
        pytest.skip("this kernel has not what the rules need")
    node = iptables.abilities(Node(("203.0.113.9", "2001:db8::9")))
    policy = NetworkPolicy("10.180.0.1", 8081, 8082, egress, others=("10.0.0.5/32", "10.1.0.0/16"))
    rules = locked() if egress == "locked" else rules_for(policy, node)
    with inside(another):
        for family in iptables.families():
            for _ in range(2):
                iptables.restore(family, tables.in_container(rules, family, iptables.save(family)))
                saved = iptables.save(family)
                assert tables.in_place(rules, family, saved)
            for chain in ("CW-IN", "CW-OUT"):
                told = [" ".join(r.arguments) for r in rules if (r.chain, r.family) == (chain, family)]
                assert [rule.replace('"', "") for rule in saved.rules["filter", chain]] == told
