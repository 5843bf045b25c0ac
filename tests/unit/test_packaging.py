"""What a wheel holds: everything that the packages read, and the entry points by which JupyterHub finds them."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "coursewarehub": ROOT / "coursewarehub",
    "coursewareauthenticator": ROOT / "authenticators/coursewareauthenticator",
    "coursewarespawner": ROOT / "spawners/coursewarespawner",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("coursewarehub", "authenticators", "spawners", "images"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    return zipfile.ZipFile(file)


@pytest.mark.slow
def test_wheel_holds_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    expected = {
        f"{package}/{file.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    held = {name for name in wheel.namelist() if ".dist-info/" not in name and ".data/" not in name}
    assert held == expected


@pytest.mark.slow
def test_wheel_holds_what_images_are_built_from(wheel: zipfile.ZipFile) -> None:
    folder = ROOT / "images"
    expected = {
        file.relative_to(folder).as_posix()
        for image in ("hub", "singleuser")
        for file in (folder / image).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    parts = (name.partition(".data/data/share/coursewarehub/images/") for name in wheel.namelist())
    assert {name for _, found, name in parts if found} == expected


@pytest.mark.slow
def test_jupyterhub_finds_our_classes(wheel: zipfile.ZipFile) -> None:
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    text = wheel.read(name).decode()
    config = configparser.ConfigParser(delimiters=("=",))
    config.read_string(text)
    found = {
        group: {name: target.partition(":")[0] for name, target in config[group].items()} for group in config.sections()
    }
    assert found["jupyterhub.authenticators"] == {
        "courseware": "coursewareauthenticator.login",
        "courseware-dummy": "coursewareauthenticator.dummy",
    }
    kinds = ("docker", "local", "swarm")
    assert found["jupyterhub.spawners"] == {f"courseware-{kind}": f"coursewarespawner.{kind}" for kind in kinds}
