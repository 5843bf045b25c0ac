"""The programs of iptables, in the namespace of the calling thread."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from dataclasses import replace
from typing import Final

from coursewarehub.nodes.namespaces import has_ipv6, inside_new
from coursewarehub.nodes.rules import Family, Node, rules_for
from coursewarehub.nodes.tables import Saved, in_container, in_place
from coursewarehub.wire.policy import EGRESS, NetworkPolicy

_SECONDS: Final = 20.0
_WAIT: Final = "10"  # seconds for another program's turn, where programs take turns
_FOLDERS: Final = "/usr/sbin:/sbin:/usr/bin:/bin"
_LONGEST: Final = 300
_TRIED: Final = NetworkPolicy(site="192.0.2.1", port=8081, registries_port=8082, egress=EGRESS[0])


class IptablesError(Exception):
    """The programs are missing, or refuse rules; its text is one sentence."""


def families() -> tuple[Family, ...]:
    """The families that the kernel has, each of which needs rules."""
    return ("ip", "ip6") if has_ipv6() else ("ip",)


def restore(family: Family, script: str) -> None:
    """Put a script of `tables` in force. Raises IptablesError; each table is then as before or as asked for."""
    _run(_program(family, "restore"), "--noflush", f"--wait={_WAIT}", given=script)


def save(family: Family) -> Saved:
    """Read what is in force. Raises IptablesError."""
    return Saved.parse(_run(_program(family, "save")))


def abilities(node: Node) -> Node:
    """Try rules in a namespace of their own and return the node with what this kernel can.

    Raises IptablesError when it cannot what is needed.
    """
    for owner, strings in ((node.owner, True), (False, True), (node.owner, False)):
        tried = replace(node, owner=owner, strings=strings)
        with contextlib.suppress(IptablesError):
            _try(tried)
            return tried
    barest = replace(node, owner=False, strings=False)
    _try(barest)
    return barest


def _try(node: Node) -> None:
    for egress in EGRESS:
        rules = rules_for(replace(_TRIED, egress=egress), node)
        try:
            with inside_new():
                for family in families():
                    restore(family, in_container(rules, family))
                    if not in_place(rules, family, save(family)):
                        raise IptablesError("iptables took the rules, and not all of them are in force")
        except OSError as error:
            raise IptablesError(f"a network namespace cannot be made or entered: {error.strerror}") from error


def _program(family: Family, verb: str) -> str:
    name = f"{'iptables' if family == 'ip' else 'ip6tables'}-{verb}"
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_FOLDERS}")
    if found is None:
        raise IptablesError(f"the program `{name}` is missing: install the package `iptables`")
    return found


def _run(*command: str, given: str = "") -> str:
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise IptablesError(f"`{command[0]}` cannot be run: {error}") from error
    if done.returncode != 0:
        raise IptablesError(f"`{command[0]}` refused: {' '.join(done.stderr.split())[:_LONGEST]}")
    return done.stdout
