"""Grades that are to go to platforms, in a table of the hub's database: none is lost, and none overtakes a newer one.

Runs in: hub. One row for each person and column. It holds the newest grade, whether the platform has confirmed it, and
if not, why and when it is tried again. Whoever sends a row claims it first, for `LEASE` seconds; a process that ends
meanwhile loses its claim by time, and another one sends the row again. Two of one row are never sent together.
Threads, processes and hubs on one database agree, since every change says what it has read. SQLite and PostgreSQL.
Everything blocks for one short transaction and raises SQLAlchemy's errors when the database does not answer.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Engine,
    Index,
    Integer,
    MetaData,
    Row,
    String,
    Table,
    Text,
    and_,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from coursewareauthenticator.lti.services import backoff
from coursewareauthenticator.lti.services.grades import Grade, dump, load
from coursewareauthenticator.lti.services.reasons import Kind, Reason, ServiceFailure, sentence
from coursewareauthenticator.lti.services.targets import LineItemTarget, OutcomeTarget, Target
from coursewarehub.state.tables import create_tables

LEASE: Final = 180_000
"""Milliseconds for which a claim holds: longer than a delivery may take (`sender.LONGEST`)."""
SPACING: Final = 1000
"""Milliseconds between the times of two scores of one person: some platforms keep seconds only."""
MOST_CONFLICTS: Final = 5
"""Tries until a platform's own newer grade is left to people."""
LONGEST_PAUSE: Final = int(backoff.LONGEST * 1000)

METADATA: Final = MetaData()
TABLE: Final = Table(
    "courseware_lti_outbox",
    METADATA,
    # SHA-256 of registration, column and person, in hexadecimal.
    Column("digest", String(64), primary_key=True),
    Column("registration", Text, nullable=False),
    Column("column_key", Text, nullable=False),
    Column("student", String(255), nullable=False, index=True),
    # The newest target, as JSON; it lets grades be sent, so it is in no view.
    Column("target", Text, nullable=False),
    # The newest grade as JSON, its version as the caller counts, and how many there were.
    Column("grade", Text, nullable=False),
    Column("version", BigInteger),
    Column("revision", BigInteger, nullable=False),
    Column("final", Boolean, nullable=False),
    Column("state", String(16), nullable=False),
    # The revision that the platform has confirmed last, and when; 0 when none.
    Column("confirmed", BigInteger, nullable=False),
    Column("confirmed_at", BigInteger, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("said", Text, nullable=False),
    Column("failures", Integer, nullable=False),
    # All times in milliseconds since 1970.
    Column("put_at", BigInteger, nullable=False),
    Column("next_try", BigInteger, nullable=False),
    Column("stamp", BigInteger, nullable=False),
    Column("claim", String(64), nullable=False),
    Column("claimed_until", BigInteger, nullable=False),
    # Grows with every change: who has read an older one changes nothing.
    Column("turn", BigInteger, nullable=False),
    Index("courseware_lti_outbox_due", "state", "next_try"),
)
_TRIES: Final = 50


class State(StrEnum):
    """How it stands with a person's newest grade."""

    WAITING = "waiting"
    SENT = "sent"
    REFUSED = "refused"


@dataclass(frozen=True)
class Entry:
    """One row as people see it. Times are in seconds since 1970; `next_try` is None unless it waits.

    `id` names the row in `try_again`. `confirmed_at` is when the platform took a grade last, None when it never did;
    `reason` is why not yet or not at all, or what there is to say of one that was sent.
    """

    id: str
    registration: str
    column_key: str
    student: str
    grade: Grade
    state: State
    next_try: float | None
    confirmed_at: float | None
    failures: int
    reason: Reason | None
    said: str

    def sentence(self, gettext: Callable[[str], str] = str) -> str | None:
        """The reason in the language of `gettext`, or None when there is none."""
        return None if self.reason is None else sentence(self.reason, self.said, gettext)


@dataclass(frozen=True)
class Parcel:
    """One row that this process alone may send now. `stamp` is the time of the score, later than all before.

    `clock_was_set_back` says that the row's last score has a later time than the clock shows.
    """

    id: str
    claim: str = field(repr=False)
    student: str
    target: Target
    grade: Grade
    revision: int
    stamp: int
    failures: int
    clock_was_set_back: bool = False


@dataclass(frozen=True)
class Due:
    """One row that could be claimed."""

    id: str
    registration: str
    turn: int
    stamp: int


class Outbox:
    """The outbox in the database of `engine`; `create` makes its table. `clock` is in seconds since 1970."""

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock

    def create(self) -> None:
        """Make the table if it is not there; another process may do so at the same time."""
        create_tables(METADATA, self._engine)

    def put(self, student: str, target: Target, grade: Grade) -> bool:
        """Let a person's newest grade go to a platform; False when there is nothing to send.

        `student` is the account. There is nothing to send when the grade is older than the one that is here (by its
        version), is the one that is here, or is not final after one that was: platforms would take the grade away.
        Platforms of Basic Outcomes know final grades only.
        """
        if isinstance(target, OutcomeTarget) and not grade.is_final:
            return False
        ident = digest(student, target)
        for _ in range(_TRIES):
            row = self._row(ident)
            if row is None:
                if self._insert(ident, student, target, grade):
                    return True
                continue
            changes = _put_changes(row, target, grade, self._now())
            if changes is None or self._change(row, changes):
                return changes is not None and "revision" in changes
        raise RuntimeError("the outbox changes faster than it can be written")

    def refresh(self, student: str, target: Target) -> None:
        """Keep what the person's newest launch says of where their grade goes; without a grade there is no row.

        What was refused because the place or the person was gone is tried again.
        """
        ident = digest(student, target)
        for _ in range(_TRIES):
            row = self._row(ident)
            if row is None or self._change(row, _refresh_changes(row, target, self._now())):
                return

    def try_again(self, ident: str) -> bool:
        """Send a row now, by hand: one that was refused, waits or was sent. False when there is none."""
        for _ in range(_TRIES):
            row = self._row(ident)
            if row is None:
                return False
            now = self._now()
            changes = {"state": State.WAITING.value, "next_try": _after_last(row.stamp, now), "failures": 0}
            if self._change(row, changes):
                return True
        return False

    def entries(
        self, *, student: str | None = None, column_key: str | None = None, state: State | None = None
    ) -> list[Entry]:
        """Rows, all or some, by column and person."""
        wanted = {"student": student, "column_key": column_key, "state": state.value if state else None}
        query = select(TABLE).order_by(TABLE.c.column_key, TABLE.c.student)
        for name, value in wanted.items():
            if value is not None:
                query = query.where(TABLE.c[name] == value)
        with self._engine.connect() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def waiting(self) -> int:
        """How many grades are still to be sent."""
        query = select(func.count()).select_from(TABLE).where(TABLE.c.state == State.WAITING.value)
        with self._engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def forget(self, student: str) -> None:
        """Remove all rows of a person."""
        with self._engine.begin() as connection:
            connection.execute(delete(TABLE).where(TABLE.c.student == student))

    # --- for whoever sends ---------------------------------------------------------------------

    def due(self, excluded: Collection[str] = (), limit: int = 100) -> list[Due]:
        """Rows that can be claimed now, the longest due first, without those of the registrations `excluded`."""
        now = self._now()
        columns = (TABLE.c.digest, TABLE.c.registration, TABLE.c.turn, TABLE.c.stamp)
        query = select(*columns).where(*_is_due(now)).order_by(TABLE.c.next_try).limit(limit)
        if excluded:
            query = query.where(TABLE.c.registration.not_in(list(excluded)))
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [Due(row.digest, row.registration, row.turn, row.stamp) for row in rows]

    def until_due(self, excluded: Collection[str] = ()) -> float | None:
        """Seconds until the next row can be claimed, less than 0 when one can; None when none waits for its time."""
        now = self._now()
        waits = (TABLE.c.state == State.WAITING.value, TABLE.c.claimed_until <= now)
        query = select(func.min(TABLE.c.next_try)).where(*waits)
        if excluded:
            query = query.where(TABLE.c.registration.not_in(list(excluded)))
        with self._engine.connect() as connection:
            first = connection.execute(query).scalar_one()
        return None if first is None else (first - now) / 1000

    def claim(self, due: Due) -> Parcel | None:
        """Claim a row: None when another process has it or it has changed. Its time is written before it is used."""
        now, claim = self._now(), secrets.token_hex(16)
        stamp = max(now, due.stamp + SPACING)
        changes = {"claim": claim, "claimed_until": now + LEASE, "stamp": stamp, "turn": due.turn + 1}
        mine = (TABLE.c.digest == due.id, TABLE.c.turn == due.turn, *_is_due(now))
        with self._engine.begin() as connection:
            if connection.execute(update(TABLE).where(*mine).values(changes)).rowcount != 1:
                return None
            # In the same transaction, so that nothing comes between.
            row = connection.execute(select(TABLE).where(TABLE.c.digest == due.id)).one()
        return Parcel(
            id=due.id,
            claim=claim,
            student=row.student,
            target=_load_target(row.target),
            grade=load(row.grade, row.version),
            revision=row.revision,
            stamp=stamp,
            failures=row.failures,
            clock_was_set_back=due.stamp > now,
        )

    def confirm(self, parcel: Parcel, note: Reason | None = None) -> None:
        """The platform has taken a parcel. A grade that came meanwhile waits. Nothing happens without the claim."""
        now = self._now()
        newest = TABLE.c.revision == parcel.revision
        self._finish(
            parcel,
            {
                "confirmed": parcel.revision,
                "confirmed_at": now,
                "state": case((newest, State.SENT.value), else_=State.WAITING.value),
                "reason": case((newest, note.value if note else ""), else_=""),
                "said": "",
                "failures": 0,
                "next_try": _after_last(parcel.stamp, now),
            },
        )

    def fail(self, parcel: Parcel, failed: ServiceFailure, pause: float) -> State:
        """The platform has not taken a parcel: it waits for `pause` seconds, or is refused; what, is returned.

        A grade that came meanwhile is tried all the same. Nothing happens without the claim.
        """
        now = self._now()
        failures = parcel.failures + 1
        for_good = failed.kind in {Kind.PERMANENT, Kind.GONE}
        for_good = for_good or (failed.kind is Kind.CONFLICT and failures >= MOST_CONFLICTS)
        changes: dict[str, Any] = {"reason": failed.reason.value, "said": failed.said, "failures": failures}
        if for_good:
            newest = TABLE.c.revision == parcel.revision
            changes |= {
                "state": case((newest, State.REFUSED.value), else_=State.WAITING.value),
                "next_try": _after_last(parcel.stamp, now),
            }
        else:
            wait = min(int(pause * 1000), LONGEST_PAUSE)
            changes |= {"state": State.WAITING.value, "next_try": max(now + wait, _after_last(parcel.stamp, now))}
        self._finish(parcel, changes)
        return State.REFUSED if for_good else State.WAITING

    def _finish(self, parcel: Parcel, changes: dict[str, Any]) -> None:
        free = {"claim": "", "claimed_until": 0, "turn": TABLE.c.turn + 1}
        mine = and_(TABLE.c.digest == parcel.id, TABLE.c.claim == parcel.claim)
        with self._engine.begin() as connection:
            connection.execute(update(TABLE).where(mine).values(changes | free))

    # --- rows ----------------------------------------------------------------------------------

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _row(self, ident: str) -> Row[Any] | None:
        with self._engine.connect() as connection:
            return connection.execute(select(TABLE).where(TABLE.c.digest == ident)).one_or_none()

    def _change(self, row: Row[Any], changes: dict[str, Any]) -> bool:
        """Change a row unless it has changed since it was read."""
        as_read = and_(TABLE.c.digest == row.digest, TABLE.c.turn == row.turn)
        with self._engine.begin() as connection:
            done = connection.execute(update(TABLE).where(as_read).values(changes | {"turn": row.turn + 1}))
        return done.rowcount == 1

    def _insert(self, ident: str, student: str, target: Target, grade: Grade) -> bool:
        now = self._now()
        values = {
            "digest": ident,
            "registration": target.registration,
            "column_key": target.key,
            "student": student,
            "target": _dump_target(target),
            "grade": dump(grade),
            "version": grade.version,
            "revision": 1,
            "final": grade.is_final,
            "state": State.WAITING.value,
            "confirmed": 0,
            "confirmed_at": 0,
            "reason": "",
            "said": "",
            "failures": 0,
            "put_at": now,
            "next_try": now,
            "stamp": 0,
            "claim": "",
            "claimed_until": 0,
            "turn": 1,
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(TABLE).values(values))
        except IntegrityError:
            return False
        return True


def digest(student: str, target: Target) -> str:
    """The row of a person and a column; different for different ones, since each part is framed by its length."""
    parts = (part.encode("utf-8", "surrogatepass") for part in (target.registration, target.key, student))
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()


def _is_due(now: int) -> Iterator[Any]:
    """Waiting, its time come and nobody's; what lies further ahead than any pause is from a clock that was set back."""
    yield TABLE.c.state == State.WAITING.value
    yield or_(TABLE.c.next_try <= now, TABLE.c.next_try > now + LONGEST_PAUSE + SPACING)
    yield or_(TABLE.c.claimed_until <= now, TABLE.c.claimed_until > now + LEASE)


def _after_last(stamp: int, now: int) -> int:
    """From when on a next score of the same person has a later time by the clock; now, if the clock was set back."""
    return stamp + SPACING if now < stamp + SPACING <= now + 2 * SPACING else now


def _put_changes(row: Row[Any], target: Target, grade: Grade, now: int) -> dict[str, Any] | None:
    """What a grade changes in its row, None when nothing."""
    if grade.version is not None and row.version is not None and grade.version < row.version:
        return None
    text = dump(grade)
    version = row.version if grade.version is None else grade.version
    if row.final and not grade.is_final:
        version = row.version
    if text == row.grade or (row.final and not grade.is_final):
        changes = {**_refresh_changes(row, target, now), "version": version}
        return None if (changes["target"], version) == (row.target, row.version) else changes
    changes = {
        "target": _dump_target(target),
        "grade": text,
        "version": version,
        "revision": row.revision + 1,
        "final": grade.is_final,
        "put_at": now,
        "state": State.WAITING.value,
    }
    if row.state != State.WAITING:
        changes |= {"failures": 0, "reason": "", "said": "", "next_try": _after_last(row.stamp, now)}
    return changes


def _refresh_changes(row: Row[Any], target: Target, now: int) -> dict[str, Any]:
    changes: dict[str, Any] = {"target": _dump_target(target)}
    gone = row.reason in {Reason.NOT_THERE, Reason.NOT_A_STUDENT}
    if row.state == State.REFUSED and gone:
        changes |= {"state": State.WAITING.value, "failures": 0, "next_try": _after_last(row.stamp, now)}
    return changes


def _dump_target(target: Target) -> str:
    values: dict[str, Any] = {"registration": target.registration, "url": target.url, "platform": target.platform}
    if isinstance(target, LineItemTarget):
        values |= {"user": target.user, "scopes": sorted(target.scopes)}
    else:
        values |= {"link": target.link, "sourcedid": target.sourcedid}
    return json.dumps(values, sort_keys=True)


def _load_target(text: str) -> Target:
    values = json.loads(text)
    if "sourcedid" in values:
        return OutcomeTarget(**values)
    return LineItemTarget(**values | {"scopes": frozenset(values["scopes"])})


def _entry(row: Row[Any]) -> Entry:
    state = State(row.state)
    return Entry(
        id=row.digest,
        registration=row.registration,
        column_key=row.column_key,
        student=row.student,
        grade=load(row.grade, row.version),
        state=state,
        next_try=row.next_try / 1000 if state is State.WAITING else None,
        confirmed_at=row.confirmed_at / 1000 if row.confirmed else None,
        failures=row.failures,
        reason=_reason(row.reason),
        said=row.said,
    )


def _reason(text: str) -> Reason | None:
    """A reason; None for none, and for one of a later version, as after going back to this one."""
    return Reason(text) if text in set(Reason) else None
