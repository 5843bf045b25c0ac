"""Which language a page is written in."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

LANGUAGES: Final = ("en", "ja", "fr")
"""Languages that every page exists in; the first is the language of the source."""

NAMES: Final = {"en": "English", "ja": "日本語", "fr": "Français"}
"""Each language's name for itself."""

LANGUAGE_COOKIE: Final = "courseware_lang"
"""Cookie, with path `/`, that keeps the language a visitor asked for."""

_MAX_HEADER: Final = 1000
_RANGE: Final = re.compile(r"\*|[a-z]{1,8}(?:-[a-z0-9]{1,8})*")
_WEIGHT: Final = re.compile(r"0?(?:\.[0-9]+)|0\.?|1(?:\.0*)?")


def choose(cookie: str | None, accept_language: str | None, *defaults: str) -> str:
    """The language of one request: the visitor's choice, else the browser's, else the first usable default.

    A default may be any BCP 47 tag, such as the language a course is taught in; its first subtag counts.
    """
    if cookie in LANGUAGES:
        return cookie
    return negotiate(accept_language or "", _first_usable(defaults))


@lru_cache(maxsize=512)
def negotiate(accept_language: str, default: str = "en") -> str:
    """The best of `LANGUAGES` for an `Accept-Language` header (RFC 9110, section 12.5.4; lookup of RFC 4647).

    Parts that are not well formed are left out, and so is what comes after the first thousand characters.
    Nothing acceptable, or no header, gives `default`, or English when that is none of ours.
    """
    default = _first_usable((default,))
    weights = _weights(accept_language[:_MAX_HEADER])
    anything = max((weight for tag, weight in weights if tag == "*"), default=0.0)
    named = [(_primary(tag), weight) for tag, weight in weights if tag != "*"]

    def weight_of(language: str) -> float:
        return max((weight for tag, weight in named if tag == language), default=anything)

    order = [tag for tag, weight in named if weight == weight_of(tag)]
    preference = [*order, default, *LANGUAGES]
    best = max(LANGUAGES, key=lambda tag: (weight_of(tag), -preference.index(tag)))
    return best if weight_of(best) > 0 else default


def _weights(header: str) -> list[tuple[str, float]]:
    """Well-formed (language range, weight) pairs of a header, in its order."""
    pairs = (_range_and_weight(part) for part in header.lower().replace("_", "-").split(","))
    return [pair for pair in pairs if pair is not None]


def _range_and_weight(part: str) -> tuple[str, float] | None:
    tag, *parameters = (piece.strip() for piece in part.split(";"))
    if not _RANGE.fullmatch(tag):
        return None
    for parameter in parameters:
        name, _, value = (piece.strip() for piece in parameter.partition("="))
        if name == "q":
            return (tag, float(value)) if _WEIGHT.fullmatch(value) else None
    return tag, 1.0


def _first_usable(tags: tuple[str, ...]) -> str:
    primaries = (_primary(tag.lower()) for tag in tags)
    return next((tag for tag in primaries if tag in LANGUAGES), LANGUAGES[0])


def _primary(tag: str) -> str:
    return tag.split("-", 1)[0]
