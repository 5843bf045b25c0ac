"""What the login layer tells the audit: each outcome once, with who and why, and nothing that was typed by mistake."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from support.models import a_course

from coursewareauthenticator.dummy import CoursewareDummyAuthenticator, WorkshopMethod
from coursewareauthenticator.login import ARRIVAL, LAUNCH, Launch
from coursewareauthenticator.methods import BROKEN_DIRECTORY, NAME_TAKEN, WAIT, WRONG, LoginFailedError
from coursewarehub.model import Arrival, Identity
from coursewarehub.wire.audit import Event

from .test_login import COURSE, PASSWORD, Directory, a_login, by_github, enter, refusal


def told_by(course: Any = COURSE, *methods: Any) -> tuple[Any, list[Event]]:
    by = a_login(course, *(methods or (Directory(sam=("s", "s-sam", {"python"}), eve=("e", "s-eve", set())),)),
                 WorkshopMethod(SecretStr(PASSWORD)), SimpleNamespace(name="github"))  # fmt: skip
    told: list[Event] = []
    by.audit = told.append
    return by, told


def short(told: list[Event]) -> list[tuple[Any, ...]]:
    return [(each.schema, each.action, each.data.get("person", ""), each.data.get("reason", "")) for each in told]


def test_every_outcome_is_told_once() -> None:
    by, told = told_by()
    enter(by, username="sam", password="s", address="192.0.2.7")
    assert dict(told[0].data) == {
        "action": "succeeded", "person": "sam", "method": "ldap", "role": "student", "address": "192.0.2.7",
        "reason": "One of your groups takes part in this course.",
    }  # fmt: skip
    refusal(by, username="eve", password="e")
    assert enter(by, username="sam", password="x") is None
    enter(by, **by_github("bob", "2"))
    refusal(by, **by_github("bob", "3"))
    assert short(told[1:]) == [
        ("login", "refused", "eve", "You are not a member of this course."),
        ("login", "failed", "sam", WRONG),
        ("login", "succeeded", "github:bob", "This course is for everybody who can log in here."),
        ("login", "refused", "github:bob", NAME_TAKEN),
    ]


def test_a29_what_was_typed_as_a_name_is_told_only_when_it_is_one() -> None:
    by, told = told_by()
    for typed in ("hunter2", "correct horse", "", "a\nb", "x" * 100_000):
        enter(by, username=typed, password="x")
        enter(by, username=typed, password="x", method="dummy")
    assert {each.data.get("person", "") for each in told} == {""} and len(told) == 10
    told.clear()
    enter(by, username="ada", password="x")  # listed
    enter(by, username="kim", password=PASSWORD, method="dummy")
    enter(by, username="Kim ", password="x", method="dummy")  # has come before
    assert [each.data.get("person") for each in told] == ["ada", "dummy:kim", "dummy:kim"]


def test_a_directory_that_fails_and_a_guesser_are_told() -> None:
    directory = Directory(sam=("s", "s-sam", {"python"}))
    by, told = told_by(COURSE, directory)
    directory.broken = LoginFailedError(BROKEN_DIRECTORY, "bind password hunter2 refused", 502)
    refusal(by, username="ada", password="a")
    directory.broken = None
    for _ in range(8):
        try:
            enter(by, username="ada", password="wrong")
        except Exception as error:  # noqa: BLE001
            assert "429" in str(error)
    reasons = [each.data["reason"] for each in told]
    assert reasons[0] == BROKEN_DIRECTORY and reasons[1] == WRONG and reasons[-1] == WAIT
    assert "hunter2" not in str(told)


def test_a_launch_is_told_as_a_launch() -> None:
    by, told = told_by()
    arrival = Arrival(Identity("github", "9"), "zoe")
    enter(by, **{ARRIVAL: arrival, LAUNCH: Launch("/courses/alpha/hub/user-redirect/lab/tree/a.ipynb")})
    launched = told[0]
    assert (launched.schema, launched.action, launched.data["person"]) == ("launch", "succeeded", "github:zoe")
    assert launched.data["target"] == "/courses/alpha/hub/user-redirect/lab/tree/a.ipynb"
    refusal(by, **{ARRIVAL: Arrival(Identity("github", "10"), "zoe"), LAUNCH: Launch()})
    assert short(told[1:]) == [("launch", "refused", "github:zoe", NAME_TAKEN)]
    # A form cannot make a launch of a login.
    enter(by, username="sam", password="s", **{LAUNCH: "x"})
    assert told[2].schema == "login"


def test_a_changed_role_is_told_when_a_login_is_refreshed() -> None:
    course = a_course(authentication={"method": "dummy"}, members={"instructors": ["ada"]})
    by, told = told_by(course)
    ada = SimpleNamespace(name="ada", groups=[SimpleNamespace(name="student")])
    assert asyncio.run(by.refresh_user(ada, None))["groups"] == ["instructor"]
    assert short(told) == [("member", "role-changed", "ada", "You are a member of this course.")]
    ada.groups = [SimpleNamespace(name="instructor")]
    asyncio.run(by.refresh_user(ada, None))
    assert len(told) == 1


def test_nobody_need_listen() -> None:
    by, _ = told_by()
    by.audit = None
    assert enter(by, username="sam", password="s")["name"] == "sam"


@pytest.mark.parametrize(
    ("name", "password", "action"), [("ada", "p", "succeeded"), ("ada", "x", "failed"), ("eve", "p", "refused")]
)
def test_the_workshop_login_alone(name: str, password: str, action: str) -> None:
    by, told = told_by(a_course(members={"instructors": ["ada"]}, authentication={"method": "dummy"}))
    alone = CoursewareDummyAuthenticator(password="p", decide=lambda name: by.decide(name, None))
    alone.audit = told.append
    try:
        enter(alone, username=name, password=password)
    except Exception as error:  # noqa: BLE001
        assert "403" in str(error)
    assert [each.action for each in told] == [action]
    assert told[0].data.get("person", "") == ("" if action == "failed" else name)
