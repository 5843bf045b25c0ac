"""The two prefork parents of a site, one for hubs and one for learners' servers: started, kept, ended."""

from __future__ import annotations

import asyncio
import logging
import subprocess
from collections.abc import Callable, Coroutine
from typing import Any, Final

from coursewarehub.prefork.client import ParentClient, ensure_parent
from coursewarehub.state import processes
from coursewarehub.state.folders import SiteFolders
from coursewarehub.wire.prefork import ProcessRecord

log = logging.getLogger("coursewarehub.site.parents")


KIND_OF_HUBS: Final = {"local": "hub", "docker": "container-hub", "swarm": "container-hub"}
"""What the hubs' parent imports beforehand, by the kind of spawner."""


class Parents:
    """Both parents; `hub` and `server` are asked to start processes. Containers need no parent of servers."""

    def __init__(self, folders: SiteFolders, kind_of_hubs: str = "hub", *, servers: bool = True) -> None:
        self._folders = folders
        self.hub = ParentClient(folders.parent("hub"))
        self.server = ParentClient(folders.parent("server"))
        self._clients = {"hub": self.hub, **({"server": self.server} if servers else {})}
        self._programs = {"hub": kind_of_hubs, "server": "server"}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._awake = asyncio.Event()

    async def start(self) -> None:
        """Start them both, or take over those that answer; RuntimeError when one does not come up."""
        await asyncio.gather(*(self._ensure(kind) for kind in self._clients))

    async def keep_hub(self) -> None:
        """Start the hubs' parent again whenever it ends."""
        while True:
            await self._ended("hub")
            log.error("the hub parent ended; starting it again")
            await again(lambda: self._ensure("hub"))

    async def keep_server(self, somebody_is_awake: Callable[[], bool], patience: Callable[[], float]) -> None:
        """Start the servers' parent again whenever it ends; let it rest while all hubs sleep.

        It rests after nobody has been awake for `patience` seconds (0: never), and is there again after `wake`.
        """
        while True:
            ended = asyncio.ensure_future(self._ended("server"))
            try:
                if await self._may_rest(ended, somebody_is_awake, patience):
                    await self._end("server")
                    await self._awake.wait()
                else:
                    log.error("the server parent ended; starting it again")
            finally:
                ended.cancel()
            await again(lambda: self._ensure("server"))

    def wake(self) -> None:
        """A hub is wanted, and soon a server."""
        self._awake.set()

    async def end(self) -> None:
        """End them both, and with them everything they started."""
        results = await asyncio.gather(*(self._end(kind) for kind in self._clients), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                log.error("while stopping: %r", result)

    def pids(self) -> dict[str, int | None]:
        """Their pids by kind, None for one that rests."""
        return {kind: client.known_pid for kind, client in self._clients.items()}

    async def _may_rest(
        self,
        ended: asyncio.Future[None],
        somebody_is_awake: Callable[[], bool],
        patience: Callable[[], float],
    ) -> bool:
        """Wait until the servers' parent is not needed (True) or has ended (False)."""
        quiet = 0.0
        while not ended.done():
            await asyncio.wait([ended], timeout=1)
            self._awake.clear()
            needed = somebody_is_awake() or not patience()
            quiet = 0.0 if needed else quiet + 1
            if quiet > patience() and not needed and not await self.server.processes():
                return True
        return False

    async def _ensure(self, kind: str) -> None:
        log_file = self._folders.logs / f"{kind}-parent.log"
        process = await ensure_parent(self._programs[kind], self._folders.parent(kind), log_file)
        if process is not None:
            self._processes[kind] = process

    async def _ended(self, kind: str) -> None:
        pid = await self._clients[kind].pid()
        if pid is not None and (record := _record(f"{kind}-parent", pid)):
            await processes.ended(record)
        if process := self._processes.pop(kind, None):
            process.poll()

    async def _end(self, kind: str) -> None:
        client = self._clients[kind]
        pid = await client.pid()
        if pid is None:
            return
        record = _record(f"{kind}-parent", pid)
        await client.shut_down()
        if record is not None:
            await processes.ended(record)
        client.known_pid = None
        if process := self._processes.pop(kind, None):
            process.wait()


def _record(name: str, pid: int) -> ProcessRecord | None:
    try:
        return processes.record_of(name, pid)
    except ProcessLookupError:
        return None


async def again(start: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Try until it starts, at once and then ever more slowly."""
    pause = 0.5
    while True:
        try:
            await start()
        except (OSError, RuntimeError) as error:
            log.error("%s", error)
            await asyncio.sleep(pause)
            pause = min(30.0, pause * 2)
        else:
            return
