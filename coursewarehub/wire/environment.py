"""Names of the environment variables that our processes hand to each other."""

from __future__ import annotations

from typing import Final

SITE: Final = "COURSEWARE_SITE"
"""Absolute path of the site folder. Given to: hub."""

COURSE: Final = "COURSEWARE_COURSE"
"""Course id. Given to: hub, learner's server."""

HUB_PORT: Final = "COURSEWARE_HUB_PORT"
"""TCP port on the loopback interface at which the course's hub answers. Given to: hub."""

CONTENT: Final = "COURSEWARE_CONTENT"
"""Absolute path of the course's material, to be read only. Given to: learner's server."""

IDLE_SECONDS: Final = "COURSEWARE_IDLE_SECONDS"
"""Whole seconds without activity after which the server stops by itself. Given to: learner's server."""

EDGE_API: Final = "COURSEWARE_EDGE_API"
"""URL of the edge's API on the loopback interface. Given to: hub."""

LEASE_SECONDS: Final = "COURSEWARE_LEASE_SECONDS"
"""Whole seconds after which a server that the hub has not confirmed stops writing to its home; 0: never. Given to:
learner's server in a container."""

HOMES: Final = "COURSEWARE_HOMES"
"""Absolute path of the folder with the course's homes, to be read only. Given to: a staff member's server in a
container."""

SHARED: Final = "COURSEWARE_SHARED"
"""Absolute path of the course's shared folder; staff may write in it. Given to: learner's server in a container."""
