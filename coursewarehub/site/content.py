"""Bringing a course's material to where learners' servers read it.

The seam for releases: a publication is a folder of its own that never changes again, and `current` points at the
newest.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path
from typing import Final

from coursewarehub.model import Course
from coursewarehub.state.folders import CourseFolders

_LEFT_OUT: Final = frozenset({".git", ".ipynb_checkpoints", "__pycache__"})
_GIT_SECONDS: Final = 300
_GIT_SETTINGS: Final = (
    # Only what a course may use: no local files, no remote helpers, no hooks, no links out of the folder.
    "protocol.allow=never",
    "protocol.https.allow=always",
    "protocol.ssh.allow=always",
    "core.hooksPath=/dev/null",
    "core.symlinks=false",
    "transfer.fsckObjects=true",
    "credential.helper=",
)


_PASSED_TO_GIT: Final = (
    "SSL_CERT_FILE",
    "SSH_AUTH_SOCK",
    "GIT_SSL_CAINFO",
    "https_proxy",
    "HTTPS_PROXY",
    "no_proxy",
    "NO_PROXY",
)
_fetching: set[subprocess.Popen[str]] = set()


class ContentError(Exception):
    """The material could not be brought; one sentence says why and what to do."""


def publish(root: Path, course: Course, folders: CourseFolders) -> Path | None:
    """Make the course's material, as its source has it now, the current publication.

    Returns the folder learners see, None when the course has no content. Unchanged material is not copied again.
    ContentError when the source cannot be had; what was published before then stays.
    """
    if course.content is None:
        return None
    _make(folders)
    if course.content.folder is not None:
        source = root / course.content.folder
        if not source.is_dir():
            raise ContentError(f"there is no folder `{course.content.folder}` for the content of {course.id}")
    else:
        source = _fetch(str(course.content.git), course.content.ref, folders.checkout)
    published = folders.content / _digest(source)
    if not published.exists():
        _copy(source, published)
    _point(folders.content / "current", published)
    return published


def _make(folders: CourseFolders) -> None:
    """The folder of publications; on a storage, learners' own accounts go through it and the one above it."""
    folders.content.mkdir(parents=True, exist_ok=True)
    folders.checkout.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folders.site.storage is not None:
        for folder in (folders.content.parent, folders.content):
            folder.chmod(0o755)


def _files(source: Path) -> list[Path]:
    """Relative paths of the regular files, links left out."""
    found: list[Path] = []
    for folder, subfolders, files in os.walk(source):
        subfolders[:] = sorted(s for s in subfolders if s not in _LEFT_OUT)
        paths = (Path(folder) / file for file in sorted(files))
        found += [p.relative_to(source) for p in paths if not p.is_symlink() and p.is_file()]
    return found


def _digest(source: Path) -> str:
    """A name for the material, by its file names and contents."""
    digest = hashlib.sha256()
    for path in _files(source):
        digest.update(os.fsencode(path) + b"\0")
        with (source / path).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:20]


def _copy(source: Path, published: Path) -> None:
    """Copy whole or not at all, read only."""
    partial = published.with_name(f".{published.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for path in _files(source):
        target = partial / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, target)
        target.chmod(0o444)
    for folder, _, _ in os.walk(partial):
        Path(folder).chmod(0o755 if folder == str(partial) else 0o555)
    os.rename(partial, published)
    published.chmod(0o555)


def _point(link: Path, published: Path) -> None:
    partial = link.with_name(f".{link.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    partial.symlink_to(published.name)
    os.replace(partial, link)


def _fetch(url: str, ref: str | None, checkout: Path) -> Path:
    """The newest state of a git repository, without its history."""
    fresh = checkout.with_name("checkout.new")
    _remove(fresh)
    fresh.mkdir()
    _git(fresh, "init", "--quiet")
    _git(fresh, "fetch", "--quiet", "--depth=1", "--no-tags", "--end-of-options", url, ref or "HEAD")
    _git(fresh, "checkout", "--quiet", "--detach", "FETCH_HEAD")
    _remove(checkout)
    os.rename(fresh, checkout)
    return checkout


def _git(folder: Path, *arguments: str) -> None:
    settings = [part for setting in _GIT_SETTINGS for part in ("-c", setting)]
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
        "LC_ALL": "C.UTF-8",
    }
    for name in _PASSED_TO_GIT:
        if name in os.environ:
            environment[name] = os.environ[name]
    try:
        process = subprocess.Popen(
            ["git", *settings, *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise ContentError("git is missing: install it to fetch a course's content") from error
    _fetching.add(process)
    try:
        _, said = process.communicate(timeout=_GIT_SECONDS)
    except subprocess.TimeoutExpired as error:
        _kill(process)
        process.communicate()
        raise ContentError(f"git took more than {_GIT_SECONDS} s to fetch the content; check `content.git`") from error
    finally:
        _fetching.discard(process)
    if process.returncode:
        reason = (said.strip().splitlines() or ["it gave no reason"])[-1][:200]
        raise ContentError(f"git could not fetch the content: {reason}; check `content.git` and `ref`")


def stop_fetching() -> None:
    """End every git that runs for us; its publication fails and what was published before stays."""
    for process in list(_fetching):
        _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    """End git and the helpers it started: it leads a session of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _remove(folder: Path) -> None:
    if not folder.exists():
        return
    for below, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            Path(below).chmod(stat.S_IRWXU)
    shutil.rmtree(folder)
