"""A course's platforms, as its services ask them: with a token, paged, and with what an answer means.

Runs in: hub.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from coursewareauthenticator.lti.registrations import Registration
from coursewareauthenticator.lti.services.access import AccessTokens
from coursewareauthenticator.lti.services.answers import failure, retry_after
from coursewareauthenticator.lti.services.assertions import Token
from coursewareauthenticator.lti.services.families import Family
from coursewareauthenticator.lti.services.http import Answer, Call, ServiceHttp, same_origin
from coursewareauthenticator.lti.services.links import links
from coursewareauthenticator.lti.services.reasons import Kind, Reason, ServiceFailure

MOST_PAGES: Final = 500
"""Pages of one list: more is a list without an end."""
Check = Callable[[], None]


def unchecked() -> None:
    """No reason not to send."""


class Platforms:
    """The platforms that `find` knows by the `registration` of a launch, None for one that is no longer there."""

    def __init__(
        self,
        http: ServiceHttp,
        tokens: AccessTokens,
        find: Callable[[str], Registration | None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._tokens = tokens
        self._find = find
        self._clock = clock

    async def ask(
        self,
        registration: str,
        scope: str,
        call: Call,
        family: Family,
        *,
        person: bool = False,
        check: Check = unchecked,
    ) -> Answer:
        """A successful answer to a call with a token for `scope`; with a new token once, when the first is refused.

        `person` says that it is about one person's grade. `check` is called directly before something is sent and may
        raise. Raises ServiceFailure for all else.
        """
        found = self._find(registration)
        if found is None:
            raise ServiceFailure(Kind.RETRY, Reason.UNKNOWN_PLATFORM, everything=True)
        scopes = frozenset({scope})
        token = await self._tokens.get(found, scopes)
        check()
        answer = await self._http.send(_with(token, call))
        if answer.status == 401:
            self._tokens.drop(found, scopes, token)
            token = await self._tokens.get(found, scopes)
            check()
            answer = await self._http.send(_with(token, call))
        if answer.ok:
            return answer
        # Some platforms say in their answer what they were asked with.
        body = b"" if answer.status == 401 else answer.body.replace(token.value.encode(), b"...")
        raise failure(answer.status, body, retry_after(answer.retry_after, self._clock()), family, person=person)

    async def pages(
        self, registration: str, scope: str, call: Call, family: Family, relation: str = "next"
    ) -> AsyncIterator[Answer]:
        """All pages of a list, along `Link`. Raises ServiceFailure, also when it leads elsewhere or has no end."""
        seen: set[str] = set()
        while call.url not in seen:
            if len(seen) >= MOST_PAGES:
                raise ServiceFailure(Kind.PERMANENT, Reason.REFUSED, f"a list of more than {MOST_PAGES} pages")
            seen.add(call.url)
            answer = await self.ask(registration, scope, call, family)
            yield answer
            onward = links(answer.links, answer.url).get(relation)
            if onward is None:
                return
            if not same_origin(onward, answer.url):
                raise ServiceFailure(Kind.PERMANENT, Reason.MOVED, Call("GET", onward).host)
            call = Call(call.method, onward, call.headers)


def _with(token: Token, call: Call) -> Call:
    headers = {**call.headers, "Authorization": f"Bearer {token.value}"}
    return Call(call.method, call.url, headers, call.body)
