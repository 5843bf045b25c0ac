"""Reading a file that a person named, which may be anything."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_regular(file: Path, limit: int) -> tuple[bytes, os.stat_result]:
    """Return the first `limit` bytes of a regular file, and its status.

    Never waits, as opening a pipe would. Raises OSError, also for what is not a regular file.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read(limit), status
    finally:
        os.close(descriptor)
