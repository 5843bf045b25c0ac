"""The outbox in a database: the newest grade, one sender at a time, nothing lost."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, select
from support.lti_services import FakePlatform

from coursewareauthenticator.lti.services.grades import Activity, Grade, Grading
from coursewareauthenticator.lti.services.outbox import (
    LEASE,
    LONGEST_PAUSE,
    MOST_CONFLICTS,
    SPACING,
    TABLE,
    Outbox,
    Parcel,
    State,
)
from coursewareauthenticator.lti.services.reasons import Kind, Reason, ServiceFailure
from coursewareauthenticator.lti.services.targets import OutcomeTarget
from coursewarehub.hub.database import use_write_ahead_log
from coursewarehub.i18n import translations

NOW = 1_800_000_000.0
TARGET = FakePlatform(port=1).target()
OUTCOME = OutcomeTarget("lti11:moodle", "https://lms.example.org/outcomes", "link-7", "sid-1")
BUSY = ServiceFailure(Kind.RETRY, Reason.BUSY)
REFUSED = ServiceFailure(Kind.PERMANENT, Reason.REFUSED, "no")
PENDING = Grade(None, 10, Activity.SUBMITTED, Grading.PENDING)


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(engine: Engine, clock: Clock) -> Outbox:
    outbox = Outbox(engine, clock=clock)
    outbox.create()
    outbox.create()
    return outbox


def claimed(outbox: Outbox) -> Parcel:
    """The one row that is due."""
    (due,) = outbox.due()
    parcel = outbox.claim(due)
    assert parcel is not None
    return parcel


def only(outbox: Outbox) -> Any:
    (entry,) = outbox.entries()
    return entry


def test_ags_15_a_grade_waits_with_all_that_is_needed_to_send_it(outbox: Outbox) -> None:
    assert outbox.put("lti-ada", TARGET, Grade(8, 10, comment="good", version=3))
    parcel = claimed(outbox)
    assert (parcel.target, parcel.student) == (TARGET, "lti-ada")
    assert parcel.grade == Grade(8, 10, comment="good", version=3)
    assert parcel.stamp == NOW * 1000 and outbox.due() == []
    assert outbox.waiting() == 1
    outbox.confirm(parcel)
    entry = only(outbox)
    assert (entry.state, entry.confirmed_at, entry.next_try, entry.reason) == (State.SENT, NOW, None, None)
    assert outbox.waiting() == 0 and outbox.due() == []
    assert entry.sentence() is None


def test_both_kinds_of_targets_come_back_as_they_were(outbox: Outbox) -> None:
    outbox.put("lti-ada", OUTCOME, Grade(1, 2))
    assert claimed(outbox).target == OUTCOME
    assert "sid-1" not in repr(outbox.entries())


def test_one_row_for_each_person_and_column(outbox: Outbox) -> None:
    other = replace(TARGET, url="https://lms.example.org/other")
    for student in ("lti-ada", "lti-bob"):
        for target in (TARGET, other, OUTCOME):
            assert outbox.put(student, target, Grade(1, 1))
    assert len(outbox.entries()) == 6 and len(outbox.entries(student="lti-ada")) == 3
    assert [one.student for one in outbox.entries(column_key=TARGET.key)] == ["lti-ada", "lti-bob"]
    assert len(outbox.entries(state=State.WAITING)) == 6 and outbox.entries(state=State.SENT) == []
    outbox.forget("lti-ada")
    assert {one.student for one in outbox.entries()} == {"lti-bob"}


def test_the_newest_grade_wins_and_the_same_one_is_nothing_new(outbox: Outbox) -> None:
    assert outbox.put("lti-ada", TARGET, Grade(1, 10))
    assert not outbox.put("lti-ada", TARGET, Grade(1, 10))
    assert outbox.put("lti-ada", TARGET, Grade(2, 10))
    parcel = claimed(outbox)
    assert parcel.grade.score == 2
    outbox.confirm(parcel)
    assert not outbox.put("lti-ada", TARGET, Grade(2, 10))
    assert outbox.put("lti-ada", TARGET, Grade(1, 10))
    assert only(outbox).state is State.WAITING


def test_an_older_grade_that_comes_late_is_known_by_its_version(outbox: Outbox) -> None:
    assert outbox.put("lti-ada", TARGET, Grade(1, 10, version=5))
    assert not outbox.put("lti-ada", TARGET, Grade(9, 10, version=4))
    assert not outbox.put("lti-ada", TARGET, Grade(1, 10, version=9))
    assert not outbox.put("lti-ada", TARGET, Grade(9, 10, version=8))
    assert outbox.put("lti-ada", TARGET, Grade(2, 10, version=9))
    assert only(outbox).grade == Grade(2, 10, version=9)


def test_ags_07_nothing_unfinished_is_sent_after_a_grade(outbox: Outbox) -> None:
    """Platforms would take the grade away."""
    assert outbox.put("lti-ada", TARGET, PENDING)
    assert outbox.put("lti-ada", TARGET, Grade(5, 10))
    assert not outbox.put("lti-ada", TARGET, PENDING)
    parcel = claimed(outbox)
    assert parcel.grade.score == 5
    outbox.confirm(parcel)
    assert not outbox.put("lti-ada", TARGET, replace(PENDING, version=99))
    assert only(outbox).state is State.SENT
    assert not outbox.put("lti-ada", OUTCOME, PENDING)


def test_a_grade_that_comes_while_one_is_sent_waits_for_its_end(outbox: Outbox, clock: Clock) -> None:
    outbox.put("lti-ada", TARGET, Grade(1, 10))
    first = claimed(outbox)
    assert outbox.put("lti-ada", TARGET, Grade(2, 10))
    assert outbox.due() == []
    outbox.confirm(first)
    assert only(outbox).state is State.WAITING
    clock.now += 1
    second = claimed(outbox)
    assert second.grade.score == 2 and second.stamp >= first.stamp + SPACING
    outbox.confirm(second)
    assert only(outbox).state is State.SENT


def test_a_grade_that_comes_while_one_is_refused_is_tried(outbox: Outbox, clock: Clock) -> None:
    outbox.put("lti-ada", TARGET, Grade(1, 10))
    first = claimed(outbox)
    outbox.put("lti-ada", TARGET, Grade(2, 10))
    outbox.fail(first, REFUSED, 5)
    assert only(outbox).state is State.WAITING
    clock.now += 1
    assert claimed(outbox).grade.score == 2


def test_ags_06_times_grow_by_more_than_a_second_whatever_the_clock_does(outbox: Outbox, clock: Clock) -> None:
    stamps = []
    for score in range(12):
        outbox.put("lti-ada", TARGET, Grade(score, 100))
        if not outbox.due():
            clock.now += 1
        parcel = claimed(outbox)
        stamps.append(parcel.stamp)
        assert parcel.clock_was_set_back is (score == 6)
        outbox.confirm(parcel)
        if score == 5:
            clock.now -= 3600
        if score == 6:
            clock.now += 3700
    assert all(later - earlier >= SPACING for earlier, later in pairwise(stamps))


def test_f28_a_clock_that_was_set_back_holds_nothing_up(outbox: Outbox, clock: Clock) -> None:
    outbox.put("lti-ada", TARGET, Grade(1, 10))
    outbox.confirm(claimed(outbox))
    clock.now -= 10 * 3600
    outbox.put("lti-ada", TARGET, Grade(2, 10))
    parcel = claimed(outbox)
    assert parcel.clock_was_set_back and parcel.stamp == NOW * 1000 + SPACING
    # A claim and a pause of the time before do not hold for ten hours more.
    clock.now -= 10 * 3600
    parcel = claimed(outbox)
    outbox.fail(parcel, BUSY, 100)
    clock.now -= 10 * 3600
    assert claimed(outbox)


def test_a_failure_waits_and_is_seen(outbox: Outbox, clock: Clock) -> None:
    outbox.put("lti-ada", TARGET, Grade(1, 10))
    assert outbox.fail(claimed(outbox), BUSY, 60) is State.WAITING
    entry = only(outbox)
    assert (entry.state, entry.next_try, entry.failures, entry.reason) == (State.WAITING, NOW + 60, 1, Reason.BUSY)
    assert entry.sentence(translations("ja").gettext) != entry.sentence()
    clock.now += 59
    assert outbox.due() == []
    # A newer grade does not hurry a platform that wants to be left alone.
    outbox.put("lti-ada", TARGET, Grade(2, 10))
    assert outbox.due() == []
    clock.now += 1
    parcel = claimed(outbox)
    assert (parcel.failures, parcel.grade.score) == (1, 2)
    outbox.fail(parcel, BUSY, 10**9)
    assert only(outbox).next_try == clock.now + LONGEST_PAUSE / 1000


@pytest.mark.parametrize("failed", [REFUSED, ServiceFailure(Kind.GONE, Reason.NOT_THERE)])
def test_a_refusal_stays_seen_and_is_tried_again_by_hand(outbox: Outbox, clock: Clock, failed: ServiceFailure) -> None:
    outbox.put("lti-ada", TARGET, Grade(1, 10))
    assert outbox.fail(claimed(outbox), failed, 5) is State.REFUSED
    clock.now += 10**6
    assert outbox.due() == []
    entry = only(outbox)
    assert (entry.state, entry.reason, entry.next_try) == (State.REFUSED, failed.reason, None)
    assert not outbox.put("lti-ada", TARGET, Grade(1, 10))
    assert outbox.try_again(entry.id) and not outbox.try_again("0" * 64)
    outbox.confirm(claimed(outbox))
    assert only(outbox).state is State.SENT
    # By hand also what was sent, when a teacher has changed it there.
    clock.now += 5
    assert outbox.try_again(entry.id)
    assert claimed(outbox).grade.score == 1


def test_bo_08_a_new_launch_brings_a_new_address_and_what_was_gone_is_tried(outbox: Outbox, clock: Clock) -> None:
    outbox.put("lti-ada", OUTCOME, Grade(1, 10))
    outbox.fail(claimed(outbox), ServiceFailure(Kind.GONE, Reason.NOT_THERE), 5)
    newer = replace(OUTCOME, sourcedid="sid-2")
    outbox.refresh("lti-ada", newer)
    assert only(outbox).state is State.WAITING
    clock.now += 1
    assert claimed(outbox).target == newer
    outbox.refresh("lti-nobody", OUTCOME)
    assert len(outbox.entries()) == 1


def test_bo_08_a_new_address_alone_sends_nothing(outbox: Outbox, clock: Clock) -> None:
    outbox.put("lti-ada", OUTCOME, Grade(1, 10))
    outbox.confirm(claimed(outbox))
    assert not outbox.put("lti-ada", replace(OUTCOME, sourcedid="sid-2"), Grade(1, 10))
    newest = replace(OUTCOME, sourcedid="sid-3")
    outbox.refresh("lti-ada", newest)
    assert only(outbox).state is State.SENT
    clock.now += 5
    outbox.try_again(only(outbox).id)
    parcel = claimed(outbox)
    assert parcel.target == newest
    outbox.fail(parcel, REFUSED, 5)
    # What was refused for another reason is not sent again by a launch.
    outbox.refresh("lti-ada", newest)
    assert only(outbox).state is State.REFUSED


def test_a_conflict_is_tried_some_times_and_then_left_to_people(outbox: Outbox, clock: Clock) -> None:
    outbox.put("lti-ada", TARGET, Grade(1, 10))
    for number in range(1, MOST_CONFLICTS + 1):
        state = outbox.fail(claimed(outbox), ServiceFailure(Kind.CONFLICT, Reason.NEWER), 1)
        assert state is (State.REFUSED if number == MOST_CONFLICTS else State.WAITING)
        clock.now += 2
    assert "newer grade" in only(outbox).sentence()


def test_a_claim_ends_by_time_and_the_late_one_changes_nothing(outbox: Outbox, clock: Clock) -> None:
    outbox.put("lti-ada", TARGET, Grade(1, 10))
    lost = claimed(outbox)
    clock.now += LEASE / 1000 - 1
    assert outbox.due() == []
    clock.now += 1
    second = claimed(outbox)
    assert second.stamp > lost.stamp
    for late in (lambda: outbox.confirm(lost), lambda: outbox.fail(lost, REFUSED, 1)):
        late()
        assert only(outbox).state is State.WAITING and outbox.due() == []
    outbox.confirm(second)
    outbox.confirm(lost)
    assert only(outbox).state is State.SENT


def test_a_claim_of_what_has_changed_is_none(outbox: Outbox) -> None:
    outbox.put("lti-ada", TARGET, Grade(1, 10))
    (due,) = outbox.due()
    outbox.put("lti-ada", TARGET, Grade(2, 10))
    assert outbox.claim(due) is None
    assert claimed(outbox).grade.score == 2


def test_it_says_when_the_next_one_is_due(outbox: Outbox, clock: Clock) -> None:
    assert outbox.until_due() is None
    outbox.put("lti-ada", TARGET, Grade(1, 10))
    assert outbox.until_due() == 0 and outbox.until_due([TARGET.registration]) is None
    parcel = claimed(outbox)
    assert outbox.until_due() is None
    outbox.fail(parcel, BUSY, 60)
    assert outbox.until_due() == 60
    clock.now += 61
    assert outbox.until_due() == -1


def test_what_is_due_leaves_out_platforms_that_are_busy(outbox: Outbox) -> None:
    outbox.put("lti-ada", TARGET, Grade(1, 10))
    outbox.put("lti-ada", OUTCOME, Grade(1, 10))
    assert [one.registration for one in outbox.due([TARGET.registration])] == [OUTCOME.registration]
    assert len(outbox.due()) == 2 and len(outbox.due(limit=1)) == 1


def test_text_of_any_kind_can_be_kept(outbox: Outbox) -> None:
    failed = ServiceFailure(Kind.RETRY, Reason.BROKEN, "\0\ud800 漢字 \U0001f600 '; DROP TABLE x; --")
    comment = "a\0b 漢字 \U0001f600 \ud800"
    target = replace(OUTCOME, sourcedid="\U0001f600'\"%s")
    assert outbox.put("lti-ada", target, Grade(1, 10, comment=comment))
    parcel = claimed(outbox)
    assert parcel.target == target and parcel.grade.comment == "ab 漢字 \U0001f600"
    outbox.fail(parcel, failed, 1)
    assert "漢字" in only(outbox).said


# --- threads and processes ---------------------------------------------------------------------


def test_of_many_that_claim_a_row_one_has_it(outbox: Outbox) -> None:
    for number in range(20):
        outbox.put(f"lti-{number}", TARGET, Grade(1, 10))
    due = outbox.due()
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(outbox.claim, due * 4))
    claims = [parcel.id for parcel in found if parcel is not None]
    assert sorted(claims) == sorted(one.id for one in due)


def test_of_many_that_put_at_once_the_last_version_stays(outbox: Outbox) -> None:
    def put(version: int) -> bool:
        return outbox.put("lti-ada", TARGET, Grade(version, 100, version=version))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(put, range(40)))
    assert only(outbox).grade == Grade(39, 100, version=39)


def _claim_all(url: str, ready: Any, results: Any) -> None:
    use_write_ahead_log()
    outbox = Outbox(create_engine(url), clock=lambda: NOW)
    ready.wait(30)
    while due := outbox.due():
        for one in due:
            parcel = outbox.claim(one)
            if parcel is not None:
                results.put(parcel.id)
                outbox.confirm(parcel)
    results.put("end")


def test_processes_never_have_the_same_row(outbox: Outbox, url: str) -> None:
    for number in range(60):
        outbox.put(f"lti-{number}", TARGET, Grade(1, 10))
    context = multiprocessing.get_context("spawn")
    ready, results = context.Event(), context.Queue()
    workers = [context.Process(target=_claim_all, args=(url, ready, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    ready.set()
    found: list[str] = []
    while found.count("end") < 2:
        found.append(results.get(timeout=60))
    for worker in workers:
        worker.join(30)
    found = [one for one in found if one != "end"]
    assert len(found) == len(set(found)) == 60


def test_tables_are_made_by_many_at_once(url: str) -> None:
    use_write_ahead_log()
    engines = [create_engine(url) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda engine: Outbox(engine).create(), engines))
    with engines[0].connect() as connection:
        assert connection.execute(select(TABLE)).all() == []
    for engine in engines:
        engine.dispose()
