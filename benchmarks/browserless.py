"""One student over HTTP with cookies, as a browser: from the first page to a cell's result."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http.cookiejar import Cookie
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urljoin, urlsplit

import httpx

from benchmarks.forms import link_to, login_form
from benchmarks.kernel import KernelSocket
from benchmarks.processes import StackError
from benchmarks.stack import PASSWORD, Address

PAUSE = 0.05
STAGES = (
    "portal page",
    "login page",
    "signed in",
    "ready event",
    "lab page",
    "kernel started",
    "websocket open",
    "first result",
)
PAGE = {
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
}
FETCH = {
    "Accept": "application/json",
    "Sec-Fetch-Dest": "empty",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "same-origin",
}


@dataclass
class Chain:
    """Seconds from the first request to the end of each stage, and the requests it took."""

    stages: dict[str, float] = field(default_factory=dict)
    requests: int = 0


class Student:
    """A browser session with its own cookies in one course; use it as an ``async with`` block."""

    def __init__(self, course: Address, entry: str, name: str, seconds: float = 180.0) -> None:
        self._course, self._entry, self._name = course, entry, name
        self._user = f"{course.url}user/{quote(name)}/"
        self._deadline = time.monotonic() + seconds
        self._begin = time.monotonic()
        self.chain = Chain()
        self._client = httpx.AsyncClient(
            follow_redirects=True,
            trust_env=False,
            timeout=seconds,
            event_hooks={"request": [self._count]},
        )

    async def _count(self, _request: httpx.Request) -> None:
        self.chain.requests += 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def first_result(self) -> Chain:
        """Walk the whole chain; raises `StackError` naming the stage that does not end well."""
        await self.enter()
        kernel = await self._start_kernel()
        await self._execute(kernel)
        return self.chain

    async def enter(self) -> Chain:
        """Walk it until the page of JupyterLab is there."""
        self._begin = time.monotonic()
        page = await self._login_page()
        page = await self._sign_in(page)
        await self._lab(page)
        return self.chain

    def _done(self, stage: str) -> None:
        self.chain.stages[stage] = time.monotonic() - self._begin

    async def _get(self, url: str) -> httpx.Response:
        if time.monotonic() > self._deadline:
            raise StackError(f"no end in sight at {urlsplit(url).path}")
        return await self._client.get(url, headers=PAGE)

    async def _login_page(self) -> httpx.Response:
        """From the entry (by the portal's link when the entry is no login page) to the form."""
        page = await self._get(self._entry)
        if urlsplit(self._entry).path == "/":
            self._done("portal page")
            link = link_to(page.text, f"courses/{self._course.id}/")
            if page.status_code != 200 or link is None:
                raise StackError(f"the portal has no link to {self._course.id}")
            page = await self._get(urljoin(str(page.url), link))
        while page.status_code != 200 or login_form(page.text) is None:
            await asyncio.sleep(PAUSE)
            page = await self._get(str(page.url))
        self._done("login page")
        return page

    async def _sign_in(self, page: httpx.Response) -> httpx.Response:
        form = login_form(page.text)
        if form is None:
            raise StackError("the login page has no form")
        answer = await self._client.post(
            urljoin(str(page.url), form.action),
            data=form.fields | {"username": self._name, "password": PASSWORD},
            headers=PAGE | {"Origin": origin(self._course.url), "Referer": str(page.url)},
        )
        if answer.status_code >= 400 and "/hub/login" in answer.url.path:
            raise StackError(f"login was refused with status {answer.status_code}")
        self._done("signed in")
        return answer

    async def _lab(self, page: httpx.Response) -> None:
        """From whatever follows the login to the page of the student's own server."""
        user_path = urlsplit(self._user).path
        while not (page.status_code == 200 and page.url.path.startswith(user_path)):
            if "/hub/spawn" in page.url.path and page.status_code >= 500:
                raise StackError(f"the start ended on a page with status {page.status_code}")
            if "/hub/spawn-pending/" in page.url.path and page.status_code == 200:
                await self._until_ready()
                self._done("ready event")
            elif page.url.path.endswith("/hub/home"):
                page = await self._get(f"{self._course.url}hub/spawn")
                continue
            else:
                await asyncio.sleep(PAUSE)
            page = await self._get(str(page.url))
        self._done("lab page")

    async def _until_ready(self) -> None:
        """Read the progress stream that the pending page reads."""
        url = f"{self._course.api}/users/{quote(self._name)}/server/progress"
        token = self._cookie("_xsrf", urlsplit(self._course.url).path + "hub/")
        events = FETCH | {"Accept": "text/event-stream"}
        async with self._client.stream("GET", url, params={"_xsrf": token}, headers=events) as answer:
            async for event in progress_events(answer):
                if event.get("failed"):
                    raise StackError(f"the server did not start: {event.get('message')}")
                if event.get("ready"):
                    return

    async def _start_kernel(self) -> str:
        answer = await self._client.post(
            f"{self._user}api/kernels",
            json={"name": "python3"},
            headers=FETCH
            | {
                "X-XSRFToken": self._cookie("_xsrf", urlsplit(self._user).path),
                "Origin": origin(self._user),
                "Referer": f"{self._user}lab",
            },
        )
        if answer.status_code != 201:
            raise StackError(f"a kernel was refused with status {answer.status_code}")
        self._done("kernel started")
        return str(answer.json()["id"])

    async def _execute(self, kernel: str) -> None:
        """Run ``1+1`` and wait for its result."""
        url = f"ws{self._user[4:]}api/kernels/{kernel}/channels"
        headers = {"Cookie": self._cookies(urlsplit(url).path), "Origin": origin(self._user)}
        self.chain.requests += 1
        async with KernelSocket(url, headers) as socket:
            self._done("websocket open")
            await socket.run("1+1", max(1.0, self._deadline - time.monotonic()))
            self._done("first result")

    def _cookie(self, name: str, path: str) -> str:
        """The cookie with the longest path above `path`, as a server would pick; "" without one."""
        found = [cookie for cookie in self._valid(path) if cookie.name == name]
        return (max(found, key=lambda cookie: len(cookie.path)).value or "") if found else ""

    def _cookies(self, path: str) -> str:
        ordered = sorted(self._valid(path), key=lambda cookie: -len(cookie.path))
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in ordered)

    def _valid(self, path: str) -> list[Cookie]:
        return [cookie for cookie in self._client.cookies.jar if path.startswith(cookie.path)]


def origin(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


async def progress_events(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """The events of one of JupyterHub's progress streams, as dictionaries."""
    if answer.status_code != 200:
        raise StackError(f"the progress stream answered {answer.status_code}")
    async for line in answer.aiter_lines():
        if line.startswith("data:"):
            yield json.loads(line.removeprefix("data:"))
