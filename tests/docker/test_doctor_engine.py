"""`coursewarehub doctor` on a machine with a real Docker, sound and with one thing wrong at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.engines import BASE, Engine, EngineBed
from support.fake_engine import fake_engine
from support.faults import frozen, full, missing, small_disk
from support.netns import run

pytestmark = pytest.mark.slow

Doctor = Callable[..., list[str]]
WITHOUT_DOCKERD = "/usr/local/bin:/usr/bin:/bin"  # Debian has dockerd and iptables in /usr/sbin


@pytest.fixture
def doctor(bed: EngineBed, tmp_path: Path) -> Doctor:
    """Run `coursewarehub doctor` as on the bed's machine; its lines."""

    def doctor(path: str | None = None, **spawner: Any) -> list[str]:
        site = tmp_path / "site"
        (site / "courses.d").mkdir(parents=True, exist_ok=True)
        settings = {"kind": "docker", "image": BASE, "storage": str(bed.storage), **spawner}
        (site / "site.yaml").write_text(json.dumps({"mode": "development", "spawner": settings}))
        command = [sys.executable, "-m", "coursewarehub", "--site", str(site), "doctor"]
        command = ["env", f"PATH={path}", *command] if path else command
        done = subprocess.run(bed.engine.inside(*command), capture_output=True, text=True, timeout=60, check=False)
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        assert done.returncode == (1 if "\nbad " in done.stdout else 0), done.stderr
        return done.stdout.splitlines()

    return doctor


def bad(lines: list[str]) -> list[str]:
    return [line.removeprefix("bad").strip() for line in lines if line.startswith("bad")]


@contextmanager
def firewall(engine: Engine, *rule: str) -> Iterator[None]:
    """A rule first in its chain on the machine; `rule` begins with the chain."""
    run(*engine.inside("iptables", "-w", "-I", *rule))
    try:
        yield
    finally:
        run(*engine.inside("iptables", "-w", "-D", *rule))


def left_behind(engine: Engine) -> list[str]:
    """Networks and namespaces that the command made for trying."""
    names = engine.docker("network", "ls", "--format", "{{.Name}}").split()
    spaces = run(*engine.inside("ip", "netns", "list")).split()
    return [name for name in names + spaces if "doctor" in name or name.startswith("cwd")]


def test_a_sound_machine(doctor: Doctor, engine: Engine, bed: EngineBed) -> None:
    lines = doctor()
    assert bad(lines) == []
    assert any(line.startswith("ok    Docker 2") for line in lines)
    assert "ok    new privileges are forbidden in every container" in lines
    assert "ok    learners' containers reach the site's ports 8081 and 8082" in lines
    assert f"ok    homes can be made in {bed.storage}" in lines
    assert left_behind(engine) == []


def test_no_docker(doctor: Doctor) -> None:
    lines = doctor(WITHOUT_DOCKERD, engine="unix:///run/nowhere.sock")
    assert bad(lines) == [
        "there is no Docker on this machine (no socket at unix:///run/nowhere.sock): install Docker 20.10 or newer, "
        "on Debian with `apt install docker.io`"
    ]


def test_docker_that_does_not_run(doctor: Doctor, engine: Engine) -> None:
    engine.kill()
    assert bad(doctor()) == [
        "Docker does not run (nothing listens at unix:///var/run/docker.sock): start it with `systemctl start docker`"
    ]


def test_docker_that_does_not_answer(doctor: Doctor, engine: Engine) -> None:
    with frozen(engine):
        assert bad(doctor()) == [
            "Docker does not answer (unix:///var/run/docker.sock): look at `journalctl -u docker`, and restart it with "
            "`systemctl restart docker`"
        ]


def test_an_old_docker(doctor: Doctor, tmp_path: Path) -> None:
    with fake_engine(tmp_path) as fake:
        fake.on("GET", "/version", {"Version": "19.03.15", "ApiVersion": "1.40", "MinAPIVersion": "1.12"})
        assert bad(doctor(engine=fake.url)) == ["Docker 19.03.15 is too old (API 1.40): install Docker 20.10 or newer"]


def test_an_image_that_is_missing(doctor: Doctor) -> None:
    (line,) = bad(doctor(image="nowhere.example/lab:1"))
    assert line.startswith("the image nowhere.example/lab:1 is not on this machine")


def test_a_missing_mount(doctor: Doctor, engine: Engine, bed: EngineBed) -> None:
    folder = bed.storage / "mounted" / "courseware"
    folder.mkdir(parents=True)
    assert bad(doctor(storage=str(folder))) == []
    with missing(engine, folder):
        assert bad(doctor(storage=str(folder))) == [
            f"the storage folder {folder} is missing: mount or make it, or correct `spawner.storage`"
        ]


def test_a_mount_that_is_read_only(doctor: Doctor, engine: Engine, bed: EngineBed) -> None:
    with small_disk(bed.storage / "disk", 8) as folder:
        run("mount", "-o", "remount,ro", folder)
        assert bad(doctor(storage=str(folder))) == [
            f"the storage folder {folder} is mounted read only: mount it with `rw`"
        ]


def test_a_full_disk(doctor: Doctor, bed: EngineBed) -> None:
    with small_disk(bed.storage / "disk", 8) as folder:
        assert bad(doctor(storage=str(folder))) == []
        with full(folder):
            (line,) = bad(doctor(storage=str(folder)))
    assert line.startswith(f"the disk with the homes ({folder}) is full")


def test_dockers_own_disk_is_full(doctor: Doctor, engine: Engine, bed: EngineBed, tmp_path: Path) -> None:
    with small_disk(bed.storage / "disk", 8) as folder, full(folder), fake_engine(tmp_path) as fake:
        fake.on("GET", "/version", engine.api("GET", "/version"))
        fake.on("GET", "/info", {**engine.api("GET", "/info"), "DockerRootDir": str(folder)})
        fake.on("GET", "/networks", engine.api("GET", "/networks"))
        fake.on("GET", f"/images/{BASE}/json", {})
        assert bad(doctor(engine=fake.url)) == [
            f"Docker's disk ({folder}) is full, 0 MiB are left: `docker system prune` removes old images"
        ]


@pytest.mark.parametrize(
    ("rule", "shut"),
    [
        (("INPUT", "-p", "tcp", "--dport", "8081", "-j", "DROP"), "8081"),
        (("INPUT", "-s", "10.180.0.0/14", "-j", "REJECT"), "8081 and 8082"),
    ],
)
def test_a_firewall_between_containers_and_the_site(
    doctor: Doctor, engine: Engine, rule: tuple[str, ...], shut: str
) -> None:
    with firewall(engine, *rule):
        assert bad(doctor()) == [
            f"a firewall of this machine keeps learners' containers from the site (port {shut}): let them in, with "
            "`iptables -I INPUT -s 10.180.0.0/14 -p tcp -m multiport --dports 8081,8082 -j ACCEPT`"
        ]
    assert left_behind(engine) == []
    assert bad(doctor()) == []


def test_a_firewall_between_containers_and_the_outside(doctor: Doctor, engine: Engine) -> None:
    with firewall(engine, "FORWARD", "-j", "DROP"):
        (line,) = bad(doctor())
    assert "`FORWARD -j DROP` stands before Docker's" in line


def test_a_firewall_that_was_loaded_after_docker(doctor: Doctor, engine: Engine) -> None:
    kept = run(*engine.inside("iptables-save"))
    run(*engine.inside("iptables", "-w", "-F", "FORWARD"))
    try:
        (line,) = bad(doctor())
    finally:
        run(*engine.inside("iptables-restore"), given=kept)
    assert "Docker's rules are not in this machine's firewall" in line
    assert "systemctl restart docker" in line


def test_addresses_that_the_machine_uses(doctor: Doctor, engine: Engine) -> None:
    engine.docker("network", "create", "--subnet", "10.181.7.0/24", "campus")
    assert bad(doctor()) == [
        "of 10.180.0.0/14, the Docker network `campus` has 10.181.7.0/24: choose other `spawner.addresses` in site.yaml"
    ]
    assert bad(doctor(addresses="10.184.0.0/14")) == []


def test_a_swarm_that_is_none(doctor: Doctor) -> None:
    (line,) = bad(doctor(kind="swarm"))
    assert line.startswith("Docker is in no swarm (inactive): make one with `docker swarm init`")
