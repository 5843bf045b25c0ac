"""When a server may write: the rules as a table, and the keeper that follows them with a hub of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from support.sites import eventually

from coursewarehub.singleuser.lease import Answer, Deeds, Heard, Lease, LeaseKeeper, Phase, State

LEASE = Lease(60)
HELD, PAUSED, LOST = Phase
CURRENT, REPLACED, UNKNOWN = Answer


@pytest.mark.parametrize(
    ("state", "heard", "now", "expected"),
    [
        # Confirmed at 100. Time passes:
        (State(HELD, 100), None, 100, State(HELD, 100)),
        (State(HELD, 100), None, 159.9, State(HELD, 100)),
        (State(HELD, 100), None, 160, State(PAUSED, 100)),
        (State(HELD, 100), None, 9999, State(PAUSED, 100)),
        (State(PAUSED, 100), None, 161, State(PAUSED, 100)),
        # The hub says yes: the lease counts from the question, not from the answer.
        (State(HELD, 100), Heard(CURRENT, 110), 110.1, State(HELD, 110)),
        (State(HELD, 100), Heard(CURRENT, 110), 118, State(HELD, 110)),
        (State(PAUSED, 100), Heard(CURRENT, 500), 501, State(HELD, 500)),
        # A yes that came too late is worth nothing; an old yes takes nothing back.
        (State(PAUSED, 100), Heard(CURRENT, 170), 230, State(PAUSED, 170)),
        (State(HELD, 100), Heard(CURRENT, 90), 110, State(HELD, 100)),
        # The hub says nothing that counts:
        (State(HELD, 100), Heard(UNKNOWN, 110), 120, State(HELD, 100)),
        (State(HELD, 100), Heard(UNKNOWN, 155), 160, State(PAUSED, 100)),
        (State(PAUSED, 100), Heard(UNKNOWN, 300), 310, State(PAUSED, 100)),
        # Another server has taken the place: at once, whatever the clock says, and for good.
        (State(HELD, 100), Heard(REPLACED, 101), 101, State(LOST, 100)),
        (State(PAUSED, 100), Heard(REPLACED, 300), 301, State(LOST, 100)),
        (State(LOST, 100), None, 101, State(LOST, 100)),
        (State(LOST, 100), Heard(CURRENT, 102), 102, State(LOST, 100)),
    ],
)
def test_the_rules(state: State, heard: Heard | None, now: float, expected: State) -> None:
    assert LEASE.next(state, heard, now) == expected


def test_a_new_server_is_the_one_and_asks_six_times_a_lease() -> None:
    assert LEASE.begin(5) == State(HELD, 5)
    assert LEASE.ends(LEASE.begin(5)) == 65
    assert LEASE.interval == 10


def test_a_day_with_a_fake_clock() -> None:
    """Questions every ten seconds; the hub is away from 300 to 420 and says `replaced` at 600."""
    state, phases = LEASE.begin(0), []
    for asked in range(10, 700, 10):
        answer = UNKNOWN if 300 <= asked < 420 else REPLACED if asked >= 600 else CURRENT
        state = LEASE.next(state, None, asked)
        state = LEASE.next(state, Heard(answer, asked), asked + 1)
        phases.append((asked, state.phase))
    assert [asked for asked, phase in phases if phase is PAUSED] == [350, 360, 370, 380, 390, 400, 410]
    assert [asked for asked, phase in phases if phase is LOST] == [600, 610, 620, 630, 640, 650, 660, 670, 680, 690]


# -- the keeper -------------------------------------------------------------------------------------------------


class Story:
    """What a keeper did, and when."""

    def __init__(self) -> None:
        self.deeds: list[tuple[str, float]] = []
        self.begin = time.monotonic()

    def note(self, deed: str) -> Callable[[], None]:
        return lambda: self.deeds.append((deed, time.monotonic() - self.begin))

    @property
    def names(self) -> list[str]:
        """Without repetitions: pausing is done anew at each question."""
        names = [deed for deed, _ in self.deeds]
        return [name for before, name in zip(["", *names], names, strict=False) if name != before]

    def when(self, deed: str) -> float:
        return next(at for name, at in self.deeds if name == deed)


def kept(seconds: float, ask: Callable[[], Awaitable[Answer]]) -> tuple[LeaseKeeper, Story]:
    story = Story()
    keeper = LeaseKeeper(seconds, ask, Deeds(story.note("pause"), story.note("resume"), story.note("end")))
    keeper.start()
    return keeper, story


def test_pauses_in_time_though_the_hub_never_answers() -> None:
    async def silence() -> Answer:
        await asyncio.sleep(3600)
        return CURRENT

    keeper, story = kept(0.6, silence)
    eventually(lambda: story.names == ["pause"], 3)
    assert 0.55 <= story.when("pause") <= 0.85
    assert not keeper.may_write()


def test_goes_on_when_the_hub_is_back_and_ends_when_it_is_replaced() -> None:
    answers = {"now": CURRENT}

    async def ask() -> Answer:
        return answers["now"]

    keeper, story = kept(0.6, ask)
    time.sleep(0.9)
    assert story.names == [] and keeper.may_write()
    answers["now"] = UNKNOWN
    eventually(lambda: story.names == ["pause"], 3)
    assert not keeper.may_write()
    answers["now"] = CURRENT
    eventually(lambda: story.names == ["pause", "resume"], 3)
    assert keeper.may_write()
    answers["now"] = REPLACED
    eventually(lambda: story.names == ["pause", "resume", "end"], 3)
    keeper.join(timeout=3)
    assert not keeper.is_alive() and not keeper.may_write()


def test_pausing_is_repeated_for_what_was_started_meanwhile() -> None:
    async def ask() -> Answer:
        return UNKNOWN

    _, story = kept(0.3, ask)
    eventually(lambda: [deed for deed, _ in story.deeds].count("pause") >= 4, 3)


def test_may_write_is_exact_though_the_thread_is_late() -> None:
    """A keeper whose thread does not run at all says no as soon as the lease is over."""

    async def ask() -> Answer:
        return CURRENT

    keeper = LeaseKeeper(0.2, ask, Deeds(lambda: None, lambda: None, lambda: None))
    assert keeper.may_write()
    time.sleep(0.25)
    assert not keeper.may_write()


def test_a_keeper_that_breaks_ends_the_server() -> None:
    async def ask() -> Answer:
        raise RuntimeError("a fault in the program")

    keeper, story = kept(0.6, ask)
    eventually(lambda: story.names == ["end"], 3)
    keeper.join(timeout=3)
