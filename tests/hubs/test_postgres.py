"""Hubs on a real PostgreSQL server: a database each, made when it is needed."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import requests
from jupyter_events import EventLogger
from support.accounts import Clock, Invited, check_store
from support.postgres import PASSWORD, Postgres, postgres
from support.sites import RunningSite, eventually
from support.students import Student

from coursewareauthenticator.accounts.store import AccountBook
from coursewarehub.hub.audit.recorder import Recorder, register_schemas
from coursewarehub.hub.audit.sink import AuditSink
from coursewarehub.state.audit import AuditBook, Keeping, Wanted
from coursewarehub.state.databases import DatabaseFailed, PostgresDatabase
from coursewarehub.wire import audit

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
def started(server: Postgres) -> Iterator[Postgres]:
    """The server runs before and after."""
    yield server
    if server.process is not None and server.process.poll() is not None:
        server.start()


def test_database_is_made_once_and_closed_to_others(server: Postgres) -> None:
    database = PostgresDatabase(server.url(), "made-once")
    assert not database.has_servers()
    for _ in range(2):
        database.prepare()
    assert "courses_made_once" in server.databases()
    with pytest.raises(Exception, match="permission denied for database"):
        server.connect("courses_made_once", "narrow")
    with server.connect("courses_made_once") as connection:
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)


def test_running_servers_are_found(server: Postgres) -> None:
    database = PostgresDatabase(server.url(), "running")
    database.prepare()
    assert not database.has_servers()
    with server.connect("courses_running", "courses") as connection:
        connection.execute("CREATE TABLE spawners (server_id INTEGER)")
        connection.execute("INSERT INTO spawners VALUES (NULL)")
        assert not database.has_servers()
        connection.execute("INSERT INTO spawners VALUES (7)")
        assert database.has_servers()


def test_the_database_that_the_url_names_may_be_there(server: Postgres) -> None:
    with server.connect() as connection:
        connection.execute("CREATE DATABASE present OWNER courses")
        connection.execute("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")
        try:
            PostgresDatabase(server.url(database="present"), "alpha").prepare()
        finally:
            connection.execute("GRANT CONNECT ON DATABASE postgres TO PUBLIC")
    assert "present_alpha" in server.databases()


def test_what_the_operator_is_told(started: Postgres) -> None:
    def refusal(url: str) -> str:
        with pytest.raises(DatabaseFailed) as error:
            PostgresDatabase(url, "never").prepare()
        sentence = str(error.value)
        assert PASSWORD not in sentence and "wrong" not in sentence and "\n" not in sentence
        return sentence

    assert "may not make the database `courses_never`" in refusal(started.url("narrow"))
    assert "password authentication failed" in refusal(started.url(password="wrong"))
    assert PostgresDatabase(started.url(password="wrong"), "never").has_servers()
    started.stop()
    assert "cannot be used" in refusal(started.url())
    # Servers may be running: the hub will have to look.
    assert PostgresDatabase(started.url(), "never").has_servers()


@pytest.mark.parametrize("name", sorted(check_store))
def test_accounts(server: Postgres, name: str) -> None:
    database = PostgresDatabase(server.url(), name.replace("_", "-")[:40])
    database.prepare()
    clock = Clock()
    book = AccountBook(database.url, clock)
    try:
        check_store[name](book, clock)
    finally:
        book.close()


def site_on(server: Postgres, make_site: MakeSite, start: bool = True) -> RunningSite:
    site = make_site(database={"url": "file:secrets/database"}, hubs={"sleep_after": "1s"})
    secret = site.folder.root / "secrets" / "database"
    secret.parent.mkdir()
    secret.write_text(server.url(database=f"site{site.folder.port}") + "\n")
    secret.chmod(0o600)
    if start:
        site.start()
    return site


def test_class_on_postgresql(server: Postgres, make_site: MakeSite) -> None:
    """Log in, compute, lose the hub, lose the site: everything is found again in the course's own database."""
    site = site_on(server, make_site)
    sam = Student(site, "alpha", "sam").enter()
    kernel = sam.start_kernel()
    kernel.run("x = 41")
    assert f"site{site.folder.port}_alpha" in server.databases()
    assert not (site.folder.root / "state" / "courses" / "alpha" / "hub.sqlite").exists()
    os.kill(site.hub("alpha")["pid"], signal.SIGKILL)
    assert Student(site, "alpha", "kim").login(follow=False).status_code == 302
    assert kernel.run("print(x + 1)") == "42\n"
    for written in (site.folder.root / "state").rglob("*"):
        if written.is_file():
            assert PASSWORD not in written.read_text(errors="replace"), written


@pytest.mark.long
def test_accounts_before_the_hub_and_beside_it(server: Postgres, make_site: MakeSite) -> None:
    """The command line makes table and database; the hub finds them, and both write."""
    site = site_on(server, make_site, start=False)
    accounts = {"authentication": {"method": "accounts"}, "members": {"owners": ["ada"]}}
    site.folder.add_course("alpha", **accounts)
    invite = ("course", "members", "alpha", "invite")
    link = site.cli(*invite, "sam").stdout.strip()
    site.start()
    sam = Invited(site, "alpha", "sam")
    assert "Your password is set" in sam.choose(link).text
    assert sam.login(follow=False).status_code == 302
    kim = Invited(site, "alpha", "kim")
    assert "Your password is set" in kim.choose(site.cli(*invite, "kim").stdout.strip()).text
    site.cli("course", "members", "alpha", "disable", "sam")
    eventually(lambda: "/hub/login" in sam.session.get(f"{sam.base}hub/home", timeout=20).url, 60, every=1)
    assert kim.login(follow=False).status_code == 302


def test_hub_whose_servers_run_wakes_with_the_site(server: Postgres, make_site: MakeSite) -> None:
    site = site_on(server, make_site)
    Student(site, "alpha", "sam").enter()
    hub = site.hub("alpha")["pid"]
    site.kill()
    os.kill(hub, signal.SIGKILL)
    site.start()
    eventually(lambda: site.hub("alpha")["state"] == "running", 20)


def test_visitors_wait_for_a_database_server_that_is_down(started: Postgres, make_site: MakeSite) -> None:
    site = site_on(started, make_site)
    started.stop()
    page = requests.get(site.course_url("alpha"), timeout=20)
    assert page.status_code == 503 and "Traceback" not in page.text and "127.0.0.1" not in page.text
    assert "the database server cannot be used" in site.hub("alpha")["reason"]
    started.start()
    eventually(lambda: requests.get(site.course_url("alpha"), timeout=20).status_code == 200, 20, every=0.2)


def test_f12_events_of_the_audit_wait_while_the_database_is_away(started: Postgres) -> None:
    database = PostgresDatabase(started.url(), "audit")
    database.prepare()
    book = AuditBook(database.url, Keeping(rows=1000))
    sink = AuditSink(book, "alpha", logging.getLogger("test"))
    log = EventLogger(handlers=[])
    register_schemas(log)
    log.register_handler(sink)
    sink.start()
    tell = Recorder(log.emit, "alpha", logging.getLogger("test"))

    def told() -> list[str]:
        return [entry.person for entry in reversed(AuditBook(database.url).newest(Wanted(person="p")))]

    tell(audit.login_succeeded("p0", method="ldap", role="student"))
    eventually(lambda: told() == ["p0"])
    assert started.process is not None
    started.process.send_signal(signal.SIGQUIT)
    started.process.wait(timeout=30)
    for number in range(1, 6):
        tell(audit.login_succeeded(f"p{number}", method="ldap", role="student"))
    time.sleep(0.5)
    started.start()
    eventually(lambda: told() == [f"p{number}" for number in range(6)], 20)
    book.remember("state", "open")
    assert book.fact("state") == "open" and book.prune(datetime.now(UTC) + timedelta(days=400)) == 0
    assert AuditBook(database.url, Keeping(days=1)).prune(datetime.now(UTC) + timedelta(days=2)) == 6
    sink.close()
