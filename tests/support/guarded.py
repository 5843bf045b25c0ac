"""An engine whose node has an agent, listeners to reach or not to reach, and learners' containers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coursewarehub.wire import labels
from coursewarehub.wire.policy import NetworkPolicy
from coursewarespawner.payloads import container_payload
from coursewarespawner.plan import ContainerPlan
from support.engines import Engine
from support.netns import run
from support.probes import LISTENERS, PYTHON, Target, connections, reached, run_in
from support.sites import eventually

POOL = "10.180.0.0/14"
MIB = 1024**2
UID = 170_001


class RunningAgent:
    """`python -m coursewarehub.nodes` on the engine's machine."""

    def __init__(self, engine: Engine, log: Path, *options: str) -> None:
        self.engine = engine
        self.log = log
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *arguments: str) -> list[str]:
        return self.engine.inside(sys.executable, "-m", "coursewarehub.nodes", *arguments)

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(self.command(*self.options), stdout=output, stderr=output)
        eventually(self._well, 20)

    def _well(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.said()
        return self.check()[0] == 0

    def check(self) -> tuple[int, str]:
        """Exit status and sentence of `--check`."""
        done = subprocess.run(self.command("--check"), capture_output=True, text=True, timeout=20, check=False)
        return done.returncode, done.stdout.strip()

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def guards(self, name: str) -> bool:
        return f"rules of {name} in force" in self.said()

    def waits(self, name: str) -> float:
        """Milliseconds from the container's start to its rules, when it has them."""

        def found() -> Any:
            return re.search(rf"rules of {name} in force (\d+) ms", self.said())

        return float(eventually(found, 20)[1])

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(timeout=10) == 0, self.said()

    def remove(self) -> str:
        """Take the node's rules away; what it says."""
        return run(*self.command("--host-rules", POOL, "--remove"))

    def kill(self) -> None:
        assert self.process is not None
        # `nsenter` has become the agent.
        self.process.kill()
        self.process.wait(timeout=10)


@contextmanager
def agent_on(engine: Engine, log: Path, *options: str) -> Iterator[RunningAgent]:
    """An agent that looks after the containers of this engine until the end of the block."""
    agent = RunningAgent(engine, log, *options)
    agent.start()
    try:
        yield agent
    finally:
        agent.stop()
        agent.remove()


@contextmanager
def listening(where: list[str], targets: Iterable[Target]) -> Iterator[None]:
    """Real listeners; `where` is the beginning of a command line that leads to their machine."""
    command = [*where, sys.executable, "-c", LISTENERS, json.dumps(list(targets))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "listening\n"
            yield
        finally:
            process.terminate()


def plan_of(name: str, network: str, policy: NetworkPolicy, *command: str, **changes: Any) -> ContainerPlan:
    """The plan of a learner's container with Python, hardened like any other."""
    settings: dict[str, Any] = {
        "image": PYTHON,
        "command": command or ("sleep", "1000"),
        "environment": {"HOME": "/tmp"},
        "labels": {labels.KIND: labels.KIND_SERVER, labels.POLICY: policy.encode()},
        "user": f"{UID}:{UID}",
        "working_dir": "/tmp",
        "memory": 256 * MIB,
        "cpu": 1.0,
        "pids": 128,
        "network": network,
        "tmpfs": {"/tmp": 64 * MIB},
        "policy": policy,
    }
    return ContainerPlan(name=name, **(settings | changes))


def launch(engine: Engine, plan: ContainerPlan, **changes: Any) -> str:
    """Create and start a plan's container; its name. `changes` are of the `HostConfig`."""
    body = container_payload(plan)
    body["HostConfig"] |= changes
    engine.api("POST", "/containers/create", body, name=plan.name)
    engine.api("POST", f"/containers/{plan.name}/start")
    return plan.name


def probe(engine: Engine, container: str, targets: Iterable[Target]) -> dict[Target, str]:
    """What a container reaches."""
    return dict(reached(run_in(engine, container, connections(targets))))
