"""Calls to one Docker Engine that block neither the event loop nor each other.

docker-py's low-level client carries the requests (Unix sockets, registry credentials); bodies are raw JSON, because
its helpers cannot say most of what a hardened server needs.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import quote
from weakref import WeakSet

import requests
from docker import APIClient
from docker import auth as registries
from docker.errors import DockerException
from requests.adapters import HTTPAdapter

from coursewarehub.engine import errors
from coursewarehub.engine.errors import Call
from coursewarehub.engine.streams import Stream

OLDEST_API: Final = (1, 41)
"""Docker 20.10: the oldest engine that has what our containers and services need."""

NEWEST_API: Final = (1, 51)
"""The newest that this code was written for; a newer engine is spoken to in this one."""

_POLLED: Final = frozenset({"/containers/json", "/services", "/tasks", "/nodes", "/_ping", "/version"})
_WITHOUT_VERSION: Final = frozenset({"/_ping", "/version"})
_SCHEMES: Final = ("unix://", "tcp://", "http://", "https://")
_POLL_THREADS: Final = 4
_STREAMED_POSTS: Final = ("/images/create", "/push", "/build")
_NO_CREDENTIALS: Final = b"e30="  # {}

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Engine:
    """One Docker Engine, at `url` (`unix:///path` or `tcp://host:port`).

    Making one neither connects nor blocks. Calls run in threads, in three lanes that do not wait for each other: list
    calls that are made all the time, other reads, and changes (`threads` for each of the latter two). A call whose turn
    has come fails after `timeout` seconds without a word from the engine. A call whose caller was cancelled is dropped
    when it has not begun, and otherwise runs to its end unheard.
    """

    def __init__(self, url: str, *, timeout: float = 10.0, threads: int = 8) -> None:
        self.url = url
        self.timeout = timeout
        self._polls = ThreadPoolExecutor(_POLL_THREADS, thread_name_prefix="engine-poll")
        self._reads = ThreadPoolExecutor(threads, thread_name_prefix="engine-read")
        self._changes = ThreadPoolExecutor(threads, thread_name_prefix="engine-change")
        self._connections = 2 * threads + _POLL_THREADS
        self._streams: WeakSet[Stream] = WeakSet()
        self._lock = threading.Lock()
        self._client: Any = None
        self._api: tuple[int, int] | None = None

    async def get(self, path: str, **query: Any) -> Any:
        """What is at `path` (plain, without version: `/tasks`): decoded JSON, or bytes when it is something else.

        Dicts and lists in the query are JSON-encoded, None is left out. Raises EngineError.
        """
        lane = self._polls if path in _POLLED else self._reads
        return await self._in(lane, lambda: self._request("GET", path, query))

    async def post(self, path: str, body: Any = None, *, timeout: float | None = None, **query: Any) -> Any:
        """Ask for a change; decoded JSON of the answer, or None when it is empty. Raises EngineError."""
        return await self._in(self._changes, lambda: self._request("POST", path, query, body, timeout))

    async def delete(self, path: str, **query: Any) -> None:
        """Remove what is at `path`. Raises EngineError: Gone when there was nothing."""
        await self._in(self._changes, lambda: self._request("DELETE", path, query))

    async def stream(
        self, path: str, *, method: str | None = None, **query: Any
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The objects that the engine sends at `path`, as they come: events, or the progress of a pull or push.

        Ends with the engine's last word. Raises Unreachable when the connection is lost, Refused when the engine tells
        of an error on the way. Cancelling the reader or closing the iterator (`contextlib.aclosing`) closes the
        connection.
        """
        call = Call(self.url, method or ("POST" if path.endswith(_STREAMED_POSTS) else "GET"), path)
        stream = Stream(call, lambda: self._open(call, query))
        self._streams.add(stream)
        try:
            async for item in stream:
                yield item
        finally:
            stream.close()

    async def info(self) -> dict[str, Any]:
        """What the engine says of itself and of its machine (`GET /info`). Raises EngineError."""
        return await self._object("/info")

    async def version(self) -> dict[str, Any]:
        """Versions of the engine and of its API (`GET /version`), also of one that is too old. Raises EngineError."""
        return await self._object("/version")

    async def api(self) -> tuple[int, int]:
        """Version of the API that is spoken, at least (1, 41). Raises EngineError."""
        return await self._in(self._polls, self._api_version)

    def close(self) -> None:
        """Let go of threads and connections. Calls that wait for their turn are cancelled, streams end."""
        for lane in (self._polls, self._reads, self._changes):
            lane.shutdown(wait=False, cancel_futures=True)
        for stream in list(self._streams):
            stream.close()
        if self._client is not None:
            self._client.close()

    async def _object(self, path: str) -> dict[str, Any]:
        found = await self.get(path)
        if not isinstance(found, dict):
            raise errors.of_garbage(Call(self.url, "GET", path))
        return found

    async def _in(self, lane: Executor, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(lane, work)

    # --- in threads ---------------------------------------------------------------------------

    def _request(
        self, method: str, path: str, query: Mapping[str, Any], body: Any = None, timeout: float | None = None
    ) -> Any:
        call = Call(self.url, method, path, errors.secrets_in(body))
        with self._understood(call, timeout or self.timeout):
            return _content(call, self._send(call, query, body, timeout or self.timeout))

    def _open(self, call: Call, query: Mapping[str, Any]) -> requests.Response:
        """Begin a stream: the engine's first word must come in time, the later ones come when they come."""
        with self._understood(call, self.timeout):
            timeout = (self.timeout, self.timeout if call.method == "GET" else None)
            response = self._send(call, query, None, timeout, stream=True)
            self._client._disable_socket_timeout(self._client._get_raw_response_socket(response))
            return response

    def _send(
        self,
        call: Call,
        query: Mapping[str, Any],
        body: Any,
        timeout: float | tuple[float, float | None],
        stream: bool = False,
    ) -> requests.Response:
        client = self._connected()
        prefix = "" if call.path in _WITHOUT_VERSION else "/v{}.{}".format(*self._api_version())
        response: requests.Response = client.request(
            call.method,
            f"{client.base_url}{prefix}{quote(call.path, safe='/:@')}",
            params={key: _query(value) for key, value in query.items() if value is not None},
            data=None if body is None else json.dumps(body),
            headers=self._headers(client, call, query, body),
            timeout=timeout,
            stream=stream,
            allow_redirects=False,
        )
        if response.status_code >= 400:
            raise errors.of_answer(call, response.status_code, response.text)
        return response

    def _headers(self, client: Any, call: Call, query: Mapping[str, Any], body: Any) -> dict[str, str | bytes]:
        headers: dict[str, str | bytes] = {} if body is None else {"Content-Type": "application/json"}
        image = _image(call, query, body)
        credentials = self._credentials(client, image) if image else None
        if credentials or call.path.endswith("/push"):
            headers["X-Registry-Auth"] = credentials or _NO_CREDENTIALS
        return headers

    @staticmethod
    def _credentials(client: Any, image: str) -> bytes | None:
        """What `docker login` of this account has kept for the image's registry, in the form of the header."""
        try:
            found: bytes | None = registries.get_config_header(client, registries.resolve_repository_name(image)[0])
        except DockerException:
            _log.warning("the credentials for the registry of the image %s cannot be read", image)
            return None
        return found

    def _connected(self) -> Any:
        """docker-py's client; it neither connects nor asks anything of the engine."""
        if not self.url.startswith(_SCHEMES):
            raise errors.of_address(self.url)
        with self._lock:
            if self._client is None:
                client = APIClient(
                    base_url=self.url,
                    version="{}.{}".format(*OLDEST_API),
                    timeout=self.timeout,
                    max_pool_size=self._connections,
                )
                client.trust_env = False
                if client.base_url.startswith("http://"):
                    client.mount("http://", HTTPAdapter(pool_maxsize=self._connections))
                self._client = client
            return self._client

    def _api_version(self) -> tuple[int, int]:
        """The newest version of the API that both know, asked once for as long as the engine answers."""
        if self._api is None:
            call = Call(self.url, "GET", "/version")
            with self._understood(call, self.timeout):
                answer = _content(call, self._send(call, {}, None, self.timeout))
                self._api = _common(call, answer)
        return self._api

    @contextmanager
    def _understood(self, call: Call, seconds: float) -> Iterator[None]:
        """Translate what goes wrong; an engine that was lost may come back as another version."""
        try:
            yield
        except errors.EngineError as error:
            if _another_version(error):
                self._api = None
            raise
        except requests.Timeout as error:
            raise errors.of_silence(call, seconds) from error
        except requests.RequestException as error:
            self._api = None
            raise errors.of_connection(call, error, seconds) from error
        except DockerException as error:
            raise errors.of_address(self.url) from error


def _query(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, dict | list | tuple) else str(value)


def _content(call: Call, response: requests.Response) -> Any:
    """What an answer holds."""
    if not response.content:
        return None
    if not response.headers.get("Content-Type", "").startswith("application/json"):
        return response.content
    try:
        return response.json()
    except ValueError:
        pass
    raise errors.of_garbage(call)


def _common(call: Call, answer: Any) -> tuple[int, int]:
    """The version to speak with an engine that answers `GET /version` so."""
    try:
        theirs = parse_api(answer["ApiVersion"])
    except (TypeError, KeyError, ValueError, AttributeError):
        raise errors.of_garbage(call) from None
    if theirs < OLDEST_API:
        raise errors.of_old_engine(call, str(answer.get("Version", "?")), theirs, OLDEST_API)
    return min(theirs, NEWEST_API)


def parse_api(text: str) -> tuple[int, int]:
    """(1, 41) of `1.41`; ValueError for something else."""
    major, minor = text.split(".")
    return int(major), int(minor)


def _another_version(error: errors.EngineError) -> bool:
    return isinstance(error, errors.Refused) and "client version" in error.reason


def _image(call: Call, query: Mapping[str, Any], body: Any) -> str | None:
    """Image whose registry the engine may have to ask."""
    if call.path == "/images/create":
        return query.get("fromImage")
    if call.path.startswith("/distribution/") or (call.path.startswith("/images/") and call.path.endswith("/push")):
        return call.object_name
    if call.path.startswith("/services/") and isinstance(body, Mapping):
        image = body.get("TaskTemplate", {}).get("ContainerSpec", {}).get("Image")
        return str(image) if image else None
    return None
