"""Asking addresses that others gave (server-side request forgery): against a real server, and hostile ones."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from support.lti import rsa_key
from support.registering_platform import FakePlatform, running_platform

from coursewarehub.site.lti import fetch
from coursewarehub.site.lti.fetch import Failure, Fetcher, FetchFailed, is_public


@pytest.fixture(scope="module")
def platform() -> Iterator[FakePlatform]:
    with running_platform() as running:
        yield running


def ask(url: str, *hosts: str, timeout: float = 5, **options: Any) -> Any:
    return asyncio.run(Fetcher(frozenset(hosts), timeout).json(url, **options))


def failure(url: str, *hosts: str, **options: Any) -> Failure:
    with pytest.raises(FetchFailed) as caught:
        ask(url, *hosts, **options)
    assert "%(" not in str(caught.value)
    return caught.value.failure


def test_an_answer(platform: FakePlatform) -> None:
    assert ask(platform.configuration_url, platform.host)["issuer"] == platform.url
    assert ask(platform.configuration_url, "127.0.0.1", token="t")["issuer"] == platform.url
    assert platform.asked[-1] == ("GET", "/configuration", "Bearer t")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/huge", Failure.CUT_OFF),
        ("/endless", Failure.CUT_OFF),
        ("/redirect", Failure.REDIRECTED),
        ("/text", Failure.NO_OBJECT),
        ("/list", Failure.NO_OBJECT),
        ("/deep", Failure.NO_OBJECT),
        ("/nothing", Failure.STATUS),
    ],
)
def test_dr_02_hostile_answers(platform: FakePlatform, path: str, why: Failure) -> None:
    assert failure(platform.url + path, platform.host) is why


def test_dr_02_slow_answers(platform: FakePlatform) -> None:
    """The time is for all of it: an answer that drips ends as well as one that does not begin."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for url in (f"http://127.0.0.1:{silent.getsockname()[1]}/", f"{platform.url}/drip"):
            begun = time.monotonic()
            assert failure(url, "127.0.0.1", timeout=0.5) is Failure.SLOW
            assert time.monotonic() - begun < 2


def test_dr_02_private_addresses(platform: FakePlatform) -> None:
    asked = len(platform.asked)
    port = platform.host.partition(":")[2]
    for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"):
        assert failure(f"https://{host}:{port}/configuration") in {Failure.PRIVATE, Failure.UNKNOWN_HOST}, host
    assert failure(f"https://127.0.0.1:{port}/", "127.0.0.1:1") is Failure.PRIVATE
    assert failure("https://169.254.169.254/latest/meta-data") is Failure.PRIVATE
    assert len(platform.asked) == asked


def test_dr_02_what_was_looked_at_is_connected_to(platform: FakePlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that means a public address at first and a private one later (DNS rebinding)."""
    port = int(platform.host.partition(":")[2])
    answers = iter([[(socket.AF_INET, ("127.0.0.1", port))], [(socket.AF_INET, ("127.0.0.1", port))]])

    async def resolve(self: object, host: str, port: int, family: int = 0) -> list[tuple[int, Any]]:
        return next(answers)

    monkeypatch.setattr(fetch.DefaultLoopResolver, "resolve", resolve)
    assert failure(f"https://rebinding.example.org:{port}/") is Failure.PRIVATE
    asked = len(platform.asked)
    # One question for each request, and its answer is used.
    assert ask(f"http://rebinding.example.org:{port}/configuration", f"rebinding.example.org:{port}")["issuer"]
    assert len(platform.asked) == asked + 1
    assert next(answers, None) is None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://lms.example.org/x", Failure.NOT_SECURE),
        ("ftp://lms.example.org/x", Failure.NO_ADDRESS),
        ("file:///etc/passwd", Failure.NO_ADDRESS),
        ("https://a:b@lms.example.org/", Failure.NO_ADDRESS),
        ("https:///x", Failure.NO_ADDRESS),
        ("https://lms.example.org:99999/", Failure.NO_ADDRESS),
        ("https://lms.invalid/", Failure.UNKNOWN_HOST),
    ],
)
def test_dr_02_addresses_that_are_not_asked(url: str, why: Failure) -> None:
    assert failure(url) is why


def test_dr_02_no_tls_where_tls_was_asked_for(platform: FakePlatform) -> None:
    assert failure(f"https://{platform.host}/configuration", platform.host) is Failure.UNREACHABLE


def test_dr_02_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    key = rsa_key("tls")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (tmp_path / "tls.pem").write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.pem")

    async def asked() -> FetchFailed:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(FetchFailed) as caught:
            await Fetcher(frozenset({"localhost"})).ask(f"https://localhost:{port}/")
        server.close()
        return caught.value

    found = asyncio.run(asked())
    assert found.failure is Failure.UNREACHABLE and "self-signed certificate" in str(found)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert failure(f"http://127.0.0.1:{port}/", "127.0.0.1") is Failure.UNREACHABLE


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("10.0.0.1", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("192.0.2.1", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:93.184.215.14", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("nonsense", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public
