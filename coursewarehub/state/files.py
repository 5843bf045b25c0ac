"""Files that are replaced whole, so that a reader or a crash never sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LARGEST_LOG: Final = 10 * 1024 * 1024
"""Bytes."""


def replace_text(file: Path, text: str, mode: int = 0o600) -> None:
    """Write `text` to a new file beside `file`, then put it in its place."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _written_beside(file, text, mode) as partial:
        os.replace(partial, file)


def create_text(file: Path, text: str, mode: int = 0o644) -> None:
    """Write a new file whole. Raises FileExistsError when there is one, which stays as it is."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with _written_beside(file, text, mode) as partial:
        os.link(partial, file)


@contextmanager
def _written_beside(file: Path, text: str, mode: int) -> Iterator[Path]:
    """A new file in the same folder, whole and on the disk; what is left of it under its own name goes."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as output:
            os.fchmod(output.fileno(), mode)
            output.write(text)
            output.flush()
            os.fsync(output.fileno())
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def rotate(log_file: Path) -> None:
    """Keep one older log when a log has grown large; for the moment before its writer starts."""
    if log_file.exists() and log_file.stat().st_size > LARGEST_LOG:
        os.replace(log_file, log_file.with_name(f"{log_file.name}.1"))
