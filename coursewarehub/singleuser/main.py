"""The start of a learner's server as a callable, so that it can be executed or forked.

Composes `jupyterhub.singleuser.extension` (login through the hub, activity) and jupyter-server's ServerApp.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join
from jupyterhub.singleuser.extension import JupyterHubSingleUser
from jupyterlab.commands import get_user_settings_dir, get_workspaces_dir
from tornado.ioloop import PeriodicCallback
from traitlets.config import Config

from coursewarehub.singleuser import content, lease, memory, subtree
from coursewarehub.singleuser.notices import Board, LeaseHandler, NoticesHandler
from coursewarehub.singleuser.paused import refuse_while_paused
from coursewarehub.singleuser.reaper import Reaper
from coursewarehub.wire import environment as names
from coursewarehub.wire import messages, paths
from coursewarehub.wire.notices import Level, Notice

log = logging.getLogger("coursewarehub.singleuser")

LABEXTENSIONS: Final = Path(__file__).parent / "labextension"
"""Folder of our extensions of JupyterLab and Notebook."""

_SETTLE_SECONDS: Final = 5.0
"""How long the end waits for a file that is being written."""


class LearnerServerApp(ServerApp):
    """A server that can take over a listening socket and tell when it serves."""

    listening: socket.socket | None = None
    when_ready: Callable[[], None] = staticmethod(lambda: None)
    board = Board()
    memory_group: memory.MemoryGroup | None = None
    told_to_stop = False

    def _bind_http_server_tcp(self) -> bool:
        if self.listening is None:
            bound: bool = super()._bind_http_server_tcp()
        else:
            self.listening.setblocking(False)
            self.http_server.add_socket(self.listening)
            bound = True
        if bound:
            self.when_ready()
        return bound

    def init_ioloop(self) -> None:
        """The event loop, in which orphans are buried every half minute, and memory is watched where it has a limit."""
        super().init_ioloop()
        PeriodicCallback(Reaper(), 30_000).start()
        if self.memory_group is not None:
            watch = memory.MemoryWatch(self.memory_group, self.board, self._kernels, self._notebooks)
            PeriodicCallback(watch, memory.CHECK_SECONDS * 1000).start()

    def _kernels(self) -> dict[str, int | None]:
        """Pid of each kernel's process."""
        kernels = getattr(self, "kernel_manager", None)
        if kernels is None:
            return {}
        return {kernel: memory.pid_of(kernels.get_kernel(kernel)) for kernel in kernels.list_kernel_ids()}

    async def _notebooks(self) -> dict[str, str]:
        """Name of each kernel's notebook."""
        sessions = await self.session_manager.list_sessions()
        return {session["kernel"]["id"]: session["path"].rsplit("/", 1)[-1] for session in sessions}

    def init_webapp(self) -> None:
        """The web application, with our handlers, and with a refusal of changes while the server is paused."""
        super().init_webapp()
        notices, held = (url_path_join(self.base_url, path) for path in (paths.NOTICES, paths.LEASE))
        self.web_app.add_handlers(".*$", [(notices, NoticesHandler, {"board": self.board}), (held, LeaseHandler)])
        if lease.current() is not None:
            refuse_while_paused(self.web_app, self.base_url)

    def stop(self, from_signal: bool = False) -> None:
        """End as told."""
        LearnerServerApp.told_to_stop = True  # not of type(self), which JupyterHub may have made a subclass
        super().stop(from_signal)

    async def _cleanup(self) -> None:
        """What comes before the end; what is being written is written."""
        settled = getattr(getattr(self, "contents_manager", None), "settled", None)
        if settled is not None:
            await settled(_SETTLE_SECONDS)
        await super()._cleanup()

    def _find_http_port(self) -> None:
        if self.listening is None:
            super()._find_http_port()

    def write_server_info_file(self) -> None:
        """Leave no file with the server's token in the learner's home: the hub knows where it runs."""

    def write_browser_open_files(self) -> None:
        """No browser is opened on this machine."""


class LearnerServer(JupyterHubSingleUser):
    """Launches `LearnerServerApp` with JupyterHub's own extension."""

    serverapp_class = LearnerServerApp

    @classmethod
    def get_extension_package(cls) -> str:
        """The extension that is loaded is JupyterHub's, not a second one of ours."""
        return "jupyterhub"

    @classmethod
    def make_serverapp(cls, **kwargs: Any) -> ServerApp:
        """A server with the settings that its environment asks for."""
        app: ServerApp = super().make_serverapp(config=configuration(os.environ), **kwargs)
        return app


def configuration(environment: Mapping[str, str]) -> Config:
    """Settings of the server, from its environment alone."""
    config = Config()
    config.ServerApp.allow_root = os.geteuid() == 0
    # Read from the environment when JupyterHub is imported, which in a forked server was in the parent.
    config.HubAuth.base_url = environment.get("JUPYTERHUB_SERVICE_PREFIX", "/")
    config.ServerApp.contents_manager_class = content.CourseContentsManager
    # Nobody in a class is asked about news or updates; extensions come with the course's environment.
    config.LabApp.news_url = None
    # Worked out when JupyterLab is imported, which in a forked server was in the parent, with its home.
    config.LabApp.user_settings_dir = get_user_settings_dir()
    config.LabApp.workspaces_dir = get_workspaces_dir()
    config.LabApp.check_for_updates_class = "jupyterlab.handlers.announcements.NeverCheckForUpdate"
    config.LabApp.extension_manager = "readonly"
    config.LabServerApp.extra_labextensions_path = [str(LABEXTENSIONS)]
    config.AsyncMappingKernelManager.kernel_manager_class = "coursewarehub.singleuser.memory.CoursewareKernelManager"
    # Looking for language servers runs `npm` for each learner; an image that has some names them.
    config.LanguageServerManager.autodetect = False
    idle = int(environment.get(names.IDLE_SECONDS) or 0)
    if idle:
        config.ServerApp.shutdown_no_activity_timeout = idle
        config.MappingKernelManager.cull_idle_timeout = idle
        config.MappingKernelManager.cull_connected = True
        config.MappingKernelManager.cull_interval = min(60, max(1, idle // 5))
        config.TerminalManager.cull_inactive_timeout = idle
    return config


def main(
    environment: Mapping[str, str],
    listening: socket.socket | None = None,
    tell: Callable[[str], None] | None = None,
) -> int:
    """Run a learner's server until it stops; exit status.

    `environment` is the process's environment (JUPYTERHUB_* as JupyterHub sets them, COURSEWARE_* of
    `wire.environment`). With `listening`, the server takes over that socket. `tell("ready")` is called when
    it answers; who forks servers gives it. Without it this is the main program of a container.
    """
    if tell is None:
        subtree.become_subreaper()
        LearnerServerApp.memory_group = memory.MemoryGroup.of_container()
    else:
        LearnerServerApp.when_ready = staticmethod(lambda: tell("ready"))
    seconds = float(environment.get(names.LEASE_SECONDS) or 0)
    if seconds > 0:
        keep_lease(seconds, environment, LearnerServerApp.board)
    content.provision(environment, Path.cwd())
    LearnerServerApp.listening = listening
    try:
        LearnerServer.launch_instance(argv=[])
    except SystemExit:
        if not LearnerServerApp.told_to_stop:
            raise
    return 0


def keep_lease(seconds: float, environment: Mapping[str, str], board: Board) -> None:
    """Pause, go on and end as the hub says."""
    from coursewarehub.singleuser.question import Question

    below = subtree.Subtree()

    def pause() -> None:
        below.freeze()
        board.put(Notice("lease", messages.PAUSED, level=Level.WARNING), lifetime=float("inf"))

    def resume() -> None:
        below.thaw()
        board.remove("lease")

    def end() -> None:
        log.warning("Another server has taken the place of this one: it ends now.")
        below.kill()
        os._exit(lease.REPLACED_STATUS)

    lease.keep(lease.LeaseKeeper(seconds, Question(environment), lease.Deeds(pause, resume, end)))
