"""A course in words, for `coursewarehub course show`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import chain

from coursewarehub.model.content import Content
from coursewarehub.model.course import Course
from coursewarehub.model.login import AccountsAuthentication, DummyAuthentication, Login
from coursewarehub.model.lti import LtiAuthentication
from coursewarehub.model.resources import Allocation, Resources
from coursewarehub.model.roles import Role
from coursewarehub.model.values import LocalizedText, format_bytes, format_cores, format_duration

_MOST_NAMES = 20
_WIDTH = 13
_REACHES = {"none": "nothing beyond the site", "registries": "the site and package registries"}


def described(course: Course) -> str:
    """Return lines of text about a course; secrets are named, never read."""
    lines = chain(_what(course), _who(course), _how(course))
    return "\n".join(f"{label:{_WIDTH}}{text}".rstrip() for label, text in lines)


def _what(course: Course) -> Iterator[tuple[str, str]]:
    yield "id", course.id
    yield from _texts("title", course.title)
    yield from _texts("description", course.description)
    yield "language", course.language
    yield "state", course.state
    yield "dates", _dates(course.dates.opens, course.dates.closes)


def _texts(label: str, value: LocalizedText) -> Iterator[tuple[str, str]]:
    for text in filter(None, value.texts()):
        yield label, text.replace("\n", "\n" + " " * _WIDTH)
        label = ""


def _dates(opens: date | None, closes: date | None) -> str:
    if opens is None and closes is None:
        return "always"
    start = f"from {opens.isoformat()}" if opens else ""
    end = f"to {closes.isoformat()}" if closes else ""
    return f"{start} {end}".strip()


def _who(course: Course) -> Iterator[tuple[str, str]]:
    for login in course.logins:
        yield from _login(course, login)
    for role, names in course.members.by_role().items():
        yield f"{role}s", _names(names)


def _login(course: Course, login: Login) -> Iterator[tuple[str, str]]:
    if isinstance(login, DummyAuthentication):
        yield "login", login.method + (" (workshop)" if login.workshop else "")
        yield "password", str(login.password) if login.password else "generated, in the state folder"
        if login.self_chosen_names:
            yield "names", "anybody with the password may choose one"
        return
    if isinstance(login, AccountsAuthentication):
        yield "login", f"{login.method} (people: `coursewarehub course members {course.id} list`)"
        return
    yield "login", login.method + (f" ({login.use})" if login.use else "")
    if isinstance(login, LtiAuthentication):
        ids = "the first that comes" if login.contexts is None else login.contexts
        yield "", f"of the platform's courses: {ids if isinstance(ids, str) else ', '.join(ids)}"
    for role in Role:
        groups = getattr(login.roles, f"{role}s")
        if groups:
            yield "", f"{role}s are {', '.join(groups)}"
    if login.everyone is not None:
        yield "", f"everybody else is a {login.everyone}"


def _names(names: Sequence[str]) -> str:
    if not names:
        return "none"
    more = f", and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"({len(names)}) {', '.join(names[:_MOST_NAMES])}{more}"


def _how(course: Course) -> Iterator[tuple[str, str]]:
    resources, limits = course.resources, course.limits
    yield (
        "one server",
        f"{format_bytes(resources.memory)} memory, {format_cores(resources.cpu)}, "
        f"{resources.processes} processes, {resources.open_files} open files",
    )
    yield from _allocations(resources)
    yield "all servers", "no limit" if limits.servers is None else f"at most {limits.servers} at once"
    yield "idle after", format_duration(limits.idle_server)
    if course.image is not None:
        yield "image", course.image
    if course.images:
        yield "or image", ", ".join(course.images)
    if course.egress != "open":
        yield "reaches", _REACHES[course.egress]
    if course.placement.constraints:
        yield "only nodes", ", ".join(course.placement.constraints)
    yield "content", _content(course.content)
    if course.content is not None and course.content.start is not None:
        yield "start", course.content.start


def _allocations(resources: Resources) -> Iterator[tuple[str, str]]:
    """What is set aside for a server, and what is different for some."""
    if resources.memory_guarantee or resources.cpu_guarantee:
        memory, cores = format_bytes(resources.memory_guarantee), format_cores(resources.cpu_guarantee)
        yield "guaranteed", f"{memory} memory, {cores}"
    label = "others"
    some: dict[str, Allocation | None] = {**resources.groups, "admin": resources.admin, "default": resources.default}
    for name, allocation in some.items():
        if allocation is not None:
            given = allocation.model_dump(mode="json", exclude_none=True, exclude={"priority"})
            yield label, f"{name}: " + (", ".join(f"{key} {value}" for key, value in given.items()) or "the same")
            label = ""


def _content(content: Content | None) -> str:
    if content is None:
        return "none"
    if content.folder is not None:
        return f"folder {content.folder}"
    return f"git {content.git}" + (f" at {content.ref}" if content.ref else "")
