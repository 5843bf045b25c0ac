"""A fake engine, a client for it, and a way to run a coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fake_engine import FakeEngine, fake_engine

from coursewarehub.engine import Engine

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    with fake_engine(tmp_path) as engine:
        yield engine


@pytest.fixture
def engine(fake: FakeEngine) -> Iterator[Engine]:
    engine = Engine(fake.url, timeout=2)
    yield engine
    engine.close()


@pytest.fixture
def run() -> Run:
    """Run to the end in an event loop of its own, for at most 20 seconds."""

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        async def bounded() -> Any:
            return await asyncio.wait_for(work, 20)

        return asyncio.run(bounded())

    return run
