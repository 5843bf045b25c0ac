"""Memory that is used up: the kernel goes, the server stays, the learner is told; files of cgroups as they are."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import websocket
from support.learner_server import FakeHub, LearnerServer, ServerKernel
from support.sites import NOTEBOOK, eventually

from coursewarehub.singleuser.memory import MemoryGroup, MemoryWatch, Running, children, first_to_go, launched, told
from coursewarehub.singleuser.notices import Board
from coursewarehub.wire import messages

V1_EVENTS = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
V2_EVENTS = "low 0\nhigh 0\nmax 12\noom 3\noom_kill {}\noom_group_kill 0\n"


def v1(root: Path, limit: str = "2147483648\n", kills: int = 0) -> Path:
    (root / "memory").mkdir(parents=True, exist_ok=True)
    (root / "memory" / "memory.limit_in_bytes").write_text(limit)
    (root / "memory" / "memory.oom_control").write_text(V1_EVENTS.format(kills))
    return root


def v2(root: Path, limit: str = "2147483648\n", kills: int = 0) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "memory.max").write_text(limit)
    (root / "memory.events").write_text(V2_EVENTS.format(kills))
    return root


@pytest.mark.parametrize("version", [v1, v2])
def test_the_files_of_both_versions(tmp_path: Path, version: object) -> None:
    assert callable(version)
    group = MemoryGroup.of_container(version(tmp_path, kills=3))
    assert group is not None
    assert (group.limit(), group.kills()) == (2 << 30, 3)


@pytest.mark.parametrize(
    "make",
    [
        lambda root: root,
        lambda root: v1(root, "9223372036854771712\n"),
        lambda root: v2(root, "max\n"),
        lambda root: [v1(root), (root / "memory" / "memory.oom_control").write_text("oom_kill_disable 0\n")],
    ],
)
def test_no_limit_no_watch(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path)
    assert MemoryGroup.of_container(tmp_path) is None


def test_what_the_learner_is_told() -> None:
    (text,) = told(["a.ipynb"], 2 << 30)
    assert text["en"] == (
        "The kernel of a.ipynb was stopped because it used more memory than the 2.0 GB this course allows. "
        "Your notebook is saved up to its last save; run it again with less data."
    )
    assert "a.ipynb" in text["ja"] and "2.0 GB" in text["ja"] and "2,0 Go" in text["fr"]
    assert len(told(["a.ipynb", "b.ipynb"], 1 << 30)) == 2
    (text,) = told([], 1 << 30)
    assert text == messages.fill(messages.PROGRAM_OUT_OF_MEMORY, limit=messages.memory_size(1 << 30))


def test_processes_are_put_first_in_line() -> None:
    process = subprocess.Popen(["sh", "-c", "sleep 60 & wait"])
    try:
        assert process.pid in children(os.getpid())
        eventually(lambda: children(process.pid))
        first_to_go(process.pid)
        assert Path(f"/proc/{process.pid}/oom_score_adj").read_text() == "1000\n"
        first_to_go(2**22 + 1)  # gone already: nothing happens
        assert children(2**22 + 1) == set()
    finally:
        for pid in (*children(process.pid), process.pid):
            os.kill(pid, 9)
        process.wait()


# -- the watch --------------------------------------------------------------------------------------------------


class Bed:
    """A watch over kernels that are `sleep`s, and a count that the test writes."""

    def __init__(self, root: Path) -> None:
        self.root = v2(root)
        self.board = Board()
        self.processes = {name: subprocess.Popen(["sleep", "600"]) for name in ("k1", "k2")}
        self.names = {"k1": "one.ipynb", "k2": "two.ipynb"}
        group = MemoryGroup.of_container(root)
        assert group is not None
        self.watch = MemoryWatch(group, self.board, self.pids, self.list_names)
        self.look()

    def pids(self) -> dict[str, int | None]:
        return {name: process.pid for name, process in self.processes.items()}

    async def list_names(self) -> dict[str, str]:
        return {name: path for name, path in self.names.items() if name in self.processes}

    def count(self, kills: int) -> None:
        v2(self.root, kills=kills)

    def end(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].wait()

    def look(self) -> list[str]:
        asyncio.run(self.watch())
        return [notice["text"]["en"] for notice in self.board.shown()]


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    bed = Bed(tmp_path / "cgroup")
    yield bed
    for name in bed.processes:
        bed.end(name)


def test_the_kernel_that_died_is_named(bed: Bed) -> None:
    bed.count(1)
    bed.end("k1")
    (text,) = bed.look()
    assert text.startswith("The kernel of one.ipynb was stopped")
    assert bed.look() == [text], "said once"


def test_a_kernel_that_was_started_again_already_is_named_too(bed: Bed) -> None:
    bed.count(1)
    bed.end("k2")
    bed.processes["k2"] = subprocess.Popen(["sleep", "600"])
    assert bed.look()[0].startswith("The kernel of two.ipynb was stopped")


def test_a_kernel_that_died_before_the_first_look_at_it(bed: Bed) -> None:
    started = Running.of(bed.processes["k1"].pid)
    assert started is not None
    bed.processes["new"], bed.names["new"] = bed.processes["k1"], "new.ipynb"
    del bed.processes["k1"]
    bed.look()
    bed.watch._running.clear()
    launched.append(("new", started))
    bed.end("new")
    bed.count(1)
    assert bed.look()[0].startswith("The kernel of new.ipynb was stopped")


def test_counted_before_the_kernel_is_gone(bed: Bed) -> None:
    bed.count(1)
    assert bed.look() == []
    bed.end("k1")
    (text,) = bed.look()
    assert text.startswith("The kernel of one.ipynb was stopped")


def test_a_kernel_that_is_forgotten_by_jupyter_is_still_named(bed: Bed) -> None:
    bed.count(1)
    bed.end("k1")
    gone = bed.processes.pop("k1")
    assert gone.returncode == -9
    assert bed.look()[0].startswith("The kernel of one.ipynb was stopped")


def test_another_program(bed: Bed) -> None:
    bed.count(1)
    assert bed.look() == []
    (text,) = bed.look()
    assert text.startswith("A program you started was stopped")
    assert bed.look() == [text]


def test_a_kernel_that_ends_for_another_reason_is_not_mentioned(bed: Bed) -> None:
    bed.end("k1")
    assert bed.look() == []
    assert bed.look() == []


def test_two_at_once_and_one_later(bed: Bed) -> None:
    bed.count(2)
    bed.end("k1")
    bed.end("k2")
    assert [text.split(" was ")[0] for text in bed.look()] == ["The kernel of one.ipynb", "The kernel of two.ipynb"]
    bed.processes["k1"] = subprocess.Popen(["sleep", "600"])
    bed.look()
    bed.count(3)
    bed.end("k1")
    assert len(bed.look()) == 3


# -- with a real limit ------------------------------------------------------------------------------------------

HIERARCHY = Path("/sys/fs/cgroup/memory")


@pytest.fixture
def limited() -> Iterator[Path]:
    """A memory group of 600 MB (cgroup version 1)."""
    if os.geteuid() != 0 or not os.access(HIERARCHY / "memory.limit_in_bytes", os.R_OK):
        pytest.skip("needs root and control groups of version 1")
    group = Path(tempfile.mkdtemp(prefix="courseware-", dir=HIERARCHY))
    (group / "memory.limit_in_bytes").write_text(str(600 << 20))
    yield group
    eventually(lambda: not (group / "cgroup.procs").read_text(), 10)
    group.rmdir()


def asked_anew(kernel: ServerKernel, code: str) -> str:
    """What a cell prints; nothing when the kernel was not quite there yet, and its answer was missed."""
    kernel.connect()
    assert kernel._socket is not None
    kernel._socket.settimeout(3)
    try:
        return kernel.run(code)
    except websocket.WebSocketTimeoutException:
        return ""


@pytest.mark.slow
def test_f24_only_the_kernel_dies_and_the_message_names_memory(limited: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "hungry.ipynb").write_text(json.dumps(NOTEBOOK))
    with FakeHub() as hub:
        server = LearnerServer(home, hub)
        inside = f'mount --bind {limited} {HIERARCHY} && echo $$ > {HIERARCHY}/cgroup.procs && exec "$@"'
        server.through = ["unshare", "--mount", "sh", "-c", inside, "sh"]
        with server:
            hungry, modest = server.start_kernel("hungry.ipynb"), server.start_kernel()
            modest.run("treasure = 42")
            hungry.connect()
            hungry.send("block = bytearray(10)\nwhile True: block += bytearray(20 << 20)")
            notices = eventually(lambda: server.request("GET", "courseware/notices").json()["notices"], 30)
            assert [notice["text"]["en"] for notice in notices] == [
                "The kernel of hungry.ipynb was stopped because it used more memory than the 600 MB this course "
                "allows. Your notebook is saved up to its last save; run it again with less data."
            ]
            assert modest.run("print(treasure)") == "42\n"
            # Jupyter starts the kernel again, with an empty memory.
            eventually(lambda: "restarting kernel (1/5)" in server.said(), 20)
            assert eventually(lambda: asked_anew(hungry, "print('block' in globals())"), 60) == "False\n"
            kills = (limited / "memory.oom_control").read_text()
            assert "oom_kill 1\n" in kills
