"""The pages with which people set their own password: by a link that works once, and where to get one.

A link is `.../hub/password?token=SECRET`. The first request moves the secret from the address into a cookie of that
page alone, so that it stays in no history, is sent to no other site and stands in no log; only the form uses it up,
so that programs which look at links in mails do no harm.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlencode

from jupyterhub.handlers.base import BaseHandler
from tornado.web import HTTPError

from coursewareauthenticator.accounts.method import NAME
from coursewareauthenticator.accounts.people import Account
from coursewareauthenticator.accounts.rules import SHORTEST, normalise, problem
from coursewareauthenticator.accounts.sentences import Sentence, say
from coursewareauthenticator.login import DONE
from coursewareauthenticator.methods import WAIT, LoginFailedError
from coursewarehub.hub import places
from coursewarehub.hub.accounts import Desk
from coursewarehub.hub.localisation import handler_language
from coursewarehub.hub.removal import end_everything
from coursewarehub.i18n import N_

COOKIE: Final = "courseware-link"
TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
DIFFERENT: Final = N_("The two passwords are not the same.")


class AccountPage(BaseHandler):
    """A page that keeps to itself: sent to no other site, stored nowhere."""

    also_by_get = True
    """The language switch of a form's answer leads to the form."""

    desk: Desk

    def initialize(self, desk: Desk) -> None:
        """Called by tornado with what belongs to the route."""
        self.desk = desk

    def set_default_headers(self) -> None:
        """JupyterHub's, and that nothing of the page goes elsewhere."""
        super().set_default_headers()
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")

    def get_content_type(self) -> str:
        """JupyterHub's, with the encoding: what is shown here has names in any script."""
        return "text/html; charset=utf-8"

    def form_text(self, name: str) -> str:
        """A field of the form as it was typed; empty when it is not there."""
        return str(self.get_body_argument(name, "", strip=False))

    async def show(self, template: str, status: int = 200, **values: Any) -> None:
        """Answer with a page."""
        self.set_status(status)
        xsrf = self.xsrf_token.decode("ascii")
        self.finish(await self.render_template(template, xsrf=xsrf, places=places, **values))


class PasswordPage(AccountPage):
    """Sets the password of the person whom a link is for."""

    async def get(self) -> None:
        """The form; from a link, first the way to an address without its secret."""
        given = self.get_query_argument(places.TOKEN, None)
        if given is not None:
            token = given if TOKEN.fullmatch(given) else ""
            # Lax: the link is opened from a mail or another site, and the browser follows it here.
            self._set_cookie(COOKIE, token, encrypted=False, path=self._place, samesite="Lax")
            self.redirect(self._place)
            return
        await self._form(await self._account())

    async def post(self) -> None:
        """Use the link up."""
        account = await self._account()
        if account is None:
            await self._form(None)
            return
        password, again = normalise(self.form_text("password")), normalise(self.form_text("again"))
        wrong = problem(password, self.desk.about(account)) or (say(DIFFERENT) if password != again else None)
        if wrong is not None:
            await self._form(account, [wrong])
            return
        try:
            hashed = await self.desk.hasher.hash(password)
        except LoginFailedError as error:
            await self._form(account, [say(error.sentence)], status=error.status)
            return
        done = await asyncio.to_thread(self.desk.book.set_password, self._token, hashed)
        if done is None:
            await self._form(None)
            return
        await self._end_what_is_held(done)
        self.log.info("%r has set a password", done.name)
        self.clear_cookie(COOKIE, path=self._place)
        query = urlencode({"username": done.name, DONE: "password"})
        self.redirect(f"{self.settings['login_url']}?{query}")

    async def _end_what_is_held(self, account: Account) -> None:
        """Whoever knew the old password has nothing any more, and from here the new one can be used at once."""
        login = self.authenticator
        names = [
            name
            for name, arrival in login.identities.arrivals(NAME).items()
            if arrival.identity.subject == account.name
        ]
        ended = [await end_everything(self.app, name) for name in names]
        if all(ended):
            await asyncio.to_thread(self.desk.book.ended, [account.name])
        address = str(self.request.remote_ip)
        login.throttle.failed(f"{NAME}:{account.name}", address)
        login.throttle.succeeded(f"{NAME}:{account.name}", address)

    @property
    def _place(self) -> str:
        return f"{self.hub.base_url}{places.PASSWORD}"

    @property
    def _token(self) -> str:
        return str(self.get_cookie(COOKIE, "") or "")[:100]

    async def _account(self) -> Account | None:
        return await asyncio.to_thread(self.desk.book.of_link, self._token) if self._token else None

    async def _form(self, account: Account | None, wrong: Iterable[Sentence] = (), status: int = 400) -> None:
        wrong = list(wrong)
        if account is None:
            self.clear_cookie(COOKIE, path=self._place)
            await self.show("password.html", 410, person=None, mail=self.desk.mail is not None)
            return
        await self.show(
            "password.html", status if wrong else 200, person=account.person, wrong=wrong, shortest=SHORTEST,
            mail=self.desk.mail is not None,
        )  # fmt: skip


class ForgottenPage(AccountPage):
    """Where somebody gets a link who has forgotten the password. It never tells who has an account."""

    async def get(self) -> None:
        """The form, or, without mail, whom to ask."""
        await self.show("password_forgotten.html", mail=self.desk.mail is not None, sent=False)

    async def post(self) -> None:
        """Send a link, if there is somebody to send one to; the answer is the same, and as quick, if not."""
        if self.desk.mail is None:
            raise HTTPError(404)
        asked = self.form_text("person").strip()[:254]
        address = str(self.request.remote_ip)
        if self.desk.throttle.wait(asked.lower(), address) > 0:
            raise HTTPError(429, WAIT)
        self.desk.throttle.failed(asked.lower(), address)
        if asked:
            self.desk.send_link_later(asked, handler_language(self, self.desk.course.language, self.desk.site.language))
        await self.show("password_forgotten.html", mail=True, sent=bool(asked))
