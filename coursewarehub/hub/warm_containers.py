"""What the hub of a course with containers imports besides `warm`, imported once in the parent of all hubs.

Import-only, as `warm`. Local sites have no use for it: docker-py and what it needs are several MiB.
"""

from __future__ import annotations

from coursewarehub.prefork.kinds import import_available

import_available(
    (
        "docker",
        "dockerspawner",
        "coursewarehub.engine.client",
        "coursewarehub.engine.view",
        "coursewarespawner.docker",
        "coursewarespawner.swarm",
    )
)
