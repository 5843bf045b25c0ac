"""What happened to whom in a course: the events of the audit, one function for each.

The schemas are JSON Schemas in `events/`, in the conventions of jupyter_events; a hub adds `course`. Nothing here takes
a password, a token or a cookie. What people typed goes through `clean`, so an event is one line of at most 1 KB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from unicodedata import category

PREFIX: Final = "https://schema.coursewarehub.org/events/"
"""How the ids of our schemas begin."""

SCHEMAS: Final = Path(__file__).with_name("events")
"""The folder of the schemas: `<name>/v1.yaml`."""

READ_AUDIT: Final = "custom:audit:read"
"""JupyterHub's name for the right to read the audit of a course."""

LONGEST_NAME: Final = 64
_LONGEST_METHOD: Final = 32
_LONGEST_PLACE: Final = 120
_LONGEST_REASON: Final = 200
_UNSEEN: Final = "\N{REPLACEMENT CHARACTER}"

Value = str | int
By = Literal["person", "service"]


@dataclass(frozen=True)
class Event:
    """One thing that happened: the name of its schema, and its data as the schema says (without `course`)."""

    schema: str
    data: Mapping[str, Value] = field(default_factory=dict)

    @property
    def schema_id(self) -> str:
        """The id under which jupyter_events knows the schema."""
        return f"{PREFIX}{self.schema}"

    @property
    def action(self) -> str:
        """What was done."""
        return str(self.data["action"])

    @property
    def is_failure(self) -> bool:
        """Whether somebody did not get in. Of these an outsider can make as many as they like."""
        return self.schema in {"login", "launch"} and self.action != "succeeded"


def clean(text: object, most: int) -> str:
    """Return at most `most` characters on one line: what cannot be seen, breaks lines or turns text round is replaced.

    That is every character of the Unicode categories C* (controls, ANSI's escape, bidirectional marks, surrogates,
    what is not assigned), Zl and Zp.
    """
    head = str(text)[: most + 1]
    seen = "".join(_UNSEEN if category(char)[0] == "C" or category(char) in {"Zl", "Zp"} else char for char in head)
    return seen if len(seen) <= most else f"{seen[: most - 1]}…"


def _event(schema: str, action: str, **values: str | int | None) -> Event:
    """An event without what is not known."""
    known = {key: value for key, value in values.items() if value not in (None, "")}
    return Event(schema, {"action": action, **known})


def _name(text: str) -> str:
    return clean(text, LONGEST_NAME)


def _short(text: str, most: int) -> str:
    """The same in at most so many bytes: what is no name is plain text of ours, unless somebody means harm."""
    return clean(text, most).encode("utf-8")[:most].decode("utf-8", "ignore")


def login_succeeded(person: str, *, method: str, role: str, reason: str = "", address: str = "") -> Event:
    """Somebody logged in by `method` and is `role`; `reason` says why they may (`model.access.Reason`)."""
    return _event(
        "login",
        "succeeded",
        person=_name(person),
        method=_short(method, _LONGEST_METHOD),
        role=role,
        reason=_short(reason, _LONGEST_REASON),
        address=address,
    )


def login_refused(person: str, *, method: str, reason: str, address: str = "") -> Event:
    """Somebody proved who they are and may not enter; `reason` is the sentence that they were told."""
    return _event(
        "login",
        "refused",
        person=_name(person),
        method=_short(method, _LONGEST_METHOD),
        reason=_short(reason, _LONGEST_REASON),
        address=address,
    )


def login_failed(person: str, *, method: str, reason: str, address: str = "") -> Event:
    """Somebody did not prove who they are. `person` must be a name of the course or empty.

    People type their password where the name belongs: what was typed may only be told when it is known to be a name.
    """
    return _event(
        "login",
        "failed",
        person=_name(person),
        method=_short(method, _LONGEST_METHOD),
        reason=_short(reason, _LONGEST_REASON),
        address=address,
    )


def launch_succeeded(
    person: str, *, method: str, role: str, target: str = "", reason: str = "", address: str = ""
) -> Event:
    """Somebody came by a launch of the platform `method` (its registration) and goes to `target`, a path."""
    return _event(
        "launch",
        "succeeded",
        person=_name(person),
        method=_short(method, _LONGEST_METHOD),
        role=role,
        target=_short(target, _LONGEST_PLACE),
        reason=_short(reason, _LONGEST_REASON),
        address=address,
    )


def launch_refused(person: str, *, method: str, reason: str, address: str = "") -> Event:
    """A launch was refused. `person` is empty before its signature is known to be right."""
    return _event(
        "launch",
        "refused",
        person=_name(person),
        method=_short(method, _LONGEST_METHOD),
        reason=_short(reason, _LONGEST_REASON),
        address=address,
    )


def role_changed(person: str, *, was: str, role: str, reason: str = "") -> Event:
    """A member has another role from now on."""
    return _event(
        "member", "role-changed", person=_name(person), was=was, role=role, reason=_short(reason, _LONGEST_REASON)
    )


def member_removed(person: str, *, was: str = "", reason: str = "") -> Event:
    """Somebody is no longer a member: login, tokens and servers have ended."""
    return _event("member", "removed", person=_name(person), was=was, reason=_short(reason, _LONGEST_REASON))


def member_deleted(person: str, *, actor: str, by: By) -> Event:
    """Somebody deleted the account of a person in the hub."""
    return _event("member", "deleted", person=_name(person), actor=_name(actor), by=by)


def logins_linked(person: str, *, method: str, address: str = "") -> Event:
    """A person has linked another login with theirs: by `method` they are the same user from now on."""
    return _event("member", "linked", person=_name(person), method=_short(method, _LONGEST_METHOD), address=address)


def logins_unlinked(person: str, *, method: str, address: str = "") -> Event:
    """A person has ended the link of a login with theirs."""
    return _event("member", "unlinked", person=_name(person), method=_short(method, _LONGEST_METHOD), address=address)


def server_started(person: str, *, server: str = "", actor: str, by: By) -> Event:
    """Somebody else had the server of a person started."""
    return _event(
        "server", "start", person=_name(person), server=_short(server, LONGEST_NAME), actor=_name(actor), by=by
    )


def server_stopped(person: str, *, server: str = "", actor: str, by: By) -> Event:
    """Somebody else had the server of a person stopped."""
    return _event(
        "server", "stop", person=_name(person), server=_short(server, LONGEST_NAME), actor=_name(actor), by=by
    )


def token_created(person: str, *, actor: str, by: By) -> Event:
    """Staff, or somebody else than its owner, made an access token for a person."""
    return _event("token", "created", person=_name(person), actor=_name(actor), by=by)


def token_revoked(person: str, *, actor: str, by: By) -> Event:
    """Staff, or somebody else than its owner, revoked an access token of a person."""
    return _event("token", "revoked", person=_name(person), actor=_name(actor), by=by)


def course_changed(*, was: str, state: str) -> Event:
    """The course file says another `state` than before."""
    return _event("course", "state-changed", was=was, state=state)


def events_lost(count: int) -> Event:
    """So many events could not be kept, because the database did not answer for long."""
    return _event("audit", "lost", count=count)
