"""Translated strings."""

from __future__ import annotations

from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Final

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from coursewarehub.i18n.languages import LANGUAGES

DOMAIN: Final = "coursewarehub"
LOCALES: Final = Path(__file__).with_name("locales")


def N_(message: str) -> str:  # noqa: N802 - gettext's name, which extraction looks for
    """The same string, marked for translation; whoever shows it calls `gettext` on it."""
    return message


def catalogue_file(language: str) -> Path:
    """Where the translations into one language are kept."""
    return LOCALES / language / "LC_MESSAGES" / f"{DOMAIN}.po"


@cache
def translations(language: str) -> NullTranslations:
    """The catalogue of one of `LANGUAGES`, with `gettext(message)` and `ngettext(singular, plural, n)`.

    Raises ValueError for another language.
    """
    if language not in LANGUAGES:
        raise ValueError(f"no pages in language {language!r}; there are {', '.join(LANGUAGES)}")
    if language == LANGUAGES[0]:
        return NullTranslations()
    compiled = BytesIO()
    with catalogue_file(language).open("rb") as source:
        write_mo(compiled, read_po(source, locale=language))
    compiled.seek(0)
    return GNUTranslations(compiled)
