"""Ends what people hold who are no longer members: cookies, tokens and running servers.

JupyterHub asks its authenticator again when somebody does something; a learner's server asks nobody for minutes, and a
kernel that computes never. So the hub looks at everybody by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, Final, Protocol

from jupyterhub import orm
from jupyterhub.utils import new_token

from coursewareauthenticator.base import groups_of, role_of
from coursewarehub.wire.audit import Event, member_removed, role_changed

EVERY_SECONDS: Final = 20.0


class Decider(Protocol):
    """An authenticator that can say of a user name what may be (`CoursewareAuthenticator`)."""

    async def look_at_everybody(self) -> Collection[str]:
        """Have at hand what `verdict` needs; user names under which everything must end that is held."""

    async def all_ended(self, names: Collection[str]) -> None:
        """What was held under these user names has ended."""

    def verdict(self, name: str) -> Any:
        """The decision: `allowed`, `role`, `reason`."""

    def record(self, event: Event) -> None:
        """Tell the audit."""


async def end_memberships(app: Any, decider: Decider) -> list[str]:
    """Give everybody the groups of their role; end what is held by those who have none. Returns their names.

    Somebody who has a role but may not enter now (a course that is over) keeps what runs: only logins end.
    """
    removed = []
    to_end = await decider.look_at_everybody()
    await decider.all_ended([name for name in to_end if await end_everything(app, name)])
    for row in app.db.query(orm.User).all():
        verdict = decider.verdict(row.name)
        if verdict.role is None:
            was = role_of(row) or ""
            if await _end(app, row):
                decider.record(member_removed(row.name, was=was, reason=str(verdict.reason)))
                removed.append(row.name)
        elif verdict.allowed and {group.name for group in row.groups} != set(groups_of(verdict)) and row.groups:
            was = role_of(row) or ""
            app.users[row.id].sync_groups(groups_of(verdict))
            if was and was != verdict.role:
                decider.record(role_changed(row.name, was=was, role=str(verdict.role), reason=str(verdict.reason)))
        await asyncio.sleep(0)
    return removed


async def end_everything(app: Any, name: str) -> bool:
    """End what somebody holds who may come again: cookies, tokens, running servers.

    Whether that is all: a server that is just starting or stopping is left for the next time.
    """
    row = orm.User.find(app.db, name)
    if row is None:
        return True
    await _end(app, row, "has to log in again")
    return all(spawner.pending is None for spawner in app.users[row.id].spawners.values())


async def _end(app: Any, row: orm.User, why: str = "is no longer a member") -> bool:
    """End what a removed member holds; whether there was anything."""
    user = app.users[row.id]
    running = [name for name, spawner in user.spawners.items() if spawner.active and spawner.pending is None]
    if not running and not row.api_tokens and not row.groups:
        return False
    app.log.warning("%r %s: ending the login and %d server(s)", row.name, why, len(running))
    for token in list(row.api_tokens):
        app.db.delete(token)
    row.cookie_id = new_token()
    app.db.commit()
    user.sync_groups([])
    for name in running:
        await app.proxy.delete_user(user, name)
        await user.stop(name)
    return True
