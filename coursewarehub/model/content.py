"""Where the materials of a course come from."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from coursewarehub.model.values import Expect, Settings, refusal


def _relative(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or value.endswith("/") or not path.parts:
        raise ValueError("not a relative path")
    return str(path)


def _repository(value: str) -> str:
    try:
        parts = urlsplit(value)
        valid = parts.scheme in {"https", "ssh"} and bool(parts.hostname) and parts.path != ""
        valid = valid and parts.port != 0 and re.search(r"[\s\\]|[^!-~]", value) is None
        valid = valid and not parts.netloc.startswith("-") and "@-" not in parts.netloc
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("not a repository")
    if parts.password is not None or (parts.scheme == "https" and "@" in parts.netloc):
        raise refusal("must not have a user name or password in it")
    return value


def _reference(value: str) -> str:
    if re.search(r"\.\.|@\{|//|\.lock$|[./]$|^[-/.]", value):
        raise ValueError("not a reference")
    return value


_PRINTABLE = StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=1024)


class Content(Settings):
    """Where the course's materials come from: exactly one of `folder` and `git`."""

    folder: Annotated[str, _PRINTABLE, Expect("the path of a folder, relative to the site folder")] | None = Field(
        None,
        description="Folder with the materials, relative to the site folder.",
        examples=["content/python-basics"],
    )
    git: (
        Annotated[
            str,
            AfterValidator(_repository),
            Expect("an `https://` or `ssh://` URL of a git repository", echo=False),
        ]
        | None
    ) = Field(
        None,
        description="Git repository with the materials; no password in the URL.",
        examples=["https://example.org/python-basics.git"],
    )
    ref: (
        Annotated[
            str,
            StringConstraints(pattern=r"^[A-Za-z0-9._/+@#=-]{1,200}$"),
            AfterValidator(_reference),
            Expect("the name of a branch or tag, or a commit"),
        ]
        | None
    ) = Field(
        None,
        description="Branch, tag or commit; only with `git`; by default the remote's default branch.",
        examples=["main"],
    )
    start: (
        Annotated[
            str,
            _PRINTABLE,
            AfterValidator(_relative),
            Expect("the path of a file inside the content, without `..`"),
        ]
        | None
    ) = Field(
        None,
        description="Notebook opened on entering the course, relative to the content.",
        examples=["01-first-steps.ipynb"],
    )

    @model_validator(mode="after")
    def _one_source(self) -> Content:
        if (self.folder is None) == (self.git is None):
            raise refusal("must have exactly one of `folder` and `git`")
        if self.ref is not None and self.git is None:
            raise refusal("makes sense only together with `git`", at=("ref",))
        return self
