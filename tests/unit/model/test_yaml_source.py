"""The YAML reader: scalars of YAML 1.2, lines, aliases; and no input that breaks it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from coursewarehub.model import ConfigurationError, load_site, yaml_source
from coursewarehub.model.schema import example_course, example_site
from coursewarehub.model.yaml_source import parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("8000", 8000),
        ("-1", -1),
        ("+1", 1),
        ("0", 0),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        # what other readers of YAML take for something else
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("True", "True"),
        ("010", "010"),
        ("0x1F", "0x1F"),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2026-04-01", "2026-04-01"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1e999", "1e999"),
        ("'8000'", "8000"),
        ('"true"', "true"),
        ("''", ""),
        ("a b", "a b"),
        ("file:x", "file:x"),
    ],
)
def test_scalars(text: str, value: object) -> None:
    data = parse(f"key: {text}\n", "f").data
    assert data == {"key": value}
    assert type(data["key"]) is type(value)


def test_lines_of_keys_and_items() -> None:
    source = parse("# c\na: 1\nb:\n  c:\n    - x\n    -\n      y\nd: {e: [1,\n 2]}\n", "f")
    assert {path: source.line(path) for path in source.lines} == {
        (): 2,
        ("a",): 2,
        ("b",): 3,
        ("b", "c"): 4,
        ("b", "c", 0): 5,
        ("b", "c", 1): 7,
        ("d",): 8,
        ("d", "e"): 8,
        ("d", "e", 0): 8,
        ("d", "e", 1): 9,
    }
    assert source.line(("b", "nothing", "here")) == 3


def test_scalars_know_where_they_stand() -> None:
    text = "a: 'x y'  # comment\nstate: draft # 学生\nb: last"
    source = parse(text, "f")
    spans = {path[0]: text[s.start : s.end] for path, s in source.scalars.items()}
    assert spans == {"a": "'x y'", "state": "draft", "b": "last"}


def test_aliases_stand_for_their_values() -> None:
    source = parse("a: &x [1, 2]\nb:\n  c: *x\n", "f")
    assert source.data == {"a": [1, 2], "b": {"c": [1, 2]}}
    assert source.line(("b", "c", 1)) == 3


def test_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_source, "MOST_VALUES", 100)
    assert len(parse("a: [" + "1," * 100 + "]", "f").data["a"]) == 100
    with pytest.raises(ConfigurationError, match=r"^f:1: holds more than 100 values$"):
        parse("a: [" + "1," * 101 + "]", "f")


@pytest.mark.parametrize("seed", range(150))
def test_mutilated_files_give_sentences(tmp_path: Path, seed: int) -> None:
    """Whatever a file turns into, there is a site, or one-line problems with file and line."""
    chance = random.Random(seed)
    (tmp_path / "courses.d").mkdir()
    (tmp_path / "site.yaml").write_bytes(mutilated(example_site(), chance))
    (tmp_path / "courses.d/python-basics.yaml").write_bytes(mutilated(example_course(), chance))
    try:
        problems = load_site(tmp_path).problems
    except ConfigurationError as error:
        problems = error.problems
        assert problems
    for problem in problems:
        assert problem.line is not None
        assert str(problem).isprintable()
        assert len(str(problem)) < 500


PIECES = (
    b"\t", b"\n", b":", b" ", b"- ", b"[", b"}", b"*", b"&a ", b"!", b"'", b'"', b"%", b"\0", b"\xff",
    b"\xef\xbb\xbf", b"---\n", b"? ", b"|", b"> ", b"<<: ", b"\\", b"#", b",", b"null", b"1e9", b"{x: 1}",
    b"\r", "\u2028".encode(), "\u200b".encode(), b'"\\ud800"', b"9" * 5000, b"@", b"`",
)  # fmt: skip


def mutilated(text: str, chance: random.Random) -> bytes:
    content = bytearray(text.encode())
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(content))
        kind = chance.randrange(4)
        if kind == 0:
            content[place:place] = chance.choice(PIECES)
        elif kind == 1:
            del content[place : place + chance.randint(1, 30)]
        elif kind == 2:
            content[place : place + 1] = bytes([chance.randrange(256)])
        else:
            start = chance.randrange(len(content))
            content[place:place] = content[start : start + 40]
    return bytes(content)
