"""Learners' servers as containers of one Docker host."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from coursewarehub.engine import Conflict, EngineError, Gone, Refused, Unreachable
from coursewarehub.engine.states import reason_of_container
from coursewarespawner import messages
from coursewarespawner.containers import ContainerSpawner, Found
from coursewarespawner.fence import Lost
from coursewarespawner.messages import StartFailed
from coursewarespawner.payloads import container_payload
from coursewarespawner.plan import ContainerPlan

_CHANGE_SECONDS: Final = 60.0
"""A busy engine may take its time to make a container."""
_GONE_SECONDS: Final = 30.0
_PAUSE: Final = 0.1


class Pull:
    """Fetching one image, once for all who wait for it; `percent` is how far it is."""

    def __init__(self) -> None:
        self.percent = 0
        self.done: asyncio.Task[None] | None = None
        self._layers: dict[str, tuple[int, int]] = {}

    def note(self, event: Mapping[str, Any]) -> None:
        """One line of the engine's progress."""
        detail = event.get("progressDetail") or {}
        layer, total = str(event.get("id", "")), int(detail.get("total") or 0)
        if layer and total and event.get("status") == "Downloading":
            self._layers[layer] = (int(detail.get("current") or 0), total)
        elif layer in self._layers and event.get("status") in {"Download complete", "Pull complete"}:
            self._layers[layer] = (self._layers[layer][1], self._layers[layer][1])
        if self._layers:
            have, want = (sum(part) for part in zip(*self._layers.values(), strict=True))
            # Layers become known one by one; what was shown does not go back.
            self.percent = max(self.percent, 99 * have // want)


class CoursewareDockerSpawner(ContainerSpawner):
    """A learner's server in a container of one Docker host."""

    swarm = False
    _pulls: ClassVar[dict[tuple[str, str], Pull]] = {}

    async def _find(self, name: str) -> Found | None:
        try:
            found = await self.engine.get(f"/containers/{name}/json")
        except Gone:
            return None
        if found["Name"].removeprefix("/") != name:
            return None
        return Found(found["Id"], found["Config"].get("Labels") or {})

    async def _make(self, plan: ContainerPlan) -> str:
        container = await self._create(plan)
        try:
            await self.engine.post(f"/containers/{container}/start", timeout=_CHANGE_SECONDS)
        except EngineError as error:
            reason = await self._reason(container)
            if reason is None:
                raise
            raise StartFailed(messages.NOT_STARTED, reason=reason, detail=str(error)) from error
        return container

    async def _create(self, plan: ContainerPlan) -> str:
        try:
            made = await self.engine.post(
                "/containers/create", container_payload(plan), name=plan.name, timeout=_CHANGE_SECONDS
            )
        except (Refused, Unreachable) as error:
            if plan.disk is None or "storage-opt" not in str(error):
                raise
            # The root is read only anyway: nothing grows there.
            self.log.warning("The engine cannot limit the disk space of %s", plan.name)
            return await self._create(replace(plan, disk=None))
        return str(made["Id"])

    async def _reason(self, container: str) -> str | None:
        """Why a container did not start, in plain words, if the engine has kept that."""
        try:
            return reason_of_container(await self.engine.get(f"/containers/{container}/json"))
        except EngineError:
            return None

    async def _end(self, found: Found, grace: int) -> Lost | None:
        with contextlib.suppress(Gone):
            await self.engine.post(f"/containers/{found.object_id}/stop", t=grace, timeout=grace + _GONE_SECONDS)
        try:
            await self.engine.delete(f"/containers/{found.object_id}", force=True, v=True)
        except Gone:
            return None
        except Conflict:
            await self._until_gone(found)
        return None

    async def _until_gone(self, found: Found) -> None:
        """Somebody else is removing it already."""
        with contextlib.suppress(Gone):
            async with asyncio.timeout(_GONE_SECONDS):
                while True:
                    await self.engine.get(f"/containers/{found.object_id}/json")
                    await asyncio.sleep(_PAUSE)

    async def _ended_for_certain(self, lost: Lost) -> bool:  # noqa: ARG002
        """On one machine, what cannot be found has ended."""
        return True

    async def _cores(self) -> int:
        return int((await self.engine.info())["NCPU"])

    async def _machines(self) -> int:
        return 0

    # -- images -------------------------------------------------------------------------------------------------

    async def _fetch_image(self, plan: ContainerPlan) -> None:
        if self.pull_policy == "skip":
            return
        present = await self._has(plan.image)
        if present and self.pull_policy != "always":
            return
        if self.pull_policy == "never":
            raise StartFailed(messages.IMAGE_MISSING, image=plan.image)
        await self._pull(plan.image)

    async def _has(self, image: str) -> bool:
        try:
            await self.engine.get(f"/images/{image}/json")
        except Gone:
            return False
        return True

    async def _pull(self, image: str) -> None:
        """Fetch an image, together with everybody who wants it now, and show how far it is."""
        key = (self.engine_url, image)
        pull = self._pulls.get(key)
        if pull is None or pull.done is None or pull.done.done():
            pull = self._pulls[key] = Pull()
            pull.done = self._in_background(self._fetch(image, pull))
        while not pull.done.done():
            self._teller.show(15, messages.PULLING, percent=pull.percent)
            await asyncio.wait({pull.done}, timeout=0.5)
        try:
            pull.done.result()
        except EngineError as error:
            raise StartFailed(messages.IMAGE_MISSING, image=image, detail=str(error)) from error

    async def _fetch(self, image: str, pull: Pull) -> None:
        tagged = "@" in image or ":" in image.rpartition("/")[2]
        stream = self.engine.stream("/images/create", fromImage=image if tagged else f"{image}:latest")
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                pull.note(event)
