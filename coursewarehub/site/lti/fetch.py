"""Asking a platform that nobody knows yet: with limits, and never on behalf of whoever sent the address.

Runs in: site, command line. The address comes from a request, so it could be any (server-side request forgery): it
must be https, its host may not be a private one, nothing is followed, and size and time are bounded. A host is looked
at after its name was resolved, and what was looked at is what is connected to.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from tornado.httpclient import HTTPError, HTTPRequest, HTTPResponse
from tornado.netutil import DefaultLoopResolver, Resolver
from tornado.simple_httpclient import HTTPTimeoutError, SimpleAsyncHTTPClient

from coursewareauthenticator.lti.launch import is_web_address, shown
from coursewarehub.i18n import N_

LARGEST: Final = 256 * 1024
"""Bytes of an answer."""
TIMEOUT: Final = 5.0
"""Seconds for a whole request."""
# Networks whose addresses stand for addresses of others: NAT64, 6to4.
_STANDING_FOR: Final = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16")))
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Failure(StrEnum):
    """Why an address cannot be asked, one sentence each; `%(url)s` and `%(why)s` are filled in."""

    NO_ADDRESS = N_("%(url)s is not a complete web address.")
    NOT_SECURE = N_("%(url)s is not asked, because it does not begin with https://.")
    PRIVATE = N_(
        "%(url)s is not asked, because it is an address of a private network: "
        "the operator of this site can allow it when making the registration link."
    )
    UNKNOWN_HOST = N_("The host of %(url)s is not known: check the address.")
    UNREACHABLE = N_("%(url)s cannot be reached (%(why)s): check the address, and the platform’s certificate.")
    SLOW = N_("%(url)s did not answer within five seconds: try again.")
    REDIRECTED = N_("%(url)s answers with a redirect, which is not followed: give the address that it leads to.")
    STATUS = N_("%(url)s answers with an error (HTTP %(why)s).")
    CUT_OFF = N_("%(url)s hung up before its answer was complete, or sent more than 256 KB.")
    NO_OBJECT = N_("The answer of %(url)s is not a JSON object.")


class FetchFailed(Exception):
    """An address could not be asked, or what it answered is of no use."""

    def __init__(self, failure: Failure, url: str, why: object = "") -> None:
        self.failure = failure
        self.template = str(failure)
        self.values = {"url": shown(url), "why": shown(why)}
        super().__init__(self.template % self.values)


@dataclass(frozen=True)
class Answer:
    """An answer with a status below 300."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class _PrivateAddress(OSError):
    """A name stands for an address that may not be asked."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet, and does not stand for another that might not be."""
    try:
        found: Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif any(found in network for network in _STANDING_FOR):
            return False
    return found.is_global and not found.is_multicast


class _GuardedResolver(Resolver):
    """Resolves names to public addresses only, but for the hosts that the operator has named."""

    def initialize(self, private_hosts: frozenset[str]) -> None:
        """Given by the client."""
        self._private_hosts = private_hosts
        self._inner = DefaultLoopResolver()

    async def resolve(
        self, host: str, port: int, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[tuple[int, Any]]:
        """Addresses of a host. Raises _PrivateAddress when one of them may not be asked."""
        found: list[tuple[int, Any]] = await self._inner.resolve(host, port, family)
        if not self._private_hosts & {host.lower(), f"{host.lower()}:{port}"}:
            for _, address in found:
                if not is_public(str(address[0])):
                    raise _PrivateAddress
        return found


class Fetcher:
    """Asks addresses that others gave.

    `private_hosts` (`name` or `name:port`, in lower case) are those that the operator allows at private addresses and
    without https.
    """

    def __init__(self, private_hosts: frozenset[str] = frozenset(), timeout: float = TIMEOUT) -> None:
        self._private_hosts = private_hosts
        self._timeout = timeout

    async def ask(
        self,
        url: str,
        *,
        document: Mapping[str, Any] | None = None,
        token: str | None = None,
        refusals: bool = False,
    ) -> Answer:
        """GET, or POST of a JSON document, with a bearer token. Raises FetchFailed.

        With `refusals`, an answer with a status from 400 on is an answer too.
        """
        self._check(url)
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if document is not None:
            headers["Content-Type"] = "application/json"
        request = HTTPRequest(
            url,
            method="GET" if document is None else "POST",
            headers=headers,
            body=None if document is None else json.dumps(document),
            connect_timeout=self._timeout,
            request_timeout=self._timeout,
            follow_redirects=False,
            decompress_response=False,
        )
        answer = await self._answer(url, request)
        if 300 <= answer.code < 400:
            raise FetchFailed(Failure.REDIRECTED, url)
        if answer.code >= 400 and not refusals:
            raise FetchFailed(Failure.STATUS, url, answer.code)
        return Answer(answer.code, answer.body, dict(answer.headers.get_all()))

    async def json(
        self, url: str, *, document: Mapping[str, Any] | None = None, token: str | None = None
    ) -> dict[str, Any]:
        """As `ask`, for an answer that must be one JSON object. Raises FetchFailed."""
        return as_object(url, (await self.ask(url, document=document, token=token)).body)

    def _check(self, url: str) -> None:
        if not is_web_address(url):
            raise FetchFailed(Failure.NO_ADDRESS, url)
        parts = urlsplit(url)
        if parts.scheme != "https" and not self._private_hosts & {parts.netloc.lower(), parts.hostname or ""}:
            raise FetchFailed(Failure.NOT_SECURE, url)

    async def _answer(self, url: str, request: HTTPRequest) -> HTTPResponse:
        client = SimpleAsyncHTTPClient(
            force_instance=True,
            max_body_size=LARGEST,
            max_header_size=LARGEST,
            resolver=_GuardedResolver(private_hosts=self._private_hosts),
        )
        try:
            async with asyncio.timeout(self._timeout):
                return await client.fetch(request, raise_error=False)
        except (HTTPTimeoutError, TimeoutError):
            raise FetchFailed(Failure.SLOW, url) from None
        except _PrivateAddress:
            raise FetchFailed(Failure.PRIVATE, url) from None
        except socket.gaierror:
            raise FetchFailed(Failure.UNKNOWN_HOST, url) from None
        except HTTPError:
            raise FetchFailed(Failure.CUT_OFF, url) from None
        except (OSError, ValueError) as error:
            raise FetchFailed(Failure.UNREACHABLE, url, _reason(error)) from None
        finally:
            client.close()


def _reason(error: Exception) -> str:
    """What of an error tells an operator something."""
    return getattr(error, "verify_message", "") or getattr(error, "strerror", "") or type(error).__name__


def as_object(url: str, body: bytes) -> dict[str, Any]:
    """A body as one JSON object. Raises FetchFailed."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise FetchFailed(Failure.NO_OBJECT, url) from None
    if not isinstance(document, dict):
        raise FetchFailed(Failure.NO_OBJECT, url)
    return document
