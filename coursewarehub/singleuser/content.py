"""The course's material in the learner's server: `course/` to read, a first copy to work on.

The seam for releases: whoever starts the server names one folder (`COURSEWARE_CONTENT`); how it came there is
not this module's business. Nothing of the learner's is ever overwritten or deleted here.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado.web import HTTPError

from coursewarehub.wire import environment as names

FOLDER: Final = "course"
"""Name of the read-only folder in the learner's home."""

_GIVEN: Final = Path(".courseware") / "given.json"
_LEFT_OUT: Final = frozenset({".git", ".ipynb_checkpoints", "__pycache__", ".courseware"})


def provision(environment: Mapping[str, str], home: Path) -> None:
    """Show the material under `course/` and copy each of its files to `home` once.

    A file is copied when the learner never got it and has none of that name; one that was deleted or renamed
    stays so. Safe to interrupt: a copy appears whole or not at all, and is noted after it is there.
    """
    source = environment.get(names.CONTENT)
    if not source or not Path(source).is_dir():
        return
    _show(Path(source), home / FOLDER)
    given = _read_given(home)
    new = [name for name in files_of(Path(source)) if name not in given]
    for name in new:
        _copy_once(Path(source) / name, home / name)
    if new:
        _write_given(home, given | set(new))


def files_of(source: Path) -> Iterator[str]:
    """Relative POSIX paths of the regular files of a release, links and version control left out."""
    for folder, subfolders, files in os.walk(source):
        subfolders[:] = sorted(s for s in subfolders if s not in _LEFT_OUT)
        for file in sorted(files):
            path = Path(folder) / file
            if not path.is_symlink() and path.is_file():
                yield path.relative_to(source).as_posix()


def _show(source: Path, link: Path) -> None:
    """Point `course` at the release; whatever else the learner has under that name stays."""
    if link.is_symlink():
        if os.readlink(link) == str(source):
            return
        link.unlink()
    if not link.exists():
        link.symlink_to(source, target_is_directory=True)


def _copy_once(source: Path, target: Path) -> None:
    if target.exists() or target.is_symlink():
        return
    with contextlib.suppress(FileExistsError, NotADirectoryError):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        shutil.copyfile(source, partial)
        partial.chmod(0o644)
        os.rename(partial, target)


def _read_given(home: Path) -> set[str]:
    try:
        given = json.loads((home / _GIVEN).read_text())
    except (OSError, ValueError):
        return set()
    return {str(name) for name in given} if isinstance(given, list) else set()


def _write_given(home: Path, given: set[str]) -> None:
    file = home / _GIVEN
    file.parent.mkdir(exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(sorted(given)))
    os.replace(partial, file)


def is_course_path(path: str) -> bool:
    """Whether an API path (as Jupyter's contents API writes it) lies in the read-only folder."""
    parts = PurePosixPath(path.strip("/")).parts
    return bool(parts) and parts[0] == FOLDER


class CourseContentsManager(AsyncLargeFileManager):
    """Jupyter's contents manager with `course/` read only, also where file permissions do not bind (root)."""

    def is_writable(self, path: str) -> bool:
        """False in `course/`, so that JupyterLab opens its notebooks read only."""
        writable: bool = super().is_writable(path)
        return writable and not is_course_path(path)

    def _refuse_course(self, *paths: str) -> None:
        if any(is_course_path(path) for path in paths):
            raise HTTPError(403, "The course folder is read only: work on the copy in your own folder instead.")

    async def save(self, model: dict[str, Any], path: str = "") -> Any:
        """Save, except in `course/` (403)."""
        self._refuse_course(path)
        return await super().save(model, path)

    async def delete_file(self, path: str) -> None:
        """Delete, except in `course/` (403)."""
        self._refuse_course(path)
        await super().delete_file(path)

    async def rename_file(self, old_path: str, new_path: str) -> None:
        """Rename, except from or into `course/` (403)."""
        self._refuse_course(old_path, new_path)
        await super().rename_file(old_path, new_path)
