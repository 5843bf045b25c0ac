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

LTI: Final = "/lti/"
"""The site's own addresses of LTI: `launch`, `login`, `callback` and `jwks` below it. What arrives there goes on, by a
307, to the same name below `hub_lti` of a course."""

LTI_VIA_SITE: Final = "via=site"
"""Query with which the site sends a `login` on: the platform knows the site's addresses, not the course's."""


def hub_lti(course_id: str) -> str:
    """Path below which a course's hub takes launches: `launch`, `login`, `callback` and `jwks`."""
    return f"{course_prefix(course_id)}hub/lti/"


def course_prefix(course_id: str) -> str:
    """Path under which everything of one course lives, with a slash at both ends."""
    return f"{COURSES}{course_id}/"


def course_of(path: str) -> str | None:
    """Course id in a request path such as `/courses/python/hub/login`, or None outside `/courses/`."""
    if not path.startswith(COURSES):
        return None
    return path[len(COURSES) :].split("/", 1)[0] or None
