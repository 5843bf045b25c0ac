"""Learners' servers as services of a Docker Swarm."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from dockerspawner import SwarmSpawner

from coursewarehub.engine import Gone
from coursewarehub.engine.states import Condition, of_task
from coursewarehub.wire import labels
from coursewarespawner import messages
from coursewarespawner.containers import ContainerSpawner, Found
from coursewarespawner.fence import Lost
from coursewarespawner.messages import NotPlaced, StartFailed
from coursewarespawner.payloads import service_payload
from coursewarespawner.plan import ContainerPlan

_CHANGE_SECONDS: Final = 30.0
_MARGIN: Final = 15.0
"""Seconds beyond the grace in which a machine that answers tells that a server has ended."""
_PAUSE: Final = 0.1
_NANO: Final = 1_000_000_000


class CoursewareSwarmSpawner(ContainerSpawner, SwarmSpawner):
    """A learner's server as a service with one task that Swarm never starts again by itself."""

    swarm = True

    async def _find(self, name: str) -> Found | None:
        try:
            found = await self.engine.get(f"/services/{name}")
        except Gone:
            return None
        if found["Spec"]["Name"] != name:
            return None
        return Found(found["ID"], found["Spec"].get("Labels") or {})

    async def _make(self, plan: ContainerPlan) -> str:
        placed = kept_from_unready(plan, await self.engine.get("/nodes"))
        if placed is None:
            raise StartFailed(messages.NO_MACHINE_READY, image=plan.image)
        try:
            payload = service_payload(placed, await self.engine.api())
        except ValueError as error:
            raise StartFailed(messages.NOT_CONFIGURED, reason=str(error)) from None
        made = await self.engine.post("/services/create", payload, timeout=_CHANGE_SECONDS)
        return str(made["ID"])

    async def _launch(self, plan: ContainerPlan, places: int | None) -> str:
        """Start it, and where that fails by the choice of the machine, once more.

        A machine that refuses servers is passed over for a while, unless no other takes them.
        """
        passed_over = _refusals.machines(self.engine_url, plan.image)
        try:
            return await super()._launch(kept_from(plan, passed_over), places)
        except NotPlaced as failed:
            if not (failed.machine or passed_over):
                raise
            first = failed
        self._note_refusal(plan, first)
        again = self._begin_again(plan)
        others = passed_over | {first.machine} if first.machine else frozenset()
        try:
            return await super()._launch(kept_from(again, others), places)
        except NotPlaced as second:
            self._note_refusal(plan, second)
            # That nobody else took it is no news: the first has told what is to be mended.
            raise (first if first.machine else second) from None

    def _note_refusal(self, plan: ContainerPlan, failed: NotPlaced) -> None:
        if failed.machine:
            self.log.warning("Machine %s refused %s: %s", self.node_name or failed.machine, plan.name, failed)
            _refusals.note(self.engine_url, plan.image, failed.machine)

    async def _end(self, found: Found, grace: int) -> Lost | None:
        with contextlib.suppress(Gone):
            await self.engine.delete(f"/services/{found.object_id}")
        return await self._until_ended(found.labels.get(labels.SPAWN, ""), grace)

    async def _until_ended(self, spawn: str, grace: int) -> Lost | None:
        """Wait until the machine has told that the task of this start has ended; one that does not tell is lost."""
        deadline = time.monotonic() + grace + _MARGIN
        while True:
            nodes = await self._node_states()
            running = [task for task in await self._tasks_of(spawn) if self._may_run(task, nodes)]
            if not running:
                return None
            silent = [task for task in running if nodes.get(task["NodeID"]) != "ready"]
            if len(silent) == len(running) or time.monotonic() > deadline:
                task = running[0]
                return Lost(time.time(), await self._node_name(task["NodeID"]), task["NodeID"], spawn)
            await asyncio.sleep(_PAUSE)

    async def _tasks_of(self, spawn: str) -> list[Mapping[str, Any]]:
        """Tasks of one start, also when its service is gone."""
        tasks: list[Mapping[str, Any]] = await self.engine.get("/tasks", filters={"label": [f"{labels.SPAWN}={spawn}"]})
        return tasks

    @staticmethod
    def _may_run(task: Mapping[str, Any], nodes: Mapping[str, str]) -> bool:
        """Whether a task has, or may have, processes on a machine."""
        if not task.get("NodeID"):
            return False
        condition = of_task(task["Status"]["State"], task.get("DesiredState", ""), nodes.get(task["NodeID"], "down"))
        return not condition.is_over

    async def _ended_for_certain(self, lost: Lost) -> bool:
        """Whether its machine is back and says so, or does not know of it any more, or was removed from the swarm.

        Who removes a machine answers for nothing running on it.
        """
        if not lost.spawn or not lost.node_id:
            return False
        state = (await self._node_states()).get(lost.node_id)
        if state != "ready":
            return state is None
        return all(of_task(task["Status"]["State"], "", "ready") in _ENDED for task in await self._tasks_of(lost.spawn))

    async def _node_states(self) -> dict[str, str]:
        return {node["ID"]: node["Status"]["State"] for node in await self.engine.get("/nodes")}

    async def _node_name(self, node_id: str) -> str:
        try:
            node = await self.engine.get(f"/nodes/{node_id}")
        except Gone:
            return ""
        return str(node["Description"]["Hostname"])

    async def _cores(self) -> int:
        usable = [
            node
            for node in await self.engine.get("/nodes")
            if node["Status"]["State"] == "ready" and node["Spec"]["Availability"] == "active"
        ]
        return sum(int(node["Description"]["Resources"]["NanoCPUs"]) for node in usable) // _NANO

    async def _machines(self) -> int:
        return len(await self.engine.get("/nodes"))


class Refusals:
    """Machines that refused to run an image, each for `seconds`: what is missing there may be mended."""

    def __init__(self, seconds: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until: dict[tuple[str, str, str], float] = {}

    def note(self, engine: str, image: str, machine: str) -> None:
        """Remember that a machine refused just now."""
        self._until[engine, image, machine] = self._clock() + self._seconds

    def machines(self, engine: str, image: str) -> frozenset[str]:
        """Ids of those that refused not long ago."""
        now = self._clock()
        self._until = {key: until for key, until in self._until.items() if until > now}
        return frozenset(
            machine for its_engine, its_image, machine in self._until if (its_engine, its_image) == (engine, image)
        )


_refusals: Final = Refusals()


def kept_from(plan: ContainerPlan, machines: Iterable[str]) -> ContainerPlan:
    """The plan with constraints that keep it from machines, by their ids."""
    return replace(plan, constraints=(*plan.constraints, *(f"node.id!={machine}" for machine in sorted(machines))))


def kept_from_unready(plan: ContainerPlan, nodes: Iterable[Mapping[str, Any]]) -> ContainerPlan | None:
    """The plan with constraints that keep it from machines that are not ready for it; None when no machine is.

    Machines are named by id: what is said of them later ends nothing that runs there.
    """
    if plan.ready is None:
        return plan
    nodes = list(nodes)
    unready = [node["ID"] for node in nodes if not _is_ready(node["Spec"].get("Labels") or {}, plan.ready)]
    if len(unready) == len(nodes):
        return None
    return kept_from(plan, unready)


def _is_ready(node_labels: Mapping[str, str], ready: str) -> bool:
    return node_labels.get(ready) == "true" and node_labels.get(labels.DRAINING) != "true"


_ENDED: Final = frozenset({Condition.ENDED, Condition.FAILED})
