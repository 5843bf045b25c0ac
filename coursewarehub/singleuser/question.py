"""The question to the hub that renews the lease: "am I still the server of this learner?"

One kept connection, nothing of the server's event loop: it is asked from the lease's own thread.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit

from coursewarehub.singleuser.lease import Answer

_HUB: Final = "x-jupyterhub-version"
"""A header of everything that a hub answers; an edge or a captive portal does not speak for the hub."""

_MAX_BODY: Final = 1 << 20


@dataclass(frozen=True)
class Reply:
    """Status and headers (names in lower case) of an HTTP answer."""

    status: int
    headers: Mapping[str, str]


class Connection:
    """One HTTP/1.1 connection that is kept between requests and made anew when it broke."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self.path = parts.path.rstrip("/")
        self._host = parts.hostname or "127.0.0.1"
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._authority = parts.netloc.rsplit("@", 1)[-1]
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """Ask; OSError or EOFError when there is no answer. A question that was cut short leaves no connection."""
        try:
            if self._writer is not None:
                try:
                    return await self._exchange(method, path, headers, body)
                except (OSError, EOFError):
                    self.close()  # the other side may close a connection that waits
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
            return await self._exchange(method, path, headers, body)
        except BaseException:
            self.close()
            raise

    async def _exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        assert self._reader is not None and self._writer is not None
        lines = [f"{method} {self.path}{path} HTTP/1.1", f"Host: {self._authority}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        await self._writer.drain()
        reply = _parse(await self._read_head(self._reader))
        await self._read_body(reply)
        return reply

    @staticmethod
    async def _read_head(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as error:
            raise ConnectionError("not an HTTP answer") from error

    async def _read_body(self, reply: Reply) -> None:
        """Read past the body, so that the connection can be kept; close it where that is not simple."""
        assert self._reader is not None
        length = reply.headers.get("content-length", "")
        kept = length.isdigit() and int(length) <= _MAX_BODY and reply.headers.get("connection", "").lower() != "close"
        if kept:
            await self._reader.readexactly(int(length))
        else:
            self.close()

    def close(self) -> None:
        """Close the connection; the next request makes another."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def _parse(head: bytes) -> Reply:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest.split(" ")[0]
    if not version.startswith("HTTP/1.") or not status.isdigit():
        raise ConnectionError("not an HTTP answer")
    pairs = (line.partition(":") for line in lines if ":" in line)
    return Reply(int(status), {name.strip().lower(): value.strip() for name, _, value in pairs})


class Question:
    """Asks the hub with the server's own token."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._token = environment.get("JUPYTERHUB_API_TOKEN", "")
        self._client = environment.get("JUPYTERHUB_CLIENT_ID", "")
        self._connection = Connection(environment.get("JUPYTERHUB_API_URL", ""), _tls(environment))

    async def __call__(self) -> Answer:
        """What the hub says; UNKNOWN when it says nothing that counts. Never raises for what the network does."""
        try:
            return await self._ask()
        except (OSError, EOFError, ValueError):
            return Answer.UNKNOWN

    async def _ask(self) -> Answer:
        reply = await self._connection.request("GET", "/user", {"Authorization": f"token {self._token}"})
        if _HUB not in reply.headers:
            return Answer.UNKNOWN
        if reply.status == 200:
            return Answer.CURRENT
        if reply.status in (401, 403) and await self._hub_knows_its_tokens():
            return Answer.REPLACED
        return Answer.UNKNOWN

    async def _hub_knows_its_tokens(self) -> bool:
        """Whether the hub refuses because it knows better, and not because its database is away.

        A hub without its database takes every token for a wrong one (403). Its OAuth end-point looks into the same
        database, needs no token, and fails honestly (500).
        """
        form = {
            "grant_type": "authorization_code",
            "client_id": self._client,
            "client_secret": self._token,
            "code": "none",
            "redirect_uri": "/",
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        reply = await self._connection.request("POST", "/oauth2/token", headers, urlencode(form).encode())
        return _HUB in reply.headers and reply.status < 500

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _tls(environment: Mapping[str, str]) -> ssl.SSLContext | None:
    """For a hub with JupyterHub's internal certificates; None for any other."""
    certificate = environment.get("JUPYTERHUB_SSL_CERTFILE")
    if not certificate or not Path(certificate).is_file():
        return None
    context = ssl.create_default_context(cafile=environment.get("JUPYTERHUB_SSL_CLIENT_CA") or None)
    context.load_cert_chain(certificate, environment.get("JUPYTERHUB_SSL_KEYFILE") or None)
    return context
