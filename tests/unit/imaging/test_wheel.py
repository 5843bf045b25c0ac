"""The wheel in an image's build context: what it holds, and that pip takes it."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from coursewarehub import __version__
from coursewarehub.imaging import recipes, wheel
from coursewarehub.imaging.errors import ImagingError
from coursewarehub.imaging.recipes import HUB, SINGLEUSER, Recipe

ROOT = Path(__file__).parents[3]
ALL = {
    "coursewarehub": ROOT / "coursewarehub",
    "coursewareauthenticator": ROOT / "authenticators/coursewareauthenticator",
    "coursewarespawner": ROOT / "spawners/coursewarespawner",
}


def names(recipe: Recipe) -> set[str]:
    return set(zipfile.ZipFile(io.BytesIO(wheel.make_wheel(recipe))).namelist())


def test_the_hub_gets_every_file_of_all_packages() -> None:
    expected = {
        f"{package}/{file.relative_to(folder).as_posix()}"
        for package, folder in ALL.items()
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {name for name in names(HUB) if ".dist-info/" not in name} == expected


def test_the_learners_image_gets_what_a_server_imports_and_nothing_of_the_hub() -> None:
    held = names(SINGLEUSER)
    folders = {name.split("/")[1] for name in held if name.startswith("coursewarehub/")}
    assert folders == {"__init__.py", "singleuser", "wire", "prefork"}
    assert not any(name.startswith(("coursewarespawner", "coursewareauthenticator")) for name in held)
    assert "coursewarehub/singleuser/__main__.py" in held


def test_same_code_same_bytes() -> None:
    assert wheel.make_wheel(SINGLEUSER) == wheel.make_wheel(SINGLEUSER)


def test_pip_installs_it_and_its_command_starts(tmp_path: Path) -> None:
    file = tmp_path / wheel.wheel_name()
    file.write_bytes(wheel.make_wheel(SINGLEUSER))
    # --ignore-installed: the environment that runs the tests keeps the coursewarehub that it has.
    options = ["--no-deps", "--no-index", "--ignore-installed", "--prefix", str(tmp_path / "p")]
    command = [sys.executable, "-m", "pip", "install", "-q", *options, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    packages = next((tmp_path / "p").glob("lib/python3*/site-packages"))
    assert (packages / f"coursewarehub-{__version__}.dist-info/RECORD").is_file()
    program = (tmp_path / "p/bin/coursewarehub-singleuser").read_text()
    assert "from coursewarehub.singleuser.__main__ import entry" in program
    assert not (tmp_path / "p/bin/coursewarehub").exists()


def test_entry_points_of_each_image() -> None:
    known = {
        "console_scripts": {"coursewarehub": "a:main", "coursewarehub-singleuser": "b:entry"},
        "jupyterhub.spawners": {"courseware-swarm": "c:Swarm", "courseware-docker": "c:Docker"},
        "other": {"x": "y:z"},
    }
    assert wheel.entry_points(SINGLEUSER, known) == "[console_scripts]\ncoursewarehub-singleuser = b:entry\n"
    assert wheel.entry_points(HUB, known) == (
        "[console_scripts]\ncoursewarehub = a:main\n"
        "\n[jupyterhub.authenticators]\n"
        "\n[jupyterhub.spawners]\ncourseware-docker = c:Docker\ncourseware-swarm = c:Swarm\n"
    )


def test_entry_points_are_those_of_the_checkout() -> None:
    found = wheel.all_entry_points()
    assert found["console_scripts"]["coursewarehub"] == "coursewarehub.cli:main"
    assert "courseware-local" in found["jupyterhub.spawners"]


def test_without_a_checkout_they_are_those_of_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = wheel.all_entry_points()
    monkeypatch.setattr(wheel, "CHECKOUT", tmp_path)
    assert wheel.all_entry_points()["console_scripts"] == checkout["console_scripts"]


def test_a_missing_package_is_said() -> None:
    recipe = Recipe("x", ("coursewarehub.nothing",), ())
    with pytest.raises(ImagingError, match=r"coursewarehub\.nothing is not installed"):
        wheel.make_wheel(recipe)


def test_files_of_an_image_are_found_beside_an_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert recipes.folder_of(HUB) == ROOT / "images/hub"
    installed = tmp_path / "share/coursewarehub/images"
    (installed / "hub").mkdir(parents=True)
    (installed / "hub/Dockerfile").touch()
    monkeypatch.setattr(recipes, "CHECKOUT", tmp_path / "nowhere")
    monkeypatch.setattr(recipes, "_installed_images", lambda: installed)
    assert recipes.folder_of(HUB) == installed / "hub"
    with pytest.raises(ImagingError, match="files of the image singleuser are missing"):
        recipes.folder_of(SINGLEUSER)
