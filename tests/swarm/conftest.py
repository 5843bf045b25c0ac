"""A real Swarm of three machines for all tests of this folder; each test finds it whole and empty."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from support.beds import NEEDS_ROOT
from support.images import provide_images
from support.swarm import SwarmBed, swarm_bed


@pytest.fixture(scope="session")
def open_swarm() -> Iterator[SwarmBed]:
    if os.geteuid() != 0:
        pytest.skip(NEEDS_ROOT)
    with swarm_bed() as bed:
        yield bed


@pytest.fixture(scope="session")
def images(open_swarm: SwarmBed) -> dict[str, str]:
    """Full names of the images `singleuser` and `hub` of this checkout, which are on all machines."""
    return provide_images(open_swarm.registry, list(open_swarm.engines.values()))


@pytest.fixture
def swarm(open_swarm: SwarmBed) -> Iterator[SwarmBed]:
    """Machines n1 (manager), n2 and n3; `debian:bookworm-slim` is on all of them and in their registry."""
    yield open_swarm
    open_swarm.reset()
