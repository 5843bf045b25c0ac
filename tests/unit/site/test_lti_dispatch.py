"""Which course a launch is for: a table."""

from __future__ import annotations

from typing import Any

import pytest
from support.models import a_course, a_site

from coursewarehub.site.lti.asked import Asked
from coursewarehub.site.lti.dispatch import Choice, Door, choose, doors_of, platform_name, registration_digest

MOODLE: dict[str, Any] = {"issuer": "https://moodle.example.org", "client": "c1"}
CANVAS: dict[str, Any] = {"issuer": "https://canvas.instructure.com", "client": "10"}
FROM_MOODLE: dict[str, Any] = {"issuer": "https://moodle.example.org", "clients": ("c1",)}


def contexts(*ids: str) -> frozenset[str]:
    return frozenset(ids)


@pytest.mark.parametrize(
    ("asked", "doors", "courses"),
    [
        # by platform
        (Asked(**FROM_MOODLE), [Door("a", **MOODLE), Door("b", **CANVAS)], ["a"]),
        (Asked(issuer="https://moodle.example.org"), [Door("a", **MOODLE)], ["a"]),
        (Asked(issuer="https://moodle.example.org", clients=("c2",)), [Door("a", **MOODLE)], []),
        (Asked(issuer="https://moodle.example.org", clients=("c2", "c1")), [Door("a", **MOODLE)], ["a"]),
        (Asked(issuer="https://evil.example.org", clients=("c1",)), [Door("a", **MOODLE)], []),
        (Asked(key="c1"), [Door("a", **MOODLE)], []),
        (Asked(key="k"), [Door("a", key="k"), Door("b", key="l")], ["a"]),
        (Asked(issuer="k"), [Door("a", key="k")], []),
        # several, and what tells them apart
        (Asked(**FROM_MOODLE), [Door("a", **MOODLE), Door("b", **MOODLE)], ["a", "b"]),
        (Asked(**FROM_MOODLE, course="b"), [Door("a", **MOODLE), Door("b", **MOODLE)], ["b"]),
        (Asked(**FROM_MOODLE, server="b"), [Door("a", **MOODLE), Door("b", **MOODLE)], ["b"]),
        (Asked(**FROM_MOODLE, course="a", server="b"), [Door("a", **MOODLE), Door("b", **MOODLE)], ["a"]),
        (Asked(**FROM_MOODLE, context="7"), [Door("a", **MOODLE, contexts=contexts("7")), Door("b", **MOODLE)], ["a"]),
        (Asked(**FROM_MOODLE, context="8"), [Door("a", **MOODLE, contexts=contexts("7")), Door("b", **MOODLE)], ["b"]),
        (
            Asked(**FROM_MOODLE, context="8"),
            [Door("a", **MOODLE, contexts=contexts("7")), Door("b", **MOODLE), Door("c", **MOODLE)],
            ["b", "c"],
        ),
        # what a link names counts before its context; the hub then says what is wrong
        (
            Asked(**FROM_MOODLE, context="7", course="b"),
            [Door("a", **MOODLE, contexts=contexts("7")), Door("b", **MOODLE)],
            ["b"],
        ),
        (
            Asked(**FROM_MOODLE, context="7", server="b"),
            [Door("a", **MOODLE, contexts=contexts("7")), Door("b", **MOODLE)],
            ["b"],
        ),
        # a context that is nobody's: all that the platform has, for their hubs to say so
        (Asked(**FROM_MOODLE, context="9"), [Door("a", **MOODLE, contexts=contexts("7"))], ["a"]),
        (Asked(**FROM_MOODLE), [Door("a", **MOODLE, contexts=contexts("7"))], ["a"]),
        # two entries for one course are one course
        (Asked(**FROM_MOODLE), [Door("a", **MOODLE), Door("a", **MOODLE)], ["a"]),
        (Asked(**FROM_MOODLE), [], []),
    ],
)
def test_courses(asked: Asked, doors: list[Door], courses: list[str]) -> None:
    choice = choose(asked, doors)
    assert choice == Choice(tuple(courses))
    assert choice.course == (courses[0] if len(courses) == 1 else None)


def test_a_link_that_names_another_course_leads_nowhere() -> None:
    assert choose(Asked(**FROM_MOODLE, course="b"), [Door("a", **MOODLE), Door("b", **CANVAS)]) == Choice((), "b")
    assert choose(Asked(issuer="https://x.example.org", course="b"), [Door("a", **MOODLE)]) == Choice()
    of_server = choose(Asked(**FROM_MOODLE, server="Old Name"), [Door("a", **MOODLE)])
    assert of_server == Choice((), "Old Name", "course_server")


SITE = a_site(
    login={
        "moodle": {
            "method": "lti13",
            "issuer": "https://moodle.example.org",
            "client_id": "c1",
            "auth_url": "https://moodle.example.org/auth",
            "jwks_url": "https://moodle.example.org/jwks",
        },
        "old": {"method": "lti11", "url": "https://old.example.org", "key": "k", "secret": "env:OLD"},
        "house": {"method": "github", "client_id": "x", "client_secret": "env:HOUSE"},
    }
)


def course(course_id: str, *logins: dict[str, Any]) -> Any:
    return a_course(course_id, authentication=list(logins))


def test_doors_of_courses() -> None:
    moodle = {"method": "lti13", "use": "moodle"}
    courses = [
        course("course-a", moodle, {"method": "lti11", "use": "old", "contexts": ["7", "8"]}),
        course("course-b", {**moodle, "contexts": "any"}, {"method": "github", "use": "house"}),
        course("course-c", {"method": "dummy", "password": "env:X"}),
        course("course-d", {"method": "lti13", "use": "gone"}),
    ]
    found = list(doors_of(SITE, courses))
    assert found == [
        Door("course-a", **MOODLE, connects=True),
        Door("course-a", key="k", contexts=contexts("7", "8")),
        Door("course-b", **MOODLE),
    ]
    digest = registration_digest(SITE.login["moodle"])
    claimed = {("course-a", digest): contexts("5"), ("course-b", digest): contexts("6")}
    assert list(doors_of(SITE, courses[:2], claimed)) == [
        Door("course-a", **MOODLE, contexts=contexts("5")),
        Door("course-a", key="k", contexts=contexts("7", "8")),
        Door("course-b", **MOODLE),
    ]


def test_the_name_of_a_platform() -> None:
    assert platform_name(Asked(**FROM_MOODLE), SITE) == "moodle"
    assert platform_name(Asked(key="k"), SITE) == "old"
    assert platform_name(Asked(key="x"), SITE) is None
    assert platform_name(Asked(issuer="k"), SITE) is None
