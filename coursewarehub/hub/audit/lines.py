"""Where the lines of the audit go besides the database: the hub's log, or a file of the operator's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

LOG: Final = "log"


def line_writer(lines: str, log: Any) -> Callable[[str], None] | None:
    """The function that takes one line: none for an empty text, into `log` for `log`, else at the end of that file.

    The file is opened for each line, so that it may be moved away at any time, and hubs share it: each line is one
    write. The function raises OSError.
    """
    if not lines:
        return None
    if lines == LOG:
        return lambda line: log.info("audit %s", line)
    return _Appending(Path(lines))


class _Appending:
    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(self, line: str) -> None:
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line.encode("utf-8", "replace") + b"\n")
        finally:
            os.close(descriptor)
