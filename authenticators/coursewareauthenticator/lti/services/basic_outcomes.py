"""Basic Outcomes 1.1: one person's grade to, and from, a platform of LTI 1.1.

Runs in: hub. Every method raises ServiceFailure, and signs each message anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from coursewareauthenticator.lti.launch import Outcomes
from coursewareauthenticator.lti.lti11 import Consumer
from coursewareauthenticator.lti.outcomes import Action, message, read_reply
from coursewareauthenticator.lti.services.answers import outcome_failure, retry_after
from coursewareauthenticator.lti.services.families import family
from coursewareauthenticator.lti.services.http import Call, ServiceHttp
from coursewareauthenticator.lti.services.platforms import Check, unchecked
from coursewareauthenticator.lti.services.reasons import Kind, Reason, ServiceFailure
from coursewareauthenticator.lti.services.targets import OutcomeTarget

PREFIX: Final = "lti11:"


class BasicOutcomes:
    """Grades at platforms of LTI 1.1; `find` knows them by their consumer key, None for one that is no longer there."""

    def __init__(
        self,
        http: ServiceHttp,
        find: Callable[[str], Consumer | None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._find = find
        self._clock = clock

    async def replace(self, target: OutcomeTarget, fraction: float, *, check: Check = unchecked) -> None:
        """Set the grade, from 0 to 1; what is outside is cut. `check` is called directly before it is sent."""
        await self._say(Action.REPLACE, target, fraction, check)

    async def read(self, target: OutcomeTarget) -> float | None:
        """The grade from 0 to 1, or None when there is none. Some platforms do not have this."""
        return await self._say(Action.READ, target, None, unchecked)

    async def delete(self, target: OutcomeTarget) -> None:
        """Take the grade away. Some platforms do not have this."""
        await self._say(Action.DELETE, target, None, unchecked)

    async def _say(self, action: Action, target: OutcomeTarget, score: float | None, check: Check) -> float | None:
        consumer = self._find(target.registration.removeprefix(PREFIX))
        if consumer is None or not target.registration.startswith(PREFIX):
            raise ServiceFailure(Kind.RETRY, Reason.UNKNOWN_PLATFORM, everything=True)
        now = self._clock()
        try:
            signed = message(action, Outcomes(target.url, target.sourcedid), consumer, now, score)
        except ValueError:
            raise ServiceFailure(Kind.GONE, Reason.NOT_THERE) from None
        check()
        answer = await self._http.send(Call("POST", signed.url, signed.headers, signed.body))
        reply = read_reply(answer.body)
        wait = retry_after(answer.retry_after, now)
        if (failed := outcome_failure(answer.status, reply, wait, family(target.platform))) is not None:
            raise failed
        return reply.score
