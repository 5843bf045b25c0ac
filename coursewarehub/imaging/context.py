"""The build context of an image: a tar stream for `docker build -`, the same bytes for the same content."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from coursewarehub.imaging.errors import ImagingError
from coursewarehub.imaging.recipes import Recipe, folder_of
from coursewarehub.imaging.wheel import make_wheel, wheel_name

_CA_NOTE = b"Certificates (*.crt) put here by `coursewarehub image build --ca DIR`.\n"


def make_context(recipe: Recipe, ca: Path | None = None) -> bytes:
    """Tar archive with Dockerfile, lock file and other files of the recipe, the wheel, and certificates of `ca`.

    ImagingError when `ca` holds no certificate.
    """
    files: dict[str, tuple[bytes, int]] = {}
    folder = folder_of(recipe)
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            content = file.read_bytes()
            files[file.relative_to(folder).as_posix()] = (content, _mode(content))
    files[f"wheel/{wheel_name()}"] = (make_wheel(recipe), 0o644)
    files["ca/README"] = (_CA_NOTE, 0o644)
    if ca is not None:
        files |= {f"ca/{file.name}": (file.read_bytes(), 0o644) for file in certificates(ca)}
    return _tar(files)


def certificates(folder: Path) -> list[Path]:
    """The certificates in a folder of the user's; ImagingError with the fix when there is none."""
    if not folder.is_dir():
        raise ImagingError(f"`{folder}` is not a folder: `--ca` wants one with certificates named *.crt")
    found = sorted(file for file in folder.glob("*.crt") if file.is_file())
    if not found:
        raise ImagingError(f"`{folder}` holds no *.crt file: put the certificates there in PEM form, each named *.crt")
    for file in found:
        if b"-----BEGIN CERTIFICATE-----" not in file.read_bytes():
            raise ImagingError(f"`{file}` is not a certificate in PEM form")
    return found


def _mode(content: bytes) -> int:
    """Alike on every machine, whatever its umask: all may read, and run what is a script."""
    return 0o755 if content.startswith(b"#!") else 0o644


def _tar(files: dict[str, tuple[bytes, int]]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for folder in sorted({str(parent) for name in files for parent in list(Path(name).parents)[:-1]}):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for name, (content, mode) in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()
