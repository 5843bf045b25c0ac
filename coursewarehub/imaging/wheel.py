"""A wheel with the packages that one image needs, made from what is imported here.

A wheel is a zip file with metadata beside the packages (https://packaging.python.org/specifications/binary-distribution-format/).
Writing it here needs neither build tool nor network, works from a checkout and from an installation alike, lets each
image have its own choice of packages, and gives the same bytes for the same code, by which builders know that nothing
changed.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from coursewarehub import __version__
from coursewarehub.imaging.errors import ImagingError
from coursewarehub.imaging.recipes import CHECKOUT, Recipe

_EPOCH = (1980, 1, 1, 0, 0, 0)
_TAG = "py3-none-any"


def wheel_name() -> str:
    """File name of the wheel."""
    return f"coursewarehub-{__version__}-{_TAG}.whl"


def make_wheel(recipe: Recipe) -> bytes:
    """The wheel for one image."""
    files = dict(sorted(_sources(recipe)))
    info = f"coursewarehub-{__version__}.dist-info"
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: coursewarehub\nVersion: {__version__}\n".encode()
    files[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: coursewarehub\nRoot-Is-Purelib: true\nTag: {_TAG}\n".encode()
    )
    files[f"{info}/entry_points.txt"] = entry_points(recipe, all_entry_points()).encode()
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD").encode()
    return _zip(files)


def entry_points(recipe: Recipe, known: Mapping[str, Mapping[str, str]]) -> str:
    """Text of entry_points.txt: those of `known` (group, name, target) that the recipe has."""
    scripts = {name: target for name, target in known["console_scripts"].items() if name in recipe.scripts}
    groups = {"console_scripts": scripts, **{group: known.get(group, {}) for group in recipe.groups}}
    sections = (
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in sorted(entries.items()))
        for group, entries in sorted(groups.items())
    )
    return "\n".join(sections)


def all_entry_points() -> dict[str, dict[str, str]]:
    """Entry points of this coursewarehub by group and name: of the checkout, or of what is installed."""
    setup = CHECKOUT / "setup.cfg"
    if setup.is_file():
        config = configparser.ConfigParser(delimiters=("=",))
        config.optionxform = str  # type: ignore[assignment,method-assign]
        config.read(setup, encoding="utf-8")
        lists = config["options.entry_points"]
        return {group: _pairs(text) for group, text in lists.items()}
    found: dict[str, dict[str, str]] = {}
    for entry in distribution("coursewarehub").entry_points:
        found.setdefault(entry.group, {})[entry.name] = entry.value
    return found


def _pairs(text: str) -> dict[str, str]:
    lines = (line.partition("=") for line in text.strip().splitlines())
    return {name.strip(): target.strip() for name, _, target in lines}


def _sources(recipe: Recipe) -> Iterator[tuple[str, bytes]]:
    for module in recipe.modules:
        parts = PurePosixPath(*module.split("."))
        for above in list(parts.parents)[:-1]:
            yield f"{above}/__init__.py", (_folder(".".join(above.parts)) / "__init__.py").read_bytes()
        folder = _folder(module)
        for file in sorted(folder.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                yield f"{parts}/{file.relative_to(folder).as_posix()}", file.read_bytes()


def _folder(package: str) -> Path:
    """Where a package's files are; the package is not imported, but those above it are."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ImagingError(f"the package {package} is not installed: install coursewarehub anew")
    return Path(spec.origin).parent


def _record(files: Mapping[str, bytes], own: str) -> str:
    lines = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}\n")
    return "".join([*lines, f"{own},,\n"])


def _zip(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return stream.getvalue()
