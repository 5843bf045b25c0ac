"""Accounts: one for each person of each platform, and nobody's by choice."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.lti import FORM_11, KEY, LAUNCH_URL, NOW, SECRET, form, signed

from coursewareauthenticator.lti.identity import Account, account, user_name
from coursewareauthenticator.lti.launch import Former, Launch, LaunchRefused, Message, Once, Person
from coursewareauthenticator.lti.lti11 import Consumer, Request, verify
from coursewareauthenticator.lti.registrations import Registration
from coursewarehub.model.names import normalise_name, valid_name

MOODLE = "lti13:https://lms.example.org client-1"


def a_launch(subject: str | None = "2", registration: str = MOODLE, **more: Any) -> Launch:
    values: dict[str, Any] = {"message": Message.RESOURCE_LINK, "once": Once("", "", 0)} | more
    return Launch("1.3", registration=registration, subject=subject, **values)


# Listed as equal: none. The platform's id is what it is, to the last bit.
IDENTITIES = [
    "alice", "Alice", "ALICE", "alice ", " alice", "alice\u200b", "al\u200dice", "\u202ealice", "ali\u00adce",
    "é", "e\u0301", "É", "ﬁ", "fi", "Ａlice", "ａlice", "ß", "ss", "ẞ", "İ", "i\u0307", "ı", "i", "I", "K", "k",
    "\u212b", "\u00e5", "\u0391", "A", "А", "田中", "田中 ", "がか", "か\u3099か", "\U0001f600",
    "\U0001f468\u200d\U0001f469",
    ".", "..", "...", "%2e%2e", "%2E%2E", "/", "a/b", "a%2Fb", "\\", "-", "_", "~", "a-b", "a_b", "a b", "a  b",
    "'; DROP TABLE users; --", "<script>alert(1)</script>", "*)(uid=*))(|(uid=*", "admin", "root", "2", "02", "2.0",
    "alice@example.org", "Alice@example.org", "alice@EXAMPLE.org", "x" * 199, "x" * 200, "x" * 201,
]  # fmt: skip


def test_b04_sixty_identities_have_sixty_accounts() -> None:
    assert len(IDENTITIES) >= 60 and len(set(IDENTITIES)) == len(IDENTITIES)
    names = {subject: account(a_launch(subject)).name for subject in IDENTITIES}
    assert len(set(names.values())) == len(IDENTITIES)
    assert names == {subject: account(a_launch(subject)).name for subject in IDENTITIES}
    for subject, name in names.items():
        assert re.fullmatch(r"lti-[a-z2-7]{20}", name), subject
        assert valid_name(name) == normalise_name(name) == name
        assert subject not in name[4:] or len(subject) < 3


def folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower()


def test_b04_twins_are_twins_only_to_the_eye() -> None:
    twins = [
        pair
        for pair in combinations(IDENTITIES, 2)
        if len({unicodedata.normalize("NFKC", x).lower() for x in pair}) == 1
    ]
    assert len(twins) > 10
    for one, other in twins:
        assert user_name(MOODLE, one) != user_name(MOODLE, other)


@pytest.mark.parametrize("subject", ["", "x" * 256, "a\0b", "a\nb", "\x7f", "\x85"])
def test_b04_what_is_no_identity_is_refused_before(subject: str) -> None:
    body = signed(form(user_id=subject))
    with pytest.raises(LaunchRefused) as caught:
        verify(Request("POST", LAUNCH_URL, body=body), {KEY: Consumer(KEY, (SECRET,))}, NOW, 300)
    assert caught.value.field == "user_id"


@pytest.mark.parametrize("subject", IDENTITIES)
def test_b04_an_identity_arrives_untouched(subject: str) -> None:
    body = signed(form(user_id=subject))
    launch = verify(Request("POST", LAUNCH_URL, body=body), {KEY: Consumer(KEY, (SECRET,))}, NOW, 300)
    assert launch.subject == subject


@pytest.mark.parametrize("subject", ["a/b", "..", "`", "x" * 255, "Ünï", " "])
def test_l11_11_what_could_be_no_user_name_has_an_account(subject: str) -> None:
    assert valid_name(account(a_launch(subject)).name)


def test_b06_two_platforms_with_one_subject_and_mail() -> None:
    person = Person("Ada", email="ada@example.org")
    registrations = [
        Consumer("moodle", ("x",)).registration,
        Consumer("other", ("x",)).registration,
        Registration("https://a.example.org", "1", "https://a.example.org/a", "https://a.example.org/k").registration,
        Registration("https://a.example.org", "2", "https://a.example.org/a", "https://a.example.org/k").registration,
        Registration("https://b.example.org", "1", "https://b.example.org/a", "https://b.example.org/k").registration,
        Registration("moodle", "1", "https://b.example.org/a", "https://b.example.org/k").registration,
    ]
    found = [account(a_launch("2", registration, person=person)) for registration in registrations]
    assert len({one.name for one in found}) == len(registrations)
    assert {one.email for one in found} == {"ada@example.org"}


@given(*[st.text(max_size=12)] * 4)
def test_b04_different_pairs_never_share_a_name(one: str, two: str, three: str, four: str) -> None:
    pairs = {(one, two), (three, four), (one + two, ""), ("", one + two), (two, one)}
    assert len({user_name(*pair) for pair in pairs}) == len(pairs)


def test_l11_10_l13_17_nothing_but_registration_and_subject_counts() -> None:
    plain = account(a_launch()).name
    for changes in (
        {"person": Person("admin", "admin", "admin", "admin@example.org")},
        {"custom": {"uname": "admin", "canvas_user_id": "admin", "next": "/hub/admin"}},
        {"roles": ("Instructor",)},
        {"deployment": "9"},
    ):
        assert account(replace(a_launch(), **changes)).name == plain  # type: ignore[arg-type]
    body = signed(
        [*form(), ("custom_uname", "admin"), ("custom_canvas_user_id", "admin"), ("ext_user_username", "admin")]
    )
    launch = verify(Request("POST", LAUNCH_URL, body=body), {KEY: Consumer(KEY, (SECRET,))}, NOW, 300)
    assert account(launch) == Account(user_name("lti11:moodle", FORM_11["user_id"]), "Ada Lovelace", "ada@example.org")


def test_l13_17_a_changed_or_withheld_address_changes_no_account() -> None:
    names = {account(a_launch(person=Person(email=mail))).name for mail in ("a@example.org", "b@example.org", None)}
    assert len(names) == 1


def test_l13_14_a_guest_has_no_account() -> None:
    with pytest.raises(LaunchRefused, match="guest") as caught:
        account(a_launch(None))
    assert (caught.value.status, caught.value.field) == (403, "sub")


def test_l13_19_a_proved_account_of_lti_1_1_is_kept() -> None:
    before = account(a_launch("7", "lti11:old-key")).name
    assert account(a_launch("42", former=Former("lti11:old-key", "7"))).name == before
    assert account(a_launch("42")).name != before


def test_names_are_for_ever() -> None:
    """These names are in databases and on home folders: a change here would lose everybody's work."""
    assert user_name("lti11:moodle", "42") == "lti-pgunjmmfeqm7ayepfu5b"
    assert user_name(MOODLE, "田中") == "lti-3lmcw3krd2xzfuh6spmp"
