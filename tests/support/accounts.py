"""Accounts of a course: what a store must do wherever it keeps them, a mail server, and people who open links."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from html import unescape
from typing import Any

import requests
from aiosmtpd.controller import Controller
from sqlalchemy.exc import IntegrityError

from coursewareauthenticator.accounts.people import Account, Person, State
from coursewareauthenticator.accounts.store import MAIL_PAUSE, AccountBook, NoSuchAccount, Write
from coursewarehub.model.roles import Role
from support.sites import RunningSite, free_port
from support.students import PAGE, Student

GOOD_PASSWORD = "three green herons"
ANOTHER_PASSWORD = "seven quiet otters"


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


Check = Callable[[AccountBook, Clock], None]
check_store: dict[str, Check] = {}
"""What holds for a store, by name."""


def holds(check: Check) -> Check:
    check_store[check.__name__] = check
    return check


def refused(do: Callable[[], Any]) -> bool:
    try:
        do()
    except NoSuchAccount:
        return True
    return False


@holds
def a_person_is_kept_as_described(book: AccountBook, clock: Clock) -> None:
    person = Person("学生1", "山田 太郎 🐟", "s1@example.org", Role.ASSISTANT, ("A 班", "x|y"))
    book.add(person, 60)
    assert book.people() == [Account(person, State.INVITED, int(clock.now), int(clock.now) + 60)]
    assert book.by_address("S1@EXAMPLE.ORG") == [book.find("学生1")]
    assert refused(lambda: book.add(person, 60))


@holds
def a_link_works_once_and_in_time(book: AccountBook, clock: Clock) -> None:
    made = book.add(Person("sam"), 60)
    assert book.of_link(made.token) == book.find("sam")
    assert book.of_link("") is None and book.of_link(made.token + "x") is None
    clock.now += 60
    assert book.of_link(made.token) is None and book.set_password(made.token, "hash") is None
    again = book.link("sam", 60, {State.INVITED})
    done = book.set_password(again.token, "hash")
    assert done is not None and done.state is State.ACTIVE and done.link_ends is None
    assert book.set_password(again.token, "other") is None
    assert book.credentials("sam") == (book.find("sam"), "hash")


@holds
def a_newer_link_ends_an_older(book: AccountBook, clock: Clock) -> None:
    first = book.add(Person("sam", mail="a@example.org"), 3600)
    mailed = book.mailed_link("sam", 3600)
    assert mailed is not None and book.of_link(first.token) and book.of_link(mailed.token)
    second = book.link("sam", 3600, {State.INVITED})
    assert [book.of_link(made.token) is not None for made in (first, mailed, second)] == [False, False, True]


@holds
def strangers_make_no_link_worthless(book: AccountBook, clock: Clock) -> None:
    invitation = book.add(Person("sam", mail="a@example.org"), 86400)
    first = book.mailed_link("sam", 3600)
    clock.now += MAIL_PAUSE - 1
    assert first is not None and book.mailed_link("sam", 3600) is None
    assert book.of_link(first.token) and book.of_link(invitation.token)
    clock.now += 1
    second = book.mailed_link("sam", 3600)
    assert second is not None and book.of_link(first.token) is None and book.of_link(invitation.token)


@holds
def only_those_with_an_address_get_mail(book: AccountBook, clock: Clock) -> None:
    book.add(Person("sam"), 60)
    book.add(Person("eve", mail="e@example.org"), 60)
    book.disable("eve")
    assert [book.mailed_link(name, 60) for name in ("sam", "eve", "nobody")] == [None, None, None]


@holds
def two_tabs_set_one_password(book: AccountBook, clock: Clock) -> None:
    made = book.add(Person("sam"), 60)
    start = threading.Barrier(6)

    def use(number: int) -> bool:
        start.wait(10)
        return book.set_password(made.token, f"hash-{number}") is not None

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(use, range(6)))
    assert sum(done) == 1
    kept = book.credentials("sam")
    assert kept is not None and kept[1] == f"hash-{done.index(True)}"


@holds
def disabling_and_removing_end_everything(book: AccountBook, clock: Clock) -> None:
    made = book.add(Person("sam", role=Role.ASSISTANT), 60)
    book.set_password(made.token, "hash")
    book.ended(["sam"])
    assert book.standing() == ({"sam": (Role.ASSISTANT, ())}, frozenset())
    reset = book.link("sam", 60, {State.ACTIVE})
    book.disable("sam")
    assert book.standing() == ({}, frozenset({"sam"}))
    assert book.of_link(reset.token) is None and book.set_password(reset.token, "x") is None
    assert refused(lambda: book.link("sam", 60, {State.ACTIVE}))
    again = book.link("sam", 60, {State.DISABLED})
    assert book.credentials("sam") == (book.find("sam"), None) and book.of_link(again.token)
    book.remove("sam")
    assert book.people() == [] and book.of_link(again.token) is None
    assert all(refused(step) for step in (lambda: book.remove("sam"), lambda: book.disable("sam")))


@holds
def a_name_that_comes_again_inherits_nothing(book: AccountBook, clock: Clock) -> None:
    book.add(Person("sam"), 60)
    book.ended(["sam"])
    book.remove("sam")
    book.add(Person("sam"), 60)
    assert book.standing() == ({}, frozenset({"sam"}))


@holds
def an_import_is_whole_or_not_at_all(book: AccountBook, clock: Clock) -> None:
    book.add(Person("sam"), 60)

    def wrong(people: list[Account]) -> tuple[Write | None, str]:
        assert [account.name for account in people] == ["sam"]
        return Write([Person("kim"), Person("kim")], [Person("sam", "Sam")]), ""

    try:
        book.write(wrong, 60)
    except IntegrityError as error:
        assert "hidden" in str(error), "no digest in a log"
    else:
        raise AssertionError("the same name twice")
    assert book.write(lambda people: (None, len(people)), 60) == ([], 1)
    assert [account.person for account in book.people()] == [Person("sam")]
    links, _ = book.write(lambda _: (Write([Person("kim")], [Person("sam", "Sam")]), None), 60)
    assert [account.person for account in book.people()] == [Person("kim"), Person("sam", "Sam")]
    assert [made.name for made in links] == ["kim"] and book.of_link(links[0].token)


@holds
def imports_side_by_side_do_not_undo_each_other(book: AccountBook, clock: Clock) -> None:
    start = threading.Barrier(5)

    def bring(number: int) -> int:
        def plan(people: list[Account]) -> tuple[Write | None, None]:
            taken = {account.name for account in people}
            return Write([Person(name) for name in (f"own{number}", "shared") if name not in taken]), None

        start.wait(10)
        return len(book.write(plan, 60)[0])

    with ThreadPoolExecutor(5) as pool:
        assert sum(pool.map(bring, range(5))) == 6
    assert len(book.people()) == 6


@holds
def a_better_hash_never_brings_an_old_password_back(book: AccountBook, clock: Clock) -> None:
    made = book.add(Person("sam"), 60)
    book.set_password(made.token, "old")
    book.replace_hash("sam", "older", "wrong")
    book.replace_hash("sam", "old", "new")
    book.logged_in("sam")
    found = book.credentials("sam")
    assert found is not None and found[1] == "new" and found[0].last_login == int(clock.now)


@holds
def several_open_it_at_once(book: AccountBook, clock: Clock) -> None:
    books = [AccountBook(book._url, clock) for _ in range(4)]
    start = threading.Barrier(4)

    def look(one: AccountBook) -> list[Account]:
        start.wait(10)
        try:
            return one.people()
        finally:
            one.close()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(look, books)) == [[]] * 4


class Mailbox:
    """A mail server that keeps what it is given."""

    def __init__(self) -> None:
        self.mails: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        from email import message_from_bytes, policy

        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 kept"


@contextmanager
def mail_server(**settings: Any) -> Iterator[tuple[Mailbox, int]]:
    """A running mail server on a loopback port."""
    box, port = Mailbox(), free_port()
    controller = Controller(box, hostname="127.0.0.1", port=port, **settings)
    controller.start()
    try:
        yield box, port
    finally:
        controller.stop()


def link_in(text: str) -> str:
    """The first link to a password in a text."""
    found = re.search(r"https?://[^\s\"'<>]+/hub/password\?token=[\w-]+", unescape(text))
    assert found, text[:2000]
    return found[0]


class Invited(Student):
    """Somebody with an account of the course's own."""

    def __init__(self, site: RunningSite, course: str, name: str, password: str = GOOD_PASSWORD) -> None:
        super().__init__(site, course, name)
        self.password = password

    def form(self, path: str, data: dict[str, Any], **options: Any) -> requests.Response:
        """Send a form of the hub as its page would."""
        url = f"{self.base}hub/{path}"
        fields = {"_xsrf": self.cookie("_xsrf", url), **data}
        return self.session.post(url, data=fields, timeout=60, **options)

    def open(self, link: str) -> requests.Response:
        return self.session.get(link, timeout=60, headers=PAGE | {"Sec-Fetch-Site": "cross-site"})

    def choose(self, link: str, password: str | None = None, again: str | None = None) -> requests.Response:
        """Open a link and send the form."""
        self.open(link)
        password = self.password if password is None else password
        return self.form("password", {"password": password, "again": password if again is None else again})

    def login(self, password: str | None = None, follow: bool = True) -> requests.Response:
        return super().login(self.password if password is None else password, follow)

    def token_api(self, token: str, path: str = "user") -> int:
        headers = {"Authorization": f"token {token}"}
        return requests.get(f"{self.base}hub/api/{path}", headers=headers, timeout=10).status_code
