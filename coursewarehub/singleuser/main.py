"""The start of a learner's server as a callable, so that it can be executed or forked.

Composes `jupyterhub.singleuser.extension` (login through the hub, activity) and jupyter-server's ServerApp.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jupyter_server.serverapp import ServerApp
from jupyterhub.singleuser.extension import JupyterHubSingleUser
from tornado.ioloop import PeriodicCallback
from traitlets.config import Config

from coursewarehub.singleuser import content
from coursewarehub.singleuser.reaper import Reaper
from coursewarehub.wire import environment as names


class LearnerServerApp(ServerApp):
    """A server that can take over a listening socket and tell when it serves."""

    listening: socket.socket | None = None
    when_ready: Callable[[], None] = staticmethod(lambda: None)

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
        """The event loop, in which orphans are buried every half minute."""
        super().init_ioloop()
        PeriodicCallback(Reaper(), 30_000).start()

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
    config.LabApp.check_for_updates_class = "jupyterlab.handlers.announcements.NeverCheckForUpdate"
    config.LabApp.extension_manager = "readonly"
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
    it answers.
    """
    content.provision(environment, Path.cwd())
    LearnerServerApp.listening = listening
    if tell is not None:
        LearnerServerApp.when_ready = staticmethod(lambda: tell("ready"))
    LearnerServer.launch_instance(argv=[])
    return 0
