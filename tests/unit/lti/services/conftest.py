"""Databases for what is kept: SQLite as a hub uses it, and a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine
from support.postgres import Postgres, postgres

from coursewareauthenticator.lti.services import outbox, roster_store
from coursewarehub.hub.database import use_write_ahead_log


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with postgres("courses") as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'hub.sqlite'}"
    url: str = request.getfixturevalue("server").url()
    engine = create_engine(url)
    for metadata in (outbox.METADATA, roster_store.METADATA):
        metadata.drop_all(engine)
    engine.dispose()
    return url


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    use_write_ahead_log()
    engine = create_engine(url)
    yield engine
    engine.dispose()
