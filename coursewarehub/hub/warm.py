"""What a hub imports at its start, imported once in the parent of all hubs.

Import-only: nothing here may start a thread, open a file for good or hold a secret.
"""

from __future__ import annotations

import functools

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
        "coursewareauthenticator.login",
        "coursewarespawner.local",
        "ruamel.yaml",
        "sqlite3",
        "tornado.simple_httpclient",
    )
)


def use_the_orm_once() -> None:
    """Let SQLAlchemy work out its mappings here, once, instead of in every hub: a database in memory, then gone."""
    from jupyterhub import orm
    from sqlalchemy.orm import configure_mappers

    configure_mappers()
    factory = orm.new_session_factory("sqlite:///:memory:")
    session = factory()
    user = orm.User(name="nobody")
    session.add(user)
    session.commit()
    for kind in (orm.User, orm.Group, orm.Role, orm.Service, orm.Server, orm.Spawner, orm.APIToken, orm.OAuthClient):
        session.query(kind).all()
    session.close()
    session.get_bind().dispose()


def look_up_plugins_once() -> None:
    """Remember which authenticators, spawners and proxies are installed: JupyterHub reads every package's metadata
    five times at each start to find out, and what is installed does not change under a running parent."""
    from jupyterhub import traitlets

    traitlets.entry_points = functools.cache(traitlets.entry_points)


use_the_orm_once()
look_up_plugins_once()
