"""Changed files are noticed, half-written ones are not taken."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from coursewarehub.site.watch import Signature, changes, signature


def sign(text: str) -> Signature:
    return frozenset({(text, 0, 0, 0)})


def looks_with_a_change(seen: str, known: str, *, again: Callable[[], bool] = lambda: False) -> list[int]:
    """At which look (from 1) a change is told, when the looks show these signatures, one letter each."""
    count = 0

    def look() -> Signature:
        nonlocal count
        if count == len(seen):
            raise EOFError
        count += 1
        return sign(seen[count - 1])

    async def follow() -> list[int]:
        told = []
        with contextlib.suppress(EOFError):
            async for _ in changes(look, sign(known), again=again, every=0):
                told.append(count)  # noqa: PERF401
        return told

    return asyncio.run(follow())


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ("AAAAAA", []),
        ("ABBBBB", [3]),
        ("BBBBBB", [2]),
        ("ABCDEF", []),
        ("ABCDDD", [5]),
        ("ABBACC", [3, 6]),
        ("ABBAAA", [3, 5]),
        ("ABAAAA", []),
    ],
)
def test_change_is_told_once_it_is_quiet(seen: str, told: list[int]) -> None:
    assert looks_with_a_change(seen, "A") == told


def test_while_something_is_wrong_it_is_looked_at_again() -> None:
    assert looks_with_a_change("A" * 12, "A", again=lambda: True) == [5, 10]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "courses.d").mkdir()
    (tmp_path / "site.yaml").write_text("mode: development\n")
    (tmp_path / "courses.d" / "alpha.yaml").write_text("id: alpha\n")
    return tmp_path


CHANGES: dict[str, Callable[[Path], object]] = {
    "new course": lambda root: (root / "courses.d" / "beta.yaml").write_text(""),
    "deleted": lambda root: (root / "courses.d" / "alpha.yaml").unlink(),
    "renamed": lambda root: (root / "courses.d" / "alpha.yaml").rename(root / "courses.d" / "beta.yaml"),
    "longer": lambda root: (root / "courses.d" / "alpha.yaml").write_text("id: alphabet\n"),
    "replaced": lambda root: os.replace(_twin(root / "courses.d" / "alpha.yaml"), root / "courses.d" / "alpha.yaml"),
    "site": lambda root: (root / "site.yaml").write_text("mode: production\n"),
    "site gone": lambda root: (root / "site.yaml").unlink(),
    "first of hub.d": lambda root: (_folder(root / "hub.d") / "1.py").write_text(""),
    "first of platforms.d": lambda root: (_folder(root / "platforms.d") / "moodle.yaml").write_text(""),
    "touched": lambda root: os.utime(root / "courses.d" / "alpha.yaml", ns=(1, 1)),
    "secret": lambda root: (root / "password").write_text("new"),
}


def _twin(file: Path) -> Path:
    """A copy in everything but the inode."""
    other = file.with_name(".twin")
    other.write_bytes(file.read_bytes())
    status = file.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    return other


def _folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize("change", CHANGES)
def test_signature_tells_a_change(root: Path, change: str) -> None:
    before = signature(root, [root / "password"])
    assert signature(root, [root / "password"]) == before
    CHANGES[change](root)
    assert signature(root, [root / "password"]) != before


def test_editors_copies_and_other_files_do_not_count(root: Path) -> None:
    before = signature(root)
    (root / "courses.d" / ".alpha.yaml.swp").write_text("x")
    (root / "content").mkdir()
    (root / "notes.txt").write_text("x")
    assert signature(root) == before


def test_unreadable_is_like_absent(tmp_path: Path) -> None:
    assert signature(tmp_path / "nowhere") == frozenset()
    (tmp_path / "courses.d").write_text("")
    (tmp_path / "hub.d").mkdir()
    (tmp_path / "hub.d" / "x.py").symlink_to("nowhere")
    assert signature(tmp_path) == frozenset()


def test_file_is_taken_whole_while_it_is_written_in_pieces(root: Path) -> None:
    file = root / "courses.d" / "beta.yaml"

    async def write() -> None:
        with file.open("w") as output:
            for piece in range(10):
                output.write(f"{piece}\n")
                output.flush()
                await asyncio.sleep(0.02)

    async def first_sight() -> str:
        known = signature(root)
        writing = asyncio.create_task(write())
        async for _ in changes(lambda: signature(root), known, every=0.05):
            await writing
            return file.read_text() if writing.done() else "half"
        return ""

    assert asyncio.run(asyncio.wait_for(first_sight(), 10)).count("\n") == 10
