"""Having an image pulled on every node of a swarm before a student waits for it.

A short global job (one task a node, https://docs.docker.com/engine/swarm/services/#jobs) of the very image runs `true`
on each node: what has run there is there. The image is named by its digest, so that all nodes have the same one.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from coursewarehub.engine import Engine, EngineError, Gone, Refused, Unreachable
from coursewarehub.engine.states import Condition, of_task, reason_of_task
from coursewarehub.imaging.errors import ImagingError
from coursewarehub.imaging.push import repository_of
from coursewarehub.wire import labels

_POLL_SECONDS: Final = 0.5
_QUIET_SECONDS: Final = 60.0


class State(StrEnum):
    """What is known of an image on a node."""

    READY = "ready"
    PULLING = "pulling"
    FAILED = "failed"
    DRAINED = "drained"
    AWAY = "away"


@dataclass(frozen=True)
class NodeReport:
    """One node: its host name, what is known, and why when it is not ready."""

    node: str
    state: State
    reason: str = ""

    @property
    def is_final(self) -> bool:
        """Waiting will not change it."""
        return self.state is not State.PULLING

    @property
    def is_well(self) -> bool:
        """Ready, or on purpose out of service."""
        return self.state in {State.READY, State.DRAINED}


@dataclass(frozen=True)
class Report:
    """An image by digest, and all the nodes."""

    image: str
    nodes: tuple[NodeReport, ...]

    @property
    def is_well(self) -> bool:
        """Every node in service has it, and there is one."""
        return all(node.is_well for node in self.nodes) and any(node.state is State.READY for node in self.nodes)


async def prepull(
    engine: Engine, reference: str, *, seconds: float = 1800, tell: Callable[[NodeReport], None] = lambda _: None
) -> Report:
    """Have every node pull the image and report; `engine` is a manager's, `tell` hears of each change.

    Nodes that are still pulling after `seconds` are reported so. ImagingError with one sentence when the registry does
    not have the image or the engine manages no swarm.
    """
    try:
        image = await by_digest(engine, reference)
        job = await engine.post("/services/create", job_payload(f"courseware-prepull-{secrets.token_hex(5)}", image))
        try:
            nodes = await _watch(engine, str(job["ID"]), seconds, tell)
        finally:
            await _remove(engine, str(job["ID"]))
    except EngineError as error:
        raise ImagingError(str(error).rstrip(".")) from error
    return Report(image, nodes)


async def by_digest(engine: Engine, reference: str) -> str:
    """Name of an image with the digest that its registry has for it now."""
    if "@" in reference:
        return reference
    try:
        found = await engine.get(f"/distribution/{reference}/json")
    except (Gone, Refused, Unreachable) as error:
        raise ImagingError(
            f"no registry tells the digest of {reference}, so that the nodes cannot pull it; bring it into a registry "
            f"that all nodes reach (`coursewarehub image push`) and name it with the registry: {str(error).rstrip('.')}"
        ) from error
    return f"{repository_of(reference)}@{found['Descriptor']['digest']}"


def job_payload(name: str, image: str) -> dict[str, Any]:
    """The job, as `POST /services/create` takes it."""
    return {
        "Name": name,
        "Labels": {labels.KIND: labels.KIND_CHECK},
        "Mode": {"GlobalJob": {}},
        "EndpointSpec": {"Mode": "dnsrr"},
        "TaskTemplate": {
            "ContainerSpec": {"Image": image, "Command": ["true"], "Labels": {labels.KIND: labels.KIND_CHECK}},
            "RestartPolicy": {"Condition": "none"},
            "Resources": {"Limits": {"MemoryBytes": 64 << 20}},
        },
    }


async def _watch(
    engine: Engine, job: str, seconds: float, tell: Callable[[NodeReport], None]
) -> tuple[NodeReport, ...]:
    """Look until all nodes are done or the time is over; an engine that is silent for a while is asked again."""
    loop = asyncio.get_running_loop()
    end, heard = loop.time() + seconds, loop.time()
    told: dict[str, NodeReport] = {}
    while True:
        try:
            nodes = await engine.get("/nodes")
            tasks = await engine.get("/tasks", filters={"service": [job]})
        except Unreachable:
            if loop.time() > heard + _QUIET_SECONDS:
                raise
        else:
            heard = loop.time()
            found = report(nodes, tasks)
            for node in found:
                if told.get(node.node) != node:
                    tell(node)
                    told[node.node] = node
            if all(node.is_final for node in found) or heard > end:
                return found
        await asyncio.sleep(_POLL_SECONDS)


async def _remove(engine: Engine, job: str) -> None:
    """Take the job away; what fails here is left to `docker service rm`."""
    with contextlib.suppress(EngineError):
        await engine.delete(f"/services/{job}")


def report(nodes: Iterable[Mapping[str, Any]], tasks: Sequence[Mapping[str, Any]]) -> tuple[NodeReport, ...]:
    """What the tasks of the job (`GET /tasks`) tell of each node (`GET /nodes`), by host name."""
    newest = {task.get("NodeID"): task for task in sorted(tasks, key=lambda task: str(task.get("CreatedAt", "")))}
    found = (_node_report(node, newest.get(node["ID"])) for node in nodes)
    return tuple(sorted(found, key=lambda node: node.node))


def _node_report(node: Mapping[str, Any], task: Mapping[str, Any] | None) -> NodeReport:
    name = str(node.get("Description", {}).get("Hostname") or node["ID"])
    state = str(node.get("Status", {}).get("State", "unknown"))
    if node.get("Spec", {}).get("Availability") != "active":
        return NodeReport(name, State.DRAINED, "takes no servers: it is drained or paused")
    if state != "ready":
        return NodeReport(name, State.AWAY, f"the node is {state}")
    if task is None:
        return NodeReport(name, State.PULLING, "")
    condition = of_task(str(task["Status"]["State"]), str(task.get("DesiredState", "")), state)
    if condition is Condition.ENDED:
        return NodeReport(name, State.READY)
    if condition is Condition.FAILED:
        return NodeReport(name, State.FAILED, str(reason_of_task(task, name, state) or "").rstrip("."))
    return NodeReport(name, State.PULLING)


def table(reports: Sequence[NodeReport]) -> str:
    """The nodes, one a line."""
    width = max((len(node.node) for node in reports), default=0)
    return "\n".join(f"{node.node:<{width}}  {node.state:<8}{node.reason}".rstrip() for node in reports)
