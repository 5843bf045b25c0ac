"""What somebody does to another person in a hub, seen by the requests that were answered."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from jupyterhub import orm
from jupyterhub.apihandlers.users import (
    UserAPIHandler,
    UserServerAPIHandler,
    UserTokenAPIHandler,
    UserTokenListAPIHandler,
)

from coursewarehub.model.access import STAFF
from coursewarehub.wire import audit
from coursewarehub.wire.audit import By, Event

Make = Callable[[str, str, By, str], Event]

_TOKENS: Final = (UserTokenListAPIHandler, UserTokenAPIHandler)
_ACTIONS: Final[dict[tuple[type[Any], str], Make]] = {
    (UserServerAPIHandler, "POST"): lambda person, actor, by, server: audit.server_started(
        person, server=server, actor=actor, by=by
    ),
    (UserServerAPIHandler, "DELETE"): lambda person, actor, by, server: audit.server_stopped(
        person, server=server, actor=actor, by=by
    ),
    (UserTokenListAPIHandler, "POST"): lambda person, actor, by, _: audit.token_created(person, actor=actor, by=by),
    (UserTokenAPIHandler, "DELETE"): lambda person, actor, by, _: audit.token_revoked(person, actor=actor, by=by),
    (UserAPIHandler, "DELETE"): lambda person, actor, by, _: audit.member_deleted(person, actor=actor, by=by),
}


def action_of(handler: Any) -> Event | None:
    """The event that an answered request of JupyterHub's API is, if it is one.

    Only requests that did what they asked for, and only what was done to somebody else; of staff also tokens of their
    own.
    """
    make = next((made for (kind, method), made in _ACTIONS.items() if _is(handler, kind, method)), None)
    if make is None or not 200 <= handler.get_status() < 300:
        return None
    person, server = (*handler.path_args, "")[:2]
    actor = getattr(handler, "_jupyterhub_user", None)
    if actor is None:
        return None
    by: By = "service" if isinstance(actor, orm.Service) else "person"
    own = by == "person" and actor.name == person
    if own and not (isinstance(handler, _TOKENS) and _is_staff(group.name for group in actor.groups)):
        return None
    return make(str(person), str(actor.name), by, str(server) if isinstance(handler, UserServerAPIHandler) else "")


def _is(handler: Any, kind: type[Any], method: str) -> bool:
    return handler.request.method == method and isinstance(handler, kind)


def _is_staff(groups: Any) -> bool:
    names: Collection[str] = {str(role) for role in STAFF}
    return any(group in names for group in groups)
