"""`coursewarehub doctor`: what this machine and this site guarantee, and what stands in the way."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coursewarehub.cli import Subparsers
    from coursewarehub.model import LoadedSite
    from coursewarehub.state.folders import SiteFolders

_NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs", "lustre"})
_LEAST_DISK = 1 << 30
_MIB = 1 << 20


class Level(StrEnum):
    """How much a finding matters."""

    GOOD = "ok"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One thing looked at, in one sentence."""

    level: Level
    text: str


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("doctor", help="find out why something does not work", description=__doc__)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 when one of them is bad."""
    found = list(findings(Path(args.site).resolve()))
    for finding in found:
        print(f"{finding.level:<4}  {finding.text}")
    return 1 if any(finding.level is Level.BAD for finding in found) else 0


def findings(root: Path) -> Iterator[Finding]:
    """Everything worth telling about the machine and the site."""
    from coursewarehub.model import ConfigurationError, check_site, load_site
    from coursewarehub.site.status import ask
    from coursewarehub.state.folders import SiteFolders

    yield from machine()
    try:
        loaded = load_site(root)
    except ConfigurationError as error:
        yield from (Finding(Level.BAD, str(problem)) for problem in error.problems)
        return
    try:
        check_site(root)
        yield Finding(Level.GOOD, f"the configuration is valid (courses: {len(loaded.courses)})")
    except ConfigurationError as error:
        yield from (Finding(Level.BAD, str(problem)) for problem in error.problems)
    folders = SiteFolders.of(root, loaded.site)
    yield from disk(root, Path("/proc/self/mounts").read_text())
    yield from exposure(loaded)
    yield from local_spawner(loaded)
    status = ask(folders.control_socket)
    yield from engine(loaded, folders, status)
    yield from running(status)


def machine() -> Iterator[Finding]:
    """Python, Traefik, cores and memory."""
    from coursewarehub.site.edge import program

    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(Level.GOOD, f"Python {version}, {os.cpu_count()} processor cores")
    try:
        yield Finding(Level.GOOD, f"Traefik is {program()}")
    except FileNotFoundError as error:
        yield Finding(Level.BAD, str(error))
    if not hasattr(os, "pidfd_open"):
        yield Finding(Level.BAD, "this Python has no os.pidfd_open: Linux 5.3 or newer is needed")


def disk(root: Path, mounts: str) -> Iterator[Finding]:
    """Free space, and whether SQLite may live here."""
    free = shutil.disk_usage(root).free
    level = Level.GOOD if free >= _LEAST_DISK else Level.BAD
    yield Finding(level, f"{free // _MIB} MiB are free in the site folder")
    kind = file_system(root, mounts)
    if kind in _NETWORK_FILE_SYSTEMS:
        yield Finding(
            Level.BAD,
            f"the site folder is on a network file system ({kind}), where SQLite loses data: keep it on a local disk",
        )


def file_system(path: Path, mounts: str) -> str:
    """Type of the file system that holds `path`, by the text of /proc/self/mounts."""
    best, kind = Path(), ""
    for line in mounts.splitlines():
        _, folder, this, *_ = line.split(" ")
        mount = Path(folder.replace("\\040", " "))
        if path.is_relative_to(mount) and len(mount.parts) >= len(best.parts):
            best, kind = mount, this
    return kind


def exposure(loaded: LoadedSite) -> Iterator[Finding]:
    """Who can reach the site, and whether what they type is protected."""
    edge = loaded.site.edge
    if not edge.is_public():
        yield Finding(Level.GOOD, f"only this machine can reach the site ({edge.host}:{edge.port})")
        return
    secure = edge.tls or edge.acme or str(edge.public_url or "").startswith("https:")
    how = (
        "with https"
        if secure
        else "WITHOUT https: passwords cross the network in the clear; set `edge.tls` or `edge.acme`"
    )
    yield Finding(
        Level.GOOD if secure else Level.BAD,
        f"other machines can reach the site ({edge.host}:{edge.port}) {how}",
    )


def local_spawner(loaded: LoadedSite) -> Iterator[Finding]:
    """What the local spawner does and does not hold apart."""
    if loaded.site.spawner.kind != "local":
        return
    account = "root" if os.geteuid() == 0 else f"account {os.geteuid()}"
    yield Finding(
        Level.NOTE,
        f"learners' servers run as processes of this machine ({account}): each has its own home, environment, "
        "tokens and memory limit, but a learner who wants to can read the others' files; for people you do "
        "not trust, use containers",
    )
    yield Finding(Level.NOTE, "`resources.processes` is for containers: Unix counts all processes of an account as one")
    yield Finding(Level.NOTE, "`resources.cpu` keeps a server to so many whole cores, which others may use too")


def engine(loaded: LoadedSite, folders: SiteFolders, status: Mapping[str, Any] | None) -> Iterator[Finding]:
    """What stands in the way of servers in containers."""
    if loaded.site.spawner.kind == "local":
        return
    from coursewarehub.cli import doctor_engine

    site_id = folders.identity.read_text().strip() if folders.identity.exists() else ""
    yield from doctor_engine.findings(loaded, site_id, status)


def running(status: Mapping[str, Any] | None) -> Iterator[Finding]:
    """What the running site says of itself."""
    if status is None:
        yield Finding(Level.NOTE, "the site is not running")
        return
    yield Finding(Level.GOOD, f"the site runs at {status['url']}")
    for course in status["courses"]:
        if course["hub"]["state"] == "failed":
            yield Finding(Level.BAD, f"the hub of {course['id']} does not start: {course['hub']['reason']}")
    yield from (Finding(Level.BAD, problem) for problem in status["problems"])
