"""What platforms' people and operators read at the site's own LTI addresses. Pure: values in, HTML out.

Every page may be shown in a platform's frame, so none has a link that would open the portal inside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

from coursewareauthenticator.lti.launch import shown
from coursewarehub.i18n import N_, translations
from coursewarehub.site.lti.dynamic import CLOSE
from coursewarehub.site.rendering import Fields, render

__all__ = [
    "CourseButton",
    "Notice",
    "choice_page",
    "connect_page",
    "failed_page",
    "notice",
    "register_page",
    "registered_page",
    "shown",
]


class Notice(StrEnum):
    """Why a launch or a registration does not go on."""

    FROM_THE_PLATFORM = "from_the_platform"
    TOO_LARGE = "too_large"
    NO_LAUNCH = "no_launch"
    UNKNOWN_PLATFORM = "unknown_platform"
    UNUSED_PLATFORM = "unused_platform"
    OTHER_COURSE = "other_course"
    NEEDS_LINK = "needs_link"
    LINK_OVER = "link_over"
    LINK_FOR_PLATFORM = "link_for_platform"
    NO_PUBLIC_ADDRESS = "no_public_address"


@dataclass(frozen=True)
class Text:
    """A notice in English; `%(name)s` are filled in, in the command too."""

    status: HTTPStatus
    title: str
    sentence: str
    next_step: str
    command: str = ""


NOTICES: Final = {
    Notice.FROM_THE_PLATFORM: Text(
        HTTPStatus.METHOD_NOT_ALLOWED,
        N_("Open your course from your learning platform"),
        N_("This address is for Moodle, Canvas, Open edX and the like: they bring you here when you click a link."),
        N_("Go back to your course there and click the link again."),
    ),
    Notice.TOO_LARGE: Text(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        N_("The launch is too large"),
        N_("What the learning platform has sent is larger than 64 KB."),
        N_("Whoever made the link: remove long custom parameters from it."),
    ),
    Notice.NO_LAUNCH: Text(
        HTTPStatus.BAD_REQUEST,
        N_("This is not a whole launch"),
        N_("What the learning platform has sent lacks `%(field)s`, or it cannot be read."),
        N_("Go back to your course there and click the link again. If that does not help, have the tool set up anew."),
    ),
    Notice.UNKNOWN_PLATFORM: Text(
        HTTPStatus.NOT_FOUND,
        N_("This learning platform is not known here"),
        N_("No course of this site uses the platform %(platform)s."),
        N_(
            "Please tell your instructor. Whoever runs this site registers the platform with the command below, "
            "then names it in `authentication` of the course."
        ),
        "coursewarehub lti register NAME",
    ),
    Notice.UNUSED_PLATFORM: Text(
        HTTPStatus.NOT_FOUND,
        N_("No course uses this learning platform yet"),
        N_("The platform is registered here as %(name)s, and no course that can be entered uses it."),
        N_("Please tell your instructor. Whoever runs this site adds the lines below to the file of the course."),
        "authentication:\n  - method: %(method)s\n    use: %(name)s",
    ),
    Notice.OTHER_COURSE: Text(
        HTTPStatus.NOT_FOUND,
        N_("This link leads to no course of the platform"),
        N_("The link names the course %(course)s, which does not exist here or does not use the platform."),
        N_("Whoever made the link: correct its address or its custom parameter `%(parameter)s`."),
    ),
    Notice.NEEDS_LINK: Text(
        HTTPStatus.FORBIDDEN,
        N_("A registration link is needed"),
        N_("A platform can register itself here with a link that holds good once."),
        N_("Whoever runs this site makes one with the command below."),
        "coursewarehub lti register NAME --link",
    ),
    Notice.LINK_OVER: Text(
        HTTPStatus.GONE,
        N_("This registration link is over"),
        N_("The link has been used, is too old, or was replaced by a newer one."),
        N_("Whoever runs this site makes a new one with the command below."),
        "coursewarehub lti register NAME --link",
    ),
    Notice.LINK_FOR_PLATFORM: Text(
        HTTPStatus.BAD_REQUEST,
        N_("Give this link to your learning platform"),
        N_("The link is good. It is for the administrator’s pages of Moodle or Canvas, not for a browser by itself."),
        N_(
            "Moodle: Site administration, Plugins, External tool, Manage tools, “Tool URL”. "
            "Canvas: Admin, Apps, Manage, “Install a New App”, Dynamic Registration."
        ),
    ),
    Notice.NO_PUBLIC_ADDRESS: Text(
        HTTPStatus.NOT_FOUND,
        N_("There is nothing here for this course"),
        N_("There is no course %(course)s that learning platforms can launch."),
        N_("Whoever runs this site names a platform in `authentication` of the course."),
    ),
}


def notice(what: Notice, language: str, *, site_title: str, **values: str) -> tuple[HTTPStatus, str]:
    """The status and the page of a notice."""
    text = NOTICES[what]
    say = translations(language).gettext
    page = render(
        "lti.html",
        language,
        site_title=site_title,
        languages=(),
        title=say(text.title),
        sentence=say(text.sentence) % values,
        next_step=say(text.next_step) % values,
        command=text.command % values,
    )
    return text.status, page


@dataclass(frozen=True)
class CourseButton:
    """One of the courses that a launch may be for: its title, and where the launch goes on."""

    title: str
    url: str


def choice_page(language: str, *, site_title: str, choices: Sequence[CourseButton], fields: Fields) -> str:
    """A button for each of several courses; each sends the launch on as it came."""
    say = translations(language).gettext
    return render(
        "lti_courses.html",
        language,
        site_title=site_title,
        languages=(),
        title=say(N_("Which course is this?")),
        sentence=say(N_("Several courses of this site use your learning platform, and the link names none of them.")),
        next_step=say(
            N_(
                "Students: choose the course that you take part in. Instructors: choose your own; it is then connected "
                "with your course in the platform, and nobody is asked again."
            )
        ),
        command="",
        choices=choices,
        fields=fields,
    )


def connect_page(
    language: str, *, site_title: str, course: str, theirs: str, onward: str, back: str, fields: Fields
) -> str:
    """Asks somebody who teaches whether their course in the platform, `theirs`, shall lead to `course` from now on."""
    say = translations(language).gettext
    values = {"course": course, "theirs": theirs}
    return render(
        "lti_connect.html",
        language,
        site_title=site_title,
        languages=(),
        title=say(N_("Connect this course with %(course)s?")) % values,
        sentence=say(N_("From then on %(theirs)s in your learning platform leads to %(course)s, for everybody in it."))
        % values,
        next_step=say(
            N_("No other course of the platform can then be connected with it, unless whoever runs this site says so.")
        ),
        command="",
        onward=onward,
        back=back,
        fields=fields,
        button=say(N_("Connect them")),
        other=say(N_("Choose another course")),
    )


def register_page(language: str, *, site_title: str, host: str, name: str, action: str, fields: Fields) -> str:
    """Asks whether to register with the platform at `host`."""
    say = translations(language).gettext
    values = {"host": host, "name": name, "site": site_title}
    return render(
        "lti_register.html",
        language,
        site_title=site_title,
        languages=(),
        title=say(N_("Register %(site)s with %(host)s?")) % values,
        sentence=say(N_("People of this platform will then be able to open the courses that name it, as %(name)s."))
        % values,
        next_step=say(N_("Go on only if you are setting up that platform yourself.")),
        command="",
        action=action,
        fields=fields,
        button=say(N_("Register")),
    )


def failed_page(
    language: str, *, site_title: str, template: str, values: Mapping[str, Any], again: str | None, fields: Fields
) -> str:
    """Why the registration failed, in the sentence of `template`; with `again`, a button that tries it there again."""
    say = translations(language).gettext
    return render(
        "lti_register.html" if again else "lti.html",
        language,
        site_title=site_title,
        languages=(),
        title=say(N_("The registration has failed")),
        sentence=say(template) % values,
        next_step=say(N_("Nothing was stored here, and the link holds good still.")) if again else "",
        command="",
        action=again,
        fields=fields,
        button=say(N_("Try again")),
    )


def registered_page(language: str, *, site_title: str, host: str, name: str, script_nonce: str) -> str:
    """The platform is registered; its own page is told that this one can be closed."""
    say = translations(language).gettext
    values = {"host": host, "name": name}
    return render(
        "lti_registered.html",
        language,
        site_title=site_title,
        languages=(),
        title=say(N_("Registered")),
        sentence=say(N_("The platform at %(host)s is registered here as %(name)s.")) % values,
        next_step=say(
            N_(
                "Activate the tool in the platform. Whoever runs this site adds the lines below to the file of each "
                "course that the platform’s people may enter."
            )
        ),
        command=f"authentication:\n  - method: lti13\n    use: {name}",
        nonce=script_nonce,
        close=CLOSE,
    )
