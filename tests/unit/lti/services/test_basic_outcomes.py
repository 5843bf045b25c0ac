"""Grades to platforms of LTI 1.1, over HTTP; the platform checks signatures with oauthlib."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from support.lti_services import fake_platform, tool

from coursewareauthenticator.lti.services.reasons import Kind, Reason, ServiceFailure

Run = Callable[[Coroutine[Any, Any, Any]], Any]


async def failing(work: Coroutine[Any, Any, Any]) -> tuple[Kind, Reason]:
    with pytest.raises(ServiceFailure) as caught:
        await work
    return caught.value.kind, caught.value.reason


@pytest.mark.parametrize("family", ["moodle", "canvas", "sakai"])
def test_bo_01_bo_02_a_grade_is_set_read_and_taken_away(run: Run, family: str) -> None:
    async def steps() -> None:
        async with fake_platform(family) as platform, tool(platform) as our:
            assert await our.outcomes.read(platform.outcome()) is None
            await our.outcomes.replace(platform.outcome(), 0.92)
            assert platform.outcomes == {"sid-42": "0.92"}
            assert await our.outcomes.read(platform.outcome()) == 0.92
            await our.outcomes.delete(platform.outcome())
            assert await our.outcomes.read(platform.outcome()) is None

    run(steps())


def test_bo_02_open_edx_has_no_reading(run: Run) -> None:
    async def steps() -> None:
        async with fake_platform("openedx") as platform, tool(platform) as our:
            await our.outcomes.replace(platform.outcome(), 0.5)
            assert await failing(our.outcomes.read(platform.outcome())) == (Kind.PERMANENT, Reason.REFUSED)

    run(steps())


def test_bo_03_an_http_200_is_no_success(run: Run) -> None:
    async def steps() -> None:
        async with fake_platform() as platform, tool(platform) as our:
            platform.faults["outcomes"].append("html")
            assert await failing(our.outcomes.replace(platform.outcome(), 1)) == (Kind.RETRY, Reason.UNREADABLE)
            assert await failing(our.outcomes.replace(platform.outcome("foreign"), 1)) == (Kind.GONE, Reason.NOT_THERE)
            assert platform.outcomes == {}

    run(steps())


def test_bo_04_a_wrong_secret_is_said_and_waited_for(run: Run) -> None:
    async def steps() -> None:
        async with fake_platform() as platform, tool(platform, secret="wrong") as our:
            with pytest.raises(ServiceFailure) as caught:
                await our.outcomes.replace(platform.outcome(), 1)
            assert (caught.value.kind, caught.value.reason) == (Kind.RETRY, Reason.BAD_SIGNATURE)
            assert caught.value.everything and "wrong" not in str(caught.value)

    run(steps())


def test_bo_06_ids_arrive_as_they_are_and_what_xml_cannot_carry_is_gone(run: Run) -> None:
    async def steps() -> None:
        async with fake_platform() as platform, tool(platform) as our:
            for sourcedid in ('{"data":{"a":"b"},"hash":"c<&>"}', "course:uuid-1::x", "漢字"):
                platform.sourcedids.add(sourcedid)
                await our.outcomes.replace(platform.outcome(sourcedid), 0.5)
                assert platform.outcomes.pop(sourcedid) == "0.5"
            assert await failing(our.outcomes.replace(platform.outcome("a\0b"), 1)) == (Kind.GONE, Reason.NOT_THERE)

    run(steps())


def test_bo_07_every_try_is_signed_anew(run: Run) -> None:
    """The platform refuses a nonce that comes twice."""

    async def steps() -> None:
        async with fake_platform() as platform, tool(platform) as our:
            platform.faults["outcomes"].extend(["cut", "500-after"])
            for _ in range(2):
                assert (await failing(our.outcomes.replace(platform.outcome(), 0.5)))[0] is Kind.RETRY
            await our.outcomes.replace(platform.outcome(), 0.5)
            assert platform.outcome_log == [("sid-42", "0.5")] * 3

    run(steps())


@pytest.mark.parametrize(("fraction", "text"), [(1.5, "1"), (0.0, "0"), (1 / 3, "0.333333")])
def test_bo_08_a_score_is_cut_to_its_range(run: Run, fraction: float, text: str) -> None:
    async def steps() -> None:
        async with fake_platform() as platform, tool(platform) as our:
            await our.outcomes.replace(platform.outcome(), fraction)
            assert platform.outcomes["sid-42"] == text

    run(steps())


def test_a_consumer_that_is_not_registered_any_more(run: Run) -> None:
    async def steps() -> None:
        async with fake_platform() as platform, tool(platform) as our:
            for registration in ("lti11:other", "lti13:moodle"):
                target = replace(platform.outcome(), registration=registration)
                assert await failing(our.outcomes.replace(target, 1)) == (Kind.RETRY, Reason.UNKNOWN_PLATFORM)
            assert platform.requests == []

    run(steps())
