"""What an image's labels say of it: which command starts its server, and what it lacks. Pure.

The labels of an image are `Config.Labels` in the engine's answer to `GET /images/<name>/json`. The contract between
images and platform is docs/reference/image-contract.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SINGLEUSER: Final = "coursewarehub.singleuser"
"""Label of an image with our server in it; its value is the version of CoursewareHub."""

HUB: Final = "coursewarehub.hub"
"""Label of an image with the site and its hubs in it; its value is the version of CoursewareHub."""

OUR_COMMAND: Final = ("coursewarehub-singleuser",)
FOREIGN_COMMAND: Final = ("jupyterhub-singleuser",)
EITHER_COMMAND: Final = (
    "sh",
    "-c",
    "command -v coursewarehub-singleuser >/dev/null && exec coursewarehub-singleuser; exec jupyterhub-singleuser",
)
"""Starts our server where it is there, else JupyterHub's own; for an image of which nothing is known."""


def command_of(labels: Mapping[str, str] | None) -> tuple[str, ...]:
    """The command that starts a learner's server in an image with these labels; None: the labels are not known.

    Given as the container's command; the image's own entry point stays, and gets it as its arguments.
    """
    if labels is None:
        return EITHER_COMMAND
    return OUR_COMMAND if SINGLEUSER in labels else FOREIGN_COMMAND


def shortcomings(labels: Mapping[str, str] | None, version: str) -> tuple[str, ...]:
    """What learners of an image go without, a sentence each; `version` is that of this CoursewareHub."""
    held = (labels or {}).get(SINGLEUSER)
    if held is None:
        return (
            "The image has JupyterHub's own server, not CoursewareHub's: the course's material is not copied into the "
            "learner's folder, but lies in the folder that COURSEWARE_CONTENT names.",
            "No message reaches a learner at work, such as that the machine is about to be emptied.",
            "A server that lost its hub goes on writing: a second one is started only when the first has ended for "
            "certain.",
        )
    if held != version:
        return (f"The image is of CoursewareHub {held}, this is {version}: build it anew.",)
    return ()
