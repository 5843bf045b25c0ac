"""A hub process for tests that kill it: starts many servers at once and then does nothing.

Arguments: kind of spawner, URL of the engine, storage, URL of the database, name of the network as JSON, how many.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from coursewarehub.model.networks import CourseNetwork
from coursewarespawner.docker import CoursewareDockerSpawner
from coursewarespawner.swarm import CoursewareSwarmSpawner
from support.spawners import FakeHub

CLASSES = {"docker": CoursewareDockerSpawner, "swarm": CoursewareSwarmSpawner}


async def main(kind: str, engine: str, storage: str, database: str, network: str, count: str) -> None:
    hub = FakeHub(
        CLASSES[kind],
        engine,
        kind,
        Path(storage),
        network=CourseNetwork(**json.loads(network)),
        database_url=database,
        course_settings={"resources": {"memory": "64M"}},
    )
    spawners = [hub.spawner(f"student-{number}", width=4) for number in range(int(count))]
    await asyncio.gather(*(spawner.start() for spawner in spawners), return_exceptions=True)
    await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
