"""What a password must be: long and not among the first guesses, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coursewareauthenticator.accounts import rules
from coursewareauthenticator.accounts.rules import COMMON, LIKE_NAME, NOT_PRINTABLE, TOO_LONG, TOO_SHORT, normalise

ABOUT = ["sam", "sam.smith@example.org", "Sam Smith", "Statistics for biologists"]


def refused(password: str) -> str | None:
    found = rules.problem(normalise(password), ABOUT)
    return None if found is None else found.template


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("", TOO_SHORT),
        ("nine char", TOO_SHORT),
        ("Ab1!Ab1!", TOO_SHORT),
        ("x" * 257, TOO_LONG),
        ("three green\nherons", NOT_PRINTABLE),
        ("three green\0herons", NOT_PRINTABLE),
        ("aaaaaaaaaaaa", COMMON),
        ("abababababab", COMMON),
        ("abcabcabcabcabc", COMMON),
        ("1234567890", COMMON),
        ("0987654321", COMMON),
        ("abcdefghijkl", COMMON),
        ("QWERTYUIOP", COMMON),
        ("Password123!", COMMON),
        ("P@ssw0rd2026", COMMON),
        ("passwordpassword", COMMON),
        ("iloveyou2026", COMMON),
        ("correcthorsebatterystaple", COMMON),
        ("パスワード1234567", COMMON),
        ("ｐａｓｓｗｏｒｄ１２３４", COMMON),
        ("sam2026sam!", LIKE_NAME),
        ("Sam Smith 2026", LIKE_NAME),
        ("sam.smith1234", LIKE_NAME),
        ("Statistics for Biologists", LIKE_NAME),
    ],
)
def test_refused(password: str, why: str) -> None:
    assert refused(password) == why


@pytest.mark.parametrize(
    "password",
    [
        "three green herons",
        "      spaces count      ",
        "samovar under the willow",
        "青い鳥が三羽います。今日も",
        "correct zebra battery staple",
        "x7Kp-29vQ-m3Rt",
        "0000 aaaa bbbb cccc dddd",
        "🐟🐠🐡🦈🐙🦑🦐🦞🦀🐚",
        "w" * 3 + "kumquat-marmalade" + "y" * 230,
    ],
)
def test_accepted(password: str) -> None:
    assert refused(password) is None


def test_the_same_password_from_every_keyboard() -> None:
    assert normalise("cafe\u0301 ｗｏｒｌｄ") == normalise("café world")
    assert normalise("Cafe") != normalise("cafe")


@given(st.text(max_size=300))
def test_every_text_has_an_answer_and_one_spelling(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    found = rules.problem(once, ABOUT)
    assert found is None or "%(" not in str(found)


def test_the_list_is_in_lower_case() -> None:
    assert all(word == word.casefold() and word.strip() == word and word for word in rules.common())
