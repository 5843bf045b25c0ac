"""The audit of one course, kept in its hub's database: a table that only grows at its end and is cut at its start.

Everything here blocks: a hub calls it in threads. Transactions are short, because a hub's own wait for them on SQLite.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Final

from sqlalchemy import (
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    insert,
    inspect,
    select,
)
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.sql import Select

from coursewarehub.state.tables import create_tables

_METADATA: Final = MetaData()
EVENTS: Final = Table(
    "courseware_audit",
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("time", String(27), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("action", String(16), nullable=False),
    Column("person", String(64), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("failure", Integer, nullable=False),
    Column("data", Text, nullable=False),
    Index("courseware_audit_time", "time"),
    # Numbers are never used again: a page that somebody has open goes on where it was.
    sqlite_autoincrement=True,
)
FACTS: Final = Table(
    "courseware_audit_facts",
    _METADATA,
    Column("name", String(32), primary_key=True),
    Column("value", String(255), nullable=False),
)

FAILURES: Final = 4
"""Failures may have one in so many rows: an outsider who fails on purpose pushes nothing else out."""
_AT_ONCE: Final = 500
_TIME: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True)
class Entry:
    """One event as it is kept; `id` grows with time, `data` is what the schema of `kind` says besides."""

    time: datetime
    kind: str
    action: str
    person: str = ""
    actor: str = ""
    failure: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)
    id: int = 0


@dataclass(frozen=True)
class Wanted:
    """Which events: those of people whose name has `person` in it (as a person or as the one who acted), of `kind`,
    from `since` on and before `until`. What is not said does not count."""

    person: str = ""
    kind: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Keeping:
    """How long and how much is kept; without `days` for ever."""

    days: int | None = None
    rows: int = 100_000


class AuditBook:
    """The events of one course in the database at `url`. SQLAlchemy's errors where it cannot be had.

    Safe to use from several threads.
    """

    def __init__(self, url: str, keeping: Keeping = Keeping()) -> None:
        self._url = url
        self._keeping = keeping
        self._engine: Engine | None = None
        self._there = False
        self._lock = Lock()

    def __repr__(self) -> str:
        return "AuditBook()"

    def append(self, entries: Sequence[Entry]) -> None:
        """Add events in this order, all or none."""
        rows = [_row(entry) for entry in entries]
        with self._open().begin() as connection:
            connection.execute(insert(EVENTS), rows)

    def newest(self, wanted: Wanted = Wanted(), *, before: int = 0, most: int = 100) -> list[Entry]:
        """Return at most `most` events, the newest first, and only those with an id below `before` when it is given.

        Of a database without an audit there are none.
        """
        query = _chosen(wanted)
        if before > 0:
            query = query.where(EVENTS.c.id < before)
        engine = self._connected()
        if not (self._there or inspect(engine).has_table(EVENTS.name)):
            return []
        self._there = True
        with engine.connect() as connection:
            return [_entry(row) for row in connection.execute(query.order_by(EVENTS.c.id.desc()).limit(most))]

    def prune(self, now: datetime) -> int:
        """Forget what is too old or too much; how many events. In small steps, so that nobody waits for long."""
        total = 0
        if self._keeping.days is not None:
            oldest = now - timedelta(days=self._keeping.days)
            total += self._forget(EVENTS.c.time < oldest.astimezone(UTC).strftime(_TIME))
        for failures, most in ((1, self._keeping.rows // FAILURES), (0, self._keeping.rows)):
            among = (EVENTS.c.failure == 1,) if failures else ()
            # The first one that is too much, counted from the newest.
            query = select(EVENTS.c.id).where(*among).order_by(EVENTS.c.id.desc()).offset(most).limit(1)
            with self._open().connect() as connection:
                last = connection.scalar(query)
            if last is not None:
                total += self._forget(EVENTS.c.id <= last, *among)
        return total

    def fact(self, name: str) -> str:
        """What was last remembered under a name; empty when nothing was."""
        with self._open().connect() as connection:
            return str(connection.scalar(select(FACTS.c.value).where(FACTS.c.name == name)) or "")

    def remember(self, name: str, value: str) -> None:
        """Remember a value under a name, instead of the one before."""
        with self._open().begin() as connection:
            connection.execute(delete(FACTS).where(FACTS.c.name == name))
            connection.execute(insert(FACTS).values(name=name, value=value))

    def close(self) -> None:
        """Let go of the database; it is opened again when it is needed."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _forget(self, *which: Any) -> int:
        total = 0
        while True:
            with self._open().begin() as connection:
                some = list(connection.scalars(select(EVENTS.c.id).where(*which).limit(_AT_ONCE)))
                _delete(connection, some)
            total += len(some)
            if len(some) < _AT_ONCE:
                return total

    def _open(self) -> Engine:
        """The database, with the audit's tables in it."""
        engine = self._connected()
        with self._lock:
            if not self._there:
                create_tables(_METADATA, engine)
                self._there = True
        return engine

    def _connected(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = create_engine(self._url, pool_pre_ping=True, pool_size=2)
            return self._engine


def _delete(connection: Connection, ids: Sequence[int]) -> None:
    if ids:
        connection.execute(delete(EVENTS).where(EVENTS.c.id.in_(ids)))


def _chosen(wanted: Wanted) -> Select[Any]:
    query = select(EVENTS)
    if wanted.person:
        named = [column.contains(wanted.person, autoescape=True) for column in (EVENTS.c.person, EVENTS.c.actor)]
        query = query.where(named[0] | named[1])
    if wanted.kind:
        query = query.where(EVENTS.c.kind == wanted.kind)
    if wanted.since is not None:
        query = query.where(EVENTS.c.time >= wanted.since.astimezone(UTC).strftime(_TIME))
    if wanted.until is not None:
        query = query.where(EVENTS.c.time < wanted.until.astimezone(UTC).strftime(_TIME))
    return query


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "time": entry.time.astimezone(UTC).strftime(_TIME),
        "kind": entry.kind,
        "action": entry.action,
        "person": entry.person,
        "actor": entry.actor,
        "failure": int(entry.failure),
        "data": json.dumps(dict(entry.data), ensure_ascii=False, sort_keys=True),
    }


def _entry(row: Any) -> Entry:
    return Entry(
        time=datetime.strptime(row.time, _TIME).replace(tzinfo=UTC),
        kind=row.kind,
        action=row.action,
        person=row.person,
        actor=row.actor,
        failure=bool(row.failure),
        data=json.loads(row.data),
        id=row.id,
    )
