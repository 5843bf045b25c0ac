"""All services of a course's platforms, put together for one hub.

Runs in: hub. `open` in the hub's event loop when it starts, `close` when it ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Engine

from coursewareauthenticator.lti.keys import ToolKey
from coursewareauthenticator.lti.lti11 import Consumer
from coursewareauthenticator.lti.registrations import Registration
from coursewareauthenticator.lti.services.access import AccessTokens
from coursewareauthenticator.lti.services.basic_outcomes import BasicOutcomes
from coursewareauthenticator.lti.services.delivery import Delivery
from coursewareauthenticator.lti.services.gradebook import Gradebooks
from coursewareauthenticator.lti.services.http import TIMEOUT, ServiceHttp
from coursewareauthenticator.lti.services.outbox import Outbox
from coursewareauthenticator.lti.services.platforms import Platforms
from coursewareauthenticator.lti.services.roster_store import RosterStore
from coursewareauthenticator.lti.services.roster_sync import RosterSync
from coursewareauthenticator.lti.services.rosters import Rosters
from coursewareauthenticator.lti.services.sender import GradeSender


@dataclass(frozen=True)
class Known:
    """What a course knows; asked each time, so that what changes while the hub runs takes effect.

    `registration` finds a platform of LTI 1.3 by the `registration` of its launches, `consumer` one of LTI 1.1 by its
    key, None for what is no longer there. `key` is the tool's key for a platform and may block. `listed` says whether
    an account is in the course's file. `http_hosts` may be asked without TLS.
    """

    registration: Callable[[str], Registration | None]
    consumer: Callable[[str], Consumer | None]
    key: Callable[[Registration], ToolKey] = field(repr=False)
    listed: Callable[[str], bool] = lambda _: False
    http_hosts: frozenset[str] = frozenset()


class HubServices:
    """The outbox and its worker, gradebooks, and rosters into `members`, in the database of `engine`.

    With `lift_zero`, platforms that do not show a grade of zero get almost zero. `timeout` is that of one request, in
    seconds; `clock` is in seconds since 1970.
    """

    def __init__(
        self,
        engine: Engine,
        known: Known,
        *,
        lift_zero: bool = False,
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = ServiceHttp(known.http_hosts, timeout=timeout)
        platforms = Platforms(
            self._http, AccessTokens(self._http, known.key, clock=clock), known.registration, clock=clock
        )
        self.gradebooks = Gradebooks(platforms)
        self.outcomes = BasicOutcomes(self._http, known.consumer, clock=clock)
        self.outbox = Outbox(engine, clock=clock)
        self.grades = GradeSender(self.outbox, Delivery(self.gradebooks, self.outcomes, lift_zero=lift_zero))
        self.rosters = Rosters(platforms)
        self.members = RosterStore(engine)
        self.roster_sync = RosterSync(self.rosters, self.members, known.listed)

    async def open(self) -> None:
        """Make the tables and begin to send. Raises SQLAlchemy's errors."""
        await asyncio.to_thread(self._create)
        self.grades.start()

    async def close(self) -> None:
        """End what is under way; what is not sent yet, the next hub sends."""
        await self.grades.stop()
        self._http.close()

    def _create(self) -> None:
        self.outbox.create()
        self.members.create()
