"""Writing a person's files: whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from coursewarehub.cli.errors import CommandError


def create_file(file: Path, text: str) -> None:
    """Write a new file atomically. Raises CommandError when it exists already."""
    temporary = _write_beside(file, text, mode=None)
    try:
        os.link(temporary, file)
    except FileExistsError:
        raise CommandError(f"{file} exists already and is left as it is.") from None
    finally:
        temporary.unlink()
    _flush_folder(file.parent)


def replace_file(file: Path, text: str) -> None:
    """Replace a file's text atomically; its mode stays, and a symbolic link still points to it."""
    target = file.resolve(strict=True)
    temporary = _write_beside(target, text, mode=stat.S_IMODE(target.stat().st_mode))
    try:
        temporary.replace(target)
    except OSError:
        temporary.unlink()
        raise
    _flush_folder(target.parent)


def _write_beside(file: Path, text: str, mode: int | None) -> Path:
    temporary = file.with_name(f".{file.name}.{os.getpid()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb") as stream:
        if mode is not None:
            os.fchmod(descriptor, mode)
        stream.write(text.encode("utf-8"))
        stream.flush()
        os.fsync(descriptor)
    return temporary


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
