"""Servers of a course that its hub's database does not know: left by a hub that could not remove them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, ClassVar, Final
from weakref import WeakKeyDictionary

from jupyterhub import orm

from coursewarehub.engine import EngineError
from coursewarehub.engine.observe import Observation
from coursewarehub.engine.states import Condition

_EVERY: Final = 30.0
_PATIENCE: Final = 120.0
"""Seconds for which a server must have been nobody's: a start in progress is in the database before it is made."""

_log = logging.getLogger(__name__)


def owned_names(session: Any) -> frozenset[str]:
    """Names of the containers of all servers that a hub's database has as active or starting."""
    active = session.query(orm.Spawner).filter(orm.Spawner.server_id.isnot(None))
    return frozenset(each.state["object_name"] for each in active if each.state and each.state.get("object_name"))


class Nobodys:
    """Since when each server has been nobody's. Pure but for what it remembers."""

    def __init__(self, patience: float = _PATIENCE) -> None:
        self._patience = patience
        self._since: dict[str, float] = {}

    def due(self, seen: Mapping[str, Observation], owned: Collection[str], now: float) -> list[str]:
        """Names of the servers that have been nobody's for long enough. What is not verified is left alone."""
        strange = {
            name
            for name, found in seen.items()
            if found.verified and found.condition is not Condition.GONE and name not in owned
        }
        self._since = {name: self._since.get(name, now) for name in strange}
        return sorted(name for name, since in self._since.items() if now - since >= self._patience)


class Janitor:
    """Looks again and again, as long as the hub runs."""

    _of: ClassVar[WeakKeyDictionary[Any, Janitor]] = WeakKeyDictionary()

    def __init__(self, nobodys: Nobodys, every: float = _EVERY) -> None:
        self.task: asyncio.Task[None] | None = None
        self._nobodys = nobodys
        self._every = every

    @classmethod
    def of(cls, hub: Any) -> Janitor:
        """The one janitor of a hub."""
        if hub not in cls._of:
            cls._of[hub] = cls(Nobodys())
        return cls._of[hub]

    async def run(
        self,
        observations: Callable[[], Mapping[str, Observation]],
        owned: Callable[[], Collection[str]],
        remove: Callable[[str], Awaitable[None]],
    ) -> None:
        """Remove what is nobody's, for ever."""
        while True:
            for name in self._nobodys.due(observations(), owned(), time.monotonic()):
                _log.warning("Removing %s, which this hub does not know", name)
                try:
                    await remove(name)
                except EngineError as error:
                    _log.warning("Removing %s later: %s", name, error)
            await asyncio.sleep(self._every)
