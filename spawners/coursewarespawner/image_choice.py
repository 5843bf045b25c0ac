"""The choice of an image on JupyterHub's page that starts a server. Pure.

A hub with pages of its own (CoursewareHub's) says the same in its reader's language, from the spawner's `images`.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final
from unicodedata import category

_LONGEST: Final = 80


def image_form(images: Sequence[str], chosen: str) -> str:
    """Radio buttons called `image`, one for each image; `chosen` is set."""
    lines = (
        f'<label><input type="radio" name="image" value="{escape(image)}"{" checked" if image == chosen else ""}> '
        f"{escape(image)}</label><br>"
        for image in images
    )
    return "\n".join(lines)


def visible(text: str) -> str:
    """What of a text that somebody has sent may stand in a sentence: at most 80 visible characters."""
    line = "".join(char if category(char)[0] not in "CZ" else "?" for char in text[:_LONGEST])
    return line if len(text) <= _LONGEST else f"{line}..."
