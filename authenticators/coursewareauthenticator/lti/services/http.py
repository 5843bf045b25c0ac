"""Requests to services of platforms: bounded in size and time, over https, and nowhere but where they were sent.

Runs in: hub. Never blocks the event loop. Only the name of a host is ever logged or said: addresses, headers and bodies
may hold what lets grades be sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin, urlsplit

from tornado.httpclient import HTTPError, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from coursewareauthenticator.lti.launch import is_web_address, may_be_asked
from coursewareauthenticator.lti.services.reasons import Kind, Reason, ServiceFailure

TIMEOUT: Final = 20.0
"""Seconds for one request and its whole answer: platforms that write a gradebook at night take ten."""
LARGEST_ANSWER: Final = 2 * 1024 * 1024
"""Bytes of one answer."""
MOST_AT_ONCE: Final = 50
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 3


@dataclass(frozen=True)
class Call:
    """One request."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """What may be said of where it goes."""
        return urlsplit(self.url).netloc


@dataclass(frozen=True)
class Answer:
    """What came back; `url` is where it came from, `links` are all `Link` headers."""

    status: int
    body: bytes = field(repr=False)
    url: str
    links: tuple[str, ...] = ()
    retry_after: str | None = None

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return 200 <= self.status < 300


class ServiceHttp:
    """One for a hub. `http_hosts` are the hosts (`name` or `name:port`) that may be asked without TLS."""

    def __init__(
        self,
        http_hosts: frozenset[str] = frozenset(),
        *,
        timeout: float = TIMEOUT,
        largest: int = LARGEST_ANSWER,
    ) -> None:
        self._http_hosts = http_hosts
        self._timeout = timeout
        self._largest = largest
        self._client: SimpleAsyncHTTPClient | None = None

    async def send(self, call: Call) -> Answer:
        """The answer, whatever its status. A GET is sent on within its origin, at most three times.

        Raises ServiceFailure when there is none (also when it may have been done all the same), or when the address
        is not allowed.
        """
        url = call.url
        for _ in range(_MOST_REDIRECTS):
            answer = await self._once(call, url)
            if answer.code not in _REDIRECTS:
                break
            onward = _absolute(answer.headers.get("Location"), url)
            # What is sent on has a token in it, and a grade that is sent on may have been taken before.
            if call.method != "GET" or onward is None or not same_origin(onward, url):
                break
            url = onward
        return Answer(
            answer.code,
            answer.body or b"",
            url,
            tuple(answer.headers.get_list("Link")),
            answer.headers.get("Retry-After"),
        )

    def close(self) -> None:
        """End what is under way."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _once(self, call: Call, url: str) -> HTTPResponse:
        if not may_be_asked(url, self._http_hosts):
            raise ServiceFailure(Kind.PERMANENT, Reason.NOT_ASKED, urlsplit(url).netloc[:200])
        if self._client is None:
            self._client = SimpleAsyncHTTPClient(
                force_instance=True, max_body_size=self._largest, max_clients=MOST_AT_ONCE
            )
        request = HTTPRequest(
            url,
            method=call.method,
            headers=dict(call.headers),
            body=call.body,
            allow_nonstandard_methods=True,
            connect_timeout=self._timeout,
            request_timeout=self._timeout,
            follow_redirects=False,
            decompress_response=False,
        )
        try:
            async with asyncio.timeout(self._timeout + 1):
                return await self._client.fetch(request, raise_error=False)
        except (HTTPError, OSError, ValueError, TimeoutError) as error:
            raise ServiceFailure(Kind.RETRY, Reason.NO_ANSWER, type(error).__name__, everything=True) from None


def same_origin(one: str, other: str) -> bool:
    """Whether two addresses are of one scheme, host and port; from http to https of the same host is one step up."""
    first, second = _origin(one), _origin(other)
    if first is None or second is None:
        return False
    return first == second or (first[0] == "https" and second[0] == "http" and first[1] == second[1])


def _origin(url: str) -> tuple[str, str, int] | None:
    if not is_web_address(url):
        return None
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]


def _absolute(location: str | None, base: str) -> str | None:
    if location is None:
        return None
    try:
        return urljoin(base, location)
    except ValueError:
        return None
