"""Which packets pass, as data. Pure.

A learner's container has rules in a network namespace of its own: who reaches it, and what it reaches. The node has a
few for what leaves containers towards itself. Rules look at every packet in the direction in which its connection was
begun: what somebody opened before there were rules ends when there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from coursewarehub.wire.policy import OPEN, REGISTRIES, NetworkPolicy

Family = Literal["ip", "ip6"]

IN: Final = "CW-IN"
OUT: Final = "CW-OUT"
NAT: Final = "CW-NAT"
OWN: Final = "CW-"
"""What the names of our chains begin with."""

DOCKER_USER: Final = "DOCKER-USER"
"""The chain that Docker leaves to its users, before its own rules on what is forwarded."""

RESOLVER: Final = "127.0.0.11/32"
"""Docker's own name server in every container's namespace; its port is another one behind address translation."""

PRIVATE: Final = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
"""What is not the internet: private networks, link-local addresses (metadata services), multicast, reserved ones."""

PUBLIC6: Final = "2000::/3"
"""The internet in IPv6; unique local, link-local, multicast and mapped addresses lie outside."""

TUNNELS6: Final = ("2001::/32", "2002::/16")
"""IPv6 addresses that stand for IPv4 ones."""

MAIL: Final = (25, 465, 587)
"""Ports at which mail is handed in."""

POOLS: Final = (3333, 4444, 5555, 7777, 9999, 14433, 14444, 45560, 45700)
"""Ports at which miners' pools usually listen."""

ENGINES: Final = (2375, 2376, 2377, 7946)
ENGINES_UDP: Final = (4789, 7946)
"""Ports of Docker Engines and swarms, which a node may have open at a public address."""

_NEIGHBOURS_OUT: Final = (133, 135, 136)  # router solicitation, neighbour solicitation and advertisement
_NEIGHBOURS_IN: Final = (134, 135, 136)

_REPLY: Final = "-m conntrack --ctstate ESTABLISHED --ctdir REPLY"
_ERRORS: Final = "-m conntrack --ctstate RELATED"
_NO: Final[dict[Family, str]] = {
    "ip": "-j REJECT --reject-with icmp-admin-prohibited",
    "ip6": "-j REJECT --reject-with icmp6-adm-prohibited",
}


@dataclass(frozen=True)
class Rule:
    """One rule: `arguments` are what follows the chain on the command line of iptables (`ip`) or ip6tables (`ip6`)."""

    table: str
    chain: str
    arguments: tuple[str, ...]
    family: Family = "ip"


@dataclass(frozen=True)
class Node:
    """What rules depend on besides the policy.

    `addresses` are the public ones of the swarm's nodes, so far as they are known. `owner`: packets can be told apart
    by who sends them, which is not so where the engine remaps users. `strings`: they can be searched for text.
    """

    addresses: tuple[str, ...] = ()
    owner: bool = True
    strings: bool = True


def rules_for(policy: NetworkPolicy, node: Node | None = None) -> tuple[Rule, ...]:
    """Return the rules of one container's namespace; each chain's end says what happens to the rest."""
    node = node or Node()
    return (
        *_jumps("ip"),
        *_chain("ip", IN, _into(policy)),
        *_chain("ip", OUT, _out_of(policy, node)),
        *_translation(policy),
        *_jumps("ip6"),
        *_chain("ip6", IN, _into6(policy)),
        *_chain("ip6", OUT, _out_of6(policy, node)),
    )


def locked() -> tuple[Rule, ...]:
    """Return the rules of a namespace of which it is not yet known whose it is: nothing passes but loopback."""
    return tuple(
        rule
        for family in ("ip", "ip6")
        for rule in (
            *_jumps(family),
            *_chain(family, IN, ["-i lo -j ACCEPT", "-j DROP"]),
            *_chain(family, OUT, ["-o lo -j ACCEPT", "-j DROP"]),
        )
    )


def _jumps(family: Family) -> tuple[Rule, ...]:
    return (*_chain(family, "INPUT", [f"-j {IN}"]), *_chain(family, "OUTPUT", [f"-j {OUT}"]))


def _chain(family: Family, chain: str, lines: Iterable[str], table: str = "filter") -> tuple[Rule, ...]:
    return tuple(Rule(table, chain, tuple(line.split()), family) for line in lines)


def _into(policy: NetworkPolicy) -> list[str]:
    return [
        f"{_REPLY} -j ACCEPT",
        f"-p icmp {_ERRORS} -j ACCEPT",
        "-i lo -j ACCEPT",
        f"-s {policy.site}/32 -p tcp -m tcp --dport {policy.server_port} -j ACCEPT",
        "-j DROP",
    ]


def _out_of(policy: NetworkPolicy, node: Node) -> list[str]:
    no = _NO["ip"]
    return [
        f"{_REPLY} -j ACCEPT",
        f"-p icmp {_ERRORS} -j ACCEPT",
        *_names(policy, node),
        "-o lo -j ACCEPT",
        f"-d {policy.site}/32 -p tcp -m tcp --dport {policy.port} -j ACCEPT",
        *(
            [f"-d {policy.site}/32 -p tcp -m tcp --dport {policy.registries_port} -j ACCEPT"]
            if policy.egress == REGISTRIES
            else []
        ),
        *(f"-d {address} -j ACCEPT" for address in policy.others),
        *(_internet(node) if policy.egress == OPEN else []),
        f"{no}",
    ]


def _names(policy: NetworkPolicy, node: Node) -> list[str]:
    """Who asks Docker's name server: with `open` everybody, but nobody asks whose an address is.

    Otherwise nobody: a question about a name of somebody's own is a message to whoever owns the name.
    """
    refused = "-j REJECT --reject-with icmp-port-unreachable"
    if policy.egress != OPEN:
        return [f"-d {RESOLVER} {refused}"]
    if not node.strings:
        return []
    # A question that comes in pieces would escape the search, and only TCP has pieces.
    return [
        f"-d {RESOLVER} -p tcp {refused}",
        f"-d {RESOLVER} -p udp -m string --hex-string |07696e2d61646472| --algo bm --icase {refused}",
    ]


def _internet(node: Node) -> list[str]:
    no = _NO["ip"]
    sender = "-m owner --uid-owner 0 " if node.owner else ""
    return [
        # Docker's name server asks others from within the container's namespace, as root, which no learner is.
        f"-p udp {sender}-m udp --dport 53 -j ACCEPT",
        f"-p tcp {sender}-m tcp --dport 53 -j ACCEPT",
        *(f"-d {network} {no}" for network in PRIVATE),
        *(f"-d {address}/32 {no}" for address in node.addresses if ":" not in address),
        *_refused_ports("ip"),
        "-j ACCEPT",
    ]


def _refused_ports(family: Family) -> list[str]:
    no = _NO[family]
    return [
        f"-p tcp -m multiport --dports {_ports(MAIL)} {no}",
        f"-p tcp -m multiport --dports {_ports(POOLS)} {no}",
        f"-p tcp -m multiport --dports {_ports(ENGINES)} {no}",
        f"-p udp -m multiport --dports {_ports(ENGINES_UDP)} {no}",
    ]


def _translation(policy: NetworkPolicy) -> tuple[Rule, ...]:
    """With `registries`: their names lead to the site's address, and their port there to the site's own."""
    if policy.egress != REGISTRIES:
        return ()
    target = f"-j DNAT --to-destination {policy.site}:{policy.registries_port}"
    return (
        *_chain("ip", "OUTPUT", [f"-j {NAT}"], table="nat"),
        *_chain("ip", NAT, [f"-d {policy.site}/32 -p tcp -m tcp --dport 443 {target}"], table="nat"),
    )


def _into6(policy: NetworkPolicy) -> list[str]:
    """The site is reached with IPv4, so that nobody begins a connection to a container with IPv6."""
    replies = [f"{_REPLY} -j ACCEPT", f"-p ipv6-icmp {_ERRORS} -j ACCEPT", *_neighbours(_NEIGHBOURS_IN)]
    return [*(replies if policy.egress == OPEN else []), "-i lo -j ACCEPT", "-j DROP"]


def _out_of6(policy: NetworkPolicy, node: Node) -> list[str]:
    no = _NO["ip6"]
    internet = [
        *_neighbours(_NEIGHBOURS_OUT),
        *(f"-d {network} {no}" for network in TUNNELS6),
        *(f"-d {address}/128 {no}" for address in node.addresses if ":" in address),
        *_refused_ports("ip6"),
        f"-d {PUBLIC6} -j ACCEPT",
    ]
    return ["-o lo -j ACCEPT", *(internet if policy.egress == OPEN else []), f"{no}"]


def _neighbours(types: Iterable[int]) -> list[str]:
    return [f"-p ipv6-icmp -m icmp6 --icmpv6-type {number} -j ACCEPT" for number in types]


def host_rules(
    pool: str, ports: Collection[int], others: Collection[str] = (), forward: str = DOCKER_USER
) -> tuple[Rule, ...]:
    """Return the rules of the node itself for what comes from, or goes to, the addresses of `pool`.

    From there one reaches the node at the site's `ports` and its name server, and through it neither each other nor
    private networks, but for `others` and name servers. To there nothing from elsewhere is forwarded: what the site
    sends into a network that it is not in yet would go to whoever has such an address outside. `forward` is the chain
    for what is forwarded. The rules hold for containers that hang on a bridge of the node; what travels in an overlay
    network never passes the node's own filters.
    """
    into, through = host_chains(pool)
    return (
        *_chain("ip", "INPUT", [f"-s {pool} -j {into}"]),
        *_chain("ip", forward, [f"-s {pool} -j {through}", f"-d {pool} -j {through}"]),
        *_chain(
            "ip",
            into,
            [
                f"{_REPLY} -j RETURN",
                f"-p tcp -m multiport --dports {_ports(ports)} -j ACCEPT",
                "-p udp -m udp --dport 53 -j RETURN",
                "-p tcp -m tcp --dport 53 -j RETURN",
                "-j DROP",
            ],
        ),
        *_chain(
            "ip",
            through,
            [
                f"{_REPLY} -j RETURN",
                f"! -s {pool} -j REJECT --reject-with icmp-net-unreachable",
                f"-d {pool} -j DROP",
                "-p udp -m udp --dport 53 -j RETURN",
                "-p tcp -m tcp --dport 53 -j RETURN",
                *(f"-d {address} -j RETURN" for address in others),
                *(f"-d {network} -j DROP" for network in PRIVATE),
            ],
        ),
    )


def host_chains(pool: str) -> tuple[str, str]:
    """Return the names of a pool's two chains on the node: for what comes in, and for what is forwarded."""
    code = hashlib.sha256(pool.encode()).hexdigest()[:8]
    return f"{OWN}HOST-{code}", f"{OWN}FWD-{code}"


def _ports(ports: Iterable[int]) -> str:
    return ",".join(map(str, ports))
