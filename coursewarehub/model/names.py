"""User names, and the names of the objects made for them.

Guarantees:

* `normalise_name` is idempotent, and what it returns is unchanged by `str.lower`, so that the
  hub's own normalisation agrees with ours.
* `object_name` gives different names to different (prefix, name) pairs, for any Unicode text;
  two spellings of one user become one only by `normalise_name`, never by accident here.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata

LONGEST_NAME = 64
_HASH_LENGTH = 20  # base32 characters: 100 bits of SHA-256
_SHORTEST_LIMIT = _HASH_LENGTH + 2
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Characters that draw nothing although Unicode does not call them controls or formats.
_INVISIBLE = frozenset(
    chr(code)
    for codes in (
        (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
        range(0x180B, 0x1810),
        range(0xFE00, 0xFE10),
        range(0xE0100, 0xE01F0),
    )
    for code in codes
)


def normalise_name(name: str) -> str:
    """Return the one spelling of a user name: NFC, no space around it, lower case."""
    folded = unicodedata.normalize("NFC", name).strip().lower()
    return unicodedata.normalize("NFC", folded)


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts names as people do, by the value of the numbers in them: `s2` before `s10`."""
    parts = re.findall(r"[0-9]{1,18}|[0-9]+|[^0-9]+", name)
    return tuple(
        (0, int(part), part) if part[0] in "0123456789" and len(part) <= 18 else (1, 0, part) for part in parts
    )


def valid_name(name: str) -> str:
    """Return the normalised name; raise ValueError saying what the name must (not) be."""
    normal = normalise_name(name)
    if not 1 <= len(normal) <= LONGEST_NAME:
        raise ValueError(f"must have 1 to {LONGEST_NAME} characters")
    if normal in {".", ".."}:
        raise ValueError("must not be `.` or `..`")
    if "/" in normal:
        raise ValueError("must not contain `/`")
    if "`" in normal:
        # The edge's rules quote paths with it.
        raise ValueError("must not contain a backquote")
    for char in name.strip():
        if _is_unseen(char):
            raise ValueError(f"must not contain the control or invisible character U+{ord(char):04X}")
    return normal


def object_name(prefix: str, name: str, limit: int = 63) -> str:
    """Return a name for the object (process, container, folder ...) of `name` under `prefix`.

    It has at most `limit` characters of `[a-z0-9-]`, starts with a letter, ends with a letter or
    digit, has no two dashes in a row, and differs for different pairs. Raises ValueError when
    `limit` leaves no room for that.
    """
    if limit < _SHORTEST_LIMIT:
        raise ValueError(f"limit must be at least {_SHORTEST_LIMIT}, not {limit}")
    digest = _digest(prefix, name)
    room = limit - len(digest) - 1
    head = _slug(prefix)
    if not head[:1].isalpha():
        head = f"x-{head}".strip("-")
    slug = f"{head}-{_slug(name)}"[:room].strip("-")
    return f"{slug}-{digest}"


def _is_unseen(char: str) -> bool:
    return unicodedata.category(char) in _REFUSED_CATEGORIES or char in _INVISIBLE or (char.isspace() and char != " ")


def _slug(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


def _digest(prefix: str, name: str) -> str:
    parts = [part.encode("utf-8", "surrogatepass") for part in (prefix, name)]
    framed = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    code = base64.b32encode(hashlib.sha256(framed).digest()).decode("ascii").lower()
    return code[:_HASH_LENGTH]
