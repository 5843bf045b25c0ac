"""Who is in a course by rosters and launches, in a table of the hub's database.

Runs in: hub. This is the place where the decision who may enter can look somebody up by their account; it does not
decide itself. Everything blocks for one short transaction and raises SQLAlchemy's errors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Boolean, Column, Engine, MetaData, Row, String, Table, Text, delete, insert, inspect, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from coursewareauthenticator.lti.launch import Person
from coursewareauthenticator.lti.services.plan import Member, Plan, Standing, launched
from coursewarehub.model.roles import Role

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


@dataclass(frozen=True)
class Place:
    """One course of one platform: the registration of its launches, and its `context` there."""

    registration: str
    context: str


class RosterStore:
    """The members in the database of `engine`; `create` makes the table."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self) -> None:
        """Make the table if it is not there; another process may do so at the same time."""
        try:
            METADATA.create_all(self._engine)
        except DBAPIError:
            if not inspect(self._engine).has_table(TABLE.name):
                raise

    def members(self, place: Place) -> list[Member]:
        """All that are known of a course of a platform, removed ones too."""
        return self._found(TABLE.c.place == _digest(place))

    def of_account(self, account: str) -> list[Member]:
        """What is known of an account, once for each course of a platform that it comes from."""
        return self._found(TABLE.c.account == account)

    def keep(self, place: Place, plan: Plan) -> None:
        """Write down a plan, all of it or nothing."""
        self._write(place, plan.members)

    def launched(self, place: Place, account: str, user: str, role: Role | None, person: Person) -> Member:
        """Write down a launch; how the person stands after it."""
        (before,) = self._found(TABLE.c.digest == _digest(place, user)) or [None]
        member = launched(before, account, user, role, person)
        if member != before:
            try:
                self._write(place, [member])
            except IntegrityError:
                # Another launch of the same person came first; what it wrote is as new.
                self._write(place, [member])
        return member

    def forget(self, account: str) -> None:
        """Remove all that is known of an account."""
        with self._engine.begin() as connection:
            connection.execute(delete(TABLE).where(TABLE.c.account == account))

    def _found(self, condition: Any) -> list[Member]:
        with self._engine.connect() as connection:
            return [_member(row) for row in connection.execute(select(TABLE).where(condition).order_by(TABLE.c.digest))]

    def _write(self, place: Place, members: Iterable[Member]) -> None:
        rows = [_values(place, member) for member in members]
        with self._engine.begin() as connection:
            for row in rows:
                connection.execute(delete(TABLE).where(TABLE.c.digest == row["digest"]))
            if rows:
                connection.execute(insert(TABLE), rows)


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
