"""What a roster changes in a course: who is new, who has another role, who is no longer there. Pure.

The rules, in this order:

* who is in the course's file is there by the file; no roster changes or removes them;
* the role of a launch wins over that of the roster, since platforms list assistants as learners;
* who was in the roster and is not any more, or not active, is marked as removed: they lose access and keep their work;
* who came by a launch and never was in the roster stays;
* an empty roster, one of differences and one that could not be read in full remove nobody who is merely not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from coursewareauthenticator.lti.identity import user_name
from coursewareauthenticator.lti.launch import Person
from coursewareauthenticator.lti.services.members import Roster, RosterMember, Status
from coursewarehub.model.roles import Role


class Standing(StrEnum):
    """How somebody stands in the course by roster and launches."""

    PENDING = "pending"
    """In the roster, and never here: no account of the hub until the first launch."""
    PRESENT = "present"
    """Has launched."""
    REMOVED = "removed"
    """Was in the roster and is not any more."""


@dataclass(frozen=True)
class Member:
    """Somebody as the hub knows them from one course of one platform.

    `account` is the user name of their launches, `roster_role` what the roster said last, None when it never had them
    or they have no role there; `launch_role` what their last launch said.
    """

    account: str
    user: str
    roster_role: Role | None = None
    launch_role: Role | None = None
    standing: Standing = Standing.PENDING
    rostered: bool = False
    person: Person = field(default=Person(), repr=False)

    @property
    def role(self) -> Role | None:
        """Their role in the course; None for who was removed or has none."""
        return None if self.standing is Standing.REMOVED else self.launch_role or self.roster_role

    @property
    def is_graded(self) -> bool:
        """Whether there is a grade to send for them."""
        return self.role is Role.STUDENT


@dataclass(frozen=True)
class Plan:
    """What to keep, whole, in the store; `listed` are accounts that are in the course's file and stay as they are."""

    added: tuple[Member, ...] = ()
    changed: tuple[Member, ...] = ()
    removed: tuple[Member, ...] = ()
    listed: tuple[str, ...] = ()
    left_out: int = 0

    @property
    def members(self) -> tuple[Member, ...]:
        """All that are to be written."""
        return (*self.added, *self.changed, *self.removed)

    def __bool__(self) -> bool:
        return bool(self.members)


def plan(
    roster: Roster, known: Iterable[Member], registration: str, listed: Callable[[str], bool] = lambda _: False
) -> Plan:
    """The differences between a roster and what is known of the same course of the same platform.

    `listed` says whether an account is in the course's file. Asked twice with the same roster, the second is empty.
    """
    by_user = {member.user: member for member in known}
    added, changed, removed, in_file = [], [], [], []
    for entry in roster.members:
        before = by_user.pop(entry.user, None)
        account = before.account if before is not None else _account(entry, registration)
        if listed(account):
            in_file.append(account)
            continue
        after = _after(entry, before, account)
        if after is None or after == before:
            continue
        if before is None:
            added.append(after)
        elif after.standing is Standing.REMOVED:
            removed.append(after)
        else:
            changed.append(after)
    if roster.complete and roster.members:
        gone = (member for member in by_user.values() if member.rostered and not listed(member.account))
        removed += [_removed(member) for member in gone if member.standing is not Standing.REMOVED]
    return Plan(tuple(added), tuple(changed), tuple(removed), tuple(in_file), roster.left_out)


def launched(before: Member | None, account: str, user: str, role: Role | None, person: Person) -> Member:
    """Somebody after a launch: present, with the launch's role, whatever the roster says.

    Whom the platform lets in after its roster has left them out is there without the roster, as its operators are.
    """
    known = before or Member(account, user)
    named = person if person.name or person.email else known.person
    rostered = known.rostered and known.standing is not Standing.REMOVED
    return replace(known, account=account, launch_role=role, standing=Standing.PRESENT, rostered=rostered, person=named)


def _account(entry: RosterMember, registration: str) -> str:
    return user_name(registration, entry.user)


def _after(entry: RosterMember, before: Member | None, account: str) -> Member | None:
    """The member as the roster has them now; None for somebody who is not there and never was."""
    if entry.status is not Status.ACTIVE:
        return None if before is None else _removed(replace(before, rostered=True))
    known = before or Member(account, entry.user)
    standing = known.standing
    if standing is Standing.REMOVED:
        standing = Standing.PRESENT if known.launch_role is not None else Standing.PENDING
    # A roster without names takes none away that a launch has brought.
    person = entry.person if entry.person != Person() else known.person
    return replace(known, roster_role=entry.role, standing=standing, rostered=True, person=person)


def _removed(member: Member) -> Member:
    """Without the role of their last launch: when they come back, the roster's counts until they launch again."""
    return replace(member, standing=Standing.REMOVED, launch_role=None)
