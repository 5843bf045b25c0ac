"""A course's JupyterHub as a callable, so that it can be executed or forked.

Two things are added to JupyterHub: it can take over a listening socket, which its supervisor keeps open while no hub
runs, so that no request is ever refused; and it goes to sleep when nobody needs it.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from jupyterhub import orm
from jupyterhub.app import JupyterHub
from jupyterhub.auth import Authenticator
from jupyterhub.crypto import CryptKeeper
from jupyterhub.log import log_request
from jupyterhub.spawner import Spawner
from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback
from traitlets import Any as AnyTrait
from traitlets import Float, default

from coursewareauthenticator.base import CoursewareAuthenticator, role_of
from coursewareauthenticator.login import CoursewareLogin
from coursewarehub.hub.audit.lines import line_writer
from coursewarehub.hub.audit.page import audit_handlers
from coursewarehub.hub.audit.recorder import AuditSettings, Recorder, register_schemas
from coursewarehub.hub.audit.requests import action_of
from coursewarehub.hub.audit.sink import AuditSink
from coursewarehub.hub.linking_pages import linking_handlers
from coursewarehub.hub.removal import EVERY_SECONDS, end_memberships
from coursewarehub.state.audit import AuditBook, Keeping
from coursewarehub.wire.audit import course_changed

LONGEST_LOGGED: Final = 300
"""Characters of an address in the log."""

CONFIGURATION: Final = Path(__file__).with_name("jupyterhub_config.py")


class CourseHub(JupyterHub):
    """JupyterHub on an inherited socket, which sleeps when idle."""

    name = "jupyterhub"
    sleep_after = Float(
        0.0, help="Go to sleep after so many seconds without a request and without a server; 0: never."
    ).tag(config=True)

    audit = AnyTrait(None, help="The course's `AuditSettings`; without them nothing is kept.").tag(config=True)

    @default("classes")
    def _few_classes(self) -> list[type[Any]]:
        """What its command line could set; JupyterHub would import every authenticator and spawner for this list."""
        return [Authenticator, Spawner, CryptKeeper]

    listening: socket.socket | None = None
    tell: Callable[[str], None] = staticmethod(lambda _event: None)
    _http_server: HTTPServer | None = None
    _last_request = 0.0
    _closing = False
    _sink: AuditSink | None = None
    _recorder: Recorder | None = None
    _end: asyncio.Future[None] | None = None
    _telling: asyncio.Future[None] | None = None

    @property
    def http_server(self) -> HTTPServer | None:
        """The web server; given an inherited socket, it listens there instead of binding one."""
        return self._http_server

    @http_server.setter
    def http_server(self, server: HTTPServer | None) -> None:
        self._http_server = server
        inherited = self.listening
        if server is not None and inherited is not None:
            server.listen = lambda *_, **__: server.add_socket(_another(inherited))  # type: ignore[method-assign]

    def init_tornado_settings(self) -> None:
        """JupyterHub's settings; each request is noted, for the idle clock."""
        super().init_tornado_settings()
        self.tornado_settings["log_function"] = self._note_request
        if isinstance(self.authenticator, CoursewareAuthenticator):
            self.authenticator.audit = self._recorder
        if self._sink is not None:
            self.tornado_settings["audit_book"] = self._sink.book

    def _note_request(self, handler: Any) -> None:
        self._last_request = time.monotonic()
        request = handler.request
        location = handler._headers.get("Location", "")
        if "/hub/lti/" in request.path:
            # Who comes, and from where, is in the query of launches and of where they are sent on.
            request.uri, location = request.path, location.partition("?")[0]
        request.uri = _short(request.uri)
        if location:
            handler._headers["Location"] = _short(location)  # the answer has gone: only the log reads it
        log_request(handler)
        if self._recorder is not None:
            try:
                event = action_of(handler)
            except Exception:
                self.log.exception("A request could not be told to the audit")
            else:
                if event is not None:
                    self._recorder(event)

    def init_eventlog(self) -> None:
        """JupyterHub's event log, and in it the course's audit."""
        super().init_eventlog()
        told: AuditSettings | None = self.audit
        if told is None:
            return
        register_schemas(self.eventlog)
        book = AuditBook(told.url, Keeping(told.keep_days, told.most_events))
        self._sink = AuditSink(book, told.course, self.log, line_writer(told.lines, self.log))
        self.eventlog.register_handler(self._sink)
        self._recorder = Recorder(
            self.eventlog.emit, told.course, self.log, addresses=told.addresses, role_of=self._role_of
        )

    def _role_of(self, name: str) -> str | None:
        row = orm.User.find(self.db, name)
        return None if row is None else role_of(row)

    def init_handlers(self) -> None:
        """JupyterHub's pages, and before them those of the audit and of a person's logins."""
        super().init_handlers()
        if isinstance(self.authenticator, CoursewareLogin):
            self.handlers[:0] = self.add_url_prefix(self.hub_prefix, linking_handlers())
        if self._sink is not None:
            self.handlers[:0] = self.add_url_prefix(self.hub_prefix, audit_handlers())

    async def cleanup(self) -> None:
        """End as JupyterHub does; what has happened until then is written down."""
        if self._recorder is not None:
            self._recorder.flush(everything=True)
        await super().cleanup()
        if self._sink is not None:
            await asyncio.to_thread(self._sink.close)

    async def _tell_state(self, told: AuditSettings, recorder: Recorder, book: AuditBook) -> None:
        """Tell that the course has another state than when a hub last ran; a failure is tried at the next start."""
        try:
            was = await asyncio.to_thread(book.fact, "state")
            if was != told.state:
                if was:
                    recorder(course_changed(was=was, state=told.state))
                await asyncio.to_thread(book.remember, "state", told.state)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises
            self.log.error("The audit cannot be read: %s", type(error).__name__)

    async def start(self) -> None:
        """Start, say that it is ready, watch for idleness."""
        await super().start()
        self._last_request = time.monotonic()
        self.tell("ready")
        if isinstance(self.authenticator, CoursewareAuthenticator):
            sweep = PeriodicCallback(self._end_memberships, EVERY_SECONDS * 1000)
            self._periodic_callbacks["memberships"] = sweep
            sweep.start()
            await self._end_memberships()
        if self._recorder is not None and self._sink is not None:
            told = PeriodicCallback(self._recorder.flush, 10_000)
            self._periodic_callbacks["audit"] = told
            told.start()
            self._sink.start()
            self._telling = asyncio.ensure_future(self._tell_state(self.audit, self._recorder, self._sink.book))
        if self.sleep_after > 0:
            watch = PeriodicCallback(self._sleep_if_idle, min(1.0, self.sleep_after / 4) * 1000)
            self._periodic_callbacks["sleep"] = watch
            watch.start()

    async def _end_memberships(self) -> None:
        """End what those hold who are no longer members; a failure is tried again the next time."""
        try:
            await end_memberships(self, self.authenticator)
        except Exception:
            self.log.exception("Memberships could not be looked at")

    def _needed(self) -> bool:
        """Whether a server runs, starts or stops, or somebody asked something lately."""
        if time.monotonic() - self._last_request < self.sleep_after:
            return True
        return any(
            spawner.active or spawner.pending for user in self.users.values() for spawner in user.spawners.values()
        )

    async def _sleep_if_idle(self) -> None:
        """Take no more requests, finish those that came in, then end, unless they gave us something to do."""
        server, inherited = self.http_server, self.listening
        if server is None or inherited is None or self._closing or self._needed():
            return
        self._closing = True
        server.stop()
        await self._finish_requests(server)
        if self._needed():
            server.add_socket(_another(inherited))
            self._closing = False
            return
        self.log.info("Nobody is here: going to sleep")
        self._periodic_callbacks["sleep"].stop()
        self.tell("sleeping")
        self._end = asyncio.ensure_future(self.shutdown_cancel_tasks())

    @staticmethod
    async def _finish_requests(server: HTTPServer) -> None:
        """Wait until every open connection is done, five seconds at most, then close what is left."""
        deadline = time.monotonic() + 5
        while server._connections and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        await server.close_all_connections()


def _short(address: str) -> str:
    return address if len(address) <= LONGEST_LOGGED else f"{address[:LONGEST_LOGGED]}..."


def _another(listening: socket.socket) -> socket.socket:
    """A duplicate for a server to close when it stops; the original stays open."""
    duplicate = listening.dup()
    duplicate.setblocking(False)
    return duplicate


def main(
    environment: Mapping[str, str],
    listening: socket.socket | None = None,
    tell: Callable[[str], None] | None = None,
) -> int:
    """Run a course's hub until it stops or sleeps; exit status.

    `environment` holds `COURSEWARE_SITE`, `COURSEWARE_COURSE` and `COURSEWARE_HUB_PORT` and is the process's own
    already. `tell` is called with `ready` and `sleeping`.
    """
    del environment  # `assembly` reads it from the process
    CourseHub.listening = listening
    if tell is not None:
        CourseHub.tell = staticmethod(tell)
    CourseHub.launch_instance(["--config", str(CONFIGURATION)])
    return 0


if __name__ == "__main__":
    import os

    sys.exit(main(dict(os.environ)))
