"""Build contexts and the words of `docker build`."""

from __future__ import annotations

import io
import os
import re
import tarfile
from pathlib import Path

import pytest

from coursewarehub import __version__
from coursewarehub.imaging import context
from coursewarehub.imaging.build import BuildOptions, build_arguments
from coursewarehub.imaging.errors import ImagingError
from coursewarehub.imaging.recipes import RECIPES, SINGLEUSER, Recipe

ROOT = Path(__file__).parents[3]
PEM = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n"


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    return {member.name: member for member in tarfile.open(fileobj=io.BytesIO(data)).getmembers()}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_context_holds_what_its_dockerfile_copies(recipe: Recipe) -> None:
    held = members(context.make_context(recipe))
    dockerfile = (ROOT / "images" / recipe.name / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(\S+) ", dockerfile, re.MULTILINE)
    assert len(copied) >= 4
    for source in copied:
        assert source.rstrip("/") in held, source
    assert held["verify"].mode & 0o111
    assert held["Dockerfile"].mtime == 0


def test_same_content_same_bytes_whatever_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    monkeypatch.setattr(context, "folder_of", lambda _: folder)
    first = context.make_context(SINGLEUSER)
    os.utime(folder / "Dockerfile", (1, 1))
    (folder / "Dockerfile").chmod(0o600)
    assert context.make_context(SINGLEUSER) == first
    (folder / "Dockerfile").write_text("FROM other\n")
    assert context.make_context(SINGLEUSER) != first


def test_certificates_go_along(tmp_path: Path) -> None:
    (tmp_path / "campus.crt").write_text(PEM)
    (tmp_path / "notes.txt").write_text("not one")
    held = members(context.make_context(SINGLEUSER, tmp_path))
    assert {name for name in held if name.startswith("ca/")} == {"ca/README", "ca/campus.crt"}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (None, "is not a folder"),
        ({}, r"holds no \*\.crt file"),
        ({"campus.pem": PEM}, r"holds no \*\.crt file"),
        ({"campus.crt": "0\x82 binary"}, "is not a certificate in PEM form"),
    ],
)
def test_certificates_that_are_none(tmp_path: Path, files: dict[str, str] | None, words: str) -> None:
    folder = tmp_path / "ca"
    if files is not None:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
    with pytest.raises(ImagingError, match=words):
        context.make_context(SINGLEUSER, folder)


def test_words_for_docker_build(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    version = ["--build-arg", f"VERSION={__version__}"]
    assert build_arguments("a:1", BuildOptions()) == ["build", "--tag", "a:1", *version, "-"]
    monkeypatch.setenv("https_proxy", "http://user:password@proxy.example:3128")
    options = BuildOptions(
        base="b:2", network="host", pip_options=("--index-url=https://mirror.example", "--retries=9")
    )
    assert build_arguments("a:1", options) == [
        *("build", "--tag", "a:1", "--network", "host"),
        *version,
        *("--build-arg", "BASE=b:2", "--build-arg", "PIP_OPTIONS=--index-url=https://mirror.example --retries=9"),
        *("--build-arg", "https_proxy", "-"),  # by name: its value is in no process list
    ]
