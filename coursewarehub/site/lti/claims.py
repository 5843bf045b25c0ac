"""Which courses of platforms are connected with which of ours, by the hubs' databases.

The first launch of somebody who teaches connects two courses, in the hub's database. The site asks there only when a
launch could be for several courses, and remembers for a while.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from coursewarehub.model import ConfigurationError
from coursewarehub.state.databases import DatabaseFailed

log = logging.getLogger("coursewarehub.site.lti")

REMEMBERED: Final = 30.0
"""Seconds."""
Connected = dict[tuple[str, str], frozenset[str]]
"""Contexts by course and digest of a registration (`dispatch.registration_digest`)."""


class Claims:
    """What courses are connected with; `read` asks one hub's database by its course, and blocks."""

    def __init__(
        self, read: Callable[[str], frozenset[tuple[str, str]]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._known: dict[str, tuple[float, frozenset[tuple[str, str]]]] = {}

    def of(self, courses: Iterable[str]) -> Connected:
        """What these courses are connected with; one that cannot be asked counts as not connected. Blocks."""
        found: dict[tuple[str, str], set[str]] = {}
        for course in courses:
            for registration, context in self._of(course):
                found.setdefault((course, registration), set()).add(context)
        return {key: frozenset(contexts) for key, contexts in found.items()}

    def _of(self, course: str) -> frozenset[tuple[str, str]]:
        asked, contexts = self._known.get(course, (float("-inf"), frozenset()))
        if self._clock() - asked < REMEMBERED:
            return contexts
        try:
            contexts = self._read(course)
        except (OSError, ConfigurationError, DatabaseFailed) as error:
            log.warning("what %s is connected with cannot be read: %s", course, error)
        self._known[course] = (self._clock(), contexts)
        return contexts
