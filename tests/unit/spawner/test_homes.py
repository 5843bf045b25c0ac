"""Home folders: owner and mode before the start, hand-over without following a link, sentences when storage fails."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from coursewarespawner import homes, messages
from coursewarespawner.homes import HomeOrder, prepare
from coursewarespawner.messages import StartFailed

UID, GROUP, FORMER = 123_456_789, 987_654, 4242

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give folders away")


@pytest.fixture
def order(tmp_path: Path) -> HomeOrder:
    storage = tmp_path / "storage"
    storage.mkdir()
    home = storage / "homes/alpha/home-sam"
    return HomeOrder(home, UID, GROUP, storage / "shared/alpha", ("shared", "students"))


def of(path: Path) -> tuple[int, int, str]:
    found = path.lstat()
    return found.st_uid, found.st_gid, oct(stat.S_IMODE(found.st_mode))


def test_folders_of_a_first_start(order: HomeOrder) -> None:
    prepare(order)
    me = os.geteuid()
    assert {str(path.relative_to(order.storage)): of(path) for path in sorted(order.storage.rglob("*"))} == {
        "homes": (me, os.getegid(), "0o711"),
        "homes/alpha": (me, GROUP, "0o751"),
        "homes/alpha/home-sam": (UID, GROUP, "0o2750"),
        "homes/alpha/home-sam/shared": (UID, GROUP, "0o755"),
        "homes/alpha/home-sam/students": (UID, GROUP, "0o755"),
        "shared": (me, os.getegid(), "0o711"),
        "shared/alpha": (me, GROUP, "0o2775"),
    }


def test_who_may_look_into_a_home(order: HomeOrder) -> None:
    prepare(order)
    (order.home / "work.txt").write_text("x")
    os.chown(order.home / "work.txt", UID, GROUP)
    for folder in order.storage.parents:
        if folder.stat().st_mode & 0o001 == 0:
            folder.chmod(folder.stat().st_mode | 0o001)

    def reads(uid: int, gid: int, *groups: int) -> bool:
        command = ["cat", str(order.home / "work.txt")]
        done = subprocess.run(command, user=uid, group=gid, extra_groups=groups, capture_output=True, check=False)
        return done.returncode == 0

    assert reads(UID, UID), "the learner"
    assert reads(UID + 1, UID + 1, GROUP), "staff of the course"
    assert not reads(UID + 1, UID + 1), "another learner"
    assert not reads(UID + 1, UID + 1, GROUP + 1), "staff of another course"


def test_second_start_changes_nothing(order: HomeOrder) -> None:
    prepare(order)
    (order.home / "secret").write_text("x")
    (order.home / "secret").chmod(0o600)
    before = {path: (of(path), path.lstat().st_ctime_ns) for path in order.storage.rglob("*")}
    prepare(order)
    assert {path: (of(path), path.lstat().st_ctime_ns) for path in order.storage.rglob("*")} == before


def test_lost_mode_and_group_are_mended(order: HomeOrder) -> None:
    prepare(order)
    os.chown(order.home, UID, 0)
    order.home.chmod(0o777)
    os.chown(order.home.parent, 0, 0)
    prepare(order)
    assert of(order.home) == (UID, GROUP, "0o2750")
    assert of(order.home.parent) == (os.geteuid(), GROUP, "0o751")


def former_home(order: HomeOrder, tmp_path: Path) -> dict[str, Path]:
    """A home of another account, with everything in it that a learner can plant."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("somebody else's")
    (outside / "deep").mkdir()
    order.home.mkdir(parents=True)
    (order.home / "notes").mkdir(mode=0o700)
    (order.home / "notes/work.ipynb").write_text("{}")
    (order.home / "link-to-file").symlink_to(outside / "file")
    (order.home / "link-to-folder").symlink_to(outside)
    (order.home / "notes/up").symlink_to("../../../..")
    os.link(outside / "file", order.home / "hard-link")
    os.mkfifo(order.home / "pipe")
    (order.home / "roots").write_text("x")
    for path in (order.home, *order.home.rglob("*"), outside / "file", outside / "deep", outside):
        if path.name != "roots":
            os.chown(path, FORMER, FORMER, follow_symlinks=False)
    return {"file": outside / "file", "deep": outside / "deep", "outside": outside}


def test_home_of_another_owner_is_handed_over_without_following_links(order: HomeOrder, tmp_path: Path) -> None:
    outside = former_home(order, tmp_path)
    prepare(order)
    handed = ("", "notes", "notes/work.ipynb", "link-to-file", "link-to-folder", "notes/up", "pipe", "shared")
    assert {name: of(order.home / name)[:2] for name in handed} == dict.fromkeys(handed, (UID, GROUP))
    assert of(order.home / "notes")[2] == "0o700"
    assert {name: of(path)[0] for name, path in outside.items()} == dict.fromkeys(outside, FORMER)
    assert of(order.home / "hard-link")[0] == FORMER, "it may be somebody else's file"
    assert of(order.home / "roots")[0] == 0, "it was not the former owner's"
    assert (order.home / "notes/work.ipynb").read_text() == "{}"


def test_home_is_handed_over_once(order: HomeOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    former_home(order, tmp_path)
    prepare(order)
    monkeypatch.setattr(homes, "_hand_over", lambda *_: pytest.fail("handed over again"))
    prepare(order)


def test_interrupted_hand_over_goes_on(order: HomeOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    former_home(order, tmp_path)
    give, calls = homes._give, []

    def twice(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 3:
            raise OSError(errno.EIO, "Input/output error")
        give(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(homes, "_give", twice)
    with pytest.raises(StartFailed, match="does not work"):
        prepare(order)
    assert of(order.home)[0] == FORMER
    monkeypatch.undo()
    prepare(order)
    assert of(order.home / "notes/work.ipynb")[:2] == of(order.home)[:2] == (UID, GROUP)


def test_home_that_is_a_link_is_refused(order: HomeOrder, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    order.home.parent.mkdir(parents=True)
    order.home.symlink_to(target)
    with pytest.raises(StartFailed):
        prepare(order)
    assert of(target)[0] == os.geteuid() and not list(target.iterdir())


@pytest.mark.parametrize("kind", ["link", "file", "dangling"])
def test_what_a_learner_put_in_place_of_a_mount_point_is_kept(order: HomeOrder, tmp_path: Path, kind: str) -> None:
    (tmp_path / "outside").mkdir()
    order.home.mkdir(parents=True)
    os.chown(order.home, UID, GROUP)
    place = order.home / "shared"
    if kind == "file":
        place.write_text("my own")
    else:
        place.symlink_to(tmp_path / ("outside" if kind == "link" else "nowhere"))
    (order.home / "shared.mine-1").write_text("older")
    prepare(order)
    assert place.is_dir() and not place.is_symlink() and of(place)[:2] == (UID, GROUP)
    kept = order.home / "shared.mine-2"
    assert kept.read_text() == "my own" if kind == "file" else kept.is_symlink()
    assert (order.home / "shared.mine-1").read_text() == "older"
    assert of(tmp_path / "outside")[0] == os.geteuid()


def test_mount_point_with_something_in_it_stays(order: HomeOrder) -> None:
    (order.home / "shared").mkdir(parents=True)
    (order.home / "shared/mine").write_text("x")
    prepare(order)
    assert (order.home / "shared/mine").read_text() == "x"


def test_without_shared_folder_none_is_made(order: HomeOrder) -> None:
    prepare(replace(order, shared=None, points=()))
    assert [path.name for path in order.storage.iterdir()] == ["homes"]
    assert list(order.home.iterdir()) == []


def test_missing_storage_is_not_made(order: HomeOrder) -> None:
    order.storage.rmdir()
    with pytest.raises(StartFailed) as caught:
        prepare(order)
    assert caught.value.told.template == messages.STORAGE_MISSING
    assert not order.storage.exists()
    assert str(order.storage) in caught.value.detail and str(order.storage) not in caught.value.jupyterhub_message


@pytest.mark.parametrize(
    ("number", "template"),
    [
        (errno.ENOSPC, messages.STORAGE_FULL),
        (errno.EDQUOT, messages.STORAGE_FULL),
        (errno.EROFS, messages.STORAGE_READ_ONLY),
        (errno.EPERM, messages.STORAGE_FORBIDDEN),
        (errno.EACCES, messages.STORAGE_FORBIDDEN),
        (errno.EIO, messages.STORAGE_FAILED),
        (errno.ESTALE, messages.STORAGE_FAILED),
    ],
)
def test_what_is_wrong_with_the_storage_is_a_sentence(
    order: HomeOrder, monkeypatch: pytest.MonkeyPatch, number: int, template: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fchown", fails)
    with pytest.raises(StartFailed) as caught:
        prepare(order)
    assert caught.value.told.template == template
    assert caught.value.detail == f"{order.home}: {os.strerror(number)}"


def mounted(options: str, place: Path) -> None:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "storage", str(place)], check=True)


def test_full_and_read_only_storage_for_real(order: HomeOrder) -> None:
    try:
        mounted("size=64k", order.storage)
    except subprocess.CalledProcessError:
        pytest.skip("nothing may be mounted here")
    try:
        prepare(order)
        (order.storage / "filler").touch()
        with pytest.raises(OSError, match="No space left"):
            (order.storage / "filler").write_bytes(b"x" * 200_000)
        other = replace(order, home=order.home.with_name("home-" + "x" * 50))
        many = replace(other, points=tuple(f"point-{number}" for number in range(200)))
        subprocess.run(["mount", "-o", "remount,nr_inodes=12", str(order.storage)], check=True)
        with pytest.raises(StartFailed, match="is full"):
            prepare(many)
        subprocess.run(["mount", "-o", "remount,ro", str(order.storage)], check=True)
        with pytest.raises(StartFailed, match="can only be read"):
            prepare(replace(order, home=order.home.with_name("home-new")))
        prepare(order)
    finally:
        subprocess.run(["umount", str(order.storage)], check=True)
