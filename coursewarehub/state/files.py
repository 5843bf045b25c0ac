"""Files that are replaced whole, so that a reader or a crash never sees half of one."""

from __future__ import annotations

import os
from pathlib import Path


def replace_text(file: Path, text: str, mode: int = 0o600) -> None:
    """Write `text` to a new file beside `file`, then put it in its place."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        output.write(text)
        output.flush()
        os.fsync(output.fileno())
    os.replace(partial, file)
