"""The workshop login: one password for the whole course.

For demos and workshops. Whoever knows the password can enter under any listed name, an instructor's included,
so production sites refuse it unless the course says `workshop: true`.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any, Final

from pydantic import SecretStr
from tornado.web import HTTPError
from traitlets import Unicode

from coursewareauthenticator.base import CoursewareAuthenticator, address_of
from coursewareauthenticator.methods import WRONG
from coursewarehub.model.access import Arrival, Identity
from coursewarehub.model.names import normalise_name
from coursewarehub.wire.audit import login_failed, login_refused, login_succeeded

NAME: Final = "dummy"


def _fits(given: str, password: str) -> bool:
    """Compare in constant time; nothing fits an empty password."""
    return bool(password) and hmac.compare_digest(given.encode(), password.encode())


@dataclass(frozen=True)
class WorkshopMethod:
    """The shared password, alone or beside other ways to log in; people are who they say they are."""

    password: SecretStr
    name: str = NAME

    async def check(self, username: str, password: str) -> Arrival | None:
        """Who they say they are, if the password fits."""
        if not _fits(password, self.password.get_secret_value()):
            return None
        return Arrival(Identity(NAME, normalise_name(username)), username)


class CoursewareDummyAuthenticator(CoursewareAuthenticator):
    """One shared password; who may enter as what is up to `decide`. For a JupyterHub with this method alone."""

    password = Unicode(help="The course's password. Nobody can log in while it is empty.").tag(config=True)

    async def authenticate(self, handler: Any, data: dict[str, str]) -> dict[str, Any] | None:
        """Compare, then decide."""
        address = address_of(handler)
        if not _fits(data.get("password", ""), self.password):
            self.log.warning("Wrong password for %r", data.get("username", "")[:64])
            self.record(login_failed("", method=NAME, reason=WRONG, address=address))
            return None
        name = self.normalize_username(data.get("username", ""))
        verdict = self.verdict(name)
        try:
            model = self.admit(name)
        except HTTPError:
            self.record(login_refused(name, method=NAME, reason=str(verdict.reason), address=address))
            raise
        self.record(login_succeeded(name, method=NAME, role=model["groups"][0], address=address))
        return model
