"""Grades, scores, columns and results, as values."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coursewareauthenticator.lti.services.columns import (
    Column,
    Result,
    column_body,
    is_same_grade,
    read_column,
    read_result,
    results_url,
    same_column,
    updated,
)
from coursewareauthenticator.lti.services.grades import (
    SUBMISSION,
    Activity,
    Grade,
    Grading,
    Submission,
    dump,
    load,
    score_body,
    scores_url,
    timestamp,
)
from coursewareauthenticator.lti.services.targets import SCORE, LineItemTarget

NOW = 1_800_000_000_123


def target(platform: str = "") -> LineItemTarget:
    return LineItemTarget("r", "https://a.example/1", "42", frozenset({SCORE}), platform)


def body(grade: Grade, platform: str = "", **how: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(score_body(target(platform), grade, NOW, **how))
    return found


@pytest.mark.parametrize(
    ("item", "scores"),
    [
        ("https://a.example/lineitem?type_id=1", "https://a.example/lineitem/scores?type_id=1"),
        ("https://a.example/7/", "https://a.example/7/scores"),
        ("https://a.example/7", "https://a.example/7/scores"),
        ("https://a.example/7?a=1&b=%2F#x", "https://a.example/7/scores?a=1&b=%2F"),
        ("https://a.example?x", "https://a.example/scores?x"),
    ],
)
def test_ags_04_scores_come_before_the_query(item: str, scores: str) -> None:
    assert scores_url(item) == scores
    assert results_url(item, "a b&c").startswith(scores.replace("/scores", "/results"))
    assert results_url(item, "a b&c").endswith("user_id=a+b%26c")


def test_ags_05_a_score_has_all_that_is_asked_for_and_nothing_more() -> None:
    assert body(Grade(8.5, 10, comment=" good\x00\nwork ")) == {
        "timestamp": "2027-01-15T08:00:00.123+00:00",
        "scoreGiven": 8.5,
        "scoreMaximum": 10,
        "activityProgress": "Completed",
        "gradingProgress": "FullyGraded",
        "userId": "42",
        "comment": "good\nwork",
    }
    assert "comment" not in body(Grade(1, 1))


def test_ags_05_numbers_are_short() -> None:
    assert b"0.3," in score_body(target(), Grade(0.1 + 0.2, 7.0), NOW)
    assert b'"scoreMaximum": 7}' in score_body(target(), Grade(0.1 + 0.2, 7.0), NOW)


def test_ags_06_times_grow_with_their_text() -> None:
    stamps = [0, 1, 999, 1000, 1001, NOW, NOW + 1, NOW + 999]
    assert sorted(map(timestamp, stamps)) == [timestamp(stamp) for stamp in stamps]


def test_ags_07_without_a_score_none_is_sent() -> None:
    found = body(Grade(None, 10, Activity.SUBMITTED, Grading.PENDING_MANUAL))
    assert (found["activityProgress"], found["gradingProgress"]) == ("Submitted", "PendingManual")
    assert "scoreGiven" not in found and "scoreMaximum" not in found


def test_ags_08_zero_is_sent_and_lifted_only_where_that_was_asked_for() -> None:
    assert body(Grade(0, 10))["scoreGiven"] == 0
    assert body(Grade(0, 10), "openedx")["scoreGiven"] == 0
    assert body(Grade(0, 10), "openedx", lift_zero=True)["scoreGiven"] == 0.001
    assert body(Grade(0, 10), "moodle", lift_zero=True)["scoreGiven"] == 0


def test_ags_09_more_than_the_maximum_is_for_the_platform_to_judge() -> None:
    assert body(Grade(12, 10))["scoreGiven"] == 12


def test_canvas_hears_what_was_submitted_and_nobody_else() -> None:
    grade = Grade(1, 1, submission=Submission(1_800_000_000.5, "https://hub.example.org/x", again=False))
    assert SUBMISSION not in body(grade, "moodle")
    assert body(grade, "canvas")[SUBMISSION] == {
        "new_submission": False,
        "submitted_at": "2027-01-15T08:00:00.500+00:00",
        "submission_type": "basic_lti_launch",
        "submission_data": "https://hub.example.org/x",
    }
    assert body(Grade(1, 1, submission=Submission(1)), "canvas")[SUBMISSION]["submission_type"] == "none"


@pytest.mark.parametrize(
    ("score", "maximum", "grading"),
    [
        (1, 0, Grading.FULLY_GRADED), (1, -1, Grading.FULLY_GRADED), (1, math.nan, Grading.FULLY_GRADED),
        (1, math.inf, Grading.FULLY_GRADED), (-0.1, 1, Grading.FULLY_GRADED), (math.nan, 1, Grading.FULLY_GRADED),
        (None, 1, Grading.FULLY_GRADED),
    ],
)  # fmt: skip
def test_ags_09_what_is_no_grade_is_refused(score: float | None, maximum: float, grading: Grading) -> None:
    with pytest.raises(ValueError, match=r"of a grade must|needs a score"):
        Grade(score, maximum, grading=grading)


@given(
    st.floats(0, 1e6), st.floats(0.01, 1e6), st.sampled_from(Activity), st.sampled_from(Grading), st.text(max_size=30),
    st.none() | st.builds(Submission, st.floats(0, 1e10), st.none() | st.text(max_size=9), st.booleans()),
)  # fmt: skip
def test_a_grade_comes_back_from_the_database_as_it_was(
    score: float, maximum: float, activity: Activity, grading: Grading, comment: str, submission: Submission | None
) -> None:
    grade = Grade(score, maximum, activity, grading, comment, submission, version=3)
    again = load(dump(grade), 3)
    assert dump(again) == dump(grade)
    assert (again.score, again.maximum, again.submission) == (score, maximum, submission)


# --- columns -----------------------------------------------------------------------------------

WANTED = Column("Week 1", 10, resource_id="r1", tag="grade", link="l1")


def test_ags_03_a_column_as_platforms_take_it() -> None:
    column = Column("Week 1", 9.5, resource_id="r1", starts="2027-01-01T00:00:00+09:00")
    assert json.loads(column_body(column, "moodle")) == {
        "label": "Week 1",
        "scoreMaximum": 9.5,
        "resourceId": "r1",
        "startDateTime": "2027-01-01T00:00:00+09:00",
    }
    assert json.loads(column_body(column, "openedx"))["scoreMaximum"] == 10
    assert b'"scoreMaximum": 10' in column_body(WANTED, "openedx")


@pytest.mark.parametrize("column", [Column("", 1, "r"), Column("a", 0, "r"), Column("a", 1), Column("a", 1, tag="t")])
def test_ags_03_a_column_that_no_platform_would_take(column: Column) -> None:
    with pytest.raises(ValueError, match="a column needs"):
        column_body(column, "moodle")


def found(**values: Any) -> Column:
    read = read_column(
        {"id": "https://a.example/1", "label": "Week 1", "scoreMaximum": 10} | values, "https://a.example/"
    )
    assert read is not None
    return read


def test_ags_13_a_column_is_found_by_its_ids_and_never_by_its_label() -> None:
    by_id = found(resourceId="r1", label="renamed")
    assert same_column(WANTED, [found(), found(resourceId="r2"), by_id]) is by_id
    assert same_column(WANTED, [found(), found(resourceId="r2", label="Week 1")]) is None
    by_link = found(resourceLinkId="l1")
    assert same_column(WANTED, [found(), by_link]) is by_link
    assert same_column(WANTED, [found(resourceLinkId="l1", resourceId="r9")]) is None


def test_ags_13_after_a_copy_of_the_course_the_link_tells_columns_apart() -> None:
    first, second = found(resourceId="r1", resourceLinkId="l0"), found(resourceId="r1", resourceLinkId="l1")
    assert same_column(WANTED, [first, second]) is second
    assert same_column(WANTED, [first]) is None
    tagged = found(resourceId="r1", tag="grade")
    assert same_column(Column("x", 1, "r1", "grade"), [found(resourceId="r1", tag="bonus"), tagged]) is tagged


def test_ags_03_a_change_keeps_what_the_platform_has_set() -> None:
    before = found(resourceId="r1", gradesReleased=True, **{"https://canvas.instructure.com/x": [1]})
    after = json.loads(column_body(updated(before, Column("New", 20, "r1")), "moodle"))
    assert after["gradesReleased"] is True and after["https://canvas.instructure.com/x"] == [1]
    assert (after["label"], after["scoreMaximum"], after["id"]) == ("New", 20, "https://a.example/1")


@pytest.mark.parametrize(
    "value", [None, [], "x", {}, {"id": 7}, {"id": "javascript:x"}, {"id": "https://[", "label": 1}]
)
def test_b03_what_is_no_column_is_left_out(value: Any) -> None:
    assert read_column(value, "https://a.example/") is None


def test_a_column_with_odd_members_is_read() -> None:
    odd = found(id="/7?type_id=1", label=None, scoreMaximum="x", resourceId=9, tag=[])
    assert odd.url == "https://a.example/7?type_id=1"
    assert (odd.label, odd.maximum, odd.resource_id, odd.tag) == ("", 0.0, "9", None)


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ({"userId": "42", "resultScore": 8, "resultMaximum": 10, "comment": "ok"}, Result("42", 8, 10, "ok")),
        ({"userId": 42}, Result("42", None, None)),
        ({"userId": "42", "resultScore": "0.5"}, Result("42", 0.5, None)),
        ({"userId": "42", "resultScore": "x", "comment": 7}, Result("42", None, None)),
        ({"resultScore": 1}, None), (None, None), ([], None), ({"userId": ""}, None), ({"userId": True}, None),
    ],
)  # fmt: skip
def test_ags_11_results_as_platforms_say_them(value: Any, result: Result | None) -> None:
    assert read_result(value) == result


def test_ags_11_a_result_is_compared_by_its_part_of_the_maximum() -> None:
    assert is_same_grade(Result("42", 87.5, 100), 7 / 8)
    assert is_same_grade(Result("42", 0.333, None), 1 / 3)
    assert not is_same_grade(Result("42", 87, 100), 7 / 8)
    assert not is_same_grade(Result("42", None, 100), 0)
