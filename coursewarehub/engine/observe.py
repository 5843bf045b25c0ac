"""What lists of the engine's objects say about each server. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from coursewarehub.engine import states
from coursewarehub.engine.states import Condition, Reason, moment
from coursewarehub.wire import labels

_Objects = Sequence[Mapping[str, Any]]

_TASK_COMES_WITHIN: Final = timedelta(seconds=60)
_START_COMES_WITHIN: Final = timedelta(seconds=120)
_EXITED: Final = re.compile(r"Exited \((\d+)\)")


@dataclass(frozen=True)
class Observation:
    """What is known of one server.

    `since` is when the condition was first seen (seconds since the epoch), `object_id` the id of its service or
    container, `spawn` the start to which it belongs, `address` where it answers in its network. `reason` is a sentence
    when it did not come up, does not yet, or is out of reach. What is not `verified` is the last that was known: the
    engine does not answer. `refused`: its machine would not run it, for its image, a folder or a network is missing
    there, or its disk is full; another machine may.
    """

    condition: Condition
    since: float = 0.0
    node_id: str = ""
    node_name: str = ""
    address: str = ""
    reason: str | None = None
    exit_code: int | None = None
    object_id: str = ""
    spawn: str = ""
    verified: bool = True
    refused: bool = False


@dataclass(frozen=True)
class Node:
    """One machine of a swarm. `state` is Swarm's word: ready, down, disconnected, unknown."""

    name: str
    state: str
    manager: bool = False
    reachable: bool = True
    """As a manager."""


GONE: Final = Observation(Condition.GONE)
_LEFT: Final = Node("", "down")


# --- swarm -------------------------------------------------------------------------------------


def nodes_of(nodes: _Objects) -> dict[str, Node]:
    """Machines by id, from `GET /nodes`."""
    return {node["ID"]: _node(node) for node in nodes}


def _node(node: Mapping[str, Any]) -> Node:
    manager = node.get("ManagerStatus") or {}
    return Node(
        name=node.get("Description", {}).get("Hostname", "") or node["ID"],
        state=node.get("Status", {}).get("State", "unknown"),
        manager=bool(manager),
        reachable=manager.get("Reachability", "reachable") == "reachable",
    )


def of_service(
    service: Mapping[str, Any],
    tasks: _Objects,
    nodes: Mapping[str, Node],
    network: str | None,
    now: datetime,
) -> Observation:
    """What is known of a service with one task, from itself and the tasks that Swarm remembers of it.

    `network` is the name of the network whose address counts; None: the first.
    """
    spawn = service["Spec"].get("Labels", {}).get(labels.SPAWN, "")
    task = choose(tasks, nodes)
    if task is None:
        made = moment(service.get("CreatedAt", ""))
        late = made is not None and now - made > _TASK_COMES_WITHIN
        return Observation(Condition.ENDED if late else Condition.STARTING, object_id=service["ID"], spawn=spawn)
    node = _node_of(task, nodes)
    condition = _condition(task, nodes)
    status = task.get("Status", {})
    return Observation(
        condition,
        node_id=task.get("NodeID", ""),
        node_name=node.name if node else "",
        address=_address_of_task(task, network),
        reason=states.reason_of_task(task, node.name if node else "", node.state if node else None),
        exit_code=status.get("ContainerStatus", {}).get("ExitCode") if condition.is_over else None,
        object_id=service["ID"],
        spawn=spawn,
        refused=status.get("State") == "rejected",
    )


def choose(tasks: _Objects, nodes: Mapping[str, Node]) -> Mapping[str, Any] | None:
    """The task that speaks for its service: the newest that runs, else the newest. Swarm lists them in no order."""
    running = [task for task in tasks if _condition(task, nodes) is Condition.RUNNING]
    return max(running or tasks, key=lambda task: (task.get("CreatedAt", ""), task.get("ID", "")), default=None)


def _condition(task: Mapping[str, Any], nodes: Mapping[str, Node]) -> Condition:
    node = _node_of(task, nodes)
    state = task.get("Status", {}).get("State", "")
    return states.of_task(state, task.get("DesiredState", ""), node.state if node else None)


def _node_of(task: Mapping[str, Any], nodes: Mapping[str, Node]) -> Node | None:
    return nodes.get(task["NodeID"], _LEFT) if task.get("NodeID") else None


def _address_of_task(task: Mapping[str, Any], network: str | None) -> str:
    found = (
        (attachment.get("Network", {}).get("Spec", {}).get("Name"), attachment.get("Addresses") or [])
        for attachment in task.get("NetworksAttachments") or []
    )
    return next((addresses[0].split("/")[0] for name, addresses in found if addresses and network in {None, name}), "")


def trouble_of(nodes: Iterable[Node]) -> str | None:
    """What is wrong with a swarm that answers, in one sentence; None when nothing is."""
    nodes = list(nodes)
    managers = [node for node in nodes if node.manager]
    away = sorted(node.name for node in managers if not node.reachable)
    down = sorted(node.name for node in nodes if node.state == "down")
    if away:
        spare = (len(managers) - 1) // 2 - len(away)
        more = "no more" if spare <= 0 else f"{spare} more"
        return f"of {len(managers)} managers, {_names(away)} cannot be reached: the swarm bears the loss of {more}"
    return f"{_names(down)} of {len(nodes)} machines {'does' if len(down) == 1 else 'do'} not answer" if down else None


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# --- one docker host ---------------------------------------------------------------------------


def name_of_container(entry: Mapping[str, Any]) -> str:
    """Name of an entry of `GET /containers/json`."""
    return str((entry.get("Names") or [""])[0]).removeprefix("/")


def of_entry(
    entry: Mapping[str, Any], inspected: Mapping[str, Any] | None, network: str | None, now: datetime
) -> Observation:
    """What is known of a container from its entry in the list, and, when it has ended, from its inspection."""
    state = dict(inspected.get("State", {})) if inspected else _state_of_entry(entry)
    condition, reason = states.of_container(state), states.reason_of_container(inspected or {})
    if never_started(entry, now):
        condition, reason = Condition.FAILED, reason or Reason(states.NEVER_STARTED)
    return Observation(
        condition,
        address=_address_of_entry(entry, network),
        reason=reason,
        exit_code=state.get("ExitCode") if condition.is_over else None,
        object_id=entry["Id"],
        spawn=(entry.get("Labels") or {}).get(labels.SPAWN, ""),
    )


def needs_inspection(entry: Mapping[str, Any], now: datetime) -> bool:
    """Whether the entry alone does not say how and why it ended."""
    return states.of_container({"Status": entry.get("State", "")}).is_over or never_started(entry, now)


def never_started(entry: Mapping[str, Any], now: datetime) -> bool:
    """Whether it was made long ago and whoever made it did not start it: it would wait for ever."""
    return entry.get("State") == "created" and now.timestamp() - entry["Created"] > _START_COMES_WITHIN.total_seconds()


def _state_of_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = {"Status": entry.get("State", "")}
    if found := _EXITED.match(entry.get("Status", "")):
        state["ExitCode"] = int(found[1])
    return state


def _address_of_entry(entry: Mapping[str, Any], network: str | None) -> str:
    networks = (entry.get("NetworkSettings") or {}).get("Networks") or {}
    found = (end.get("IPAddress") for name, end in networks.items() if network in {None, name})
    return next((address for address in found if address), "")
