"""What labels tell of an image."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from coursewarehub.engine import images


@pytest.mark.parametrize(
    ("labels", "command"),
    [
        ({images.SINGLEUSER: "0.1.0"}, ("coursewarehub-singleuser",)),
        ({images.SINGLEUSER: ""}, ("coursewarehub-singleuser",)),
        ({}, ("jupyterhub-singleuser",)),
        ({"maintainer": "somebody", images.HUB: "0.1.0"}, ("jupyterhub-singleuser",)),
        (None, images.EITHER_COMMAND),
    ],
)
def test_the_command_of_an_image(labels: dict[str, str] | None, command: tuple[str, ...]) -> None:
    assert images.command_of(labels) == command


@pytest.mark.parametrize("there", [("coursewarehub-singleuser", "jupyterhub-singleuser"), ("jupyterhub-singleuser",)])
def test_the_command_for_an_unknown_image_starts_ours_first(tmp_path: Path, there: tuple[str, ...]) -> None:
    for name in there:
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name} in $$\n")
        (tmp_path / name).chmod(0o755)
    with subprocess.Popen(
        images.EITHER_COMMAND, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, stdout=subprocess.PIPE, text=True
    ) as process:
        said, _ = process.communicate(timeout=10)
    assert said == f"{there[0]} in {process.pid}\n", "it takes the shell's place, so that signals reach it"


def test_what_an_image_lacks() -> None:
    assert images.shortcomings({images.SINGLEUSER: "1.0"}, "1.0") == ()
    (old,) = images.shortcomings({images.SINGLEUSER: "0.9"}, "1.0")
    assert "0.9" in old and "1.0" in old
    assert len(images.shortcomings({}, "1.0")) == 3
    assert images.shortcomings(None, "1.0") == images.shortcomings({}, "1.0")
