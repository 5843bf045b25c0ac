"""A hub's SQLite is in WAL mode, other databases are left alone."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine, text

from coursewarehub.hub.database import _on_connect, use_write_ahead_log


def test_connections_are_set_up_for_many_small_commits(tmp_path: Path) -> None:
    use_write_ahead_log()
    use_write_ahead_log()
    engine = create_engine(f"sqlite:///{tmp_path}/hub.sqlite")
    with engine.connect() as connection:
        values = [
            connection.execute(text(f"PRAGMA {p}")).scalar() for p in ("journal_mode", "synchronous", "busy_timeout")
        ]
    engine.dispose()
    assert values == ["wal", 1, 5000]


def test_other_databases_are_not_touched() -> None:
    class Connection:
        def cursor(self) -> None:
            raise AssertionError("not SQLite")

    _on_connect(Connection(), None)
