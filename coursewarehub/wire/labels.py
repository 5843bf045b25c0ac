"""Labels on every container, service and network that belongs to a site.

What has them is ours, and what lacks them is never touched.
"""

from __future__ import annotations

import hashlib
from typing import Final

SITE: Final = "coursewarehub.site"
"""Id of the site. On everything."""

COURSE: Final = "coursewarehub.course"
"""Id of the course. On what belongs to one course."""

USER: Final = "coursewarehub.user"
"""Name of the user whose server it is. On servers."""

SERVER: Final = "coursewarehub.server"
"""Name of the named server; empty for a user's main one. On servers."""

KIND: Final = "coursewarehub.kind"
"""What it is: one of the values below. On everything."""

KIND_SERVER: Final = "server"
"""A learner's server."""

KIND_AGENT: Final = "agent"
"""The agent that applies network rules on a node."""

KIND_CHECK: Final = "check"
"""A check of whether a node is ready for a course; it ends by itself."""

KIND_SITE: Final = "site"
"""The site."""

KIND_NETWORK: Final = "network"
"""The network of a course."""

KIND_SECRET: Final = "secret"  # noqa: S105 - a kind of object
"""A secret that the site's files refer to, as a Docker secret."""

POLICY: Final = "coursewarehub.network"
"""What it may reach, as `wire.policy` writes it. On containers for which the agent applies rules."""

IMAGE: Final = "coursewarehub.image"
"""Image as the course names it. On servers."""

SPAWN: Final = "coursewarehub.spawn"
"""Id of one start, so that a late removal never meets a newer server of the same name. On servers."""

FILE: Final = "coursewarehub.file"
"""Path of the file whose content it holds. On secrets."""

DEPLOYED: Final = "coursewarehub.deployed"
"""Digest of all the settings it was deployed with. On what `coursewarehub deploy` makes."""

DRAINING: Final = "courseware.draining"
"""Label of a node (`true`) that is about to be emptied: no new server starts there."""

READY: Final = "courseware.ready"
"""What the names of the labels start with that say what a node is ready for; see `ready`."""


def ready(site: str, image: str) -> str:
    """Name of the label that a node has (`true`) when servers of a site with this image can start there."""
    code = hashlib.sha256(f"{site}\0{image}".encode()).hexdigest()
    return f"{READY}.{code[:20]}"
