"""The workshop login: who gets in, under which name, in which group, and for how long."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from support.models import a_course
from tornado.web import HTTPError

from coursewareauthenticator.dummy import CoursewareDummyAuthenticator
from coursewarehub.model import Course, decide

PASSWORD = "correct horse"
COURSE = a_course(
    authentication={"method": "dummy", "self_chosen_names": True},
    members={
        "owners": ["boss"],
        "instructors": ["ada"],
        "assistants": ["grace"],
        "students": ["émilie"],
        "observers": ["eve"],
    },
)


def authenticator(course: Course = COURSE, password: str = PASSWORD) -> CoursewareDummyAuthenticator:
    return CoursewareDummyAuthenticator(
        password=password, decide=lambda name: decide(course, name, now=datetime.now(UTC))
    )


def enter(username: str, password: str = PASSWORD, by: CoursewareDummyAuthenticator | None = None) -> Any:
    """JupyterHub's own way from a form to a user."""
    form = {"username": username, "password": password}
    return asyncio.run((by or authenticator()).get_authenticated_user(None, form))


@pytest.mark.parametrize(
    ("typed", "name", "group"),
    [
        ("boss", "boss", "owner"),
        ("ada", "ada", "instructor"),
        (" Ada ", "ada", "instructor"),
        ("GRACE", "grace", "assistant"),
        ("E\u0301milie", "émilie", "student"),
        ("eve", "eve", "observer"),
        ("anybody", "anybody", "student"),
        ("Anna Maria", "anna maria", "student"),
        ("田中", "田中", "student"),
    ],
)
def test_right_password_gives_name_and_role(typed: str, name: str, group: str) -> None:
    model = enter(typed)
    assert (model["name"], model["groups"], model["admin"]) == (name, [group], False)


@pytest.mark.parametrize("password", ["", "wrong", PASSWORD + " ", PASSWORD.upper(), "correct hors\u00e9", "é" * 1000])
def test_wrong_password_gives_nothing(password: str) -> None:
    assert enter("ada", password) is None


@pytest.mark.parametrize("password", ["", "x"])
def test_nobody_enters_while_no_password_is_set(password: str) -> None:
    assert enter("ada", password, authenticator(password="")) is None


def test_form_without_fields_gives_nothing() -> None:
    assert asyncio.run(authenticator().authenticate(None, {})) is None


@pytest.mark.parametrize("name", ["", " ", "a/b", "..", "a`b", "a\u200bb", "x" * 65, "a\nb"])
def test_impossible_name_is_refused_in_words(name: str) -> None:
    with pytest.raises(HTTPError) as error:
        enter(name)
    assert error.value.status_code == 403 and "name" in str(error.value.log_message)


def test_stranger_is_refused_in_words_where_names_are_listed() -> None:
    closed = a_course(members={"students": ["sam"]})
    assert enter("sam", by=authenticator(closed))["groups"] == ["student"]
    with pytest.raises(HTTPError) as error:
        enter("eve", by=authenticator(closed))
    assert error.value.status_code == 403
    assert error.value.log_message == "You are not a member of this course."


def test_wrong_password_is_not_told_apart_by_name() -> None:
    """Who is a member is told to those only who know the password."""
    closed = authenticator(a_course(members={"students": ["sam"]}))
    assert enter("sam", "wrong", closed) is None
    assert enter("eve", "wrong", closed) is None


@pytest.mark.parametrize(
    ("state", "name", "allowed"),
    [
        ("draft", "ada", True),
        ("draft", "émilie", False),
        ("closed", "grace", True),
        ("closed", "émilie", False),
        ("archived", "boss", False),
    ],
)
def test_state_of_the_course_decides(state: str, name: str, allowed: bool) -> None:
    by = authenticator(COURSE.model_copy(update={"state": a_course(state=state).state}))
    if allowed:
        assert enter(name, by=by)["name"] == name
    else:
        with pytest.raises(HTTPError, match="course"):
            enter(name, by=by)


def test_login_is_asked_again_and_follows_the_course() -> None:
    course = a_course(members={"students": ["sam"], "instructors": ["ada"]})
    now = [course]
    by = CoursewareDummyAuthenticator(
        password=PASSWORD, decide=lambda name: decide(now[0], name, now=datetime.now(UTC))
    )
    sam = SimpleNamespace(name="sam")
    assert asyncio.run(by.refresh_user(sam))["groups"] == ["student"]
    now[0] = a_course(members={"instructors": ["sam", "ada"]})
    assert asyncio.run(by.refresh_user(sam))["groups"] == ["instructor"]
    now[0] = a_course(members={"instructors": ["ada"]})
    assert asyncio.run(by.refresh_user(sam)) is False
    assert asyncio.run(by.refresh_user(SimpleNamespace(name="ada")))["groups"] == ["instructor"]


def test_settings_that_the_decision_needs() -> None:
    by = authenticator()
    assert by.manage_groups and by.allow_all and by.refresh_pre_spawn and by.auth_refresh_age == 60
    assert not by.admin_users and not by.delete_invalid_users


def test_names_are_normalised_as_the_hub_expects() -> None:
    by = authenticator()
    for name in ("Ada", " a b ", "É", "ǅ", "ﬀ", "İ", "ß"):
        once = by.normalize_username(name)
        assert once and once == once.lower() and by.normalize_username(once) == once
    assert by.normalize_username("a/b") == ""


def test_log_holds_no_password(caplog: pytest.LogCaptureFixture) -> None:
    by = authenticator()
    by.log.propagate = True
    with caplog.at_level(logging.DEBUG):
        enter("ada\r\nforged line", "my secret guess", by)
        enter("ada", PASSWORD, by)
        with pytest.raises(HTTPError):
            enter("a`b", PASSWORD, by)
    assert "my secret guess" not in caplog.text and PASSWORD not in caplog.text
    assert not [line for line in caplog.text.splitlines() if line.startswith("forged")]
