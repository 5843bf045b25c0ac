"""A course's material: published whole, read only, and from sources that can do no harm."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.models import a_course
from support.sites import alive, eventually

from coursewarehub.site import content
from coursewarehub.site.content import ContentError, publish
from coursewarehub.state.folders import CourseFolders, SiteFolders

COURSE = a_course(content={"folder": "content/alpha"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    source = tmp_path / "content" / "alpha"
    (source / "data").mkdir(parents=True)
    (source / "start.ipynb").write_text("{}")
    (source / "data" / "numbers.csv").write_text("1,2\n")
    return tmp_path


@pytest.fixture
def folders(root: Path) -> CourseFolders:
    return SiteFolders(root).course("alpha")


def files(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_material_is_what_learners_see_read_only(root: Path, folders: CourseFolders) -> None:
    published = publish(root, COURSE, folders)
    current = folders.content / "current"
    assert published == current.resolve()
    assert files(current) == {"start.ipynb": "{}", "data/numbers.csv": "1,2\n"}
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (published, *published.rglob("*"))}
    assert modes == {0o444, 0o555}


def test_material_for_containers_can_be_read_by_other_accounts(root: Path) -> None:
    """Learners' containers have uids of their own; a narrow umask and the usual place of the source do no harm."""
    folders = SiteFolders(root, storage=root).course("alpha")
    umask = os.umask(0o077)
    try:
        published = publish(root, COURSE, folders)
        assert publish(root, COURSE, folders) == published
    finally:
        os.umask(umask)
    assert published is not None and not published.is_relative_to(root / "state")
    assert not published.is_relative_to(root / "content")
    above = (published.parent.parent, published.parent)
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in above] == [0o755, 0o755]
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (published, *published.rglob("*"))}
    assert modes == {0o444, 0o555}
    # A link out of the mounted folder would lead nowhere in the container.
    assert (folders.content / "current").readlink() == Path(published.name)


def test_unchanged_material_is_not_copied_again(
    root: Path, folders: CourseFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(root, COURSE, folders)
    monkeypatch.setattr(content, "_copy", lambda *_: pytest.fail("copied again"))
    os.utime(root / "content" / "alpha" / "start.ipynb", (1, 1))
    assert publish(root, COURSE, folders) == first


def test_new_material_leaves_the_old_one_as_it_was(root: Path, folders: CourseFolders) -> None:
    first = publish(root, COURSE, folders)
    (root / "content" / "alpha" / "start.ipynb").write_text("{2}")
    second = publish(root, COURSE, folders)
    assert first is not None and second is not None and first != second
    assert files(first)["start.ipynb"] == "{}" and files(second)["start.ipynb"] == "{2}"
    assert (folders.content / "current").resolve() == second
    (root / "content" / "alpha" / "start.ipynb").write_text("{}")
    assert publish(root, COURSE, folders) == first


@pytest.mark.parametrize(
    "change",
    [
        lambda source: (source / "start.ipynb").rename(source / "begin.ipynb"),
        lambda source: (source / "data" / "numbers.csv").rename(source / "numbers.csv"),
        lambda source: (source / "new.txt").write_text(""),
        lambda source: (source / "start.ipynb").unlink(),
    ],
)
def test_names_count_as_much_as_contents(root: Path, folders: CourseFolders, change: Callable[[Path], object]) -> None:
    first = publish(root, COURSE, folders)
    change(root / "content" / "alpha")
    assert publish(root, COURSE, folders) != first


def test_links_and_version_control_are_left_out(root: Path, folders: CourseFolders) -> None:
    source = root / "content" / "alpha"
    (root / "secret").write_text("planted")
    (source / "link").symlink_to(root / "secret")
    (source / "folder-link").symlink_to(root)
    (source / "dangling").symlink_to("nowhere")
    os.mkfifo(source / "pipe")
    for left_out in (".git", ".ipynb_checkpoints", "__pycache__", "data/.git"):
        (source / left_out).mkdir()
        (source / left_out / "x").write_text("planted")
    published = publish(root, COURSE, folders)
    assert published is not None
    assert files(published) == {"start.ipynb": "{}", "data/numbers.csv": "1,2\n"}
    assert not [p for p in published.rglob("*") if p.is_symlink()]


def test_pointer_is_never_missing(root: Path, folders: CourseFolders) -> None:
    publish(root, COURSE, folders)
    current, stop, missed = folders.content / "current", threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            if not current.is_dir():
                missed.append(time.monotonic())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for number in range(20):
            (root / "content" / "alpha" / "start.ipynb").write_text(str(number))
            publish(root, COURSE, folders)
    finally:
        stop.set()
        looking.join()
    assert missed == []


def test_interrupted_copy_is_not_taken_for_a_publication(
    root: Path, folders: CourseFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(root, COURSE, folders)
    (root / "content" / "alpha" / "start.ipynb").write_text("{2}")

    def crash(_source: Path, _target: Path) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(content.shutil, "copyfile", crash)
    with pytest.raises(OSError):
        publish(root, COURSE, folders)
    assert (folders.content / "current").resolve() == first
    monkeypatch.undo()
    second = publish(root, COURSE, folders)
    assert second is not None and files(second)["start.ipynb"] == "{2}"


def test_course_without_content(root: Path, folders: CourseFolders) -> None:
    assert publish(root, a_course(), folders) is None
    assert not folders.content.exists()


def test_missing_folder_is_one_sentence(root: Path, folders: CourseFolders) -> None:
    course = a_course(content={"folder": "content/nope"})
    with pytest.raises(ContentError, match=r"^there is no folder `content/nope` for the content of alpha$"):
        publish(root, course, folders)


# -- git ------------------------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main")
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A bare repository with two branches and a tag."""
    work, bare = tmp_path / "work", tmp_path / "bare.git"
    work.mkdir()
    git(work, "init", "--quiet")
    (work / "start.ipynb").write_text("main")
    (work / "link").symlink_to("/etc/passwd")
    (work / ".gitconfig").write_text(f'[core]\n  fsmonitor = "touch {tmp_path}/PLANTED"\n')
    git(work, "add", "-A")
    git(work, "commit", "--quiet", "-m", "1")
    git(work, "tag", "v1")
    git(work, "checkout", "--quiet", "-b", "next")
    (work / "start.ipynb").write_text("next")
    git(work, "commit", "--quiet", "-am", "2")
    git(work, "checkout", "--quiet", "main")
    git(tmp_path, "clone", "--quiet", "--bare", str(work), str(bare))
    return bare


@pytest.fixture
def local_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same settings, but for where a repository may be."""
    monkeypatch.setattr(content, "_GIT_SETTINGS", (*content._GIT_SETTINGS, "protocol.file.allow=always"))


@pytest.mark.usefixtures("local_allowed")
@pytest.mark.parametrize(("ref", "text"), [(None, "main"), ("main", "main"), ("next", "next"), ("v1", "main")])
def test_repository_is_fetched(repository: Path, tmp_path: Path, ref: str | None, text: str) -> None:
    checkout = tmp_path / "checkout"
    assert content._fetch(f"file://{repository}", ref, checkout) == checkout
    assert (checkout / "start.ipynb").read_text() == text
    assert not (checkout / "link").is_symlink(), "a link out of the folder is not made"
    assert not (tmp_path / "PLANTED").exists()


@pytest.mark.usefixtures("local_allowed")
def test_newer_state_replaces_the_checkout(repository: Path, tmp_path: Path) -> None:
    checkout, work = tmp_path / "checkout", tmp_path / "work"
    content._fetch(f"file://{repository}", None, checkout)
    (work / "start.ipynb").write_text("newer")
    git(work, "commit", "--quiet", "-am", "3")
    git(work, "push", "--quiet", str(repository), "main")
    content._fetch(f"file://{repository}", None, checkout)
    assert (checkout / "start.ipynb").read_text() == "newer"
    assert not (tmp_path / "PLANTED").exists()


@pytest.mark.usefixtures("local_allowed")
def test_failed_fetch_keeps_the_checkout(repository: Path, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    content._fetch(f"file://{repository}", None, checkout)
    with pytest.raises(
        ContentError, match=r"git could not fetch the content: .*; check `content\.git` and `ref`"
    ) as error:
        content._fetch(f"file://{repository}", "no-such-branch", checkout)
    assert len(str(error.value).splitlines()) == 1
    assert (checkout / "start.ipynb").read_text() == "main"


@pytest.mark.usefixtures("local_allowed")
def test_hooks_and_commands_of_a_checkout_do_not_run(repository: Path, tmp_path: Path) -> None:
    hook = repository / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/PLANTED\n")
    hook.chmod(0o755)
    template = tmp_path / "home" / ".gitconfig"
    template.parent.mkdir()
    template.write_text(f"[core]\n  hooksPath = {hook.parent}\n")
    content._fetch(f"file://{repository}", None, tmp_path / "checkout")
    assert not (tmp_path / "PLANTED").exists()


@pytest.mark.parametrize(
    "url",
    [
        "file://{bare}",
        "{bare}",
        "ext::sh -c touch% {tmp}/PLANTED",
        "fd::3",
        "http://127.0.0.1:1/x",
        "git://127.0.0.1:1/x",
    ],
)
def test_repository_may_only_be_reached_by_https_and_ssh(repository: Path, tmp_path: Path, url: str) -> None:
    with pytest.raises(ContentError):
        content._fetch(url.format(bare=repository, tmp=tmp_path), None, tmp_path / "checkout")
    assert not (tmp_path / "PLANTED").exists() and not (tmp_path / "checkout").exists()


@pytest.mark.usefixtures("local_allowed")
@pytest.mark.parametrize("where", ["ref", "url"])
@pytest.mark.parametrize(
    "option",
    ["--upload-pack=touch {tmp}/PLANTED;", "-utouch {tmp}/PLANTED", "--output={tmp}/PLANTED", "-c core.pager=x"],
)
def test_option_in_place_of_a_value_is_none(repository: Path, tmp_path: Path, where: str, option: str) -> None:
    planted = option.format(tmp=tmp_path)
    url, ref = (planted, "main") if where == "url" else (f"file://{repository}", planted)
    with pytest.raises(ContentError):
        content._fetch(url, ref, tmp_path / "checkout")
    assert not (tmp_path / "PLANTED").exists()


def test_missing_git_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ContentError, match="git is missing: install it"):
        content._fetch("https://example.org/x.git", None, tmp_path / "checkout")


@contextmanager
def silent_server() -> Iterator[int]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def gits() -> set[int]:
    found = subprocess.run(["pgrep", "-f", "127.0.0.1:[0-9]+/silent.git"], capture_output=True, text=True, check=False)
    return {int(pid) for pid in found.stdout.split() if alive(int(pid))}


def test_silent_server_is_given_up_with_everything_git_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "_GIT_SECONDS", 0.5)
    with silent_server() as port:
        begin = time.monotonic()
        fetching = threading.Thread(
            target=_fetch_and_say, args=(f"https://127.0.0.1:{port}/silent.git", tmp_path), daemon=True
        )
        fetching.start()
        fetching.join(5)
        assert not fetching.is_alive(), "it waits for git's own children"
        assert time.monotonic() - begin < 5
        assert "took more than" in (tmp_path / "said").read_text()
        eventually(lambda: not gits(), 3)


def test_stop_ends_a_fetch_with_everything_git_started(tmp_path: Path) -> None:
    with silent_server() as port:
        fetching = threading.Thread(
            target=_fetch_and_say, args=(f"https://127.0.0.1:{port}/silent.git", tmp_path), daemon=True
        )
        fetching.start()
        eventually(lambda: len(gits()) >= 2, 5)
        content.stop_fetching()
        fetching.join(5)
        assert not fetching.is_alive()
        eventually(lambda: not gits(), 3)


def _fetch_and_say(url: str, folder: Path) -> None:
    try:
        content._fetch(url, None, folder / "checkout")
    except ContentError as error:
        (folder / "said").write_text(str(error))
