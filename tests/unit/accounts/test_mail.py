"""Mail by a real server: plain, with STARTTLS, with login; and what is said when it does not go."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from aiosmtpd.smtp import AuthResult
from pydantic import SecretStr
from support.accounts import mail_server
from support.sites import free_port

from coursewareauthenticator.accounts import mail as module
from coursewareauthenticator.accounts.mail import MailFailed, send
from coursewarehub.model.mail import Mail

PASSWORD = SecretStr("s3cret of the mail server")


def a_mail(port: int, **changes: object) -> Mail:
    values = {"host": "127.0.0.1", "port": port, "tls": "none", "sender": "courses@example.org", **changes}
    return Mail.model_validate(values)


def test_a_mail_arrives_as_written() -> None:
    with mail_server() as (box, port):
        send(a_mail(port), None, "sam@example.org", "パスワード", "こんにちは\nhttps://example.org/a?b=c-d_e\n")
    (mail,) = box.mails
    assert (mail["From"], mail["To"], mail["Subject"]) == ("courses@example.org", "sam@example.org", "パスワード")
    assert mail.get_content().replace("\r\n", "\n") == "こんにちは\nhttps://example.org/a?b=c-d_e\n"
    assert mail["Auto-Submitted"] == "auto-generated" and mail["Date"] and mail["Message-ID"].endswith("@example.org>")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    return tmp_path


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_encrypted_and_with_a_password(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    asked = []

    def authenticate(server: object, session: object, envelope: object, mechanism: str, data: object) -> AuthResult:
        asked.append(data)
        fits = getattr(data, "password", b"") == PASSWORD.get_secret_value().encode()
        return AuthResult(success=fits, handled=False)

    settings = {"tls_context": context, "require_starttls": True, "authenticator": authenticate, "auth_required": True}
    with mail_server(**settings) as (box, port):
        mail = a_mail(port, host="localhost", tls="starttls", user="courses", password="env:X")
        # Nobody vouches for that certificate: nothing is said to the server.
        with pytest.raises(MailFailed, match="cannot be used: SSLCertVerificationError"):
            send(mail, PASSWORD, "sam@example.org", "a", "b")
        assert not asked
        trusted = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
        monkeypatch.setattr(module.ssl, "create_default_context", lambda: trusted)
        send(mail, PASSWORD, "sam@example.org", "a", "b")
        with pytest.raises(MailFailed, match="refuses: 535") as error:
            send(mail, SecretStr("wrong"), "sam@example.org", "a", "b")
        assert "wrong" not in str(error.value)
    assert len(box.mails) == 1


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(MailFailed, match=r"127\.0\.0\.1 cannot be used: ConnectionRefusedError"):
        send(a_mail(free_port()), None, "sam@example.org", "a", "b")


def test_no_line_of_a_mail_comes_from_a_name() -> None:
    with mail_server() as (box, port), pytest.raises(MailFailed):
        send(a_mail(port), None, "sam@example.org", "a\r\nBcc: eve@example.org", "b")
    assert box.mails == []
