"""The course's material in the learner's server: `course/` to read, a first copy to work on.

The seam for releases: whoever starts the server names one folder (`COURSEWARE_CONTENT`); how it came there is
not this module's business. Nothing of the learner's is ever overwritten or deleted here.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from tornado.web import HTTPError

from coursewarehub.singleuser import lease
from coursewarehub.wire import environment as names
from coursewarehub.wire import messages

log = logging.getLogger("coursewarehub.singleuser")

FOLDER: Final = "course"
"""Name of the read-only folder in the learner's home."""

_GIVEN: Final = Path(".courseware") / "given.json"
_LEFT_OUT: Final = frozenset({".git", ".ipynb_checkpoints", "__pycache__", ".courseware"})


def provision(environment: Mapping[str, str], home: Path) -> None:
    """Show the material under `course/` and copy each of its files to `home` once.

    A file is copied when the learner never got it and has none of that name; one that was deleted or renamed
    stays so. Safe to interrupt: a copy appears whole or not at all, and is noted after it is there. Whatever cannot
    be copied (a full disk, a folder of the learner's in the way) is logged and tried again at the next start: it
    never keeps the server from starting. Where the material is a link to the current release, `course/` follows it from
    release to release, and what is copied is of one release.
    """
    source = environment.get(names.CONTENT)
    if not source or not Path(source).is_dir():
        return
    given = _read_given(home)
    try:
        _show(Path(source), home / FOLDER)
        given |= _copy_new(Path(source).resolve(), home, given)
        _write_given(home, given)
    except OSError as error:
        log.warning("the course's material is not complete: %s", error)


def _copy_new(source: Path, home: Path, given: set[str]) -> set[str]:
    """Copy what was never given; the names of what is given now."""
    now = set()
    for name in files_of(source):
        if name in given or PurePosixPath(name).parts[0] == FOLDER:
            continue
        try:
            _copy_once(source / name, home / name)
            now.add(name)
        except OSError as error:
            log.warning("%s was not copied: %s", name, error)
    return now


def files_of(source: Path) -> Iterator[str]:
    """Relative POSIX paths of the regular files of a release, links and version control left out."""
    for folder, subfolders, files in os.walk(source):
        subfolders[:] = sorted(s for s in subfolders if s not in _LEFT_OUT)
        for file in sorted(files):
            path = Path(folder) / file
            if not path.is_symlink() and path.is_file():
                yield path.relative_to(source).as_posix()


def _show(source: Path, link: Path) -> None:
    """Point `course` at the material; whatever else the learner has under that name stays."""
    if link.is_symlink() and (not link.exists() or _is_earlier(link, source)):
        link.unlink()
    if not link.exists():
        link.symlink_to(source, target_is_directory=True)


def _is_earlier(link: Path, source: Path) -> bool:
    """Whether a link of ours points to where the material was before the site was moved."""
    target = Path(os.readlink(link))
    return target != source and target.parts[-3:] == source.parts[-3:]


def _copy_once(source: Path, target: Path) -> None:
    if target.exists() or target.is_symlink():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(prefix=".copy-", dir=target.parent)
    try:
        with source.open("rb") as original, os.fdopen(descriptor, "wb") as copy:
            shutil.copyfileobj(original, copy)
        Path(partial).chmod(0o644)
        # A link, not a rename: it never replaces what the learner made meanwhile.
        with contextlib.suppress(FileExistsError):
            os.link(partial, target)
    finally:
        Path(partial).unlink()


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


@contextlib.contextmanager
def whole_file(path: Path, text: bool, encoding: str) -> Iterator[IO[Any]]:
    """Write a file that is there whole or not at all, whenever the process is ended: the old one until it is replaced.

    Permissions stay; a file that may not be written is refused (PermissionError), also in a folder that may.
    """
    target = Path(os.path.realpath(path))
    there = target.exists()
    if there and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, f"File is not writable: {target}")
    in_place = there and not os.access(target.parent, os.W_OK)
    written = target if in_place else target.with_name(f".~{secrets.token_hex(8)}")
    options: dict[str, Any] = {"encoding": encoding, "newline": "\n"} if text else {}
    try:
        with written.open(("w" if in_place else "x") + ("" if text else "b"), **options) as file:
            if there and not in_place:
                shutil.copymode(target, written)
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not in_place:
            os.replace(written, target)
    except BaseException:
        if not in_place:
            written.unlink(missing_ok=True)
        raise


def on_read_only_storage(path: Path) -> bool:
    """Whether a path lies, or would lie, in a file system that is mounted read only."""
    while True:
        try:
            return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
        except FileNotFoundError:
            if path == path.parent:
                return False
            path = path.parent
        except OSError:
            return False


class CourseContentsManager(AsyncLargeFileManager):
    """Jupyter's contents manager with `course/` read only, also where file permissions do not bind (root).

    What counts is where a path leads, not how it is spelled: through links, `..` and doubled slashes as well. What lies
    on storage that is mounted read only (other people's homes, for the staff) is refused with a sentence, and while the
    server is paused, everything is.
    """

    _writing = 0

    def _is_course(self, path: str) -> bool:
        home = Path(self.root_dir).resolve()
        if not (home / FOLDER).is_symlink():
            return False  # the learner's own folder of that name
        material = (home / FOLDER).resolve()
        # Jupyter takes `x/..` out before it follows links.
        wanted = Path(os.path.normpath(home / path.strip("/")))
        # Where it leads, and where it stands: a link in the material stands there wherever it leads.
        return any(p.is_relative_to(material) for p in (wanted.resolve(), wanted.parent.resolve() / wanted.name))

    def _is_read_only(self, path: str) -> bool:
        return on_read_only_storage(Path(os.path.normpath(Path(self.root_dir) / path.strip("/"))))

    def is_writable(self, path: str) -> bool:
        """False in `course/`, so that JupyterLab opens its notebooks read only."""
        writable: bool = super().is_writable(path)
        return writable and not self._is_course(path)

    def _refuse(self, *paths: str) -> None:
        if not lease.may_write():
            raise HTTPError(503, messages.choose(messages.PAUSED))
        if any(self._is_course(path) for path in paths):
            raise HTTPError(403, "The course folder is read only: work on the copy in your own folder instead.")
        if any(self._is_read_only(path) for path in paths):
            raise HTTPError(403, messages.choose(messages.READ_ONLY))

    def _refuse_taking_away(self, path: str) -> None:
        """The folders that the course puts into a home stay there: what is in them is not one person's."""
        wanted = Path(os.path.normpath(Path(self.root_dir) / path.strip("/")))
        if str(wanted) in {os.environ.get(name) for name in (names.HOMES, names.SHARED)}:
            raise HTTPError(403, messages.choose(messages.COURSE_FOLDER))

    @contextlib.contextmanager
    def perm_to_403(self, os_path: str = "") -> Iterator[None]:
        """What the operating system does not permit is refused with a sentence (403)."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EACCES):
                self.log.info("Permission denied: %s", os_path or error.filename)
                raise HTTPError(403, messages.choose(messages.NOT_YOURS)) from error
            if error.errno == errno.EROFS:
                raise HTTPError(403, messages.choose(messages.READ_ONLY)) from error
            raise

    @contextlib.contextmanager
    def atomic_writing(self, os_path: str, text: bool = True, encoding: str = "utf-8", **_: Any) -> Iterator[IO[Any]]:
        """Write a file whole or not at all; Jupyter's own way leaves half a file when the server is killed."""
        self._writing += 1
        try:
            with self.perm_to_403(os_path), whole_file(Path(os_path), text, encoding) as file:
                yield file
        finally:
            self._writing -= 1

    async def settled(self, seconds: float) -> None:
        """Wait until nothing is being written, so many seconds at most."""
        until = time.monotonic() + seconds
        while self._writing and time.monotonic() < until:
            await asyncio.sleep(0.02)

    async def get(self, path: str, content: bool = True, *arguments: Any, **options: Any) -> Any:
        """A file or folder; what its owner keeps to themselves is refused with a sentence (403)."""
        # Without content it may be one line of a folder's listing, which Jupyter leaves out by itself.
        with self.perm_to_403(path) if content else contextlib.nullcontext():
            return await super().get(path, content, *arguments, **options)

    async def save(self, model: dict[str, Any], path: str = "") -> Any:
        """Save, except in `course/` (403)."""
        self._refuse(path)
        return await super().save(model, path)

    async def delete_file(self, path: str) -> None:
        """Delete, except in `course/` (403)."""
        self._refuse(path)
        self._refuse_taking_away(path)
        await super().delete_file(path)

    async def rename_file(self, old_path: str, new_path: str) -> None:
        """Rename, except from or into `course/` (403)."""
        self._refuse(old_path, new_path)
        self._refuse_taking_away(old_path)
        await super().rename_file(old_path, new_path)

    async def copy(self, from_path: str, to_path: str | None = None) -> Any:
        """Copy, except into `course/` (403); a copy made beside an original in `course/` would be, too."""
        self._refuse(str(PurePosixPath(from_path).parent) if to_path is None else to_path)
        return await super().copy(from_path, to_path)

    async def create_checkpoint(self, path: str) -> Any:
        """Checkpoint, except in `course/` (403)."""
        self._refuse(path)
        return await super().create_checkpoint(path)

    async def list_checkpoints(self, path: str) -> Any:
        """The checkpoints; none in `course/`, where looking must not write."""
        return [] if self._is_course(path) else await super().list_checkpoints(path)

    async def delete_checkpoint(self, checkpoint_id: str, path: str) -> Any:
        """Delete a checkpoint, except in `course/` (403)."""
        self._refuse(path)
        return await super().delete_checkpoint(checkpoint_id, path)

    async def restore_checkpoint(self, checkpoint_id: str, path: str) -> Any:
        """Go back to a checkpoint, except in `course/` (403)."""
        self._refuse(path)
        return await super().restore_checkpoint(checkpoint_id, path)
