"""Notices: what a service of the hub lets a learner's server show at the top of JupyterLab and Notebook.

A service POSTs one `Notice.encode()` as JSON to `<server>/courseware/notices` with its own token. A notice with the
id of an earlier one takes its place; one whose `seconds` are 0 only takes it away.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

MAX_BODY: Final = 64 * 1024
MAX_TEXT: Final = 600
MAX_SECONDS: Final = 24 * 3600
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})?")
_KEYS: Final = frozenset({"id", "text", "seconds", "level", "save"})


class Level(StrEnum):
    """How a notice looks."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Notice:
    """One notice.

    `text` is one text for each language (`en`, `ja`, `fr`, ...), at most 600 characters each. `seconds` is how long it
    is shown and what the banner counts down; None: as long as the server keeps it, without a countdown. With `save`,
    every open document is saved at once where the notice arrives.
    """

    id: str
    text: Mapping[str, str]
    seconds: int | None = None
    level: Level = Level.INFO
    save: bool = False

    def encode(self) -> dict[str, Any]:
        """The notice as JSON has it."""
        return {
            "id": self.id,
            "text": dict(self.text),
            "seconds": self.seconds,
            "level": str(self.level),
            "save": self.save,
        }

    @classmethod
    def decode(cls, message: object) -> Notice:
        """The notice in a decoded JSON value; ValueError with a sentence when it is none."""
        if not isinstance(message, dict):
            raise ValueError("a notice is one JSON object")
        unknown = sorted(set(message) - _KEYS)
        if unknown:
            raise ValueError(f"a notice has no `{unknown[0]}`; it has {', '.join(sorted(_KEYS))}")
        return cls(
            id=_id(message.get("id")),
            text=_text(message.get("text")),
            seconds=_seconds(message.get("seconds")),
            level=_level(message.get("level", Level.INFO)),
            save=_save(message.get("save", False)),
        )


def _id(value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError(
            "`id` is 1 to 64 letters, digits, dots, dashes and underscores, and begins with neither of these"
        )
    return value


def _text(value: object) -> dict[str, str]:
    texts = {"en": value} if isinstance(value, str) else value
    if not isinstance(texts, dict) or not 1 <= len(texts) <= 20:
        raise ValueError("`text` is one text, or one for each language")
    for language, text in texts.items():
        if not isinstance(language, str) or not _LANGUAGE.fullmatch(language):
            raise ValueError("a language in `text` is a code such as `en` or `pt-BR`")
        if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT:
            raise ValueError(f"`text` in `{language}` is 1 to {MAX_TEXT} characters")
    return texts


def _seconds(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SECONDS:
        raise ValueError(f"`seconds` is a whole number from 0 to {MAX_SECONDS}")
    return value


def _level(value: object) -> Level:
    try:
        return Level(str(value))
    except ValueError:
        raise ValueError(f"`level` is one of {', '.join(Level)}") from None


def _save(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("`save` is true or false")
    return value
