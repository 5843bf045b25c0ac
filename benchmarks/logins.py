"""Waiting for login pages, as many at once as there are courses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import httpx

from benchmarks.browserless import PAGE, PAUSE
from benchmarks.forms import login_form
from benchmarks.processes import StackError
from benchmarks.stack import Address


def wait_for_logins(courses: Sequence[Address], check: Callable[[], None], seconds: float = 300.0) -> None:
    """Return when the login pages of all these courses have answered 200 with a form.

    A page that is refused, redirected to a waiting page or has no form yet is asked for again after
    50 ms. `check` is called meanwhile and may raise; raises `StackError` after `seconds`.
    """
    asyncio.run(_all(courses, check, seconds))


async def _all(courses: Sequence[Address], check: Callable[[], None], seconds: float) -> None:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(follow_redirects=True, trust_env=False, timeout=seconds, limits=limits) as client:
        pages = asyncio.gather(*(_one(client, each, seconds) for each in courses))
        watch = asyncio.create_task(_watch(check))
        watch.add_done_callback(lambda _: pages.cancel())
        try:
            await pages
        except asyncio.CancelledError:
            if watch.done():
                watch.result()
            raise
        finally:
            watch.cancel()


async def _watch(check: Callable[[], None]) -> None:
    while True:
        check()
        await asyncio.sleep(0.5)


async def _one(client: httpx.AsyncClient, course: Address, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    told = "no answer"
    while time.monotonic() < deadline:
        try:
            page = await client.get(course.login, headers=PAGE)
        except httpx.HTTPError as error:
            told = str(error) or type(error).__name__
        else:
            if page.status_code == 200 and login_form(page.text) is not None:
                return
            told = f"status {page.status_code}"
        await asyncio.sleep(PAUSE)
    raise StackError(f"the login page of {course.id} did not come in {seconds:.0f} s: {told}")
