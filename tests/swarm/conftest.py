"""A real Swarm of three machines for all tests of this folder.

A test that takes `swarm` finds it whole and empty; one that takes `site` finds a site deployed on it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.beds import obstacle
from support.deployed import DeployedSite
from support.images import provide_images
from support.invariants import assert_i1_three_views_agree, assert_i7_no_secret_in_logs, owners, running
from support.sites import eventually
from support.swarm import SwarmBed, swarm_bed
from support.workload import stop_server


@pytest.fixture(scope="session")
def open_swarm() -> Iterator[SwarmBed]:
    if trouble := obstacle():
        pytest.skip(trouble)
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


@pytest.fixture(scope="module")
def site(open_swarm: SwarmBed, images: dict[str, str], request: pytest.FixtureRequest) -> Iterator[DeployedSite]:
    """One site with the courses `alpha` and `beta` for all tests of a file.

    The file's `ALPHA` is what `alpha` has besides, its `SPAWNER` what `spawner` in site.yaml has.
    """
    root = open_swarm.place.scratch / "site"
    site = DeployedSite(open_swarm, root, images, lease="20s", **getattr(request.module, "SPAWNER", {}))
    site.add_course("alpha", **getattr(request.module, "ALPHA", {}))
    site.add_course("beta")
    site.deploy()
    site.wait_ready()
    yield site
    assert_i7_no_secret_in_logs(site)
    open_swarm.reset()


@pytest.fixture
def whole(site: DeployedSite) -> Iterator[None]:
    """Each test begins with a whole swarm and no server, and ends with three views that agree."""
    yield
    site.bed.heal()
    for engine in site.bed.engines.values():
        engine.thaw()
    site.bed.wait_ready()
    site.wait_ready()
    assert_i1_three_views_agree(site)
    for name in owners(site):
        stop_server(site, name)
    eventually(lambda: not running(site), 60, every=0.5)
