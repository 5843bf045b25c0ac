"""The first copy of the material: everything once, nothing of the learner's ever touched, and always a server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coursewarehub.singleuser import content
from coursewarehub.singleuser.content import files_of, provision


@pytest.fixture
def material(tmp_path: Path) -> Path:
    folder = tmp_path / "material"
    write(folder, {"start.ipynb": "start", "data/numbers.csv": "1,2"})
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def start(material: Path, home: Path) -> None:
    """What a server does first."""
    provision({"COURSEWARE_CONTENT": str(material)}, home)


def own(home: Path) -> dict[str, str]:
    """The files in a home that are its owner's to see."""
    hidden = {".courseware", "course"}
    return {
        p.relative_to(home).as_posix(): p.read_text()
        for p in sorted(home.rglob("*"))
        if p.is_file() and p.relative_to(home).parts[0] not in hidden
    }


def test_first_start_gives_a_copy_to_work_on(material: Path, home: Path) -> None:
    (material / "start.ipynb").chmod(0o444)
    start(material, home)
    assert own(home) == {"start.ipynb": "start", "data/numbers.csv": "1,2"}
    assert (home / "start.ipynb").stat().st_mode & 0o777 == 0o644
    assert (home / "start.ipynb").stat().st_nlink == 1
    assert Path(os.readlink(home / "course")) == material


def test_work_is_never_overwritten(material: Path, home: Path) -> None:
    write(home, {"start.ipynb": "mine from before"})
    start(material, home)
    write(home, {"data/numbers.csv": "mine"})
    write(material, {"start.ipynb": "newer", "data/numbers.csv": "newer"})
    start(material, home)
    assert own(home) == {"start.ipynb": "mine from before", "data/numbers.csv": "mine"}


def test_deleted_and_renamed_stay_so(material: Path, home: Path) -> None:
    start(material, home)
    (home / "start.ipynb").rename(home / "my start.ipynb")
    (home / "data" / "numbers.csv").unlink()
    (home / "data").rmdir()
    start(material, home)
    assert own(home) == {"my start.ipynb": "start"}


def test_new_material_is_added(material: Path, home: Path) -> None:
    start(material, home)
    write(material, {"week 2/ä.ipynb": "two"})
    start(material, home)
    assert own(home)["week 2/ä.ipynb"] == "two"
    (home / "week 2" / "ä.ipynb").unlink()
    start(material, home)
    assert "week 2/ä.ipynb" not in own(home)


def test_without_material_nothing_happens(home: Path, tmp_path: Path) -> None:
    provision({}, home)
    provision({"COURSEWARE_CONTENT": ""}, home)
    start(tmp_path / "missing", home)
    assert list(home.iterdir()) == []


def test_links_and_version_control_are_left_out(material: Path, home: Path, tmp_path: Path) -> None:
    write(tmp_path, {"secret": "planted"})
    (material / "link").symlink_to(tmp_path / "secret")
    (material / "linked").symlink_to(tmp_path)
    write(material, {".git/config": "x", "__pycache__/x.pyc": "x", ".ipynb_checkpoints/x": "x", ".courseware/x": "x"})
    assert list(files_of(material)) == ["start.ipynb", "data/numbers.csv"]
    start(material, home)
    assert own(home) == {"start.ipynb": "start", "data/numbers.csv": "1,2"}


# -- interrupted ----------------------------------------------------------------------------------------------


def test_interrupted_copy_leaves_no_half_file_and_is_completed(
    material: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(original: object, copy: object) -> None:
        copy.write(b"ha")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    monkeypatch.setattr(content.shutil, "copyfileobj", half)
    with pytest.raises(KeyboardInterrupt):
        start(material, home)
    assert own(home) == {}
    monkeypatch.undo()
    start(material, home)
    assert own(home) == {"start.ipynb": "start", "data/numbers.csv": "1,2"}


def test_full_disk_lets_the_server_start_and_is_tried_again(
    material: Path, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_original: object, _copy: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(content.shutil, "copyfileobj", full)
    start(material, home)
    assert own(home) == {} and "No space left on device" in caplog.text
    monkeypatch.undo()
    start(material, home)
    assert own(home) == {"start.ipynb": "start", "data/numbers.csv": "1,2"}


def test_crash_before_it_was_noted_gives_nothing_twice(
    material: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_home: Path, _given: set[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(content, "_write_given", crash)
    with pytest.raises(KeyboardInterrupt):
        start(material, home)
    monkeypatch.undo()
    write(home, {"start.ipynb": "mine"})
    start(material, home)
    assert own(home) == {"start.ipynb": "mine", "data/numbers.csv": "1,2"}


@pytest.mark.parametrize("text", ["", "{", "[", "null", "{}", '"x"', "\0", "[1, null]"])
def test_spoilt_note_counts_as_none(material: Path, home: Path, text: str) -> None:
    write(home, {".courseware/given.json": text, "start.ipynb": "mine"})
    start(material, home)
    assert own(home) == {"start.ipynb": "mine", "data/numbers.csv": "1,2"}


# -- what a learner may have put there ----------------------------------------------------------------------------


def test_link_to_the_material_follows_it(material: Path, home: Path, tmp_path: Path) -> None:
    """A site that was moved, or copied, shows its own material."""
    places = [tmp_path / site / "state" / "courses" / "alpha" / "content" / "current" for site in ("old", "new")]
    for place in places:
        write(place, {"start.ipynb": place.parts[-6]})
        start(place, home)
        assert Path(os.readlink(home / "course")) == place
    assert own(home) == {"start.ipynb": "old"}


def test_dangling_link_is_mended(material: Path, home: Path) -> None:
    (home / "course").symlink_to("/nowhere")
    start(material, home)
    assert Path(os.readlink(home / "course")) == material


def test_own_folder_or_file_or_link_called_course_is_kept(material: Path, home: Path, tmp_path: Path) -> None:
    write(home, {"course/notes.txt": "mine"})
    start(material, home)
    assert (home / "course" / "notes.txt").read_text() == "mine" and not (home / "course").is_symlink()

    for number, make in enumerate((lambda p: p.write_text("mine"), lambda p: p.symlink_to("mine"))):
        other = tmp_path / f"home{number}"
        write(other, {"mine/notes.txt": "mine"})
        make(other / "course")
        start(material, other)
        if number:
            assert os.readlink(other / "course") == "mine"
        else:
            assert (other / "course").read_text() == "mine"


def test_material_with_a_folder_called_course_is_not_written_into_itself(material: Path, home: Path) -> None:
    write(material, {"course/extra.ipynb": "x"})
    before = sorted(p.relative_to(material) for p in material.rglob("*"))
    start(material, home)
    assert sorted(p.relative_to(material) for p in material.rglob("*")) == before
    assert own(home) == {"start.ipynb": "start", "data/numbers.csv": "1,2"}


def test_links_in_the_way_are_not_followed(material: Path, home: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (home / "start.ipynb").symlink_to(outside / "not-there")
    (home / ".start.ipynb.partial").symlink_to(outside / "partial")
    start(material, home)
    assert list(outside.iterdir()) == []
    assert os.readlink(home / "start.ipynb") == str(outside / "not-there")
    assert own(home) == {"data/numbers.csv": "1,2"}


IN_THE_WAY = {
    "note is a folder": lambda home: (home / ".courseware" / "given.json").mkdir(parents=True),
    "note's folder is a file": lambda home: (home / ".courseware").write_text(""),
    "note's folder is a dangling link": lambda home: (home / ".courseware").symlink_to("/nowhere/x"),
    "a file where a folder should be": lambda home: (home / "data").write_text("mine"),
    "a folder where a file should be": lambda home: (home / "start.ipynb").mkdir(),
    "a folder where a copy was made once": lambda home: (home / ".start.ipynb.partial").mkdir(),
    "a dangling link where a folder should be": lambda home: (home / "data").symlink_to("/nowhere/x"),
    "a link in a circle": lambda home: (home / "data").symlink_to("data"),
    "course in a circle": lambda home: (home / "course").symlink_to("course"),
}


@pytest.mark.parametrize("what", IN_THE_WAY)
def test_whatever_is_in_the_way_the_server_starts(material: Path, home: Path, what: str) -> None:
    IN_THE_WAY[what](home)
    start(material, home)
    start(material, home)
    given = own(home)
    assert "start.ipynb" in given or "data/numbers.csv" in given


def test_home_that_cannot_be_written_to_lets_the_server_start(
    material: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "symlink_to", refused)
    monkeypatch.setattr(Path, "mkdir", refused)
    start(material, home)


def test_a_learner_may_remove_all_traces(material: Path, home: Path) -> None:
    start(material, home)
    (home / "course").unlink()
    (home / ".courseware" / "given.json").unlink()
    (home / "start.ipynb").unlink()
    start(material, home)
    assert own(home) == {"start.ipynb": "start", "data/numbers.csv": "1,2"}
