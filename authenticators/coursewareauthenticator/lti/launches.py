"""What launches leave behind in the hub's database: which context is connected, who people are, where grades go.

Runs in: hub. One row for each person and link, written anew by each launch, since platforms change what they send.
SQLite and PostgreSQL; everything blocks for one short transaction.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Engine, MetaData, String, Table, Text, delete, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from coursewareauthenticator.lti.launch import Grades, Launch, LaunchRefused, Outcomes, Person, Roster, Services
from coursewarehub.i18n import N_
from coursewarehub.state.tables import create_tables

_METADATA: Final = MetaData()
_CONTEXTS: Final = Table(
    "courseware_lti_contexts",
    _METADATA,
    # Of a registration: SHA-256 in hexadecimal, so that its length is bounded.
    Column("registration", String(64), primary_key=True),
    Column("deployment", String(255), nullable=False),
    Column("context", String(255), nullable=False),
    Column("title", Text, nullable=False),
    Column("claimed_by", String(255), nullable=False),
    Column("claimed", BigInteger, nullable=False),
)
_LINKS: Final = Table(
    "courseware_lti_links",
    _METADATA,
    Column("platform", String(64), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("context", String(255), primary_key=True),
    Column("resource_link", String(255), primary_key=True),
    Column("subject", String(255), nullable=False),
    Column("deployment", String(255), nullable=False),
    Column("role", String(32), nullable=False),
    Column("person", Text, nullable=False),
    Column("services", Text, nullable=False),
    # Seconds since 1970.
    Column("launched", BigInteger, nullable=False),
)


@dataclass(frozen=True)
class Link:
    """Somebody's last launch by one link: what is needed to send a grade or read a roster later.

    `platform` is the entry in `login` of site.yaml, `name` the user name in the hub, `subject` the platform's own name
    of the person (`userId` of grades; empty for a guest), `launched` in seconds since 1970. `context` and
    `resource_link` are empty where the launch had none.
    """

    platform: str
    name: str
    context: str
    resource_link: str
    subject: str
    deployment: str
    role: str
    person: Person
    services: Services
    launched: int


class LaunchStore:
    """A store in the database of `engine`; `create` makes its tables."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self) -> None:
        """Make the tables if they are not there; another process may do so at the same time."""
        create_tables(_METADATA, self._engine)

    def claimed(self, registration: str) -> tuple[str, str] | None:
        """The (deployment, context) that is connected for a registration, or None."""
        query = select(_CONTEXTS).where(_CONTEXTS.c.registration == _digest(registration))
        with self._engine.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else (row.deployment, row.context)

    def claim(self, launch: Launch, name: str) -> tuple[str, str]:
        """Connect the launch's context unless one is; return what is connected. Raises LaunchRefused 503."""
        context = launch.context
        if context is None:
            raise ValueError("a launch without a context connects nothing")
        values = {
            "registration": _digest(launch.registration),
            "deployment": launch.deployment or "",
            "context": context.id,
            "title": context.title or context.label or "",
            "claimed_by": name,
            "claimed": int(time.time()),
        }
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(_CONTEXTS).values(values))
        except IntegrityError:
            pass  # another was faster
        except DBAPIError as error:
            raise unanswered() from error
        return self.claimed(launch.registration) or (launch.deployment or "", context.id)

    def remember(self, launch: Launch, platform: str, name: str, role: str) -> None:
        """Keep what a launch says of grades and person, in place of what the last one said. LaunchRefused 503."""
        key = {
            "platform": platform,
            "name": name,
            "context": launch.context.id if launch.context else "",
            "resource_link": launch.resource_link.id if launch.resource_link else "",
        }
        values = {
            **key,
            "subject": launch.subject or "",
            "deployment": launch.deployment or "",
            "role": role,
            "person": json.dumps(vars(launch.person)),
            "services": json.dumps(_services(launch.services)),
            "launched": int(time.time()),
        }
        same = [_LINKS.c[column] == value for column, value in key.items()]
        try:
            with self._engine.begin() as connection:
                connection.execute(delete(_LINKS).where(*same))
                connection.execute(insert(_LINKS).values(values))
        except IntegrityError:
            pass  # the same person, by the same link, in two windows: the other one's is as new
        except DBAPIError as error:
            raise unanswered() from error

    def links(self, *, name: str | None = None, resource_link: str | None = None) -> Iterable[Link]:
        """Last launches, of one person or by one link; the newest first."""
        query = select(_LINKS).order_by(_LINKS.c.launched.desc())
        if name is not None:
            query = query.where(_LINKS.c.name == name)
        if resource_link is not None:
            query = query.where(_LINKS.c.resource_link == resource_link)
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return [_link(dict(row)) for row in rows]


def unanswered() -> LaunchRefused:
    """The refusal while the database does not answer."""
    return LaunchRefused(
        503,
        "database",
        N_("The hub's database does not answer: try again in a minute, or tell the hub's operator."),
    )


def _digest(registration: str) -> str:
    return hashlib.sha256(registration.encode("utf-8", "surrogatepass")).hexdigest()


def _services(services: Services) -> dict[str, Any]:
    """As JSON: only what the platform offers."""
    found: dict[str, Any] = {}
    if services.outcomes is not None:
        found["outcomes"] = [services.outcomes.url, services.outcomes.sourcedid]
    if services.grades is not None:
        grades = services.grades
        found["grades"] = [sorted(grades.scopes), grades.lineitems, grades.lineitem]
    if services.roster is not None:
        found["roster"] = [services.roster.url, list(services.roster.versions)]
    return found


def _link(row: dict[str, Any]) -> Link:
    stored = json.loads(row["services"])
    services = Services(
        outcomes=Outcomes(*stored["outcomes"]) if "outcomes" in stored else None,
        grades=Grades(frozenset(stored["grades"][0]), *stored["grades"][1:]) if "grades" in stored else None,
        roster=Roster(stored["roster"][0], tuple(stored["roster"][1])) if "roster" in stored else None,
    )
    return Link(**{**row, "person": Person(**json.loads(row["person"])), "services": services})
