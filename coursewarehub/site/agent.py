"""The agent of the one Docker host, which keeps learners' containers apart: a child of the site process, kept running.

On a swarm every node has its own, as a service.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from coursewarehub.model.spawner import ContainerSpawner
from coursewarehub.nodes import health
from coursewarehub.prefork.client import clean_environment
from coursewarehub.state import processes
from coursewarehub.state.folders import SiteFolders
from coursewarehub.wire.prefork import ProcessRecord

log = logging.getLogger("coursewarehub.site.agent")

_SETTLED: Final = 10.0
_LONGEST_PAUSE: Final = 30.0


def obstacle(spawner: ContainerSpawner, uid: int) -> str | None:
    """Why no agent of this site can keep containers of one Docker host apart, and the mend; None when it can."""
    if not spawner.engine.startswith("unix://"):
        return (
            f"the Docker Engine at {spawner.engine} may be another machine, on which the site cannot apply rules: "
            "use its socket (`unix:///var/run/docker.sock`) on the machine itself, or a swarm"
        )
    if uid != 0:
        return "only root may apply rules between containers: run the site as root"
    return None


def command(spawner: ContainerSpawner, folders: SiteFolders) -> tuple[str, ...]:
    """The command line of the agent."""
    return (
        sys.executable,
        "-m",
        "coursewarehub.nodes",
        "--engine",
        spawner.engine,
        "--netns-folder",
        f"{spawner.engine_folder}/netns",
        "--host-rules",
        str(spawner.addresses),
        "--ports",
        str(spawner.port),
        str(spawner.port + 1),
        "--health",
        str(health_file(folders)),
    )


def health_file(folders: SiteFolders) -> Path:
    """Where the agent says how it is."""
    return folders.run / "agent-health.json"


class Agent:
    """One agent process with this command line, started again whenever it ends."""

    def __init__(self, arguments: tuple[str, ...], folders: SiteFolders) -> None:
        self._arguments = arguments
        self._health = health_file(folders)
        self._log_file = folders.logs / "agent.log"
        self._record_file = folders.run / "agent.json"
        self._process: subprocess.Popen[bytes] | None = None
        self.record: ProcessRecord | None = None

    def trouble(self) -> str | None:
        """What is wrong with it, in a sentence; None when it applies its rules."""
        if self.record is None or not processes.alive(self.record.pid, self.record.start_time):
            return f"the agent that applies the network rules does not run; its log is {self._log_file}"
        well, said = health.check(self._health)
        return None if well else f"network rules: {said}"

    async def keep(self) -> None:
        """Have it run until cancelled; one that an earlier site process left is taken over."""
        self.record = await self._left_running()
        pause = 0.5
        while True:
            begun = time.monotonic()
            if self.record is None:
                self._launch()
            assert self.record is not None
            await processes.ended(self.record)
            if self._process is not None:
                self._process.poll()
            self.record = None
            pause = 0.5 if time.monotonic() - begun > _SETTLED else min(_LONGEST_PAUSE, pause * 2)
            log.error("the agent ended; starting it again in %.1f s", pause)
            await asyncio.sleep(pause)

    async def stop(self) -> None:
        """End it; the rules of containers that run stay in force."""
        if self.record is not None:
            await processes.stop_tree(self.record, patience=5)
        if self._process is not None:
            self._process.wait()
        self._record_file.unlink(missing_ok=True)

    async def _left_running(self) -> ProcessRecord | None:
        record = processes.recorded(self._record_file)
        if record is None or _arguments_of(record.pid) == self._arguments:
            return record
        await processes.stop_tree(record, patience=5)
        return None

    def _launch(self) -> None:
        self._health.unlink(missing_ok=True)
        self._process, self.record = processes.launch(
            "agent", self._arguments, clean_environment(), self._log_file, self._record_file
        )


def _arguments_of(pid: int) -> tuple[str, ...]:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ()
    return tuple(os.fsdecode(word) for word in words[:-1])
