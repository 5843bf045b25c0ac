"""Which course a launch is for, among those that use its platform. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from coursewarehub.model.course import Course
from coursewarehub.model.lti import Lti11Provider, Lti13Provider, LtiAuthentication
from coursewarehub.model.site import Site
from coursewarehub.site.lti.asked import Asked


@dataclass(frozen=True)
class Door:
    """One platform at one course.

    `key` is the consumer key of LTI 1.1, or None; `issuer` and `client` are those of LTI 1.3, or None. `contexts` are
    the platform's courses that belong to this one; None where the course takes any. `connects`: the first launch of
    somebody who teaches connects a course of the platform, and none has been yet.
    """

    course: str
    key: str | None = None
    issuer: str | None = None
    client: str | None = None
    contexts: frozenset[str] | None = None
    connects: bool = False

    def is_of(self, asked: Asked) -> bool:
        """Whether the launch is from this door's platform."""
        if asked.key is not None:
            return self.key == asked.key
        return self.issuer == asked.issuer and (not asked.clients or self.client in asked.clients)


@dataclass(frozen=True)
class Choice:
    """The courses that a launch may be for: one, several to choose from, or none.

    `named` is the course that the link names although it does not use the platform; `by` is the parameter that does.
    """

    courses: tuple[str, ...] = ()
    named: str | None = None
    by: str = "course"

    @property
    def course(self) -> str | None:
        """The one course, None when there are several or none."""
        return self.courses[0] if len(self.courses) == 1 else None


def doors_of(
    site: Site, courses: Iterable[Course], claimed: Mapping[tuple[str, str], frozenset[str]] | None = None
) -> Iterator[Door]:
    """The doors of these courses.

    `claimed` has, by course and `registration_digest`, the contexts that came first where the course names none.
    """
    for course in courses:
        for login in course.logins:
            platform = site.login.get(login.name)
            if not isinstance(login, LtiAuthentication) or not isinstance(platform, Lti13Provider | Lti11Provider):
                continue
            contexts = frozenset(login.contexts) if isinstance(login.contexts, tuple) else None
            if login.contexts is None and claimed:
                contexts = claimed.get((course.id, registration_digest(platform)))
            rest: dict[str, Any] = {"contexts": contexts, "connects": login.contexts is None and contexts is None}
            if isinstance(platform, Lti13Provider):
                yield Door(course.id, issuer=platform.issuer, client=platform.client_id, **rest)
            else:
                yield Door(course.id, key=platform.key, **rest)


def registration_digest(platform: Lti13Provider | Lti11Provider) -> str:
    """SHA-256 of a platform's part of an identity, as `coursewareauthenticator.lti.launches` stores it."""
    if isinstance(platform, Lti13Provider):
        registration = f"lti13:{platform.issuer} {platform.client_id}"
    else:
        registration = f"lti11:{platform.key}"
    return hashlib.sha256(registration.encode("utf-8", "surrogatepass")).hexdigest()


def platform_name(asked: Asked, site: Site) -> str | None:
    """What the site calls the platform that a launch is from, None when it knows no such platform."""
    for name, platform in site.login.items():
        if isinstance(platform, Lti13Provider):
            door = Door("", issuer=platform.issuer, client=platform.client_id)
        elif isinstance(platform, Lti11Provider):
            door = Door("", key=platform.key)
        else:
            continue
        if door.is_of(asked):
            return name
    return None


def choose(asked: Asked, doors: Iterable[Door]) -> Choice:
    """What a link names (`course`, then `course_server`) counts before contexts, and a course that takes any last.

    A link that names a course without the platform leads nowhere: no other course takes its place.
    """
    open_doors = [door for door in doors if door.is_of(asked)]
    courses = list(dict.fromkeys(door.course for door in open_doors))
    named, by = (asked.course, "course") if asked.course is not None else (asked.server, "course_server")
    if named is not None and courses:
        return Choice((named,)) if named in courses else Choice((), named, by)
    if of_context := _courses(door for door in open_doors if door.contexts and asked.context in door.contexts):
        courses = of_context
    elif of_any := _courses(door for door in open_doors if door.contexts is None):
        courses = of_any
    return Choice(tuple(courses))


def _courses(doors: Iterable[Door]) -> list[str]:
    return list(dict.fromkeys(door.course for door in doors))
