"""People under every name that may log in get a server, and no name reaches anything but its own (B04)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import requests
from support.sites import RunningSite
from support.students import Student

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]

NAMES = [
    "ann+lab@example.org",
    "o'brien",
    "a,b;c",
    "who?",
    "50%",
    "#1",
    "(x)",
    "a=b&c",
    "$home*",
    "[1]",
    "a b",
    "日本語の名前",
    "élève",
    "{a}|b\\c",
    "x~y@z",
]
REFUSED = ["x`) || pathregexp(`.*", "a/b", "..", ".", "", "a\nb", "a\u200bb", "x" * 65]


def test_b04_every_allowed_name_has_a_server(make_site: MakeSite) -> None:
    site = make_site()
    site.start()
    for name in NAMES:
        student = Student(site, "alpha", name).enter()
        # The page that Lab itself is told its address in: the server's own.
        assert student.api("GET", "status").status_code == 200, name
    homes = list((site.folder.root / "homes" / "alpha").iterdir())
    assert len(homes) == len(NAMES)


def test_b04_refused_names_leave_no_trace(make_site: MakeSite) -> None:
    site = make_site()
    site.start()
    for name in REFUSED:
        answer = Student(site, "alpha", name).login(follow=False)
        assert answer.status_code == 403, name
        assert "not a valid user name" in answer.text, name
    assert not (site.folder.root / "homes" / "alpha").exists()
    routes = json.dumps([file.read_text() for file in (site.folder.root / "state/edge/routes").iterdir()])
    assert "pathregexp" not in routes
    assert "CoursewareHub" in requests.get(site.url, timeout=10).text


def test_b04_twins_are_one_account(make_site: MakeSite) -> None:
    site = make_site()
    site.start()
    for spelling in ("Zoë", "zoë", "ZOE\u0308", " zoë "):
        assert Student(site, "alpha", spelling).login(follow=False).status_code == 302, spelling
    token = {"Authorization": f"token {site.token('alpha')}"}
    users = requests.get(site.course_url("alpha") + "hub/api/users", headers=token, timeout=10).json()
    assert [user["name"] for user in users] == ["zoë"]
