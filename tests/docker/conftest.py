"""One machine with a real Docker Engine for all tests of this folder; each test finds it empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.beds import obstacle
from support.engines import Engine, EngineBed, engine_bed
from support.images import provide_images


@pytest.fixture(scope="session")
def open_bed() -> Iterator[EngineBed]:
    if trouble := obstacle():
        pytest.skip(trouble)
    with engine_bed() as bed:
        yield bed


@pytest.fixture(scope="session")
def images(open_bed: EngineBed) -> dict[str, str]:
    """Full names of the images `singleuser` and `hub` of this checkout, which are on the engine."""
    return provide_images(open_bed.registry, [open_bed.engine])


@pytest.fixture
def bed(open_bed: EngineBed) -> Iterator[EngineBed]:
    """The machine, its registry and its storage."""
    yield open_bed
    open_bed.reset()


@pytest.fixture
def engine(bed: EngineBed) -> Engine:
    """The machine's engine; `debian:bookworm-slim` is on it."""
    return bed.engine
