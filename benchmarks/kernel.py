"""One kernel's WebSocket, in Jupyter's JSON protocol."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from benchmarks.processes import StackError


class KernelSocket:
    """The channels of a running kernel; use it as an ``async with`` block."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._session = uuid.uuid4().hex
        self._request = HTTPRequest(f"{url}?session_id={self._session}", headers=dict(headers))
        self._socket: WebSocketClientConnection | None = None

    async def __aenter__(self) -> Self:
        self._socket = await websocket_connect(self._request)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._socket is not None:
            self._socket.close()

    async def run(self, code: str, seconds: float) -> str:
        """The plain text of the result of `code`.

        Raises `StackError` when the cell fails or the connection closes, `TimeoutError` after
        `seconds`.
        """
        question = execute_request(self._session, code)
        async with asyncio.timeout(seconds):
            await self._open.write_message(json.dumps(question))
            return await self._result(question["header"]["msg_id"])

    @property
    def _open(self) -> WebSocketClientConnection:
        if self._socket is None:
            raise StackError("the kernel's connection is not open")
        return self._socket

    async def _result(self, question: str) -> str:
        while True:
            text = await self._open.read_message()
            if text is None:
                raise StackError("the kernel's connection was closed")
            message = json.loads(text) if isinstance(text, str) else {}
            if message.get("parent_header", {}).get("msg_id") != question:
                continue
            kind = message["header"]["msg_type"]
            if kind == "execute_result":
                return str(message["content"]["data"]["text/plain"])
            if kind == "error":
                raise StackError(f"the cell failed: {message['content'].get('evalue')}")


def execute_request(session: str, code: str) -> dict[str, Any]:
    """A message of Jupyter's protocol that runs `code`."""
    return {
        "header": {
            "msg_id": uuid.uuid4().hex,
            "msg_type": "execute_request",
            "session": session,
            "username": "",
            "date": "",
            "version": "5.3",
        },
        "parent_header": {},
        "metadata": {},
        "content": {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        },
        "channel": "shell",
        "buffers": [],
    }
