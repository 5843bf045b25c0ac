"""A learning platform's side of dynamic registration, as Moodle and Canvas do it, and as an attacker would."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

TOOL = "https://purl.imsglobal.org/spec/lti-tool-configuration"
PLATFORM = "https://purl.imsglobal.org/spec/lti-platform-configuration"
PLACEMENTS = {
    "LtiResourceLinkRequest": ["account_navigation", "course_navigation"],
    "LtiDeepLinkingRequest": ["assignment_selection", "editor_button", "link_selection"],
}
TOKEN = "token-of-the-platform"
Family = Literal["moodle", "canvas"]


class FakePlatform:
    """One platform; `said` changes what it says of itself, `answer` what it answers to a registration.

    `page` is the HTML of its page for administrators.
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        self.said: dict[str, Any] = {}
        self.answer: tuple[int, Any] | None = None
        self.delay = 0.0
        self.asked: list[tuple[str, str, str]] = []
        self.registrations: list[dict[str, Any]] = []
        self.url = ""
        self.page = ""
        self._used: set[str] = set()

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def configuration_url(self) -> str:
        return f"{self.url}/configuration"

    def configuration(self) -> dict[str, Any]:
        messages: list[dict[str, Any]] = [{"type": kind} for kind in PLACEMENTS]
        if self.family == "canvas":
            messages = [{"type": kind, "placements": placements} for kind, placements in PLACEMENTS.items()]
        document = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "registration_endpoint": f"{self.url}/registrations",
            "scopes_supported": ["openid"],
            "claims_supported": ["sub", "name", "email"],
            PLATFORM: {
                "product_family_code": self.family,
                "version": "1",
                "messages_supported": messages,
                "variables": ["CourseSection.timeFrame.end"],
            },
        }
        if self.family == "canvas":
            document["authorization_server"] = self.host
        return {key: value for key, value in (document | self.said).items() if value is not None}

    def register(self, token: str, document: dict[str, Any]) -> tuple[int, Any]:
        """The answer to a registration, as strict as the real ones are."""
        if self.answer is not None:
            return self.answer
        if self.family == "moodle" and token in self._used:
            return 401, "token_already_used"
        if token != TOKEN:
            return 401, "invalid_token" if self.family == "moodle" else {"errors": [{"message": "invalid token"}]}
        problem = _moodle_problem(document) if self.family == "moodle" else _canvas_problem(document)
        if problem:
            return (400, problem) if self.family == "moodle" else (422, {"errors": [{"message": problem}]})
        self._used.add(token)
        self.registrations.append(document)
        if self.family == "moodle":
            return 200, {**document, "client_id": "x7Ab3", TOOL: {**document[TOOL], "deployment_id": "4"}}
        return 200, {**document, "client_id": "10000000000042"}


def _moodle_problem(document: dict[str, Any]) -> str:
    """What Moodle's registration refuses."""
    needed = ("response_types", "initiate_login_uri", "redirect_uris", "client_name", "jwks_uri")
    for key in (*needed, "token_endpoint_auth_method", TOOL):
        if not document.get(key):
            return f"missing required attribute {key}"
    if "id_token" not in document["response_types"]:
        return "invalid_response_types"
    if not isinstance(document["redirect_uris"], list):
        return "invalid_redirect_uris"
    if document["token_endpoint_auth_method"] != "private_key_jwt":
        return "invalid_token_endpoint_auth_method"
    if document.get("application_type", "web") != "web":
        return "invalid_application_type"
    tool = document[TOOL]
    if tool.get("domain") != urlsplit(tool.get("target_link_uri", "")).netloc:
        return "domain_targetlinkuri_mismatch"
    return ""


def _canvas_problem(document: dict[str, Any]) -> str:
    """What Canvas' registration refuses."""
    if document.get("application_type") != "web" or "scope" not in document:
        return "application_type and scope are required"
    if set(document.get("grant_types", ())) != {"client_credentials", "implicit"}:
        return "grant_types"
    tool = document[TOOL]
    if not isinstance(tool.get("claims"), list) or not tool.get("domain") or not tool.get("messages"):
        return "claims, domain and messages are required"
    for message in tool["messages"]:
        if not set(message.get("placements", ())) <= set(PLACEMENTS.get(message["type"], ())):
            return "unknown placements"
    return ""


class _Handler(BaseHTTPRequestHandler):
    platform: FakePlatform

    def do_GET(self) -> None:
        self._note()
        time.sleep(self.platform.delay)
        if self.path == "/configuration":
            token = self.headers.get("Authorization", "")
            if self.platform.family == "canvas" and token != f"Bearer {TOKEN}":
                self._send(401, {"errors": [{"message": "unauthorized"}]})
            else:
                self._send(200, self.platform.configuration())
        elif self.path == "/administration":
            self._send(200, self.platform.page, {"Content-Type": "text/html; charset=utf-8"})
        elif self.path == "/huge":
            self._send(200, {"issuer": "x" * 400_000})
        elif self.path == "/endless":
            self._endless()
        elif self.path == "/drip":
            self._drip()
        elif self.path == "/redirect":
            self._send(302, "", {"Location": "http://127.0.0.1:1/latest/meta-data"})
        elif self.path == "/text":
            self._send(200, "no json")
        elif self.path == "/list":
            self._send(200, [1])
        elif self.path == "/deep":
            self._send(200, "[" * 100_000)
        else:
            self._send(404, "nothing")

    def do_POST(self) -> None:
        self._note()
        time.sleep(self.platform.delay)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self._send(*self.platform.register(token, json.loads(body)))

    def _note(self) -> None:
        self.platform.asked.append((self.command, self.path, self.headers.get("Authorization", "")))

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(10_000):
            self.wfile.write(b'{"a": "' + b"x" * 10_000)

    def _drip(self) -> None:
        """Never finishes, and never is quiet for long."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(100):
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.1)

    def log_message(self, *_: Any) -> None:
        pass

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()


@contextmanager
def running_platform(family: Family = "moodle") -> Iterator[FakePlatform]:
    platform = FakePlatform(family)
    handler = type("Handler", (_Handler,), {"platform": platform})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    platform.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield platform
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
