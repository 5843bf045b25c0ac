"""Home folders on the storage: there before the start, the learner's own, readable by the course's staff.

Everything inside a home was made by a learner. No link in it is followed, and only what belonged to the home's former
owner is handed over.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coursewarespawner import messages
from coursewarespawner.messages import StartFailed

HOME_MODE: Final = 0o2750
_PARENT_MODE: Final = 0o711
_HOMES_MODE: Final = 0o751
_SHARED_MODE: Final = 0o2775
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_REASONS: Final = {
    errno.ENOSPC: messages.STORAGE_FULL,
    errno.EDQUOT: messages.STORAGE_FULL,
    errno.EROFS: messages.STORAGE_READ_ONLY,
    errno.EPERM: messages.STORAGE_FORBIDDEN,
    errno.EACCES: messages.STORAGE_FORBIDDEN,
}


@dataclass(frozen=True)
class HomeOrder:
    """The folders of one server.

    `home` gets the owner `uid` and the group `group`, and empty folders of the names `points` on which others are
    mounted. `shared` (None: there is none) is the course's shared folder, which its group writes. A home is
    `homes/<course>/<home>` below the storage, which must be there: an absent one is not mounted, and is not made.
    """

    home: Path
    uid: int
    group: int
    shared: Path | None = None
    points: tuple[str, ...] = ()

    @property
    def storage(self) -> Path:
        """The folder that must be there."""
        return self.home.parents[2]


def prepare(order: HomeOrder) -> None:
    """Make the folders of a server, and hand over a home that belonged to somebody else. Blocks: for a thread.

    Raises StartFailed, with a sentence for the learner, when the storage is missing, full, read-only or not ours to
    change; its `detail` is for the log.
    """
    with _understood(order.home):
        if not order.storage.is_dir():
            raise StartFailed(messages.STORAGE_MISSING, detail=f"there is no folder {order.storage}")
        _make_parents(order.home.parent, _HOMES_MODE, order.group)
        if order.shared is not None:
            _make_parents(order.shared.parent, _PARENT_MODE, None)
            _make(order.shared, _SHARED_MODE, None, order.group)
        _make_home(order)


@contextlib.contextmanager
def _understood(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        template = _REASONS.get(error.errno or 0, messages.STORAGE_FAILED)
        raise StartFailed(template, detail=f"{place}: {error.strerror or error}") from error


def _make_parents(folder: Path, mode: int, group: int | None) -> None:
    """A folder between the storage and the homes; the one above lets everybody pass, and look at nothing."""
    _make(folder.parent, _PARENT_MODE, None, None)
    _make(folder, mode, None, group)


def _make(folder: Path, mode: int, owner: int | None, group: int | None) -> None:
    """A folder that no learner can change; one that is there keeps its mode, and has the right group."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.stat()
        if group is None or found.st_gid == group:
            return
    if owner is not None or group is not None:
        os.chown(folder, -1 if owner is None else owner, -1 if group is None else group)
    folder.chmod(mode)


def _make_home(order: HomeOrder) -> None:
    with contextlib.suppress(FileExistsError):
        order.home.mkdir(mode=0o700)
    home = os.open(order.home, _FOLDER)
    try:
        found = os.fstat(home)
        for name in order.points:
            _make_point(home, name, found.st_uid, found.st_gid)
        if found.st_uid != order.uid:
            _hand_over(home, found.st_uid, order)
        if (found.st_uid, found.st_gid) != (order.uid, order.group):
            # Last, so that an interrupted hand-over begins again.
            os.fchown(home, order.uid, order.group)
        if stat.S_IMODE(os.fstat(home).st_mode) != HOME_MODE:
            os.fchmod(home, HOME_MODE)
    finally:
        os.close(home)


def _make_point(home: int, name: str, owner: int, group: int) -> None:
    """An empty folder to mount something on; what a learner has put in its place is kept beside it."""
    try:
        os.mkdir(name, 0o755, dir_fd=home)
    except FileExistsError:
        if stat.S_ISDIR(os.stat(name, dir_fd=home, follow_symlinks=False).st_mode):
            return
        os.rename(name, _free_name(home, name), src_dir_fd=home, dst_dir_fd=home)
        os.mkdir(name, 0o755, dir_fd=home)
    os.chown(name, owner, group, dir_fd=home, follow_symlinks=False)


def _free_name(home: int, name: str) -> str:
    for number in range(1, 10_000):
        candidate = f"{name}.mine-{number}"
        try:
            os.stat(candidate, dir_fd=home, follow_symlinks=False)
        except FileNotFoundError:
            return candidate
    raise FileExistsError(errno.EEXIST, f"no free name for {name}")


def _hand_over(home: int, former: int, order: HomeOrder) -> None:
    """Give everything of the former owner's in a home to its new one.

    A file with a second name may be somebody else's that a learner linked into the home: it stays whose it is.
    """
    for _, folders, files, folder in os.fwalk(".", dir_fd=home, follow_symlinks=False, onerror=_raise):
        for name in (*folders, *files):
            _give(folder, name, former, order)


def _give(folder: int, name: str, former: int, order: HomeOrder) -> None:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    linked = not stat.S_ISDIR(found.st_mode) and found.st_nlink > 1
    device = stat.S_ISBLK(found.st_mode) or stat.S_ISCHR(found.st_mode)
    if found.st_uid == former and not linked and not device:
        os.chown(name, order.uid, order.group, dir_fd=folder, follow_symlinks=False)


def _raise(error: OSError) -> None:
    raise error
