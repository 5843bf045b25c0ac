"""A server that was lost: its machine does not answer, and it may go on running there. Pure.

A new server of that home waits until the lost one is certain to have ended, or to have stopped writing because its
lease is over (docs/explanation/lease.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Lost:
    """One lost server: since when nothing can have confirmed it (seconds since the epoch), where, and which start.

    `leased`: it stops writing when its lease is over, as far as is known.
    """

    since: float
    node: str = ""
    node_id: str = ""
    spawn: str = ""
    leased: bool = False

    def seconds_left(self, now: float, fence: float) -> float:
        """Seconds until it has stopped writing, which takes `fence` seconds; a clock set back makes it no longer.

        Without a lease it never stops by itself.
        """
        return min(fence, self.since + fence - now) if self.leased else math.inf

    def from_now(self, now: float) -> Lost:
        """The same, confirmed until now for all that is known."""
        return replace(self, since=now)

    def to_state(self) -> dict[str, Any]:
        """As JSON can keep it."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Any) -> Lost | None:
        """What `to_state` gave; None for anything else."""
        if not isinstance(state, Mapping) or not isinstance(state.get("since"), int | float):
            return None
        texts = {name: str(state.get(name, "")) for name in ("node", "node_id", "spawn")}
        return cls(float(state["since"]), **texts, leased=state.get("leased") is True)
