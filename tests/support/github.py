"""A small GitHub: authorization with PKCE, tokens, and the API that says who somebody is, page by page."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

PAGE = 100


@dataclass
class Account:
    """Who is signed in there."""

    id: int
    login: str
    organisations: list[str] = field(default_factory=list)
    teams: list[tuple[str, str]] = field(default_factory=list)
    emails: list[tuple[str, bool, bool]] = field(default_factory=list)
    """Address, whether it is the first one, whether it is verified."""

    def listed(self, what: str) -> list[dict[str, Any]]:
        if what == "orgs":
            return [{"login": name} for name in self.organisations]
        if what == "teams":
            return [{"slug": slug, "organization": {"login": owner}} for owner, slug in self.teams]
        return [{"email": mail, "primary": first, "verified": good} for mail, first, good in self.emails]


class GitHub:
    """What the fake knows and was asked."""

    def __init__(self, client_id: str, client_secret: str) -> None:
        self.client = client_id, client_secret
        self.account = Account(1, "ada")
        self.codes: dict[str, tuple[Account, str]] = {}
        self.tokens: dict[str, Account] = {}
        self.asked: list[str] = []
        self.broken: dict[str, tuple[int, bytes]] = {}
        """Path -> status and body of an answer that is not as it should be."""
        self.silent: set[str] = set()
        """Paths that are not answered until `speaks` is set."""
        self.speaks = threading.Event()
        self.url = ""


def _answer(github: GitHub) -> type[BaseHTTPRequestHandler]:
    class Answer(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Nothing on the standard error."""

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            github.asked.append(parts.path)
            if parts.path in github.silent:
                github.speaks.wait(60)
            if parts.path in github.broken:
                status, body = github.broken[parts.path]
                self._send(status, body)
            elif parts.path == "/login/oauth/authorize":
                self._authorize(query)
            else:
                self._api(parts.path, query)

        def _authorize(self, query: dict[str, str]) -> None:
            assert query["client_id"] == github.client[0] and query["code_challenge_method"] == "S256", query
            code = secrets.token_urlsafe(12)
            github.codes[code] = github.account, query["code_challenge"]
            self.send_response(302)
            back = urlencode({"code": code, "state": query["state"]})
            self.send_header("Location", f"{query['redirect_uri']}?{back}")
            self.end_headers()

        def do_POST(self) -> None:
            form = {
                key: values[0]
                for key, values in parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()).items()
            }
            github.asked.append(self.path)
            account, challenge = github.codes.pop(form.get("code", ""), (None, ""))
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            proved = urlsafe_b64encode(digest).decode().rstrip("=") == challenge
            if self.path in github.broken:
                status, body = github.broken[self.path]
                self._send(status, body)
            elif account is None or not proved or (form.get("client_id"), form.get("client_secret")) != github.client:
                # GitHub answers 200 (docs.github.com, "Troubleshooting OAuth app access token request errors").
                self._json({"error": "bad_verification_code", "error_description": "The code is incorrect or expired."})
            else:
                token = secrets.token_urlsafe(12)
                github.tokens[token] = account
                self._json({"access_token": token, "token_type": "bearer", "scope": "read:org"})

        def _api(self, path: str, query: dict[str, str]) -> None:
            account = github.tokens.get(self.headers.get("Authorization", "").partition(" ")[2])
            if account is None:
                self._json({"message": "Bad credentials"}, 401)
            elif path == "/api/v3/user":
                self._json({"id": account.id, "login": account.login, "email": None, "name": "A. L."})
            else:
                what, size, page = path.rpartition("/")[2], int(query.get("per_page", 30)), int(query.get("page", 1))
                found = account.listed(what)
                some, more = found[(page - 1) * size : page * size], page * size < len(found)
                link = f'<{github.url}{path}?per_page={size}&page={page + 1}>; rel="next"' if more else ""
                self._json(some, link=link)

        def _json(self, value: Any, status: int = 200, link: str = "") -> None:
            self._send(status, json.dumps(value).encode(), link)

        def _send(self, status: int, body: bytes, link: str = "") -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if link:
                self.send_header("Link", link)
            self.end_headers()
            with contextlib.suppress(OSError):  # nobody waits any more
                self.wfile.write(body)

    return Answer


@contextlib.contextmanager
def running_github(client_id: str, client_secret: str) -> Iterator[GitHub]:
    """It answers while the block runs."""
    github = GitHub(client_id, client_secret)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _answer(github))
    github.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield github
    finally:
        github.speaks.set()
        server.shutdown()
        server.server_close()
        thread.join()
