"""While the server is paused, whatever would change something is refused, with a sentence."""

from __future__ import annotations

import json
from typing import Any, Final

from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Rule
from tornado.web import Application, RequestHandler

from coursewarehub.singleuser import lease
from coursewarehub.wire import messages, paths

_HARMLESS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ALWAYS: Final = ("api/shutdown", paths.NOTICES)
"""What may be done all the same: end the server, show a notice."""


class WhilePaused(Matcher):
    """Matches requests that would change something while the server may not write."""

    def __init__(self, base_url: str) -> None:
        self._always = frozenset(base_url + path for path in _ALWAYS)

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """No arguments when it matches, None when it does not."""
        if lease.may_write() or request.method in _HARMLESS or request.path in self._always:
            return None
        return {}


class PausedHandler(RequestHandler):
    """503 and a sentence in the browser's language; JupyterLab shows it."""

    def prepare(self) -> None:
        """Answer, whatever the method."""
        sentence = messages.choose(messages.PAUSED, self.request.headers.get("Accept-Language", ""))
        self.set_status(503)
        self.set_header("Retry-After", "10")
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"message": sentence, "reason": None}))


def refuse_while_paused(application: Application, base_url: str) -> None:
    """Put the refusal before every other route of a server at `base_url`, which ends with a slash."""
    application.default_router.rules.insert(0, Rule(WhilePaused(base_url), PausedHandler))
