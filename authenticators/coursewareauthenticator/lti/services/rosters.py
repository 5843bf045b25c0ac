"""Names and Role Provisioning Services 2.0: the people of a platform's course.

Runs in: hub.
"""

from __future__ import annotations

import asyncio
from typing import Final

from coursewareauthenticator.lti.services.columns import with_query
from coursewareauthenticator.lti.services.families import OTHER
from coursewareauthenticator.lti.services.http import Call
from coursewareauthenticator.lti.services.links import links
from coursewareauthenticator.lti.services.members import MEMBERS_TYPE, Page, Roster, joined, read_page
from coursewareauthenticator.lti.services.platforms import Platforms
from coursewareauthenticator.lti.services.reasons import Kind, Reason, ServiceFailure
from coursewareauthenticator.lti.services.targets import ROSTER_READ, RosterTarget

PAGE: Final = 200
"""People who are asked for at once; a platform may give fewer, or more."""
MOST: Final = 100_000
"""People in one course."""
_TOO_LARGE: Final = ("above_response_limit", "response limit")


class Rosters:
    """Rosters of a course's platforms. Raises ServiceFailure."""

    def __init__(self, platforms: Platforms) -> None:
        self._platforms = platforms

    async def read(self, target: RosterTarget) -> tuple[Roster, str | None]:
        """The whole roster, and where its differences will be, if the platform has that."""
        return await self._read(target, with_query(target.url, limit=PAGE), differences=False)

    async def read_some(self, target: RosterTarget, *, role: str | None = None, of_link: bool = False) -> Roster:
        """Those with one role, or those who can see the target's link; never a reason to take others out.

        With the link, some platforms say for each person where their grade goes (`RosterMember.outcomes`).
        """
        link = target.link if of_link else None
        found, _ = await self._read(target, with_query(target.url, limit=PAGE, role=role, rlid=link), differences=True)
        return found

    async def differences(self, target: RosterTarget, url: str) -> tuple[Roster, str | None]:
        """What has changed since the reading that gave `url` (NRPS §2.5), and where to ask next time."""
        return await self._read(target, url, differences=True)

    async def _read(self, target: RosterTarget, url: str, *, differences: bool) -> tuple[Roster, str | None]:
        pages: list[Page] = []
        later, count = None, 0
        call = Call("GET", url, {"Accept": MEMBERS_TYPE})
        try:
            async for answer in self._platforms.pages(target.registration, ROSTER_READ, call, OTHER):
                # A large page takes longer than others may wait.
                page = await asyncio.to_thread(read_page, answer.body)
                if page.context is not None and page.context != target.context:
                    raise ServiceFailure(Kind.PERMANENT, Reason.REFUSED, "a roster of another course")
                pages.append(page)
                count += len(page.members)
                if count > MOST:
                    raise ServiceFailure(Kind.PERMANENT, Reason.TOO_LARGE)
                later = links(answer.links, answer.url).get("differences") or later
        except ServiceFailure as failed:
            raise _too_large(failed) from None
        return joined(pages, differences=differences), later


def _too_large(failed: ServiceFailure) -> ServiceFailure:
    """The failure of a platform that gives no roster of a large course as what it is."""
    if failed.status == 403 and any(text in failed.said.lower() for text in _TOO_LARGE):
        return ServiceFailure(Kind.PERMANENT, Reason.TOO_LARGE, failed.said, status=403)
    return failed
