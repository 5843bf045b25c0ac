"""The notebooks of a course's published material."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

MOST: Final = 500
_DEEPEST: Final = 8


def published_notebooks(folder: Path) -> tuple[str, ...]:
    """Paths of the notebooks in `folder`, as they are in a learner's home, sorted; none when there is no folder.

    Hidden files and folders are left out, links are not followed, and no more than 500 are looked for. Blocks.
    """
    found: list[str] = []
    for place, folders, files in os.walk(folder):
        relative = Path(place).relative_to(folder)
        deep = len(relative.parts) >= _DEEPEST
        folders[:] = [] if deep else sorted(name for name in folders if not name.startswith("."))
        found += ((relative / name).as_posix() for name in files if name.endswith(".ipynb") and name[0] != ".")
        if len(found) > MOST:
            break
    return tuple(sorted(found)[:MOST])
