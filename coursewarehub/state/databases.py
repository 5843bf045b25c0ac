"""The databases of the hubs: a SQLite file each, or one each on a PostgreSQL server.

Everything here blocks for up to some seconds; the site calls it in threads. psycopg is imported when it is needed.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

from coursewarehub.model import ConfigurationError, Site
from coursewarehub.model.database import DATABASE_URL, course_database, is_database_url
from coursewarehub.model.problems import Problem
from coursewarehub.model.secret import SecretRef
from coursewarehub.state.folders import SiteFolders

if TYPE_CHECKING:
    import psycopg

_SECONDS: Final = 5
_RUNNING: Final = "SELECT 1 FROM spawners WHERE server_id IS NOT NULL LIMIT 1"
_CONTEXTS: Final = "SELECT registration, context FROM courseware_lti_contexts"
"""Of the table of `coursewareauthenticator.lti.launches`: SHA-256 of a registration, the platform's id of a course."""
_MAINTENANCE: Final = "postgres"
"""Every PostgreSQL server has a database of this name."""


class DatabaseFailed(Exception):
    """The database cannot be used; one sentence says why and what to do, without a password."""


class HubDatabase(Protocol):
    """Where one hub keeps its data."""

    @property
    def url(self) -> str:
        """For SQLAlchemy; it may hold a password."""
        ...

    def prepare(self) -> None:
        """Make it if it is not there. Raises DatabaseFailed."""
        ...

    def has_servers(self) -> bool:
        """Whether it knows a server that was running; an answer that cannot be had counts as yes where it may be."""
        ...

    def lti_contexts(self) -> frozenset[tuple[str, str]]:
        """Which courses of platforms were connected by a launch, as (digest of the registration, context).

        Empty when that cannot be told.
        """
        ...


@dataclass(frozen=True)
class SqliteDatabase:
    """A file, which the hub makes by itself."""

    file: Path

    @property
    def url(self) -> str:
        """For SQLAlchemy."""
        return f"sqlite:///{self.file}"

    def prepare(self) -> None:
        """Nothing to do."""

    def has_servers(self) -> bool:
        """Whether it knows a server that was running; a spoilt file knows none."""
        if not self.file.exists():
            return False
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=_SECONDS)) as database,
        ):
            return database.execute(_RUNNING).fetchone() is not None
        return False

    def lti_contexts(self) -> frozenset[tuple[str, str]]:
        """As `HubDatabase` says."""
        if not self.file.exists():
            return frozenset()
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=_SECONDS)) as database,
        ):
            return frozenset((str(row[0]), str(row[1])) for row in database.execute(_CONTEXTS))
        return frozenset()


@dataclass(frozen=True)
class PostgresDatabase:
    """A database of its own on a server; `site_url` names the database from which others are made."""

    site_url: str
    course_id: str

    def __repr__(self) -> str:
        return f"PostgresDatabase({self.name!r})"

    @property
    def url(self) -> str:
        """For SQLAlchemy; it holds the password."""
        return course_database(self.site_url, self.course_id)

    @property
    def name(self) -> str:
        """Name of the course's database."""
        return unquote(urlsplit(self.url).path[1:])

    def prepare(self) -> None:
        """Make the database if it is not there, closed to all but its owner. Raises DatabaseFailed."""
        driver = _driver()
        try:
            with self._connect(self.url):
                return
        except driver.Error as error:
            if not _is_missing(error):
                raise DatabaseFailed(_sentence(error)) from None
        try:
            with self._connect_to_server() as connection:
                self._create(connection)
        except driver.errors.DuplicateDatabase:
            return
        except driver.errors.InsufficientPrivilege:
            raise DatabaseFailed(
                f"the account of `database.url` may not make the database `{self.name}`: "
                f'make it by hand, or let the account do it with `ALTER ROLE "..." CREATEDB`'
            ) from None
        except driver.Error as error:
            raise DatabaseFailed(_sentence(error)) from None

    def has_servers(self) -> bool:
        """Whether it knows a server that was running; true when the server of databases does not answer."""
        driver = _driver()
        try:
            with self._connect(self.url) as connection:
                return connection.execute(_RUNNING).fetchone() is not None
        except driver.errors.UndefinedTable:
            return False
        except driver.Error as error:
            return not _is_missing(error)

    def lti_contexts(self) -> frozenset[tuple[str, str]]:
        """As `HubDatabase` says."""
        driver = _driver()
        try:
            with self._connect(self.url) as connection:
                return frozenset((str(row[0]), str(row[1])) for row in connection.execute(_CONTEXTS))
        except driver.Error:
            return frozenset()

    def _connect_to_server(self) -> psycopg.Connection[Any]:
        """To the database that the site's URL names, or to the one that is always there."""
        driver = _driver()
        try:
            return self._connect(self.site_url)
        except driver.Error as error:
            if not _is_missing(error):
                raise
            return self._connect(urlunsplit(urlsplit(self.site_url)._replace(path=f"/{_MAINTENANCE}")))

    @staticmethod
    def _connect(url: str) -> psycopg.Connection[Any]:
        plain = url.replace("postgresql+psycopg://", "postgresql://", 1)
        connection: psycopg.Connection[Any] = _driver().connect(plain, connect_timeout=_SECONDS, autocommit=True)
        return connection

    def _create(self, connection: psycopg.Connection[Any]) -> None:
        from psycopg import sql

        name = sql.Identifier(self.name)
        # Every server has the locale C; names of people are compared by JupyterHub, not by the database.
        create = "CREATE DATABASE {} ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        connection.execute(sql.SQL(create).format(name))
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))


def _driver() -> Any:
    try:
        import psycopg
    except ImportError:
        raise DatabaseFailed(
            "psycopg is missing, which PostgreSQL needs: `pip install coursewarehub[postgresql]`"
        ) from None
    return psycopg


def _is_missing(error: Exception) -> bool:
    """Whether the server says that there is no such database; the driver has no class for it before the connection."""
    return getattr(error, "sqlstate", None) == "3D000" or ("database" in str(error) and "does not exist" in str(error))


def _sentence(error: Exception) -> str:
    """The driver's first line; it names host and account, never the password."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0].removeprefix("connection failed: ")[:300] if lines else type(error).__name__
    return f"the database server cannot be used: {reason}"


def hub_database(folders: SiteFolders, site: Site, course_id: str, environ: Mapping[str, str]) -> HubDatabase:
    """Where a course's hub keeps its data. ConfigurationError when the URL's secret cannot be had or is no URL."""
    url = site.database.url
    if url is None:
        return SqliteDatabase(folders.course(course_id).database)
    if isinstance(url, SecretRef):
        text = url.resolve(folders.root, environ).get_secret_value()
        if not is_database_url(text):
            raise ConfigurationError([Problem(str(url), None, "is not the URL of a database", f"write {DATABASE_URL}")])
        url = text
    return PostgresDatabase(url, course_id)


def passed_on(site: Site) -> dict[str, str]:
    """What of the environment a hub needs to find its database."""
    url = site.database.url
    if isinstance(url, SecretRef) and url.kind == "env":
        return {url.name: os.environ.get(url.name, "")}
    return {}
