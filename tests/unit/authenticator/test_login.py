"""The login of a course: several methods, identities that keep their names, one sentence for every failure."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from support.models import a_course
from tornado.web import HTTPError

from coursewareauthenticator.dummy import WorkshopMethod
from coursewareauthenticator.identities import IdentityBook, NameTakenError
from coursewareauthenticator.login import ARRIVAL, CoursewareLogin
from coursewareauthenticator.methods import NAME_TAKEN, NO_SUCH_METHOD, WAIT, LoginFailedError
from coursewareauthenticator.throttle import ACCOUNT, ADDRESS, PAIR, Throttle
from coursewarehub.model import Arrival, Course, Identity, account_name, decide

PASSWORD = "correct horse"
COURSE = a_course(
    authentication=[
        {"method": "ldap", "roles": {"instructors": ["staff"], "students": ["python"]}},
        {"method": "dummy", "self_chosen_names": True},
        {"method": "github", "everyone": "observer"},
    ],
    members={"instructors": ["ada"], "assistants": ["github:ada"]},
)


class Directory:
    """People with passwords: `name` -> (password, subject, groups); `broken` fails instead."""

    name = "ldap"

    def __init__(self, **people: tuple[str, str, set[str]]) -> None:
        self.people = people
        self.broken: LoginFailedError | None = None

    async def check(self, username: str, password: str) -> Arrival | None:
        if self.broken:
            raise self.broken
        known = self.people.get(username)
        if known is None or known[0] != password:
            return None
        return Arrival(Identity("ldap", known[1]), username, frozenset(known[2]))

    async def look_again(self, arrival: Arrival) -> Arrival | None:
        if self.broken:
            raise self.broken
        for username, (_, subject, groups) in self.people.items():
            if subject == arrival.identity.subject:
                return Arrival(arrival.identity, username, frozenset(groups))
        return None


def a_login(course: Course, *methods: Any, url: str = "", book: IdentityBook | None = None) -> CoursewareLogin:
    def decide_now(name: str, arrival: Arrival | None = None) -> Any:
        return decide(course, name, now=datetime.now(UTC), arrival=arrival)

    return CoursewareLogin(
        decide=decide_now,
        name_for=partial(account_name, course),
        methods=list(methods),
        identities=book or IdentityBook(url),
        slow_failure=0.0,
    )


def enter(by: CoursewareLogin, address: str = "10.0.0.1", **form: Any) -> Any:
    """JupyterHub's own way from a form, or a button's handler, to a user."""
    handler = SimpleNamespace(request=SimpleNamespace(remote_ip=address))
    return asyncio.run(by.get_authenticated_user(handler, form))


def refusal(by: CoursewareLogin, **form: Any) -> tuple[int, str]:
    with pytest.raises(HTTPError) as error:
        enter(by, **form)
    return error.value.status_code, str(error.value.log_message)


def by_github(username: str, subject: str = "1") -> dict[str, Any]:
    return {ARRIVAL: Arrival(Identity("github", subject), username)}


def all_methods(book: IdentityBook | None = None) -> tuple[CoursewareLogin, Directory]:
    directory = Directory(
        ada=("a", "s-ada", set()), grace=("g", "s-grace", {"Staff"}), sam=("s", "s-sam", {"python", "chess"}),
        eve=("e", "s-eve", {"chess"}),
    )  # fmt: skip
    github = SimpleNamespace(name="github")
    return a_login(COURSE, directory, WorkshopMethod(SecretStr(PASSWORD)), github, book=book), directory


def test_every_method_gives_its_name_and_role() -> None:
    by, _ = all_methods()
    assert enter(by, username="ada", password="a")["groups"] == ["instructor"]
    assert enter(by, username="grace", password="g")["groups"] == ["instructor"]
    assert enter(by, username="sam", password="s", method="ldap")["groups"] == ["student"]
    guest = enter(by, username="ada", password=PASSWORD, method="dummy")
    assert (guest["name"], guest["groups"]) == ("dummy:ada", ["student"])
    there = enter(by, **by_github("ada"))
    assert (there["name"], there["groups"], there["admin"]) == ("github:ada", ["assistant"], False)
    assert enter(by, **by_github("bob", "2"))["groups"] == ["observer"]
    assert refusal(by, username="eve", password="e") == (403, "You are not a member of this course.")


def test_a35_a_form_cannot_send_an_arrival_or_choose_a_button() -> None:
    by, _ = all_methods()
    assert enter(by, username="ada", password="", arrival="ada") is None
    assert refusal(by, username="ada", password="a", method="github") == (403, NO_SUCH_METHOD)
    assert refusal(by, username="ada", password="a", method="oidc") == (403, NO_SUCH_METHOD)


def test_a35_nobody_gets_a_name_that_is_another_identitys() -> None:
    by, directory = all_methods()
    assert enter(by, username="sam", password="s")["name"] == "sam"
    directory.people["sam"] = ("new", "s-other", {"python"})
    assert refusal(by, username="sam", password="new") == (403, NAME_TAKEN)
    # Who is renamed there stays who they are here.
    directory.people["samuel"] = ("s", "s-sam", {"python"})
    assert enter(by, username="samuel", password="s")["name"] == "sam"


def test_a_deleted_users_name_is_free(tmp_path: Path) -> None:
    book = IdentityBook(f"sqlite:///{tmp_path}/hub.sqlite")
    by, directory = all_methods(book)
    enter(by, username="sam", password="s")
    directory.people["sam"] = ("new", "s-other", {"python"})
    assert refusal(by, username="sam", password="new") == (403, NAME_TAKEN)
    by.delete_user(SimpleNamespace(name="sam"))
    assert enter(by, username="sam", password="new")["name"] == "sam"
    again = IdentityBook(f"sqlite:///{tmp_path}/hub.sqlite")
    again.open()
    assert again.name_of(Identity("ldap", "s-other")) == "sam" and again.name_of(Identity("ldap", "s-sam")) is None


def test_a35_a_name_with_anothers_prefix_is_refused() -> None:
    by, directory = all_methods()
    directory.people["github:ada"] = ("x", "s-x", {"python"})
    assert refusal(by, username="github:ada", password="x") == (403, "This is not a valid user name.")


def test_a_course_can_move_from_a_workshop_to_a_directory(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hub.sqlite"
    before = a_course(authentication={"method": "dummy"}, members={"students": ["sam"]})
    assert enter(a_login(before, WorkshopMethod(SecretStr("w")), url=url), username="sam", password="w")
    after = a_course(authentication={"method": "ldap"}, members={"students": ["sam"]})
    by = a_login(after, Directory(sam=("s", "s-sam", set())), url=url)
    assert asyncio.run(by.refresh_user(SimpleNamespace(name="sam"))) is False, "logged in as nobody can any more"
    assert enter(by, username="sam", password="s")["name"] == "sam"
    assert asyncio.run(by.refresh_user(SimpleNamespace(name="sam")))


def test_identities_are_kept(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hub.sqlite"
    sam = Arrival(Identity("ldap", "1"), "sam", frozenset({"b", "a"}))
    first = IdentityBook(url)
    first.open()
    assert first.enter(sam, "sam", ["ldap"]) == "sam"
    second = copy.deepcopy(IdentityBook(url))
    second.open()
    assert second.last_arrival("sam") == sam and second.name_of(sam.identity) == "sam"
    with pytest.raises(NameTakenError):
        second.enter(Arrival(Identity("ldap", "2"), "sam"), "sam", ["ldap"])
    moved = Arrival(sam.identity, "samuel", frozenset())
    assert second.enter(moved, "samuel", ["ldap"]) == "sam"
    third = IdentityBook(url)
    third.open()
    assert third.last_arrival("sam") == moved
    assert "sqlite" not in repr(third)


def test_roles_follow_groups_at_refresh_and_survive_a_silent_directory() -> None:
    by, directory = all_methods()
    sam = SimpleNamespace(name="sam")

    def refreshed() -> Any:
        answer = asyncio.run(by.refresh_user(sam))
        return answer["groups"] if answer else answer

    assert enter(by, username="sam", password="s")["groups"] == ["student"]
    assert refreshed() == ["student"]
    directory.people["sam"] = ("s", "s-sam", {"staff"})
    assert refreshed() == ["instructor"]
    directory.broken = LoginFailedError("silent")
    assert refreshed() == ["instructor"]
    directory.broken = None
    directory.people["sam"] = ("s", "s-sam", set())
    assert refreshed() is False
    del directory.people["sam"]
    assert refreshed() is False


def test_a31_wrong_password_and_unknown_name_are_one_answer() -> None:
    by, _ = all_methods()
    assert enter(by, username="sam", password="x") is None
    assert enter(by, username="nobody", password="x") is None
    by.slow_failure = 0.2
    for name in ("sam", "nobody"):
        begin = time.monotonic()
        assert enter(by, username=name, password="x") is None
        assert time.monotonic() - begin >= 0.2


def test_a31_guessing_is_throttled_and_the_owner_still_gets_in() -> None:
    by, _ = all_methods()
    assert enter(by, "10.0.0.9", username="sam", password="s")["name"] == "sam"
    answers = []
    for number in range(1000):
        try:
            answers.append(
                enter(by, f"10.1.{number // 250}.{number % 250}", username="sam", password=f"guess {number}")
            )
        except HTTPError as error:
            answers.append((error.status_code, error.log_message))
    assert answers[: ACCOUNT.burst] == [None] * ACCOUNT.burst
    assert set(answers[ACCOUNT.burst + 1 :]) <= {(429, WAIT), None}
    assert answers.count(None) <= ACCOUNT.burst + 5, "one more every ten seconds"
    assert enter(by, "10.0.0.9", username="sam", password="s")["name"] == "sam"
    assert enter(by, "10.0.0.8", username="grace", password="g")["name"] == "grace"


def test_a31_a_failure_of_the_provider_counts_against_nobody() -> None:
    by, directory = all_methods()
    directory.broken = LoginFailedError("It is silent.")
    for _ in range(3 * PAIR.burst):
        assert refusal(by, username="sam", password="s") == (503, "It is silent.")
    directory.broken = None
    assert enter(by, username="sam", password="s")["name"] == "sam"


# -- the throttle alone, with a clock of its own ----------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def fails(throttle: Throttle, account: str, address: str) -> bool:
    """Whether a try was let through; it then fails."""
    if throttle.wait(account, address) > 0:
        return False
    throttle.failed(account, address)
    return True


@pytest.mark.parametrize(
    ("account", "address", "burst"),
    [
        (lambda _: "sam", lambda _: "a", PAIR.burst),
        (lambda _: "sam", lambda n: f"a{n}", ACCOUNT.burst),
        (lambda n: f"sam{n}", lambda _: "a", ADDRESS.burst),
    ],
)
def test_a31_burst_then_one_at_a_time(account: Callable[[int], str], address: Callable[[int], str], burst: int) -> None:
    clock = Clock()
    throttle = Throttle(clock)
    assert [fails(throttle, account(n), address(n)) for n in range(burst + 5)] == [True] * burst + [False] * 5
    allowance = next(each for each in (PAIR, ACCOUNT, ADDRESS) if each.burst == burst)
    clock.now += allowance.seconds * 1.01
    assert [fails(throttle, account(n), address(n)) for n in range(2)] == [True, False]
    clock.now += 10_000
    assert throttle.wait(account(0), address(0)) == 0


def test_a31_the_table_is_bounded() -> None:
    throttle = Throttle(Clock(), largest=100)
    for number in range(5000):
        throttle.failed(f"a{number}", f"b{number}")
        throttle.succeeded(f"c{number}", f"d{number}")
    assert len(throttle) <= 200
