"""Who may enter a course: one pure function for every login method."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from coursewarehub.model.course import Course, CourseState, Dates
from coursewarehub.model.names import valid_name
from coursewarehub.model.roles import Role

STAFF = frozenset({Role.OWNER, Role.INSTRUCTOR, Role.ASSISTANT})


class Reason(StrEnum):
    """Why somebody may or may not enter; the text is for people (and can be translated)."""

    MEMBER = "You are a member of this course."
    STRANGER = "This course lets people choose a name."
    INVALID_NAME = "This is not a valid user name."
    NOT_A_MEMBER = "You are not a member of this course."
    DRAFT = "This course is not published yet."
    CLOSED = "This course is closed."
    ARCHIVED = "This course is archived."
    NOT_OPEN_YET = "This course has not started yet."
    OVER = "This course is over."


@dataclass(frozen=True)
class Decision:
    """The answer for one person; `role` is known even when a member may not enter now."""

    allowed: bool
    role: Role | None
    reason: Reason


def decide(course: Course, name: str, *, now: datetime) -> Decision:
    """Decide whether the user `name` may enter `course` at `now`.

    A date without a time is a day in the time zone of `now`. Raises ValueError when `now` has no
    time zone.
    """
    if now.tzinfo is None:
        raise ValueError("now must have a time zone")
    try:
        role = course.members.role_of(valid_name(name))
    except ValueError:
        return Decision(False, None, Reason.INVALID_NAME)
    if course.state is CourseState.ARCHIVED:
        return Decision(False, role, Reason.ARCHIVED)
    granted = Reason.MEMBER
    if role is None:
        if not course.authentication.self_chosen_names:
            return Decision(False, None, Reason.NOT_A_MEMBER)
        role, granted = Role.STUDENT, Reason.STRANGER
    obstacle = None if role in STAFF else _obstacle(course, now)
    return Decision(obstacle is None, role, obstacle or granted)


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
