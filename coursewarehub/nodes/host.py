"""The node's own rules, for what comes from containers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from coursewarehub.nodes import iptables, tables
from coursewarehub.nodes.rules import DOCKER_USER, Rule, host_rules
from coursewarehub.nodes.tables import Saved

_FORWARD: Final = "FORWARD"


def keep(pool: str, ports: Collection[int], others: Collection[str] = ()) -> bool:
    """Have the node's rules in force; whether something had to be done. Raises IptablesError."""
    saved = iptables.save("ip")
    rules = _rules(saved, pool, ports, others)
    if tables.in_place(rules, "ip", saved, container=False):
        return False
    iptables.restore("ip", tables.on_host(rules, saved))
    return True


def remove(pool: str) -> bool:
    """Take the node's rules away; whether there were any. Raises IptablesError."""
    saved = iptables.save("ip")
    script = tables.off_host(
        (*host_rules(pool, (1,)), *host_rules(pool, (1,), forward=_FORWARD)),
        saved,
    )
    if script:
        iptables.restore("ip", script)
    return bool(script)


def _rules(saved: Saved, pool: str, ports: Collection[int], others: Collection[str]) -> tuple[Rule, ...]:
    """Docker's chain for its users comes first; where Docker uses other tables than we do, all of `FORWARD` is ours."""
    forward = DOCKER_USER if ("filter", DOCKER_USER) in saved.rules else _FORWARD
    return host_rules(pool, ports, others, forward)
