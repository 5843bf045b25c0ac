"""Which encoding a roster is in: spreadsheets write what their country wrote before there was UTF-8.

UTF-8 and UTF-16 are told for sure. Between CP932 (Shift_JIS, Japan) and CP1252 (Latin-1, Western Europe) the bytes
decide, and where they do not, the person is asked.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

from coursewareauthenticator.accounts.sentences import Sentence, say
from coursewarehub.i18n import N_

ENCODINGS: Final = {
    "utf-8": "utf-8-sig",
    "utf-16": "utf-16",
    "cp932": "cp932",
    "shift_jis": "cp932",
    "cp1252": "cp1252",
    "latin-1": "cp1252",
}
"""Names of encodings, and Python's for them; Shift_JIS and Latin-1 as Windows has them, with more characters."""

UNCERTAIN: Final = N_("The file is not UTF-8, and it may be Shift_JIS or Latin-1. Say which encoding it has.")
UNREADABLE: Final = N_(
    "The file cannot be read as %(encoding)s. Save it as CSV in UTF-8, or say which encoding it has."
)
UNKNOWN: Final = N_("%(encoding)s is no encoding that is known here. Choose one of: %(known)s.")

_MARKS: Final = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_JAPANESE: Final = re.compile(rb"[\x81-\x9f][\x40-\x7e\x80-\xfc]")
"""Kana and the frequent half of the kanji; in Latin-1 such bytes are quotes and dashes."""
_WESTERN: Final = re.compile(rb"(?<![\x80-\xff])[\xc0-\xff](?![\x80-\xff])")
"""One accented letter between plain ones."""


class EncodingUnknown(Exception):
    """The text cannot be read; `sentence` is for the person."""

    def __init__(self, sentence: Sentence) -> None:
        super().__init__(str(sentence))
        self.sentence = sentence


def decode(data: bytes, encoding: str | None = None) -> tuple[str, str]:
    """The text of a file and the name of its encoding, which is found out unless given. EncodingUnknown."""
    name = _named(encoding) if encoding else _found(data)
    try:
        return data.decode(ENCODINGS[name]), name
    except UnicodeDecodeError:
        raise EncodingUnknown(say(UNREADABLE, encoding=name)) from None


def _named(encoding: str) -> str:
    name = encoding.strip().lower().replace("_", "-")
    name = {"shift-jis": "shift_jis", "sjis": "shift_jis", "utf8": "utf-8", "iso-8859-1": "latin-1"}.get(name, name)
    if name not in ENCODINGS:
        raise EncodingUnknown(say(UNKNOWN, encoding=encoding, known=", ".join(ENCODINGS)))
    return name


def _found(data: bytes) -> str:
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    if _reads(data, "utf-8"):
        return "utf-8"
    japanese, western = len(_JAPANESE.findall(data)), len(_WESTERN.findall(data))
    if japanese > western and _reads(data, "cp932"):
        return "cp932"
    if western and not japanese and _reads(data, "cp1252"):
        return "cp1252"
    if not _reads(data, "cp932") and _reads(data, "cp1252"):
        return "cp1252"
    raise EncodingUnknown(say(UNCERTAIN))


def _reads(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
