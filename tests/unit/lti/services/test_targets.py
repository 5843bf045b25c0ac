"""Where grades go and rosters come from, as launches say it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from coursewareauthenticator.lti.launch import (
    Context,
    Grades,
    Launch,
    Message,
    Once,
    Outcomes,
    ResourceLink,
    Roster,
    Services,
)
from coursewareauthenticator.lti.services.families import FAMILIES, OTHER, TOOL_PLATFORM, code_of, family
from coursewareauthenticator.lti.services.targets import (
    LINE_ITEM,
    SCORE,
    LineItemTarget,
    OutcomeTarget,
    grade_target,
    gradebook_target,
    roster_target,
)

ITEM = "https://lms.example.org/item/1?type_id=1"
GRADES = Grades(frozenset({SCORE, LINE_ITEM}), "https://lms.example.org/items", ITEM)
OUTCOMES = Outcomes("https://lms.example.org/outcomes", "sid")
ROSTER = Roster("https://lms.example.org/members", ("2.0",))


def launch(version: str = "1.3", **changes: Any) -> Launch:
    made = Launch(
        version,
        Message.RESOURCE_LINK,
        "lti13:https://lms.example.org client-1",
        "42",
        Once("o", "n", 1),
        context=Context("course-1"),
        resource_link=ResourceLink("link-7"),
        services=Services(OUTCOMES, GRADES, ROSTER),
    )
    return replace(made, **changes)


def test_ags_15_a_launch_says_where_its_grade_goes() -> None:
    assert grade_target(launch()) == LineItemTarget("lti13:https://lms.example.org client-1", ITEM, "42", GRADES.scopes)
    found = gradebook_target(launch())
    assert found is not None and found.url == GRADES.lineitems


@pytest.mark.parametrize(
    "grades", [None, Grades(frozenset({LINE_ITEM}), "https://a.example/items", ITEM), Grades(GRADES.scopes, None, None)]
)
def test_ags_01_without_the_right_or_the_column_there_is_no_target(grades: Grades | None) -> None:
    assert grade_target(launch(services=Services(OUTCOMES, grades, None))) is None


def test_bo_01_lti_11_has_its_own_target() -> None:
    target = grade_target(launch("1.1", services=Services(outcomes=OUTCOMES), registration="lti11:moodle"))
    assert target == OutcomeTarget("lti11:moodle", OUTCOMES.url, "link-7", "sid")
    assert "sid" not in repr(target)


def test_a_guest_has_no_grade_and_a_teacher_no_outcome() -> None:
    assert grade_target(launch(subject=None)) is None
    assert grade_target(launch("1.1", services=Services())) is None


def test_nr_01_the_roster_is_of_the_launch_s_course() -> None:
    found = roster_target(launch())
    assert found is not None and (found.context, found.link) == ("course-1", "link-7")
    assert roster_target(launch(context=None)) is None and roster_target(launch(services=Services())) is None


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("moodle", "moodle"), ("Canvas", "canvas"), ("Open edX", "openedx"), ("edX", "openedx"), ("", ""),
        (None, ""), (7, ""), ("x" * 500, "x" * 32), ("mood\nle<", "moodle"),
    ],
)  # fmt: skip
def test_a_platform_says_what_it_is(said: Any, code: str) -> None:
    assert code_of(launch(claims={TOOL_PLATFORM: {"product_family_code": said}})) == code
    if isinstance(said, str):
        assert code_of(launch("1.1", parameters={"tool_consumer_info_product_family_code": (said,)})) == code


def test_what_is_not_known_has_no_peculiarity() -> None:
    assert family("") is OTHER and family("another") is OTHER and family("moodle") is FAMILIES["moodle"]
    assert code_of(launch(claims={TOOL_PLATFORM: "text"})) == ""
