"""Whatever goes wrong in whatever order, the newest grade ends at the platform, and none overtakes a newer one."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool
from support.lti_services import FakePlatform

from coursewareauthenticator.lti.services.grades import Grade
from coursewareauthenticator.lti.services.outbox import LEASE, SPACING, Outbox, Parcel, State
from coursewareauthenticator.lti.services.reasons import Kind, Reason, ServiceFailure
from coursewareauthenticator.lti.services.targets import OutcomeTarget

SCORE_TARGET = FakePlatform(port=1).target()
OUTCOME_TARGET = OutcomeTarget("lti11:moodle", "https://lms.example.org/outcomes", "link-7", "sid-1")
FAILURES = {
    "retry": ServiceFailure(Kind.RETRY, Reason.NO_ANSWER),
    "conflict": ServiceFailure(Kind.CONFLICT, Reason.NEWER),
    "refused": ServiceFailure(Kind.PERMANENT, Reason.REFUSED),
    "gone": ServiceFailure(Kind.GONE, Reason.NOT_THERE),
}


@dataclass
class World:
    """One person's row, the processes that have claimed it, and a platform that keeps seconds, as the strictest do."""

    scores: bool
    now: float = 1_800_000_000.0
    held: list[tuple[Parcel, float]] = field(default_factory=list)
    in_the_air: list[Parcel] = field(default_factory=list)
    taken: list[Parcel] = field(default_factory=list)
    second: int = 0
    puts: int = 0

    def __post_init__(self) -> None:
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        self.outbox = Outbox(engine, clock=lambda: self.now)
        self.outbox.create()
        self.engine = engine
        self.target: Any = SCORE_TARGET if self.scores else OUTCOME_TARGET

    def put(self) -> None:
        self.puts += 1
        assert self.outbox.put("lti-ada", self.target, Grade(self.puts, 1000, version=self.puts))

    def claim(self) -> None:
        for due in self.outbox.due():
            if (parcel := self.outbox.claim(due)) is not None:
                # Nobody else may hold it now.
                assert not [other for other, until in self.held if until > self.now]
                self.held.append((parcel, self.now + LEASE / 1000))

    def arrives(self, parcel: Parcel) -> bool:
        """Whether the platform takes it: in order of its second, or, without times, as it comes."""
        second = parcel.stamp // 1000
        if self.scores and second <= self.second:
            return False
        self.second = second
        self.taken.append(parcel)
        return True

    def send(self, how: str) -> None:
        """What the oldest that holds a claim does now; it sends nothing when its time is over."""
        if not self.held:
            return
        parcel, until = self.held.pop(0)
        if self.now >= until or how == "crash before":
            return
        if how == "late":
            # A message that lies somewhere while its sender has given up. Without times nothing can guard against it
            # once its claim is over, so there it arrives before.
            if self.scores:
                self.in_the_air.append(parcel)
            self.outbox.fail(parcel, FAILURES["retry"], 5)
            return
        if how in {"refused", "gone"}:
            self.outbox.fail(parcel, FAILURES[how], 5)
            return
        taken = how == "not sent" or self.arrives(parcel)
        if how == "crash after":
            return
        if how in {"lost", "not sent"}:
            self.outbox.fail(parcel, FAILURES["retry"], 5)
        elif taken:
            self.outbox.confirm(parcel)
        else:
            self.outbox.fail(parcel, FAILURES["conflict"], 5)

    def do(self, step: str) -> None:
        if step == "put":
            self.put()
        elif step == "claim":
            self.claim()
        elif step == "arrive":
            for parcel in self.in_the_air:
                self.arrives(parcel)
            self.in_the_air.clear()
        elif step == "by hand":
            for entry in self.outbox.entries(state=State.REFUSED):
                self.outbox.try_again(entry.id)
        elif step.startswith("clock"):
            # Whoever holds a claim measures it with a clock of its own.
            change = float(step.removeprefix("clock"))
            self.now += change
            if change < 0:
                self.held.clear()
        else:
            self.send(step)

    def settle(self) -> None:
        """Nothing goes wrong any more, and somebody tries again what was refused."""
        self.do("arrive")
        for _ in range(60):
            self.do("by hand")
            self.do("claim")
            for _ in range(len(self.held)):
                self.send("ok")
            self.now += 3 * LEASE / 1000
            if not self.outbox.waiting() and not self.outbox.entries(state=State.REFUSED):
                return
        raise AssertionError(self.outbox.entries())


STEPS = st.lists(
    st.sampled_from(
        ["put", "put", "claim", "claim", "ok", "ok", "lost", "not sent", "late", "arrive", "crash before",
         "crash after", "refused", "gone", "by hand",
         "clock 0.4", "clock 1", "clock 7", "clock 181", "clock -5", "clock -4000"]
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(STEPS, st.booleans())
def test_any_order_of_faults_and_crashes_ends_with_the_newest_grade(steps: list[str], scores: bool) -> None:
    world = World(scores)
    world.put()
    for step in steps:
        world.do(step)
    world.settle()
    (entry,) = world.outbox.entries()
    assert entry.state is State.SENT and entry.grade.score == world.puts
    assert world.taken[-1].grade.score == world.puts
    order = [parcel.grade.score for parcel in world.taken]
    assert order == sorted(order, key=lambda score: score or 0)
    stamps = [parcel.stamp for parcel in world.taken]
    assert all(later - earlier >= SPACING for earlier, later in pairwise(stamps))
    world.engine.dispose()
