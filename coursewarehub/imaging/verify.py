"""Checking an image from inside a container that is as restricted as a learner's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from coursewarehub import __version__
from coursewarehub.engine import images
from coursewarehub.imaging.client import Docker
from coursewarehub.imaging.recipes import SINGLEUSER, folder_of

SCRIPT: Final = "/opt/courseware/verify"
"""Where our images have their script."""

_USER: Final = 123456
_HOME: Final = "/home/learner"
_BAD: Final = 1

# As `coursewarespawner.plan` and its payloads have it; a foreign image must do with it, too.
HARDENED: Final = (
    *("--init", "--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--user", f"{_USER}:{_USER}", "--pids-limit", "512", "--memory", "2g", "--shm-size", "64m"),
    *("--tmpfs", "/tmp:size=256m,mode=1777,exec", "--tmpfs", "/var/tmp:size=64m,mode=1777"),  # noqa: S108 - in a container
    *("--tmpfs", "/run:size=16m,mode=1777", "--tmpfs", f"{_HOME}:size=256m,mode=0700,uid={_USER},gid={_USER}"),
    *("--workdir", _HOME, "--env", f"HOME={_HOME}", "--env", "USER=learner", "--env", "LOGNAME=learner"),
    *("--env", "JUPYTER_RUNTIME_DIR=/tmp/jupyter-runtime"),
)


def verify(docker: Docker, reference: str) -> bool:
    """Run the checks of an image, with their lines on standard output; whether all is well.

    An image without a label of ours is checked for the least that the image contract asks. ImagingError with one
    sentence when it is not there or cannot run.
    """
    labels = docker.labels(reference)
    foreign = is_foreign(labels)
    if foreign:
        for sentence in images.shortcomings(labels, __version__):
            print(f"note  {sentence}")
    script = (folder_of(SINGLEUSER) / "verify").read_bytes() if foreign else None
    done = docker.stream(run_arguments(reference, labels), subject=reference, stdin=script, statuses=(0, _BAD))
    return done.status == 0


def is_foreign(labels: Mapping[str, str]) -> bool:
    """Whether an image has no script of ours."""
    return images.SINGLEUSER not in labels and images.HUB not in labels


def run_arguments(reference: str, labels: Mapping[str, str]) -> list[str]:
    """The words after `docker`; a foreign image's Python reads the script from its standard input."""
    if is_foreign(labels):
        return ["run", "--rm", "--interactive", *HARDENED, reference, "python3", "-", "--foreign"]
    return ["run", "--rm", *HARDENED, "--entrypoint", SCRIPT, reference, "--version", __version__]
