"""The status on its socket, and the small pure parts of the site process."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from support.models import a_course, a_site

from coursewarehub.model import Problem
from coursewarehub.model.addresses import public_url
from coursewarehub.site import status
from coursewarehub.site.process import Listen, _broken_platforms, _course_of, _works_in, fingerprint, site_of
from coursewarehub.state.folders import SiteFolders
from coursewarehub.wire.control import NodeNotice


def test_status_is_answered_on_a_socket_of_the_own_account(tmp_path: Path) -> None:
    socket = tmp_path / "run" / "site.socket"
    socket.parent.mkdir()
    known: dict[str, Any] = {"ready": True, "url": "http://x/", "courses": []}

    async def ask() -> tuple[status.Status | None, status.Status | None]:
        server = status.serve(socket, lambda: known)
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        first = await asyncio.to_thread(status.ask, socket)
        known["ready"] = False
        second = await asyncio.to_thread(status.ask, socket)
        server.stop()
        return first, second

    first, second = asyncio.run(ask())
    assert first == {**known, "ready": True} and second == known


def test_nobody_answers(tmp_path: Path) -> None:
    assert status.ask(tmp_path / "none") is None
    (tmp_path / "file").write_text("")
    assert status.ask(tmp_path / "file") is None
    assert status.ask(tmp_path / "missing" / "socket") is None


def test_old_socket_is_replaced(tmp_path: Path) -> None:
    async def twice() -> status.Status | None:
        for ready in (False, True):
            server = status.serve(tmp_path / "socket", lambda ready=ready: {"ready": ready})  # type: ignore[misc]
            answer = await asyncio.to_thread(status.ask, tmp_path / "socket")
            server.stop()
        return answer

    assert asyncio.run(twice()) == {"ready": True}


@pytest.mark.parametrize(
    ("edge", "url"),
    [
        ({}, "http://127.0.0.1:8000/"),
        ({"port": 80}, "http://127.0.0.1/"),
        ({"host": "0.0.0.0", "port": 9000}, "http://127.0.0.1:9000/"),
        ({"host": "::"}, "http://[::1]:8000/"),
        ({"host": "::1", "port": 80}, "http://[::1]/"),
        ({"host": "hub.example.org"}, "http://hub.example.org:8000/"),
        ({"tls": {"certificate": "c", "key": "k"}, "port": 443}, "https://127.0.0.1/"),
        ({"tls": {"certificate": "c", "key": "k"}}, "https://127.0.0.1:8000/"),
        ({"public_url": "https://Courses.example.org"}, "https://courses.example.org/"),
        ({"public_url": "https://courses.example.org:8443/"}, "https://courses.example.org:8443/"),
    ],
)
def test_public_url(edge: dict[str, Any], url: str) -> None:
    assert public_url(a_site(edge=edge)) == url


def test_command_line_goes_before_the_file() -> None:
    site = a_site(edge={"host": "127.0.0.1", "port": 8000})
    assert Listen().applied_to(site) is site
    changed = Listen("0.0.0.0", 9000).applied_to(site).edge
    assert (changed.host, changed.port) == ("0.0.0.0", 9000)
    assert Listen(port=1).applied_to(site).edge.host == "127.0.0.1"
    assert site.edge.port == 8000


def test_fingerprint_tells_what_a_hub_must_be_started_anew_for() -> None:
    base = fingerprint(a_site(), a_course(), "")
    assert fingerprint(a_site(), a_course(), "") == base
    others = {
        fingerprint(a_site(title="x"), a_course(), ""),
        fingerprint(a_site(), a_course(title="x"), ""),
        fingerprint(a_site(), a_course(members={"students": ["sam"]}), ""),
        fingerprint(a_site(), a_course(), "10-mine.py"),
    }
    assert len(others) == 4 and base not in others


def test_fingerprint_is_of_those_logins_that_the_course_uses() -> None:
    lms = {"method": "lti13", "issuer": "https://a.org", "auth_url": "https://a.org/a", "jwks_url": "https://a.org/j"}
    login = {"lms": {**lms, "client_id": "1"}, "other": {**lms, "client_id": "2"}}
    changed = login | {"other": {**lms, "client_id": "3"}, "third": {**lms, "client_id": "4"}}
    uses = a_course(authentication={"method": "lti13", "use": "lms"})
    before, after = a_site(login=login), a_site(login=changed)
    assert list(site_of(before, uses).login) == ["lms"]
    assert fingerprint(site_of(before, uses), uses, "") == fingerprint(site_of(after, uses), uses, "")
    other = a_course(authentication={"method": "lti13", "use": "other"})
    assert fingerprint(site_of(before, other), other, "") != fingerprint(site_of(after, other), other, "")


def test_platforms_that_are_broken() -> None:
    files = ("platforms.d/lms.yaml", "platforms.d", "courses.d/alpha.yaml", "site.yaml", "platforms.d/x.yml")
    assert _broken_platforms([Problem(file, 1, "x") for file in files]) == {"lms", "x"}


@pytest.mark.parametrize(
    ("file", "course_id"), [("courses.d/alpha.yaml", "alpha"), ("site.yaml", ""), ("courses.d", ""), ("hub.d/1.py", "")]
)
def test_course_of_a_problem(file: str, course_id: str) -> None:
    assert _course_of(Problem(file, 1, "x")) == course_id


def test_servers_of_a_course_are_found_behind_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Homes may be on another disk, with a link to them in the site folder."""
    disk, site = tmp_path / "disk", tmp_path / "site"
    (disk / "alpha" / "home-sam").mkdir(parents=True)
    site.mkdir()
    (site / "homes").symlink_to(disk)
    monkeypatch.chdir(disk / "alpha" / "home-sam")
    assert _works_in(os.getpid(), disk / "alpha")
    homes = SiteFolders(site).course("alpha").homes.resolve()
    assert _works_in(os.getpid(), homes)
    assert not _works_in(os.getpid(), homes.with_name("alp"))
    assert not _works_in(1 << 30, homes)


# --- notices -----------------------------------------------------------------------------------

NOTICE = NodeNotice("n2", {"en": "Soon.", "ja": "まもなく。"}, 60)


def test_a_notice_reaches_the_site(tmp_path: Path) -> None:
    heard: list[NodeNotice] = []

    async def notify(notice: NodeNotice) -> int:
        heard.append(notice)
        return 3

    async def send() -> int | None:
        server = status.serve(tmp_path / "socket", dict, notify)
        count = await asyncio.to_thread(status.show_notice, tmp_path / "socket", NOTICE)
        server.stop()
        return count

    assert asyncio.run(send()) == 3
    assert heard == [NOTICE]


def test_a_site_that_cannot_notify_is_told_apart(tmp_path: Path) -> None:
    async def send() -> int | None:
        server = status.serve(tmp_path / "socket", dict)
        count = await asyncio.to_thread(status.show_notice, tmp_path / "socket", NOTICE)
        server.stop()
        return count

    assert asyncio.run(send()) is None
    assert status.show_notice(tmp_path / "none", NOTICE) is None
