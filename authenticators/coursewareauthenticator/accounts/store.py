"""The accounts of a course, in a table of its hub's database: SQLite or PostgreSQL.

Several processes may use it at once (the hub, the command line, a second hub while the first one ends): what one of
them decides on what it has read, it reads and writes in one transaction that no other one writes beside.

Neither a password nor a link can be read from the table: it has a hash of each.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, TypeVar

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    delete,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.engine import Connection, Engine, Row

from coursewareauthenticator.accounts.people import Account, Person, State
from coursewarehub.model.roles import Role
from coursewarehub.state.tables import create_tables

_T = TypeVar("_T")
_METADATA: Final = MetaData()
ACCOUNTS: Final = Table(
    "courseware_accounts",
    _METADATA,
    Column("name", String(64), primary_key=True),
    Column("display", String(200), nullable=False),
    Column("mail", String(254), nullable=False, index=True),
    Column("role", String(16), nullable=False),
    Column("groups", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("password_hash", Text),
    # Whether the hub has to end what somebody under this name may still hold.
    Column("to_end", Boolean, nullable=False),
    Column("made", BigInteger, nullable=False),
    Column("last_login", BigInteger),
    # The link that staff have made, and the one that was sent by mail; a newer one takes an older one's place.
    Column("link_digest", String(64), unique=True),
    Column("link_ends", BigInteger),
    Column("mailed_digest", String(64), unique=True),
    Column("mailed_ends", BigInteger),
    Column("mailed_at", BigInteger),
)

MAIL_PAUSE: Final = 600
"""Seconds before another link is sent by mail: a stranger who asks for one makes no earlier one worthless."""


class NoSuchAccount(Exception):
    """There is no account of this name, or not in a state in which that can be done."""


@dataclass(frozen=True)
class Invitation:
    """A link that has just been made: `token` is in it and is kept nowhere."""

    name: str
    token: str
    ends: int

    def __repr__(self) -> str:
        return f"Invitation({self.name!r})"


@dataclass(frozen=True)
class Write:
    """What an import does to the table: people to add, each with an invitation, and people who are described anew."""

    add: Sequence[Person] = ()
    change: Sequence[Person] = ()


def digest(token: str) -> str:
    """What is kept of a link's token, which has 256 random bits: no salt is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class AccountBook:
    """The accounts in the database at `url`. All methods block and may be called from several threads."""

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._clock = clock
        self._engine: Engine | None = None
        self._lock = Lock()

    def __repr__(self) -> str:
        return "AccountBook()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccountBook) and other._url == self._url

    def __hash__(self) -> int:
        return hash(self._url)

    def now(self) -> int:
        """Seconds since 1970, as times in accounts are."""
        return int(self._clock())

    # -- reading ------------------------------------------------------------------------------------------------

    def people(self) -> list[Account]:
        """Everybody, in order of name."""
        with self._open().connect() as connection:
            return _everybody(connection)

    def find(self, name: str) -> Account | None:
        """The account of a normalised name."""
        with self._open().connect() as connection:
            return _one(connection, name)

    def credentials(self, name: str) -> tuple[Account, str | None] | None:
        """The account of a normalised name and the hash of its password."""
        with self._open().connect() as connection:
            row = connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.name == name)).one_or_none()
        return None if row is None else (_account(row), row.password_hash)

    def by_address(self, address: str) -> list[Account]:
        """Who has this e-mail address; case does not count."""
        with self._open().connect() as connection:
            found = connection.execute(select(ACCOUNTS).where(func.lower(ACCOUNTS.c.mail) == address.lower()))
            return [_account(row) for row in found]

    def of_link(self, token: str) -> Account | None:
        """Whose password a link sets; None when it cannot be used (any more)."""
        with self._open().connect() as connection:
            row = connection.execute(select(ACCOUNTS).where(self._usable(token))).one_or_none()
        return None if row is None else _account(row)

    def standing(self) -> tuple[dict[str, tuple[Role, tuple[str, ...]]], frozenset[str]]:
        """Role and groups of those who may log in, and the names under which everything must end that is held."""
        columns = (ACCOUNTS.c.name, ACCOUNTS.c.role, ACCOUNTS.c.groups, ACCOUNTS.c.state, ACCOUNTS.c.to_end)
        with self._open().connect() as connection:
            rows = connection.execute(select(*columns)).all()
        active = {
            row.name: (Role(row.role), tuple(json.loads(row.groups))) for row in rows if row.state == State.ACTIVE
        }
        return active, frozenset(row.name for row in rows if row.to_end)

    # -- writing ------------------------------------------------------------------------------------------------

    def write(
        self, plan: Callable[[list[Account]], tuple[Write | None, _T]], seconds: int
    ) -> tuple[list[Invitation], _T]:
        """Decide on all accounts as they are and write all of it, or nothing when the plan's first part is None.

        Returns the invitations of those who were added, good for so many `seconds`, and the plan's second part.
        """
        with self._writing() as connection:
            wanted, rest = plan(_everybody(connection))
            if wanted is None:
                return [], rest
            now = self.now()
            invitations = [Invitation(person.name, secrets.token_urlsafe(32), now + seconds) for person in wanted.add]
            added = [
                {**_values(person), **_new(now), "link_digest": digest(link.token), "link_ends": link.ends}
                for person, link in zip(wanted.add, invitations, strict=True)
            ]
            if added:
                connection.execute(ACCOUNTS.insert(), added)
            for person in wanted.change:
                connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.name == person.name).values(_values(person)))
        return invitations, rest

    def add(self, person: Person, seconds: int) -> Invitation:
        """Invite somebody new. NoSuchAccount when the name has an account already."""

        def plan(people: list[Account]) -> tuple[Write | None, bool]:
            taken = any(account.name == person.name for account in people)
            return (None if taken else Write(add=[person])), taken

        invitations, taken = self.write(plan, seconds)
        if taken:
            raise NoSuchAccount(person.name)
        return invitations[0]

    def link(self, name: str, seconds: int, states: Collection[State]) -> Invitation:
        """A link for somebody whose account is in one of `states`, instead of every earlier one. NoSuchAccount.

        Somebody whose account was disabled is invited anew: the old password is gone.
        """
        with self._writing() as connection:
            account = _one(connection, name)
            if account is None or account.state not in states:
                raise NoSuchAccount(name)
            made = Invitation(name, secrets.token_urlsafe(32), self.now() + seconds)
            values: dict[str, Any] = {**_NO_LINKS, "link_digest": digest(made.token), "link_ends": made.ends}
            if account.state is State.DISABLED:
                values |= {"state": State.INVITED, "password_hash": None}
            connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.name == name).values(values))
        return made

    def mailed_link(self, name: str, seconds: int) -> Invitation | None:
        """A link to send by mail; None for whom there is none to be sent now. Links of staff stay as they are."""
        now = self.now()
        with self._writing() as connection:
            row = connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.name == name)).one_or_none()
            if row is None or not row.mail or row.state == State.DISABLED:
                return None
            if row.mailed_at is not None and row.mailed_digest is not None and now < row.mailed_at + MAIL_PAUSE:
                return None
            made = Invitation(name, secrets.token_urlsafe(32), now + seconds)
            values = {"mailed_digest": digest(made.token), "mailed_ends": made.ends, "mailed_at": now}
            connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.name == name).values(values))
        return made

    def set_password(self, token: str, password_hash: str) -> Account | None:
        """Use a link up. Of several who try only the first succeeds; None for the others."""
        with self._writing() as connection:
            row = connection.execute(select(ACCOUNTS).where(self._usable(token))).one_or_none()
            if row is None:
                return None
            values = {"password_hash": password_hash, "state": State.ACTIVE, "to_end": True, **_NO_LINKS}
            connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.name == row.name).values(values))
            return _one(connection, row.name)

    def replace_hash(self, name: str, old: str, new: str) -> None:
        """Keep a better hash of the same password, unless the password has been changed meanwhile."""
        with self._writing() as connection:
            same = (ACCOUNTS.c.name == name) & (ACCOUNTS.c.password_hash == old)
            connection.execute(update(ACCOUNTS).where(same).values(password_hash=new))

    def logged_in(self, name: str) -> None:
        """Note the time of a login."""
        with self._writing() as connection:
            now = self.now()
            connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.name == name).values(last_login=now))

    def disable(self, name: str) -> None:
        """Let somebody in no more, and make their links worthless. NoSuchAccount."""
        with self._writing() as connection:
            values = {"state": State.DISABLED, "to_end": True, **_NO_LINKS}
            done = connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.name == name).values(values))
            if done.rowcount != 1:
                raise NoSuchAccount(name)

    def remove(self, name: str) -> None:
        """Forget somebody. NoSuchAccount."""
        with self._writing() as connection:
            if connection.execute(delete(ACCOUNTS).where(ACCOUNTS.c.name == name)).rowcount != 1:
                raise NoSuchAccount(name)

    def ended(self, names: Collection[str]) -> None:
        """Everything that was held under these names has ended."""
        if names:
            with self._writing() as connection:
                connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.name.in_(names)).values(to_end=False))

    def close(self) -> None:
        """Close the connections; the next call opens others."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
            self._engine = None

    # -- within -------------------------------------------------------------------------------------------------

    def _usable(self, token: str) -> Any:
        now, wanted = self.now(), digest(token)
        return (ACCOUNTS.c.state != State.DISABLED) & or_(
            (ACCOUNTS.c.link_digest == wanted) & (ACCOUNTS.c.link_ends > now),
            (ACCOUNTS.c.mailed_digest == wanted) & (ACCOUNTS.c.mailed_ends > now),
        )

    def _open(self) -> Engine:
        with self._lock:
            if self._engine is None:
                engine = create_engine(self._url, pool_pre_ping=True, hide_parameters=True)
                create_tables(_METADATA, engine)
                self._engine = engine
            return self._engine

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """A transaction beside which nobody else writes."""
        with self._open().begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"LOCK TABLE {ACCOUNTS.name} IN SHARE ROW EXCLUSIVE MODE"))
            else:
                # SQLite takes its one lock for writing when a statement could write, not when it reads.
                connection.execute(update(ACCOUNTS).where(text("1 = 0")).values(name=ACCOUNTS.c.name))
            yield connection


_NO_LINKS: Final[dict[str, Any]] = {
    "link_digest": None,
    "link_ends": None,
    "mailed_digest": None,
    "mailed_ends": None,
    "mailed_at": None,
}


def _new(now: int) -> dict[str, Any]:
    return {"state": State.INVITED, "password_hash": None, "to_end": True, "made": now}


def _values(person: Person) -> dict[str, Any]:
    return {
        "name": person.name,
        "display": person.display,
        "mail": person.mail,
        "role": str(person.role),
        "groups": json.dumps(person.groups, ensure_ascii=False),
    }


def _account(row: Row[Any]) -> Account:
    person = Person(row.name, row.display, row.mail, Role(row.role), tuple(json.loads(row.groups)))
    return Account(person, State(row.state), row.made, row.link_ends, row.last_login)


def _one(connection: Connection, name: str) -> Account | None:
    row = connection.execute(select(ACCOUNTS).where(ACCOUNTS.c.name == name)).one_or_none()
    return None if row is None else _account(row)


def _everybody(connection: Connection) -> list[Account]:
    return [_account(row) for row in connection.execute(select(ACCOUNTS).order_by(ACCOUNTS.c.name))]
