"""Login by an account of the course's own: no oracle, bounded work, and changes that reach those who are in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.models import a_course
from tornado.web import HTTPError

from coursewareauthenticator.accounts import hashing
from coursewareauthenticator.accounts.hashing import Hasher
from coursewareauthenticator.accounts.method import AccountsMethod
from coursewareauthenticator.accounts.people import Person, State
from coursewareauthenticator.accounts.store import AccountBook
from coursewareauthenticator.identities import IdentityBook
from coursewareauthenticator.login import CoursewareLogin
from coursewareauthenticator.methods import BUSY, WAIT, LoginFailedError
from coursewareauthenticator.throttle import PAIR
from coursewarehub.model import Arrival, Course, Reason, Role, account_name, decide

COURSE = a_course(authentication={"method": "accounts"}, members={"owners": ["ada"]})
GOOD = "three green herons"


class CountingHasher(Hasher):
    """Weak and quick, and it counts."""

    def __init__(self) -> None:
        super().__init__(memory_kib=64, passes=1)
        self.verified: list[str] = []

    def _verify(self, hashed: str, password: str) -> bool:
        self.verified.append(hashed)
        return super()._verify(hashed, password)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[AccountBook]:
    made = AccountBook(f"sqlite:///{tmp_path}/hub.sqlite")
    yield made
    made.close()


def active(book: AccountBook, hasher: Hasher, name: str, role: Role = Role.STUDENT, password: str = GOOD) -> None:
    made = book.add(Person(name, role=role), 60)
    assert book.set_password(made.token, asyncio.run(hasher.hash(password)))
    book.ended([name])


def a_login(book: AccountBook, hasher: Hasher, course: Course = COURSE) -> CoursewareLogin:
    def decide_now(name: str, arrival: Arrival | None = None) -> Any:
        return decide(course, name, now=datetime.now(UTC), arrival=arrival)

    return CoursewareLogin(
        decide=decide_now,
        name_for=partial(account_name, course),
        methods=[AccountsMethod(book, hasher)],
        identities=IdentityBook(),
        slow_failure=0.0,
    )


def enter(by: CoursewareLogin, name: str, password: str, address: str = "10.0.0.1") -> Any:
    handler = SimpleNamespace(request=SimpleNamespace(remote_ip=address))
    return asyncio.run(by.get_authenticated_user(handler, {"username": name, "password": password}))


def test_a_name_and_its_password(book: AccountBook) -> None:
    hasher = CountingHasher()
    active(book, hasher, "sam")
    active(book, hasher, "ada", Role.STUDENT)
    by = a_login(book, hasher)
    assert enter(by, " SAM ", GOOD)["groups"] == ["student"]
    assert enter(by, "ada", GOOD)["groups"] == ["owner"], "the course's file wins"
    assert enter(by, "sam", "ｔｈｒｅｅ green herons") is not None, "one spelling"
    assert enter(by, "sam", GOOD.upper()) is None
    found = book.find("sam")
    assert found is not None and found.last_login is not None


def test_a31_the_same_work_whoever_is_asked_for(book: AccountBook) -> None:
    hasher = CountingHasher()
    active(book, hasher, "sam")
    active(book, hasher, "gone")
    book.disable("gone")
    book.add(Person("new"), 60)
    by = a_login(book, hasher)
    for name in ("sam", "gone", "new", "nobody", "", "\0", "a" * 1000):
        hasher.verified.clear()
        assert enter(by, name, "wrong password", f"10.0.0.{len(name) % 200}") is None
        assert len(hasher.verified) == 1, name
    assert enter(by, "gone", GOOD, "10.0.1.1") is None and enter(by, "new", "", "10.0.1.2") is None


def test_a31_unknown_names_take_as_long_as_known_ones(book: AccountBook) -> None:
    hasher = Hasher()
    active(book, hasher, "sam")
    method = AccountsMethod(book, hasher)

    async def times(name: str) -> float:
        await method.check(name, "warm up, please")
        taken = []
        for _ in range(7):
            begin = time.perf_counter()
            await method.check(name, "wrong password")
            taken.append(time.perf_counter() - begin)
        return min(taken)

    known, unknown = asyncio.run(times("sam")), asyncio.run(times("nobody"))
    assert 0.5 < known / unknown < 2, (known, unknown)


def test_a31_guessing_is_stopped_and_the_owner_still_gets_in(book: AccountBook) -> None:
    hasher = CountingHasher()
    active(book, hasher, "sam")
    by = a_login(book, hasher)
    assert enter(by, "sam", GOOD, "10.0.0.1")
    hasher.verified.clear()
    refusals = []
    for number in range(1000):
        try:
            assert enter(by, "sam", f"guess number {number}", f"10.1.{number % 40}.1") is None
        except HTTPError as error:
            refusals.append(error)
    assert len(hasher.verified) <= 40 and len(refusals) >= 960
    assert {(error.status_code, error.log_message) for error in refusals} == {(429, WAIT)}
    seconds = [int(error.headers["Retry-After"]) for error in refusals]  # type: ignore[attr-defined]
    assert all(1 <= each <= PAIR.seconds for each in seconds), "told when to try again"
    assert enter(by, "sam", GOOD, "10.0.0.1"), "a stranger does not lock the owner out where they are known"


def test_hashes_of_yesterday_are_made_anew(book: AccountBook) -> None:
    active(book, CountingHasher(), "sam")
    hasher = Hasher(memory_kib=128, passes=1)
    before = book.credentials("sam")
    assert before is not None and before[1] is not None and hasher.outdated(before[1])
    assert enter(a_login(book, hasher), "sam", GOOD)
    after = book.credentials("sam")
    assert after is not None and after[1] is not None and not hasher.outdated(after[1])
    assert enter(a_login(book, hasher), "sam", GOOD)


def test_a_spoilt_hash_fits_nothing() -> None:
    assert not asyncio.run(CountingHasher().fits("no hash", GOOD))


def test_hashing_never_stops_the_loop_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "MOST_WAITING", 10)
    hasher = Hasher()

    async def crowd() -> tuple[list[Any], float]:
        worst, running = 0.0, True

        async def heart() -> None:
            nonlocal worst
            while running:
                begin = time.perf_counter()
                await asyncio.sleep(0.005)
                worst = max(worst, time.perf_counter() - begin - 0.005)

        beat = asyncio.ensure_future(heart())
        hashed = await hasher.hash(GOOD)
        answers = await asyncio.gather(*(hasher.fits(hashed, GOOD) for _ in range(30)), return_exceptions=True)
        running = False
        await beat
        return answers, worst

    answers, worst = min((asyncio.run(crowd()) for _ in range(3)), key=lambda run: run[1])
    assert sum(answer is True for answer in answers) == 10
    turned_away = [answer for answer in answers if isinstance(answer, LoginFailedError)]
    assert len(turned_away) == 20 and {answer.sentence for answer in turned_away} == {BUSY}
    assert worst < 0.05, "no other request waits 50 ms"


def test_changes_reach_those_who_are_in(book: AccountBook) -> None:
    hasher = CountingHasher()
    for name in ("sam", "kim", "eve"):
        active(book, hasher, name)
    by = a_login(book, hasher)
    for name in ("sam", "kim", "eve"):
        enter(by, name, GOOD)

    async def look() -> list[str]:
        return list(await by.look_at_everybody())

    assert asyncio.run(look()) == []
    book.disable("kim")
    book.remove("eve")
    assert asyncio.run(look()) == ["kim"]
    assert (by.verdict("kim").role, by.verdict("eve").role) == (None, None)
    assert by.verdict("kim").reason is Reason.NO_ACCOUNT
    assert by.verdict("sam").role is Role.STUDENT
    asyncio.run(by.all_ended(["kim"]))
    assert asyncio.run(look()) == []

    # A password that is set anew ends what is held, once.
    made = book.link("sam", 60, {State.ACTIVE})
    book.set_password(made.token, "x")
    assert asyncio.run(look()) == ["sam"]
    assert by.verdict("sam").allowed


def test_a_refresh_asks_the_account(book: AccountBook) -> None:
    hasher = CountingHasher()
    active(book, hasher, "sam")
    by = a_login(book, hasher)
    enter(by, "sam", GOOD)
    user = SimpleNamespace(name="sam")
    refreshed = asyncio.run(by.refresh_user(user))
    assert isinstance(refreshed, dict) and refreshed["groups"] == ["student"]
    book.disable("sam")
    request_by_cookie = SimpleNamespace()
    assert asyncio.run(by.refresh_user(user, request_by_cookie)) is False
    assert request_by_cookie._token_authenticated is False, "JupyterHub asks for it then"


def test_an_account_that_has_ended_is_not_let_in_by_the_courses_list() -> None:
    arrival = Arrival(by_account("ada"), "ada", frozenset())
    verdict = decide(COURSE, "ada", now=datetime.now(UTC), arrival=arrival)
    assert (verdict.allowed, verdict.role, verdict.reason) == (False, None, Reason.NO_ACCOUNT)


def by_account(name: str) -> Any:
    from coursewarehub.model import Identity

    return Identity("accounts", name)


def test_a_group_of_another_provider_is_no_role() -> None:
    course = a_course(authentication=[{"method": "accounts"}, {"method": "github", "everyone": "observer"}])
    from coursewarehub.model import Identity

    arrival = Arrival(Identity("github", "1"), "eve", frozenset({"owner"}))
    assert decide(course, "github:eve", now=datetime.now(UTC), arrival=arrival).role is Role.OBSERVER
