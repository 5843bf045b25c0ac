"""The pages of the site itself: the portal and the page that says why a course cannot be entered.

Runs in: site. Pure: values in, HTML out. Every page works without JavaScript and asks for nothing from other
hosts; `default-src 'none'; style-src 'self'; img-src 'self'` is a sufficient Content-Security-Policy.

The stylesheet and the logo are the files of `ASSETS_FOLDER`, to be served below `/assets/`. The hub pages use
the same stylesheet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Literal

from babel import Locale
from babel.dates import format_date, format_datetime, format_time
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from coursewarehub.i18n import LANGUAGES, N_, language_links, translations
from coursewarehub.i18n.jinja import EXTENSION, install_catalogues
from coursewarehub.wire.paths import ASSETS, PORTAL

PAGES_FOLDER: Final = Path(__file__).with_name("pages")
ASSETS_FOLDER: Final = PAGES_FOLDER / "assets"
STYLESHEET: Final = "courseware.css"
LOGO: Final = "logo.svg"

_LOCALES: Final = {"en": "en_GB", "ja": "ja_JP", "fr": "fr_FR"}

Day = date | datetime
"""A whole day, or a moment with its time zone."""

Fields = Sequence[tuple[str, str]]
"""Hidden fields of a form, in order, names perhaps more than once."""


@dataclass(frozen=True)
class SentLaunch:
    """What a platform has sent: its form, to be sent once more as it came; None when it came without one."""

    fields: Fields | None = None


CardState = Literal["open", "upcoming", "closed"]


@dataclass(frozen=True)
class CourseCard:
    """One course on the portal, its texts already in the page's language.

    `language` is the tag of the language the course is taught in (BCP 47); `state` says whether students may
    enter now (`open`), later (`upcoming`) or no more (`closed`); `url` is the course's entrance.
    """

    id: str
    title: str
    description: str
    language: str
    opens: Day | None
    closes: Day | None
    state: CardState
    url: str


class Obstacle(StrEnum):
    """Why a visitor cannot have the page they asked for."""

    UNKNOWN_COURSE = "unknown_course"
    ARCHIVED_COURSE = "archived_course"
    DRAFT_COURSE = "draft_course"
    BROKEN_COURSE = "broken_course"
    START_FAILED = "start_failed"
    UNKNOWN_PAGE = "unknown_page"
    SITE_FAILED = "site_failed"


@dataclass(frozen=True)
class Explanation:
    """What `error.html` says of an obstacle, in English; `again` offers to try the same address again."""

    status: HTTPStatus
    title: str
    sentence: str
    next_step: str
    again: bool = False


EXPLANATIONS: Final = {
    Obstacle.UNKNOWN_COURSE: Explanation(
        HTTPStatus.NOT_FOUND,
        N_("Course not found"),
        N_("There is no course at this address."),
        N_("Check the link for a typing error, or look for your course in the list of all courses."),
    ),
    Obstacle.ARCHIVED_COURSE: Explanation(
        HTTPStatus.GONE,
        N_("This course has been archived"),
        N_("The course is over and can no longer be entered."),
        N_("If you need your work from it, write to its instructor: archived work is kept."),
    ),
    Obstacle.DRAFT_COURSE: Explanation(
        HTTPStatus.NOT_FOUND,
        N_("This course is not open yet"),
        N_("Its instructors are still preparing it."),
        N_("Come back when your instructor announces the start."),
    ),
    Obstacle.BROKEN_COURSE: Explanation(
        HTTPStatus.SERVICE_UNAVAILABLE,
        N_("This course is out of order"),
        N_("There is a mistake in the course’s settings, so it cannot be opened."),
        N_("Please tell your instructor. Whoever runs this site sees the mistake with the command below."),
    ),
    Obstacle.START_FAILED: Explanation(
        HTTPStatus.SERVICE_UNAVAILABLE,
        N_("The course could not be opened"),
        N_("Something went wrong while the course was starting. Your work is safe."),
        N_("Wait a minute and try again. If it happens again, tell your instructor."),
        again=True,
    ),
    Obstacle.UNKNOWN_PAGE: Explanation(
        HTTPStatus.NOT_FOUND,
        N_("Page not found"),
        N_("There is nothing at this address."),
        N_("Check the link for a typing error, or start from the list of all courses."),
    ),
    Obstacle.SITE_FAILED: Explanation(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        N_("Something went wrong"),
        N_("The site could not answer your request. Your work is safe."),
        N_("Wait a minute and try again. If it happens again, tell your instructor."),
        again=True,
    ),
}


def render(template: str, language: str, **values: Any) -> str:
    """The HTML of one template of `pages/`, in one of `LANGUAGES` (ValueError for another).

    `values` must hold `site_title` and whatever the template names; a missing one raises
    `jinja2.UndefinedError`. Everything is escaped.
    """
    if language not in LANGUAGES:
        raise ValueError(f"no pages in language {language!r}; there are {', '.join(LANGUAGES)}")
    return _environment().get_template(template).render(language=language, **values)


def render_portal(language: str, *, site_title: str, courses: Sequence[CourseCard]) -> str:
    """The list of the published courses, in the order given."""
    links = language_links(language)
    return render("portal.html", language, site_title=site_title, courses=courses, languages=links)


def render_obstacle(
    obstacle: Obstacle,
    language: str,
    *,
    site_title: str,
    course_title: str = "",
    error_id: str = "",
    path: str = "",
    launch: SentLaunch | None = None,
) -> tuple[HTTPStatus, str]:
    """The status and the HTML that explain why a page cannot be had and what to do next.

    `course_title` may be empty (keep it so where it is not public), `error_id` is what a visitor can quote,
    `path` is the path and query asked for, where the language switch comes back to. `launch`: the page
    stands in place of a launch, perhaps in a platform's frame, so what leads elsewhere opens a window.
    """
    explanation = EXPLANATIONS[obstacle]
    gettext = translations(language).gettext
    page = render(
        "error.html",
        language,
        site_title=site_title,
        course_title=course_title,
        title=gettext(explanation.title),
        sentence=gettext(explanation.sentence),
        next_step=gettext(explanation.next_step),
        command="coursewarehub check" if obstacle is Obstacle.BROKEN_COURSE else "",
        again=explanation.again,
        error_id=error_id,
        fields=launch.fields if launch is not None else None,
        framed=launch is not None,
        languages=() if launch is not None else language_links(language, PORTAL, path),
    )
    return explanation.status, page


def asset_url(name: str) -> str:
    """The path of one file of `ASSETS_FOLDER`; it changes with the content, so it may be cached for ever."""
    digest = hashlib.sha256((ASSETS_FOLDER / name).read_bytes()).hexdigest()
    return f"{ASSETS}{name}?v={digest[:10]}"


def format_day(value: Day, language: str) -> str:
    """A date in words; a moment also with its time and zone."""
    locale = _LOCALES[language]
    day = format_date(value, "long", locale=locale)
    if language == "fr" and value.day == 1:
        day = f"1er{day.removeprefix('1')}"
    if not isinstance(value, datetime):
        return day
    time = format_time(value, "short", locale=locale)
    return f"{day} {time} {format_datetime(value, 'ZZZZ', locale=locale)}"


def language_name(tag: str, language: str) -> str:
    """The name of a language, as `fr` or `pt-BR`, in words of another; the tag itself when unknown."""
    names = Locale.parse(_LOCALES[language]).languages
    return str(names.get(tag.replace("-", "_")) or names.get(tag.split("-", 1)[0], tag))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(PAGES_FOLDER),
        extensions=[EXTENSION],
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    install_catalogues(environment, lambda context: str(context["language"]))
    environment.filters.update(day=format_day, language_name=language_name)
    environment.globals.update(portal_url=PORTAL, stylesheet_url=asset_url(STYLESHEET), logo_url=asset_url(LOGO))
    return environment
