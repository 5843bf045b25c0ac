"""The nodes of a swarm as an operator sees them, and which of them a word means. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from coursewarehub.model.course import Course, CourseState
from coursewarehub.model.spawner import ContainerSpawner
from coursewarehub.wire import labels

ALIVE: Final = frozenset(
    {"new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running"}
)


@dataclass(frozen=True)
class Node:
    """One node: `state` is ready, down ...; `availability` active, pause or drain; memory in bytes."""

    id: str
    name: str
    role: str
    state: str
    availability: str
    cores: float
    memory: int
    labels: Mapping[str, str]
    version: int
    spec: Mapping[str, Any]
    message: str = ""
    leader: bool = False

    @property
    def takes_servers(self) -> bool:
        """Whether new servers may start there, as far as its state says."""
        return self.state == "ready" and self.availability == "active" and self.labels.get(labels.DRAINING) != "true"


@dataclass(frozen=True)
class Server:
    """A learner's server: whose it is, where its task runs, and the service behind it."""

    service: str
    course: str
    user: str
    server: str
    node: str


@dataclass(frozen=True)
class Row:
    """What the list says of one node: how many servers run there, for which courses it is ready, and why not."""

    node: Node
    servers: int
    ready: tuple[str, ...]
    reasons: tuple[str, ...]


class UnknownNode(Exception):
    """No node, or more than one, is meant by a word; the text is one sentence."""


def node_of(found: Mapping[str, Any]) -> Node:
    """Return a node as the engine tells it."""
    spec, description, status = found["Spec"], found.get("Description") or {}, found.get("Status") or {}
    resources = description.get("Resources") or {}
    return Node(
        id=str(found["ID"]),
        name=str(description.get("Hostname") or found["ID"]),
        role=str(spec.get("Role", "")),
        state=str(status.get("State", "unknown")),
        availability=str(spec.get("Availability", "")),
        cores=int(resources.get("NanoCPUs", 0)) / 1_000_000_000,
        memory=int(resources.get("MemoryBytes", 0)),
        labels=dict(spec.get("Labels") or {}),
        version=int(found["Version"]["Index"]),
        spec=spec,
        message=str(status.get("Message", "")),
        leader=bool((found.get("ManagerStatus") or {}).get("Leader")),
    )


def choose(nodes: Sequence[Node], word: str) -> Node:
    """Return the node with a name, or whose id begins so. Raises UnknownNode."""
    found = [node for node in nodes if node.name == word] or [node for node in nodes if node.id.startswith(word)]
    if len(found) == 1 and word:
        return found[0]
    if not found or not word:
        raise UnknownNode(f"there is no node `{word}`; there are {', '.join(sorted(node.name for node in nodes))}")
    raise UnknownNode(f"`{word}` means several nodes; take one of the ids {', '.join(node.id for node in found)}")


def servers_of(services: Iterable[Mapping[str, Any]], tasks: Iterable[Mapping[str, Any]]) -> tuple[Server, ...]:
    """Return the learners' servers among services that have a task on a node which is not over."""
    ours = {service["ID"]: service["Spec"].get("Labels") or {} for service in services}
    found = []
    for task in tasks:
        own = ours.get(task["ServiceID"])
        alive = task["Status"]["State"] in ALIVE and task.get("NodeID")
        if own is not None and own.get(labels.KIND) == labels.KIND_SERVER and alive:
            found.append(
                Server(
                    service=task["ServiceID"],
                    course=own.get(labels.COURSE, ""),
                    user=own.get(labels.USER, ""),
                    server=own.get(labels.SERVER, ""),
                    node=task["NodeID"],
                )
            )
    return tuple(found)


def wanted_labels(site_id: str, spawner: ContainerSpawner, courses: Iterable[Course]) -> dict[str, str]:
    """Return for each course that is not archived the label that a node has when it is ready for it."""
    return {
        course.id: labels.ready(site_id, course.image or spawner.image)
        for course in courses
        if course.state is not CourseState.ARCHIVED
    }


def rows(nodes: Iterable[Node], servers: Collection[Server], wanted: Mapping[str, str]) -> tuple[Row, ...]:
    """Return what the list says, managers first, then by name. `wanted` is a node's label for each course."""
    ordered = sorted(nodes, key=lambda node: (node.role != "manager", node.name))
    return tuple(_row(node, servers, wanted) for node in ordered)


def _row(node: Node, servers: Iterable[Server], wanted: Mapping[str, str]) -> Row:
    ready = tuple(course for course, label in wanted.items() if node.labels.get(label) == "true")
    return Row(
        node=node,
        servers=sum(server.node == node.id for server in servers),
        ready=ready if node.takes_servers else (),
        reasons=tuple(_reasons(node, [course for course in wanted if course not in ready])),
    )


def _reasons(node: Node, missing: Sequence[str]) -> Iterable[str]:
    if node.state != "ready":
        yield f"{node.state}{f': {node.message}' if node.message else ''}"
    if node.availability == "pause" or node.labels.get(labels.DRAINING) == "true":
        yield "takes no new servers (paused; `coursewarehub node resume` ends that)"
    elif node.availability == "drain":
        yield "drained (`coursewarehub node resume` ends that)"
    if missing and node.takes_servers:
        yield f"not ready for {', '.join(missing)}: the image, the storage or the agent is missing there"


def changed(node: Node, availability: str, *, draining: bool) -> dict[str, Any]:
    """Return the node's spec with another availability, and the label that keeps new servers away or not."""
    kept = {name: value for name, value in node.labels.items() if name != labels.DRAINING}
    added = {labels.DRAINING: "true"} if draining else {}
    return {**node.spec, "Availability": availability, "Labels": kept | added}
