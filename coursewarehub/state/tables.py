"""Tables of our own in the database of a hub, beside JupyterHub's."""

from __future__ import annotations

from sqlalchemy import Engine, MetaData, inspect
from sqlalchemy.exc import DBAPIError


def create_tables(metadata: MetaData, engine: Engine) -> None:
    """Make the tables that are not there; another thread or process may do so at the same time.

    Blocks. Raises SQLAlchemy's DBAPIError when they cannot be made.
    """
    try:
        metadata.create_all(engine)
    except DBAPIError:
        if not all(inspect(engine).has_table(name) for name in metadata.tables):
            raise
