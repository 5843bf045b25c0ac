"""Sentences that remember what they were made of, so that a page can say them in the reader's language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from coursewarehub.model.problems import visible


@dataclass(frozen=True)
class Sentence:
    """A template in English with `%(name)s` in it, and the values."""

    template: str
    values: Mapping[str, str | int] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.translated(str)

    def __hash__(self) -> int:
        return hash((self.template, *sorted(self.values.items(), key=str)))

    def translated(self, gettext: Callable[[str], str]) -> str:
        """The sentence in the language of `gettext`; what does not print in a value is written as escapes."""
        shown = {key: visible(value) if isinstance(value, str) else value for key, value in self.values.items()}
        return gettext(self.template) % shown


def say(template: str, **values: str | int) -> Sentence:
    """A sentence; a value is shortened to 64 characters."""
    return Sentence(template, {key: _short(value) for key, value in values.items()})


def _short(value: str | int) -> str | int:
    return f"{value[:63]}…" if isinstance(value, str) and len(value) > 64 else value
