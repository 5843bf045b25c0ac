"""Login by a real slapd on a real site: names and roles, sentences for failures, nobody else waits (A34, F19)."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from support.loop_lag import LONGEST, LoopLag, added
from support.providers import many_logins, sentence, silent_service
from support.sites import RunningSite, eventually
from support.slapd import GROUPS, PEOPLE, SEARCHER, SEARCHER_PASSWORD, Directory, running_directory
from support.students import Student

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]


def started(make_site: MakeSite, directory: Directory, **changes: Any) -> RunningSite:
    ldap = {
        "method": "ldap",
        "title": "University account",
        "server": directory.url,
        "ca": "ca.pem",
        "search": {"base": PEOPLE},
        "bind_dn": SEARCHER,
        "bind_password": "file:searcher",
        "groups": {"base": GROUPS, "nested": True},
        **changes,
    }
    site = make_site(courses=(), login={"ldap": ldap})
    shutil.copy(directory.authority, site.folder.root / "ca.pem")
    secret = site.folder.root / "searcher"
    secret.write_text(SEARCHER_PASSWORD)
    secret.chmod(0o600)
    roles = {"instructors": ["staff"], "students": ["python"]}
    site.folder.add_course("alpha", authentication={"method": "ldap", "roles": roles}, members={})
    site.start()
    return site


def groups_of(site: RunningSite, name: str) -> list[str]:
    token = {"Authorization": f"token {site.token('alpha')}"}
    user = requests.get(f"{site.course_url('alpha')}hub/api/users/{name}", headers=token, timeout=10).json()
    groups: list[str] = user["groups"]
    return groups


def test_a34_roles_by_groups_and_a_removed_member(make_site: MakeSite, tmp_path: Path) -> None:
    with running_directory(tmp_path / "slapd") as directory:
        site = started(make_site, directory)
        ada, sam = Student(site, "alpha", "ada"), Student(site, "alpha", "sam")
        assert ada.login("ada-password").status_code == 200
        assert sam.login("sam-password").status_code == 200
        assert (groups_of(site, "ada"), groups_of(site, "sam")) == (["instructor"], ["student"])
        refused = Student(site, "alpha", "eve").login("eve-password")
        assert (refused.status_code, sentence(refused)) == (403, "You are not a member of this course.")

        # A31: a wrong password and an unknown name are one answer.
        wrong, unknown = Student(site, "alpha", "sam").login("x"), Student(site, "alpha", "nobody").login("x")
        assert (wrong.status_code, sentence(wrong)) == (unknown.status_code, sentence(unknown))
        assert sentence(wrong).startswith("Signing in did not work")

        # Out of the group: out of the course within a minute, without a new login.
        directory.modify(f"dn: cn=staff,{GROUPS}\nchangetype: modify\nadd: member\nmember: uid=sam,{PEOPLE}\n")
        eventually(lambda: sam.session.get(f"{sam.base}hub/home") and groups_of(site, "sam") == ["instructor"], 75, 1)
        for name in ("staff", "lab"):
            change = f"dn: cn={name},{GROUPS}\nchangetype: modify\nreplace: member\nmember: uid=ada,{PEOPLE}\n"
            directory.modify(change)

        def thrown_out() -> bool:
            page = sam.session.get(f"{sam.base}hub/home", timeout=30)
            return page.url.split("?")[0].endswith("/hub/login")

        eventually(thrown_out, 75, every=1)


def test_f19_three_sentences(make_site: MakeSite, tmp_path: Path) -> None:
    with running_directory(tmp_path / "slapd", expired=True) as directory:
        site = started(make_site, directory)
        expired = Student(site, "alpha", "sam").login("sam-password")
        directory.stop()
        begin = time.monotonic()
        refused = Student(site, "alpha", "sam").login("sam-password")
        assert time.monotonic() - begin < 10
        said = [sentence(expired), sentence(refused)]
    assert said[0].startswith("The connection to the directory of your institution cannot be trusted")
    assert said[1].startswith("The directory of your institution cannot be reached")
    assert (expired.status_code, refused.status_code) == (502, 503)


def test_f19_a_silent_directory_holds_up_nobody_but_its_own(make_site: MakeSite) -> None:
    with silent_service() as service:
        server = f"ldap://127.0.0.1:{service.port}"
        ldap = {"method": "ldap", "server": server, "starttls": False, "user_dn": f"uid={{username}},{PEOPLE}"}
        site = make_site(courses=(), login={"ldap": ldap})
        ways = [
            {"method": "ldap", "everyone": "student"},
            {"method": "dummy", "password": "file:password", "self_chosen_names": True},
        ]
        site.folder.add_course("alpha", authentication=ways)
        lag = LoopLag(site.folder.root, "alpha")
        site.start()
        url = site.course_url("alpha")
        names = iter(range(1000))

        def login() -> requests.Response:
            return Student(site, "alpha", f"sam{next(names)}").login("sam-password")

        login()  # what is imported once
        before = many_logins(lag, f"{url}hub/health", login)
        service.hangs_up = False
        silence = many_logins(lag, f"{url}hub/health", login)
    assert {answer.status_code for _, answer in before.answers} <= {502, 503}
    assert added(silence.late, before.late) < LONGEST, (silence.late[-5:], before.late[-5:])
    assert len(silence.answers) == 20
    for seconds, answer in silence.answers:
        assert seconds < 10 and answer.status_code == 503
        assert sentence(answer).startswith("The directory of your institution did not answer in time")
