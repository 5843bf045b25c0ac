"""Many students' servers at once, through JupyterHub's REST API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import httpx

from benchmarks.browserless import FETCH, PAUSE, progress_events
from benchmarks.processes import StackError
from benchmarks.stack import Address


@dataclass(frozen=True)
class Started:
    """Seconds from the request to the first answer of the server, or why there is none."""

    name: str
    seconds: float | None
    failure: str = ""


def names(count: int) -> list[str]:
    """The names of `count` students."""
    return [f"student{number:03}" for number in range(1, count + 1)]


def start_servers(
    course: Address, token: str, students: Sequence[str], ready_path: str, seconds: float
) -> list[Started]:
    """Create the students, then start all their servers at the same moment.

    A server counts as started when the hub says so and `ready_path` below it answers 200 through
    the proxy; what has not after `seconds` is a failure.
    """
    return asyncio.run(_start(course, token, students, ready_path, seconds))


def _client(token: str, seconds: float) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        headers={"Authorization": f"token {token}"},
        trust_env=False,
        timeout=seconds,
        limits=httpx.Limits(max_connections=None),
    )


async def _start(
    course: Address, token: str, students: Sequence[str], ready_path: str, seconds: float
) -> list[Started]:
    async with _client(token, seconds) as client:
        answer = await client.post(f"{course.api}/users", json={"usernames": list(students)})
        if answer.status_code != 201:
            raise StackError(f"creating users answered {answer.status_code}: {answer.text[:200]}")
        return await asyncio.gather(*(_one(client, course, name, ready_path, seconds) for name in students))


async def _one(client: httpx.AsyncClient, course: Address, name: str, ready_path: str, seconds: float) -> Started:
    begin = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            await _spawn(client, course, name)
            await _until_answering(client, f"{course.url}user/{quote(name)}/{ready_path}")
    except TimeoutError:
        return Started(name, None, f"not ready after {seconds:.0f} s")
    except (StackError, httpx.HTTPError) as error:
        return Started(name, None, str(error) or type(error).__name__)
    return Started(name, time.monotonic() - begin)


async def _spawn(client: httpx.AsyncClient, course: Address, name: str) -> None:
    server = f"{course.api}/users/{quote(name)}/server"
    answer = await client.post(server)
    if answer.status_code == 201:
        return
    if answer.status_code != 202:
        raise StackError(f"the start answered {answer.status_code}: {answer.text[:200]}")
    async with client.stream("GET", f"{server}/progress") as stream:
        async for event in progress_events(stream):
            if event.get("failed"):
                raise StackError(str(event.get("message", "the start failed")))
            if event.get("ready"):
                return
    raise StackError("the progress stream ended before the server was ready")


async def _until_answering(client: httpx.AsyncClient, url: str) -> None:
    while (answer := await client.get(url, headers=FETCH)).status_code != 200:
        if answer.status_code in (401, 403):
            raise StackError(f"{answer.url.path} is forbidden for the course's token")
        await asyncio.sleep(PAUSE)
