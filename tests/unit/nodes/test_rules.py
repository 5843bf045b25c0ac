"""Rules as values: what each kind of egress lets pass, and what none does."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from coursewarehub.nodes.rules import (
    ENGINES,
    IN,
    MAIL,
    NAT,
    OUT,
    OWN,
    POOLS,
    PRIVATE,
    RESOLVER,
    TUNNELS6,
    Node,
    Rule,
    host_chains,
    host_rules,
    locked,
    rules_for,
)
from coursewarehub.wire.policy import EGRESS, NetworkPolicy

SITE = "10.180.0.1"
POOL = "10.180.0.0/14"
INTERNET = Node(("203.0.113.9", "2001:db8::9"))


def policy(egress: str, **more: Any) -> NetworkPolicy:
    return NetworkPolicy(SITE, 8081, 8082, egress, **more)


def lines(rules: tuple[Rule, ...], chain: str, family: str = "ip", table: str = "filter") -> list[str]:
    return [
        " ".join(rule.arguments) for rule in rules if (rule.table, rule.chain, rule.family) == (table, chain, family)
    ]


def accepted(rules: tuple[Rule, ...], chain: str, family: str = "ip") -> list[str]:
    return [line.removesuffix(" -j ACCEPT") for line in lines(rules, chain, family) if line.endswith("-j ACCEPT")]


REPLY = "-m conntrack --ctstate ESTABLISHED --ctdir REPLY"
ERRORS = "-p icmp -m conntrack --ctstate RELATED"
TO_SITE = f"-d {SITE}/32 -p tcp -m tcp --dport"


def test_with_none_a_container_reaches_the_site_and_asks_no_name_server() -> None:
    assert lines(rules_for(policy("none")), OUT) == [
        f"{REPLY} -j ACCEPT",
        f"{ERRORS} -j ACCEPT",
        f"-d {RESOLVER} -j REJECT --reject-with icmp-port-unreachable",
        "-o lo -j ACCEPT",
        f"{TO_SITE} 8081 -j ACCEPT",
        "-j REJECT --reject-with icmp-admin-prohibited",
    ]


def test_with_registries_it_reaches_their_port_of_the_site_besides() -> None:
    without, with_them = rules_for(policy("none")), rules_for(policy("registries"))
    assert set(lines(with_them, OUT)) - set(lines(without, OUT)) == {f"{TO_SITE} 8082 -j ACCEPT"}
    assert lines(with_them, NAT, table="nat") == [f"{TO_SITE} 443 -j DNAT --to-destination {SITE}:8082"]
    assert not [rule for rule in without if rule.table == "nat"]
    assert not [rule for rule in rules_for(policy("open")) if rule.table == "nat"]


def test_with_open_everything_that_is_refused_comes_before_the_internet() -> None:
    found = lines(rules_for(policy("open"), INTERNET), OUT)
    assert found[-2:] == ["-j ACCEPT", "-j REJECT --reject-with icmp-admin-prohibited"]
    refused = {line for line in found[:-1] if "-j REJECT" in line}
    no = "-j REJECT --reject-with icmp-admin-prohibited"
    assert {f"-d {network} {no}" for network in PRIVATE} <= refused
    assert f"-d 203.0.113.9/32 {no}" in refused
    for ports in (MAIL, POOLS, ENGINES):
        assert f"-p tcp -m multiport --dports {','.join(map(str, ports))} {no}" in refused


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "127.0.0.1", "224.0.0.1", "0.0.0.0"],
)
def test_private_addresses_are_not_the_internet(address: str) -> None:
    """But for loopback, which is the container's own and has a rule before these."""
    private = any(ip_address(address) in ip_network(network) for network in PRIVATE)
    assert private is not ip_address(address).is_loopback


@pytest.mark.parametrize("egress", EGRESS)
def test_only_the_site_begins_connections_to_a_server(egress: str) -> None:
    made = rules_for(policy(egress, server_port=9999))
    assert accepted(made, IN) == [REPLY, ERRORS, "-i lo", f"-s {SITE}/32 -p tcp -m tcp --dport 9999"]
    assert lines(made, IN)[-1] == "-j DROP"
    assert not [line for line in accepted(made, IN, "ip6") if SITE in line or "dport" in line]


@pytest.mark.parametrize("egress", ["none", "registries"])
def test_ipv6_is_for_the_internet_alone(egress: str) -> None:
    made = rules_for(policy(egress), INTERNET)
    assert (accepted(made, IN, "ip6"), accepted(made, OUT, "ip6")) == (["-i lo"], ["-o lo"])


def test_ipv6_with_open_goes_to_public_addresses_and_to_no_ipv4_in_disguise() -> None:
    found = lines(rules_for(policy("open"), INTERNET), OUT, "ip6")
    no = "-j REJECT --reject-with icmp6-adm-prohibited"
    public = found.index("-d 2000::/3 -j ACCEPT")
    for refused in (*TUNNELS6, "2001:db8::9/128"):
        assert found.index(f"-d {refused} {no}") < public
    assert found[-1] == no


@pytest.mark.parametrize("egress", EGRESS)
def test_others_are_reached_whatever_the_egress(egress: str) -> None:
    made = accepted(rules_for(policy(egress, others=("10.0.0.5", "10.1.0.0/16"))), OUT)
    assert made.index("-d 10.0.0.5") < made.index("-d 10.1.0.0/16")
    found = lines(rules_for(policy("open", others=("10.0.0.5",))), OUT)
    assert found.index("-d 10.0.0.5 -j ACCEPT") < next(i for i, line in enumerate(found) if "-d 10.0.0.0/8" in line)


@pytest.mark.parametrize("owner", [True, False])
def test_name_servers_are_asked_by_root_alone_where_that_can_be_told(owner: bool) -> None:
    asked = [
        line for line in accepted(rules_for(policy("open"), Node(owner=owner)), OUT) if line.endswith("--dport 53")
    ]
    assert len(asked) == 2
    assert all(("--uid-owner 0" in line) is owner for line in asked)


@pytest.mark.parametrize("strings", [True, False])
def test_with_open_nobody_asks_whose_an_address_is_where_that_can_be_seen(strings: bool) -> None:
    asked = [line for line in lines(rules_for(policy("open"), Node(strings=strings)), OUT) if RESOLVER in line]
    assert [line.split()[3] for line in asked] == (["tcp", "udp"] if strings else [])


# --- every kind alike --------------------------------------------------------------------------

EVERY = [locked(), *(rules_for(policy(egress), INTERNET) for egress in EGRESS)]


@pytest.mark.parametrize("rules", EVERY)
def test_every_chain_of_ours_ends_with_a_refusal(rules: tuple[Rule, ...]) -> None:
    for family in ("ip", "ip6"):
        for chain in (IN, OUT):
            last = lines(rules, chain, family)[-1]
            assert last == "-j DROP" or last.startswith("-j REJECT"), (family, chain, last)


@pytest.mark.parametrize("rules", EVERY)
def test_built_in_chains_lead_to_ours_and_nowhere_else(rules: tuple[Rule, ...]) -> None:
    for family in ("ip", "ip6"):
        assert lines(rules, "INPUT", family) == [f"-j {IN}"]
        assert lines(rules, "OUTPUT", family) == [f"-j {OUT}"]
    assert {rule.chain for rule in rules if rule.table == "filter"} == {"INPUT", "OUTPUT", IN, OUT}


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_who_is_locked_has_loopback_alone(family: str) -> None:
    assert (accepted(locked(), IN, family), accepted(locked(), OUT, family)) == (["-i lo"], ["-o lo"])


def test_the_same_policy_has_the_same_rules() -> None:
    for egress in EGRESS:
        assert rules_for(policy(egress), INTERNET) == rules_for(policy(egress), INTERNET)
    assert len({rules_for(policy(egress)) for egress in EGRESS}) == len(EGRESS)


# --- the node ----------------------------------------------------------------------------------


def test_from_containers_the_node_answers_at_the_sites_ports_and_as_name_server() -> None:
    into, through = host_chains(POOL)
    made = host_rules(POOL, (8081, 8082))
    assert lines(made, "INPUT") == [f"-s {POOL} -j {into}"]
    assert lines(made, "DOCKER-USER") == [f"-s {POOL} -j {through}", f"-d {POOL} -j {through}"]
    assert lines(made, into) == [
        f"{REPLY} -j RETURN",
        "-p tcp -m multiport --dports 8081,8082 -j ACCEPT",
        "-p udp -m udp --dport 53 -j RETURN",
        "-p tcp -m tcp --dport 53 -j RETURN",
        "-j DROP",
    ]


def test_through_the_node_containers_reach_neither_each_other_nor_private_networks() -> None:
    _, through = host_chains(POOL)
    found = lines(host_rules(POOL, (8081,), ("10.0.0.5",)), through)
    strangers = f"! -s {POOL} -j REJECT --reject-with icmp-net-unreachable"
    assert found[:3] == [f"{REPLY} -j RETURN", strangers, f"-d {POOL} -j DROP"]
    assert found.index("-d 10.0.0.5 -j RETURN") < found.index("-d 10.0.0.0/8 -j DROP")
    assert {f"-d {network} -j DROP" for network in PRIVATE} <= set(found)


def test_two_pools_have_chains_of_their_own_whose_names_the_kernel_takes() -> None:
    names = [*host_chains(POOL), *host_chains("10.99.0.0/16")]
    assert len(set(names)) == 4
    assert all(name.startswith(OWN) and len(name) <= 28 for name in names)
