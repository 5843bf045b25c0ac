"""Secrets that are generated once and kept in the site's state folder."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from pydantic import SecretStr

from coursewarehub.model.problems import ConfigurationError, Problem


def generated_once(file: Path, *, bytes_of_randomness: int = 32) -> SecretStr:
    """The secret in `file` (0600), made with so many random bytes (written as hexadecimal) if it is not there.

    Two processes that ask at the same time get the same one. ConfigurationError when others can read the file.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not file.exists():
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        partial = Path(name)
        with os.fdopen(descriptor, "w") as output:
            output.write(secrets.token_hex(bytes_of_randomness))
            output.flush()
            os.fsync(output.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(partial, file)
        partial.unlink()
    if file.stat().st_mode & 0o077:
        raise ConfigurationError([Problem(str(file), None, "can be read by others", f"run `chmod 600 {file}`")])
    return SecretStr(file.read_text())
