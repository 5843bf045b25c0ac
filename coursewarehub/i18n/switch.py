"""The links by which a visitor changes the language, and the way back to the page they were on.

A link leads to the portal with `?lang=ja`, and `&next=PATH` from any other page. The portal stores the
language in `LANGUAGE_COOKIE` and redirects to `return_path(next)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from coursewarehub.i18n.languages import LANGUAGES, NAMES

_MAX_PATH: Final = 2000


@dataclass(frozen=True)
class LanguageLink:
    """One language of the switch: its tag, its own name, where the link leads, whether it is in use."""

    code: str
    name: str
    url: str
    current: bool


def language_links(current: str, portal_url: str = "", back: str = "") -> tuple[LanguageLink, ...]:
    """The switch for a page in language `current`; `back` is the path to come back to, none on the portal."""

    def url(code: str) -> str:
        query = {"lang": code, "next": back} if back else {"lang": code}
        return f"{portal_url}?{urlencode(query)}"

    return tuple(LanguageLink(code, NAMES[code], url(code), code == current) for code in LANGUAGES)


def return_path(value: str | None, default: str = "/") -> str:
    """`value` when it is surely a path of this site, else `default`: no link leads to another host."""
    if not value or len(value) > _MAX_PATH or not value.startswith("/"):
        return default
    if "\\" in value or not value.isascii() or not value.isprintable() or " " in value:
        return default
    path = value.split("?", 1)[0].split("#", 1)[0]
    return default if "//" in path else value
