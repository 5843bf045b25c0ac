"""The page of a person's logins: which lead to their account, linking another one, and ending a link.

All of it is forms of one request each, so it works without JavaScript.
"""

from __future__ import annotations

from typing import Any, Final

from jupyterhub.handlers.base import BaseHandler
from tornado.web import HTTPError, authenticated

from coursewareauthenticator import linking
from coursewareauthenticator.base import address_of, groups_of
from coursewareauthenticator.login import CoursewareLogin
from coursewareauthenticator.methods import WRONG
from coursewarehub.hub.removal import end_everything
from coursewarehub.i18n import N_
from coursewarehub.model.access import Arrival

LINKED: Final = N_("Both logins lead to your account now.")
UNLINKED: Final = N_("That login leads to an account of its own again.")
NOTHING: Final = N_("Nothing was linked.")
NOT_THERE: Final = N_("There is no such login to link: choose one of the list.")
TOO_LATE: Final = N_("That took too long, or it was begun in another window: choose the login once more.")


def linking_handlers() -> list[tuple[str, type[Any]]]:
    """Paths below the hub's, and handlers."""
    return [(f"/{linking.PAGE}", LoginsPage)]


class LoginsPage(BaseHandler):
    """`hub/logins`."""

    also_by_get = True
    """The language switch of a form's answer leads to the list."""

    def set_default_headers(self) -> None:
        """JupyterHub's, and that the page is kept nowhere."""
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")

    def get_content_type(self) -> str:
        """JupyterHub's, with the encoding: names may be in any script."""
        return "text/html; charset=utf-8"

    @property
    def login(self) -> CoursewareLogin:
        """The course's login. HTTPError 404 where it is another authenticator's."""
        found = self.settings["authenticator"]
        if not isinstance(found, CoursewareLogin):
            raise HTTPError(404)
        return found

    @authenticated
    async def get(self) -> None:
        """The list, or the question whether to link what was just proved."""
        await self.login.prepare()
        await self._show()

    @authenticated
    async def post(self) -> None:
        """One step."""
        await self.login.prepare()
        steps = {
            "begin": self._begin,
            "prove": self._prove,
            "link": self._link,
            "forget": self._forget,
            "unlink": self._unlink,
        }
        step = steps.get(self.get_body_argument("action", ""))
        if step is None:
            await self._show(wrong=NOT_THERE, status=400)
        else:
            await step()

    async def _begin(self) -> None:
        """Another login was chosen: to its form, to its provider, or to the learning platform."""
        way = self.get_body_argument("way", "")
        if way not in linking.choices(self.login, self.current_user.name)[2]:
            await self._show(wrong=NOT_THERE, status=400)
            return
        linking.begin(self, way)
        if self._kind(way) == "button":
            self.redirect(f"{self.hub.base_url}login/{way}?next={self.hub.base_url}{linking.PAGE}", status=303)
        else:
            await self._show(asked=way)

    async def _prove(self) -> None:
        """Name and password of the other login."""
        way = linking.wanted(self)
        if way is None:
            await self._show(wrong=TOO_LATE, status=409)
            return
        typed = {name: self.get_body_argument(name, "", strip=False) for name in ("username", "password")}
        try:
            arrival = await self.login.prove(self, {**typed, "method": way})
        except HTTPError as error:
            await self._show(asked=way, wrong=str(error.log_message), status=error.status_code)
            return
        if arrival is None:
            await self._show(asked=way, wrong=WRONG, status=403)
            return
        linking.keep(self, arrival)
        await self._show(proved=arrival)

    async def _link(self) -> None:
        """The second yes."""
        arrival = linking.proved(self)
        linking.forget(self)
        if arrival is None:
            await self._show(wrong=TOO_LATE, status=409)
            return
        user, before = self.current_user, self.login.identities.own_name_of(arrival.identity)
        try:
            await self.login.link(user.name, arrival, address_of(self))
        except HTTPError as error:
            await self._show(wrong=str(error.log_message), status=error.status_code)
            return
        self._take_over_groups()
        if before is not None and before != user.name:
            # Nobody comes under that name any more; what is kept under it stays.
            await end_everything(self.app, before)
        await self._show(done=LINKED)

    async def _forget(self) -> None:
        """No."""
        linking.forget(self)
        await self._show(done=NOTHING)

    async def _unlink(self) -> None:
        done = await self.login.unlink(self.current_user.name, self.get_body_argument("way", ""), address_of(self))
        self._take_over_groups()
        if done:
            await self._show(done=UNLINKED)
        else:
            await self._show(wrong=NOT_THERE, status=400)

    def _take_over_groups(self) -> None:
        """What somebody may do has changed with their logins; where nothing is left, the next request ends it."""
        verdict = self.login.verdict(self.current_user.name)
        if verdict.role is not None:
            self.current_user.sync_groups(groups_of(verdict))

    def _kind(self, way: str) -> str:
        logins = self.settings["template_vars"]["course"]["logins"]
        return str(next((each["kind"] for each in logins if each["name"] == way), ""))

    async def _show(
        self,
        *,
        asked: str | None = None,
        proved: Arrival | None = None,
        done: str | None = None,
        wrong: str | None = None,
        status: int = 200,
    ) -> None:
        self.set_status(status)
        if proved is None and asked is None and done is None and wrong is None:
            proved = linking.proved(self)
        first, linked, free = linking.choices(self.login, self.current_user.name)
        before = self.login.identities.own_name_of(proved.identity) if proved is not None else None
        self.finish(
            await self.render_template(
                "logins.html",
                xsrf=self.xsrf_token.decode("ascii"),
                page=linking.PAGE,
                first=first,
                linked=linked,
                free=free,
                asked=asked,
                proved=proved,
                before=before if before != self.current_user.name else None,
                done=done,
                wrong=wrong,
            )
        )
