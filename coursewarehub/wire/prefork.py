"""Messages between a prefork parent and those who ask it to start a process.

One UTF-8 JSON object a line on a Unix stream socket. A `start` request carries, as ancillary data (SCM_RIGHTS), a file
with the new process's environment, which the parent hands on unread, and may carry a listening socket after it; it
keeps its connection, on which the events of that one process come back. Closing it does not touch the process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

MAX_LINE: Final = 1 << 20


class Operation(StrEnum):
    """What may be asked of a parent."""

    START = "start"
    LIST = "list"
    SOCKET = "socket"
    RELEASE = "release"
    SHUTDOWN = "shutdown"


class Event(StrEnum):
    """What a parent tells of a process it started."""

    STARTED = "started"
    READY = "ready"
    SLEEPING = "sleeping"
    EXITED = "exited"
    REFUSED = "refused"


@dataclass(frozen=True)
class ProcessLimits:
    """Resource limits of one process and what it starts (setrlimit(2)); None leaves the parent's.

    `data_bytes` bounds each process's private writable memory (RLIMIT_DATA), `open_files` its descriptors.
    `processes` (RLIMIT_NPROC) counts all processes of the Unix account and does not bind root. `cores` is the number of
    processor cores it may use (sched_setaffinity(2)).
    """

    data_bytes: int | None = None
    open_files: int | None = None
    processes: int | None = None
    cores: int | None = None


@dataclass(frozen=True)
class StartRequest:
    """Start one process.

    `name` is unique among the running ones of a parent. `listen` true asks the parent to bind a free port on
    127.0.0.1 and hand the listening socket on; a socket sent along with the request takes its place and is
    kept by the parent, so that a restarted caller can have it back.
    """

    name: str
    environment: Mapping[str, str]
    directory: str
    log_file: str
    listen: bool = False
    limits: ProcessLimits = field(default_factory=ProcessLimits)

    def encode(self) -> bytes:
        """One line for the socket, without the environment."""
        return encode({"operation": Operation.START, **asdict(self), "environment": {}})

    def encode_environment(self) -> bytes:
        """What stands in the file that goes along."""
        return json.dumps(dict(self.environment)).encode()

    @classmethod
    def decode(cls, message: Mapping[str, Any]) -> StartRequest:
        """The request in a decoded line; ValueError when a part is missing or of another type."""
        try:
            return cls(
                name=str(message["name"]),
                environment={str(k): str(v) for k, v in message["environment"].items()},
                directory=str(message["directory"]),
                log_file=str(message["log_file"]),
                listen=bool(message["listen"]),
                limits=ProcessLimits(**message["limits"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a start request: {error}") from error


@dataclass(frozen=True)
class ProcessRecord:
    """One process, told apart from a later one with the same pid by its start time (clock ticks since boot)."""

    name: str
    pid: int
    start_time: int
    port: int = 0


def encode(message: Mapping[str, Any]) -> bytes:
    """One line for the socket."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The object in one line; ValueError when it is none."""
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("a message is one JSON object")
    return message
