"""Files are replaced whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from coursewarehub.state import files
from coursewarehub.state.files import replace_text, rotate


def test_reader_of_the_old_file_is_not_disturbed(tmp_path: Path) -> None:
    file = tmp_path / "a"
    replace_text(file, "old text")
    with file.open() as reader:
        replace_text(file, "new")
        assert reader.read() == "old text"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_mode(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "a"
    file.write_text("")
    file.chmod(0o666)
    before = os.umask(0o022)
    try:
        replace_text(file, "x", mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == mode


def test_folder_is_made_for_the_own_account_only(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a"
    replace_text(file, "été 日本")
    assert file.read_text(encoding="utf-8") == "été 日本"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_crash_before_the_end_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a"
    replace_text(file, "old")

    def crash(_descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(files.os, "fsync", crash)
    with pytest.raises(OSError):
        replace_text(file, "new")
    assert file.read_text() == "old"
    monkeypatch.undo()
    replace_text(file, "new")
    assert file.read_text() == "new"


def test_link_is_replaced_not_followed(tmp_path: Path) -> None:
    target, file = tmp_path / "target", tmp_path / "a"
    target.write_text("kept")
    file.symlink_to(target)
    replace_text(file, "new")
    assert target.read_text() == "kept" and file.read_text() == "new" and not file.is_symlink()


def test_large_log_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGEST_LOG", 10)
    log = tmp_path / "hub.log"
    rotate(log)
    log.write_text("short")
    rotate(log)
    assert log.read_text() == "short"
    for text in ("long enough to go", "and another that is"):
        log.write_text(text)
        rotate(log)
        assert not log.exists() and (tmp_path / "hub.log.1").read_text() == text
