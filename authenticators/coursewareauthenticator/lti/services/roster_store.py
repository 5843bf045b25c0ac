"""Who is in a course by rosters and launches, in a table of the hub's database.

Runs in: hub. This is the place where the decision who may enter can look somebody up by their account; it does not
decide itself. Everything blocks for one short transaction and raises SQLAlchemy's errors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    MetaData,
    Row,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
)
from sqlalchemy.exc import IntegrityError

from coursewareauthenticator.lti.launch import Person
from coursewareauthenticator.lti.services.plan import Member, Plan, Standing, launched
from coursewarehub.model.roles import Role
from coursewarehub.state.tables import create_tables

METADATA: Final = MetaData()
TABLE: Final = Table(
    "courseware_lti_members",
    METADATA,
    # SHA-256 of registration, context and the platform's id of the person, in hexadecimal.
    Column("digest", String(64), primary_key=True),
    Column("place", String(64), nullable=False, index=True),
    Column("account", String(255), nullable=False, index=True),
    Column("user", Text, nullable=False),
    Column("roster_role", String(16), nullable=False),
    Column("launch_role", String(16), nullable=False),
    Column("standing", String(16), nullable=False),
    Column("rostered", Boolean, nullable=False),
    Column("person", Text, nullable=False),
)
_PART: Final = 500
_TRIES: Final = 50


@dataclass(frozen=True)
class Place:
    """One course of one platform: the registration of its launches, and its `context` there."""

    registration: str
    context: str


class _Changed(Exception):
    """A row is not as it was read."""


class RosterStore:
    """The members in the database of `engine`; `create` makes the table."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self) -> None:
        """Make the table if it is not there; another process may do so at the same time."""
        create_tables(METADATA, self._engine)

    def members(self, place: Place) -> list[Member]:
        """All that are known of a course of a platform, removed ones too."""
        return self._found(TABLE.c.place == _digest(place))

    def of_account(self, account: str) -> list[Member]:
        """What is known of an account, once for each course of a platform that it comes from."""
        return self._found(TABLE.c.account == account)

    def change(self, place: Place, decide: Callable[[list[Member]], Plan]) -> Plan:
        """Write down what `decide` makes of the members as they are; decided anew when a launch comes between.

        Large plans are written in parts, so that the hub never waits long for its database; done again after a crash,
        the rest is written.
        """
        for _ in range(_TRIES):
            members = self.members(place)
            found = decide(members)
            before = {member.user: member for member in members}
            parts = (found.members[start : start + _PART] for start in range(0, len(found.members), _PART))
            if all(self._write(place, before, part) for part in parts):
                return found
        raise RuntimeError("the members change faster than they can be written")

    def launched(self, place: Place, account: str, user: str, role: Role | None, person: Person) -> Member:
        """Write down a launch; how the person stands after it."""
        for _ in range(_TRIES):
            known = self._found(TABLE.c.digest == _digest(place, user))
            member = launched(known[0] if known else None, account, user, role, person)
            if known == [member] or self._write(place, {one.user: one for one in known}, [member]):
                return member
        raise RuntimeError("the members change faster than they can be written")

    def forget(self, account: str) -> None:
        """Remove all that is known of an account."""
        with self._engine.begin() as connection:
            connection.execute(delete(TABLE).where(TABLE.c.account == account))

    def _found(self, condition: Any) -> list[Member]:
        with self._engine.connect() as connection:
            return [_member(row) for row in connection.execute(select(TABLE).where(condition).order_by(TABLE.c.digest))]

    def _write(self, place: Place, before: Mapping[str, Member], members: Sequence[Member]) -> bool:
        """Put members in the place of what they were; False, and nothing written, when one has changed since."""
        rows = [_values(place, member) for member in members]
        try:
            with self._engine.begin() as connection:
                for member in members:
                    if member.user in before:
                        _take_out(connection, place, before[member.user])
                if rows:
                    connection.execute(insert(TABLE), rows)
        except (IntegrityError, _Changed):
            return False
        return True


def _take_out(connection: Connection, place: Place, member: Member) -> None:
    """Remove a row if it is still as it was read. Raises _Changed."""
    as_read = (TABLE.c[name] == value for name, value in _values(place, member).items())
    if connection.execute(delete(TABLE).where(*as_read)).rowcount != 1:
        raise _Changed


def _digest(place: Place, *more: str) -> str:
    parts = (part.encode("utf-8", "surrogatepass") for part in (place.registration, place.context, *more))
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()


def _values(place: Place, member: Member) -> dict[str, Any]:
    person = member.person
    return {
        "digest": _digest(place, member.user),
        "place": _digest(place),
        "account": member.account,
        "user": member.user,
        "roster_role": member.roster_role.value if member.roster_role else "",
        "launch_role": member.launch_role.value if member.launch_role else "",
        "standing": member.standing.value,
        "rostered": member.rostered,
        "person": json.dumps([person.name, person.given_name, person.family_name, person.email]),
    }


def _member(row: Row[Any]) -> Member:
    return Member(
        account=row.account,
        user=row.user,
        roster_role=Role(row.roster_role) if row.roster_role else None,
        launch_role=Role(row.launch_role) if row.launch_role else None,
        standing=Standing(row.standing),
        rostered=row.rostered,
        person=Person(*json.loads(row.person)),
    )
