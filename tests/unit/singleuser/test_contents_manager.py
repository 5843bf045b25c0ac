"""`course/` is read only through Jupyter's API, however its path is spelled, also for root."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tornado.web import HTTPError

from coursewarehub.singleuser.content import CourseContentsManager, provision

NOTEBOOK = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
TEXT = {"type": "file", "format": "text", "content": "changed"}


@pytest.fixture
def material(tmp_path: Path) -> Path:
    folder = tmp_path / "material"
    (folder / "sub").mkdir(parents=True)
    (folder / "start.ipynb").write_text(json.dumps(NOTEBOOK))
    (folder / "notes.txt").write_text("original")
    (folder / "sub" / "deep.txt").write_text("original")
    return folder


@pytest.fixture
def home(tmp_path: Path, material: Path) -> Path:
    folder = tmp_path / "home-sam"
    for name in ("mine", "x"):
        (folder / name).mkdir(parents=True)
    (folder / "mine" / "own.txt").write_text("own")
    (folder / "alias").symlink_to("course")
    (folder / "deep-alias").symlink_to(material / "sub")
    provision({"COURSEWARE_CONTENT": str(material)}, folder)
    return folder


@pytest.fixture
def manager(home: Path) -> CourseContentsManager:
    return CourseContentsManager(root_dir=str(home))


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() if p.is_file() else "" for p in sorted(folder.rglob("*"))}


SPELLINGS = [
    "course/",
    "/course/",
    "course//",
    "//course/",
    "./course/",
    "x/../course/",
    "x/./../course/",
    "mine/../x/../course/",
    "../home-sam/course/",
    "course/../course/",
    "course/sub/../",
    "course/./",
    "alias/",
    "x/../alias/",
]
ACTIONS: dict[str, Callable[[CourseContentsManager, str], Awaitable[Any]]] = {
    "save a file": lambda m, c: m.save(dict(TEXT), f"{c}notes.txt"),
    "save a new file": lambda m, c: m.save(dict(TEXT), f"{c}new.txt"),
    "save a large file in pieces": lambda m, c: m.save({**TEXT, "chunk": 1}, f"{c}notes.txt"),
    "save a notebook": lambda m, c: m.save({"type": "notebook", "content": NOTEBOOK}, f"{c}start.ipynb"),
    "save a folder": lambda m, c: m.save({"type": "directory"}, f"{c}folder"),
    "new file": lambda m, c: m.new_untitled(c, ext=".txt"),
    "new folder": lambda m, c: m.new_untitled(c, type="directory"),
    "delete a file": lambda m, c: m.delete(f"{c}notes.txt"),
    "delete a folder": lambda m, c: m.delete(f"{c}sub"),
    "rename inside": lambda m, c: m.rename(f"{c}notes.txt", f"{c}other.txt"),
    "move out": lambda m, c: m.rename(f"{c}notes.txt", "taken.txt"),
    "move in": lambda m, c: m.rename("mine/own.txt", f"{c}own.txt"),
    "move in over a file": lambda m, c: m.rename("mine/own.txt", f"{c}notes.txt"),
    "copy a file in": lambda m, c: m.copy("mine/own.txt", c),
    "copy a folder in": lambda m, c: m.copy("mine", c),
    "copy beside": lambda m, c: m.copy(f"{c}notes.txt"),
    "copy a folder beside": lambda m, c: m.copy(f"{c}sub"),
    "checkpoint": lambda m, c: m.create_checkpoint(f"{c}notes.txt"),
    "go back to a checkpoint": lambda m, c: m.restore_checkpoint("checkpoint", f"{c}notes.txt"),
    "delete a checkpoint": lambda m, c: m.delete_checkpoint("checkpoint", f"{c}notes.txt"),
    "rename checkpoints": lambda m, c: m.rename_file(f"{c}notes.txt", f"{c}z.txt"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("action", ACTIONS)
def test_nothing_changes_the_material(
    manager: CourseContentsManager, material: Path, action: str, spelling: str
) -> None:
    before = contents(material)
    with pytest.raises(HTTPError) as error:
        asyncio.run(_do(ACTIONS[action](manager, spelling)))
    assert error.value.status_code in (400, 403, 404, 409), error.value
    assert contents(material) == before


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_looking_changes_nothing_either(manager: CourseContentsManager, material: Path, spelling: str) -> None:
    """JupyterLab asks for checkpoints of whatever it opens."""
    before = contents(material)
    assert asyncio.run(_do(manager.list_checkpoints(f"{spelling}notes.txt"))) == []
    asyncio.run(_do(manager.get(f"{spelling}notes.txt")))
    assert contents(material) == before


async def _do(action: Awaitable[Any]) -> Any:
    return await action


@pytest.mark.parametrize("action", ["save a file", "delete a file", "copy a file in", "checkpoint"])
def test_refusal_says_what_to_do_instead(manager: CourseContentsManager, action: str) -> None:
    with pytest.raises(HTTPError) as error:
        asyncio.run(_do(ACTIONS[action](manager, "course/")))
    assert error.value.status_code == 403
    assert error.value.log_message == "The course folder is read only: work on the copy in your own folder instead."


def test_folder_inside_the_material_by_a_link_of_ones_own(manager: CourseContentsManager, material: Path) -> None:
    before = contents(material)
    for action in (
        manager.save(dict(TEXT), "deep-alias/deep.txt"),
        manager.delete("deep-alias/deep.txt"),
        manager.create_checkpoint("deep-alias/deep.txt"),
    ):
        with pytest.raises(HTTPError):
            asyncio.run(_do(action))
    assert contents(material) == before


def test_link_to_the_material_itself_is_not_deleted_or_moved(manager: CourseContentsManager, home: Path) -> None:
    for action in (manager.delete("course"), manager.rename("course", "mine/course"), manager.delete("/course/")):
        with pytest.raises(HTTPError):
            asyncio.run(_do(action))
    assert (home / "course").is_symlink()


def test_material_is_shown_as_not_writable(manager: CourseContentsManager) -> None:
    async def writable(path: str) -> bool:
        model = await manager.get(path, content=False)
        answer: bool = model["writable"]
        return answer

    paths = ("course", "course/notes.txt", "course/sub", "x/../course/notes.txt", "start.ipynb", "mine", "")
    assert [asyncio.run(writable(path)) for path in paths] == [False, False, False, False, True, True, True]


def test_material_can_be_read_and_copied_out(manager: CourseContentsManager, home: Path) -> None:
    async def work() -> str:
        listed = await manager.get("course")
        assert {entry["name"] for entry in listed["content"]} == {"start.ipynb", "notes.txt", "sub"}
        await manager.copy("course/notes.txt", "mine")
        await manager.copy("course/sub", "mine")
        text: str = (await manager.get("course/sub/deep.txt"))["content"]
        return text

    assert asyncio.run(work()) == "original"
    assert (home / "mine" / "notes.txt").read_text() == "original"
    assert (home / "mine" / "sub" / "deep.txt").read_text() == "original"


def test_own_files_are_ones_own(manager: CourseContentsManager, home: Path) -> None:
    async def work() -> None:
        await manager.save(dict(TEXT), "mine/own.txt")
        await manager.create_checkpoint("mine/own.txt")
        await manager.save({**TEXT, "content": "again"}, "mine/own.txt")
        await manager.restore_checkpoint("checkpoint", "mine/own.txt")
        await manager.rename("mine/own.txt", "courses.txt")
        await manager.copy("courses.txt", "mine")
        await manager.save({"type": "directory"}, "COURSE")
        await manager.save(dict(TEXT), "COURSE/x.txt")
        await manager.save(dict(TEXT), "courseware.txt")
        await manager.save(dict(TEXT), "mine/course")
        await manager.delete("mine/course")

    asyncio.run(work())
    assert (home / "courses.txt").read_text() == "changed"
    assert (home / "COURSE" / "x.txt").exists() and (home / "courseware.txt").exists()


def test_own_folder_called_course_is_ones_own(manager: CourseContentsManager, home: Path, material: Path) -> None:
    (home / "course").unlink()
    (home / "course").mkdir()
    asyncio.run(_do(manager.save(dict(TEXT), "course/mine.txt")))
    assert (home / "course" / "mine.txt").exists()
    assert not (material / "mine.txt").exists()
