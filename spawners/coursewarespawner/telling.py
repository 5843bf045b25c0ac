"""What a learner is told while the server starts: the newest event, for whoever looks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from coursewarehub.engine.observe import Observation
from coursewarehub.engine.states import Condition
from coursewarespawner import messages

_SHOWN_EVERY: Final = 0.2


class Teller:
    """Holds what is to be told now: `progress` of 100, `message` in English, and what the message was made of.

    `template` and the values (`queue_position`, `seconds`, `node`, `percent`) let a page say it in another language.
    """

    def __init__(self) -> None:
        self.event: Mapping[str, Any] = {}

    def show(self, progress: int, template: str, **values: str | int) -> None:
        """Tell something."""
        known = {name: value for name, value in values.items() if value != ""}
        self.event = {"progress": progress, "message": template % values, "template": template, **known}

    def waits(self, place: int, seconds: float | None) -> None:
        """Tell the place in line, and about how long it takes until the server is there."""
        if seconds is None:
            self.show(10, messages.IN_LINE_UNKNOWN, queue_position=place)
            return
        template = messages.NEXT_IN_LINE if place == 1 else messages.IN_LINE
        self.show(10, template, queue_position=place, seconds=max(1, round(seconds)))

    def sees(self, seen: Observation) -> None:
        """Tell how far the engine is, and on which machine."""
        if seen.condition is Condition.STARTING and seen.node_name:
            self.show(60, messages.PREPARING_ON, node=seen.node_name)
        elif seen.condition is Condition.RUNNING:
            self.show(80, messages.STARTING_ON if seen.node_name else messages.STARTING, node=seen.node_name)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Every event that is there long enough to be seen."""
        shown: Mapping[str, Any] = {}
        while True:
            if self.event != shown:
                shown = self.event
                yield dict(shown)
            await asyncio.sleep(_SHOWN_EVERY)
