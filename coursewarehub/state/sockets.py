"""Unix sockets in folders of any depth: the kernel takes addresses of 107 bytes at most (unix(7))."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_LONGEST = 100
_folders: dict[Path, int] = {}


def address(path: Path) -> str:
    """An address of the socket at `path` that is short enough; valid in this process while it lives."""
    if len(os.fsencode(path)) <= _LONGEST:
        return str(path)
    descriptor = _folders.get(path.parent)
    if descriptor is None:
        descriptor = _folders[path.parent] = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    return f"/proc/self/fd/{descriptor}/{path.name}"


def answering(path: Path) -> bool:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(address(path))
        except OSError:
            return False
    return True
