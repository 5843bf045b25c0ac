"""Assignment and Grade Services 2.0: columns, scores and results of a platform's gradebook.

Runs in: hub. Every method raises ServiceFailure, and asks only for what the launch has granted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from coursewareauthenticator.lti.services.columns import (
    LINE_ITEM_TYPE,
    LINE_ITEMS_TYPE,
    RESULTS_TYPE,
    Column,
    Result,
    column_body,
    read_column,
    read_result,
    results_url,
    same_column,
    updated,
    with_query,
)
from coursewareauthenticator.lti.services.families import Family, family
from coursewareauthenticator.lti.services.grades import SCORE_TYPE, Grade, score_body, scores_url
from coursewareauthenticator.lti.services.http import Answer, Call
from coursewareauthenticator.lti.services.platforms import Check, Platforms, unchecked
from coursewareauthenticator.lti.services.reasons import Kind, Reason, ServiceFailure
from coursewareauthenticator.lti.services.targets import (
    LINE_ITEM,
    LINE_ITEM_READ,
    RESULT_READ,
    SCORE,
    GradebookTarget,
    LineItemTarget,
)
from coursewareauthenticator.lti.tokens import strict_json

PAGE: Final = 100
"""Entries that are asked for at once."""
T = TypeVar("T")


class Gradebooks:
    """Gradebooks of a course's platforms."""

    def __init__(self, platforms: Platforms) -> None:
        self._platforms = platforms

    async def columns(
        self,
        book: GradebookTarget,
        *,
        resource_id: str | None = None,
        tag: str | None = None,
        link: str | None = None,
    ) -> list[Column]:
        """The tool's columns, all or those that fit; platforms that do not look at the filter do no harm."""
        scope = _granted(book.scopes, LINE_ITEM_READ, LINE_ITEM)
        url = with_query(book.url, limit=PAGE, resource_id=resource_id, tag=tag, resource_link_id=link)
        call = Call("GET", url, {"Accept": LINE_ITEMS_TYPE})
        found = await self._list(book.registration, scope, call, family(book.platform), read_column)
        wanted = {"resource_id": resource_id, "tag": tag, "link": link}
        fitting = {name: value for name, value in wanted.items() if value is not None}
        return [one for one in found if all(getattr(one, name) == value for name, value in fitting.items())]

    async def make(self, book: GradebookTarget, column: Column) -> Column:
        """Make a column. ValueError when it lacks something, before anything is sent."""
        scope = _granted(book.scopes, LINE_ITEM)
        headers = {"Content-Type": LINE_ITEM_TYPE, "Accept": LINE_ITEM_TYPE}
        call = Call("POST", book.url, headers, column_body(column, book.platform))
        return _column(await self._platforms.ask(book.registration, scope, call, family(book.platform)), None)

    async def change(self, book: GradebookTarget, found: Column, wanted: Column) -> Column:
        """Change a column that is there; what the platform has set beside it stays."""
        scope = _granted(book.scopes, LINE_ITEM)
        column = updated(found, wanted)
        headers = {"Content-Type": LINE_ITEM_TYPE, "Accept": LINE_ITEM_TYPE}
        call = Call("PUT", column.url or book.url, headers, column_body(column, book.platform))
        return _column(await self._platforms.ask(book.registration, scope, call, family(book.platform)), column)

    async def remove(self, book: GradebookTarget, column: Column) -> None:
        """Remove a column with all its grades; one that is not there is removed."""
        scope = _granted(book.scopes, LINE_ITEM)
        if column.url is None:
            return
        try:
            await self._platforms.ask(book.registration, scope, Call("DELETE", column.url), family(book.platform))
        except ServiceFailure as failed:
            if failed.kind is not Kind.GONE:
                raise

    async def ensure(self, book: GradebookTarget, wanted: Column) -> Column:
        """The column that is meant: found by its ids, changed where it differs, made where there is none.

        Asked again after an answer was lost, it finds what was made.
        """
        candidates = await self.columns(book, resource_id=wanted.resource_id) if wanted.resource_id else []
        found = same_column(wanted, candidates)
        if found is None and wanted.link is not None:
            found = same_column(wanted, await self.columns(book, link=wanted.link))
        if found is None:
            return await self.make(book, wanted)
        if column_body(updated(found, wanted), book.platform) == column_body(found, book.platform):
            return found
        return await self.change(book, found, wanted)

    async def send(
        self,
        target: LineItemTarget,
        grade: Grade,
        stamp: int,
        *,
        lift_zero: bool = False,
        check: Check = unchecked,
    ) -> None:
        """Send one score. `stamp`, in milliseconds since 1970, has to be later than all before of this person here."""
        scope = _granted(target.scopes, SCORE)
        body = score_body(target, grade, stamp, lift_zero=lift_zero)
        call = Call("POST", scores_url(target.url), {"Content-Type": SCORE_TYPE}, body)
        kind = family(target.platform)
        await self._platforms.ask(target.registration, scope, call, kind, person=True, check=check)

    async def result(self, target: LineItemTarget) -> Result | None:
        """What stands in the gradebook for one person; None when nothing does."""
        found = await self._results(target, target.user)
        return next((result for result in found if result.user == target.user), None)

    async def results(self, target: LineItemTarget) -> list[Result]:
        """What stands in the whole column of `target`, to be compared with one's own before it is overwritten."""
        return await self._results(target, None)

    async def _results(self, target: LineItemTarget, user: str | None) -> list[Result]:
        scope = _granted(target.scopes, RESULT_READ)
        url = results_url(target.url, user)
        call = Call("GET", url if user else with_query(url, limit=PAGE), {"Accept": RESULTS_TYPE})
        kind = family(target.platform)
        return await self._list(target.registration, scope, call, kind, lambda value, _: read_result(value))

    async def _list(
        self, registration: str, scope: str, call: Call, kind: Family, read: Callable[[Any, str], T | None]
    ) -> list[T]:
        """The readable entries of all pages."""
        found: list[T] = []
        async for answer in self._platforms.pages(registration, scope, call, kind):
            entries = _json(answer)
            if not isinstance(entries, list):
                raise ServiceFailure(Kind.RETRY, Reason.UNREADABLE)
            found += [one for entry in entries if (one := read(entry, answer.url)) is not None]
        return found


def _granted(scopes: frozenset[str], *wanted: str) -> str:
    """The first of the rights that the launch has granted. ServiceFailure when it has granted none."""
    found = next((scope for scope in wanted if scope in scopes), None)
    if found is None:
        raise ServiceFailure(Kind.PERMANENT, Reason.NOT_ALLOWED)
    return found


def _column(answer: Answer, sent: Column | None) -> Column:
    """The column of an answer; a platform may answer a change with nothing."""
    found = read_column(_json(answer), answer.url) if answer.body else sent
    if found is None:
        raise ServiceFailure(Kind.RETRY, Reason.UNREADABLE)
    return found


def _json(answer: Answer) -> Any:
    try:
        return strict_json(answer.body)
    except ValueError:
        raise ServiceFailure(Kind.RETRY, Reason.UNREADABLE) from None
