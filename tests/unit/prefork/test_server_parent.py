"""The real parent of learners' servers: imported programs, one thread, nothing left open."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest
from support.sites import alive, eventually

from coursewarehub.prefork.client import ParentClient, ensure_parent
from coursewarehub.wire.prefork import Event, StartRequest

pytestmark = pytest.mark.slow


def files_open_in(pid: int) -> set[str]:
    links = []
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    return {link for link in links if link.startswith("/")}


def test_parent_of_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSEWARE_SECRET", "planted")
    folder, log = tmp_path / "server-parent", tmp_path / "log"

    async def start() -> int:
        process = await ensure_parent("server", folder, log)
        assert process is not None, "it has to be started"
        assert await ensure_parent("server", folder, log) is None, "it answers already"
        client = ParentClient(folder)
        assert await client.pid() == process.pid
        # Without a hub's environment a server says so and ends; the parent tells.
        request = StartRequest("a", {"PATH": os.environ["PATH"]}, str(tmp_path), str(tmp_path / "a.log"), listen=True)
        event, status = await asyncio.wait_for((await client.start(request)).event(), 30)
        assert event is Event.EXITED and status != 0
        return process.pid

    pid = asyncio.run(start())
    try:
        assert len(os.listdir(f"/proc/{pid}/task")) == 1
        assert b"COURSEWARE_SECRET" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert "JUPYTERHUB" in (tmp_path / "a.log").read_text()
        allowed = {"/dev/null", str(log), str(folder / "lock")}
        eventually(lambda: not {f for f in files_open_in(pid) if not f.startswith("/proc")} - allowed, 5)
    finally:
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not alive(pid), 15)
        os.waitpid(pid, 0)


def test_parent_that_cannot_start_says_where_its_log_is(tmp_path: Path) -> None:
    (tmp_path / "server-parent").mkdir()
    (tmp_path / "server-parent" / "records").write_text("in the way")

    with pytest.raises(RuntimeError, match=r"the server parent process did not start; its log is .*/log$"):
        asyncio.run(ensure_parent("server", tmp_path / "server-parent", tmp_path / "log"))
