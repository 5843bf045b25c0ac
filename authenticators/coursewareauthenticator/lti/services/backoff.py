"""How long to wait before the next try. Pure."""

from __future__ import annotations

from typing import Final

FIRST: Final = 5.0
LONGEST: Final = 3600.0
"""Seconds."""


def pause(failures: int, chance: float, retry_after: float | None = None) -> float:
    """Seconds to wait after so many failures in a row (1 or more): twice as long each time, up to an hour.

    `chance`, from 0 to 1, takes up to half of it away, so that many do not come back together. What the platform asks
    for is waited for at least, up to an hour.
    """
    longest = min(FIRST * 2.0 ** min(failures - 1, 20), LONGEST)
    own = longest * (1 - chance / 2)
    asked = 0.0 if retry_after is None else min(max(retry_after, 0.0), LONGEST)
    return max(own, asked)
