"""Notices: what one may say, how long it is shown, and in which languages the server speaks by itself."""

from __future__ import annotations

import json
import string
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from coursewarehub.i18n.languages import LANGUAGE_COOKIE, LANGUAGES
from coursewarehub.singleuser.main import LABEXTENSIONS, configuration
from coursewarehub.singleuser.notices import LIFETIME, MOST, Board, is_service
from coursewarehub.wire import messages
from coursewarehub.wire.notices import MAX_SECONDS, Level, Notice

TEXT = {"en": "Hello", "ja": "こんにちは"}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def ids(board: Board) -> list[str]:
    return [notice["id"] for notice in board.shown()]


# -- the message ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "notice"),
    [
        ({"id": "a", "text": "Hello"}, Notice("a", {"en": "Hello"})),
        (
            {"id": "a.b-c_1", "text": TEXT, "seconds": 90, "level": "error", "save": True},
            Notice("a.b-c_1", TEXT, 90, Level.ERROR, True),
        ),
        ({"id": "a", "text": {"pt-BR": "Oi"}, "seconds": 0}, Notice("a", {"pt-BR": "Oi"}, 0)),
        ({"id": "a", "text": "x" * 600, "seconds": None}, Notice("a", {"en": "x" * 600})),
    ],
)
def test_what_a_service_may_say(message: Any, notice: Notice) -> None:
    assert Notice.decode(message) == notice
    assert Notice.decode(json.loads(json.dumps(notice.encode()))) == notice


@pytest.mark.parametrize(
    ("message", "part"),
    [
        (None, "one JSON object"),
        ("text", "one JSON object"),
        ([{"id": "a", "text": "b"}], "one JSON object"),
        ({"text": "b"}, "`id` is"),
        ({"id": "", "text": "b"}, "`id` is"),
        ({"id": "x" * 65, "text": "b"}, "`id` is"),
        ({"id": "-a", "text": "b"}, "`id` is"),
        ({"id": "a\n", "text": "b"}, "`id` is"),
        ({"id": "<b>", "text": "b"}, "`id` is"),
        ({"id": 1, "text": "b"}, "`id` is"),
        ({"id": "a"}, "`text` is"),
        ({"id": "a", "text": {}}, "`text` is"),
        ({"id": "a", "text": ["b"]}, "`text` is"),
        ({"id": "a", "text": {f"x{c}": "b" for c in string.ascii_lowercase}}, "`text` is"),
        ({"id": "a", "text": {"english": "b"}}, "a language in `text`"),
        ({"id": "a", "text": " "}, "`text` in `en`"),
        ({"id": "a", "text": "x" * 601}, "`text` in `en`"),
        ({"id": "a", "text": {"en": "b", "fr": 1}}, "`text` in `fr`"),
        ({"id": "a", "text": "b", "seconds": -1}, "`seconds` is"),
        ({"id": "a", "text": "b", "seconds": 1.5}, "`seconds` is"),
        ({"id": "a", "text": "b", "seconds": True}, "`seconds` is"),
        ({"id": "a", "text": "b", "seconds": "60"}, "`seconds` is"),
        ({"id": "a", "text": "b", "seconds": MAX_SECONDS + 1}, "`seconds` is"),
        ({"id": "a", "text": "b", "level": "loud"}, "`level` is one of info, warning, error"),
        ({"id": "a", "text": "b", "level": None}, "`level` is"),
        ({"id": "a", "text": "b", "save": 1}, "`save` is"),
        ({"id": "a", "text": "b", "secnods": 1}, "no `secnods`"),
    ],
)
def test_what_is_no_notice(message: Any, part: str) -> None:
    with pytest.raises(ValueError, match=r"`|notice") as error:
        Notice.decode(message)
    assert part in str(error.value)


# -- the board --------------------------------------------------------------------------------------------------


def test_shown_until_the_time_is_over() -> None:
    clock = Clock()
    board = Board(clock)
    board.put(Notice("counted", TEXT, 60))
    board.put(Notice("plain", TEXT))
    board.put(Notice("short", TEXT), lifetime=30)
    board.put(Notice("forever", TEXT), lifetime=float("inf"))
    assert [(n["id"], n["seconds"]) for n in board.shown()] == [
        ("counted", 60),
        ("plain", None),
        ("short", None),
        ("forever", None),
    ]
    clock.now += 29.6
    assert board.shown()[0]["seconds"] == 30
    clock.now += 0.4
    assert ids(board) == ["counted", "plain", "forever"]
    clock.now += 30
    assert ids(board) == ["plain", "forever"]
    clock.now += LIFETIME
    assert ids(board) == ["forever"]
    board.remove("forever")
    board.remove("never there")
    assert ids(board) == []


def test_one_of_the_same_id_takes_the_place_and_is_told_apart() -> None:
    board = Board(Clock())
    board.put(Notice("a", {"en": "first"}))
    board.put(Notice("b", TEXT))
    before = {n["id"]: n["number"] for n in board.shown()}
    board.put(Notice("a", {"en": "second"}))
    assert [(n["id"], n["text"]["en"]) for n in board.shown()] == [("b", "Hello"), ("a", "second")]
    assert {n["id"]: n["number"] > before[n["id"]] for n in board.shown()} == {"a": True, "b": False}
    board.put(Notice("a", TEXT, 0))
    assert ids(board) == ["b"]


def test_never_more_than_twenty_and_the_oldest_goes() -> None:
    board = Board(Clock())
    for number in range(MOST + 5):
        board.put(Notice(f"n{number}", TEXT))
    assert ids(board) == [f"n{number}" for number in range(5, MOST + 5)]


def test_numbers_of_a_restarted_server_are_new() -> None:
    """A browser remembers the numbers that were closed, also when the server is started again."""
    first, second = Board(), Board()
    first.put(Notice("a", TEXT))
    for _ in zip(range(3), count(), strict=False):
        second.put(Notice("a", TEXT))
    assert second.shown()[0]["number"] >= first.shown()[0]["number"]


@pytest.mark.parametrize(
    ("model", "allowed"),
    [
        ({"kind": "service", "name": "site"}, True),
        ({"kind": "user", "name": "site"}, False),
        ({"kind": "user", "name": "ada", "admin": True}, False),
        ({"name": "service"}, False),
        ({"kind": ["service"]}, False),
        ("service", False),
        (None, False),
    ],
)
def test_who_is_a_service(model: Any, allowed: bool) -> None:
    user = type("User", (), {"hub_user": model})()
    assert is_service(user) is allowed
    assert not is_service(None)


# -- what the server says by itself -----------------------------------------------------------------------------

SENTENCES = {name: value for name, value in vars(messages).items() if name.isupper() and isinstance(value, dict)}


def test_there_are_sentences() -> None:
    assert {"PAUSED", "KERNEL_OUT_OF_MEMORY", "PROGRAM_OUT_OF_MEMORY", "READ_ONLY", "NOT_YOURS"} <= set(SENTENCES)


@pytest.mark.parametrize("name", SENTENCES)
def test_every_sentence_in_every_language_with_the_same_blanks(name: str) -> None:
    sentence = SENTENCES[name]
    assert set(sentence) == set(LANGUAGES)
    blanks = {lang: {b for _, b, _, _ in string.Formatter().parse(text) if b} for lang, text in sentence.items()}
    assert len({frozenset(b) for b in blanks.values()}) == 1
    assert all(text[-1] in ".。" and "  " not in text for text in sentence.values())
    assert Notice.decode({"id": "a", "text": sentence})


def test_the_cookie_is_the_one_of_the_pages() -> None:
    assert messages.LANGUAGE_COOKIE == LANGUAGE_COOKIE


@pytest.mark.parametrize(
    ("size", "en", "fr"),
    [
        (2 << 30, "2.0 GB", "2,0 Go"),
        (1536 << 20, "1.5 GB", "1,5 Go"),
        (512 << 20, "512 MB", "512 Mo"),
        (0, "0 B", "0 o"),
        (3 << 40, "3.0 TB", "3,0 To"),
    ],
)
def test_amounts_of_memory(size: int, en: str, fr: str) -> None:
    assert messages.memory_size(size) == {"en": en, "ja": en, "fr": fr}


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("ja", "ja"),
        ("fr-CA,fr;q=0.9,en;q=0.5", "fr"),
        ("de-DE,de;q=0.9,ja;q=0.5", "ja"),
        ("de", "en"),
        (";;,-,", "en"),
    ],
)
def test_the_language_of_a_request(header: str, language: str) -> None:
    assert messages.choose(messages.PAUSED, header) == messages.PAUSED[language]
    assert messages.choose({"ja": "これだけ"}, "fr") == "これだけ"


# -- the extension ----------------------------------------------------------------------------------------------


def test_the_extension_is_found_and_needs_no_build() -> None:
    assert configuration({}).LabServerApp.extra_labextensions_path == [str(LABEXTENSIONS)]
    (package,) = LABEXTENSIONS.glob("*/package.json")
    described = json.loads(package.read_text())
    assert described["name"] == package.parent.name, "JupyterLab asks for the files below the name"
    build = described["jupyterlab"]["_build"]
    script = (package.parent / build["load"]).read_text()
    assert build["extension"] in script and f'"{described["name"]}"' in script
    assert Path(package.parent / build["load"]).stat().st_size < 20_000
