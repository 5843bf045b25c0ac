"""Events in words, in every language of the pages. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from coursewareauthenticator import methods
from coursewarehub.i18n import N_
from coursewarehub.model.access import Reason
from coursewarehub.state.audit import Entry

Gettext = Callable[[str], str]
Named = Callable[[str], str]

KINDS: Final[Mapping[str, str]] = {
    "login": N_("Sign-ins"),
    "launch": N_("From a learning platform"),
    "member": N_("Members and roles"),
    "server": N_("Notebooks of others"),
    "token": N_("Access tokens"),
    "course": N_("The course"),
    "audit": N_("This log"),
}
"""What each kind of event is called; the order is that of the page's choice."""

WORDS: Final[Mapping[str, str]] = {
    "owner": N_("owner"),
    "instructor": N_("instructor"),
    "assistant": N_("assistant"),
    "student": N_("student"),
    "observer": N_("observer"),
    "draft": N_("not published"),
    "open": N_("open"),
    "closed": N_("closed"),
    "archived": N_("archived"),
}
"""Roles, and states of the course."""

_SENTENCES: Final[Mapping[tuple[str, str], str]] = {
    ("login", "succeeded"): N_("%(person)s signed in as %(role)s"),
    ("login", "refused"): N_("%(person)s was refused: %(reason)s"),
    ("login", "failed"): N_("%(person)s could not sign in: %(reason)s"),
    ("launch", "succeeded"): N_("%(person)s came from the learning platform as %(role)s"),
    ("launch", "refused"): N_("%(person)s came from the learning platform and was refused: %(reason)s"),
    ("member", "role-changed"): N_("%(person)s has another role: %(role)s, before %(was)s"),
    ("member", "removed"): N_("%(person)s is no longer a member: login, tokens and notebook have ended"),
    ("member", "deleted"): N_("%(actor)s deleted the account of %(person)s"),
    ("member", "linked"): N_("%(person)s linked another login with theirs"),
    ("member", "unlinked"): N_("%(person)s ended the link with another login"),
    ("server", "start"): N_("%(actor)s had the notebook of %(person)s started"),
    ("server", "stop"): N_("%(actor)s had the notebook of %(person)s stopped"),
    ("token", "created"): N_("%(actor)s made an access token for %(person)s"),
    ("token", "revoked"): N_("%(actor)s revoked an access token of %(person)s"),
    ("course", "state-changed"): N_("The state of the course changed: %(state)s, before %(was)s"),
    ("audit", "lost"): N_("Events are missing here, because they could not be kept: %(count)s"),
}
_OF_THEIR_OWN: Final[Mapping[tuple[str, str], str]] = {
    ("token", "created"): N_("%(person)s made an access token"),
    ("token", "revoked"): N_("%(person)s revoked an access token"),
}
_SOMEBODY: Final = N_("Somebody")
_SERVICE: Final = N_("The service %(name)s")
_TOLD: Final = N_("was told “%(sentence)s”")
_UNKNOWN: Final = N_("An event that this version does not know: %(name)s")

REASONS: Final[Mapping[str, str]] = {
    Reason.INVALID_NAME: N_("has no name that the course can use"),
    Reason.NOT_A_MEMBER: N_("is not a member of the course"),
    Reason.NO_ROLE: N_("the learning platform does not say what they are in the course"),
    Reason.NO_ACCOUNT: N_("their account in the course has ended"),
    Reason.LINKED: N_("their login was linked with another account of theirs"),
    Reason.OTHERWISE: N_("the course no longer lets people in that way"),
    Reason.DRAFT: N_("the course is not published yet"),
    Reason.CLOSED: N_("the course is closed"),
    Reason.ARCHIVED: N_("the course is archived"),
    Reason.NOT_OPEN_YET: N_("the course has not started yet"),
    Reason.OVER: N_("the course is over"),
    methods.WRONG: N_("wrong name or password"),
    methods.WAIT: N_("too many attempts"),
    methods.NAME_TAKEN: N_("the name belongs to another account"),
    methods.SLOW_SERVICE: N_("the sign-in service did not answer in time"),
    methods.BROKEN_SERVICE: N_("the sign-in service cannot be reached or does not work"),
    methods.UNFINISHED: N_("the sign-in was not finished, or was started in another window"),
    methods.REFUSED: N_("the sign-in service refused, or the sign-in was broken off"),
    methods.NO_NAME: N_("the sign-in service has no name that the course can use"),
    methods.UNVERIFIED: N_("the e-mail address is not verified at the sign-in service"),
    methods.OTHER_INSTITUTION: N_("the account is of another institution"),
    methods.SLOW_DIRECTORY: N_("the directory did not answer in time"),
    methods.UNREACHABLE_DIRECTORY: N_("the directory cannot be reached"),
    methods.UNTRUSTED_DIRECTORY: N_("the connection to the directory cannot be trusted"),
    methods.BROKEN_DIRECTORY: N_("the directory refuses to answer questions"),
    methods.BUSY: N_("too many people were signing in"),
}
"""What was told to somebody, said about them."""


def sentence(entry: Entry, gettext: Gettext = str, named: Named = str) -> str:
    """One event in words, without a full stop. `named` dresses the names of people and services, as for HTML.

    With a `named` that returns `markupsafe.Markup` the result is HTML, and everything else in it is escaped.
    """
    key = (entry.kind, entry.action)
    own = entry.actor == entry.person and entry.data.get("by") != "service"
    message = (_OF_THEIR_OWN.get(key) if own else None) or _SENTENCES.get(key)
    if message is None:
        return _filled(gettext(_UNKNOWN), named, {"name": f"{entry.kind} {entry.action}"})
    values = {
        "person": named(entry.person) if entry.person else gettext(_SOMEBODY),
        "actor": _actor(entry, gettext, named),
        "role": _word(entry.data.get("role"), gettext),
        "was": _word(entry.data.get("was"), gettext),
        "state": _word(entry.data.get("state"), gettext),
        "reason": _reason(str(entry.data.get("reason", "")), gettext),
        "count": entry.data.get("count", 1),
    }
    return _filled(gettext(message), named, values)


def _filled(message: str, named: Named, values: Mapping[str, Any]) -> str:
    """`message` with its values; as HTML when names are."""
    kind = type(named(""))
    return kind(message) % values


def _actor(entry: Entry, gettext: Gettext, named: Named) -> str:
    if not entry.actor:
        return gettext(_SOMEBODY)
    if entry.data.get("by") == "service":
        return _filled(gettext(_SERVICE), named, {"name": named(entry.actor)})
    return named(entry.actor)


def _word(value: Any, gettext: Gettext) -> str:
    known = WORDS.get(str(value))
    return gettext(known) if known else str(value or "")


def _reason(told: str, gettext: Gettext) -> str:
    known = REASONS.get(told)
    return gettext(known) if known else gettext(_TOLD) % {"sentence": gettext(told) if told else ""}
