"""The Docker spawner on a real engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.engines import Engine, EngineBed
from support.spawners import FakeHub, in_network

from coursewarespawner.docker import CoursewareDockerSpawner

pytestmark = pytest.mark.slow


@pytest.fixture
def make(bed: EngineBed) -> Iterator[Any]:
    """Hubs on the bed's machine, with the course's network."""
    made: list[FakeHub] = []

    def hub(**settings: Any) -> FakeHub:
        fake = FakeHub(CoursewareDockerSpawner, bed.engine.url, "docker", bed.storage, **settings)
        assert fake.network is not None
        if not made:
            bed.engine.docker(
                "network",
                "create",
                "--subnet",
                fake.network.subnet,
                "--ip-range",
                fake.network.range,
                "--gateway",
                fake.network.gateway,
                fake.network.name,
            )
        made.append(fake)
        return fake

    with in_network(bed.engine.network.path):
        yield hub


def test_start_poll_stop(make: Any, engine: Engine) -> None:
    hub = make()

    async def test() -> None:
        import time

        spawner = hub.spawner()
        t = time.monotonic()
        url = await spawner.start()
        print("start", time.monotonic() - t, url)
        assert await spawner.poll() is None
        t = time.monotonic()
        await spawner.stop()
        print("stop", time.monotonic() - t)
        assert await spawner.poll() == 0

    hub.run(test)
    assert engine.docker("ps", "-aq") == ""
