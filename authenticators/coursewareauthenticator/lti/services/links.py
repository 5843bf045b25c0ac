"""The `Link` header by which a platform says where its list goes on, read as platforms write it. Pure.

Reference: RFC 8288 §3. Seen besides: typographic quotation marks, as UTF-8 or read as Latin-1; `&amp;` in addresses;
relative addresses; several relations in one parameter, several links in one header, no quotation marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urljoin

_LINK: Final = re.compile(r"<([^<>]{1,8192})>([^<]{0,1024})")
_QUOTES: Final = "\"'\u201c\u201d\u2018\u2019\u201e"
_RELATION: Final = re.compile(rf"\brel\s*=\s*(?:[{_QUOTES}]([^{_QUOTES}]*)|([^\s;,{_QUOTES}]+))", re.IGNORECASE)
_MOST: Final = 64 * 1024
"""Characters of all headers together."""


def links(headers: Iterable[str], base: str) -> dict[str, str]:
    """Absolute addresses by their relation in lower case, the first of each; `base` is the address of the answer."""
    found: dict[str, str] = {}
    for header in headers:
        for address, parameters in _LINK.findall(_as_text(header[:_MOST])):
            target = _absolute(address, base)
            for relation in _relations(parameters):
                if target is not None:
                    found.setdefault(relation, target)
    return found


def _as_text(header: str) -> str:
    """HTTP libraries read headers as Latin-1, platforms write UTF-8."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


def _absolute(address: str, base: str) -> str | None:
    try:
        return urljoin(base, address.strip().replace("&amp;", "&"))
    except ValueError:
        return None


def _relations(parameters: str) -> list[str]:
    match = _RELATION.search(parameters)
    return (match[1] or match[2] or "").lower().split() if match else []
