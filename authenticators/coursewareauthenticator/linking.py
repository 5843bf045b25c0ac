"""Linking of two logins by explicit consent: what a browser carries from the first to the second and to the last page.

    signed in by one ──► "link another login" (`begin`) ──► the other login proves who comes (`take`)
        ──► asked once more (`proved`) ──► `CoursewareLogin.link`

Both steps are cookies of the hub's, signed, for a quarter of an hour, and bound to the user who is signed in. So
nothing is linked that was not asked for in this browser, by whoever the account belongs to, and never by an address of
mail or a name that is the same.
"""

from __future__ import annotations

import json
from typing import Any, Final

from coursewareauthenticator.login import CoursewareLogin
from coursewarehub.model.access import Arrival, Identity

PAGE: Final = "logins"
"""The page of a person's logins, below the hub's prefix."""
_WANTED: Final = "courseware-link-wanted"
_PROVED: Final = "courseware-link-proved"
_DAYS: Final = 15 / (24 * 60)


def begin(handler: Any, way: str) -> None:
    """The signed-in user wants to link a login by `way`."""
    _keep(handler, _WANTED, [handler.current_user.name, way])


def wanted(handler: Any) -> str | None:
    """The way to log in that the signed-in user wants to link, if there is one."""
    user, found = handler.current_user, _kept(handler, _WANTED)
    return str(found[1]) if user is not None and len(found) == 2 and found[0] == user.name else None


def take(handler: Any, arrival: Arrival) -> bool:
    """Lead somebody who has just proved a login on to the last page, if that is what they wanted to link.

    False, and nothing done, when nobody is signed in or asked for it: then the login is one like any other.
    """
    if wanted(handler) != arrival.identity.registration:
        return False
    keep(handler, arrival)
    handler.redirect(f"{handler.hub.base_url}{PAGE}", status=303)
    return True


def keep(handler: Any, arrival: Arrival) -> None:
    """Remember what was proved until the last page."""
    identity = arrival.identity
    said = [identity.registration, identity.subject, arrival.username, sorted(arrival.groups)]
    _keep(handler, _PROVED, [handler.current_user.name, *said])
    handler.clear_cookie(_WANTED, path=handler.hub.base_url)


def proved(handler: Any) -> Arrival | None:
    """What the signed-in user has proved and not confirmed yet."""
    user, found = handler.current_user, _kept(handler, _PROVED)
    if user is None or len(found) != 5 or found[0] != user.name:
        return None
    _, registration, subject, username, groups = found
    return Arrival(Identity(registration, subject), username, frozenset(groups))


def forget(handler: Any) -> None:
    """Nothing is under way any more."""
    for name in (_WANTED, _PROVED):
        handler.clear_cookie(name, path=handler.hub.base_url)


def choices(login: CoursewareLogin, name: str) -> tuple[str | None, tuple[str, ...], tuple[str, ...]]:
    """The way by which somebody has their account, the ways that are linked with it, and those that could be."""
    last = login.identities.last_arrival(name)
    first = last.identity.registration if last is not None else None
    linked = tuple(arrival.identity.registration for arrival in login.identities.linked(name))
    able = login.linkable()
    free = tuple(way for way in able if way not in {first, *linked}) if first in able else ()
    return first, linked, free


def _keep(handler: Any, name: str, value: list[Any]) -> None:
    text = json.dumps(value, ensure_ascii=True)
    handler._set_cookie(name, text, expires_days=_DAYS, path=handler.hub.base_url, samesite="Lax")


def _kept(handler: Any, name: str) -> list[Any]:
    raw = handler.get_secure_cookie(name, max_age_days=_DAYS)
    found = json.loads(raw) if raw else []
    return found if isinstance(found, list) else []
