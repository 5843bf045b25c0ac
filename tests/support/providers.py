"""A real OpenID Connect provider (oidc-provider-mock) as a process, and somebody with a browser's cookies there."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import requests

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


def sentence(page: requests.Response) -> str:
    """What the login page says went wrong; empty when nothing."""
    found = re.search(r'id="login-error"[^>]*>(.*?)</p>', page.text, re.DOTALL)
    return " ".join(found[1].split()) if found else ""
