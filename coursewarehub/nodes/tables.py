"""Rules as `iptables-restore` reads them, and what `iptables-save` says of them. Pure.

Our own chains are replaced whole, in one step. A container's `filter` table is ours alone, so its built-in chains are
replaced with them; in any other table there are rules of Docker's or of the node's owner, which stay as they are, and
ours go before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from coursewarehub.nodes.rules import OWN, Family, Rule

_CONTAINERS: Final = "filter"
_BUILT_IN: Final = ("INPUT", "FORWARD", "OUTPUT")


@dataclass(frozen=True)
class Saved:
    """What is in force: per (table, chain) its rules in order, and the policies of built-in chains."""

    rules: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    policies: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Saved:
        """Read what `iptables-save` wrote."""
        saved = cls()
        table = ""
        for line in text.splitlines():
            if line.startswith("*"):
                table = line[1:].strip()
            elif line.startswith(":"):
                chain, policy, *_ = line[1:].split()
                saved.rules[table, chain] = []
                saved.policies[table, chain] = policy
            elif line.startswith("-A "):
                chain, _, rule = line.removeprefix("-A ").partition(" ")  # a rule that only counts has no more
                saved.rules.setdefault((table, chain), []).append(rule.strip())
        return saved


NOTHING: Final = Saved()


def in_container(rules: Iterable[Rule], family: Family, saved: Saved = NOTHING) -> str:
    """Return the input of `iptables-restore --noflush` that puts a container's rules in force.

    `saved` is needed for tables other than `filter`.
    """
    return _script(rules, family, saved, whole=frozenset({_CONTAINERS}))


def on_host(rules: Iterable[Rule], saved: Saved) -> str:
    """Return the input of `iptables-restore --noflush` that puts a node's rules in force."""
    return _script(rules, "ip", saved, whole=frozenset())


def opened() -> str:
    """Return the input of `iptables-restore --noflush` that lets everything pass in a container; for both families."""
    lines = [f"*{_CONTAINERS}", *(f":{chain} ACCEPT [0:0]" for chain in _BUILT_IN)]
    return "\n".join([*lines, *(f"-F {chain}" for chain in _BUILT_IN), "COMMIT", ""])


def off_host(rules: Iterable[Rule], saved: Saved) -> str:
    """Return the input of `iptables-restore --noflush` that removes a node's rules; empty when there are none."""
    text = ""
    for table, chosen in _by_table(rules, "ip"):
        own = [chain for chain in _own_chains(chosen) if (table, chain) in saved.rules]
        lines = [
            f"-D {rule.chain} {_words(rule)}" for rule in dict.fromkeys(chosen) for _ in range(_times(rule, saved))
        ]
        lines += [f"-F {chain}" for chain in own] + [f"-X {chain}" for chain in own]
        text += "\n".join([f"*{table}", *lines, "COMMIT", ""]) if lines else ""
    return text


def in_place(rules: Iterable[Rule], family: Family, saved: Saved, *, container: bool = True) -> bool:
    """Whether rules are in force, so far as it can be told: the jumps are where they belong, and no rule is missing."""
    for table, chosen in _by_table(rules, family):
        whole = container and table == _CONTAINERS
        if whole and any(saved.policies.get((table, chain)) != "DROP" for chain in _BUILT_IN):
            return False
        for chain in dict.fromkeys(rule.chain for rule in chosen):
            wanted = [_words(rule) for rule in chosen if rule.chain == chain]
            found = saved.rules.get((table, chain), [])
            if chain.startswith(OWN):
                same = len(found) == len(wanted)
            else:
                same = found == wanted if whole else found[: len(wanted)] == wanted
            if not same:
                return False
    return True


def _script(rules: Iterable[Rule], family: Family, saved: Saved, whole: frozenset[str]) -> str:
    text = ""
    for table, chosen in _by_table(rules, family):
        lines = [f"*{table}"]
        if table in whole:
            lines += [f":{chain} DROP [0:0]" for chain in _BUILT_IN]
        lines += [f":{chain} - [0:0]" for chain in _own_chains(chosen)]
        if table in whole:
            lines += [f"-F {chain}" for chain in _BUILT_IN]
        for chain in dict.fromkeys(rule.chain for rule in chosen):
            in_chain = [rule for rule in chosen if rule.chain == chain]
            if table in whole or chain.startswith(OWN):
                lines += [f"-A {chain} {_words(rule)}" for rule in in_chain]
            else:
                lines += _first(in_chain, saved)
        text += "\n".join([*lines, "COMMIT", ""])
    return text


def _first(rules: list[Rule], saved: Saved) -> Iterator[str]:
    """Have rules first in a chain that others use as well, in their order, once."""
    found = saved.rules.get((rules[0].table, rules[0].chain), [])
    if found[: len(rules)] == list(map(_words, rules)) and all(_times(rule, saved) == 1 for rule in rules):
        return
    yield from (f"-D {rule.chain} {_words(rule)}" for rule in rules for _ in range(_times(rule, saved)))
    yield from (f"-I {rule.chain} 1 {_words(rule)}" for rule in reversed(rules))


def _times(rule: Rule, saved: Saved) -> int:
    """How often a rule for a jump is in force."""
    return 0 if rule.chain.startswith(OWN) else saved.rules.get((rule.table, rule.chain), []).count(_words(rule))


def _by_table(rules: Iterable[Rule], family: Family) -> Iterator[tuple[str, list[Rule]]]:
    chosen = [rule for rule in rules if rule.family == family]
    for table in dict.fromkeys(rule.table for rule in chosen):
        yield table, [rule for rule in chosen if rule.table == table]


def _own_chains(rules: Iterable[Rule]) -> list[str]:
    return list(dict.fromkeys(rule.chain for rule in rules if rule.chain.startswith(OWN)))


def _words(rule: Rule) -> str:
    return " ".join(rule.arguments)
