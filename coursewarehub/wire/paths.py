"""URL paths behind the front door."""

from __future__ import annotations

from typing import Final

PORTAL: Final = "/"
ASSETS: Final = "/assets/"
COURSES: Final = "/courses/"

NOTICES: Final = "courseware/notices"
"""Below a learner's server's prefix: GET what is shown, POST what is to be shown (`wire.notices`)."""

LEASE: Final = "courseware/lease"
"""Below a learner's server's prefix: GET whether the server may write."""


def course_prefix(course_id: str) -> str:
    """Path under which everything of one course lives, with a slash at both ends."""
    return f"{COURSES}{course_id}/"


def course_of(path: str) -> str | None:
    """Course id in a request path such as `/courses/python/hub/login`, or None outside `/courses/`."""
    if not path.startswith(COURSES):
        return None
    return path[len(COURSES) :].split("/", 1)[0] or None
