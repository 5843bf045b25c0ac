"""The demo site: two open courses that a visitor can enter at once.

Runs in: CLI. The site itself is data, in the folder `site` beside this file; students get copies of
the notebooks in `site/content`. Solutions are not part of the package.
"""

from __future__ import annotations

import os
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

MARKER = ".coursewarehub-demo"
PASSWORD_FILE = "demo-password"  # noqa: S105  (named in the course files of the demo)
_COMPLETE = "The demo site of CoursewareHub. Delete the whole folder to begin anew.\n"


def copy_to(folder: Path, password: str) -> None:
    """Make `folder` the demo site, with `password` as the password of both courses.

    An empty or missing folder receives a copy of the site, the password file (mode 0600) and `state/`
    (mode 0700). A folder that is the demo site already is left as it is, its password and the students'
    work included; a copy that was interrupted is finished.

    Raises:
        ValueError: the folder holds something else, or the password is empty or has a line break.
            The message is one sentence for the user.
        OSError: the folder cannot be written.
    """
    marker = folder / MARKER
    if marker.is_file() and marker.read_text(encoding="utf-8") == _COMPLETE:
        return
    _refuse_other_use(folder, marker)
    if not password.strip() or password.splitlines() != [password]:
        raise ValueError("the demo password must be one line of text, and not empty")
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text("The demo site is being copied.\n", encoding="utf-8")
    _copy_tree(files(__name__) / "site", folder)
    _write_private(folder / PASSWORD_FILE, password + "\n")
    _make_private_folder(folder / "state")
    marker.write_text(_COMPLETE, encoding="utf-8")


def _refuse_other_use(folder: Path, marker: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, so the demo site cannot be made there; name another folder")
    if folder.is_dir() and not marker.is_file() and any(folder.iterdir()):
        raise ValueError(
            f"{folder} has files and is not the demo site; name an empty folder, or one that does not exist"
        )


def _copy_tree(source: Traversable, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for entry in source.iterdir():
        if entry.name.startswith((".", "__")):  # left by editors and interpreters
            continue
        if entry.is_dir():
            _copy_tree(entry, target / entry.name)
        else:
            (target / entry.name).write_bytes(entry.read_bytes())


def _write_private(file: Path, text: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        os.fchmod(descriptor, 0o600)
        stream.write(text)


def _make_private_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
