"""Showing a notice in learners' servers: each is asked at its own address, with the service token of its course."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from pydantic import SecretStr
from tornado.httpclient import AsyncHTTPClient, HTTPError

from coursewarehub.wire.control import NodeNotice
from coursewarehub.wire.notices import Level, Notice
from coursewarehub.wire.paths import NOTICES, course_prefix

log = logging.getLogger("coursewarehub.site.notices")

_SECONDS: Final = 10
_AT_ONCE: Final = 20


@dataclass(frozen=True)
class Target:
    """One learner's server: where it answers, whose it is, and the token that it takes from the site."""

    address: str
    port: int
    course: str
    user: str
    server: str
    token: SecretStr

    @property
    def url(self) -> str:
        """Where it takes notices."""
        # JupyterHub spells names in paths so.
        name = quote(self.user, safe="@~")
        server = f"{quote(self.server)}/" if self.server else ""
        return f"http://{self.address}:{self.port}{course_prefix(self.course)}user/{name}/{server}{NOTICES}"


def notice_of(order: NodeNotice) -> Notice:
    """What servers show: everything is saved when it arrives, and the seconds are counted down."""
    return Notice(
        id=f"node-{order.node}"[:64].rstrip("-._"),
        text=order.text,
        seconds=order.seconds,
        level=Level.WARNING,
        save=True,
    )


async def show(notice: Notice, targets: Iterable[Target]) -> int:
    """Have the servers show it; how many did. What one does not answer is logged without names."""
    line = asyncio.Semaphore(_AT_ONCE)

    async def one(target: Target) -> bool:
        async with line:
            return await _post(notice, target)

    return sum(await asyncio.gather(*map(one, targets)))


async def _post(notice: Notice, target: Target) -> bool:
    try:
        await AsyncHTTPClient().fetch(
            target.url,
            method="POST",
            headers={
                "Authorization": f"token {target.token.get_secret_value()}",
                "Content-Type": "application/json",
            },
            body=json.dumps(notice.encode()),
            connect_timeout=_SECONDS,
            request_timeout=_SECONDS,
            follow_redirects=False,
        )
    except HTTPError as error:
        # An image of others has no place for notices.
        log.warning("a server of %s did not show a notice: HTTP %s", target.course, error.code)
        return False
    except OSError as error:
        log.warning("a server of %s did not show a notice: %s", target.course, error)
        return False
    return True
