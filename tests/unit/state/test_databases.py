"""Where a hub keeps its data, as far as no server is needed to know."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.models import a_site

from coursewarehub.model import ConfigurationError
from coursewarehub.state.databases import PostgresDatabase, SqliteDatabase, hub_database, passed_on
from coursewarehub.state.folders import SiteFolders

URL = "postgresql+psycopg://hub:s3cret@db.example.org/courses?sslmode=require"
FOLDERS = SiteFolders(Path("/site"))


def test_a_file_each_by_default() -> None:
    found = hub_database(FOLDERS, a_site(), "alpha", {})
    assert found == SqliteDatabase(Path("/site/state/courses/alpha/hub.sqlite"))
    assert found.url == "sqlite:////site/state/courses/alpha/hub.sqlite"


def test_a_database_each_on_a_server() -> None:
    site = a_site(database={"url": "env:URL"})
    found = hub_database(FOLDERS, site, "queueing-simulation", {"URL": URL})
    assert isinstance(found, PostgresDatabase)
    assert found.name == "courses_queueing_simulation"
    assert found.url == URL.replace("/courses?", "/courses_queueing_simulation?")
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize("text", ["sqlite:///x", "postgresql://hub:s3cret@x/y", "s3cret"])
def test_secret_that_is_no_url(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^env:URL: is not the URL of a database") as error:
        hub_database(FOLDERS, a_site(database={"url": "env:URL"}), "alpha", {"URL": text})
    assert "s3cret" not in str(error.value)


def test_a_hub_is_given_the_variable_that_the_site_names_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URL", URL)
    assert passed_on(a_site(database={"url": "env:URL"})) == {"URL": URL}
    assert passed_on(a_site(database={"url": "file:url"})) == passed_on(a_site()) == {}


def test_file_that_is_missing_spoilt_or_empty_knows_no_server(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "hub.sqlite")
    assert not database.has_servers()
    database.file.write_bytes(b"no database at all" * 100)
    assert not database.has_servers()
    database.file.unlink()
    with closing(sqlite3.connect(database.file)) as connection:
        assert not database.has_servers()
        connection.execute("CREATE TABLE spawners (server_id INTEGER)")
        connection.execute("INSERT INTO spawners VALUES (NULL)")
        connection.commit()
        assert not database.has_servers()
        connection.execute("INSERT INTO spawners VALUES (7)")
        connection.commit()
        assert database.has_servers()


def test_contexts_that_are_connected(tmp_path: Path) -> None:
    """Nothing where there is no file, no table, or no database; else what a hub has written."""
    file = tmp_path / "hub.sqlite"
    database = SqliteDatabase(file)
    assert database.lti_contexts() == frozenset()
    file.write_text("no database")
    assert database.lti_contexts() == frozenset()
    file.unlink()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE other (x)")
    assert database.lti_contexts() == frozenset()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE courseware_lti_contexts (registration, deployment, context)")
        connection.execute("INSERT INTO courseware_lti_contexts VALUES ('abc', '1', 'ctx-1')")
    assert database.lti_contexts() == {("abc", "ctx-1")}
