"""What a waiting learner is told, as events for the page."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from coursewarehub.engine.observe import Observation
from coursewarehub.engine.states import Condition
from coursewarespawner import messages
from coursewarespawner.docker import Pull
from coursewarespawner.telling import Teller


@pytest.mark.parametrize(
    ("place", "seconds", "event"),
    [
        (
            3,
            11.6,
            {
                "progress": 10,
                "message": "You are number 3 in line, about 12 s.",
                "template": messages.IN_LINE,
                "queue_position": 3,
                "seconds": 12,
            },
        ),
        (
            1,
            0.2,
            {
                "progress": 10,
                "message": "You are next in line, about 1 s.",
                "template": messages.NEXT_IN_LINE,
                "queue_position": 1,
                "seconds": 1,
            },
        ),
        (
            2,
            None,
            {
                "progress": 10,
                "message": "You are number 2 in line.",
                "template": messages.IN_LINE_UNKNOWN,
                "queue_position": 2,
            },
        ),
    ],
)
def test_place_in_line(place: int, seconds: float | None, event: dict[str, Any]) -> None:
    teller = Teller()
    teller.waits(place, seconds)
    assert teller.event == event


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (Observation(Condition.STARTING), None),
        (Observation(Condition.STARTING, node_name="n2"), "Your server is being prepared on n2."),
        (Observation(Condition.RUNNING, node_name="n2"), "Your server starts on n2."),
        (Observation(Condition.RUNNING), "Starting"),
        (Observation(Condition.FAILED, node_name="n2"), None),
    ],
)
def test_how_far_the_engine_is(seen: Observation, message: str | None) -> None:
    teller = Teller()
    teller.sees(seen)
    assert teller.event.get("message") == message
    assert teller.event.get("node") == (seen.node_name or None if message else None)


def test_every_change_is_told_once() -> None:
    async def test() -> None:
        teller, told = Teller(), list[str]()

        async def listen() -> None:
            async for event in teller.progress():
                told.extend([event["message"]])

        listening = asyncio.ensure_future(listen())
        for template, values in (
            (messages.PREPARING, {}),
            (messages.PULLING, {"percent": 40}),
            (messages.PULLING, {"percent": 40}),
            (messages.STARTING, {}),
        ):
            teller.show(1, template, **values)
            await asyncio.sleep(0.25)
        listening.cancel()
        assert told == ["Your home folder is being prepared.", "Fetching the image: 40 %", "Starting"]

    asyncio.run(test())


def layer(name: str, status: str, current: int = 0, total: int = 0) -> dict[str, Any]:
    return {"id": name, "status": status, "progressDetail": {"current": current, "total": total} if total else {}}


def test_how_far_a_pull_is() -> None:
    pull, percents = Pull(), list[int]()
    for event in (
        {"status": "Pulling from teaching/base"},
        layer("a", "Pulling fs layer"),
        layer("a", "Downloading", 50, 100),
        layer("b", "Downloading", 0, 300),
        layer("a", "Download complete"),
        layer("b", "Downloading", 150, 300),
        layer("a", "Extracting", 10, 100),
        layer("b", "Download complete"),
        {"status": "Digest: sha256:x"},
    ):
        pull.note(event)
        percents.append(pull.percent)
    assert percents == [0, 0, 49, 49, 49, 61, 61, 99, 99]
