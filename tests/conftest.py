"""Fixtures for the whole suite."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support.sites import RunningSite, SiteFolder

WITH_ENGINES = tuple(Path(__file__).parent / name for name in ("docker", "swarm"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs real Docker Engines has a mark of its own, by its folder.

    Tests of real processes against the clock are run once more when they fail; the summary names those that did.
    """
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in WITH_ENGINES):
            item.add_marker(pytest.mark.engine)
        if item.get_closest_marker("slow") or item.get_closest_marker("engine"):
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=2))


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., RunningSite]]:
    """Make site folders; whatever runs for them is ended after the test, and nothing may be left over.

    `machine` is one of a test bed (`support.engines.Engine`), on which the site then runs.
    """
    made: list[RunningSite] = []

    def make(
        name: str = "site", courses: tuple[str, ...] = ("alpha",), machine: Any = None, **settings: Any
    ) -> RunningSite:
        if machine is not None:
            settings["host"] = machine.address
        folder = SiteFolder(tmp_path / name, **settings)
        for course in courses:
            folder.add_course(course)
        site = RunningSite(folder) if machine is None else RunningSite(folder, machine.inside)
        made.append(site)
        return site

    yield make
    for site in made:
        if site.process is not None:
            site.stop()
        for pid in site.pids() - {os.getpid()}:
            os.kill(pid, signal.SIGKILL)
