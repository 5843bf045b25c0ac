"""Sends a mail by the site's server. It blocks; the hub calls it in a thread."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Final

from pydantic import SecretStr

from coursewarehub.model.mail import Mail

SECONDS: Final = 10


class MailFailed(Exception):
    """The mail was not accepted; one sentence without a secret, for logs and operators."""


def send(mail: Mail, password: SecretStr | None, to: str, subject: str, body: str) -> None:
    """Hand a mail over to the site's server. MailFailed."""
    try:
        message = _message(mail.sender, to, subject, body)
        context = ssl.create_default_context()
        if mail.tls == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(mail.host, mail.port, timeout=SECONDS, context=context)
        else:
            server = smtplib.SMTP(mail.host, mail.port, timeout=SECONDS)
        with server:
            if mail.tls == "starttls":
                server.starttls(context=context)
            if mail.user is not None and password is not None:
                server.login(mail.user, password.get_secret_value())
            server.send_message(message)
    except smtplib.SMTPResponseException as error:
        raise MailFailed(f"the mail server {mail.host} refuses: {error.smtp_code}") from None
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise MailFailed(f"the mail server {mail.host} cannot be used: {type(error).__name__}") from None


def _message(sender: str, to: str, subject: str, body: str) -> EmailMessage:
    """A mail; ValueError for a line break where there must be none."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body)
    return message
