"""Asking a hub through the front door to stop a server."""

from __future__ import annotations

import datetime
import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from coursewarehub.deploy.hubs import Door, server_path, stop
from coursewarehub.deploy.nodes import Server

ADA = Server("s1", "demo", "ada", "", "n2")
NAME = "courses.example.org"


@pytest.mark.parametrize(
    ("user", "server", "path"),
    [
        ("ada", "", "/courses/demo/hub/api/users/ada/server"),
        ("ada", "second", "/courses/demo/hub/api/users/ada/servers/second"),
        ("a b@c/d", "", "/courses/demo/hub/api/users/a%20b%40c%2Fd/server"),
        ("学生", "二", "/courses/demo/hub/api/users/%E5%AD%A6%E7%94%9F/servers/%E4%BA%8C"),
    ],
)
def test_the_path_of_a_server(user: str, server: str, path: str) -> None:
    assert server_path(Server("s", "demo", user, server, "n")) == path


class FrontDoor:
    """Answers everything with one status, and remembers what it was asked."""

    def __init__(self, status: int) -> None:
        self.asked: list[tuple[str, str | None, str | None]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_DELETE(self) -> None:
                outer.asked.append((self.path, self.headers["Host"], self.headers["Authorization"]))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @contextmanager
    def open(self, context: ssl.SSLContext | None = None) -> Iterator[None]:
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            self.server.shutdown()
            self.server.server_close()
            thread.join()


@pytest.mark.parametrize(
    ("status", "telling"),
    [
        (204, None),
        (202, None),
        (404, None),
        (403, "the hub of demo did not stop a server (HTTP 403)"),
        (500, "the hub of demo did not stop a server (HTTP 500)"),
    ],
)
def test_what_the_hub_answers(status: int, telling: str | None) -> None:
    front = FrontDoor(status)
    with front.open():
        assert stop(Door("127.0.0.1", front.port, f"{NAME}:8000"), ADA, "t0ken") == telling
    assert front.asked == [("/courses/demo/hub/api/users/ada/server", f"{NAME}:8000", "token t0ken")]


def test_a_hub_that_does_not_answer() -> None:
    found = stop(Door("127.0.0.1", 1, NAME), ADA, "t0ken")
    assert found == "the hub of demo does not answer; its servers end with the node, and it finds that out later"


def certificate(folder: Path, name: str) -> tuple[str, ssl.SSLContext]:
    """A certificate for a name: its file, and a server with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "cert.pem").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(pem))
    (folder / "key.pem").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return str(folder / "cert.pem"), context


def test_the_site_s_own_certificate_is_trusted_at_the_node_s_address(tmp_path: Path) -> None:
    file, context = certificate(tmp_path, NAME)
    front = FrontDoor(204)
    with front.open(context):
        assert stop(Door("127.0.0.1", front.port, NAME, tls=True, certificate=file), ADA, "t0ken") is None
    assert front.asked == [("/courses/demo/hub/api/users/ada/server", NAME, "token t0ken")]


@pytest.mark.parametrize(("name", "trusted"), [("other.example.org", True), (NAME, False)])
def test_no_token_goes_to_somebody_else(tmp_path: Path, name: str, trusted: bool) -> None:
    file, context = certificate(tmp_path, name)
    front = FrontDoor(204)
    with front.open(context):
        door = Door("127.0.0.1", front.port, NAME, tls=True, certificate=file if trusted else None)
        found = stop(door, ADA, "t0ken")
    assert found is not None and found.startswith("the hub of demo was not asked: the site's certificate is not")
    assert front.asked == []
