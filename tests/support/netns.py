"""Networks of a test bed: a bridge of its own, and one network namespace per machine that hangs on it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


def run(
    *command: str | Path,
    check: bool = True,
    timeout: float = 60,
    given: str | None = None,
    folder: Path | None = None,
) -> str:
    """What the command prints; AssertionError with its words when it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False, input=given, cwd=folder)
    assert not check or done.returncode == 0, f"{' '.join(words)}: {(done.stderr or done.stdout).strip()[-2000:]}"
    return done.stdout.strip()


def wanted(table: str, chain: str, *rule: str) -> None:
    """Have this iptables rule first in its chain, once."""
    if subprocess.run(["iptables", "-w", "-t", table, "-C", chain, *rule], capture_output=True, check=False).returncode:
        run("iptables", "-w", "-t", table, "-I", chain, *rule)


def unwanted(table: str, chain: str, *rule: str) -> None:
    """Have no such iptables rule."""
    while not subprocess.run(
        ["iptables", "-w", "-t", table, "-D", chain, *rule], capture_output=True, check=False
    ).returncode:
        pass


@dataclass(frozen=True)
class Bridge:
    """The cable between the machines; the host hangs on it with the first address of its /24."""

    name: str
    prefix: str  # "10.199.0."

    @property
    def address(self) -> str:
        return f"{self.prefix}1"

    @property
    def network(self) -> str:
        return f"{self.prefix}0/24"

    def _rules(self) -> list[tuple[str, ...]]:
        return [
            ("filter", "FORWARD", "-i", self.name, "-j", "ACCEPT"),
            ("filter", "FORWARD", "-o", self.name, "-j", "ACCEPT"),
            ("nat", "POSTROUTING", "-s", self.network, "!", "-o", self.name, "-j", "MASQUERADE"),
        ]

    def open(self) -> None:
        run("ip", "link", "add", self.name, "type", "bridge")
        run("ip", "addr", "add", f"{self.address}/24", "dev", self.name)
        run("ip", "link", "set", self.name, "up")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n")
        for table, chain, *rule in self._rules():
            wanted(table, chain, *rule)

    def close(self) -> None:
        for table, chain, *rule in self._rules():
            unwanted(table, chain, *rule)
        run("ip", "link", "del", self.name, check=False)

    def also(self, address: str) -> None:
        """Answer on one more address, such as 169.254.169.254; it goes with the bridge."""
        run("ip", "addr", "replace", f"{address}/32", "dev", self.name)


@dataclass(frozen=True)
class Namespace:
    """The network of one machine: loopback and one card on the bridge."""

    name: str  # as in `ip netns`
    bridge: Bridge
    number: int  # last part of the address

    @property
    def address(self) -> str:
        return f"{self.bridge.prefix}{self.number}"

    @property
    def path(self) -> Path:
        return Path("/run/netns") / self.name

    @property
    def card(self) -> str:
        """The end of the cable on the host's side."""
        return self.name.replace("-", "")

    def open(self) -> None:
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.card, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "link", "set", self.card, "master", self.bridge.name, "up")
        within = ("ip", "-n", self.name)
        run(*within, "link", "set", "lo", "up")
        run(*within, "addr", "add", f"{self.address}/24", "dev", "eth0")
        run(*within, "link", "set", "eth0", "up")
        run(*within, "route", "add", "default", "via", self.bridge.address)

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in this network only (files and processes are the host's)."""
        return run("nsenter", f"--net={self.path}", *command, check=check)

    def unplug(self) -> None:
        run("ip", "link", "set", self.card, "down")

    def plug(self) -> None:
        run("ip", "link", "set", self.card, "up")

    def close(self) -> None:
        """End every process in it and remove it."""
        end_all(lambda: processes_in(self.name))
        run("ip", "link", "del", self.card, check=False)
        run("ip", "netns", "del", self.name, check=False)


def namespaces(prefix: str) -> list[str]:
    """Names of the network namespaces that begin so."""
    folder = Path("/run/netns")
    return sorted(entry.name for entry in folder.iterdir() if entry.name.startswith(prefix)) if folder.is_dir() else []


def processes_in(name: str) -> set[int]:
    """Processes in a network namespace; nobody when there is none of that name."""
    return {int(word) for word in run("ip", "netns", "pids", name, check=False).split()}


def processes_below(cgroup: str) -> set[int]:
    """Processes in a control group (of any hierarchy) or in one below it."""
    found = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            groups = [line.split(":", 2)[2] for line in (entry / "cgroup").read_text().splitlines()]
            if any(f"{group}/".startswith(f"{cgroup}/") for group in groups):
                found.add(int(entry.name))
    return found


def end_all(find: object, seconds: float = 15) -> None:
    """SIGKILL whoever `find` names until it names nobody (they may be forking meanwhile)."""
    assert callable(find)
    deadline = time.monotonic() + seconds
    while pids := find() - {os.getpid()}:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert time.monotonic() < deadline, f"still running after SIGKILL: {sorted(pids)}"
        time.sleep(0.02)
