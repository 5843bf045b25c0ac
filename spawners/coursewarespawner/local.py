"""Learners' servers as local processes, forked from one parent that has imported them already.

For a demo, a workshop room or one's own laptop: servers run under the Unix account of the hub, each with its own
home folder, environment, tokens, session and resource limits, but a learner who wants to can read what that
account can read. For strangers, use a container spawner.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from jupyterhub.spawner import Spawner
from sqlalchemy.orm import object_session
from traitlets import Bool, Dict, Float, Integer, Unicode, default

from coursewarehub.model.names import object_name
from coursewarehub.prefork.client import (
    ParentClient,
    Started,
    StartRefused,
    clean_environment,
    ensure_parent,
    parent_answers,
)
from coursewarehub.state import processes
from coursewarehub.state.files import rotate
from coursewarehub.wire import environment as names
from coursewarehub.wire.prefork import Event, ProcessLimits, ProcessRecord, StartRequest
from coursewarespawner.line import Line
from coursewarespawner.routes import EarlyRoutes


class CoursewareLocalSpawner(EarlyRoutes, Spawner):
    """Starts a learner's server in about 0.2 s by forking it; adopts it again after a hub restart."""

    parent_folder = Unicode(
        help="""Folder of the prefork parent (its socket, its records). A parent is started there if none answers.
        All hubs of a site may share one.""",
    ).tag(config=True)
    start_parent = Bool(
        True,
        help="""Start the parent if none answers. A site whose own process supervises it says False: a parent must
        not be a child of a hub that comes and goes.""",
    ).tag(config=True)
    homes_folder = Unicode(help="Folder in which each learner's home folder is made.").tag(config=True)
    logs_folder = Unicode(help="Folder for the servers' logs; default: beside the parent.").tag(config=True)
    material = Unicode(help="Folder with the course's material, shown read only as `course/`.").tag(config=True)
    variables = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="Further environment variables of the server.",
    ).tag(config=True)
    open_files = Integer(None, allow_none=True, help="Most open files of a process.").tag(config=True)
    concurrent_starts = Integer(
        0, help="How many servers of this hub start at the same time; 0: one per processor core."
    ).tag(config=True)
    stop_patience = Float(10.0, help="Seconds a server has for its end before it is killed.").tag(config=True)
    early_route = Bool(
        True,
        help="""Tell the proxy of the server's address while the server is still starting, so that the route is
        there when the server is.""",
    ).tag(config=True)

    record: ProcessRecord | None = None
    _started: Started | None = None
    _position: int = 0

    @default("env_keep")
    def _default_env_keep(self) -> list[str]:
        """Nothing of the hub's own environment."""
        return []

    @default("logs_folder")
    def _default_logs_folder(self) -> str:
        return str(Path(self.parent_folder) / "logs")

    @property
    def object_name(self) -> str:
        """Unique among the servers of a parent, and telling whose it is: from the user, the server and the home."""
        return object_name("jupyter", f"{self.user.name} {self.name} {self.home}")

    @property
    def home(self) -> Path:
        """The learner's home folder, one per learner and hub."""
        return Path(self.homes_folder) / object_name("home", self.user.name)

    @property
    def _log_file(self) -> Path:
        return Path(self.logs_folder) / f"{self.object_name}.log"

    # -- state ------------------------------------------------------------------------------------------------

    def load_state(self, state: dict[str, Any]) -> None:
        """Know the process again after a hub restart."""
        super().load_state(state)
        if "pid" in state:
            self.record = ProcessRecord(
                self.object_name, state["pid"], state.get("start_time", 0), state.get("port", 0)
            )

    def get_state(self) -> dict[str, Any]:
        """What a restarted hub needs: pid, start time, port."""
        state: dict[str, Any] = super().get_state()
        if self.record is not None:
            state |= {
                "pid": self.record.pid,
                "start_time": self.record.start_time,
                "port": self.record.port,
            }
        return state

    def clear_state(self) -> None:
        """Forget the process."""
        super().clear_state()
        self.record = None

    # -- life -------------------------------------------------------------------------------------------------

    def get_env(self) -> dict[str, str]:
        """A clean environment: what JupyterHub needs, the learner's own folders, nothing of the site's."""
        home = str(self.home)
        return {
            **clean_environment(),
            **super().get_env(),
            **self.variables,
            "HOME": home,
            "USER": self.user.name,
            "LOGNAME": self.user.name,
            "SHELL": "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh",
            "JUPYTERHUB_ROOT_DIR": home,
            **({names.CONTENT: self.material} if self.material else {}),
        }

    async def start(self) -> str:
        """Start the server; returns its URL once it answers.

        RuntimeError with a sentence for the learner when it does not come up.
        """
        line = Line.of(self.hub, self.concurrent_starts or os.cpu_count() or 1)
        async with line.turn(self._set_position):
            started = await self._fork()
            try:
                return await self._wait_until_ready(started)
            except BaseException:
                await processes.stop_tree(started.record, patience=1)
                await self._remove_route()
                raise
            finally:
                started.close()

    async def _fork(self) -> Started:
        parent = Path(self.parent_folder)
        await asyncio.to_thread(self._make_folders)
        if self.start_parent:
            await ensure_parent("server", parent, Path(self.logs_folder) / "server-parent.log")
        else:
            await parent_answers(parent)
        request = StartRequest(
            name=self.object_name,
            environment=self.get_env(),
            directory=str(self.home),
            log_file=str(self._log_file),
            listen=True,
            limits=ProcessLimits(
                data_bytes=int(self.mem_limit) if self.mem_limit else None,
                open_files=self.open_files,
                cores=math.ceil(self.cpu_limit) if self.cpu_limit else None,
            ),
        )
        try:
            started = await self._ask(ParentClient(parent), request)
        except (OSError, StartRefused) as error:
            raise RuntimeError(f"Your server could not be started: {error}. Try again in a minute.") from error
        self.record = started.record
        # Stored at once: a hub that is killed while this server starts knows it, and its address, again.
        self.server.ip, self.server.port = "127.0.0.1", started.record.port
        self.orm_spawner.state = self.get_state()
        session = object_session(self.orm_spawner)
        if session is not None:
            session.commit()
        return started

    async def _ask(self, parent: ParentClient, request: StartRequest) -> Started:
        """Start the process; one of this name that the hub has lost sight of is ended first."""
        try:
            return await parent.start(request)
        except StartRefused:
            lost = [record for record in await parent.processes() if record.name == request.name]
            if not lost:
                raise
            self.log.warning("Ending a server that the hub did not know of: %s", request.name)
            await processes.stop_tree(lost[0], patience=self.stop_patience)
            return await parent.start(request)

    def _make_folders(self) -> None:
        Path(self.homes_folder).mkdir(parents=True, exist_ok=True, mode=0o711)
        self.home.mkdir(exist_ok=True, mode=0o700)
        Path(self.logs_folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        rotate(self._log_file)

    async def _wait_until_ready(self, started: Started) -> str:
        url = f"http://127.0.0.1:{started.record.port}"
        route = asyncio.ensure_future(self._add_route_early(url))
        event, status = await started.event()
        if event is not Event.READY:
            route.cancel()
            raise RuntimeError(
                f"Your server ended while it was starting (status {status}). "
                "Try once more; if it happens again, tell your instructor."
            )
        await route
        return url

    def _set_position(self, position: int) -> None:
        self._position = position

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What the waiting learner is told."""
        shown: int | None = None
        while True:
            if self._position != shown:
                shown = self._position
                yield (
                    {"progress": 10, "queue_position": shown, "message": f"Number {shown} in the queue"}
                    if shown
                    else {"progress": 50, "message": "Starting"}
                )
            await asyncio.sleep(0.2)

    async def poll(self) -> int | None:
        """None while the process runs, else 0."""
        if self.record is not None and processes.alive(self.record.pid, self.record.start_time):
            return None
        self.clear_state()
        return 0

    async def stop(self, now: bool = False) -> None:
        """End the server and everything that it started."""
        if self.record is not None:
            await processes.stop_tree(self.record, patience=0 if now else self.stop_patience)
        self.clear_state()
