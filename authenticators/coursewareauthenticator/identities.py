"""Which identity a user name belongs to, in one course: the first to come under a name keeps it.

So a provider that gives a name away again, or an address that changes hands, gives nobody another person's work.

A person may link further identities with theirs (`linking`); these lead to the same name until they are unlinked.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from threading import Lock
from typing import Any, Final

from sqlalchemy import Column, MetaData, String, Table, Text, create_engine, delete, select
from sqlalchemy.engine import Engine

from coursewarehub.model.access import Arrival, Identity
from coursewarehub.state.tables import create_tables

_METADATA: Final = MetaData()
IDENTITIES: Final = Table(
    "courseware_identities",
    _METADATA,
    Column("registration", String(64), primary_key=True),
    Column("subject", String(512), primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("username", String(255), nullable=False),
    Column("groups", Text, nullable=False),
)


LINKS: Final = Table(
    "courseware_linked_identities",
    _METADATA,
    Column("registration", String(64), primary_key=True),
    Column("subject", String(512), primary_key=True),
    Column("name", String(255), nullable=False, index=True),
    Column("username", String(255), nullable=False),
    Column("groups", Text, nullable=False),
)


class NameTakenError(Exception):
    """The user name belongs to another identity."""


class IdentityBook:
    """Names and last arrivals of a course's people. Kept in `url`'s database; without one, in memory only.

    Reading costs no query after the first; a login writes only what is new. Safe to use from several threads.
    """

    def __init__(self, url: str = "") -> None:
        self._url = url
        self._engine: Engine | None = None
        self._lock = Lock()
        self._names: dict[Identity, str] = {}
        self._arrivals: dict[str, Arrival] = {}
        self._links: dict[Identity, tuple[str, Arrival]] = {}

    def __repr__(self) -> str:
        return "IdentityBook()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdentityBook) and other._url == self._url

    def __hash__(self) -> int:
        return hash(self._url)

    def __deepcopy__(self, _: object) -> IdentityBook:
        """traitlets copies what is configured; there is one book."""
        return self

    def open(self) -> None:
        """Read what is known; later calls do nothing. SQLAlchemy's errors when the database cannot be had."""
        with self._lock:
            if self._engine is not None or not self._url:
                return
            engine = create_engine(self._url, pool_pre_ping=True)
            create_tables(_METADATA, engine)
            with engine.connect() as connection:
                for row in connection.execute(select(IDENTITIES)):
                    identity = Identity(row.registration, row.subject)
                    self._names[identity] = row.name
                    self._arrivals[row.name] = Arrival(identity, row.username, frozenset(json.loads(row.groups)))
                for row in connection.execute(select(LINKS)):
                    identity = Identity(row.registration, row.subject)
                    arrival = Arrival(identity, row.username, frozenset(json.loads(row.groups)))
                    self._links[identity] = row.name, arrival
            self._engine = engine

    @property
    def is_open(self) -> bool:
        """Whether there is nothing left to read."""
        return self._engine is not None or not self._url

    def knows(self, arrival: Arrival, name: str) -> bool:
        """Whether `enter` with this arrival would find `name` and have nothing to write."""
        if arrival.identity in self._links:
            return self._links[arrival.identity] == (name, arrival)
        return self._names.get(arrival.identity) == name and self._arrivals.get(name) == arrival

    def name_of(self, identity: Identity) -> str | None:
        """Return the user name that an identity leads to, by a link or because it has had it before."""
        link = self._links.get(identity)
        return self._names.get(identity) if link is None else link[0]

    def own_name_of(self, identity: Identity) -> str | None:
        """Return the user name that an identity has had by itself, whatever it is linked with."""
        return self._names.get(identity)

    def linked(self, name: str) -> tuple[Arrival, ...]:
        """Return the last arrivals of the identities that somebody has linked with theirs."""
        with self._lock:
            return tuple(arrival for target, arrival in self._links.values() if target == name)

    def linked_to(self, identity: Identity) -> str | None:
        """Return the user name that an identity is linked with."""
        link = self._links.get(identity)
        return None if link is None else link[0]

    def last_arrival(self, name: str) -> Arrival | None:
        """Return how the person with this user name last logged in."""
        return self._arrivals.get(name)

    def arrivals(self, registration: str) -> dict[str, Arrival]:
        """Return the last arrivals of everybody who comes by one way to log in, by user name."""
        with self._lock:
            own = [item for item in self._arrivals.items() if item[1].identity not in self._links]
            known = [*own, *self._links.values()]
            return {name: arrival for name, arrival in known if arrival.identity.registration == registration}

    def enter(self, arrival: Arrival, wanted: str, offered: Collection[str]) -> str:
        """Remember an arrival and return its user name: the one it has had, else `wanted`.

        A name of somebody whose way to log in is no longer `offered` may be taken over, so that a course can move
        from a workshop password to a directory. Raises NameTakenError.
        """
        with self._lock:
            if arrival.identity in self._links:
                name, before = self._links[arrival.identity]
                if before != arrival:
                    self._store_link(name, arrival)
                return name
            name = self._names.get(arrival.identity, wanted)
            holder = self._arrivals.get(name)
            if holder is not None and holder.identity != arrival.identity and holder.identity.registration in offered:
                raise NameTakenError(name)
            if holder != arrival:
                self._store(name, arrival)
                if holder is not None and holder.identity != arrival.identity:
                    self._drop_links(name)
                    self._names.pop(holder.identity, None)
                self._names[arrival.identity] = name
                self._arrivals[name] = arrival
            return name

    def link(self, arrival: Arrival, name: str) -> None:
        """Let an identity lead to a user name from now on. NameTakenError when a link of it leads to another."""
        with self._lock:
            if self._links.get(arrival.identity, (name,))[0] != name:
                raise NameTakenError(name)
            self._store_link(name, arrival)

    def unlink(self, name: str, registration: str) -> bool:
        """End the link of a user name with the identity of one way to log in; whether there was one."""
        with self._lock:
            found = [
                identity
                for identity, (target, _) in self._links.items()
                if target == name and identity.registration == registration
            ]
            for identity in found:
                self._delete(LINKS.c.registration == identity.registration, LINKS.c.subject == identity.subject)
                del self._links[identity]
            return bool(found)

    def forget(self, name: str) -> None:
        """Give a user name free: the next identity to come under it has it."""
        with self._lock:
            self._drop_links(name)
            arrival = self._arrivals.pop(name, None)
            if arrival is not None:
                self._names.pop(arrival.identity, None)
            if self._engine is not None:
                with self._engine.begin() as connection:
                    connection.execute(delete(IDENTITIES).where(IDENTITIES.c.name == name))

    def _drop_links(self, name: str) -> None:
        self._links = {identity: link for identity, link in self._links.items() if link[0] != name}
        self._delete(LINKS.c.name == name)

    def _delete(self, *conditions: Any) -> None:
        if self._engine is not None:
            with self._engine.begin() as connection:
                connection.execute(delete(LINKS).where(*conditions))

    def _store_link(self, name: str, arrival: Arrival) -> None:
        if self._engine is not None:
            identity = arrival.identity
            values = {
                "registration": identity.registration,
                "subject": identity.subject,
                "name": name,
                "username": arrival.username,
                "groups": json.dumps(sorted(arrival.groups)),
            }
            same = (LINKS.c.registration == identity.registration) & (LINKS.c.subject == identity.subject)
            with self._engine.begin() as connection:
                connection.execute(delete(LINKS).where(same))
                connection.execute(LINKS.insert().values(values))
        self._links[arrival.identity] = name, arrival

    def _store(self, name: str, arrival: Arrival) -> None:
        if self._engine is None:
            return
        values = {
            "registration": arrival.identity.registration,
            "subject": arrival.identity.subject,
            "name": name,
            "username": arrival.username,
            "groups": json.dumps(sorted(arrival.groups)),
        }
        with self._engine.begin() as connection:
            connection.execute(delete(IDENTITIES).where(IDENTITIES.c.name == name))
            connection.execute(IDENTITIES.insert().values(values))
