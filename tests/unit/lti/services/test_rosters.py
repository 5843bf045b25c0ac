"""Rosters as platforms give them, and what they change in a course."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine
from support.lti_services import fake_platform, tool

from coursewareauthenticator.lti.identity import user_name
from coursewareauthenticator.lti.launch import Outcomes, Person
from coursewareauthenticator.lti.services.members import (
    Page,
    Roster,
    RosterMember,
    Status,
    joined,
    read_member,
    read_page,
)
from coursewareauthenticator.lti.services.plan import Member, Plan, Standing, launched, plan
from coursewareauthenticator.lti.services.reasons import Kind, Reason, ServiceFailure
from coursewareauthenticator.lti.services.roster_store import Place, RosterStore
from coursewareauthenticator.lti.services.roster_sync import RosterSync
from coursewarehub.model.roles import Role

Run = Callable[[Coroutine[Any, Any, Any]], Any]
REGISTRATION = "lti13:https://lms.example.org client-1"
PLACE = Place(REGISTRATION, "course-1")
MEMBERSHIP = "http://purl.imsglobal.org/vocab/lis/v2/membership"
FAMILIES = ["moodle", "canvas", "openedx", "sakai"]


def entry(user: str, *roles: str, **more: Any) -> dict[str, Any]:
    return {"user_id": user, "roles": list(roles) or ["Learner"], "status": "Active", "name": f"N {user}"} | more


# --- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_nr_01_all_pages_are_read(run: Run, family: str) -> None:
    async def steps() -> None:
        async with (
            fake_platform(family, members=[entry(str(n)) for n in range(7)], page=3) as platform,
            tool(platform) as our,
        ):
            roster, later = await our.rosters.read(platform.roster())
            assert [member.user for member in roster.members] == [str(n) for n in range(7)]
            assert roster.complete and roster.context == "course-1"
            assert later == (f"{platform.url}/members?since=9&a=b" if family == "canvas" else None)
            asked = [uri for _, uri, _ in platform.requests if uri.startswith("/members")]
            assert len(asked) == (1 if family == "openedx" else 3) and "limit=200" in asked[0]

    run(steps())


def test_nr_01_differences_and_a_part_take_nobody_out(run: Run) -> None:
    async def steps() -> None:
        members = [entry("1", "Instructor"), entry("2")]
        async with fake_platform("canvas", members=members) as platform, tool(platform) as our:
            _, later = await our.rosters.read(platform.roster())
            assert later is not None
            roster, _ = await our.rosters.differences(platform.roster(), later)
            assert not roster.complete
            some = await our.rosters.read_some(platform.roster(), role="Instructor")
            assert [member.user for member in some.members] == ["1"] and not some.complete

    run(steps())


@pytest.mark.parametrize(
    ("roles", "role"),
    [
        (["Learner"], Role.STUDENT),
        ([f"{MEMBERSHIP}#Learner"], Role.STUDENT),
        (["Instructor"], Role.INSTRUCTOR),
        ([f"{MEMBERSHIP}#Instructor", f"{MEMBERSHIP}/Instructor#TeachingAssistant"], Role.ASSISTANT),
        (["http://purl.imsglobal.org/vocab/lis/v2/system/person#None", f"{MEMBERSHIP}#Learner"], Role.STUDENT),
        (["http://purl.imsglobal.org/vocab/lis/v2/institution/person#Administrator"], None),
        ("Learner", Role.STUDENT),
        ([], None),
        (None, None),
        ([1, {"a": 2}], None),
    ],
)
def test_nr_02_roles_are_short_names_or_uris(roles: Any, role: Role | None) -> None:
    member = read_member({"user_id": "1", "roles": roles})
    assert member is not None and member.role is role


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("Active", Status.ACTIVE), ("inactive", Status.INACTIVE), ("Deleted", Status.DELETED), (None, Status.ACTIVE),
        ("http://purl.imsglobal.org/vocab/lis/v2/status#Inactive", Status.INACTIVE), ("x", Status.ACTIVE),
        (7, Status.ACTIVE),
    ],
)  # fmt: skip
def test_nr_02_a_status_that_is_not_understood_takes_nobody_out(said: Any, status: Status) -> None:
    member = read_member({"user_id": "1", "status": said})
    assert member is not None and member.status is status


def test_nr_04_names_and_addresses_may_be_absent() -> None:
    assert read_member({"user_id": 7}) == RosterMember("7", None)
    named = read_member({"user_id": "7", "given_name": "Ada", "family_name": "L", "email": "not an address"})
    assert named is not None and named.person == Person("Ada L", "Ada", "L", None)
    odd = read_member({"user_id": "7", "name": ["x"], "given_name": 3, "email": {"a": 1}})
    assert odd is not None and odd.person == Person()
    assert "Ada" not in repr(named)


def test_nr_05_a_course_that_is_too_large_is_said_as_that(run: Run) -> None:
    async def steps() -> None:
        members = [entry(str(n)) for n in range(5)]
        async with fake_platform("openedx", members=members, most_members=4) as platform, tool(platform) as our:
            with pytest.raises(ServiceFailure) as caught:
                await our.rosters.read(platform.roster())
            assert (caught.value.kind, caught.value.reason) == (Kind.PERMANENT, Reason.TOO_LARGE)
            assert "first open a link" in str(caught.value)

    run(steps())


def test_nr_06_with_a_link_grades_have_their_place(run: Run) -> None:
    async def steps() -> None:
        claim = "https://purl.imsglobal.org/spec/lti-bo/claim/basicoutcome"
        url = "https://lms.example.org/outcomes"
        said = [{"x": 1}, {claim: {"lis_outcome_service_url": url, "lis_result_sourcedid": "sid-1"}}]
        async with (
            fake_platform(members=[entry("1", message=said), entry("2", message=7)]) as platform,
            tool(platform) as our,
        ):
            some = await our.rosters.read_some(platform.roster(), of_link=True)
            assert [member.outcomes for member in some.members] == [Outcomes(url, "sid-1"), None]
            whole, _ = await our.rosters.read(platform.roster())
            assert whole.members[0].outcomes is None

    run(steps())


def test_a_roster_of_another_course_is_refused(run: Run) -> None:
    async def steps() -> None:
        async with fake_platform(members=[entry("1")], context="course-2") as platform, tool(platform) as our:
            with pytest.raises(ServiceFailure, match="another course"):
                await our.rosters.read(platform.roster())
            platform.context = None
            assert len((await our.rosters.read(platform.roster()))[0].members) == 1

    run(steps())


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"members": {}}', b"<html>", b"\xff", b'{"members": "x"}'])
def test_b03_what_is_no_roster_is_tried_again(body: bytes) -> None:
    with pytest.raises(ServiceFailure) as caught:
        read_page(body)
    assert (caught.value.kind, caught.value.reason) == (Kind.RETRY, Reason.UNREADABLE)


def test_b03_an_entry_without_an_id_is_left_out_and_then_nobody_is_taken_out() -> None:
    page = read_page(
        json.dumps({"members": [entry("1"), {}, None, entry(""), entry("x" * 256), entry("a\0b")]}).encode()
    )
    assert (len(page.members), page.left_out) == (1, 5)
    assert not joined([page]).complete


NAMES = st.sampled_from(["members", "user_id", "roles", "status", "name", "email", "message", "context", "id"])
PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=9)
JSON = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=20
)


@given(JSON)
def test_b03_any_json_is_a_roster_or_a_sentence(value: Any) -> None:
    for body in (value, {"members": [value]}, {"members": value}):
        try:
            read_page(json.dumps(body).encode())
        except ServiceFailure as failed:
            assert failed.reason is Reason.UNREADABLE


def test_somebody_on_two_pages_is_one_person() -> None:
    pages = [Page((RosterMember("1", Role.STUDENT),), None, 0), Page((RosterMember("1", Role.INSTRUCTOR),), "c", 0)]
    assert joined(pages) == Roster((RosterMember("1", Role.INSTRUCTOR),), "c")


# --- the plan ----------------------------------------------------------------------------------


def roster(*members: RosterMember, **how: Any) -> Roster:
    return Roster(members, **how)


def after(members: list[Member], found: Plan) -> list[Member]:
    by_user = {member.user: member for member in members} | {member.user: member for member in found.members}
    return list(by_user.values())


def names(members: tuple[Member, ...]) -> list[str]:
    return [member.user for member in members]


ADA, BOB = RosterMember("ada", Role.STUDENT, person=Person("Ada")), RosterMember("bob", Role.INSTRUCTOR)


def test_nr_07_who_has_never_launched_is_pending_under_the_account_of_their_launches() -> None:
    found = plan(roster(ADA, BOB), [], REGISTRATION)
    assert [(one.account, one.role, one.standing) for one in found.added] == [
        (user_name(REGISTRATION, "ada"), Role.STUDENT, Standing.PENDING),
        (user_name(REGISTRATION, "bob"), Role.INSTRUCTOR, Standing.PENDING),
    ]
    assert plan(roster(ADA, BOB), found.added, REGISTRATION) == Plan()
    assert not plan(roster(ADA, BOB), found.added, REGISTRATION)


def test_nr_03_the_role_of_a_launch_wins_over_the_roster() -> None:
    """Moodle lists an assistant as a learner, who launches as an instructor."""
    member = launched(None, "lti-x", "ada", Role.INSTRUCTOR, Person())
    found = plan(roster(ADA), [member], REGISTRATION)
    (changed,) = found.changed
    assert changed.role is Role.INSTRUCTOR and changed.roster_role is Role.STUDENT and not changed.is_graded
    assert changed.account == "lti-x"
    assert launched(changed, "lti-x", "ada", Role.STUDENT, Person()).role is Role.STUDENT


def test_nr_07_who_is_not_in_the_roster_any_more_is_marked_and_may_come_back() -> None:
    known = list(plan(roster(ADA, BOB), [], REGISTRATION).added)
    found = plan(roster(BOB), known, REGISTRATION)
    (removed,) = found.removed
    assert (removed.user, removed.standing, removed.role) == ("ada", Standing.REMOVED, None)
    assert removed.person.name == "Ada"
    known = after(known, found)
    assert plan(roster(BOB), known, REGISTRATION) == Plan()
    back = plan(roster(ADA, BOB), known, REGISTRATION)
    assert [one.role for one in back.changed] == [Role.STUDENT]


@pytest.mark.parametrize("status", [Status.INACTIVE, Status.DELETED])
def test_nr_02_who_is_not_active_is_removed_and_a_stranger_is_not_added(status: Status) -> None:
    gone = replace(ADA, status=status)
    assert plan(roster(gone), [], REGISTRATION) == Plan()
    known = plan(roster(ADA), [], REGISTRATION).added
    for how in ({}, {"differences": True}):
        assert names(plan(roster(gone, **how), known, REGISTRATION).removed) == ["ada"]


def test_nobody_in_the_course_s_file_is_added_changed_or_removed() -> None:
    def listed(account: str) -> bool:
        return account == user_name(REGISTRATION, "ada")

    assert plan(roster(ADA), [], REGISTRATION, listed) == Plan(listed=(user_name(REGISTRATION, "ada"),))
    known = plan(roster(ADA, BOB), [], REGISTRATION).added
    for now in (roster(BOB), roster(replace(ADA, status=Status.DELETED), BOB), roster(replace(ADA, role=None), BOB)):
        assert not plan(now, known, REGISTRATION, listed).members


@pytest.mark.parametrize("now", [roster(), roster(BOB, left_out=1), roster(BOB, differences=True)])
def test_a_roster_that_is_not_whole_takes_nobody_out(now: Roster) -> None:
    known = plan(roster(ADA, BOB), [], REGISTRATION).added
    assert plan(now, known, REGISTRATION).removed == ()


def test_who_came_by_a_launch_and_was_never_listed_stays() -> None:
    operator = launched(None, "lti-op", "operator", Role.INSTRUCTOR, Person("Op"))
    assert plan(roster(BOB), [operator], REGISTRATION).removed == ()


def test_whom_the_platform_lets_in_after_its_roster_left_them_out_is_there_by_the_launch() -> None:
    known = list(plan(roster(ADA, BOB), [], REGISTRATION).added)
    (removed,) = plan(roster(BOB), known, REGISTRATION).removed
    again = launched(removed, removed.account, "ada", Role.STUDENT, Person())
    assert again.role is Role.STUDENT
    assert plan(roster(BOB), [again], REGISTRATION).removed == ()


def test_nr_04_a_roster_without_names_keeps_those_of_the_launch() -> None:
    known = launched(None, "lti-x", "ada", Role.STUDENT, Person("Ada Lovelace"))
    (changed,) = plan(roster(replace(ADA, person=Person())), [known], REGISTRATION).changed
    assert changed.person.name == "Ada Lovelace"
    assert launched(changed, "lti-x", "ada", Role.STUDENT, Person()).person.name == "Ada Lovelace"


ENTRIES = st.lists(
    st.builds(RosterMember, st.sampled_from("abcdef"), st.sampled_from([None, *Role]), st.sampled_from(Status)),
    max_size=6,
    unique_by=lambda one: one.user,
)


@given(st.lists(st.tuples(ENTRIES, st.booleans(), st.sampled_from("abcdef"), st.sampled_from(Role)), max_size=5))
def test_rosters_and_launches_in_any_order(history: list[tuple[list[RosterMember], bool, str, Role]]) -> None:
    """The same roster twice changes nothing, and who has just launched has the launch's role."""
    known: list[Member] = []
    for entries, whole, user, role in history:
        now = roster(*entries, differences=not whole)
        known = after(known, plan(now, known, REGISTRATION, lambda account: account.endswith("0")))
        assert not plan(now, known, REGISTRATION, lambda account: account.endswith("0"))
        before = next((one for one in known if one.user == user), None)
        member = launched(before, user_name(REGISTRATION, user), user, role, Person())
        known = [one for one in known if one.user != user] + [member]
        assert member.role is role
        assert len({one.account for one in known}) == len(known)


# --- kept --------------------------------------------------------------------------------------


@pytest.fixture
def store(engine: Engine) -> RosterStore:
    store = RosterStore(engine)
    store.create()
    store.create()
    return store


def test_nr_07_a_roster_is_kept_and_found_by_account(store: RosterStore) -> None:
    store.change(PLACE, lambda known: plan(roster(ADA, BOB), known, REGISTRATION))
    assert sorted(names(tuple(store.members(PLACE)))) == ["ada", "bob"]
    (ada,) = store.of_account(user_name(REGISTRATION, "ada"))
    assert ada == Member(user_name(REGISTRATION, "ada"), "ada", Role.STUDENT, rostered=True, person=Person("Ada"))
    assert store.members(Place(REGISTRATION, "course-2")) == []
    store.launched(PLACE, ada.account, "ada", Role.ASSISTANT, Person())
    store.change(PLACE, lambda known: plan(roster(BOB), known, REGISTRATION))
    assert [(one.standing, one.role) for one in store.of_account(ada.account)] == [(Standing.REMOVED, None)]
    store.forget(ada.account)
    assert store.of_account(ada.account) == [] and len(store.members(PLACE)) == 1


def test_a_person_of_two_courses_is_known_once_for_each(store: RosterStore) -> None:
    for context in ("course-1", "course-2"):
        store.launched(Place(REGISTRATION, context), "lti-x", "ada", Role.STUDENT, Person())
    assert len(store.of_account("lti-x")) == 2


def test_a_launch_that_comes_while_a_roster_is_written_is_not_lost(store: RosterStore) -> None:
    store.change(PLACE, lambda known: plan(roster(ADA), known, REGISTRATION))
    account = user_name(REGISTRATION, "ada")
    asked = []

    def decide(known: list[Member]) -> Plan:
        if not asked:
            store.launched(PLACE, account, "ada", Role.INSTRUCTOR, Person())
            store.launched(PLACE, user_name(REGISTRATION, "bob"), "bob", Role.STUDENT, Person())
        asked.append(known)
        return plan(roster(replace(ADA, person=Person("Ada L")), BOB), known, REGISTRATION)

    store.change(PLACE, decide)
    assert len(asked) == 2
    found = {one.user: one for one in store.members(PLACE)}
    assert (found["ada"].role, found["ada"].person.name) == (Role.INSTRUCTOR, "Ada L")
    assert (found["bob"].role, found["bob"].roster_role) == (Role.STUDENT, Role.INSTRUCTOR)


def test_launches_of_one_person_at_once(store: RosterStore) -> None:
    threads = [
        threading.Thread(target=store.launched, args=(PLACE, "lti-x", "ada", role, Person()))
        for role in (Role.STUDENT, Role.ASSISTANT, Role.INSTRUCTOR, Role.OBSERVER)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.members(PLACE)) == 1


def test_nr_01_sync_brings_a_course_of_a_thousand_up_to_date(run: Run, store: RosterStore) -> None:
    async def steps() -> None:
        members = [entry(str(n)) for n in range(1200)]
        async with fake_platform(members=members, page=500) as platform, tool(platform) as our:
            target = platform.roster()
            sync = RosterSync(our.rosters, store, lambda _: False)
            first = await sync.run(target)
            assert len(first.added) == 1200
            assert not await sync.run(target)
            del platform.members[1100:]
            assert len((await sync.run(target)).removed) == 100
            platform.faults["members"].extend(["", "500"])
            before = await asyncio.to_thread(store.members, Place(target.registration, target.context))
            with pytest.raises(ServiceFailure):
                await sync.run(target)
            assert await asyncio.to_thread(store.members, Place(target.registration, target.context)) == before

    run(steps())
