"""Case B05: names of objects are unique, short and plain for any user name."""

from __future__ import annotations

import random
import re
import sys
import unicodedata
from collections.abc import Iterator

import pytest

from coursewarehub.model.names import normalise_name, object_name, valid_name

PLAIN = re.compile(r"[a-z](-?[a-z0-9])*", re.ASCII)
KANA = "あいうえおかきくけこさしすせそたちつてとなにぬねの学生部講義"
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "aAbBéÉñÑüÜßſİıΣσς",
    KANA,
    "ガギグゲゴパピプペポ",
    "-_.@+ ~%!",
    "😀👩🏽‍🎓",
    "\u200b\u202e\u0301\u3099",
)


def generated_names(count: int) -> Iterator[str]:
    """Yield different names: random ones, each with its case, NFC, NFD, NFKC and space twins."""
    source = random.Random(20260401)
    seen: set[str] = set()
    while len(seen) < count:
        alphabet = source.choice(ALPHABETS) + source.choice(ALPHABETS)
        name = "".join(source.choices(alphabet, k=source.randint(1, 64)))
        twins = [name, name.upper(), name.lower(), name + " ", f"{name}-", f"-{name}"]
        twins += [unicodedata.normalize(form, name) for form in ("NFC", "NFD", "NFKC")]
        for twin in twins:
            if twin not in seen:
                seen.add(twin)
                yield twin


def special_names() -> list[str]:
    mails = [f"{'a' * 40}.{i:03}@mail.example.ac.jp"[:64] for i in range(500)]
    japanese = [KANA[i % 20] + KANA[:29] for i in range(20)]
    hostile = ["", ".", "..", "/", "../..", "\0", "%2e%2e", "' OR 1=1--", "<script>", "*)(uid=*", "\ud800"]
    return [*mails, *japanese, *hostile, "a" * 64, "a" * 10_000, "😀" * 64]


@pytest.mark.parametrize("prefix", ["python-basics", "hub-a-course-with-a-long-name-of-32-chars"])
def test_b05_names_are_unique_and_plain(prefix: str) -> None:
    names = list(dict.fromkeys([*generated_names(12_000), *special_names()]))
    made = [object_name(prefix, name) for name in names]
    assert len(names) > 12_000
    assert len(set(made)) == len(names)
    assert all(PLAIN.fullmatch(name) and len(name) <= 63 for name in made)


@pytest.mark.parametrize("limit", [22, 23, 24, 30, 40, 63, 128])
def test_b05_every_limit_is_kept(limit: int) -> None:
    names = [*special_names(), "alice", "1", "-"]
    for prefix in ("demo", "1demo", "", "-", "学部", "a" * 200, "9"):
        made = [object_name(prefix, name, limit) for name in names]
        assert len(set(made)) == len(set(names))
        assert all(PLAIN.fullmatch(name) and len(name) <= limit for name in made), made


def test_b05_a_limit_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 22"):
        object_name("demo", "alice", 21)


def test_b05_prefix_and_name_do_not_run_into_each_other() -> None:
    pairs = [("a-b", "c"), ("a", "b-c"), ("a", "b c"), ("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", "")]
    assert len({object_name(*pair) for pair in pairs}) == len(pairs)


def test_b05_names_are_readable_and_stay_the_same_for_ever() -> None:
    # Homes and containers are found by these names: changing the function loses people's work.
    assert object_name("demo", "alice@example.org") == "demo-alice-example-org-d2sgtdihytvkzaw3fwyg"
    assert object_name("demo", "学生") == "demo-qflxeokgkrqcfb24mvts"


def every_changing_character() -> Iterator[str]:
    """Yield every character that has a case, a decomposition or combines with others."""
    for char in map(chr, range(sys.maxunicode + 1)):
        if char.lower() != char or unicodedata.decomposition(char) or unicodedata.combining(char):
            yield char


def test_normalising_twice_changes_nothing_and_the_hub_agrees() -> None:
    for char in every_changing_character():
        for text in (char, f"a{char}\u0301"):
            normal = normalise_name(text)
            assert normalise_name(normal) == normal
            assert normal.lower() == normal


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        (" Alice ", "alice"),
        ("alice@example.org\n", "alice@example.org"),
        ("E\u0301va", "\u00e9va"),
        ("Mary Ann", "mary ann"),
        ("\u3000学生\u3000", "学生"),
        ("%2e%2e", "%2e%2e"),
        ("...", "..."),
        ("a" * 64, "a" * 64),
    ],
)
def test_valid_names(given: str, normal: str) -> None:
    assert valid_name(given) == normal


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("", "1 to 64 characters"),
        (" \t", "1 to 64 characters"),
        ("a" * 65, "1 to 64 characters"),
        (".", "`.` or `..`"),
        (" .. ", "`.` or `..`"),
        ("a/b", "must not contain `/`"),
        ("a\0b", "U+0000"),
        ("a\x7fb", "U+007F"),
        ("a\tb", "U+0009"),
        ("a\u00a0b", "U+00A0"),
        ("a\u3000b", "U+3000"),
        ("a\u200bb", "U+200B"),
        ("a\u200d", "U+200D"),
        ("\u202ealice", "U+202E"),
        ("alice\ufeff", "U+FEFF"),
        ("a\u00adb", "U+00AD"),
        ("a\ufe0f", "U+FE0F"),
        ("\u3164", "U+3164"),
        ("a\u2028b", "U+2028"),
        ("\ud800", "U+D800"),
        ("\ue000", "U+E000"),
    ],
)
def test_b04_names_that_are_refused(given: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        valid_name(given)
