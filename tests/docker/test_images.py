"""The images, built for real: fit and restricted, small changes make small layers, a quick start, foreign images."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.beds import slot
from support.engines import Engine, EngineBed, builder
from support.images import CERTIFICATES

from coursewarehub.engine.images import EITHER_COMMAND
from coursewarehub.imaging import build as building
from coursewarehub.imaging import context
from coursewarehub.imaging.build import BuildOptions
from coursewarehub.imaging.client import Docker
from coursewarehub.imaging.recipes import SINGLEUSER
from coursewarehub.imaging.verify import HARDENED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

MEASURE = (Path(__file__).parent / "measure_start.py").read_text()
OF_STOCK = 0.55  # most that our cold start may take of the processor time of JupyterHub's own

FOREIGN = """
FROM debian:bookworm-slim
RUN apt-get update -q && apt-get install -q -y --no-install-recommends ca-certificates python3-venv
COPY *.crt /usr/local/share/ca-certificates/
RUN update-ca-certificates
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt PATH=/srv/venv/bin:/usr/bin:/bin
RUN python3 -m venv /srv/venv && pip install --no-cache-dir jupyterhub==6.1.1 jupyterlab ipykernel
RUN printf '#!/bin/sh\\necho "entry: $*"\\nexec "$@"\\n' >/srv/entry && chmod +x /srv/entry
ENTRYPOINT ["/srv/entry"]
CMD ["jupyter", "lab"]
"""


def image(*words: str, engine: Engine) -> subprocess.CompletedProcess[str]:
    """Run `coursewarehub image`."""
    command = [sys.executable, "-m", "coursewarehub", "image", *words, "--engine", engine.url]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def foreign(open_bed: EngineBed, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image that knows nothing of CoursewareHub: JupyterHub and JupyterLab, with an entry point of its own."""
    name = "foreign/jupyterlab:1"
    if not open_bed.registry.holds(name):
        folder = tmp_path_factory.mktemp("foreign")
        (folder / "Dockerfile").write_text(FOREIGN)
        (folder / "none.crt").touch()
        for file in CERTIFICATES.glob("*.crt"):
            (folder / file.name).write_bytes(file.read_bytes())
        with slot("builder") as place, builder(place, open_bed.registry) as engine:
            engine.docker("build", "--network", "host", "--tag", name, str(folder), timeout=1500)
            engine.publish(name)
    return open_bed.engine.provide(name)


# --- what is in them ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["singleuser", "hub"])
def test_our_images_are_fit(engine: Engine, images: dict[str, str], name: str) -> None:
    done = image("verify", images[name], engine=engine)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "BAD" not in done.stdout and done.stdout.count("ok ") > 12
    assert done.stdout.endswith(f"{images[name]} is good\n")


def test_an_image_that_is_not_fit_is_named(engine: Engine, images: dict[str, str]) -> None:
    container = engine.docker("create", images["singleuser"])
    spoilt = [
        *("--change", "ENV HOME=/home/learner"),  # nothing is written there yet
        *("--change", "LABEL coursewarehub.singleuser=0.0.1"),
    ]
    engine.docker("commit", *spoilt, container, "spoilt:1")
    engine.docker("rm", container)
    helper = ("run", "--name", "spoil", "--user", "0", "--entrypoint", "chmod", "spoilt:1", "4755", "/usr/bin/git")
    engine.docker(*helper)
    engine.docker("commit", "spoil", "spoilt:2")
    done = image("verify", "spoilt:2", engine=engine)
    assert done.returncode == 1
    assert "BAD   setuid or setgid files: /usr/bin/git" in done.stdout
    assert done.stdout.endswith("spoilt:2 is not good\n")


def test_a_learner_may_write_to_the_home_and_temporary_folders_only(engine: Engine, images: dict[str, str]) -> None:
    """Also where the root file system is not read only."""
    find = "find / -xdev -not -type l -writable -not -path '/proc/*' -not -path '/dev/*' -print 2>/dev/null"
    for name in images.values():
        words = ("run", "--rm", "--user", "123456:123456", "--entrypoint", "sh", name)
        said = engine.docker(*words, "-c", find, check=False).split()
        assert set(said) <= {"/home/learner", "/tmp", "/var/tmp", "/run/lock"}


def test_nothing_of_the_build_is_left(engine: Engine, images: dict[str, str]) -> None:
    """No caches of pip or apt, no wheel, no compiler."""
    unwanted = "-path '*/.cache/pip' -o -name '*.whl' -o -name 'pkgcache.bin' -o -path /usr/bin/gcc"
    for name in images.values():
        words = ("run", "--rm", "--user", "0", "--entrypoint", "sh", name)
        assert engine.docker(*words, "-c", f"find /opt /usr /var /root /home -xdev {unwanted}").split() == []


# --- a learner in it ---------------------------------------------------------------------------


def in_container(engine: Engine, name: str, script: str) -> str:
    words = ("run", "--rm", "--interactive", *HARDENED, name, "bash", "-s")
    return engine.docker(*words, given=script, timeout=300)


def test_learners_install_packages_into_their_home(engine: Engine, images: dict[str, str]) -> None:
    script = """
set -e
cat >/tmp/make.py <<'END'
import zipfile
with zipfile.ZipFile("/tmp/mine-1-py3-none-any.whl", "w") as wheel:
    wheel.writestr("mine.py", "answer = 42")
    wheel.writestr("mine-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: mine\\nVersion: 1\\n")
    wheel.writestr("mine-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr("mine-1.dist-info/RECORD", "")
END
python /tmp/make.py
python -m pip install -q --no-index /tmp/mine-1-py3-none-any.whl 2>&1
python -c 'import mine; print(mine.__file__, mine.answer)'
"""
    said = in_container(engine, images["singleuser"], script)
    assert said.splitlines()[-1] == "/home/learner/.local/lib/python3.11/site-packages/mine.py 42"


def test_what_a_learner_has_at_home_does_not_keep_the_server_from_starting(
    engine: Engine, images: dict[str, str]
) -> None:
    spoil = """
mkdir -p ~/.local/lib/python3.11/site-packages ~/.config/matplotlib
for name in json tornado random traitlets; do echo 'raise SystemExit("mine")' >~/$name.py; done
cp ~/*.py ~/.local/lib/python3.11/site-packages/
echo 'raise SystemExit("mine")' >~/.local/lib/python3.11/site-packages/usercustomize.py
echo 'import os; os._exit(9)' >~/.local/lib/python3.11/site-packages/mine.pth
"""
    script = f"{spoil}\nexec python -I - coursewarehub-singleuser <<'END'\n{MEASURE}\nEND\n"
    assert json.loads(in_container(engine, images["singleuser"], script).splitlines()[-1])["wall"] > 0


# --- how they are built ------------------------------------------------------------------------


@pytest.fixture
def building_engine(open_bed: EngineBed, images: dict[str, str]) -> Iterator[Engine]:
    with slot("builder") as place, builder(place, open_bed.registry) as engine:
        yield engine


def layers(engine: Engine, name: str) -> list[str]:
    found: list[str] = engine.inspect("image", name)["RootFS"]["Layers"]
    return found


def test_a_change_of_our_code_makes_one_small_layer(
    building_engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    docker = Docker(building_engine.url)
    trust = CERTIFICATES if CERTIFICATES.is_dir() else None
    options = {"ca": trust, "network": "host"}
    building.build(docker, SINGLEUSER, BuildOptions(tag="change:1", **options))
    changed = (*SINGLEUSER.modules, "coursewarehub.i18n")
    recipe = type(SINGLEUSER)(SINGLEUSER.name, changed, SINGLEUSER.scripts)
    assert context.make_context(recipe, trust) != context.make_context(SINGLEUSER, trust)
    begin = time.monotonic()
    building.build(docker, recipe, BuildOptions(tag="change:2", **options))
    took = time.monotonic() - begin
    first, second = layers(building_engine, "change:1"), layers(building_engine, "change:2")
    assert len(first) == len(second) and first[:-1] == second[:-1] and first[-1] != second[-1]
    size = building_engine.docker("history", "--human=false", "--format", "{{.Size}}", "change:2").splitlines()[0]
    with capsys.disabled():
        print(f"\n[figure] after a change of code: {took:.1f} s, a layer of {int(size) // 1024} KiB")
    assert int(size) < 2 << 20
    assert took < 60
    building_engine.docker("rmi", "change:1", "change:2")


# --- the start ---------------------------------------------------------------------------------


def cold_start(engine: Engine, name: str, *command: str) -> dict[str, Any]:
    """Start a server in the hardened container as a spawner does, up to its first answer."""
    words = ("run", "--rm", "--interactive", *HARDENED, name, "python3", "-I", "-", *command)
    found: dict[str, Any] = json.loads(engine.docker(*words, given=MEASURE, timeout=200).splitlines()[-1])
    return found


def test_cold_start_beside_stock(engine: Engine, images: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Least of several starts in turn: what others do on the machine only adds."""
    commands = ("coursewarehub-singleuser", "jupyterhub-singleuser")
    found: dict[str, list[dict[str, Any]]] = {command: [] for command in commands}
    for _ in range(5):
        for command in commands:
            found[command].append(cold_start(engine, images["singleuser"], command))
    ours, stock = (
        {key: min(start[key] for start in found[command]) for key in ("cpu", "wall")} for command in commands
    )
    with capsys.disabled():
        print(f"\n[figure] cold start in the hardened container: ours {ours}, stock {stock}")
    assert ours["cpu"] <= OF_STOCK * stock["cpu"]


# --- foreign images ----------------------------------------------------------------------------


def test_a_foreign_image_degrades_clearly(engine: Engine, foreign: str) -> None:
    done = image("verify", foreign, engine=engine)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("note  ") == 4, "three things that it lacks, and its setuid files"
    assert "entry: python3 - --foreign" in done.stdout, "its own entry point stays"
    assert "a kernel computes" in done.stdout


def test_one_command_starts_our_server_or_jupyterhubs(engine: Engine, foreign: str, images: dict[str, str]) -> None:
    """For an image of which nothing is known, as on a swarm's manager that does not have it."""
    assert cold_start(engine, images["singleuser"], *EITHER_COMMAND)["program"] == "coursewarehub-singleuser"
    assert cold_start(engine, foreign, *EITHER_COMMAND)["program"] == "jupyterhub-singleuser"


def test_an_image_without_python_is_told_in_one_sentence(engine: Engine) -> None:
    done = image("verify", "debian:bookworm-slim", engine=engine)
    assert done.returncode == 1
    assert done.stderr == (
        "coursewarehub: The image debian:bookworm-slim has no Python where its command is looked for, so that no "
        "learner's server can run in it.\n"
    )


# --- registries --------------------------------------------------------------------------------


def test_push_and_prepull_by_digest(bed: EngineBed) -> None:
    done = image("push", "debian:bookworm-slim", f"{bed.registry.address}/pushed", engine=bed.engine)
    assert done.returncode == 0, done.stderr
    by_digest = done.stdout.splitlines()[-1]
    assert by_digest.startswith(f"{bed.registry.address}/pushed/debian@sha256:")
    bed.engine.docker("rmi", f"{bed.registry.address}/pushed/debian:bookworm-slim")
    done = image("prepull", by_digest, engine=bed.engine)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"{by_digest} is ready"
    bed.engine.docker("image", "inspect", by_digest)


def test_f21_image_missing(bed: EngineBed) -> None:
    registry = bed.registry.address
    for words in (
        ["verify", f"{registry}/nothing:1"],
        ["push", "nothing:1", registry],
        ["prepull", f"{registry}/nothing:1"],
    ):
        done = image(*words, engine=bed.engine)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1 and "There is no image" in done.stderr, done.stderr


def test_a_registry_that_is_not_there(bed: EngineBed) -> None:
    done = image("push", "debian:bookworm-slim", "127.0.0.1:9", engine=bed.engine)
    assert done.returncode == 1
    assert "The registry of 127.0.0.1:9/debian:bookworm-slim cannot be reached from the engine" in done.stderr
    bed.engine.docker("rmi", "127.0.0.1:9/debian:bookworm-slim")
