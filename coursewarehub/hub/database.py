"""How a hub uses SQLite."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

_PRAGMAS = (
    # Readers and one writer side by side; a commit is one append instead of a rewritten page.
    "PRAGMA journal_mode = WAL",
    # Safe against a crash of the hub; a power cut may lose the last commits, never the database.
    "PRAGMA synchronous = NORMAL",
    "PRAGMA busy_timeout = 5000",
)


def use_write_ahead_log() -> None:
    """Set every SQLite connection of this process up for many small commits (sqlite.org/wal.html)."""
    if not event.contains(Engine, "connect", _on_connect):
        event.listen(Engine, "connect", _on_connect)


def _on_connect(connection: Any, _: Any) -> None:
    if type(connection).__module__.startswith("sqlite3"):
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
        cursor.close()
