"""YAML read strictly: plain data, and the line each key and list item stands on.

YAML 1.2 core scalars only (`true` and `false` are the booleans; `yes`, `010`, `1:30` and dates stay
text). Refused with one sentence: duplicate keys, tags, merge keys, several documents, tabs as
indentation, deep nesting, alias expansion without bound, anything that is not a mapping.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml import events as ev
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from coursewarehub.model.problems import ConfigurationError, Problem, quoted
from coursewarehub.model.regular_file import read_regular

KeyPath = tuple[str | int, ...]
LARGEST_FILE = 1024 * 1024  # bytes
DEEPEST = 12  # levels of nesting
MOST_VALUES = 50_000
MOST_ALIASED = 10_000  # values that aliases may stand for, in all

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]{0,17})(\.[0-9]*)?)([eE][-+]?[0-9]{1,2})?")
_CONSTANTS = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True)
class Scalar:
    """A scalar as written: its text, and where it stands in `Source.text` (characters)."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Source:
    """One configuration file: its data and where each part of it was written."""

    file: str
    text: str
    data: dict[str, Any]
    lines: Mapping[KeyPath, int]
    scalars: Mapping[KeyPath, Scalar]

    def line(self, path: KeyPath) -> int:
        """Return the line (from 1) of the key or item at `path`, or of what contains it."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]

    def problem(self, path: KeyPath, message: str, hint: str | None = None) -> Problem:
        """Return a problem at the line of `path`."""
        return Problem(self.file, self.line(path), message, hint)


def read_source(file: Path, label: str) -> Source:
    """Read a YAML file; `label` is what messages call it. Raises ConfigurationError."""
    return parse(_decode(_read(file, label), label), label)


def parse(text: str, label: str) -> Source:
    """Parse the text of a YAML file. Raises ConfigurationError with one problem."""
    return _Builder(text, label).source()


def _read(file: Path, label: str) -> bytes:
    try:
        content, _ = read_regular(file, LARGEST_FILE + 1)
    except OSError as error:
        _fail(label, 1, f"cannot be read: {error.strerror}")
    if len(content) > LARGEST_FILE:
        _fail(label, 1, "is larger than 1 MiB, too large for a configuration file")
    return content


def _decode(content: bytes, label: str) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        _fail(label, 1, "is UTF-16; save it as UTF-8")
    if content.startswith(codecs.BOM_UTF8):
        _fail(label, 1, "starts with a byte order mark; save it as UTF-8 without one")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        _fail(label, line, "is not UTF-8 text; save it as UTF-8")


def _fail(label: str, line: int, message: str, hint: str | None = None) -> NoReturn:
    raise ConfigurationError([Problem(label, line, message, hint)]) from None


class _Builder:
    """Turns the parser's events into data, so that every limit holds before memory is spent."""

    def __init__(self, text: str, label: str) -> None:
        self.text = text
        self.label = label
        self.lines: dict[KeyPath, int] = {}
        self.scalars: dict[KeyPath, Scalar] = {}
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.aliased = 0
        self.events = self._events()

    def source(self) -> Source:
        next(self.events)  # start of the stream
        if not isinstance(next(self.events), ev.DocumentStartEvent):
            self.fail(1, "is empty")
        event = next(self.events)
        if not isinstance(event, ev.MappingStartEvent):
            empty = isinstance(event, ev.ScalarEvent) and event.value == ""
            self.fail(1 if empty else _line(event), "is empty" if empty else _NOT_A_MAPPING)
        data, _ = self.value(event, ())
        next(self.events)  # end of the document
        event = next(self.events)
        if isinstance(event, ev.DocumentStartEvent):
            self.fail(_line(event), "holds a second document; keep one and remove the `---` line")
        return Source(self.label, self.text, data, self.lines, self.scalars)

    def value(self, event: ev.Event, path: KeyPath) -> tuple[Any, int]:
        """Return the data that starts with `event`, and how many values it holds."""
        self.lines.setdefault(path, _line(event))
        if isinstance(event, ev.AliasEvent):
            return self.alias(event)
        if len(path) > DEEPEST:
            self.fail(_line(event), f"is nested more than {DEEPEST} levels deep")
        if getattr(event, "ctag", None) is not None:
            self.fail(_line(event), "uses a YAML tag (`!...`), which is not supported", _QUOTE)
        if isinstance(event, ev.ScalarEvent):
            result: tuple[Any, int] = self.scalar(event, path), 1
        elif isinstance(event, ev.SequenceStartEvent):
            result = self.sequence(path)
        else:
            result = self.mapping(path)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self.anchors[anchor] = result
        return result

    def scalar(self, event: ev.ScalarEvent, path: KeyPath) -> Any:
        if any("\ud800" <= char <= "\udfff" for char in event.value):
            self.fail(_line(event), "holds half of a surrogate pair, which is not a character")
        if len(self.scalars) >= MOST_VALUES:
            self.fail(_line(event), f"holds more than {MOST_VALUES} values")
        span = event.start_mark.index, event.end_mark.index
        self.scalars[path] = Scalar(event.value, *span)
        return event.value if event.style else plain_value(event.value)

    def sequence(self, path: KeyPath) -> tuple[list[Any], int]:
        items: list[Any] = []
        total = 1
        while not isinstance(event := next(self.events), ev.SequenceEndEvent):
            item, size = self.value(event, (*path, len(items)))
            items.append(item)
            total += size
        return items, total

    def mapping(self, path: KeyPath) -> tuple[dict[str, Any], int]:
        content: dict[str, Any] = {}
        total = 1
        while not isinstance(event := next(self.events), ev.MappingEndEvent):
            key = self.key(event, path, content)
            content[key], size = self.value(next(self.events), (*path, key))
            total += size
        return content, total

    def key(self, event: ev.Event, path: KeyPath, content: dict[str, Any]) -> str:
        line = _line(event)
        if not isinstance(event, ev.ScalarEvent) or event.ctag is not None:
            self.fail(line, "has a key that is not plain text")
        key: str = event.value
        if key == "<<" and not event.style:
            self.fail(line, "uses a merge key (`<<`), which is not supported; write the keys out")
        if key in content:
            first = self.lines[(*path, key)]
            self.fail(line, f"has the key {quoted(key)} twice (first on line {first})")
        self.lines[(*path, key)] = line
        return key

    def alias(self, event: ev.AliasEvent) -> tuple[Any, int]:
        if event.anchor not in self.anchors:
            self.fail(
                _line(event),
                "has a value that starts with `*`, an alias that is not defined above",
                "put text that starts with `*` in quotes",
            )
        value, size = self.anchors[event.anchor]
        self.aliased += size
        if self.aliased > MOST_ALIASED:
            self.fail(_line(event), f"has aliases that stand for more than {MOST_ALIASED} values")
        return value, size

    def _events(self) -> Iterator[ev.Event]:
        try:
            yield from YAML(typ="safe", pure=True).parse(self.text)
        except ConfigurationError:
            raise
        except MarkedYAMLError as error:
            self.fail(*_syntax(error))
        except ReaderError as error:
            line = self.text.count("\n", 0, error.position) + 1
            self.fail(line, f"holds the character U+{_code(error):04X}, which YAML does not allow")
        except Exception:  # noqa: BLE001 - some broken input meets errors of other kinds in the parser
            self.fail(1, "is not valid YAML")

    def fail(self, line: int, message: str, hint: str | None = None) -> NoReturn:
        _fail(self.label, line, message, hint)


_NOT_A_MAPPING = "must be a mapping of keys to values, such as `title: ...`"
_QUOTE = "put text that starts with `!` in quotes"


def _line(event: ev.Event) -> int:
    line: int = event.start_mark.line
    return line + 1


def _code(error: ReaderError) -> int:
    character = error.character
    return character if isinstance(character, int) else ord(character)


def plain_value(text: str) -> Any:
    """Return the value of an unquoted scalar; numbers no schema can want stay text."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


# What the parser says, as a person would say it: (part of its message, sentence, hint).
_SYNTAX: tuple[tuple[str, str, str | None], ...] = (
    ("'\\t'", "has a tab where YAML allows only spaces", "indent with spaces"),
    (
        "mapping values are not allowed",
        "has a `:` where no key can be",
        "check the indentation, and put text that holds `: ` in quotes",
    ),
    (
        "could not find expected ':'",
        "has a line that is neither `key: value` nor part of a text",
        "a key is followed by `:` and a space",
    ),
    ("unexpected end of stream", "has a quote that is never closed", None),
    ("cannot start any token", "has a value that starts with a special character", "quote it"),
    ("unknown escape character", "has an unknown `\\` escape in double quotes", "use '...'"),
    ("but found '<stream end>'", "has a `[` or `{` that is never closed", None),
    ("expected ',' or", "has a `[` or `{` that is never closed, or lacks a comma", None),
    ("expected alphabetic or numeric", "has a value that starts with a special character", "quote it"),
    ("expected a comment or a line break", "has text behind a `|` or `>`", "begin it on the next line"),
    ("expected the node content", "has a `,`, `]` or `}` where a value should be", None),
    ("expected '<document start>'", "has a key that does not belong to the lines above it", None),
    ("expected <block end>", "has a line indented differently from its neighbours", None),
)


def _syntax(error: MarkedYAMLError) -> tuple[int, str, str | None]:
    said = error.problem or ""
    message, hint = "is not valid YAML here", None
    for part, sentence, advice in _SYNTAX:
        if part in said:
            message, hint = sentence, advice
            break
    opening = "never closed" in message or "neither" in message
    mark = (error.context_mark if opening else None) or error.problem_mark or error.context_mark
    return (mark.line + 1 if mark is not None else 1), message, hint
