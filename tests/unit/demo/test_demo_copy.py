"""`copy_to` makes the demo site, once, and never over anything else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

import coursewarehub.demo
from coursewarehub.demo import MARKER, copy_to
from coursewarehub.model import Role, check_site

PACKAGED = Path(coursewarehub.demo.__file__).parent / "site"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def no_umask() -> Iterator[None]:
    previous = os.umask(0)
    yield
    os.umask(previous)


@pytest.mark.usefixtures("no_umask")
def test_a_missing_folder_becomes_the_demo_site(tmp_path: Path) -> None:
    folder = tmp_path / "some" / "where"
    copy_to(folder, "open sesame")
    copied = contents(folder)
    assert copied.pop("demo-password") == b"open sesame\n"
    assert copied.pop(MARKER)
    assert copied == contents(PACKAGED)
    assert mode(folder / "demo-password") == 0o600
    assert mode(folder / "state") == 0o700


def test_an_empty_folder_becomes_the_demo_site(tmp_path: Path) -> None:
    copy_to(tmp_path, "open sesame")
    assert (tmp_path / "site.yaml").is_file()


def test_the_demo_site_is_a_valid_configuration(tmp_path: Path) -> None:
    copy_to(tmp_path, "open sesame")
    site = check_site(tmp_path)
    assert site.problems == ()
    assert set(site.courses) == {"python-basics", "queueing-simulation"}
    for course in site.courses.values():
        assert course.state == "open"
        assert course.authentication.self_chosen_names
        assert course.authentication.password is not None
        secret = course.authentication.password.resolve(tmp_path, {})
        assert secret.get_secret_value() == "open sesame"
        assert len({course.title.text(language) for language in ("en", "ja", "fr")}) == 3
        assert len({course.description.text(language) for language in ("en", "ja", "fr")}) == 3
    basics, queueing = site.courses["python-basics"], site.courses["queueing-simulation"]
    assert [basics.members.role_of(name) for name in ("ada", "grace")] == [Role.INSTRUCTOR, Role.ASSISTANT]
    assert [queueing.members.role_of(name) for name in ("agner", "grace")] == [Role.INSTRUCTOR, Role.STUDENT]


def test_the_demo_site_is_left_as_it_is(tmp_path: Path) -> None:
    copy_to(tmp_path, "open sesame")
    work = tmp_path / "homes" / "python-basics" / "emmy" / "01-first-steps.ipynb"
    work.parent.mkdir(parents=True)
    work.write_text("hours of work")
    (tmp_path / "site.yaml").write_text("title: Mine\nmode: development\n")
    (tmp_path / "courses.d" / "queueing-simulation.yaml").unlink()
    before = contents(tmp_path)
    copy_to(tmp_path, "another password")
    assert contents(tmp_path) == before


def test_an_interrupted_copy_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "demo"

    def full_disk(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(coursewarehub.demo, "_write_private", full_disk)
        with pytest.raises(OSError, match="no space"):
            copy_to(folder, "first")
    (folder / "site.yaml").write_text("tit")
    copy_to(folder, "second")
    assert (folder / "site.yaml").read_bytes() == (PACKAGED / "site.yaml").read_bytes()
    assert (folder / "demo-password").read_text() == "second\n"


def test_a_folder_in_other_use_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("chapter 1")
    with pytest.raises(ValueError, match=r"has files and is not the demo site; name an empty folder") as refusal:
        copy_to(tmp_path, "open sesame")
    assert str(tmp_path) in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert contents(tmp_path) == {"thesis.txt": b"chapter 1"}


def test_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "demo"
    file.write_text("not a folder")
    with pytest.raises(ValueError, match="is a file"):
        copy_to(file, "open sesame")
    assert file.read_text() == "not a folder"


@pytest.mark.parametrize("password", ["", "  ", "two\nlines", "line\n"])
def test_a_password_that_nobody_could_type_is_refused(tmp_path: Path, password: str) -> None:
    folder = tmp_path / "demo"
    with pytest.raises(ValueError, match="one line of text"):
        copy_to(folder, password)
    assert not folder.exists()
