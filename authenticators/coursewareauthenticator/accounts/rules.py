"""What a password must be: long, and nothing that is tried first (NIST SP 800-63B, section 5.1.1.2).

No rules on what characters it has: they make people choose worse ones.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from coursewareauthenticator.accounts.sentences import Sentence, say
from coursewarehub.i18n import N_

SHORTEST: Final = 10
LONGEST: Final = 256
"""Characters after normalisation; a longer one would only make work."""

TOO_SHORT: Final = N_(
    "The password must have at least %(least)s characters; a few words in a row are easy to remember."
)
TOO_LONG: Final = N_("The password must have at most %(most)s characters.")
NOT_PRINTABLE: Final = N_("The password has a character that cannot be typed everywhere, such as a line break.")
LIKE_NAME: Final = N_("The password must not be made of your name, your address or the name of the course.")
COMMON: Final = N_("This password is one of the first that anybody would try. Choose another one.")

_COMMON_FILE: Final = Path(__file__).with_name("common.txt")
_ROWS: Final = (
    "01234567890123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm", "azertyuiopqsdfghjklmwxcvbn",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p", "1q2w3e4r5t6y7u8i9o0p",
)  # fmt: skip
_LEET: Final = str.maketrans("013457@$!", "oieastasi")


def normalise(password: str) -> str:
    """The one spelling of a password: Unicode's compatibility composition, so that every keyboard types the same."""
    return unicodedata.normalize("NFKC", password)


def problem(password: str, about: Iterable[str]) -> Sentence | None:
    """Why a normalised password will not do; None when it will. `about`: names of the person and the course."""
    if len(password) < SHORTEST:
        return say(TOO_SHORT, least=SHORTEST)
    if len(password) > LONGEST:
        return say(TOO_LONG, most=LONGEST)
    if any(unicodedata.category(char) in {"Cc", "Cs", "Cn", "Zl", "Zp"} for char in password):
        return say(NOT_PRINTABLE)
    folded = password.casefold()
    if _is_common(folded):
        return say(COMMON)
    if _is_name(folded, about):
        return say(LIKE_NAME)
    return None


def _is_common(folded: str) -> bool:
    if len(set(folded)) <= 3 or _is_repeated(folded):
        return True
    plain = _letters(folded)
    pieces = [piece for piece in (folded, plain) if len(piece) >= 5]
    if any(piece in row * 2 or piece[::-1] in row * 2 for row in _ROWS for piece in pieces):
        return True
    known = common()
    return bool({folded, folded.translate(_LEET), plain, _letters(folded.translate(_LEET))} & known)


def _is_repeated(folded: str) -> bool:
    """Whether it is one piece of at most five characters, again and again."""
    return any((folded[:size] * len(folded))[: len(folded)] == folded for size in range(1, 6))


def _letters(folded: str) -> str:
    """A password without digits and punctuation at its ends: what people add to a word to make it longer."""
    return re.sub(r"^[\W\d_]+|[\W\d_]+$", "", folded)


def _is_name(folded: str, about: Iterable[str]) -> bool:
    """Whether nothing much is left of it without a name."""
    for each in about:
        for part in (each, each.partition("@")[0]):
            name = normalise(part).casefold().strip()
            if len(name) >= 3 and len(re.sub(r"[\W\d_]", "", folded.replace(name, ""))) < 4 and name in folded:
                return True
    return False


@cache
def common() -> frozenset[str]:
    """What is tried first, in lower case."""
    return frozenset(_COMMON_FILE.read_text(encoding="utf-8").splitlines())
