"""What an import would change: a pure function of the roster, the accounts there are, and the course's own list.

The list in the course's file wins over the role of an account; an import says so and changes nothing about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from coursewareauthenticator.accounts.people import Account, Person, State
from coursewareauthenticator.accounts.roster import Entry, Mistake
from coursewareauthenticator.accounts.sentences import Sentence, say
from coursewareauthenticator.accounts.store import Write
from coursewarehub.i18n import N_
from coursewarehub.model.roles import Role

FILE_WINS: Final = N_("%(name)s is %(listed)s by the list in the course’s file, which wins over %(role)s.")
STAYS_DISABLED: Final = N_("%(name)s is disabled and stays so. Invite them to let them in again.")
NOT_IN_FILE: Final = N_("Accounts that are not in this file: %(count)s. They stay as they are.")
ABOVE: Final = N_("You may not invite or change %(name)s, whose role would be or is %(role)s: ask an owner.")

Listed = Callable[[str], Role | None]
"""The role of an account's name by the course's file, if it is there."""


@dataclass(frozen=True)
class Change:
    """Somebody who is described anew."""

    before: Person
    after: Person


@dataclass(frozen=True)
class Plan:
    """What would be done; with a mistake, nothing would be."""

    add: tuple[Person, ...] = ()
    change: tuple[Change, ...] = ()
    same: int = 0
    notes: tuple[Sentence, ...] = ()
    mistakes: tuple[Mistake, ...] = ()

    @property
    def write(self) -> Write | None:
        """What to write, None when there is a mistake."""
        if self.mistakes:
            return None
        return Write(self.add, [change.after for change in self.change])


def may_manage(actor: Role | None, *roles: Role | None) -> bool:
    """Whether `actor` may invite, change or reset somebody who is or becomes one of `roles`.

    Owners may manage everybody, instructors those below them. None is the site's operator, who may do everything.
    """
    if actor is None or actor is Role.OWNER:
        return True
    ranks = list(Role)
    return actor is Role.INSTRUCTOR and all(role is None or ranks.index(role) > ranks.index(actor) for role in roles)


def plan_import(entries: Sequence[Entry], accounts: Iterable[Account], listed: Listed, actor: Role | None) -> Plan:
    """Compare a roster with the accounts; `actor` is who imports it."""
    known = {account.name: account for account in accounts}
    add: list[Person] = []
    change: list[Change] = []
    notes: list[Sentence] = []
    mistakes: list[Mistake] = []
    same = 0
    for entry in entries:
        account = known.get(entry.name)
        before = account.person if account is not None else None
        after = entry.over(before)
        wins = listed(entry.name)
        if before == after:
            same += 1
            continue
        if not may_manage(actor, after.role, wins, before.role if before else None):
            role = wins or (before.role if before and not may_manage(actor, before.role) else after.role)
            mistakes.append(Mistake(entry.line, say(ABOVE, name=entry.name, role=str(role))))
        if wins is not None and entry.role is not None and wins is not entry.role:
            notes.append(say(FILE_WINS, name=entry.name, listed=str(wins), role=str(after.role)))
        if account is not None and account.state is State.DISABLED:
            notes.append(say(STAYS_DISABLED, name=entry.name))
        if before is None:
            add.append(after)
        else:
            change.append(Change(before, after))
    missing = len(known.keys() - {entry.name for entry in entries})
    if missing:
        notes.append(say(NOT_IN_FILE, count=missing))
    return Plan(tuple(add), tuple(change), same, tuple(notes), tuple(mistakes))
