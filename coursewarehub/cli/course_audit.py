"""`coursewarehub course audit`: what happened in a course, for operators."""

from __future__ import annotations

import argparse
import os
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from coursewarehub.cli.course_files import find_course
from coursewarehub.cli.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coursewarehub.cli import Subparsers
    from coursewarehub.state.audit import AuditBook, Entry, Wanted

_AT_ONCE = 1000


def add_audit(verbs: Subparsers) -> None:
    """Add `course audit`."""
    parser = verbs.add_parser("audit", help="print who logged in, was refused, changed or removed, the oldest first")
    parser.add_argument("id", metavar="ID")
    parser.add_argument("--json", action="store_true", help="for programs: one JSON object a line")
    parser.add_argument(
        "--since",
        metavar="TIME",
        help="only what is not older: a duration such as `7d` or `12h`, or a day (2026-04-01)",
    )
    parser.set_defaults(run=run_audit)


def run_audit(args: argparse.Namespace) -> int:
    """Print the events that the course's hub has kept; the hub may be asleep."""
    from sqlalchemy.exc import SQLAlchemyError

    from coursewarehub.state.audit import Wanted

    root = Path(args.site).resolve()
    since = moment(args.since, datetime.now().astimezone()) if args.since else None
    book = _book(root, find_course(root, args.id).id)
    if book is None:
        return 0
    try:
        for entry in _oldest_first(book, Wanted(since=since)):
            print(as_json(entry) if args.json else as_text(entry))
    except SQLAlchemyError as error:
        raise CommandError(f"the database of the course's hub cannot be read: {type(error).__name__}.") from None
    finally:
        book.close()
    return 0


def moment(text: str, now: datetime) -> datetime:
    """The moment that a duration (before `now`) or a day (its start, in the time zone of `now`) means.

    Raises CommandError.
    """
    from coursewarehub.model.values import parse_duration

    try:
        return datetime.combine(date.fromisoformat(text), time.min, now.tzinfo)
    except ValueError:
        pass
    try:
        seconds = parse_duration(text)
        return now - timedelta(seconds=seconds or 0) if seconds else datetime.min.replace(tzinfo=now.tzinfo)
    except ValueError:
        raise CommandError(
            f"--since must be a duration such as `7d` or `12h`, or a day such as `2026-04-01`; it is `{text[:40]}`."
        ) from None


def _book(root: Path, course_id: str) -> AuditBook | None:
    """The course's audit; None when no hub has run yet."""
    from coursewarehub.model.load import load_site
    from coursewarehub.state.audit import AuditBook
    from coursewarehub.state.databases import SqliteDatabase, hub_database
    from coursewarehub.state.folders import SiteFolders

    site = load_site(root).site
    database = hub_database(SiteFolders.of(root, site), site, course_id, os.environ)
    if isinstance(database, SqliteDatabase) and not database.file.exists():
        return None
    return AuditBook(database.url)


def _oldest_first(book: AuditBook, wanted: Wanted) -> Iterator[Entry]:
    pages: list[list[Entry]] = []
    while True:
        before = pages[-1][-1].id if pages and pages[-1] else 0
        found = book.newest(wanted, before=before, most=_AT_ONCE)
        pages.append(found)
        if len(found) < _AT_ONCE:
            break
    for page in reversed(pages):
        yield from reversed(page)


def as_json(entry: Entry) -> str:
    """One event on one line."""
    import json

    known = {"time": entry.time.isoformat(timespec="milliseconds"), "kind": entry.kind, "action": entry.action}
    who = {key: value for key, value in (("person", entry.person), ("actor", entry.actor)) if value}
    return json.dumps({**known, **who, **entry.data}, ensure_ascii=False)


def as_text(entry: Entry) -> str:
    """One event in words; nothing in it can move a terminal's cursor."""
    from coursewarehub.hub.audit.sentences import sentence
    from coursewarehub.wire.audit import clean

    keys = ("method", "server", "target", "address")
    details = [str(entry.data[key]) for key in keys if entry.data.get(key)]
    if int(entry.data.get("count", 1)) > 1 and entry.kind != "audit":
        details.append(f"{entry.data['count']} times")
    line = f"{entry.time.astimezone():%Y-%m-%d %H:%M:%S}  {sentence(entry)}"
    return clean(f"{line} ({', '.join(details)})" if details else line, 1000)
