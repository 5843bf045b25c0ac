"""Who may enter a course: the whole table of states, roles and dates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from typing import Any

import pytest

from coursewarehub.model import Course, Decision, Reason, Role, decide

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MEMBERS = {f"{role}s": [f"the-{role}"] for role in Role}
STAFF = {"owner", "instructor", "assistant"}
BEFORE = {"opens": "2026-05-02"}
INSIDE = {"opens": "2026-04-01", "closes": "2026-07-31"}
AFTER = {"closes": "2026-04-30"}
NO_DATES: dict[str, str] = {}


def course(**settings: Any) -> Course:
    return Course.model_validate({"id": "demo", "title": "Demo", "members": MEMBERS, **settings})


def strangers_welcome(welcome: bool) -> dict[str, Any]:
    return {"method": "dummy", "self_chosen_names": welcome}


# Why a student, or whoever else is not staff, is kept out; None when not.
OBSTACLES = {
    ("draft", "none"): Reason.DRAFT,
    ("draft", "inside"): Reason.DRAFT,
    ("draft", "before"): Reason.DRAFT,
    ("draft", "after"): Reason.DRAFT,
    ("open", "none"): None,
    ("open", "inside"): None,
    ("open", "before"): Reason.NOT_OPEN_YET,
    ("open", "after"): Reason.OVER,
    ("closed", "none"): Reason.CLOSED,
    ("closed", "inside"): Reason.CLOSED,
    ("closed", "before"): Reason.CLOSED,
    ("closed", "after"): Reason.CLOSED,
}
DATES = {"none": NO_DATES, "inside": INSIDE, "before": BEFORE, "after": AFTER}


@pytest.mark.parametrize("welcome", [False, True])
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("state", "when"), OBSTACLES)
def test_members(state: str, when: str, role: Role, welcome: bool) -> None:
    made = course(state=state, dates=DATES[when], authentication=strangers_welcome(welcome))
    obstacle = None if role in STAFF else OBSTACLES[state, when]
    expected = Decision(obstacle is None, role, obstacle or Reason.MEMBER)
    assert decide(made, f"the-{role}", now=NOON) == expected


@pytest.mark.parametrize(("state", "when"), OBSTACLES)
def test_strangers_are_students_where_they_are_welcome(state: str, when: str) -> None:
    made = course(state=state, dates=DATES[when], authentication=strangers_welcome(True))
    obstacle = OBSTACLES[state, when]
    expected = Decision(obstacle is None, Role.STUDENT, obstacle or Reason.STRANGER)
    assert decide(made, "somebody", now=NOON) == expected


@pytest.mark.parametrize(("state", "when"), OBSTACLES)
def test_strangers_are_kept_out_elsewhere(state: str, when: str) -> None:
    made = course(state=state, dates=DATES[when])
    assert decide(made, "somebody", now=NOON) == Decision(False, None, Reason.NOT_A_MEMBER)


@pytest.mark.parametrize(("name", "when", "welcome"), list(product([*MEMBERS, "x"], DATES, [False, True])))
def test_nobody_enters_an_archived_course(name: str, when: str, welcome: bool) -> None:
    user = MEMBERS.get(name, [name])[0]
    made = course(state="archived", dates=DATES[when], authentication=strangers_welcome(welcome))
    decision = decide(made, user, now=NOON)
    assert not decision.allowed
    assert decision.reason is Reason.ARCHIVED


@pytest.mark.parametrize("name", ["", "  ", ".", "..", "a/b", "a\0b", "a\u200bb", "a\u202eb", "a" * 65, "a\nb"])
@pytest.mark.parametrize("state", ["open", "archived"])
def test_names_that_are_none(name: str, state: str) -> None:
    made = course(state=state, authentication=strangers_welcome(True))
    assert decide(made, name, now=NOON) == Decision(False, None, Reason.INVALID_NAME)


@pytest.mark.parametrize(
    ("listed", "given"),
    [
        ("alice", "ALICE"),
        ("Alice", " alice "),
        ("\u00c9va", "e\u0301VA"),
        ("e\u0301va", "\u00c9VA"),
        ("学生", "学生"),
        ("\u30ac\u30f3", "\u30ab\u3099\u30f3"),
    ],
)
def test_spellings_of_one_name(listed: str, given: str) -> None:
    made = course(state="open", members={"owners": [listed]})
    assert decide(made, given, now=NOON) == Decision(True, Role.OWNER, Reason.MEMBER)


def test_names_that_only_look_alike_are_different() -> None:
    made = course(state="open", members={"owners": ["alice"]})
    for name in ("\uff41lice", "\u0430lice", "alice\u0301"):
        assert decide(made, name, now=NOON).reason is Reason.NOT_A_MEMBER


# --- the edges of the dates --------------------------------------------------------------------

JAPAN = timezone(timedelta(hours=9))


def student_at(dates: dict[str, str], now: datetime) -> Reason:
    return decide(course(state="open", dates=dates), "the-student", now=now).reason


def at(text: str, zone: timezone = UTC) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("dates", "now", "reason"),
    [
        ({"opens": "2026-04-01"}, at("2026-03-31T23:59:59"), Reason.NOT_OPEN_YET),
        ({"opens": "2026-04-01"}, at("2026-04-01T00:00:00"), Reason.MEMBER),
        ({"closes": "2026-04-01"}, at("2026-04-01T23:59:59"), Reason.MEMBER),
        ({"closes": "2026-04-01"}, at("2026-04-02T00:00:00"), Reason.OVER),
        ({"opens": "2026-04-01", "closes": "2026-04-01"}, at("2026-04-01T12:00:00"), Reason.MEMBER),
        # a day is a day where the server is
        ({"opens": "2026-04-01"}, at("2026-04-01T00:00:00", JAPAN), Reason.MEMBER),
        ({"opens": "2026-04-01"}, at("2026-03-31T15:00:00"), Reason.NOT_OPEN_YET),
        # a moment is the same moment everywhere
        ({"opens": "2026-04-01T09:00+09:00"}, at("2026-03-31T23:59:59"), Reason.NOT_OPEN_YET),
        ({"opens": "2026-04-01T09:00+09:00"}, at("2026-04-01T00:00:00"), Reason.MEMBER),
        ({"closes": "2026-04-01T09:00+09:00"}, at("2026-03-31T23:59:59"), Reason.MEMBER),
        ({"closes": "2026-04-01T09:00+09:00"}, at("2026-04-01T00:00:00"), Reason.OVER),
        ({"closes": "2026-04-01T00:00:00Z"}, at("2026-04-01T08:59:59", JAPAN), Reason.MEMBER),
    ],
)
def test_edges_of_the_dates(dates: dict[str, str], now: datetime, reason: Reason) -> None:
    assert student_at(dates, now) is reason


def test_now_needs_a_time_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        decide(course(state="open"), "the-owner", now=datetime(2026, 5, 1))
