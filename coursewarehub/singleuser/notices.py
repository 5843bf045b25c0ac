"""Notices for the learner: kept here in memory, shown by our extension of JupyterLab and Notebook.

The server itself puts some on the board (memory, lease), services of the hub the others, over HTTP.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from jupyter_server.base.handlers import APIHandler
from tornado.web import HTTPError, authenticated

from coursewarehub.singleuser import lease
from coursewarehub.wire.messages import LANGUAGE_COOKIE
from coursewarehub.wire.notices import MAX_BODY, Notice

MOST: Final = 20
"""Notices on the board; one more, and the oldest goes."""

LIFETIME: Final = 3600.0
"""Seconds after which a notice without `seconds` goes."""


@dataclass(frozen=True)
class Posted:
    """A notice on the board; `number` tells a repeated one from the one before."""

    notice: Notice
    number: int
    until: float


class Board:
    """The notices that are shown now. May be used from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._posted: dict[str, Posted] = {}
        # Of this start of the server: a browser remembers which numbers it has closed.
        self._number = time.time_ns() // 1_000_000

    def put(self, notice: Notice, lifetime: float = LIFETIME) -> None:
        """Show a notice in place of the one with its id; one with 0 seconds only takes that away.

        A notice that says no `seconds` is shown for `lifetime` seconds.
        """
        with self._lock:
            self._posted.pop(notice.id, None)
            if notice.seconds == 0:
                return
            self._number += 1
            until = self._clock() + (lifetime if notice.seconds is None else notice.seconds)
            self._posted[notice.id] = Posted(notice, self._number, until)
            while len(self._posted) > MOST:
                del self._posted[next(iter(self._posted))]

    def remove(self, notice_id: str) -> None:
        """Show a notice no longer."""
        with self._lock:
            self._posted.pop(notice_id, None)

    def shown(self) -> list[dict[str, Any]]:
        """What is shown, oldest first, as JSON has it: the notice, its number, and the seconds that are left."""
        with self._lock:
            now = self._clock()
            self._posted = {key: posted for key, posted in self._posted.items() if posted.until > now}
            return [_model(posted, now) for posted in self._posted.values()]


def _model(posted: Posted, now: float) -> dict[str, Any]:
    left = None if posted.notice.seconds is None else max(0, round(posted.until - now))
    return {**posted.notice.encode(), "number": posted.number, "seconds": left}


class QuietHandler(APIHandler):
    """Asked every few seconds by every open page: no sign of the learner's activity, nothing for the log."""

    _track_activity = False

    def _log(self) -> None:
        if self.get_status() >= 400:
            super()._log()


class NoticesHandler(QuietHandler):
    """GET what is shown, for whoever may use this server; POST one more, for services of the hub."""

    def initialize(self, board: Board) -> None:
        """Use this board."""
        self.board = board

    @authenticated
    async def get(self) -> None:
        """The notices on the board, and the language that the learner has chosen on the course's pages, if any.

        A page cannot read that cookie by itself.
        """
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps({"notices": self.board.shown(), "language": self.get_cookie(LANGUAGE_COOKIE)}))

    @authenticated
    async def post(self) -> None:
        """Put one on the board (204); 403 for everybody but a service, 400 with a sentence for what is no notice."""
        if not is_service(self.current_user):
            raise HTTPError(403, "Only a service of the hub may show notices.")
        if len(self.request.body) > MAX_BODY:
            raise HTTPError(413, f"A notice is at most {MAX_BODY // 1024} kB.")
        try:
            notice = Notice.decode(json.loads(self.request.body))
        except ValueError as error:
            raise HTTPError(400, f"This is not a notice: {error}.") from error
        self.board.put(notice)
        self.set_status(204)
        self.finish()


class LeaseHandler(QuietHandler):
    """GET whether this server may write."""

    @authenticated
    async def get(self) -> None:
        """`held`, `paused`, or `none` for a server that needs no lease."""
        keeper = lease.current()
        answer: dict[str, Any] = {"phase": "none"}
        if keeper is not None:
            held = keeper.may_write()
            since = lease.clock() - keeper.state.confirmed
            answer = {"phase": "held" if held else "paused", "confirmed_seconds_ago": round(since, 1)}
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(answer))


def is_service(user: Any) -> bool:
    """Whether the hub says that a request's token belongs to one of its services.

    The hub says `kind: service`; a learner's token and the token of the learner's server are a user's. Which services
    may use this server at all was decided before, by their scopes.
    """
    model = getattr(user, "hub_user", None)
    return isinstance(model, dict) and model.get("kind") == "service"
