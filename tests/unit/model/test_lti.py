"""Learning platforms in the two files: strict, with file and line (A36, B09, B10)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from coursewarehub.model import Arrival, Course, Role, Site, decide
from coursewarehub.model.access import Identity, Reason
from coursewarehub.model.login import used_secrets
from coursewarehub.model.lti import LaunchRoles

URLS = "    auth_url: https://lms.org/auth\n    jwks_url: https://lms.org/jwks\n"
L13 = "login:\n  lti13:\n    method: lti13\n    issuer: https://lms.org\n    client_id: c\n" + URLS
L11 = "login:\n  lti11:\n    method: lti11\n    url: https://lms.org\n    key: k\n    secret: env:S\n"
SECOND = "  two:\n    method: lti13\n    issuer: https://lms.org\n    client_id: c\n" + URLS
COURSE = "id: demo\ntitle: Demo\nauthentication:\n  method: lti13\n"


@pytest.mark.parametrize(
    ("text", "line", "telling"),
    [
        (L13.replace("issuer: https://lms.org", "issuer: ''"), 5, "the platform's issuer, letter by letter"),
        (L13.replace("    client_id: c\n", ""), 3, "`login.lti13.client_id` is missing"),
        (L13.replace("https://lms.org/jwks", "lms.org/jwks"), 8, "must be an address such as"),
        (L13.replace("https://lms.org/jwks", "http://lms.org/jwks"), 8, "is not encrypted, which production mode"),
        (L13.replace("https://lms.org/auth", "http://lms.org/auth"), 7, "is not encrypted, which production mode"),
        (L13 + "    deployments: '1'\n", 9, "must be a list of deployment ids"),
        (L13 + "    deployments: [1]\n", 9, "must be a deployment id (text)"),
        (L13 + "    origins: [https://a.org/path]\n", 9, "must not have a path"),
        (L13 + "    formerly: old\n", 9, "`login` has no `old` with `method: lti11`"),
        (L13 + "    secret: env:S\n", 9, "`secret` goes with `method: lti11`"),
        (L13 + SECOND, 9, "is the same platform and client as `lti13`"),
        (L11.replace("env:S", "hunter2"), 7, "`login.lti11.secret` must be `file:PATH` or `env:NAME`"),
        (L11.replace("    key: k\n", ""), 3, "`login.lti11.key` is missing"),
        (L11.replace("https://lms.org", "https://lms.org/x"), 5, "must not have a path"),
        (L11 + "    window: never\n", 8, "must be a duration"),
    ],
)
def test_b09_broken_platforms(site: Any, monkeypatch: pytest.MonkeyPatch, text: str, line: int, telling: str) -> None:
    monkeypatch.setenv("S", "x")
    site.write("site.yaml", "mode: production\n" + text)
    site.assert_told(f"site.yaml:{line}", telling)


@pytest.mark.parametrize(
    ("text", "line", "telling"),
    [
        ("  contexts: some\n", 5, "must be `any`, or a list of ids"),
        ("  contexts: []\n", 5, "must name at least one course of the platform"),
        ("  contexts: [7]\n", 5, "the platform's id of a course (text)"),
        ("  roles: {assistants: [urn:x]}\n", 5, "must be a role of LTI such as `Mentor`"),
        ("  roles: {teachers: [Mentor]}\n", 5, "unknown key `teachers`"),
        ("  everyone: instructor\n", 5, "must be one of `student`, `observer`"),
        ("  use: moodle\n", 5, "`login` of site.yaml has no `moodle`"),
    ],
)
def test_b10_broken_use_of_a_platform(site: Any, text: str, line: int, telling: str) -> None:
    site.write("site.yaml", "mode: production\n" + L13)
    site.write("courses.d/demo.yaml", COURSE + text)
    site.assert_refused(f"courses.d/demo.yaml:{line}", telling)


def test_a_course_for_a_platform_in_two_lines(site: Any) -> None:
    site.write("site.yaml", "mode: production\n" + L13)
    site.write("courses.d/demo.yaml", COURSE)
    assert site.run("check").code == 0
    shown = site.run("course", "show", "demo")
    assert shown.code == 0 and "lti13" in shown.out and "the first that comes" in shown.out


def course(**login: Any) -> Course:
    values = {"id": "demo", "title": "D", "state": "open", "authentication": {"method": "lti13", **login}}
    return Course.model_validate_json(json.dumps({**values, "members": {"owners": ["lti-boss"]}}), strict=True)


@pytest.mark.parametrize(
    ("name", "groups", "login", "role", "reason"),
    [
        ("lti-a", {"instructor"}, {}, Role.INSTRUCTOR, Reason.LAUNCH),
        ("lti-a", {"student"}, {}, Role.STUDENT, Reason.LAUNCH),
        ("lti-a", set(), {}, None, Reason.NO_ROLE),
        ("lti-a", set(), {"everyone": "observer"}, Role.OBSERVER, Reason.EVERYONE),
        ("lti-a", {"student"}, {"everyone": "observer"}, Role.STUDENT, Reason.LAUNCH),
        ("lti-boss", {"student"}, {}, Role.OWNER, Reason.MEMBER),
    ],
)
def test_the_role_is_that_of_the_last_launch(name: str, groups: Any, login: Any, role: Any, reason: Any) -> None:
    arrival = Arrival(Identity("lti13", name), name, frozenset(groups))
    decision = decide(course(**login), name, now=datetime.now(UTC), arrival=arrival)
    assert (decision.role, decision.reason) == (role, reason)


def test_roles_of_the_platform_by_name_the_first_list_wins() -> None:
    roles = LaunchRoles(instructors=("Mentor",), students=("mentor", "Instructor/Grader"))
    assert roles.by_name() == {"mentor": Role.INSTRUCTOR, "instructor/grader": Role.STUDENT}


def test_a_hub_has_the_secrets_of_its_platforms_and_of_those_they_were() -> None:
    old = {"method": "lti11", "url": "https://a.org", "key": "k", "secret": "env:NEW", "former_secret": "env:OLD"}
    new = {
        "method": "lti13", "issuer": "https://a.org", "client_id": "c", "auth_url": "https://a.org/a",
        "jwks_url": "https://a.org/j", "formerly": "old",
    }  # fmt: skip
    site = Site.model_validate_json(json.dumps({"login": {"old": old, "lti13": new}}), strict=True)
    assert [str(each) for each in used_secrets(site.login, course().logins)] == ["env:NEW", "env:OLD"]
