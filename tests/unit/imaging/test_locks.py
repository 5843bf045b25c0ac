"""Lock files: complete, with hashes, from no index of anybody's own."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
EXTRAS = {"singleuser": ("singleuser",), "hub": ("site", "postgresql")}


def wanted(image: str) -> list[Requirement]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    text = "\n".join(config["options.extras_require"][extra] for extra in EXTRAS[image])
    text += "\n" + (ROOT / f"images/{image}/requirements.in").read_text()
    lines = (line.strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def locked(image: str) -> dict[str, str]:
    text = (ROOT / f"images/{image}/requirements.lock").read_text()
    return {canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)}


@pytest.mark.parametrize("image", EXTRAS)
def test_everything_required_is_locked_in_a_version_that_will_do(image: str) -> None:
    found = locked(image)
    for requirement in wanted(image):
        version = found.get(canonicalize_name(requirement.name))
        assert version and requirement.specifier.contains(version), f"{requirement}: `make lock` writes the lock anew"


@pytest.mark.parametrize("image", EXTRAS)
def test_every_package_has_hashes_and_nothing_names_an_index(image: str) -> None:
    text = (ROOT / f"images/{image}/requirements.lock").read_text()
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text)
    packages = [block for block in blocks if re.match(r"[\w.-]+(?:\[.*\])?==", block)]
    assert len(packages) > 50
    for block in packages:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block.splitlines()[0]
    assert not re.search(r"://|^--|find-links", text, re.MULTILINE)


def test_both_images_have_the_same_jupyterhub() -> None:
    assert locked("singleuser")["jupyterhub"] == locked("hub")["jupyterhub"]
