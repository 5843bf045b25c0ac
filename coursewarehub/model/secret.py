"""Secrets that configuration files refer to; the files never hold them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import PlainSerializer, PlainValidator, SecretStr, WithJsonSchema

from coursewarehub.model.problems import ConfigurationError, Problem, quoted
from coursewarehub.model.regular_file import read_regular
from coursewarehub.model.values import Expect

LARGEST_SECRET = 64 * 1024  # bytes
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True)
class SecretRef:
    """Where a secret is: a file (relative to the site folder) or an environment variable.

    It never holds the secret, so printing, comparing or dumping one shows only the place.
    """

    kind: Literal["file", "env"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> SecretRef:
        """Read `file:PATH` or `env:NAME`. Raises ValueError (without the text)."""
        kind, _, name = text.partition(":")
        if kind == "file" and name.strip() and name.isprintable():
            return cls("file", name.strip())
        if kind == "env" and _VARIABLE.fullmatch(name):
            return cls("env", name)
        raise ValueError("not a reference to a secret") from None

    def resolve(self, root: Path, environ: Mapping[str, str]) -> SecretStr:
        """Return the secret, without one trailing newline.

        Raises ConfigurationError when it is missing or empty, or when its file is not a regular
        file that only its owner can read.
        """
        text = self._from_file(root) if self.kind == "file" else self._from_environment(environ)
        text = text.removesuffix("\n").removesuffix("\r")
        if not text.strip() or "\0" in text:
            self._fail("is empty" if not text.strip() else "holds a NUL character")
        return SecretStr(text)

    def _from_environment(self, environ: Mapping[str, str]) -> str:
        if self.name not in environ:
            self._fail("is not set")
        return environ[self.name]

    def _from_file(self, root: Path) -> str:
        try:
            content, status = read_regular(root / self.name, LARGEST_SECRET + 1)
            self._check(status)
            return content.decode("utf-8")
        except FileNotFoundError:
            self._fail("does not exist")
        except OSError as error:
            self._fail(f"cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self._fail("is not UTF-8 text")

    def _check(self, status: os.stat_result) -> None:
        if status.st_mode & 0o077:
            self._fail("can be read by others", f"run `chmod 600 {self.name}`")
        if status.st_size > LARGEST_SECRET:
            self._fail("is larger than 64 KiB")

    def _fail(self, message: str, hint: str | None = None) -> NoReturn:
        noun = "the secret file" if self.kind == "file" else "the environment variable"
        sentence = f"{noun} {quoted(self.name)} {message}"
        raise ConfigurationError([Problem(str(self), None, sentence, hint)]) from None


def _validate(value: Any) -> SecretRef:
    if isinstance(value, SecretRef):
        return value
    if isinstance(value, str):
        return SecretRef.parse(value)
    raise ValueError("not text")


SecretReference = Annotated[
    SecretRef,
    PlainValidator(_validate),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^(file:.+|env:[A-Za-z_][A-Za-z0-9_]*)$"}),
    Expect(
        "`file:PATH` or `env:NAME`",
        "the secret itself never stands in this file",
        echo=False,
    ),
]
