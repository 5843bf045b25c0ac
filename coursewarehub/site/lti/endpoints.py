"""The addresses below `/lti/` where launches arrive and platforms fetch what they need to know.

A launch is sent on with 307, which keeps its form, and its hub is woken while the browser is on its way there.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from tornado.web import stream_request_body

from coursewareauthenticator.lti.documents import cartridge, configuration
from coursewarehub.model import Course, CourseState
from coursewarehub.site.lti import pages
from coursewarehub.site.lti.asked import (
    LARGEST,
    Asked,
    Pairs,
    Unreadable,
    asked_by_form,
    asked_by_login,
    asked_by_state,
    asked_by_token,
    pairs,
)
from coursewarehub.site.lti.claims import Claims
from coursewarehub.site.lti.dispatch import choose, doors_of, platform_name
from coursewarehub.site.lti.fetch import Fetcher
from coursewarehub.site.lti.pages import CourseButton, Notice
from coursewarehub.site.lti.tool import SCOPES, Addresses, tool_of
from coursewarehub.site.portal import Catalogue, Page
from coursewarehub.site.rendering import Obstacle
from coursewarehub.state.lti_links import Links
from coursewarehub.wire import paths

log = logging.getLogger("coursewarehub.site.lti")

FRAMED: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors *"
)
"""Content security policy of pages that platforms show in a frame; nothing on them acts for anybody logged in."""
_HOUR: Final = 3600


@dataclass
class Lti:
    """What the addresses need of the site; the functions are asked at each request.

    `wake` has a sleeping hub started; `add_platform` stores the text of a platform's file by its name.
    """

    catalogue: Callable[[], Catalogue]
    address: Callable[[], str]
    wake: Callable[[str], None]
    keys_folder: Path
    links: Links
    claims: Claims
    add_platform: Callable[[str, str], None]
    fetcher: Callable[[frozenset[str]], Fetcher] = field(default=Fetcher)

    @property
    def addresses(self) -> Addresses:
        """The site's public addresses."""
        return Addresses(self.address())


class LtiPage(Page):
    """A page of the site that platforms may show in a frame."""

    def initialize(self, lti: Lti) -> None:  # type: ignore[override]
        """Given by the application."""
        self.lti = lti
        super().initialize(lti.catalogue)

    def set_default_headers(self) -> None:
        """As other pages, but in a frame, and with no word of where the visitor comes from."""
        super().set_default_headers()
        self.set_header("Content-Security-Policy", FRAMED)
        self.set_header("Referrer-Policy", "no-referrer")

    @property
    def site_title(self) -> str:
        """In the visitor's language."""
        return self.catalogue.site.title.text(self.language)

    def say(self, what: Notice, **values: str) -> None:
        """Answer with a notice."""
        status, page = pages.notice(what, self.language, site_title=self.site_title, **values)
        self.set_status(status)
        self.finish(page)


@stream_request_body
class Arrival(LtiPage):
    """Something that a platform's page sends by way of the browser: read within bounds, and sent on."""

    def prepare(self) -> None:
        """Refuse what says that it is too large before it has come."""
        self.body = bytearray()
        length = self.request.headers.get("Content-Length", "")
        if len(self.request.query) > LARGEST or (length.isdigit() and int(length) > LARGEST):
            self.say(Notice.TOO_LARGE)

    def data_received(self, chunk: bytes) -> None:
        """Keep as much as is looked at."""
        if len(self.body) <= LARGEST:
            self.body += chunk

    @property
    def sent(self) -> bytes:
        """As much of the body as was kept."""
        return bytes(self.body)

    def check_xsrf_cookie(self) -> None:
        """Platforms have none; what counts is verified by the hub."""

    def read(self) -> tuple[Pairs, Pairs] | None:
        """Form and query; None when they were refused."""
        if len(self.body) + len(self.request.query) > LARGEST:
            self.say(Notice.TOO_LARGE)
            return None
        try:
            return pairs(bytes(self.body)), pairs(self.request.query.encode())
        except Unreadable as lacking:
            self.say(Notice.NO_LAUNCH, field=lacking.field)
            return None

    def forward(self, course_id: str, name: str) -> None:
        """To the hub of a course, with form and query as they came."""
        self.lti.wake(course_id)
        self.set_status(307)
        self.set_header("Location", self.onward(course_id, name))
        self.finish()

    def onward(self, course_id: str, name: str) -> str:
        """Where the hub of a course takes this in."""
        via = paths.LTI_VIA_SITE if name == "login" else ""
        query = "&".join(part for part in (via, _visible(self.request.query)) if part)
        return f"{paths.hub_lti(course_id)}{name}" + (f"?{query}" if query else "")

    async def dispatch(self, asked: Asked, name: str, form: Pairs) -> None:
        """Send it to its course, or ask which one it is."""
        catalogue = self.catalogue
        doors = list(doors_of(catalogue.site, _entered(catalogue)))
        choice = choose(asked, doors)
        if len(choice.courses) > 1 and asked.context is not None:
            connected = await asyncio.to_thread(self.lti.claims.of, choice.courses)
            doors = list(doors_of(catalogue.site, _entered(catalogue), connected))
            choice = choose(asked, doors)
        if choice.course is not None:
            self.forward(choice.course, name)
        elif choice.named is not None:
            self.say(Notice.OTHER_COURSE, course=pages.shown(choice.named), parameter=choice.by)
        elif choice.courses:
            connecting = {door.course for door in doors if door.is_of(asked) and door.connects}
            teaches = asked.teaches and asked.context is not None
            self._ask_which(choice.courses, name, form, asked, connecting if teaches else set())
        elif (known := platform_name(asked, catalogue.site)) is not None:
            self.say(Notice.UNUSED_PLATFORM, name=known, method=asked.method)
        else:
            log.info("a launch from a platform that no course uses: %s", pages.shown(asked.platform))
            self.say(Notice.UNKNOWN_PLATFORM, platform=pages.shown(asked.platform))

    def _ask_which(
        self, courses: tuple[str, ...], name: str, form: Pairs, asked: Asked, connecting: Collection[str]
    ) -> None:
        """A button for each course; drafts are for those who teach. Before a course is connected, they are asked."""
        found = [self.catalogue.courses[course_id] for course_id in courses]
        published = [c for c in found if c.state is not CourseState.DRAFT or asked.teaches] or found
        choices = [
            CourseButton(
                c.title.text(self.language),
                self.connecting(c.id, name) if c.id in connecting else self.onward(c.id, name),
            )
            for c in published
        ]
        choices.sort(key=lambda choice: choice.title.casefold())
        self.finish(pages.choice_page(self.language, site_title=self.site_title, choices=choices, fields=form))

    def connecting(self, course_id: str, name: str) -> str:
        """Where somebody who teaches is asked whether to connect a course."""
        after = f"&{_visible(self.request.query)}" if self.request.query else ""
        return f"{paths.LTI}connect?{urlencode({'with': course_id, 'by': name})}{after}"


def _visible(query: str) -> str:
    """A query as it came, with everything in percent-encoding that may not stand in a header."""
    return re.sub(r"[^!-~]", lambda found: quote(found[0].encode("latin-1", "replace")), query)


def _entered(catalogue: Catalogue) -> list[Course]:
    """Courses that have a hub."""
    return [course for course in catalogue.courses.values() if course.state is not CourseState.ARCHIVED]


class Posted(Arrival):
    """What only a form of the platform reaches."""

    def get(self) -> None:
        """Somebody has typed or kept the address."""
        self.set_header("Allow", "POST")
        self.say(Notice.FROM_THE_PLATFORM)


class Launch(Posted):
    """A launch of LTI 1.1; of LTI 1.3 too, from platforms that post the token to the tool's own address."""

    async def post(self) -> None:
        """Send it on."""
        if (read := self.read()) is None:
            return
        form, query = read
        is_token = any(name == "id_token" for name, _ in form)
        try:
            asked = asked_by_token(form, query) if is_token else asked_by_form(form, query)
        except Unreadable as lacking:
            self.say(Notice.NO_LAUNCH, field=lacking.field)
            return
        await self.dispatch(asked, "callback" if is_token else "launch", form)


class Login(Arrival):
    """The beginning of a launch of LTI 1.3; any hub that uses the platform can begin it, and another can end it."""

    async def get(self) -> None:
        """By a redirect."""
        await self.post()

    async def post(self) -> None:
        """Send it on."""
        if (read := self.read()) is None:
            return
        form, query = read
        try:
            asked = asked_by_login(form, query)
        except Unreadable as lacking:
            if self.request.method == "GET" and not query:
                self.say(Notice.FROM_THE_PLATFORM)
            else:
                self.say(Notice.NO_LAUNCH, field=lacking.field)
            return
        choice = choose(asked, doors_of(self.catalogue.site, _entered(self.catalogue)))
        if choice.courses:
            self.forward(choice.courses[0], "login")
        else:
            await self.dispatch(asked, "login", form)


class Callback(Posted):
    """The end of a login of LTI 1.3."""

    async def post(self) -> None:
        """Send it on: to the course that the token speaks of, or, without one, to where the login began."""
        if (read := self.read()) is None:
            return
        form, query = read
        has_token = any(name == "id_token" and value for name, value in form)
        try:
            asked = asked_by_token(form, query) if has_token else asked_by_state(form)
        except Unreadable as lacking:
            self.say(Notice.NO_LAUNCH, field=lacking.field)
            return
        choice = choose(asked, doors_of(self.catalogue.site, _entered(self.catalogue)))
        if choice.courses and not has_token:
            self.forward(choice.courses[0], "callback")  # the platform has refused; any of them says so
        else:
            await self.dispatch(asked, "callback", form)


class Connect(Posted):
    """Somebody who teaches has chosen one of several courses; from here the launch goes on as it came, or back."""

    def post(self) -> None:
        """Ask."""
        if (read := self.read()) is None:
            return
        form, query = read
        course_id, name = (dict(query[:2]).get(key, "") for key in ("with", "by"))
        if course_id not in self.catalogue.courses or name not in {"launch", "callback"}:
            self.say(Notice.OTHER_COURSE, course=pages.shown(course_id), parameter="with")
            return
        try:
            asked = asked_by_token(form) if name == "callback" else asked_by_form(form)
        except Unreadable as lacking:
            self.say(Notice.NO_LAUNCH, field=lacking.field)
            return
        # What the address of the launch said is left as it was, for it may be signed.
        asked_for = "&".join(self.request.query.split("&")[2:])
        query_after = f"?{_visible(asked_for)}" if asked_for else ""
        self.finish(
            pages.connect_page(
                self.language,
                site_title=self.site_title,
                course=self.catalogue.courses[course_id].title.text(self.language),
                theirs=pages.shown(asked.title or asked.context or ""),
                onward=f"{paths.hub_lti(course_id)}{name}{query_after}",
                back=f"{paths.LTI}{name}{query_after}",
                fields=form,
            )
        )


class KeySet(LtiPage):
    """The tool's public keys, one set for all hubs."""

    async def get(self) -> None:
        """The JWKS document (RFC 7517 §5). What makes keys is imported when the first platform asks: it is large."""
        from coursewareauthenticator.lti.keys import KeysUnusable, ToolKeys

        try:
            document = await asyncio.to_thread(ToolKeys(self.lti.keys_folder).document, time.time())
        except (KeysUnusable, OSError) as error:
            log.error("the tool's keys cannot be published: %s", error)
            self.refuse(Obstacle.SITE_FAILED, status=503)
            return
        self.set_header("Cache-Control", f"public, max-age={_HOUR}")
        self.set_header("Access-Control-Allow-Origin", "*")
        self.finish(document)

    head = get


class Settings(LtiPage):
    """What the site is as a tool, for platforms that read it from an address; `?course=` makes it one course."""

    def course(self) -> Course | None:
        """The course asked for, None for the whole site. Raises KeyError when there is none that platforms launch."""
        wanted = dict(pairs(self.request.query.encode()[:LARGEST])).get("course")
        if wanted is None:
            return None
        open_to_platforms = {door.course for door in doors_of(self.catalogue.site, _entered(self.catalogue))}
        if wanted not in open_to_platforms:
            raise KeyError(wanted)
        return self.catalogue.courses[wanted]

    def get(self, kind: str) -> None:
        """JSON for LTI 1.3 (Canvas), XML for LTI 1.1."""
        try:
            tool = tool_of(self.catalogue.site, self.lti.addresses, self.course())
        except (KeyError, Unreadable) as error:
            self.say(Notice.NO_PUBLIC_ADDRESS, course=pages.shown(error.args[0]))
            return
        if kind == "json":
            document = configuration(tool, SCOPES) | {"redirect_uris": list(self.lti.addresses.callbacks)}
            self.finish(document)
        else:
            self.set_header("Content-Type", "application/xml; charset=utf-8")
            self.finish(cartridge(tool))

    head = get
