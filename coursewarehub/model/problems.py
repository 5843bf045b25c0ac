"""What is wrong with a configuration, in words for the person who wrote it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing wrong, where it is and what to do about it.

    `file` is relative to the site folder when the file is inside it; `line` counts from 1.
    """

    file: str
    line: int | None
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        hint = f" ({self.hint})" if self.hint else ""
        return visible(f"{place}: {self.message}{hint}")


class ConfigurationError(Exception):
    """The configuration cannot be used; `problems` says why, ordered by file and line."""

    problems: tuple[Problem, ...]

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=_place))
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[ConfigurationError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


def visible(text: str) -> str:
    """Return `text` on one line, with characters that do not print written as escapes."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def quoted(text: str, limit: int = 48) -> str:
    """Return `text` between backquotes, on one line and no longer than `limit` characters."""
    shown = visible(text)
    return f"`{shown}`" if len(shown) <= limit else f"`{shown[: limit - 1]}…`"


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _place(problem: Problem) -> tuple[bool, str, int]:
    return problem.file != "site.yaml", problem.file, problem.line or 0
