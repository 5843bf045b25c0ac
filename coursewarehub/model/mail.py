"""How a site sends mail."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from coursewarehub.model.secret import SecretReference
from coursewarehub.model.values import Expect, Settings, is_host, refusal

ADDRESS = r"^[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+$"
"""E-mail addresses as people have them: no quotes, no comments, a domain in ASCII."""


def _host(value: str) -> str:
    if not is_host(value):
        raise ValueError("not a host")
    return value


class Mail(Settings):
    """The server that sends the site's mail: links with which people of a course set a new password."""

    host: Annotated[str, AfterValidator(_host), Expect("the name or address of a mail server")] = Field(
        description="The mail server.", examples=["smtp.example.org"]
    )
    port: int = Field(587, ge=1, le=65535, description="Its port: 587 with `starttls`, 465 with `tls`, else 25.")
    tls: Literal["starttls", "tls", "none"] = Field(
        "starttls",
        description="`starttls` encrypts before anything is said, `tls` from the start; `none` is for a server on "
        "this machine, and production mode refuses it for any other.",
    )
    sender: Annotated[str, StringConstraints(pattern=ADDRESS, max_length=254), Expect("an e-mail address")] = Field(
        description="The address that mail comes from.", examples=["courses@example.org"]
    )
    user: Annotated[str, StringConstraints(min_length=1, max_length=255), Expect("text")] | None = Field(
        None, description="The account at the mail server, if it wants one.", examples=["courses"]
    )
    password: SecretReference | None = Field(
        None, description="Its password: `file:PATH` or `env:NAME`.", examples=["file:secrets/mail"]
    )

    @model_validator(mode="after")
    def _both(self) -> Mail:
        if (self.user is None) != (self.password is None):
            raise refusal("needs both or none of `user` and `password`")
        return self
