"""What happened in the course, for its owners and instructors: a page, and the same as a table for spreadsheets."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import groupby
from typing import Any, Final
from urllib.parse import urlencode

from jupyterhub.handlers.base import BaseHandler
from markupsafe import Markup
from sqlalchemy.exc import SQLAlchemyError
from tornado.web import HTTPError, authenticated

from coursewarehub.hub.audit.sentences import KINDS, sentence
from coursewarehub.hub.localisation import Localised, language_of
from coursewarehub.i18n import N_, translations
from coursewarehub.model.names import normalise_name
from coursewarehub.state.audit import AuditBook, Entry, Wanted
from coursewarehub.wire.audit import READ_AUDIT

COLUMNS: Final = (
    "time", "kind", "action", "person", "actor", "by", "method", "role", "was", "state", "reason", "target", "server",
    "address", "count", "sentence",
)  # fmt: skip
"""Of the table for spreadsheets."""

ON_A_PAGE: Final = 50
_AT_ONCE: Final = 1000
_LONGEST_ID: Final = 18
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_LOCALES: Final = {"en": "en_GB", "ja": "ja_JP", "fr": "fr_FR"}
_NO_DAY: Final = N_("“Day” must be a date such as 2026-04-01.")
_PASSWORD: Final = N_("Course password")
_NOT_READ: Final = N_("The course log cannot be read at the moment. Try again in a minute.")


def audit_handlers() -> list[tuple[str, type[Any]]]:
    """Paths below the hub's, and handlers."""
    return [(r"/audit", AuditHandler), (r"/audit\.csv", AuditTableHandler)]


@dataclass(frozen=True)
class Line:
    """One event as the page shows it."""

    moment: datetime
    time: str
    sentence: Markup
    details: tuple[str, ...]
    failure: bool


@dataclass(frozen=True)
class Day:
    """The events of one day, the newest first."""

    name: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Question:
    """What was asked for: filters, and where in the list; `problem` is a sentence about what cannot be used."""

    person: str = ""
    kind: str = ""
    day: str = ""
    before: int = 0
    problem: str = ""

    @classmethod
    def of(cls, arguments: Any) -> Question:
        """Read a query; `arguments(name)` is the text given under a name, or empty."""
        person, kind, day, before = (arguments(name) for name in ("person", "kind", "day", "before"))
        readable = not day or _day(day) is not None
        return cls(
            person=normalise_name(person)[:64],
            kind=kind if kind in KINDS else "",
            day=day if readable else "",
            before=int(before) if before.isascii() and before.isdigit() and len(before) <= _LONGEST_ID else 0,
            problem="" if readable else _NO_DAY,
        )

    @property
    def wanted(self) -> Wanted:
        """The filters for the book; a day is one of the machine's time zone."""
        day = _day(self.day)
        if day is None:
            return Wanted(self.person, self.kind)
        start = datetime.combine(day, time.min).astimezone()
        end = datetime.combine(day + timedelta(days=1), time.min).astimezone()
        return Wanted(self.person, self.kind, start, end)

    def query(self, before: int = 0) -> str:
        """The same filters as a query of a link, with a leading `?`; empty without any."""
        values = {"person": self.person, "kind": self.kind, "day": self.day, "before": before or ""}
        given = {key: value for key, value in values.items() if value}
        return f"?{urlencode(given)}" if given else ""


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if date(1970, 1, 2) <= day <= date(9000, 1, 1) else None


class _AuditHandler(BaseHandler):
    """For those who may read the course's audit."""

    @property
    def book(self) -> AuditBook:
        book: AuditBook = self.settings["audit_book"]
        return book

    @property
    def language(self) -> str:
        return language_of(self, self.settings["template_vars"])

    @property
    def ways(self) -> dict[str, str]:
        """What the ways to log in to the course are called on its login page, by their names."""
        logins = self.settings["template_vars"]["course"].get("logins", ())
        return {login["name"]: way_called(login, self.language) for login in logins}

    def question(self) -> Question:
        """What was asked for; HTTPError 403 for those who may not ask."""
        if not self.has_scope(READ_AUDIT):
            raise HTTPError(403)
        return Question.of(lambda name: self.get_query_argument(name, ""))


class AuditHandler(_AuditHandler):
    """The page."""

    @authenticated
    async def get(self) -> None:
        """Fifty events, and the way to older ones."""
        question = self.question()
        problem, found = question.problem, []
        if problem:
            self.set_status(400)
        else:
            try:
                found = await asyncio.to_thread(
                    self.book.newest, question.wanted, before=question.before, most=ON_A_PAGE + 1
                )
            except SQLAlchemyError as error:
                self.log.error("The audit cannot be read: %s", type(error).__name__)
                self.set_status(503)
                problem = _NOT_READ
        more = len(found) > ON_A_PAGE
        html = await self.render_template(
            "audit.html",
            question=question,
            problem=problem,
            kinds=KINDS,
            days=days_of(found[:ON_A_PAGE], self.language, self.ways),
            zone=_zone(self.language),
            older=question.query(found[ON_A_PAGE - 1].id) if more else "",
            newest=question.query() or "?" if question.before else "",
            table=question.query(),
        )
        self.set_header("Cache-Control", "no-store")
        self.finish(html)


class AuditTableHandler(_AuditHandler):
    """The same as comma-separated values, in UTF-8 with a mark for spreadsheets."""

    @authenticated
    async def get(self) -> None:
        """All events that were asked for, the newest first."""
        question = self.question()
        name = f"log-{self.settings['template_vars']['course']['id']}-{datetime.now().astimezone():%Y-%m-%d}.csv"
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{name}"')
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        before, text = 0, "\ufeff" + table_of([COLUMNS])
        while True:
            found = await asyncio.to_thread(self.book.newest, question.wanted, before=before, most=_AT_ONCE)
            self.write(text + table_of(row_of(entry, self.language) for entry in found))
            await self.flush()
            text = ""
            if len(found) < _AT_ONCE:
                break
            before = found[-1].id


def days_of(entries: Sequence[Entry], language: str, ways: Mapping[str, str] | None = None) -> list[Day]:
    """Events by day, in words, both in the order given; `ways` says what the ways to log in are called."""
    from babel.dates import format_date

    local = [(entry.time.astimezone(), entry) for entry in entries]
    return [
        Day(
            format_date(day, "full", locale=_LOCALES[language]),
            tuple(_line(moment, entry, language, ways or {}) for moment, entry in some),
        )
        for day, some in groupby(local, key=lambda each: each[0].date())
    ]


def _line(moment: datetime, entry: Entry, language: str, ways: Mapping[str, str]) -> Line:
    from babel.dates import format_time

    catalogue = translations(language)
    count = int(entry.data.get("count", 1))
    times = catalogue.ngettext("%(number)s time", "%(number)s times", count) % {"number": count}
    method = str(entry.data.get("method", ""))
    details = [
        ways.get(method, method),
        str(entry.data.get("server", "")),
        str(entry.data.get("target", "")),
        str(entry.data.get("address", "")),
        times if count > 1 and entry.kind != "audit" else "",
    ]
    return Line(
        moment=moment,
        time=format_time(moment, "medium", locale=_LOCALES[language]),
        sentence=Markup(sentence(entry, catalogue.gettext, _dressed)),  # noqa: S704 - escaped there
        details=tuple(filter(None, details)),
        failure=entry.failure or entry.kind == "audit",
    )


def way_called(login: Mapping[str, Any], language: str) -> str:
    """What a way to log in (`hub.logins.login_choices`) is called in a language; its name where it has no title."""
    title = login.get("title")
    if isinstance(title, Localised):
        return title.text(language)
    if title:
        return str(title)
    gettext = translations(language).gettext
    return gettext(_PASSWORD) if login.get("kind") == "workshop" else str(login.get("name", ""))


def _dressed(name: str) -> Markup:
    """A name as HTML; it turns nothing around it round."""
    return Markup("<bdi>{}</bdi>").format(name)


def _zone(language: str) -> str:
    from babel.dates import format_datetime

    return str(format_datetime(datetime.now().astimezone(), "ZZZZ", locale=_LOCALES[language]))


def row_of(entry: Entry, language: str) -> list[str]:
    """One event for a spreadsheet, in the order of `COLUMNS`; nothing in it is a formula."""
    values: dict[str, Any] = {
        **entry.data,
        "time": entry.time.astimezone().isoformat(timespec="seconds"),
        "kind": entry.kind,
        "action": entry.action,
        "person": entry.person,
        "actor": entry.actor,
        "sentence": sentence(entry, translations(language).gettext),
    }
    return [harmless(str(values.get(column, ""))) for column in COLUMNS]


def harmless(cell: str) -> str:
    """A text that no spreadsheet takes as a formula (owasp.org/www-community/attacks/CSV_Injection)."""
    return f"'{cell}" if cell.lstrip(" \u3000").startswith(_FORMULA) else cell


def table_of(rows: Iterable[Iterable[str]]) -> str:
    """Rows as comma-separated values (RFC 4180)."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
