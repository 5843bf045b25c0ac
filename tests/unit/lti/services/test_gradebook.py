"""Columns, scores and results at platforms of every family, over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from support.lti_services import fake_platform, tool

from coursewareauthenticator.lti.services.columns import Column
from coursewareauthenticator.lti.services.grades import SUBMISSION, Activity, Grade, Grading, Submission
from coursewareauthenticator.lti.services.reasons import Kind, Reason, ServiceFailure
from coursewareauthenticator.lti.services.targets import LINE_ITEM, SCORE

Run = Callable[[Coroutine[Any, Any, Any]], Any]
FAMILIES = ["moodle", "canvas", "openedx", "sakai"]
NOW = int(time.time() * 1000)
WANTED = Column("Week 1", 10, resource_id="assignment-1", link="link-7")


async def failing(work: Coroutine[Any, Any, Any]) -> tuple[Kind, Reason]:
    with pytest.raises(ServiceFailure) as caught:
        await work
    return caught.value.kind, caught.value.reason


@pytest.mark.parametrize("family", FAMILIES)
def test_ags_02_all_pages_of_the_columns(run: Run, family: str) -> None:
    async def steps() -> None:
        async with fake_platform(family, page=2) as platform, tool(platform) as our:
            for key in range(1, 6):
                platform.target(column=key)
            found = await our.books.columns(platform.book)
            assert [column.resource_id for column in found] == [f"r{key}" for key in range(1, 6)]
            assert [column.url for column in found] == [platform.column_url(key) for key in range(1, 6)]
            asked = [uri for _, uri, _ in platform.requests if uri.startswith("/lineitems")]
            assert len(asked) == (1 if family == "openedx" else 3)
            assert all("type_id=1" in uri for uri in asked)

    run(steps())


@pytest.mark.parametrize("family", FAMILIES)
def test_ags_02_a_filter_that_a_platform_does_not_know_does_no_harm(run: Run, family: str) -> None:
    async def steps() -> None:
        async with fake_platform(family) as platform, tool(platform) as our:
            for key in range(1, 4):
                platform.target(column=key)
            platform.columns[2]["tag"] = "grade"
            platform.columns[3]["resourceLinkId"] = "link-7"
            assert [one.resource_id for one in await our.books.columns(platform.book, resource_id="r2")] == ["r2"]
            assert [one.resource_id for one in await our.books.columns(platform.book, tag="grade")] == ["r2"]
            assert [one.resource_id for one in await our.books.columns(platform.book, link="link-7")] == ["r3"]
            assert await our.books.columns(platform.book, resource_id="r2", tag="x") == []

    run(steps())


@pytest.mark.parametrize("family", FAMILIES)
def test_ags_03_a_column_is_made_found_changed_and_removed(run: Run, family: str) -> None:
    async def steps() -> None:
        async with fake_platform(family) as platform, tool(platform) as our:
            made = await our.books.ensure(platform.book, WANTED)
            assert made.url == platform.column_url(1) and platform.columns[1]["scoreMaximum"] == 10
            assert await our.books.ensure(platform.book, WANTED) == made
            platform.columns[1]["own"] = "setting"
            changed = await our.books.ensure(platform.book, replace(WANTED, label="Week one", maximum=20))
            assert (changed.label, changed.maximum, changed.url) == ("Week one", 20, made.url)
            assert platform.columns[1]["own"] == "setting" and len(platform.columns) == 1
            await our.books.remove(platform.book, changed)
            await our.books.remove(platform.book, changed)
            assert platform.columns == {}

    run(steps())


@pytest.mark.parametrize("fault", ["cut", "500-after", "late"])
def test_ags_03_a_column_whose_answer_was_lost_is_not_made_twice(run: Run, fault: str) -> None:
    async def steps() -> None:
        async with fake_platform(silence=1.0) as platform, tool(platform, timeout=0.4) as our:
            # The first request is the search.
            platform.faults["lineitems"].extend(["", "", fault])
            await failing(our.books.ensure(platform.book, WANTED))
            await asyncio.sleep(0.3)
            assert (await our.books.ensure(platform.book, WANTED)).url == platform.column_url(1)
            assert len(platform.columns) == 1

    run(steps())


def test_ags_13_a_renamed_column_is_kept_and_one_of_the_same_name_is_not_taken(run: Run) -> None:
    async def steps() -> None:
        async with fake_platform() as platform, tool(platform) as our:
            platform.columns[1] = {"label": "Week 1", "scoreMaximum": 5, "resourceId": "somebody-else"}
            made = await our.books.ensure(platform.book, WANTED)
            assert made.url == platform.column_url(2)
            platform.columns[2]["label"] = "renamed by a teacher"
            again = await our.books.ensure(platform.book, replace(WANTED, label="renamed by a teacher"))
            assert again.url == made.url and len(platform.columns) == 2

    run(steps())


def test_ags_01_only_what_the_launch_grants_is_asked_for(run: Run) -> None:
    async def steps() -> None:
        async with fake_platform() as platform, tool(platform) as our:
            denied = (Kind.PERMANENT, Reason.NOT_ALLOWED)
            none = platform.target(scopes=frozenset())
            book = replace(platform.book, scopes=frozenset({SCORE}))
            assert await failing(our.books.send(none, Grade(1, 1), NOW)) == denied
            assert await failing(our.books.result(none)) == denied
            assert await failing(our.books.columns(book)) == denied
            assert await failing(our.books.make(book, WANTED)) == denied
            assert platform.requests == []
            await our.books.columns(replace(platform.book, scopes=frozenset({LINE_ITEM})))
            assert {scopes for _, scopes in platform.tokens.values()} == {frozenset({LINE_ITEM})}

    run(steps())


def test_ags_12_a_platform_that_gives_the_token_and_refuses_the_deed(run: Run) -> None:
    async def steps() -> None:
        async with fake_platform() as platform, tool(platform) as our:
            platform.faults["scores"].append("403")
            assert await failing(our.books.send(platform.target(), Grade(1, 1), NOW)) == (
                Kind.PERMANENT,
                Reason.NOT_ALLOWED,
            )

    run(steps())


@pytest.mark.parametrize("family", FAMILIES)
def test_ags_04_ags_05_a_score_arrives(run: Run, family: str) -> None:
    """Also where the address of the column has a query: the platform knows no other place for scores."""

    async def steps() -> None:
        async with fake_platform(family) as platform, tool(platform) as our:
            await our.books.send(platform.target(), Grade(7, 8, comment="good"), NOW)
            assert platform.given() == 87.5
            method, uri, headers = platform.requests[-1]
            assert (method, uri) == ("POST", "/lineitem/1/scores?type_id=1")
            assert headers["Content-Type"] == "application/vnd.ims.lis.v1.score+json"
            result = await our.books.result(platform.target())
            assert result is not None and (result.score, result.maximum, result.comment) == (87.5, 100, "good")
            await our.books.send(platform.target("43"), Grade(1, 8), NOW)
            assert [one.user for one in await our.books.results(platform.target())] == ["42", "43"]

    run(steps())


@pytest.mark.parametrize(("family", "second"), [("moodle", 409), ("canvas", 200)])
def test_ags_06_a_time_in_the_same_second_is_later_for_some(run: Run, family: str, second: int) -> None:
    async def steps() -> None:
        async with fake_platform(family) as platform, tool(platform) as our:
            stamp = NOW // 1000 * 1000
            await our.books.send(platform.target(), Grade(1, 2), stamp)
            if second == 409:
                assert await failing(our.books.send(platform.target(), Grade(2, 2), stamp + 999)) == (
                    Kind.CONFLICT,
                    Reason.NEWER,
                )
                assert platform.given() == 50
            await our.books.send(platform.target(), Grade(2, 2), stamp + 1000)
            assert platform.given() == 100

    run(steps())


def test_ags_08_a_zero_arrives_or_is_known_not_to_be_shown(run: Run) -> None:
    async def steps() -> None:
        async with fake_platform("moodle") as platform, tool(platform) as our:
            await our.books.send(platform.target(), Grade(0, 10), NOW)
            assert platform.given() == 0
        async with fake_platform("openedx") as platform, tool(platform) as our:
            await our.books.send(platform.target(), Grade(0, 10), NOW)
            assert platform.given() is None and platform.scores[0]["scoreGiven"] == 0
            await our.books.send(platform.target(), Grade(0, 10), NOW + 1000, lift_zero=True)
            assert platform.given() == pytest.approx(0.01)

    run(steps())


def test_ags_09_extra_credit_is_cut_where_the_platform_cuts_it(run: Run) -> None:
    async def steps() -> None:
        async with fake_platform("moodle") as platform, tool(platform) as our:
            await our.books.send(platform.target(), Grade(12, 10), NOW)
            assert platform.given() == 100 and platform.scores[0]["scoreGiven"] == 12

    run(steps())


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("moodle", (Kind.PERMANENT, Reason.NOT_A_STUDENT)),
        ("canvas", (Kind.PERMANENT, Reason.NOT_A_STUDENT)),
        ("openedx", (Kind.GONE, Reason.NOT_THERE)),
        ("sakai", (Kind.GONE, Reason.NOT_THERE)),
    ],
)
def test_ags_10_somebody_whom_the_platform_does_not_grade(run: Run, family: str, expected: tuple[Kind, Reason]) -> None:
    async def steps() -> None:
        async with fake_platform(family) as platform, tool(platform) as our:
            assert await failing(our.books.send(platform.target("teacher"), Grade(1, 1), NOW)) == expected

    run(steps())


def test_ags_14_a_column_that_is_gone(run: Run) -> None:
    async def steps() -> None:
        async with fake_platform("openedx") as platform, tool(platform) as our:
            target = platform.target()
            platform.columns.clear()
            assert await failing(our.books.send(target, Grade(1, 1), NOW)) == (Kind.GONE, Reason.NOT_THERE)

    run(steps())


def test_canvas_throttles_and_shows_submissions(run: Run) -> None:
    async def steps() -> None:
        async with fake_platform("canvas") as platform, tool(platform) as our:
            platform.faults["scores"].append("rate")
            grade = Grade(1, 1, submission=Submission(NOW / 1000, "https://hub.example.org/launch?x=1"))
            assert await failing(our.books.send(platform.target(), grade, NOW)) == (Kind.RETRY, Reason.BUSY)
            await our.books.send(platform.target(), grade, NOW)
            assert platform.scores[0][SUBMISSION]["submission_data"].endswith("x=1")

    run(steps())


def test_ags_02_a_list_without_an_end_and_one_that_leads_elsewhere(run: Run) -> None:
    async def steps() -> None:
        async with fake_platform("moodle", page=1) as platform, tool(platform) as our:
            platform.target(column=1)
            platform.target(column=2)
            platform.link_header = lambda *_: [("Link", '<https://evil.example/x>; rel="next"')]  # type: ignore[method-assign]
            assert await failing(our.books.columns(platform.book)) == (Kind.PERMANENT, Reason.MOVED)
            same = f'<{platform.url}/lineitems?type_id=1>; rel="next"'
            platform.link_header = lambda *_: [("Link", same)]  # type: ignore[method-assign]
            before = len(platform.requests)
            assert len(await our.books.columns(platform.book)) == 2
            assert len(platform.requests) - before == 2

    run(steps())


@pytest.mark.parametrize("fault", ["html", "endless"])
def test_b03_an_answer_that_is_no_list(run: Run, fault: str) -> None:
    async def steps() -> None:
        async with fake_platform() as platform, tool(platform) as our:
            platform.faults["lineitems"].append(fault)
            kind, _ = await failing(our.books.columns(platform.book))
            assert kind is Kind.RETRY

    run(steps())


def test_ags_07_moodle_takes_a_grade_away_when_told_that_it_is_pending(run: Run) -> None:
    """Why the outbox never sends one after a grade; the client does what it is told."""

    async def steps() -> None:
        async with fake_platform("moodle") as platform, tool(platform) as our:
            await our.books.send(platform.target(), Grade(1, 1), NOW)
            pending = Grade(None, 1, Activity.SUBMITTED, Grading.PENDING)
            await our.books.send(platform.target(), pending, NOW + 1000)
            assert platform.given() is None

    run(steps())
