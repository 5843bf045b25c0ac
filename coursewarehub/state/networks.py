"""Which course has which network of the site's pool, the same over restarts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from coursewarehub.model.networks import CourseNetwork, course_network, courses_that_fit
from coursewarehub.model.spawner import ContainerSpawner
from coursewarehub.state.files import replace_text


class PoolExhausted(Exception):
    """No network is left for a course; one sentence says so."""


class NetworkBook:
    """Remembers a number for each course in one JSON file.

    A course keeps its number, and with it its network, until it is forgotten; the lowest free one is given out next.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            known = json.loads(file.read_text())
        except (OSError, ValueError):
            known = {}
        items = known.items() if isinstance(known, dict) else ()
        self._numbers: dict[str, int] = {str(k): v for k, v in items if type(v) is int and v >= 0}

    def get(self, course_id: str) -> int | None:
        """The number of a course, None when it has none."""
        return self._numbers.get(course_id)

    def known(self) -> frozenset[str]:
        """Ids of the courses that have a number."""
        return frozenset(self._numbers)

    def network(self, site_id: str, course_id: str, spawner: ContainerSpawner) -> CourseNetwork:
        """The network of a course, from now on its own. Raises PoolExhausted."""
        room = courses_that_fit(spawner)
        number = self._numbers.get(course_id)
        if number is None or number >= room:
            number = self._free(room)
            self._remember({**self._numbers, course_id: number})
        return course_network(site_id, course_id, spawner, number)

    def forget(self, course_ids: Iterable[str]) -> None:
        """Give the numbers of courses that are gone, and whose networks are, to others."""
        gone = set(course_ids)
        if gone & self._numbers.keys():
            self._remember({course: number for course, number in self._numbers.items() if course not in gone})

    def _free(self, room: int) -> int:
        taken = set(self._numbers.values())
        for number in range(room):
            if number not in taken:
                return number
        courses = "course" if room == 1 else "courses"
        raise PoolExhausted(f"`spawner.addresses` has room for {room} {courses}, and all have a network already")

    def _remember(self, numbers: dict[str, int]) -> None:
        replace_text(self._file, json.dumps(numbers, indent=1, sort_keys=True))
        self._numbers = numbers
