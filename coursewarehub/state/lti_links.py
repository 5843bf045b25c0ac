"""One-time links by which a platform registers itself (LTI Dynamic Registration).

Made by the command line, used up by the site process. A folder holds one file a link, named by the digest of its
token, so that who reads the folder cannot use a link. Who takes one takes it alone: files are renamed, which one can.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from coursewarehub.state.files import replace_text

LIFETIME: Final = 24 * 3600
"""Seconds."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_TAKEN: Final = ".taken"


@dataclass(frozen=True)
class Link:
    """What a link is for: the platform's name here, until when (seconds since 1970), one host that may be private."""

    name: str
    expires: float
    private_host: str | None = None


class Links:
    """The links in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, link: Link, now: float) -> str:
        """Store a link and return its token. Old ones are forgotten, and so is an earlier one for the same name."""
        for file, earlier in self._all():
            if earlier is None or earlier.expires < now or earlier.name == link.name:
                file.unlink(missing_ok=True)
        token = secrets.token_urlsafe(32)
        replace_text(self._file(token), json.dumps(asdict(link)))
        return token

    def look(self, token: str, now: float) -> Link | None:
        """The link of a token, without using it up; None when there is none that is good."""
        if _TOKEN.fullmatch(token) is None:
            return None
        link = _read(self._file(token))
        return link if link is not None and now <= link.expires else None

    def take(self, token: str, now: float) -> Link | None:
        """As `look`, and nobody gets it again unless it is given back."""
        link = self.look(token, now)
        if link is None:
            return None
        file = self._file(token)
        try:
            os.rename(file, file.with_suffix(_TAKEN))
        except FileNotFoundError:
            return None
        return link

    def give_back(self, token: str) -> None:
        """What was taken for has not happened: the link may be used once more."""
        file = self._file(token)
        with contextlib.suppress(FileNotFoundError):
            os.rename(file.with_suffix(_TAKEN), file)

    def _file(self, token: str) -> Path:
        return self._folder / f"{hashlib.sha256(token.encode()).hexdigest()}.json"

    def _all(self) -> list[tuple[Path, Link | None]]:
        if not self._folder.is_dir():
            return []
        return [(file, _read(file)) for file in self._folder.iterdir() if not file.name.startswith(".")]


def _read(file: Path) -> Link | None:
    try:
        return Link(**json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None
