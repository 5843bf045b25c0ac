"""Noticing changed course files.

By looking once a second at names, sizes and times: that costs next to nothing and works on any file system (inotify
does not see what another host writes to a shared folder).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

Signature = frozenset[tuple[str, int, int, int]]


def signature(root: Path, others: Iterable[Path] = ()) -> Signature:
    """What tells one state of the configuration files from another: site.yaml, the folders beside it and `others`."""
    found: set[tuple[str, int, int, int]] = set()
    folders = (root / name for name in ("platforms.d", "courses.d", "hub.d"))
    for file in (root / "site.yaml", *(entry for folder in folders for entry in _entries(folder)), *others):
        try:
            status = os.stat(file)
        except OSError:
            continue
        found.add((str(file), status.st_mtime_ns, status.st_size, status.st_ino))
    return frozenset(found)


def _entries(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError:
        return []


async def changes(
    look: Callable[[], Signature], known: Signature, *, again: Callable[[], bool] = lambda: False, every: float = 1.0
) -> AsyncIterator[None]:
    """Yield whenever the files differ from what was known and then stayed the same for one look.

    `look` takes their signature, `known` is the one from before they were last read; waiting for one quiet look spares
    half-written files. While `again` says so, yields after every fifth look too: what is wrong may be mended elsewhere.
    """
    settled = seen = known
    looks = 0
    while True:
        await asyncio.sleep(every)
        looks += 1
        now = await asyncio.to_thread(look)
        if now == seen and (now != settled or (looks % 5 == 0 and again())):
            settled = now
            yield
        seen = now
