"""What every login method shares: names, the access decision, roles as hub groups."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

from jupyterhub.auth import Authenticator
from tornado.web import HTTPError
from traitlets import Any as AnyTrait
from traitlets import default

from coursewarehub.model.names import valid_name
from coursewarehub.model.roles import Role
from coursewarehub.wire.audit import Event, role_changed


class Verdict(Protocol):
    """The answer of an access decision (`coursewarehub.model.access.Decision` is one)."""

    @property
    def allowed(self) -> bool:
        """Whether the person may enter."""

    @property
    def role(self) -> str | None:
        """The role in the course: owner, instructor, assistant, student or observer."""

    @property
    def reason(self) -> str:
        """One sentence for the person when refused."""


def groups_of(verdict: Verdict) -> list[str]:
    """The hub groups of somebody who has a role: the role itself, then what else the decision says."""
    return [str(verdict.role), *getattr(verdict, "groups", ())]


Decide = Callable[..., Verdict]


def not_by_token(handler: Any) -> None:
    """Say of a request by cookie that it is none by token.

    JupyterHub 6.1 asks for that when a login has ended, and had not noted it: the answer was an error of the hub's.
    """
    if handler is not None and not hasattr(handler, "_token_authenticated"):
        handler._token_authenticated = False


class CoursewareAuthenticator(Authenticator):
    """Decides who enters, and as what, by one pure function; a role is the hub group of its name.

    The decision is made at login and again whenever JupyterHub refreshes a login
    (`auth_refresh_age`), so that a changed course file reaches those who are in.
    """

    decide = AnyTrait(help="Function from a normalised user name to a verdict (allowed, role, reason).").tag(
        config=True
    )

    audit = AnyTrait(
        help="Function that is told what happened (`coursewarehub.wire.audit.Event`), or None. It must not block."
    ).tag(config=True)

    @default("manage_groups")
    def _default_manage_groups(self) -> bool:
        return True

    @default("allow_all")
    def _default_allow_all(self) -> bool:
        """Everyone whom `decide` lets in: `authenticate` has asked it before JupyterHub asks this."""
        return True

    @default("auth_refresh_age")
    def _default_auth_refresh_age(self) -> int:
        return 60

    @default("refresh_pre_spawn")
    def _default_refresh_pre_spawn(self) -> bool:
        return True

    @default("auth_refresh_strict")
    def _default_auth_refresh_strict(self) -> bool:
        """A token of somebody who may no longer enter is worth nothing either."""
        return True

    def normalize_username(self, username: str) -> str:
        """NFC, no space around, lower case: what `decide` and the hub know a person by."""
        try:
            return valid_name(username)
        except ValueError:
            return ""

    async def prepare(self) -> None:
        """Have at hand what `verdict` needs; here nothing."""

    async def look_at_everybody(self) -> Collection[str]:
        """Take over what has changed; user names under which everything must end that is held, here none."""
        await self.prepare()
        return ()

    async def all_ended(self, names: Collection[str]) -> None:
        """What was held under these user names has ended."""

    def verdict(self, name: str) -> Verdict:
        """The decision for a user name as typed or stored."""
        verdict: Verdict = self.decide(self.normalize_username(name))
        return verdict

    def record(self, event: Event) -> None:
        """Tell `audit` what happened."""
        if self.audit is not None:
            self.audit(event)

    def admit(self, name: str) -> dict[str, Any]:
        """JupyterHub's authentication model for a person who has proved to be `name`.

        HTTPError 403 with the reason, for the login page, when they may not enter.
        """
        verdict = self.verdict(name)
        if not verdict.allowed or verdict.role is None:
            self.log.warning("Refused %r: %s", name[:64], verdict.reason)
            raise HTTPError(403, str(verdict.reason))
        return {"name": self.normalize_username(name), "admin": False, "groups": groups_of(verdict)}

    async def refresh_user(self, user: Any, handler: Any = None, **_: Any) -> bool | dict[str, Any]:
        """Ask again: False ends the login, otherwise the groups as they are now."""
        not_by_token(handler)
        return self._still(user)

    def _still(self, user: Any) -> bool | dict[str, Any]:
        """What JupyterHub wants to know of a user who is in: False, or the groups as they are now."""
        verdict = self.verdict(user.name)
        if not verdict.allowed or verdict.role is None:
            return False
        was = role_of(user)
        if was is not None and was != verdict.role:
            self.record(role_changed(user.name, was=was, role=str(verdict.role), reason=str(verdict.reason)))
        return {"name": self.normalize_username(user.name), "admin": False, "groups": groups_of(verdict)}


def role_of(user: Any) -> str | None:
    """The role that a user of the hub has so far, by the groups; None without one."""
    names = [group.name for group in getattr(user, "groups", ())]
    return next((str(role) for role in Role if role in names), None)


def address_of(handler: Any) -> str:
    """Where a request came from: what the proxies in front say, as far as JupyterHub trusts them."""
    return str(handler.request.remote_ip) if handler is not None else ""
