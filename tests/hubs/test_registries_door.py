"""What learners' containers reach at the door to package registries, asked of the real Traefik.

Loopback addresses stand for the networks of two courses, one with `egress: registries` and one without, and a server of
the test's own with TLS stands for a registry: `localhost` is the one name that leads to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.models import a_site
from support.sites import eventually, free_pair, free_port

from coursewarehub.site import registries
from coursewarehub.site.edge import Edge, EdgePorts, site_routes
from coursewarehub.state.folders import SiteFolders

pytestmark = pytest.mark.slow

MAY, MAY_NOT = "127.0.1.7", "127.0.2.7"
NAME, UNREACHABLE = "localhost", "nowhere.invalid"
HELLO = b"this is the registry"


class Registry:
    """A server with TLS and a certificate of its own; says hello to whoever has asked something."""

    def __init__(self, folder: Path) -> None:
        key, self.certificate = folder / "key.pem", folder / "certificate.pem"
        subject = ("-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}")
        made = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        files = ("-keyout", str(key), "-out", str(self.certificate), "-days", "2")
        subprocess.run([*made, *files, *subject], check=True, capture_output=True)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(self.certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                with contextlib.suppress(OSError), self._tls.wrap_socket(connection, server_side=True) as visitor:
                    visitor.recv(100)
                    visitor.sendall(HELLO)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Door:
    """A running Traefik in front of the registry; `file` is where its routes stand."""

    def __init__(self, root: Path, registry: Registry) -> None:
        self.registry = registry
        first = free_pair()
        self.port = first + 1
        site = a_site(edge={"port": free_port()}, spawner={"kind": "docker", "port": first})
        folders = SiteFolders(root)
        for folder in (folders.routes, folders.run, folders.logs):
            folder.mkdir(parents=True)
        ports = EdgePorts(api=free_port(), portal=free_port())
        self.base = site_routes(site, root, ports, {}, "secret")
        self.file = folders.routes / "site.yaml"
        self.allow("127.0.1.0/24")
        self.edge = Edge(site, folders, ports)
        asyncio.run(self.edge.start())

    def allow(self, *subnets: str) -> None:
        """Registries are for these networks from now on."""
        routes = self.base | registries.registry_routes((NAME, UNREACHABLE), subnets)
        text = json.dumps(routes)
        written = self.file.with_suffix(".new")
        written.write_text(text)
        written.rename(self.file)

    def tls(self, source: str, name: str | None) -> bytes:
        """What is answered to a client that asks for a name, or for none. Raises OSError when it is refused."""
        context = ssl.create_default_context(cafile=str(self.registry.certificate))
        context.check_hostname = False
        if name != NAME:
            context.verify_mode = ssl.CERT_NONE  # whatever would answer is an error, whoever signed it
        with (
            socket.create_connection(("127.0.0.1", self.port), 10, source_address=(source, 0)) as connection,
            context.wrap_socket(connection, server_hostname=name) as opened,
        ):
            opened.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return opened.recv(1000)

    def plain(self, source: str, said: bytes) -> bytes:
        """What is answered to a client without TLS; nothing when the connection is closed."""
        with socket.create_connection(("127.0.0.1", self.port), 10, source_address=(source, 0)) as connection:
            connection.sendall(said)
            with contextlib.suppress(ConnectionError):
                return connection.recv(1000)
            return b""

    def refuses(self, source: str, name: str | None) -> bool:
        """Whether no TLS comes about: nobody on the other side speaks it, and nobody of the door's either."""
        try:
            self.tls(source, name)
        except OSError:
            return True
        return False


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    registry = Registry(tmp_path_factory.mktemp("registry"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registries, "_TLS_PORT", registry.port)
        made = Door(tmp_path_factory.mktemp("door"), registry)
        eventually(lambda: not made.refuses(MAY, NAME))
        yield made
    asyncio.run(made.edge.stop())
    registry.close()


@pytest.mark.parametrize("name", [NAME, NAME.upper()])
def test_a_registry_is_reached_by_its_name_unopened(door: Door, name: str) -> None:
    """The client sees the registry's own certificate, which the test trusts and no other."""
    assert door.tls(MAY, name) == HELLO


@pytest.mark.parametrize(
    "name",
    [
        "evil.example.org",
        f"{NAME}.example.org",
        f"x.{NAME}",
        f"{NAME}.",
        "127.0.0.1",
        "*",
        None,
    ],
)
def test_any_other_name_is_refused(door: Door, name: str | None) -> None:
    before = door.registry.connections
    assert door.refuses(MAY, name)
    assert door.registry.connections == before


@pytest.mark.parametrize("name", [NAME, "evil.example.org", None])
@pytest.mark.parametrize("source", [MAY_NOT, "127.0.0.1"])
def test_courses_without_registries_and_strangers_are_refused(door: Door, source: str, name: str | None) -> None:
    before = door.registry.connections
    assert door.refuses(source, name)
    assert door.registry.connections == before


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/rawdata HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
@pytest.mark.parametrize("source", [MAY, MAY_NOT])
def test_what_is_no_tls_is_not_answered(door: Door, source: str, said: bytes) -> None:
    before = door.registry.connections
    assert door.plain(source, said) == b""
    assert door.registry.connections == before


def test_a_registry_that_cannot_be_reached_is_a_closed_connection(door: Door) -> None:
    assert door.refuses(MAY, UNREACHABLE)
    assert door.tls(MAY, NAME) == HELLO


def test_last_course_with_registries_gone_nobody_is_let_through(door: Door) -> None:
    """And nothing else begins to answer there."""
    door.allow()
    eventually(lambda: door.refuses(MAY, NAME))
    assert door.plain(MAY, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""
    door.allow("127.0.1.0/24")
    eventually(lambda: not door.refuses(MAY, NAME))
