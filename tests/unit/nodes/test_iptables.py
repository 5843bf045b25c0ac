"""The programs of iptables, played by shell scripts: missing, refusing, hanging, and taking rules without keeping them.

Rules of the node itself go through the same programs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coursewarehub.nodes import host, iptables, tables
from coursewarehub.nodes.iptables import IptablesError
from coursewarehub.nodes.rules import Node, host_chains

POOL = "10.180.0.0/14"
DOCKERS = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\nCOMMIT\n"
Program = Callable[[str, str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Write a shell script in the place of a program; no other is found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(iptables, "_FOLDERS", "")

    def write(name: str, text: str) -> None:
        file = folder / name
        file.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{text}\n")
        file.chmod(0o755)

    return write


def test_a_missing_program_names_the_package(program: Program) -> None:
    with pytest.raises(IptablesError, match="`iptables-save` is missing: install the package `iptables`"):
        iptables.save("ip")
    with pytest.raises(IptablesError, match="`ip6tables-restore` is missing"):
        iptables.restore("ip6", "")


def test_what_is_in_force_is_read_for_the_family_that_is_asked(program: Program) -> None:
    program("iptables-save", "printf '*filter\\n-A INPUT -j FOUR\\n'")
    program("ip6tables-save", "printf '*filter\\n-A INPUT -j SIX\\n'")
    assert iptables.save("ip").rules == {("filter", "INPUT"): ["-j FOUR"]}
    assert iptables.save("ip6").rules == {("filter", "INPUT"): ["-j SIX"]}


def test_rules_of_others_are_never_flushed(program: Program, tmp_path: Path) -> None:
    program("iptables-restore", f'echo "$@" >{tmp_path}/arguments; cat >{tmp_path}/given')
    iptables.restore("ip", "*filter\nCOMMIT\n")
    assert (tmp_path / "arguments").read_text().split()[0] == "--noflush"
    assert (tmp_path / "given").read_text() == "*filter\nCOMMIT\n"


def test_a_refusal_is_one_sentence_of_bounded_length(program: Program) -> None:
    program("iptables-restore", "echo 'line 3 failed:' >&2; yes 'no such match' | head -n 500 >&2; exit 2")
    with pytest.raises(IptablesError) as refused:
        iptables.restore("ip", "")
    text = str(refused.value)
    assert "refused: line 3 failed: no such match" in text and "\n" not in text and len(text) < 500


def test_a_program_that_hangs_is_given_up(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iptables, "_SECONDS", 0.1)
    program("iptables-save", "exec sleep 60")
    with pytest.raises(IptablesError, match="cannot be run"):
        iptables.save("ip")


# --- what a kernel can -------------------------------------------------------------------------


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """A kernel of which the words in the set are unknown; what it has taken, it says."""
    unknown: set[str] = set()
    taken: dict[str, tables.Saved] = {}

    def restore(family: str, script: str) -> None:
        if any(f" {word} " in script for word in unknown):
            raise IptablesError("no such match")
        taken[family] = tables.Saved.parse(script.replace("-I OUTPUT 1 ", "-A OUTPUT "))

    @contextlib.contextmanager
    def inside_new() -> Iterator[None]:
        if "namespaces" in unknown:
            raise PermissionError(1, "Operation not permitted")
        yield

    monkeypatch.setattr(iptables, "restore", restore)
    monkeypatch.setattr(iptables, "save", lambda family: tables.NOTHING if "memory" in unknown else taken[family])
    monkeypatch.setattr(iptables, "inside_new", inside_new)
    monkeypatch.setattr(iptables, "families", lambda: ("ip", "ip6"))
    return unknown


@pytest.mark.parametrize(
    ("unknown", "able"),
    [
        (set(), Node()),
        ({"owner"}, Node(owner=False)),
        ({"string"}, Node(strings=False)),
        ({"owner", "string"}, Node(owner=False, strings=False)),
    ],
)
def test_what_a_kernel_cannot_is_done_without(kernel: set[str], unknown: set[str], able: Node) -> None:
    kernel |= unknown
    assert iptables.abilities(Node()) == able


@pytest.mark.parametrize("unknown", ["conntrack", "multiport", "REJECT", "DNAT"])
def test_without_what_is_needed_no_agent_runs(kernel: set[str], unknown: str) -> None:
    kernel.add(unknown)
    with pytest.raises(IptablesError, match="no such match"):
        iptables.abilities(Node())


def test_rules_that_were_taken_and_are_not_in_force_are_an_error(kernel: set[str]) -> None:
    kernel.add("memory")
    with pytest.raises(IptablesError, match="not all of them are in force"):
        iptables.abilities(Node())


def test_namespaces_that_cannot_be_made_are_told(kernel: set[str]) -> None:
    kernel.add("namespaces")
    with pytest.raises(IptablesError, match="a network namespace cannot be made or entered: Operation not permitted"):
        iptables.abilities(Node())


def test_families_are_those_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    for six, families in ((True, ("ip", "ip6")), (False, ("ip",))):
        monkeypatch.setattr(iptables, "has_ipv6", lambda six=six: six)
        assert iptables.families() == families


# --- the node's own rules ----------------------------------------------------------------------


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A node: what `saved` it says, and what it was `given`."""
    known = {"saved": DOCKERS, "given": ""}

    def restore(_family: str, script: str) -> None:
        known["given"] = script

    monkeypatch.setattr(iptables, "save", lambda _family: tables.Saved.parse(known["saved"]))
    monkeypatch.setattr(iptables, "restore", restore)
    return known


def in_force(chain: str) -> str:
    """What `iptables-save` says on a node whose rules are in force."""
    rules = host.host_rules(POOL, (8081, 8082), forward=chain)
    lines = [f"-A {rule.chain} {' '.join(rule.arguments)}" for rule in rules]
    chains = [f":{name} - [0:0]" for name in dict.fromkeys(rule.chain for rule in rules)]
    return "\n".join(["*filter", *chains, *lines, "COMMIT", ""])


def test_rules_are_put_in_dockers_chain_for_its_users(node: dict[str, str]) -> None:
    assert host.keep(POOL, (8081, 8082)) is True
    assert f"-I DOCKER-USER 1 -s {POOL} -j {host_chains(POOL)[1]}" in node["given"].splitlines()


def test_where_docker_has_no_such_chain_they_go_before_what_is_forwarded(node: dict[str, str]) -> None:
    node["saved"] = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"
    assert host.keep(POOL, (8081, 8082)) is True
    assert f"-I FORWARD 1 -s {POOL} -j {host_chains(POOL)[1]}" in node["given"].splitlines()


@pytest.mark.parametrize("chain", ["DOCKER-USER", "FORWARD"])
def test_rules_that_are_in_force_are_left_alone(node: dict[str, str], chain: str) -> None:
    node["saved"] = in_force(chain)
    assert host.keep(POOL, (8081, 8082)) is False
    assert node["given"] == ""


def test_a_node_whose_operator_only_counts_packets(node: dict[str, str]) -> None:
    node["saved"] = DOCKERS.replace("COMMIT", "-A INPUT\nCOMMIT")
    assert host.keep(POOL, (8081, 8082)) is True


@pytest.mark.parametrize("chain", ["DOCKER-USER", "FORWARD"])
def test_rules_are_taken_away_wherever_they_are(node: dict[str, str], chain: str) -> None:
    node["saved"] = in_force(chain)
    assert host.remove(POOL) is True
    into, through = host_chains(POOL)
    assert {
        f"-D INPUT -s {POOL} -j {into}",
        f"-D {chain} -s {POOL} -j {through}",
        f"-X {into}",
        f"-X {through}",
    } <= set(node["given"].splitlines())


def test_where_there_are_none_nothing_is_done(node: dict[str, str]) -> None:
    assert host.remove(POOL) is False
    assert node["given"] == ""
