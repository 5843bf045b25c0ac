"""Files are written whole or not at all, and what may not be written is refused with a sentence."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.learner_server import FakeHub, LearnerServer
from tornado.web import HTTPError

from coursewarehub.singleuser import lease
from coursewarehub.singleuser.content import CourseContentsManager, on_read_only_storage, whole_file
from coursewarehub.singleuser.lease import Answer, Deeds, LeaseKeeper
from coursewarehub.wire import messages

TEXT = {"type": "file", "format": "text", "content": "changed"}


def write(path: Path, text: str) -> None:
    with whole_file(path, True, "utf-8") as file:
        file.write(text)


def test_new_and_old_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "new", "one\n")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640
    (tmp_path / "new").chmod(0o604)
    write(tmp_path / "new", "two\n")
    assert (tmp_path / "new").read_text() == "two\n"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o604
    with whole_file(tmp_path / "bytes", False, "") as file:
        file.write(b"\r\n")
    assert (tmp_path / "bytes").read_bytes() == b"\r\n"
    assert sorted(os.listdir(tmp_path)) == ["bytes", "new"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "file").write_text("old")
    (tmp_path / "link").symlink_to("far/file")
    write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "far" / "file").read_text() == "new"


def test_a_name_as_long_as_a_name_can_be(tmp_path: Path) -> None:
    name = "長" * 85
    assert len(name.encode()) == 255
    write(tmp_path / name, "fits")
    assert (tmp_path / name).read_text() == "fits"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    for name in ("file", "new"):
        with pytest.raises(OSError, match="full"), whole_file(tmp_path / name, True, "utf-8") as file:
            file.write("half of it")
            file.flush()
            raise OSError(errno.ENOSPC, "the disk is full")
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "old"


def test_d01_a_killed_server_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    """Saves of a large file, the process killed at any moment: never half a file."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom coursewarehub.singleuser.content import whole_file\n"
        "print('ready', flush=True)\n"
        "for number in range(100000):\n"
        "    with whole_file(Path(sys.argv[1]), True, 'utf-8') as file:\n"
        "        for _ in range(20): file.write(f'{number:08}' * 5000)\n"
        "    print(number, flush=True)\n"
    )
    file = tmp_path / "file"
    command = [sys.executable, "-c", program, str(file)]
    for attempt in range(8):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.stdout.readline()
        time.sleep(0.003 * attempt)
        process.send_signal(signal.SIGKILL)
        told = [int(line) for line in process.stdout.read().split()]
        process.wait()
        text = file.read_text()
        assert len(text) == 800_000 and len({text[at : at + 8] for at in range(0, len(text), 8)}) == 1
        assert int(text[:8]) >= (told[-1] if told else 0), "what was acknowledged is there"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (errno.EACCES, messages.NOT_YOURS),
        (errno.EPERM, messages.NOT_YOURS),
        (errno.EROFS, messages.READ_ONLY),
    ],
)
def test_what_the_system_refuses_is_a_sentence(tmp_path: Path, error: int, sentence: messages.Sentence) -> None:
    manager = CourseContentsManager(root_dir=str(tmp_path))
    with pytest.raises(HTTPError) as refused, manager.perm_to_403("a path"):
        raise OSError(error, os.strerror(error))
    assert (refused.value.status_code, refused.value.log_message) == (403, sentence["en"])
    with pytest.raises(OSError, match="full"), manager.perm_to_403():
        raise OSError(errno.ENOSPC, "full")


def test_storage_that_is_mounted_read_only(tmp_path: Path) -> None:
    assert not on_read_only_storage(tmp_path)
    assert not on_read_only_storage(tmp_path / "not" / "yet" / "there")
    # The kernel's own: read only in most containers, and never for writing.
    read_only = [
        Path(fields[1])
        for fields in (line.split() for line in Path("/proc/mounts").read_text().splitlines())
        if "ro" in fields[3].split(",") and Path(fields[1]).is_dir()
    ]
    for path in read_only[:3]:
        assert on_read_only_storage(path) and on_read_only_storage(path / "not" / "there")


def test_nothing_is_written_while_paused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> Answer:
        return Answer.UNKNOWN

    keeper = LeaseKeeper(0.1, never, Deeds(lambda: None, lambda: None, lambda: None))  # not started
    monkeypatch.setattr(lease, "_keeper", keeper)
    manager = CourseContentsManager(root_dir=str(tmp_path))

    async def save(name: str) -> Any:
        return await manager.save(dict(TEXT), name)

    asyncio.run(save("before.txt"))
    time.sleep(0.15)
    with pytest.raises(HTTPError) as refused:
        asyncio.run(save("after.txt"))
    assert (refused.value.status_code, refused.value.log_message) == (503, messages.PAUSED["en"])
    assert os.listdir(tmp_path) == ["before.txt"]


def test_the_end_waits_for_what_is_being_written(tmp_path: Path) -> None:
    manager = CourseContentsManager(root_dir=str(tmp_path))

    async def story() -> list[str]:
        order = []
        with manager.atomic_writing(str(tmp_path / "slow.txt")) as file:
            settled = asyncio.create_task(manager.settled(5))
            file.write("all of it")
            await asyncio.sleep(0.1)
            order.append(f"written, settled: {settled.done()}")
        await settled
        order.append("settled")
        return order

    assert asyncio.run(story()) == ["written, settled: False", "settled"]


# -- what a container mounts ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_staff_read_homes_and_share_files(tmp_path: Path) -> None:
    """`students` mounted read only, `shared` for writing, material behind a link to the current release."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount")
    home, homes, shared, content = (tmp_path / name for name in ("home", "homes", "common", "content"))
    for folder in (home / "students", home / "shared", homes / "home-sam", shared, content / "r1", content / "r2"):
        folder.mkdir(parents=True)
    (homes / "home-sam" / "work.txt").write_text("by sam")
    (content / "r1" / "start.txt").write_text("one")
    (content / "r2" / "start.txt").write_text("two")
    (content / "current").symlink_to("r1")
    mounts = " && ".join(
        (
            f"mount --bind {homes} {home}/students && mount -o remount,bind,ro {home}/students",
            f"mount --bind {shared} {home}/shared",
            f"mount --bind {content} {content} && mount -o remount,bind,ro {content}",
            'exec "$@"',
        )
    )
    with FakeHub() as hub:
        server = LearnerServer(
            home,
            hub,
            COURSEWARE_CONTENT=str(content / "current"),
            COURSEWARE_HOMES=str(home / "students"),
            COURSEWARE_SHARED=str(home / "shared"),
        )
        server.through = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", mounts, "sh"]
        with server:
            top = server.request("GET", "api/contents/").json()["content"]
            assert {entry["name"]: entry["writable"] for entry in top} == {
                "course": False,
                "shared": True,
                "start.txt": True,
                "students": False,
            }
            listed = server.request("GET", "api/contents/students").json()["content"]
            assert [(entry["name"], entry["writable"]) for entry in listed] == [("home-sam", False)]
            shown = server.request("GET", "api/contents/students/home-sam/work.txt").json()
            assert (shown["content"], shown["writable"]) == ("by sam", False)
            assert server.request("GET", "api/contents/students/home-sam/work.txt/checkpoints").json() == []

            refused = [
                server.save("students/home-sam/work.txt", "by ada"),
                server.save("students/home-sam/new/deep.txt", "by ada"),
                server.request("DELETE", "api/contents/students/home-sam/work.txt"),
                server.request("PATCH", "api/contents/students/home-sam/work.txt", json={"path": "taken.txt"}),
                server.request("POST", "api/contents/students", json={"type": "directory"}),
                server.request("POST", "api/contents/students/home-sam/work.txt/checkpoints"),
                server.request("DELETE", "api/contents/students"),
            ]
            assert [answer.status_code for answer in refused] == [403] * len(refused)
            assert {answer.json()["message"] for answer in refused} == {messages.READ_ONLY["en"]}
            assert (homes / "home-sam" / "work.txt").read_text() == "by sam"
            taken = server.request("POST", "api/contents/", json={"copy_from": "students/home-sam/work.txt"})
            assert taken.status_code == 201 and (home / "work.txt").read_text() == "by sam"
            assert server.save("shared/for-all.txt", "hello").status_code == 201
            assert (shared / "for-all.txt").read_text() == "hello"
            for answer in (
                server.request("PATCH", "api/contents/shared", json={"path": "mine"}),
                server.request("DELETE", "api/contents/shared"),
            ):
                assert (answer.status_code, answer.json()["message"]) == (403, messages.COURSE_FOLDER["en"])
            assert (shared / "for-all.txt").exists()

            # The course folder follows the link to the next release; what was given stays.
            assert os.readlink(home / "course") == str(content / "current")
            course = "api/contents/course/start.txt"
            assert server.request("GET", course).json()["content"] == "one"
            (content / "next").symlink_to("r2")
            (content / "next").replace(content / "current")
            assert server.request("GET", course).json()["content"] == "two"
            assert server.save("course/start.txt", "mine").status_code == 403
            assert (home / "start.txt").read_text() == "one"
