"""Noticing changed course files.

By looking once a second at names, sizes and times: that costs next to nothing and works on any file system (inotify
does not see what another host writes to a shared folder).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

Signature = frozenset[tuple[str, int, int, int]]


def signature(root: Path) -> Signature:
    """What tells one state of the configuration files from another: site.yaml, courses.d, hub.d."""
    found: set[tuple[str, int, int, int]] = set()
    for file in (root / "site.yaml", *_entries(root / "courses.d"), *_entries(root / "hub.d")):
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


async def changes(root: Path, known: Signature, every: float = 1.0) -> AsyncIterator[None]:
    """Yield whenever the files differ from what was known and then stayed the same for one look.

    `known` is their signature from before they were last read; waiting for one quiet look spares half-written files.
    """
    settled = seen = known
    while True:
        await asyncio.sleep(every)
        now = await asyncio.to_thread(signature, root)
        if now == seen and now != settled:
            settled = now
            yield
        seen = now
