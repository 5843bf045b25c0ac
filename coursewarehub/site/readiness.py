"""Which nodes of a swarm are ready for learners' servers: what checks it on them, and what the checks say. Pure.

For every image in use there is a global service, so that each node fetches the image and runs a tiny program from it,
which looks whether the site's storage is there, and whether it is the site's. Where that program and the agent run, the
node is ready, which a label on the node says. The label is published truth, never a constraint of a running server:
Swarm ends what runs on a node whose labels no longer fit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from coursewarehub.engine.observe import choose, nodes_of
from coursewarehub.engine.states import reason_of_task
from coursewarehub.model.names import object_name
from coursewarehub.wire import labels

_Object = Mapping[str, Any]

FOLDERS: Final = ("homes", "shared", "published")
"""What of the storage servers mount."""

BEING_CHECKED: Final = "being checked for"
"""Begins what a node lacks only until its check has been seen to run."""

_SECOND: Final = 1_000_000_000  # nanoseconds
_MIB: Final = 1024**2
_NOBODY: Final = "65534:65534"
_LOOK: Final = 'for f in $FOLDERS; do read -r id </check/$f/site && [ "$id" = "$SITE" ] || exit 1; done'
_PROGRAM: Final = (
    "trap 'exit 0' TERM; while timeout -s KILL 10 /bin/sh -c \"$LOOK\"; do sleep 10 & wait $!; done; exit 1"
)


def markers(storage: Path) -> tuple[Path, ...]:
    """Files with the site's id by which a node knows the storage; their folders are all that a check mounts."""
    return tuple(storage / folder / ".courseware" / "site" for folder in FOLDERS)


# --- the services that check -------------------------------------------------------------------


def check_name(site_id: str, image: str) -> str:
    """Name of the service that checks nodes for an image."""
    return object_name("courseware-check", f"{site_id}\n{image}")


def check_service(site_id: str, image: str, storage: Path, constraints: Iterable[str] = ()) -> dict[str, Any]:
    """The service that checks nodes for an image, as the engine takes it; `constraints` are the site's placement."""
    container = {
        "Image": image,
        "Command": ["/bin/sh", "-c", _PROGRAM],
        "Env": [f"SITE={site_id}", f"LOOK={_LOOK}", f"FOLDERS={' '.join(FOLDERS)}"],
        "User": _NOBODY,
        "Dir": "/",
        "ReadOnly": True,
        "CapabilityDrop": ["ALL"],
        "StopGracePeriod": _SECOND,
        "Healthcheck": {"Test": ["NONE"]},
        "Mounts": [
            {"Type": "bind", "Source": str(file.parent), "Target": f"/check/{folder}", "ReadOnly": True}
            for folder, file in zip(FOLDERS, markers(storage), strict=True)
        ],
    }
    spec: dict[str, Any] = {
        "TaskTemplate": {
            "ContainerSpec": container,
            "Resources": {"Limits": {"MemoryBytes": 64 * _MIB, "NanoCPUs": _SECOND // 5, "Pids": 32}},
            "RestartPolicy": {"Condition": "any", "Delay": 10 * _SECOND},
            "Placement": {"Constraints": list(constraints)},
            "LogDriver": {"Name": "json-file", "Options": {"max-size": "1m", "max-file": "1"}},
        },
        "Mode": {"Global": {}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:20]
    own = {
        labels.SITE: site_id,
        labels.KIND: labels.KIND_CHECK,
        labels.IMAGE: image,
        labels.DEPLOYED: digest,
    }
    container["Labels"] = own
    return {"Name": check_name(site_id, image), "Labels": own, **spec}


@dataclass(frozen=True)
class Changes:
    """Services to make, and ids of services to remove; one that is to be different is in both."""

    make: tuple[dict[str, Any], ...] = ()
    remove: tuple[str, ...] = ()


def changes(wanted: Iterable[dict[str, Any]], present: Iterable[_Object]) -> Changes:
    """What makes the `present` check services those that are wanted."""
    by_name = {spec["Name"]: spec for spec in wanted}
    same, remove = set(), []
    for service in present:
        name = service["Spec"]["Name"]
        if name in by_name and _digest(service["Spec"]) == _digest(by_name[name]):
            same.add(name)
        else:
            remove.append(service["ID"])
    return Changes(tuple(spec for name, spec in by_name.items() if name not in same), tuple(remove))


def _digest(spec: _Object) -> str:
    return str((spec.get("Labels") or {}).get(labels.DEPLOYED, ""))


# --- what they say -----------------------------------------------------------------------------


@dataclass(frozen=True)
class NodeReport:
    """One node as `status` shows it. `lacks` are sentences about what keeps servers from starting there."""

    id: str
    name: str
    state: str
    availability: str
    lacks: tuple[str, ...] = ()
    servers: int = 0

    @property
    def ready(self) -> bool:
        """Whether servers of every course can start there."""
        return self.state == "ready" and self.availability == "active" and not self.lacks


def standing(tasks: Iterable[_Object], services: Collection[str]) -> dict[str, str]:
    """Ids of the running tasks of some services, by the id of their node."""
    return {
        task["NodeID"]: task["ID"]
        for task in tasks
        if task["ServiceID"] in services
        and task.get("NodeID")
        and task["Status"].get("State") == "running"
        and task.get("DesiredState") == "running"
    }


@dataclass(frozen=True)
class Found:
    """What one look at a swarm found of nodes, and of the services that check them.

    `checks` are the ids of check services by image, `agents` those of the agent's services, None when no agent is
    needed. `earlier` are the tasks that ran at the look before, None at the first: a program that ends at once is
    running for a moment.
    """

    nodes: tuple[_Object, ...]
    tasks: tuple[_Object, ...]
    checks: Mapping[str, str]
    agents: frozenset[str] | None
    earlier: frozenset[str] | None = None

    def ready(self) -> dict[str, frozenset[str]]:
        """Ids of the nodes that are ready, by image."""
        up = {node["ID"] for node in self.nodes if node.get("Status", {}).get("State") == "ready"}
        fenced = up if self.agents is None else up & standing(self.tasks, self.agents).keys()
        earlier = self.earlier or frozenset()
        return {
            image: frozenset(
                node for node, task in standing(self.tasks, {service}).items() if node in fenced and task in earlier
            )
            for image, service in self.checks.items()
        }

    def running(self) -> frozenset[str]:
        """What is `earlier` at the next look."""
        return frozenset(standing_id for service in self.checks.values() for standing_id in self._of(service))

    def _of(self, service: str) -> Iterable[str]:
        return standing(self.tasks, {service}).values()


def label_changes(
    nodes: Iterable[_Object], ready: Mapping[str, Collection[str]], site_id: str
) -> dict[str, dict[str, str]]:
    """Labels that nodes are to have, by the id of each node whose labels are not as they should be.

    `ready` are the ids of the ready nodes by image. Labels of others stay as they are.
    """
    wanted: dict[str, dict[str, str]] = {}
    for node in nodes:
        now = dict(node["Spec"].get("Labels") or {})
        then = dict(now)
        for image, those in ready.items():
            name = labels.ready(site_id, image)
            if node["ID"] in those:
                then[name] = "true"
            else:
                then.pop(name, None)
        if then != now:
            wanted[node["ID"]] = then
    return wanted


def reports(found: Found, images: Collection[str], servers: Mapping[str, int]) -> tuple[NodeReport, ...]:
    """What `status` shows, by name: whether a node is ready for the `images` in use, and how many servers run there."""
    ready = found.ready()
    made = (_report(node, found, {image: ready.get(image, ()) for image in images}, servers) for node in found.nodes)
    return tuple(sorted(made, key=lambda report: report.name))


def _report(
    node: _Object, found: Found, ready: Mapping[str, Collection[str]], servers: Mapping[str, int]
) -> NodeReport:
    name = node.get("Description", {}).get("Hostname") or node["ID"]
    state = node.get("Status", {}).get("State", "unknown")
    availability = node["Spec"].get("Availability", "")
    lacks: list[str] = []
    if state == "ready" and availability == "active":
        if found.agents is not None and node["ID"] not in standing(found.tasks, found.agents):
            lacks.append("the agent that applies the network rules does not run there")
        lacks += [_why(node, image, found) for image in sorted(ready) if node["ID"] not in ready[image]]
    return NodeReport(node["ID"], name, state, availability, tuple(dict.fromkeys(lacks)), servers.get(node["ID"], 0))


def _why(node: _Object, image: str, found: Found) -> str:
    """What the check of an image says of a node on which it does not stand; it may not be there yet."""
    if image not in found.checks:
        return f"{BEING_CHECKED} {image}"
    ours = [
        task for task in found.tasks if task["ServiceID"] == found.checks[image] and task.get("NodeID") == node["ID"]
    ]
    if node["ID"] in standing(ours, {found.checks[image]}):
        return f"{BEING_CHECKED} {image}"
    failed = [task for task in ours if task["Status"].get("State") in ("failed", "rejected")]
    task = choose(failed, nodes_of(found.nodes))
    if task is None:
        return f"{BEING_CHECKED} {image}"
    code = (task["Status"].get("ContainerStatus") or {}).get("ExitCode", 0)
    if code == 1:
        return "the storage is not there, or it is not this site's"
    return str(reason_of_task(task, "") or f"the check for {image} does not run there").rstrip(".")
