"""A site of ours whose servers are containers, on a machine of a test bed, or services of its Swarm."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

from benchmarks.beds import Host
from benchmarks.ours import Ours
from benchmarks.processes import StackError
from benchmarks.tasks import our_configuration

_SPAWNER = """
spawner:
  kind: {kind}
  image: {image}
  storage: {storage}
  concurrent_starts: {starts}
"""
_NODES_SECONDS = 180


def _spawner(host: Host, kind: str) -> str:
    """The lines of site.yaml that say where servers run, with a storage of its own.

    So many start at once as by default on one machine: those of a bed's Swarm have the same processor cores.
    """
    storage = Path(host.facts.storage) / secrets.token_hex(4)
    storage.mkdir()
    starts = 1 + len(os.sched_getaffinity(0))
    return _SPAWNER.format(kind=kind, image=host.facts.images["singleuser"], storage=storage, starts=starts)


class OursDocker(Ours):
    """A site on the machine, run by ``coursewarehub up``."""

    def __init__(self, host: Host) -> None:
        self._host_machine = host
        super().__init__(1, host=host.facts.address, settings=_spawner(host, "docker"))

    def _placed(self, command: list[str]) -> list[str]:
        return self._host_machine.placed(command, self.folder)

    def stop(self) -> None:
        """Stop the site, then remove the containers it leaves."""
        super().stop()
        self._host_machine.reset()


class OursSwarm(Ours):
    """A site as services of the Swarm, brought there by ``coursewarehub deploy swarm``."""

    def __init__(self, host: Host) -> None:
        self._host_machine = host
        super().__init__(1, host=host.facts.address, settings=_spawner(host, "swarm"))
        self.measured = self._site / "measured"
        (self._site / "hub.d").mkdir()
        (self._site / "hub.d" / "timed.py").write_text(our_configuration(self.measured))

    def _placed(self, command: list[str]) -> list[str]:
        return self._host_machine.placed(command, self.folder)

    def start(self) -> None:
        """Deploy, and wait until all nodes take servers."""
        image = self._host_machine.facts.images["hub"]
        self._run("deploy", "swarm", "--yes", "--hub-image", image, seconds=300)
        deadline = time.monotonic() + _NODES_SECONDS
        nodes = len(self._host_machine.api("/nodes"))
        while (ready := self._ready_nodes()) < nodes:
            if time.monotonic() > deadline:
                raise StackError(f"ours: {ready} of {nodes} nodes are ready after {_NODES_SECONDS} s")
            time.sleep(0.5)

    def _ready_nodes(self) -> int:
        try:
            engine = self.status().get("engine") or {}
        except StackError:  # its exit status says that the site is not ready yet
            return 0
        return sum(bool(node["ready"]) for node in engine.get("nodes", []))

    def stop(self) -> None:
        """Remove the services."""
        super().stop()
        self._host_machine.reset()
