"""Where a hub's database is."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from coursewarehub.model.secret import SecretRef
from coursewarehub.model.values import Expect, refusal

LONGEST_DATABASE_NAME = 63
"""PostgreSQL cuts off what is longer, in bytes."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,29}", re.ASCII)


def is_database_url(text: str) -> bool:
    """Whether a text is the URL of a PostgreSQL database, driver and all."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme == "postgresql+psycopg" and parts.port != 0 and re.search(r"[^!-~]", text) is None
    except ValueError:
        return False
    return valid and _NAME.fullmatch(parts.path.removeprefix("/")) is not None and not parts.fragment


def course_database(url: str, course_id: str) -> str:
    """Return the URL of one course's database on the server of a site's `database.url`.

    Raises ValueError (without the URL, which may hold a password) when it is not a usable URL.
    """
    if not is_database_url(url):
        raise ValueError(f"the database's URL is not {DATABASE_URL}") from None
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path}_{course_id.replace('-', '_')}"))


DATABASE_URL = "a URL such as `postgresql+psycopg://hub@db.example.org/courses`"


def _validate(value: Any) -> SecretRef | str:
    if isinstance(value, SecretRef):
        return value
    if not isinstance(value, str):
        raise ValueError("not text")
    if value.startswith(("file:", "env:")):
        return SecretRef.parse(value)
    if not is_database_url(value):
        raise ValueError("not the URL of a database")
    if urlsplit(value).password is not None:
        raise refusal("must not have a password in it", hint="write the URL into a file and refer to it: `file:PATH`")
    return value


DatabaseUrl = Annotated[
    SecretRef | str,
    PlainValidator(_validate),
    PlainSerializer(str, return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": r"^(file:.+|env:[A-Za-z_][A-Za-z0-9_]*|postgresql\+psycopg://.+/.+)$"}
    ),
    Expect(f"{DATABASE_URL}, or `file:PATH` or `env:NAME` of one with a password", echo=False),
]
