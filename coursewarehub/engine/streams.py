"""A long answer of the engine, read in a thread of its own and handed to the event loop object by object."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from coursewarehub.engine import errors
from coursewarehub.engine.errors import Call, EngineError

_LONGEST_LINE = 1 << 20


class _UnheardError(Exception):
    """The loop that listened is closed."""


class Stream:
    """Reads what `begin` answers, for the running event loop; iterate over it once.

    The thread ends with the answer, with the connection, or when `close` is called.
    """

    def __init__(self, call: Call, begin: Callable[[], requests.Response]) -> None:
        self._call = call
        self._begin = begin
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[dict[str, Any] | EngineError | None] = asyncio.Queue()
        self._lock = threading.Lock()
        self._response: requests.Response | None = None
        self._closed = False
        threading.Thread(target=self._read, name="engine-stream", daemon=True).start()

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        while (item := await self._queue.get()) is not None:
            if isinstance(item, EngineError):
                raise item
            yield item

    def close(self) -> None:
        """End the connection; may be called from any thread, and more than once."""
        with self._lock:
            self._closed = True
            if self._response is not None:
                with contextlib.suppress(ValueError, RuntimeError, OSError):
                    self._response.raw.shutdown()

    def _read(self) -> None:
        with contextlib.suppress(_UnheardError):
            try:
                self._read_all()
                self._tell(None)
            except EngineError as error:
                self._tell(error)
            except (requests.RequestException, HTTPError, OSError) as error:
                self._tell(errors.of_connection(self._call, error))

    def _read_all(self) -> None:
        response = self._begin()
        with self._lock:
            self._response = response
        try:
            if not self._closed:
                for item in objects(self._call, response.raw.stream()):
                    self._tell(item)
        finally:
            with self._lock:
                self._response = None
                response.close()

    def _tell(self, item: dict[str, Any] | EngineError | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)
        except RuntimeError:
            raise _UnheardError from None


def objects(call: Call, parts: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects of a text that comes in parts, one a line; raises the EngineError that it tells."""
    rest = b""
    for part in parts:
        *lines, rest = (rest + part).split(b"\n")
        for line in filter(bytes.strip, lines):
            yield _object(call, line)
        if len(rest) > _LONGEST_LINE:
            raise errors.of_garbage(call)
    if rest.strip():
        yield _object(call, rest)


def _object(call: Call, line: bytes) -> dict[str, Any]:
    try:
        item = json.loads(line)
    except ValueError:
        raise errors.of_garbage(call) from None
    if not isinstance(item, dict):
        raise errors.of_garbage(call)
    if "error" in item:
        raise errors.of_progress(call, str(item["error"]))
    return item
