"""One login for a course, whatever its methods.

form or button ──► Arrival (registration, subject, username, groups)
                        │  IdentityBook: the name this identity has in the course
                        ▼
                   decide (pure) ──► JupyterHub's authentication model, with the role as a group

What came of it is told to `audit`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from math import ceil
from time import monotonic
from typing import Any, Final

from jupyterhub.handlers.login import LoginHandler
from tornado.web import HTTPError
from traitlets import Any as AnyTrait
from traitlets import Float, List

from coursewareauthenticator.base import CoursewareAuthenticator, Verdict, address_of, groups_of, not_by_token
from coursewareauthenticator.dummy import WorkshopMethod
from coursewareauthenticator.identities import IdentityBook, NameTakenError
from coursewareauthenticator.methods import (
    LINKED_ALREADY,
    NAME_TAKEN,
    NO_SUCH_METHOD,
    NOT_LINKABLE,
    ONE_OF_EACH,
    WAIT,
    WRONG,
    ButtonMethod,
    FormMethod,
    LoginFailedError,
    RefreshingMethod,
    StandingMethod,
)
from coursewareauthenticator.throttle import Throttle
from coursewarehub.model.access import Arrival, Decision, Identity, Reason, union
from coursewarehub.wire import audit

ARRIVAL: Final = "arrival"
"""The key under which a button's handler hands over who has come; a form can only send text under it."""

LAUNCH: Final = "launch"
"""The key under which a handler of launches hands over the `Launch` beside the arrival."""

METHOD: Final = "method"
"""The field of the form that says which of several methods is meant."""

SOMEBODY: Final = "courseware-somebody"
"""The cookie that says that somebody may be signed in; forms from other sites bring it, unlike the hub's own."""

DONE: Final = "done"
"""The parameter that tells the login page what somebody has just done: `password`, they have set theirs."""


@dataclass(frozen=True)
class Launch:
    """Somebody came by a launch and not by a login; `target` is the path to which they go."""

    target: str = ""


def _username(arrival: Arrival) -> str:
    return arrival.username


def _say_somebody(handler: Any) -> None:
    """Set the cookie `SOMEBODY`, which says nothing of who it is; browsers take it by https only."""
    if handler is not None and getattr(handler.request, "protocol", "") == "https":
        options: dict[str, Any] = {"samesite": "None", "secure": True, "httponly": True, "expires_days": 14}
        handler.set_cookie(SOMEBODY, "1", path=handler.hub.base_url, **options)


class RefusedError(HTTPError):
    """Somebody has proved who they are, and may not enter: `name` is theirs in the course, empty without one."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(403, reason)
        self.name = name


class LoginPage(LoginHandler):
    """JupyterHub's login page; after a failure the method that was chosen is still the one."""

    def _render(self, login_error: str | None = None, username: str | None = None, **values: Any) -> Any:
        done = self.get_query_argument(DONE, "") if login_error is None else ""
        return super()._render(login_error, username, chosen=self.get_argument(METHOD, ""), done=done, **values)


class CoursewareLogin(CoursewareAuthenticator):
    """Lets people in by any of `methods`; `decide` takes a user name and the last arrival under it (or None)."""

    methods: Any = List(help="The ways to log in (`coursewareauthenticator.methods`), the first one first.").tag(
        config=True
    )
    name_for = AnyTrait(
        help="Function from an arrival to the user name it asks for; ValueError when there is none."
    ).tag(config=True)
    identities = AnyTrait(help="The `IdentityBook` of who has which name; by default one in memory.").tag(config=True)
    slow_failure = Float(
        0.5, help="Seconds that a failed login takes at least, so that time does not tell who has an account."
    ).tag(config=True)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.throttle = Throttle()
        if self.identities is None:
            self.identities = IdentityBook()

    def get_handlers(self, app: Any) -> list[tuple[str, type[Any]]]:
        """The login page, and what the buttons lead to."""
        del app
        found: list[tuple[str, type[Any]]] = [("/login", LoginPage)]
        for method in self.methods:
            if isinstance(method, ButtonMethod):
                found += method.handlers()
        return found

    async def prepare(self) -> None:
        """Read who has come before, once."""
        if not self.identities.is_open:
            await asyncio.to_thread(self.identities.open)

    async def look_at_everybody(self) -> Collection[str]:
        """Take over what has changed where people are kept here; user names under which everything must end."""
        await self.prepare()
        names: list[str] = []
        for method in self.methods:
            if not isinstance(method, StandingMethod):
                continue
            groups, to_end = await method.standing()
            known = self.identities.arrivals(method.name)
            for name, arrival in known.items():
                now = replace(arrival, groups=groups.get(arrival.identity.subject, frozenset()))
                if now != arrival:
                    await asyncio.to_thread(self.identities.enter, now, name, [method.name])
            names += [name for name, arrival in known.items() if arrival.identity.subject in to_end]
            await method.ended(to_end - {arrival.identity.subject for arrival in known.values()})
        return names

    async def all_ended(self, names: Collection[str]) -> None:
        """What was held under these user names has ended."""
        for method in self.methods:
            if isinstance(method, StandingMethod):
                known = self.identities.arrivals(method.name)
                await method.ended(frozenset(known[name].identity.subject for name in names if name in known))

    def verdict(self, name: str) -> Verdict:
        """The decision for a user name, by how its owner last logged in and by the logins linked with it."""
        normal = self.normalize_username(name)
        last = self.identities.last_arrival(normal)
        if last is not None and self.identities.linked_to(last.identity) is not None:
            return Decision(False, None, Reason.LINKED)
        return self._decided(normal, last)

    def _decided(self, name: str, arrival: Arrival | None) -> Verdict:
        """The decision for `name` and a login that leads to it: by all its logins, of which this is the newest."""
        last = self.identities.last_arrival(name)
        linked = self.identities.linked(name)
        by_link = arrival is not None and arrival.identity in {each.identity for each in linked}
        if arrival is not None and not by_link and (last is None or last.identity != arrival.identity):
            linked = ()  # the links are of whoever has the name now
        main = last if by_link else arrival
        decisions: list[Any] = [self.decide(name, main)]
        for each in linked:
            now = arrival if arrival is not None and each.identity == arrival.identity else each
            decisions.append(self.decide(self.own_name(now), now))
        verdict: Verdict = decisions[0] if len(decisions) == 1 else union(decisions)
        return verdict

    def own_name(self, arrival: Arrival) -> str:
        """The user name that a login has by itself, whatever it is linked with; empty when there can be none."""
        name_for: Callable[[Arrival], str] = self.name_for or _username
        try:
            wanted = self.normalize_username(name_for(arrival))
        except ValueError:
            wanted = ""
        return self.identities.own_name_of(arrival.identity) or wanted

    async def authenticate(self, handler: Any, data: dict[str, Any] | None) -> dict[str, Any] | None:
        """Find out who it is, then decide.

        None when name and password do not fit; HTTPError with one sentence otherwise.
        """
        given = data or {}
        arrival = given.get(ARRIVAL)
        launch = given.get(LAUNCH)
        if not isinstance(arrival, Arrival):
            arrival, launch = await self._by_form(handler, given), None
        if arrival is None:
            return None
        address = address_of(handler)
        launched = launch if isinstance(launch, Launch) else None
        try:
            name, verdict = await self.enter(arrival)
        except RefusedError as refused:
            self._tell_refused(arrival, refused, address, launched)
            raise
        self._tell_succeeded(name, arrival, verdict, address, launched)
        _say_somebody(handler)
        return {"name": name, "admin": False, "groups": groups_of(verdict)}

    async def enter(self, arrival: Arrival) -> tuple[str, Verdict]:
        """The user name and the verdict of somebody who has proved who they are. RefusedError (403) with the reason."""
        await self.prepare()
        name = self.identities.linked_to(arrival.identity) or self.own_name(arrival)
        if not name:
            raise RefusedError("", str(Reason.INVALID_NAME))
        verdict = self._decided(name, arrival)
        if not verdict.allowed or verdict.role is None:
            self.log.warning("Refused %r: %s", name[:64], verdict.reason)
            raise RefusedError(name, str(verdict.reason))
        try:
            offered = [method.name for method in self.methods]
            if not self.identities.knows(arrival, name):
                name = await asyncio.to_thread(self.identities.enter, arrival, name, offered)
        except NameTakenError:
            self.log.warning("Refused %r: the name belongs to another identity", name[:64])
            raise RefusedError(name, NAME_TAKEN) from None
        return name, verdict

    def _tell_refused(self, arrival: Arrival, refused: RefusedError, address: str, launch: Launch | None) -> None:
        make = audit.login_refused if launch is None else audit.launch_refused
        self.record(
            make(refused.name, method=arrival.identity.registration, reason=str(refused.log_message), address=address)
        )

    def _tell_succeeded(
        self, name: str, arrival: Arrival, verdict: Verdict, address: str, launch: Launch | None
    ) -> None:
        known = {"method": arrival.identity.registration, "role": str(verdict.role), "reason": str(verdict.reason)}
        if launch is None:
            self.record(audit.login_succeeded(name, **known, address=address))
        else:
            self.record(audit.launch_succeeded(name, **known, target=launch.target, address=address))

    async def failed(self, handler: Any, method: str, reason: str, typed: str = "") -> None:
        """Tell `audit` that somebody did not prove who they are; of what they typed only what is a name already."""
        person = ""
        try:
            await self.prepare()
            person = self._known(method, typed)
        except Exception as error:  # noqa: BLE001 - the person's own failure is what they are to see
            self.log.error("Who has come before is not known: %s", type(error).__name__)
        self.record(audit.login_failed(person, method=method, reason=reason, address=address_of(handler)))

    def _known(self, method: str, typed: str) -> str:
        """The user name that was typed, if a member is listed or somebody has come under it; else nothing.

        Some type their password there.
        """
        normal = self.normalize_username(typed)
        try:
            name = (self.name_for or _username)(Arrival(Identity(method, normal), normal)) if normal else ""
        except ValueError:
            return ""
        if not name:
            return ""
        listed = self.decide(name, None).reason == Reason.MEMBER
        return name if listed or self.identities.last_arrival(name) is not None else ""

    async def refresh_user(self, user: Any, handler: Any = None, **_: Any) -> bool | dict[str, Any]:
        """Ask again, also the provider when it can be asked without the person: False ends the login."""
        not_by_token(handler)
        await self.prepare()
        name = self.normalize_username(user.name)
        last = self.identities.last_arrival(name)
        every = [*([last] if last is not None else []), *self.identities.linked(name)]
        gone = [await self._is_gone(arrival, name) for arrival in every]
        return False if gone and all(gone) else self._still(user)

    async def _is_gone(self, arrival: Arrival, name: str) -> bool:
        """Look somebody up again where that can be done, and keep what is found; whether they are no longer there."""
        method = self._method(arrival.identity.registration)
        if not isinstance(method, RefreshingMethod):
            return False
        try:
            now = await method.look_again(arrival)
        except LoginFailedError as error:
            self.log.warning("Cannot look %r up again: %s", name, error.detail or error.sentence)
            return False
        # Who is no longer there is in no group: the hub then ends what a role by group had given.
        kept = now or replace(arrival, groups=frozenset())
        await asyncio.to_thread(self.identities.enter, kept, name, [arrival.identity.registration])
        return now is None

    # -- linking ------------------------------------------------------------------------------------------------

    async def prove(self, handler: Any, data: dict[str, Any]) -> Arrival | None:
        """Who somebody is by a form, without logging them in; None when name and password do not fit. HTTPError."""
        return await self._by_form(handler, data)

    def linkable(self) -> list[str]:
        """The ways to log in that can be linked with others: all that prove who somebody is."""
        return [method.name for method in self.methods if not isinstance(method, WorkshopMethod)]

    async def link(self, name: str, arrival: Arrival, address: str = "") -> None:
        """Let a login that somebody has just proved lead to the user `name` as well. HTTPError 403 or 409."""
        await self.prepare()
        obstacle = self._no_link(name, arrival)
        if obstacle is not None:
            raise HTTPError(409, obstacle)
        own = self.own_name(arrival)
        verdict: Verdict = self.decide(own, arrival) if own else Decision(False, None, Reason.INVALID_NAME)
        if not verdict.allowed:
            raise HTTPError(403, str(verdict.reason))
        try:
            await asyncio.to_thread(self.identities.link, arrival, name)
        except NameTakenError:
            raise HTTPError(409, LINKED_ALREADY) from None
        self.log.info("%r has linked %s with %s", name, own, arrival.identity.registration)
        self.record(audit.logins_linked(name, method=arrival.identity.registration, address=address))

    def _no_link(self, name: str, arrival: Arrival) -> str | None:
        """Why a login cannot be linked with that of `name`, as a sentence."""
        last, allowed = self.identities.last_arrival(name), self.linkable()
        way = arrival.identity.registration
        if last is not None and self.identities.linked_to(last.identity) is not None:
            return LINKED_ALREADY
        if last is None or last.identity.registration not in allowed or way not in allowed:
            return NOT_LINKABLE
        if way in {last.identity.registration, *(each.identity.registration for each in self.identities.linked(name))}:
            return ONE_OF_EACH
        own = self.identities.own_name_of(arrival.identity)
        if self.identities.linked_to(arrival.identity) or (own is not None and self.identities.linked(own)):
            return LINKED_ALREADY
        return None

    async def unlink(self, name: str, way: str, address: str = "") -> bool:
        """Let a login lead to a user of its own again; whether it was linked."""
        await self.prepare()
        done: bool = await asyncio.to_thread(self.identities.unlink, name, way)
        if done:
            self.log.info("%r has unlinked %s", name, way)
            self.record(audit.logins_unlinked(name, method=way, address=address))
        return done

    def delete_user(self, user: Any) -> None:
        """JupyterHub deletes a user: the name is free for another identity."""
        self.identities.open()
        self.identities.forget(self.normalize_username(user.name))

    async def _by_form(self, handler: Any, data: dict[str, Any]) -> Arrival | None:
        forms = [method for method in self.methods if isinstance(method, FormMethod)]
        chosen = data.get(METHOD) or (forms[0].name if forms else "")
        method = next((form for form in forms if form.name == chosen), None)
        if method is None:
            raise HTTPError(403, NO_SUCH_METHOD)
        username, password = str(data.get("username", "")), str(data.get("password", ""))
        account = f"{method.name}:{self.normalize_username(username)}"
        address = address_of(handler)
        begin = monotonic()
        seconds = self.throttle.wait(account, address)
        if seconds > 0:
            self.log.warning("Too many failed logins of %r from %s", username[:64], address)
            await self.failed(handler, method.name, WAIT, username)
            refused = HTTPError(429, WAIT)
            refused.headers = {"Retry-After": str(ceil(seconds))}  # type: ignore[attr-defined]  # JupyterHub sends them
            raise refused
        self.throttle.failed(account, address)
        try:
            arrival = await method.check(username, password)
        except LoginFailedError as error:
            self.throttle.forgive(account, address)
            self.log.error("Login by %s failed: %s", method.name, error.detail or error.sentence)
            await self.failed(handler, method.name, error.sentence, username)
            raise HTTPError(error.status, error.sentence) from None
        if arrival is None:
            self.log.warning("Wrong name or password for %r", username[:64])
            await self.failed(handler, method.name, WRONG, username)
            await asyncio.sleep(self.slow_failure - (monotonic() - begin))
            return None
        self.throttle.succeeded(account, address)
        return arrival

    def _method(self, name: str) -> Any:
        return next((method for method in self.methods if method.name == name), None)
