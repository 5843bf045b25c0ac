"""The project's images for test beds: built from this checkout once, kept in the beds' registry."""

from __future__ import annotations

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.beds import CHECKOUT, slot
from support.engines import Engine, builder
from support.netns import run
from support.registry import Registry

IMAGES = ("singleuser", "hub")
SOURCES = ("setup.cfg", "pyproject.toml", "coursewarehub", "authenticators", "spawners", "images")
CERTIFICATES = Path("/usr/local/share/ca-certificates")


def key() -> str:
    """The same for the same sources and lock files."""
    digest = hashlib.sha256()
    for source in SOURCES:
        for file in sorted(_files(CHECKOUT / source)):
            digest.update(f"{file.relative_to(CHECKOUT)} {file.stat().st_mode} ".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _files(path: Path) -> list[Path]:
    found = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return [file for file in found if "__pycache__" not in file.parts and file.suffix != ".pyc"]


def provide_images(registry: Registry, engines: list[Engine]) -> dict[str, str]:
    """Have `singleuser` and `hub` of this checkout in the registry and on the engines; their full names.

    With the key of an earlier build in COURSEWARE_TEST_IMAGES, that build serves, whatever changed since.
    """
    tag = os.environ.get("COURSEWARE_TEST_IMAGES") or key()
    short = {image: f"coursewarehub/{image}:{tag}" for image in IMAGES}
    if not all(map(registry.holds, short.values())):
        build(registry, short)
    with ThreadPoolExecutor(len(engines)) as pool:
        list(pool.map(lambda engine: _pull(engine, list(short.values())), engines))
    return {image: f"{registry.address}/{name}" for image, name in short.items()}


def build(registry: Registry, names: dict[str, str]) -> None:
    """Build the images, by image, under these names, and push them."""
    with slot("builder") as place, builder(place, registry) as engine:
        for image, name in names.items():
            trust = ["--ca", str(CERTIFICATES)] if CERTIFICATES.is_dir() else []
            options = ["--engine", engine.url, "--network", "host", "--tag", name, *trust]
            command = [sys.executable, "-m", "coursewarehub", "image", "build", image, *options]
            run("nice", *command, timeout=3600, folder=CHECKOUT)
            engine.publish(name)
        forget(engine, list(names.values()))
        engine.docker("image", "prune", "--force", "--filter", "until=168h")  # stages of builds; they are the cache


def _pull(engine: Engine, names: list[str]) -> None:
    for name in names:
        engine.provide(name)
    forget(engine, names)


def forget(engine: Engine, keep: list[str]) -> None:
    """Remove the images of earlier sources; the layers that the new ones share stay."""
    listed = engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    old = [name for name in listed if "coursewarehub/" in name and not name.endswith(tuple(keep))]
    if old:
        engine.docker("rmi", *old, check=False)
