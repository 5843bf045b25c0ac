"""What a page carries until its button is pressed: nobody can make one, and each is for one purpose in one course."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coursewareauthenticator.lti.launch import LaunchRefused
from coursewareauthenticator.lti.login import LIFETIME
from coursewareauthenticator.lti.tickets import CHOOSE, ENTER, seal, unseal

SECRET, NOW = b"a secret of the site's", 1_800_000_000.0


@given(st.lists(st.none() | st.booleans() | st.text(st.characters(exclude_categories=["Cs"]))))
def test_what_goes_in_comes_out(fields: list[object]) -> None:
    ticket = unseal(ENTER, "python", seal(ENTER, "python", fields, SECRET, NOW), SECRET, NOW + LIFETIME)
    assert list(ticket.fields) == fields and ticket.once.expires == NOW + LIFETIME


def test_two_tickets_are_never_the_same() -> None:
    assert len({unseal(ENTER, "a", seal(ENTER, "a", [], SECRET, NOW), SECRET, NOW).once for _ in range(50)}) == 50


@pytest.mark.parametrize(
    ("purpose", "course", "secret", "later", "telling"),
    [
        (CHOOSE, "python", SECRET, 0, "not of this course"),
        (ENTER, "knitting", SECRET, 0, "not of this course"),
        (ENTER, "python", b"another", 0, "not of this course"),
        (ENTER, "python", SECRET, LIFETIME + 1, "more than an hour"),
    ],
)
def test_a_ticket_is_for_one_purpose_course_and_hour(
    purpose: str, course: str, secret: bytes, later: int, telling: str
) -> None:
    ticket = seal(ENTER, "python", ["ada"], SECRET, NOW)
    with pytest.raises(LaunchRefused, match=telling) as caught:
        unseal(purpose, course, ticket, secret, NOW + later)
    assert caught.value.status == 401


@given(st.text(max_size=200))
def test_junk_is_refused(junk: str) -> None:
    good = seal(ENTER, "python", ["ada"], SECRET, NOW)
    for text in (junk, f"{junk}.{good.partition('.')[2]}", f"{good.partition('.')[0]}.{junk}"):
        with pytest.raises(LaunchRefused):
            unseal(ENTER, "python", text, SECRET, NOW)
