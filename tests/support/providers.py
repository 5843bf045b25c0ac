"""A real OpenID Connect provider (oidc-provider-mock) as a process, and somebody with a browser's cookies there."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import requests

from support.loop_lag import LoopLag
from support.sites import eventually, free_port


class Provider:
    """A running provider; `url` is its issuer."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def set_user(self, sub: str, **claims: Any) -> None:
        """What the provider says of somebody from now on."""
        answer = requests.put(f"{self.url}/users/{sub}", json=claims, timeout=10)
        assert answer.status_code == 204, answer.text

    def consent(self, page: requests.Response, sub: str) -> str:
        """Log in as `sub` on the provider's page; the address to which it sends the browser back."""
        answer = requests.post(page.url, data={"sub": sub}, timeout=10, allow_redirects=False)
        assert answer.status_code == 302, answer.text[:500]
        return answer.headers["Location"]


@contextlib.contextmanager
def running_provider() -> Iterator[Provider]:
    """A provider as a process of its own, ended afterwards."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "oidc_provider_mock", "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        provider = Provider(port)
        eventually(lambda: _answers(provider.url), 20)
        yield provider
    finally:
        process.kill()
        process.wait(timeout=10)


def _answers(url: str) -> bool:
    with contextlib.suppress(requests.ConnectionError):
        return requests.get(f"{url}/.well-known/openid-configuration", timeout=5).status_code == 200
    return False


class Silent:
    """Accepts connections at `port` and never answers; with `hangs_up` it ends them at once instead."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.hangs_up = True


@contextlib.contextmanager
def silent_service() -> Iterator[Silent]:
    """A service that can be silent, ended afterwards; at first it hangs up."""
    listening = socket.create_server(("127.0.0.1", 0))
    service = Silent(int(listening.getsockname()[1]))
    held: list[socket.socket] = []

    def hold() -> None:
        while True:
            try:
                connection = listening.accept()[0]
            except OSError:
                return
            if service.hangs_up:
                connection.close()
            else:
                held.append(connection)

    threading.Thread(target=hold, daemon=True).start()
    try:
        yield service
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for each in held:
            each.close()


@dataclass(frozen=True)
class Measured:
    """What became of many logins at once, each with its time, and how late the hub's event loop was meanwhile."""

    answers: list[tuple[float, requests.Response]]
    late: list[float]


def many_logins(lag: LoopLag, url: str, login: Callable[[], requests.Response], times: int = 20) -> Measured:
    """Let `times` people log in at once, and others ask for `url` meanwhile, which must be answered."""
    answers: list[tuple[float, requests.Response]] = []

    def press() -> None:
        start = time.monotonic()
        answer = login()
        answers.append((time.monotonic() - start, answer))

    pressing = [threading.Thread(target=press) for _ in range(times)]
    begin = time.monotonic()
    for each in pressing:
        each.start()
    while any(each.is_alive() for each in pressing) or time.monotonic() - begin < 1:
        assert requests.get(url, timeout=10).status_code == 200
        time.sleep(0.05)
    for each in pressing:
        each.join()
    return Measured(answers, lag.since(begin))


def sentence(page: requests.Response) -> str:
    """What the login page says went wrong; empty when nothing."""
    found = re.search(r'id="login-error"[^>]*>(.*?)</p>', page.text, re.DOTALL)
    return " ".join(found[1].split()) if found else ""
