"""`site.yaml`: what holds for the whole site."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from coursewarehub.model.database import DatabaseUrl
from coursewarehub.model.login import Provider
from coursewarehub.model.lti import repeated_platform
from coursewarehub.model.mail import Mail
from coursewarehub.model.provider import PROVIDER_NAME
from coursewarehub.model.spawner import LocalSpawner, Spawner
from coursewarehub.model.values import (
    Duration,
    Expect,
    LocalizedText,
    PageLanguage,
    PlainPath,
    Settings,
    Title,
    is_host,
    refusal,
    web_url,
)


def _host(value: str) -> str:
    if not is_host(value):
        raise ValueError("not a host")
    return value


def _public_url(value: str) -> str:
    return web_url(value, path=False)


def _directory_url(value: str) -> str:
    if not value.startswith("https:"):
        raise ValueError("not an https URL")
    return web_url(value, path=True)


class Tls(Settings):
    """A certificate of your own for https."""

    certificate: PlainPath = Field(
        description="File with the certificate and its chain (PEM).",
        examples=["tls/certificate.pem"],
    )
    key: PlainPath = Field(
        description="File with the private key (PEM); nobody else may be able to read it.",
        examples=["tls/key.pem"],
    )


class Acme(Settings):
    """A certificate fetched and renewed by ACME, for instance from Let's Encrypt."""

    email: Annotated[
        str,
        StringConstraints(pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+\.[^@\s\x00-\x1f]+$"),
        Expect("an e-mail address"),
    ] = Field(
        description="Address that is told about certificates about to expire.",
        examples=["admin@example.org"],
    )
    directory_url: Annotated[str, AfterValidator(_directory_url), Expect("an https URL")] | None = Field(
        None,
        description="Directory of the certificate authority; the default is Let's Encrypt.",
        examples=["https://acme-v02.api.letsencrypt.org/directory"],
    )


class Edge(Settings):
    """The front door: where the site listens."""

    host: Annotated[
        str,
        AfterValidator(_host),
        Expect("an address to listen on, such as `127.0.0.1` or `0.0.0.0`"),
    ] = Field(
        "127.0.0.1",
        description="Address to listen on. With `127.0.0.1` only this machine can reach the site; "
        "`0.0.0.0` opens it to the network.",
    )
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on.")
    public_url: (
        Annotated[
            str,
            AfterValidator(_public_url),
            Expect("a URL such as `https://courses.example.org`"),
        ]
        | None
    ) = Field(
        None,
        description="URL people type, without a path; needed behind another proxy.",
        examples=["https://courses.example.org"],
    )
    tls: Tls | None = Field(None, description="A certificate of your own; not with `acme`.")
    acme: Acme | None = Field(
        None,
        description="A certificate fetched by ACME; needs a `public_url` with https; not with `tls`.",
    )

    @model_validator(mode="after")
    def _one_certificate(self) -> Edge:
        if self.acme is None:
            return self
        if self.tls is not None:
            raise refusal("cannot be combined with `tls`; remove one of the two", at=("acme",))
        if not (self.public_url or "").startswith("https://"):
            raise refusal("needs `edge.public_url` with an https URL", at=("acme",))
        return self

    def is_public(self) -> bool:
        """Whether other machines may reach the site."""
        public = urlsplit(self.public_url).hostname if self.public_url else None
        return not (_is_loopback(self.host) and (public is None or _is_loopback(public)))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Hubs(Settings):
    """What holds for the hub of every course."""

    sleep_after: Duration = Field(
        15 * 60,
        description="Stop a hub with no running server and no request for so long; the next "
        "request wakes it. `never` keeps all hubs running.",
    )


class Database(Settings):
    """Where the hubs keep their data."""

    url: DatabaseUrl | None = Field(
        None,
        description="PostgreSQL: a URL without a password, or `file:PATH` or `env:NAME` of one with a password. "
        "Every course gets a database of its own, named as in the URL with `_` and the course's id behind it. "
        "By default every hub keeps a file (SQLite) in the site's state folder.",
        examples=["file:secrets/database-url"],
    )


class Audit(Settings):
    """What is kept of who logged in, was refused, changed or removed, for the instructors of each course."""

    keep_days: int = Field(
        400,
        ge=1,
        le=3660,
        description="Days after which an event is forgotten. Ask your institution how long it may keep them.",
    )
    most_events: int = Field(
        100_000,
        ge=1000,
        le=10_000_000,
        description="Most events of one course, about 300 bytes each; then the oldest are forgotten earlier.",
    )
    addresses: Literal["whole", "network", "none"] = Field(
        "network",
        description="What is kept of the address somebody comes from: all of it, only the network "
        "(`192.0.2.0/24`, or 48 bits of IPv6), or nothing.",
    )
    lines: Annotated[
        str,
        StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=1024),
        Expect("`log`, or the path of a file, relative to the site folder"),
    ] = Field(
        "",
        description="Where each event is written as one line of JSON besides: `log` is the hub's log, anything else a "
        "file; by default nowhere.",
        examples=["log"],
    )


OWN_METHODS = frozenset({"dummy", "accounts"})
"""Methods that need no provider."""


def _provider_names(value: dict[str, Provider]) -> dict[str, Provider]:
    for name in value:
        if re.fullmatch(PROVIDER_NAME, name) is None or name in OWN_METHODS:
            hint = (
                "a name has 1 to 31 lower-case letters, digits and dashes, starts with a letter, "
                "and is not `dummy` or `accounts`"
            )
            raise refusal("cannot be the name of a provider", at=(name,), hint=hint)
    if (twice := repeated_platform(value)) is not None:
        name, earlier = twice
        hint = "give each its own client id (LTI 1.3) or key (LTI 1.1), or keep one of the two"
        raise refusal(f"is the same platform and client as `{earlier}`", at=(name,), hint=hint)
    return value


class Site(Settings):
    """The file `site.yaml` in the site folder."""

    title: Title = Field(
        LocalizedText("CoursewareHub"),
        description="Title of the site: one text, or one per language (`{en: ..., ja: ..., fr: ...}`).",
    )
    mode: Literal["production", "development"] = Field(
        "production",
        description="`production` refuses what is only fit for trying things out; `development` allows it.",
    )
    language: PageLanguage = Field("en", description="Language of the pages for a browser that asks for none we have.")
    edge: Edge = Field(Edge(), description="The front door: where the site listens.")
    hubs: Hubs = Field(Hubs(), description="What holds for the hub of every course.")
    database: Database = Field(Database(), description="Where the hubs keep their data.")
    login: Annotated[
        dict[str, Provider],
        AfterValidator(_provider_names),
        Expect("a mapping of names to providers such as `{university: {method: ldap, server: ...}}`"),
    ] = Field(
        {},
        description="Where people have accounts already, by a name of your choice: directories and identity providers "
        "that courses may use.",
    )
    audit: Audit = Field(Audit(), description="What is kept of who logged in, was refused, changed or removed.")
    mail: Mail | None = Field(
        None,
        description="The server that sends mail; without it people of a course ask their instructor for a new "
        "password.",
    )
    spawner: Spawner = Field(LocalSpawner(), description="What runs the learners' servers.")
