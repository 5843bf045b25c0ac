"""What all test beds share: where they keep things, whose turn it is, and how what an earlier run left is removed.

A bed takes a slot: a number that gives it names, addresses and a folder of its own, so that several runs can use
beds at the same time. The slot's lock goes with the process that holds it, however that ends; whoever opens the
next bed first removes what is left of beds whose lock nobody holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from support.netns import Bridge, Namespace, end_all, namespaces, processes_below, run

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("COURSEWARE_TEST_CACHE", "/var/tmp/courseware-test"))
PACKAGES = ("docker.io", "debootstrap", "iptables", "iproute2", "docker-registry")
SLOTS = 16
KINDS = {"swarm": 0, "engine": 100, "builder": 200}  # third part of the addresses of the first slot
NETWORKS = "10.199.0.0/16"  # of all beds


@dataclass(frozen=True)
class Slot:
    """The place of one bed: names begin with `name`, addresses with `bridge.prefix`, files are in `folder`."""

    kind: str
    number: int

    @property
    def name(self) -> str:
        return f"cw{self.kind[0]}{self.number}"

    @property
    def bridge(self) -> Bridge:
        return Bridge(self.name, f"10.199.{KINDS[self.kind] + self.number}.")

    @property
    def folder(self) -> Path:
        return CACHE / self.name

    @property
    def scratch(self) -> Path:
        """What is in it goes with the bed."""
        return self.folder / "shared"

    @property
    def storage(self) -> Path:
        """Stands for shared storage: the same on all machines of the bed, and empty at its start."""
        return self.scratch / "storage"

    @property
    def cgroup(self) -> str:
        return f"/{self.name}"

    @property
    def lock(self) -> Path:
        """Locked by the process whose bed it is."""
        return CACHE / f"{self.name}.lock"

    def machine(self, name: str, number: int) -> Namespace:
        """A machine on the bridge; `number` is the last part of its address."""
        return Namespace(f"{self.name}-{name}", self.bridge, number)


def obstacle() -> str | None:
    """Why no bed can be opened on this machine; None when one can."""
    if os.geteuid() != 0:
        return "real engines for tests need root, for network namespaces and mounts"
    tried = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False)
    return f"real engines for tests need namespaces: {tried.stderr.strip()}" if tried.returncode else None


def prepare() -> None:
    """Install what is missing."""
    trouble = obstacle()
    assert trouble is None, trouble
    run(CHECKOUT / "tools" / "apt-install", *PACKAGES, timeout=900)
    CACHE.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def slot(kind: str) -> Iterator[Slot]:
    """A free slot, clean at the start and at the end; there is one builder, for which one waits."""
    prepare()
    sweep()
    place, lock = _take(kind)
    try:
        clean(place)
        _make_shared(place.storage)
        place.bridge.open()
        yield place
    finally:
        clean(place)
        lock.close()


def sweep() -> None:
    """Remove what is left of every bed whose process has ended."""
    for kind in KINDS:
        for place in (Slot(kind, number) for number in range(SLOTS)):
            lock = _lock(place) if place.folder.is_dir() else None
            if lock is not None:
                clean(place)
                lock.close()


def _make_shared(folder: Path) -> None:
    """What the host mounts in this folder later shows on the machines, too."""
    folder.mkdir(parents=True)
    run("mount", "--bind", folder, folder)
    run("mount", "--make-shared", folder)


def _take(kind: str) -> tuple[Slot, IO[str]]:
    for place in (Slot(kind, number) for number in range(SLOTS)):
        lock = _lock(place, wait=kind == "builder")
        if lock is not None:
            return place, lock
    raise AssertionError(f"all {SLOTS} test beds of the kind {kind} are taken")


def _lock(place: Slot, wait: bool = False) -> IO[str] | None:
    file = place.lock.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        file.close()
        return None
    return file


def clean(place: Slot) -> None:
    """Remove what a bed leaves in the system: processes, mounts, control groups, networks. Images stay."""
    for name in namespaces(f"{place.name}-"):
        Namespace(name, place.bridge, 0).close()
    end_all(lambda: processes_below(place.cgroup))
    for point in mounts_below(place.folder):
        run("umount", "--lazy", point, check=False)
    for pattern in (place.name, f"*/{place.name}"):  # one hierarchy of control groups, or many
        for group in Path("/sys/fs/cgroup").glob(pattern):
            _remove_groups(group)
    place.bridge.close()
    shutil.rmtree(place.scratch, ignore_errors=True)


def mounts_below(folder: Path) -> list[str]:
    """Mount points in a folder and the folder's own, the innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), line.split()[4]) for line in lines]
    return [point for point in reversed(points) if point == str(folder) or point.startswith(f"{folder}/")]


def _remove_groups(group: Path) -> None:
    for below in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
        with contextlib.suppress(OSError):
            below.rmdir()
    with contextlib.suppress(OSError):
        group.rmdir()
