"""What a person is in the course, from the roles that the platform sends. Pure.

References: LTI 1.1.1 appendix A.2, LTI Core 1.3 appendix A.2. Only roles in the course (membership) count: those in the
institution or the system say nothing about this course, and many platforms send them for everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from coursewarehub.model.roles import Role

_SHORT_PREFIX: Final = "urn:lti:role:ims/lis/"
_MEMBERSHIP: Final = "http://purl.imsglobal.org/vocab/lis/v2/membership"

MAIN: Final[Mapping[str, Role]] = MappingProxyType(
    {
        # An administrator of a course teaches in it for some platforms and assists for others; nobody is made owner
        # but by the course's own file.
        "administrator": Role.INSTRUCTOR,
        "instructor": Role.INSTRUCTOR,
        "contentdeveloper": Role.INSTRUCTOR,
        "teachingassistant": Role.ASSISTANT,
        "learner": Role.STUDENT,
        "student": Role.STUDENT,
        "member": Role.STUDENT,
        "mentor": Role.OBSERVER,
        "manager": Role.OBSERVER,
        "officer": Role.OBSERVER,
        "observer": Role.OBSERVER,
        "guest": Role.OBSERVER,
    }
)
"""Main roles in lower case."""
SUB: Final[Mapping[str, Role]] = MappingProxyType(
    {
        "instructor/grader": Role.ASSISTANT,
        "instructor/teachingassistant": Role.ASSISTANT,
        "instructor/teachingassistantgroup": Role.ASSISTANT,
        "instructor/teachingassistantoffering": Role.ASSISTANT,
        "instructor/teachingassistantsection": Role.ASSISTANT,
        "instructor/teachingassistantsectionassociation": Role.ASSISTANT,
        "instructor/teachingassistanttemplate": Role.ASSISTANT,
        "administrator/support": Role.OBSERVER,
        "administrator/externalsupport": Role.OBSERVER,
        "administrator/systemadministrator": Role.OBSERVER,
        "administrator/externalsystemadministrator": Role.OBSERVER,
        "contentdeveloper/librarian": Role.OBSERVER,
        "contentdeveloper/externalcontentexpert": Role.OBSERVER,
    }
)
"""Sub-roles that are less than their main role, as `main/sub` in lower case; all others are what their main role is."""
_RANK: Final = (Role.OBSERVER, Role.STUDENT, Role.ASSISTANT, Role.INSTRUCTOR, Role.OWNER)


def role_of(roles: Iterable[str], more: Mapping[str, Role] = MappingProxyType({})) -> Role | None:
    """The highest role in the course, or None when there is none.

    `roles` are texts as sent, each one role or several with commas between. `more` has what a course says otherwise,
    by main role or `main/sub` in lower case. A sub-role stands for its main role: platforms send both, and an
    assistant is an instructor who is an assistant.
    """
    found = [pair for text in roles for part in text.split(",") if (pair := _read(part.strip())) is not None]
    qualified = {main for main, sub in found if sub}
    meant = (_role(main, sub, more) for main, sub in found if sub or main not in qualified)
    return max((role for role in meant if role is not None), key=_RANK.index, default=None)


def _role(main: str, sub: str, more: Mapping[str, Role]) -> Role | None:
    for table in (more, SUB):
        if sub and f"{main}/{sub}" in table:
            return table[f"{main}/{sub}"]
    return more.get(main) or MAIN.get(main)


def _read(text: str) -> tuple[str, str] | None:
    """Main role and sub-role in lower case, the latter perhaps empty; None for what is no role in the course."""
    if text.startswith(_MEMBERSHIP):
        rest = text.removeprefix(_MEMBERSHIP)
        if rest.startswith("#"):
            return _parts(rest[1:])
        main, hash_sign, sub = rest.removeprefix("/").partition("#")
        return (main.lower(), sub.lower()) if rest.startswith("/") and hash_sign and sub else None
    if text.startswith(_SHORT_PREFIX):
        return _parts(text.removeprefix(_SHORT_PREFIX))
    return _parts(text) if ":" not in text and "#" not in text else None


def _parts(text: str) -> tuple[str, str] | None:
    """`Instructor`, `Instructor/GuestInstructor` or `Instructor#TeachingAssistant`, the last sent by some platforms."""
    main, _, sub = text.replace("#", "/", 1).partition("/")
    return (main.lower(), sub.lower()) if main and "/" not in sub and "#" not in sub else None
