"""A platform's roster into the store of members: read, planned, written down.

Runs in: hub.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from coursewareauthenticator.lti.services.members import Roster
from coursewareauthenticator.lti.services.plan import Member, Plan, plan
from coursewareauthenticator.lti.services.roster_store import Place, RosterStore
from coursewareauthenticator.lti.services.rosters import Rosters
from coursewareauthenticator.lti.services.targets import RosterTarget


class RosterSync:
    """`listed` says whether an account is in the course's file: a roster does not touch those."""

    def __init__(self, rosters: Rosters, store: RosterStore, listed: Callable[[str], bool]) -> None:
        self._rosters = rosters
        self._store = store
        self._listed = listed

    async def run(self, target: RosterTarget) -> Plan:
        """Bring the members up to date; what has changed. Asked again, it changes nothing more.

        Raises ServiceFailure when the platform gives no roster; then nothing has changed, and people appear when they
        first open a link, as they would without a roster.
        """
        roster, _ = await self._rosters.read(target)
        return await asyncio.to_thread(self._keep, target, roster)

    def _keep(self, target: RosterTarget, roster: Roster) -> Plan:
        def decide(known: list[Member]) -> Plan:
            return plan(roster, known, target.registration, self._listed)

        return self._store.change(Place(target.registration, target.context), decide)
