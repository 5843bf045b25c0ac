"""What may be used once only: nonces of launches, in a table of the hub's database.

Runs in: hub. The database's unique key decides, so that threads, processes and hubs on one database agree, and a
restart forgets nothing. Only what was verified comes here, so that nobody without a key can fill the table or use up
somebody's nonce. SQLite and PostgreSQL.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Final

from sqlalchemy import BigInteger, Column, Engine, MetaData, String, Table, delete, func, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from coursewareauthenticator.lti.launch import LaunchRefused, Once
from coursewarehub.i18n import N_
from coursewarehub.state.tables import create_tables

MOST: Final = 1_000_000
"""Rows that are kept at most: about 100 MB, and a hundred launches a second for as long as a nonce is kept."""
SWEEP_EVERY: Final = 60
"""Seconds between two removals of what has expired."""

METADATA: Final = MetaData()
TABLE: Final = Table(
    "courseware_lti_nonces",
    METADATA,
    # SHA-256 of owner and value, in hexadecimal: a row has one size, whatever a platform sends.
    Column("digest", String(64), primary_key=True),
    # Seconds since 1970.
    Column("expires", BigInteger, nullable=False, index=True),
)


class NonceStore:
    """A store in the database of `engine`; `create` makes its table. Everything blocks for one short transaction."""

    def __init__(self, engine: Engine, most: int = MOST) -> None:
        self._engine = engine
        self._most = most
        self._lock = threading.Lock()
        self._swept = float("-inf")
        self._count = 0

    def create(self) -> None:
        """Make the table if it is not there; another process may do so at the same time."""
        create_tables(METADATA, self._engine)

    def use(self, once: Once, now: float) -> None:
        """Use a nonce up. `now` is in seconds since 1970.

        Raises LaunchRefused 401 when it was used before, 503 when the store is full or the database does not answer.
        """
        try:
            self._use(once, now)
        except DBAPIError as error:
            raise LaunchRefused(
                503,
                "nonce",
                N_("The hub's database does not answer: try again in a minute, or tell the hub's operator."),
            ) from error

    def _use(self, once: Once, now: float) -> None:
        self._sweep(now)
        if self._count >= self._most:
            raise LaunchRefused(
                503, "nonce", N_("There are too many launches at the moment: try again in a few minutes.")
            )
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(TABLE).values(digest=_digest(once), expires=once.expires))
        except IntegrityError:
            raise LaunchRefused(
                401, "nonce", N_("This launch was used before: go back to your course and open the link again.")
            ) from None
        self._count += 1

    def _sweep(self, now: float) -> None:
        """Remove what has expired and count the rest, now and then; a clock that was set back waits for itself."""
        with self._lock:
            if now < self._swept + SWEEP_EVERY and self._swept - SWEEP_EVERY < now:
                return
            self._swept = now
        with self._engine.begin() as connection:
            connection.execute(delete(TABLE).where(TABLE.c.expires < int(now)))
            self._count = connection.execute(select(func.count()).select_from(TABLE)).scalar_one()


def _digest(once: Once) -> str:
    """Different for different pairs of owner and value: each is framed by its length."""
    parts = (part.encode("utf-8", "surrogatepass") for part in (once.owner, once.value))
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()
