"""When a start has failed by what is seen of it, what is told then, and knocking until somebody listens."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from coursewarehub.engine.observe import Observation
from coursewarehub.engine.states import Condition, Facts, reason_of_words
from coursewarespawner import messages
from coursewarespawner.messages import NotPlaced
from coursewarespawner.watch import Watch, failure, until_it_answers

MISSING = reason_of_words("No such image: teaching/base:1", Facts(image="teaching/base:1"))
FULL = reason_of_words("could not find an available IP while allocating", Facts())
NO_ROOM = reason_of_words("insufficient resources on 3 nodes", Facts(memory_asked=1024**3))


def seen(condition: Condition, **more: Any) -> Observation:
    return Observation(condition, spawn=more.pop("spawn", "mine"), **more)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def watch() -> tuple[Watch, Clock, list[Observation]]:
    clock, told = Clock(), list[Observation]()
    return Watch("mine", told.append, patience=5.0, clock=clock), clock, told


@pytest.mark.parametrize(
    ("what", "fails"),
    [
        (seen(Condition.STARTING), False),
        (seen(Condition.RUNNING), False),
        (seen(Condition.UNKNOWN), False),
        (seen(Condition.FAILED, reason=MISSING), True),
        (seen(Condition.ENDED), True),
        (seen(Condition.LOST), True),
        (Observation(Condition.GONE), True),
        (seen(Condition.FAILED, spawn="an earlier one"), False),
        (seen(Condition.STARTING, reason=NO_ROOM), False),
    ],
)
def test_what_is_a_failure_at_once(what: Observation, fails: bool) -> None:
    assert watch()[0].fails(what) is fails


def test_a_reason_to_wait_is_a_failure_when_it_lasts() -> None:
    watched, clock, _ = watch()
    waits = seen(Condition.STARTING, reason=NO_ROOM)
    assert not watched.fails(waits)
    clock.now += 4.9
    assert not watched.fails(waits)
    assert not watched.fails(seen(Condition.STARTING)), "there is room"
    clock.now += 4.9
    assert not watched.fails(waits), "and it counts anew"
    clock.now += 5.0
    assert watched.fails(waits)


def test_an_engine_that_is_silent_lets_no_patience_run_out() -> None:
    watched, clock, _ = watch()
    assert not watched.fails(seen(Condition.STARTING, reason=NO_ROOM, verified=False))
    clock.now += 60
    assert not watched.fails(seen(Condition.STARTING, reason=NO_ROOM, verified=False))


def test_place_and_time_of_running() -> None:
    watched, clock, told = watch()
    assert not watched.placed(seen(Condition.STARTING))
    assert watched.placed(seen(Condition.STARTING, address="10.180.8.1"))
    assert not watched.placed(seen(Condition.RUNNING, address="10.180.8.9", spawn="an earlier one"))
    assert watched.placed(seen(Condition.FAILED)), "it will never have one"
    assert watched.runs_for() == 0
    watched.fails(seen(Condition.RUNNING))
    clock.now += 3
    watched.fails(seen(Condition.RUNNING))
    assert watched.runs_for() == 3
    assert all(each.spawn == "mine" for each in told)


@pytest.mark.parametrize(
    ("what", "places", "template"),
    [
        (seen(Condition.FAILED, reason=MISSING), None, messages.NOT_STARTED),
        (seen(Condition.STARTING, reason=NO_ROOM), None, messages.NOT_STARTED),
        (seen(Condition.STARTING, reason=FULL), 11, messages.COURSE_FULL),
        (seen(Condition.STARTING, reason=FULL), None, messages.NOT_STARTED),
        (seen(Condition.FAILED, reason=MISSING, exit_code=3), None, messages.ENDED),
        (seen(Condition.FAILED, reason=MISSING, exit_code=0), None, messages.NOT_STARTED),
        (seen(Condition.ENDED, exit_code=0), None, messages.ENDED_IN_ORDER),
        (Observation(Condition.GONE), None, messages.REMOVED),
        (seen(Condition.LOST, reason="The machine n2 does not answer."), None, messages.NOT_STARTED),
    ],
)
def test_what_is_told_of_a_failure(what: Observation, places: int | None, template: str) -> None:
    told = failure(what, places).told
    assert told.template == template
    assert not what.reason or template == messages.COURSE_FULL or what.reason in str(told)


@pytest.mark.parametrize(
    ("what", "machine"),
    [
        (seen(Condition.FAILED, reason=MISSING, node_id="n3", refused=True), "n3"),
        (seen(Condition.STARTING, reason=NO_ROOM), ""),
    ],
    ids=["refused", "no-room"],
)
def test_f21_f23_where_it_was_to_run_is_to_blame(what: Observation, machine: str) -> None:
    failed = failure(what, None)
    assert isinstance(failed, NotPlaced)
    assert failed.machine == machine


def test_a_program_that_ends_is_no_fault_of_the_machine() -> None:
    assert not isinstance(failure(seen(Condition.FAILED, exit_code=3, node_id="n3"), None), NotPlaced)


def test_knocks_until_somebody_answers() -> None:
    async def test() -> None:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            port = listening.getsockname()[1]
            knocking = asyncio.ensure_future(until_it_answers("127.0.0.1", port, "/user/sam/api"))
            await asyncio.sleep(0.2)
            assert not knocking.done()
            listening.listen()
            await asyncio.sleep(0.2)
            assert not knocking.done(), "who listens has not started yet"
            # The first to be let in goes without an answer, as a server that ends; the next one gets one.
            listening.accept()[0].close()
            listening.settimeout(2)
            connection, _ = await asyncio.to_thread(listening.accept)
            with connection:
                connection.settimeout(2)
                asked = await asyncio.to_thread(connection.recv, 1000)
                assert asked.startswith(b"GET /user/sam/api HTTP/1.1\r\n")
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                await asyncio.wait_for(knocking, 2)

    asyncio.run(test())
