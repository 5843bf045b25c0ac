"""What the site itself answers: the portal, its assets, and why a course cannot be entered."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from tornado.web import Application, HTTPError, RequestHandler, StaticFileHandler

from coursewarehub.i18n import LANGUAGE_COOKIE, LANGUAGES, choose, return_path
from coursewarehub.model import Course, CourseState, Site
from coursewarehub.site.rendering import (
    ASSETS_FOLDER,
    CardState,
    CourseCard,
    Fields,
    Obstacle,
    SentLaunch,
    render_obstacle,
    render_portal,
)
from coursewarehub.wire import paths

log = logging.getLogger("coursewarehub.site.portal")

_YEAR = 365
_LARGEST_AGAIN = 64 * 1024
_MOST_AGAIN = 1000
Rule = tuple[str, type[RequestHandler], dict[str, Any]]
"""An address (a regular expression), what answers there, and what that is given."""


@dataclass
class Catalogue:
    """What the portal knows: the site and its courses as they are now."""

    site: Site
    courses: Mapping[str, Course]
    broken: frozenset[str] = field(default_factory=frozenset)


def card_state(course: Course, now: datetime) -> CardState:
    """Whether students may enter now, later, or no more."""
    opens, closes = course.dates.opens, course.dates.closes
    if course.state is CourseState.CLOSED or (closes is not None and _moment(closes, now, end=True) < now):
        return "closed"
    if opens is not None and _moment(opens, now) > now:
        return "upcoming"
    return "open"


def _moment(value: date, now: datetime, *, end: bool = False) -> datetime:
    if isinstance(value, datetime):
        return value
    return datetime.combine(value, datetime.max.time() if end else datetime.min.time(), now.tzinfo)


def cards(catalogue: Catalogue, language: str, now: datetime) -> list[CourseCard]:
    """The published courses (open or closed), in order of their titles."""
    found = [
        CourseCard(
            id=course.id,
            title=course.title.text(language),
            description=course.description.text(language),
            language=course.language,
            opens=course.dates.opens,
            closes=course.dates.closes,
            state=card_state(course, now),
            url=paths.course_prefix(course.id),
        )
        for course in catalogue.courses.values()
        if course.state in (CourseState.OPEN, CourseState.CLOSED)
    ]
    return sorted(found, key=lambda card: card.title.casefold())


def prepare_portal(catalogue: Catalogue) -> None:
    """Render the portal once in each language, so that the first visitor need not wait for its templates."""
    for language in LANGUAGES:
        courses = cards(catalogue, language, datetime.now(UTC).astimezone())
        render_portal(language, site_title=catalogue.site.title.text(language), courses=courses)


def obstacle(catalogue: Catalogue, course_id: str | None) -> Obstacle:
    """Why a path that no hub answers cannot be had."""
    if course_id is None:
        return Obstacle.UNKNOWN_PAGE
    course = catalogue.courses.get(course_id)
    if course is None:
        return Obstacle.BROKEN_COURSE if course_id in catalogue.broken else Obstacle.UNKNOWN_COURSE
    return Obstacle.ARCHIVED_COURSE if course.state is CourseState.ARCHIVED else Obstacle.START_FAILED


class Page(RequestHandler):
    """What all pages share: language, headers, errors in words."""

    def initialize(self, catalogue: Callable[[], Catalogue]) -> None:
        """Given by the application."""
        self.catalogue = catalogue()

    def set_default_headers(self) -> None:
        """Nothing from other hosts, no sniffing; frames only where a launch would have arrived."""
        self.set_header(
            "Content-Security-Policy",
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors "
            + ("*" if self.is_launch else "'none'"),
        )
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Server", "CoursewareHub")
        self.set_header("Vary", "Accept-Language, Cookie")
        self.set_header("Cache-Control", "no-store")

    @property
    def is_launch(self) -> bool:
        """Whether a platform sends people here: perhaps in a frame of its own page."""
        course_id = paths.course_of(self.request.path) or ""
        return self.request.path.startswith((paths.hub_lti(course_id), paths.LTI))

    @property
    def sent(self) -> bytes:
        """The body of the request, as far as it was read."""
        return self.request.body

    def fields(self) -> Fields | None:
        """The form of a launch, to be sent once more as it came; None when there is none, or too much of it."""
        if self.request.method != "POST" or len(self.sent) > _LARGEST_AGAIN:
            return None
        with contextlib.suppress(ValueError):
            return parse_qsl(self.sent.decode(), keep_blank_values=True, max_num_fields=_MOST_AGAIN)
        return None

    @property
    def language(self) -> str:
        """The visitor's language."""
        return choose(
            self.get_cookie(LANGUAGE_COOKIE),
            self.request.headers.get("Accept-Language"),
            self.catalogue.site.language,
        )

    def refuse(self, why: Obstacle, course_id: str | None = None, status: int | None = None) -> None:
        """Answer with the page that explains it, with the status that belongs to it or another."""
        course = self.catalogue.courses.get(course_id or "")
        error_id = ""
        if why in (Obstacle.START_FAILED, Obstacle.SITE_FAILED):
            error_id = secrets.token_hex(4)
            log.error("error %s: %s %s", error_id, self.request.method, self.request.path)
            self.set_header("Retry-After", "5")
        usual, page = render_obstacle(
            why,
            self.language,
            site_title=self.catalogue.site.title.text(self.language),
            course_title=course.title.text(self.language) if course else "",
            error_id=error_id,
            path=self.request.uri or "",
            launch=SentLaunch(self.fields()) if self.is_launch else None,
        )
        self.set_status(usual if status is None else status)
        self.finish(page)

    def write_error(self, status_code: int, **_: Any) -> None:
        """Never a traceback; a request that was wrong keeps its status."""
        if status_code < 500:
            self.refuse(Obstacle.UNKNOWN_PAGE, status=status_code)
        else:
            self.refuse(Obstacle.SITE_FAILED)


class PortalPage(Page):
    """The list of courses; `?lang=` chooses the language."""

    def get(self) -> None:
        """The portal."""
        wanted = self._asked("lang")
        if wanted in LANGUAGES:
            self.set_cookie(LANGUAGE_COOKIE, str(wanted), path="/", expires_days=_YEAR, httponly=True, samesite="Lax")
            self.redirect(return_path(self._asked("next")))
            return
        language = self.language
        self.finish(
            render_portal(
                language,
                site_title=self.catalogue.site.title.text(language),
                courses=cards(self.catalogue, language, datetime.now(UTC).astimezone()),
            )
        )

    head = get

    def _asked(self, name: str) -> str | None:
        """A query argument, None when it is missing or no text."""
        try:
            return self.get_query_argument(name, None)
        except HTTPError:
            return None


class FallbackPage(Page):
    """Whatever no hub answers, with any method."""

    def check_xsrf_cookie(self) -> None:
        """Nothing here changes anything."""

    def prepare(self) -> None:
        """Explain, or add the slash that a course's address lacks."""
        course_id = paths.course_of(self.request.path)
        prefix = paths.course_prefix(course_id) if course_id else ""
        if course_id in self.catalogue.courses and self.request.path == prefix.rstrip("/"):
            query = f"?{self.request.query}" if self.request.query else ""
            self.redirect(prefix + query, status=307)
            return
        self.refuse(obstacle(self.catalogue, course_id), course_id)


class StartFailedPage(Page):
    """Shown in place of a hub that cannot be started."""

    def prepare(self) -> None:
        """Explain."""
        self.refuse(Obstacle.START_FAILED, paths.course_of(self.request.path))


class Asset(StaticFileHandler):
    """Style sheet and logo."""

    def set_extra_headers(self, path: str) -> None:
        """Named by content, so they may be kept."""
        del path
        self.set_header("X-Content-Type-Options", "nosniff")
        if self.get_query_argument("v", None):
            self.set_header("Cache-Control", "public, max-age=31536000, immutable")


def application(catalogue: Callable[[], Catalogue], more: Sequence[Rule] = ()) -> Application:
    """The site's web application; `catalogue` is asked at each request, `more` are further addresses."""
    given = {"catalogue": catalogue}
    return Application(
        [
            (r"/", PortalPage, given),
            (rf"{paths.ASSETS}([a-z]+\.[a-z]+)", Asset, {"path": str(Path(ASSETS_FOLDER))}),
            *more,
            (r".*", FallbackPage, given),
        ],
        log_function=_log_request,
    )


def failed_application(catalogue: Callable[[], Catalogue]) -> Application:
    """What answers on the socket of a hub that cannot be started."""
    return Application([(r".*", StartFailedPage, {"catalogue": catalogue})], log_function=_log_request)


def _log_request(handler: RequestHandler) -> None:
    """Without the query, and without the token of a registration link."""
    link = f"{paths.LTI}register/"
    path = handler.request.path
    shown = f"{link}..." if path.startswith(link) else path
    log.debug("%d %s %s", handler.get_status(), handler.request.method, shown)
