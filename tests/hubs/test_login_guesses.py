"""Guessing passwords on a running site: throttled behind the front door, and others still get in (A31)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.providers import sentence
from support.sites import RunningSite
from support.students import Student

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]


def test_a31_guesses_are_throttled_whatever_address_is_claimed(make_site: MakeSite) -> None:
    site = make_site()
    site.start()
    guesser = Student(site, "alpha", "sam")
    answers = [guesser.login(f"guess {number}") for number in range(8)]
    assert [answer.status_code for answer in answers] == [403] * 6 + [429] * 2
    assert len({sentence(answer) for answer in answers[:6]}) == 1
    assert sentence(answers[-1]) == "Too many attempts. Wait a minute, then try again."
    for header in ("X-Forwarded-For", "X-Real-Ip", "Forwarded"):
        guesser.session.headers[header] = "for=192.0.2.1" if header == "Forwarded" else "192.0.2.1"
        assert guesser.login("another").status_code == 429, header
    assert Student(site, "alpha", "kim").login().status_code == 200
