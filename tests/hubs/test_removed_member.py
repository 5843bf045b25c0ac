"""Whoever is taken off the list loses everything within a minute, whether they do anything or not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests
from support.sites import RunningSite, alive, eventually
from support.students import Student

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]

CLOSED = {"method": "dummy", "password": "file:password"}


def api(student: Student, token: str, path: str = "user") -> int:
    headers = {"Authorization": f"token {token}"}
    return requests.get(f"{student.base}hub/api/{path}", headers=headers, timeout=10).status_code


def test_b20_a_removed_members_cookie_token_and_server_die_within_a_minute(make_site: MakeSite) -> None:
    site = make_site(courses=())
    members = {"instructors": ["ada"], "students": ["sam", "kim"]}
    site.folder.add_course("alpha", authentication=CLOSED, members=members)
    site.start()
    sam, kim = (Student(site, "alpha", name).enter() for name in ("sam", "kim"))
    kernel = kim.start_kernel()
    kernel.run("x = 5")
    pid = int(sam.start_kernel().run("import os; print(os.getpid())"))
    admin = {"Authorization": f"token {site.token('alpha')}"}

    def token_of(name: str) -> str:
        made = requests.post(f"{sam.base}hub/api/users/{name}/tokens", headers=admin, timeout=10)
        assert made.status_code == 201, made.text
        return str(made.json()["token"])

    tokens = {name: token_of(name) for name in ("sam", "kim")}
    assert api(sam, tokens["sam"]) == 200

    site.folder.add_course("alpha", authentication=CLOSED, members={"instructors": ["ada"], "students": ["kim"]})

    # Nothing is asked as sam until the kernel is gone: the hub looks by itself.
    eventually(lambda: not alive(pid), 60, every=0.5)
    assert api(sam, tokens["sam"]) == 403
    assert api(sam, tokens["kim"]) == 200
    page = sam.session.get(f"{sam.base}hub/home", timeout=10)
    assert page.url.split("?")[0].endswith("/hub/login")
    assert sam.api("GET", "status", allow_redirects=False).status_code != 200
    assert kernel.run("print(x)") == "5\n"


def test_b20_a_changed_role_reaches_a_token_within_a_minute(make_site: MakeSite) -> None:
    site = make_site(courses=())
    site.folder.add_course("alpha", authentication=CLOSED, members={"instructors": ["ada", "sam"]})
    site.start()
    sam = Student(site, "alpha", "sam")
    assert sam.login().status_code == 200
    admin = {"Authorization": f"token {site.token('alpha')}"}
    made = requests.post(f"{sam.base}hub/api/users/sam/tokens", headers=admin, timeout=10)
    token = str(made.json()["token"])
    assert api(sam, token, "groups") == 200
    site.folder.add_course("alpha", authentication=CLOSED, members={"instructors": ["ada"], "students": ["sam"]})
    eventually(lambda: api(sam, token, "groups") == 403, 60, every=1)
    assert api(sam, token) == 200
