"""Faults of machines, storage and network. Each lasts as long as its `with` block, however that ends."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.engines import Engine
from support.netns import run
from support.swarm import SwarmBed


@contextmanager
def cut(bed: SwarmBed, *names: str) -> Iterator[None]:
    """Machines without their network cable."""
    bed.cut(*names)
    try:
        yield
    finally:
        bed.heal(*names)


@contextmanager
def parted(bed: SwarmBed, one: str, other: str) -> Iterator[None]:
    """Two machines that do not hear each other; each hears the rest."""
    bed.part(one, other)
    try:
        yield
    finally:
        bed.join_again(one, other)


@contextmanager
def frozen(engine: Engine) -> Iterator[None]:
    """An engine that takes connections and does not answer; its containers go on."""
    engine.freeze()
    try:
        yield
    finally:
        engine.thaw()


@contextmanager
def missing(engine: Engine, folder: Path) -> Iterator[None]:
    """A folder that does not exist on one machine: a mount that was forgotten. What lies beside it is missing, too."""
    run(*engine.inside("mount", "-t", "tmpfs", "missing", str(folder.parent), folder=Path("/")))
    try:
        yield
    finally:
        if engine.machine is not None:
            run(*engine.inside("umount", "--lazy", str(folder.parent), folder=Path("/")))


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """An empty disk of that size, mounted at this folder; in the bed's storage, all machines see it."""
    folder.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "small-disk", folder)
    try:
        yield folder
    finally:
        run("umount", "--lazy", folder)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """A (small) disk with no byte free."""
    ballast = folder / "ballast"
    fill(ballast)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            ballast.unlink()


def fill(ballast: Path) -> None:
    """Write until the disk is full; only on a disk of less than 4 GB."""
    size = os.statvfs(ballast.parent)
    assert size.f_blocks * size.f_frsize < 4 * 2**30, f"{ballast.parent} is no small disk"
    try:
        with ballast.open("wb", buffering=0) as file:
            while file.write(b"\0" * 65536):
                pass
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
