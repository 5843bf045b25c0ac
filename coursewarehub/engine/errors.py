"""What went wrong with a call to the engine, as one of four kinds. Pure.

The distinction that matters: `Gone` says that the object does not exist, `Unreachable` that nothing is known of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import unquote

_LONGEST_REASON = 300
_SHORTEST_SECRET = 6
_VERBS = frozenset({"json", "start", "stop", "kill", "wait", "update", "logs", "connect", "disconnect", "tag", "push"})
_ASSIGNMENT = re.compile(r"^[A-Za-z_][A-Za-z0-9_.]*=(?P<value>.*)$", re.DOTALL)
_RPC = re.compile(r"^rpc error: code = \w+ desc = ")


class Cause(StrEnum):
    """Why nothing is known."""

    ADDRESS = "address"
    """The address of the engine is not one."""
    MISSING = "missing"
    """There is no such socket."""
    FORBIDDEN = "forbidden"
    """This account may not use the socket."""
    REFUSED = "refused"
    """Nothing listens there."""
    TIMEOUT = "timeout"
    """No answer in time."""
    BROKEN = "broken"
    """The connection ended early, or what came is no answer of an engine."""
    NO_LEADER = "no-leader"
    """The swarm's managers have lost each other."""
    NOT_MANAGER = "not-manager"
    """The engine is no manager of a swarm."""
    FAILED = "failed"
    """The engine says that it failed."""


class EngineError(Exception):
    """A call to the engine did not do what was asked; its text is one sentence."""


class Gone(EngineError):
    """The object itself does not exist."""


class Conflict(EngineError):
    """The name is taken, or the object is in the middle of another change."""


class Refused(EngineError):
    """The engine will not do it; `reason` is why, in its own words, and `status` the HTTP status."""

    def __init__(self, text: str, reason: str = "", status: int = 400) -> None:
        super().__init__(text)
        self.reason = reason
        self.status = status


class Unreachable(EngineError):
    """Nothing is known: no connection, no answer in time, or an error of the engine's own."""

    def __init__(self, text: str, cause: Cause = Cause.FAILED) -> None:
        super().__init__(text)
        self.cause = cause


@dataclass(frozen=True)
class Call:
    """One call, as far as messages need it. `secrets` are strings that no message may hold."""

    engine: str
    method: str
    path: str
    secrets: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.method} {unquote(self.path)}"

    @property
    def object_name(self) -> str | None:
        """Name or id in the path: `x` in `/containers/x/start`; None for lists and `create`."""
        parts = self.path.strip("/").split("/")
        if len(parts) < 2 or parts[1] in {"json", "create", "prune"}:
            return None
        last = -1 if len(parts) > 2 and parts[-1] in _VERBS else None
        return unquote("/".join(parts[1:last]))


def secrets_in(body: Any) -> frozenset[str]:
    """Values that must not be repeated from a request: what environments assign, and the data of secrets."""
    return frozenset(value for value in _secrets(body) if len(value) >= _SHORTEST_SECRET)


def _secrets(body: Any) -> Iterable[str]:
    if isinstance(body, Mapping):
        for key, value in body.items():
            if key == "Env" and isinstance(value, list):
                yield from (found["value"] for item in value if (found := _ASSIGNMENT.match(str(item))))
            elif key == "Data" and isinstance(value, str):
                yield value
            else:
                yield from _secrets(value)
    elif isinstance(body, list | tuple):
        for item in body:
            yield from _secrets(item)


def of_answer(call: Call, status: int, text: str) -> EngineError:
    """The error that an answer with a status of 400 or more stands for."""
    message = _message(text)
    reason = _plain(call, message)
    if status >= 500:
        return _of_server_error(call, status, reason)
    name = call.object_name
    if status == 404 and message is not None and name and _is_about(call, name, message):
        return Gone(f"the engine has no {_kind(call)} `{name}`")
    if status == 409:
        return Conflict(f"the engine cannot do `{call}` now: {reason or 'it is in conflict with another change'}")
    if status == 404 and message is None:
        return of_garbage(call)
    return Refused(f"the engine refused `{call}`: {reason or f'HTTP {status}'}", reason, status)


def _of_server_error(call: Call, status: int, reason: str) -> EngineError:
    lowered = reason.lower()
    if "does not have a leader" in lowered or "no leader" in lowered:
        cause, text = Cause.NO_LEADER, "the swarm has no leader: most of its managers cannot be reached"
    elif "not a swarm manager" in lowered:
        cause, text = Cause.NOT_MANAGER, f"the engine at {call.engine} is not a manager of a swarm"
    elif "update out of sequence" in lowered:
        return Conflict(f"the engine cannot do `{call}` now: somebody else changed it at the same time")
    else:
        cause, text = Cause.FAILED, f"the engine failed at `{call}` (HTTP {status}){f': {reason}' if reason else ''}"
    return Unreachable(text, cause)


def of_silence(call: Call, seconds: float) -> Unreachable:
    """No answer in time."""
    return Unreachable(f"the engine at {call.engine} did not answer `{call}` within {seconds:g} s", Cause.TIMEOUT)


def of_connection(call: Call, error: BaseException, seconds: float = 0) -> Unreachable:
    """No connection, or one that broke; the reason is looked for in the exceptions behind `error`."""
    found = next(_system_errors(error), None)
    if isinstance(found, FileNotFoundError | NotADirectoryError):
        return Unreachable(f"there is no Docker Engine at {call.engine}: the socket does not exist", Cause.MISSING)
    if isinstance(found, PermissionError):
        return Unreachable(f"this account may not use the Docker Engine at {call.engine}", Cause.FORBIDDEN)
    if isinstance(found, ConnectionRefusedError):
        return Unreachable(f"no Docker Engine runs at {call.engine}: nothing listens there", Cause.REFUSED)
    if isinstance(found, BlockingIOError | TimeoutError):
        return of_silence(call, seconds)
    return Unreachable(f"the connection to the engine at {call.engine} broke during `{call}`", Cause.BROKEN)


def of_garbage(call: Call) -> Unreachable:
    """An answer that is not what an engine says."""
    return Unreachable(f"what answers `{call}` at {call.engine} does not speak as a Docker Engine does", Cause.BROKEN)


def of_address(engine: str) -> Unreachable:
    """The address cannot be one of an engine."""
    return Unreachable(
        f"`{engine}` is no address of a Docker Engine: write unix:///path or tcp://host:port", Cause.ADDRESS
    )


def of_old_engine(call: Call, version: str, api: tuple[int, int], oldest: tuple[int, int]) -> Refused:
    """The engine does not know what is needed."""
    reason = f"it is Docker {version} with API {_dotted(api)}, and API {_dotted(oldest)} (Docker 20.10) is needed"
    return Refused(f"the Docker Engine at {call.engine} is too old: {reason}", reason)


def of_progress(call: Call, message: str) -> Refused:
    """An error told in the middle of a stream that began well."""
    reason = _plain(call, message)
    return Refused(f"the engine could not finish `{call}`: {reason}", reason)


def _message(text: str) -> str | None:
    """`message` of an engine's error; None when this is no such error."""
    try:
        message = json.loads(text)["message"]
    except (ValueError, TypeError, KeyError):
        return None
    return message if isinstance(message, str) and message != "page not found" else None


def _plain(call: Call, message: str | None) -> str:
    """One line without secrets."""
    text = _RPC.sub("", " ".join((message or "").split()))
    for secret in sorted(call.secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "..."


def _is_about(call: Call, name: str, message: str) -> bool:
    """Whether a 404 is about the object of the path; that of a `POST` may be about something that its body names."""
    if call.method != "POST":
        return True
    named = re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", message, re.IGNORECASE)
    return named is not None and _kind(call) in message.lower()


def _kind(call: Call) -> str:
    return call.path.strip("/").split("/", 1)[0].removesuffix("s")


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _system_errors(error: BaseException) -> Iterator[OSError]:
    """The system's errors (those with a number, and time-outs) among an exception, its causes and its arguments."""
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        current = queue.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        if isinstance(current, TimeoutError) or "Timeout" in type(current).__name__:
            yield TimeoutError()
        elif isinstance(current, OSError) and current.errno is not None:
            yield current
        queue += [current.__cause__, current.__context__]
        queue += [argument for argument in current.args if isinstance(argument, BaseException)]
