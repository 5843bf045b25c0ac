"""A running prefork parent for a test, without the seconds that importing a server takes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from coursewarehub.prefork.client import ParentClient, Started
from coursewarehub.state import sockets
from coursewarehub.wire.prefork import Event, StartRequest
from support.sites import alive, eventually

TINY = Path(__file__).with_name("tiny_parent.py")


class TinyParent:
    """A parent of `tiny_parent.py`; whatever its children leave is ended by `end`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = ParentClient(folder)
        self.process: subprocess.Popen[bytes] | None = None
        self.seen: set[int] = set()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, pause: float = 0.0, open_files: int | None = None, **variables: str) -> None:
        self.folder.mkdir(exist_ok=True, mode=0o700)
        with (self.folder / "parent.log").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(TINY), str(self.folder), str(pause), str(open_files or 0)],
                stdout=output,
                stderr=output,
                env={**os.environ, **variables},
            )
        eventually(lambda: sockets.answering(self.folder / "socket"), 10, every=0.01)

    def request(self, name: str, do: str = "", **changes: Any) -> StartRequest:
        environment = {"PATH": os.environ["PATH"], **({"DO": do} if do else {})}
        values: dict[str, Any] = {
            "name": name,
            "environment": {**environment, **changes.pop("environment", {})},
            "directory": str(self.folder),
            "log_file": str(self.folder / f"{name}.log"),
            **changes,
        }
        return StartRequest(**values)

    async def begin(self, name: str, do: str = "", **changes: Any) -> Started:
        """Start a process and wait until it says that it is ready."""
        started = await self.client.start(self.request(name, do, **changes))
        self.seen.add(started.record.pid)
        event, status = await asyncio.wait_for(started.event(), 10)
        assert event is Event.READY, (event, status, self.log(name))
        return started

    def names(self) -> set[str]:
        return {record.name for record in asyncio.run(self.client.processes())}

    def log(self, name: str = "parent") -> str:
        file = self.folder / f"{name}.log"
        return file.read_text() if file.exists() else ""

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.kill()
        for pid in self.seen:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
