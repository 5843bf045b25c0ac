"""One login for a course, whatever its methods.

form or button ──► Arrival (registration, subject, username, groups)
                        │  IdentityBook: the name this identity has in the course
                        ▼
                   decide (pure) ──► JupyterHub's authentication model, with the role as a group
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Any, Final

from jupyterhub.handlers.login import LoginHandler
from tornado.web import HTTPError
from traitlets import Any as AnyTrait
from traitlets import Float, List

from coursewareauthenticator.base import CoursewareAuthenticator, Verdict
from coursewareauthenticator.identities import IdentityBook, NameTakenError
from coursewareauthenticator.methods import (
    NAME_TAKEN,
    NO_SUCH_METHOD,
    WAIT,
    ButtonMethod,
    FormMethod,
    LoginFailedError,
    RefreshingMethod,
)
from coursewareauthenticator.throttle import Throttle
from coursewarehub.model.access import Arrival, Reason

ARRIVAL: Final = "arrival"
"""The key under which a button's handler hands over who has come; a form can only send text under it."""

METHOD: Final = "method"
"""The field of the form that says which of several methods is meant."""


def _username(arrival: Arrival) -> str:
    return arrival.username


class LoginPage(LoginHandler):
    """JupyterHub's login page; after a failure the method that was chosen is still the one."""

    def _render(self, login_error: str | None = None, username: str | None = None, **values: Any) -> Any:
        return super()._render(login_error, username, chosen=self.get_argument(METHOD, ""), **values)


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

    def verdict(self, name: str) -> Verdict:
        """The decision for a user name, by how its owner last logged in."""
        normal = self.normalize_username(name)
        verdict: Verdict = self.decide(normal, self.identities.last_arrival(normal))
        return verdict

    async def authenticate(self, handler: Any, data: dict[str, Any] | None) -> dict[str, Any] | None:
        """Find out who it is, then decide.

        None when name and password do not fit; HTTPError with one sentence otherwise.
        """
        given = data or {}
        arrival = given.get(ARRIVAL)
        if not isinstance(arrival, Arrival):
            arrival = await self._by_form(handler, given)
        return None if arrival is None else await self.enter(arrival)

    async def enter(self, arrival: Arrival) -> dict[str, Any]:
        """The authentication model of somebody who has proved who they are. HTTPError 403 with the reason."""
        name_for: Callable[[Arrival], str] = self.name_for or _username
        try:
            wanted = self.normalize_username(name_for(arrival))
        except ValueError:
            wanted = ""
        await self.prepare()
        known = self.identities.name_of(arrival.identity)
        name = known or wanted
        if not name:
            raise HTTPError(403, str(Reason.INVALID_NAME))
        verdict: Verdict = self.decide(name, arrival)
        if not verdict.allowed or verdict.role is None:
            self.log.warning("Refused %r: %s", name[:64], verdict.reason)
            raise HTTPError(403, str(verdict.reason))
        try:
            offered = [method.name for method in self.methods]
            if not self.identities.knows(arrival, name):
                name = await asyncio.to_thread(self.identities.enter, arrival, name, offered)
        except NameTakenError:
            self.log.warning("Refused %r: the name belongs to another identity", name[:64])
            raise HTTPError(403, NAME_TAKEN) from None
        return {"name": name, "admin": False, "groups": [str(verdict.role)]}

    async def refresh_user(self, user: Any, *_: Any, **__: Any) -> bool | dict[str, Any]:
        """Ask again, also the provider when it can be asked without the person: False ends the login."""
        await self.prepare()
        arrival = self.identities.last_arrival(self.normalize_username(user.name))
        method = self._method(arrival.identity.registration) if arrival is not None else None
        if arrival is not None and isinstance(method, RefreshingMethod):
            try:
                now = await method.look_again(arrival)
            except LoginFailedError as error:
                self.log.warning("Cannot look %r up again: %s", user.name, error.detail or error.sentence)
                now = arrival
            # Who is no longer there is in no group: the hub then ends what a role by group had given.
            kept = now or replace(arrival, groups=frozenset())
            await asyncio.to_thread(self.identities.enter, kept, user.name, [arrival.identity.registration])
            if now is None:
                return False
        try:
            return self.admit(user.name)
        except HTTPError:
            return False

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
        address = str(handler.request.remote_ip) if handler is not None else ""
        begin = monotonic()
        if self.throttle.wait(account, address) > 0:
            self.log.warning("Too many failed logins of %r from %s", username[:64], address)
            raise HTTPError(429, WAIT)
        self.throttle.failed(account, address)
        try:
            arrival = await method.check(username, password)
        except LoginFailedError as error:
            self.throttle.forgive(account, address)
            self.log.error("Login by %s failed: %s", method.name, error.detail or error.sentence)
            raise HTTPError(error.status, error.sentence) from None
        if arrival is None:
            self.log.warning("Wrong name or password for %r", username[:64])
            await asyncio.sleep(self.slow_failure - (monotonic() - begin))
            return None
        self.throttle.succeeded(account, address)
        return arrival

    def _method(self, name: str) -> Any:
        return next((method for method in self.methods if method.name == name), None)
