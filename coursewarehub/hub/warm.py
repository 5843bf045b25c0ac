"""What a hub imports at its start, imported once in the parent of all hubs.

Import-only: nothing here may start a thread, open a file for good or hold a secret.
"""

from __future__ import annotations

from coursewarehub.prefork.kinds import import_available

import_available(
    (
        "jupyterhub.app",
        "jupyterhub.apihandlers",
        "jupyterhub.handlers",
        "jupyterhub.dbutil",
        "jupyterhub_traefik_proxy.fileprovider",
        "sqlalchemy.dialects.sqlite",
        "sqlalchemy.dialects.sqlite.pysqlite",
        "alembic.migration",
        "alembic.script",
        "coursewarehub.hub.assembly",
        "coursewarehub.model",
        "coursewareauthenticator.dummy",
        "coursewarespawner.local",
    )
)
