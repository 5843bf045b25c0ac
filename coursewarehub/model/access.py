"""Who may enter a course: one pure function for every login method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum

from coursewarehub.model.course import Course, CourseState, Dates
from coursewarehub.model.login import AccountsAuthentication, DummyAuthentication
from coursewarehub.model.lti import LtiAuthentication
from coursewarehub.model.names import valid_name
from coursewarehub.model.roles import Role

LAUNCHED = "lti-"
"""How the names of those begin who come from a learning platform."""

_GROUP = "group:"

STAFF = frozenset({Role.OWNER, Role.INSTRUCTOR, Role.ASSISTANT})


class Reason(StrEnum):
    """Why somebody may or may not enter; the text is for people (and can be translated)."""

    MEMBER = "You are a member of this course."
    STRANGER = "This course lets people choose a name."
    ACCOUNT = "You have an account in this course."
    GROUP = "One of your groups takes part in this course."
    LAUNCH = "Your learning platform says what you are in this course."
    EVERYONE = "This course is for everybody who can log in here."
    INVALID_NAME = "This is not a valid user name."
    NO_ROLE = "Your learning platform does not say what you are in this course: ask your instructor."
    NOT_A_MEMBER = "You are not a member of this course."
    NO_ACCOUNT = "Your account in this course has ended. Ask your instructor."
    LINKED = "This login leads to another account of yours now. Please sign in again."
    OTHERWISE = "This course no longer lets people in that way. Please sign in again."
    DRAFT = "This course is not published yet."
    CLOSED = "This course is closed."
    ARCHIVED = "This course is archived."
    NOT_OPEN_YET = "This course has not started yet."
    OVER = "This course is over."


@dataclass(frozen=True)
class Identity:
    """Who somebody is, for good: the way they log in (`ldap`, `github` ...) and who they are there.

    `subject` never changes and is never given to another; it is no e-mail address and need not be readable.
    """

    registration: str
    subject: str


@dataclass(frozen=True)
class Arrival:
    """Somebody who has proved to be `identity`: the name they go by there, and the groups they are in there."""

    identity: Identity
    username: str
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Decision:
    """The answer for one person; `role` is known even when a member may not enter now.

    `groups` are those of the course besides the role, such as `lab-a`; none of them is called as a role.
    """

    allowed: bool
    role: Role | None
    reason: Reason
    groups: tuple[str, ...] = ()


def account_name(course: Course, arrival: Arrival) -> str:
    """Return the user name that somebody asks for: as it is by the course's first way to log in, else `github:ada`.

    So the same name at two providers is two people, and nobody who chooses a name can choose one of another way to
    log in. Who comes from a learning platform has a name that begins with `lti-`, made by us and the same whatever
    the order of logins; nobody else has such a name. Raises ValueError for what cannot be a name, or when the course
    has no such way to log in.
    """
    names = [login.name for login in course.logins]
    if arrival.identity.registration not in names:
        raise ValueError("the course has no such way to log in")
    if isinstance(course.login(arrival.identity.registration), LtiAuthentication):
        return valid_name(arrival.username)
    if valid_name(arrival.username).startswith(LAUNCHED) and arrival.identity.registration == names[0]:
        raise ValueError("is the name of somebody who comes from a learning platform")
    if arrival.identity.registration != names[0]:
        return valid_name(f"{arrival.identity.registration}:{valid_name(arrival.username)}")
    name = valid_name(arrival.username)
    if name.partition(":")[0] in names[1:] and ":" in name:
        raise ValueError("is the name of somebody who logs in otherwise")
    return name


def decide(course: Course, name: str, *, now: datetime, arrival: Arrival | None = None) -> Decision:
    """Decide whether the user `name` may enter `course` at `now`.

    `arrival` is how they last logged in, if that is known: without it groups count for nothing. The list of members
    wins over groups, and groups over `everyone`; an account of the course's own that has ended
    wins over everything. A date without a time is a day in the time zone of `now`. Raises
    ValueError when `now` has no time zone.
    """
    if now.tzinfo is None:
        raise ValueError("now must have a time zone")
    try:
        listed = course.members.role_of(valid_name(name))
    except ValueError:
        return Decision(False, None, Reason.INVALID_NAME)
    if arrival is not None and course.login(arrival.identity.registration) is None:
        return Decision(False, None, Reason.OTHERWISE)
    if arrival is not None and _has_ended(course, arrival):
        return Decision(False, None, Reason.NO_ACCOUNT)
    role, granted = (listed, Reason.MEMBER) if listed is not None else _by_login(course, arrival)
    if course.state is CourseState.ARCHIVED:
        return Decision(False, listed, Reason.ARCHIVED)
    if role is None:
        return Decision(False, None, granted)
    obstacle = None if role in STAFF else _obstacle(course, now)
    return Decision(obstacle is None, role, obstacle or granted, _groups(course, arrival))


def union(decisions: Sequence[Decision]) -> Decision:
    """What somebody may do who has several linked logins, by the decision for each: what any of them gives by itself.

    The highest role counts with which they may enter now, else the highest role, else the first answer. The groups of
    those that have a role come together. Raises ValueError without a decision.
    """
    ranks = list(Role)
    best = min(
        decisions, key=lambda each: (not each.allowed, len(ranks) if each.role is None else ranks.index(each.role))
    )
    groups = {group for each in decisions if each.role is not None for group in each.groups}
    return replace(best, groups=tuple(sorted(groups)))


def group_mark(group: str) -> str:
    """How a group of the course's own stands among the groups of an arrival, where roles stand as they are."""
    return f"{_GROUP}{group}"


def _by_login(course: Course, arrival: Arrival | None) -> tuple[Role | None, Reason]:
    """The role of somebody who is not listed, and why they have it, or why none."""
    login = course.workshop if arrival is None else course.login(arrival.identity.registration)
    if isinstance(login, DummyAuthentication):
        return (Role.STUDENT, Reason.STRANGER) if login.self_chosen_names else (None, Reason.NOT_A_MEMBER)
    if login is None or arrival is None:
        return None, Reason.NOT_A_MEMBER
    if isinstance(login, LtiAuthentication):
        return _by_launch(login, arrival)
    if isinstance(login, AccountsAuthentication):
        return _account_role(arrival), Reason.ACCOUNT
    by_group = login.roles.role_of(arrival.groups)
    if by_group is not None:
        return by_group, Reason.GROUP
    return (Role(login.everyone), Reason.EVERYONE) if login.everyone else (None, Reason.NOT_A_MEMBER)


def _by_launch(login: LtiAuthentication, arrival: Arrival) -> tuple[Role | None, Reason]:
    launched = login.role_of(arrival.groups)
    if launched is not None:
        return launched, Reason.LAUNCH
    return (Role(login.everyone), Reason.EVERYONE) if login.everyone else (None, Reason.NO_ROLE)


def _has_ended(course: Course, arrival: Arrival) -> bool:
    """Whether somebody has come by an account of the course's own that is none any more."""
    own = course.accounts is not None and course.accounts.name == arrival.identity.registration
    return own and _account_role(arrival) is None


def _account_role(arrival: Arrival) -> Role | None:
    """The role of somebody with an account of the course's own, which is their only group; none when it has ended."""
    return next((role for role in Role if role in arrival.groups), None)


def _groups(course: Course, arrival: Arrival | None) -> tuple[str, ...]:
    """The groups that the course's own accounts say, as far as the course's file names them (`resources.groups`).

    None of them is called as a role: roles carry rights, and whoever imports a roster must not give them.
    """
    if arrival is None or course.accounts is None or course.accounts.name != arrival.identity.registration:
        return ()
    named = (name for name in course.resources.groups if is_group(name))
    return tuple(sorted(name for name in named if group_mark(name) in arrival.groups))


def is_group(name: str) -> bool:
    """Whether a name can be that of a group of the course: it is not called as a role, in whatever case."""
    return bool(name) and name.strip().casefold() not in {str(role) for role in Role}


def _obstacle(course: Course, now: datetime) -> Reason | None:
    if course.state is CourseState.DRAFT:
        return Reason.DRAFT
    if course.state is CourseState.CLOSED:
        return Reason.CLOSED
    return _outside(course.dates, now)


def _outside(dates: Dates, now: datetime) -> Reason | None:
    if dates.opens is not None and _is_before(now, dates.opens):
        return Reason.NOT_OPEN_YET
    if dates.closes is not None and _is_past(now, dates.closes):
        return Reason.OVER
    return None


def _is_before(now: datetime, opens: date) -> bool:
    if isinstance(opens, datetime):
        return now < opens
    return now.date() < opens


def _is_past(now: datetime, closes: date) -> bool:
    """Whether `closes` is over: a day ends with its last moment."""
    if isinstance(closes, datetime):
        return now >= closes
    return now.date() > closes
