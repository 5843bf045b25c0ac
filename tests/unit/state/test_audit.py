"""The audit's table: it keeps order, forgets by age and number, and lets failures push nothing else out."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import SQLAlchemyError

from coursewarehub.state.audit import AuditBook, Entry, Keeping, Wanted

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)


def a_book(folder: Path, **keeping: int) -> AuditBook:
    return AuditBook(f"sqlite:///{folder}/hub.sqlite", Keeping(**keeping))


def entry(person: str = "sam", minutes: float = 0, **changes: object) -> Entry:
    values: dict[str, object] = {"time": NOW + timedelta(minutes=minutes), "kind": "login", "action": "succeeded"}
    return Entry(**{**values, "person": person, **changes})  # type: ignore[arg-type]


def people(book: AuditBook, wanted: Wanted | None = None, **which: int) -> list[str]:
    return [each.person for each in book.newest(wanted or Wanted(), **which)]


def test_the_newest_first_and_page_by_page(tmp_path: Path) -> None:
    book = a_book(tmp_path)
    assert people(book) == []
    book.append([entry(f"p{number}", number, data={"role": "student", "名": "é"}) for number in range(7)])
    assert people(book, most=3) == ["p6", "p5", "p4"]
    third = book.newest(most=3)[-1]
    assert third.data == {"role": "student", "名": "é"} and third.time == NOW + timedelta(minutes=4)
    assert people(book, before=third.id, most=3) == ["p3", "p2", "p1"]
    again = a_book(tmp_path)
    assert people(again, most=1) == ["p6"]


def test_filters(tmp_path: Path) -> None:
    book = a_book(tmp_path)
    book.append(
        [
            entry("sam"),
            entry("samira", 1, kind="member", action="removed"),
            entry("kim", 2, kind="server", action="stop", actor="sam"),
            entry("50%_off", 3),
            entry("501 off", 4),
        ]
    )
    assert people(book, Wanted(person="sam")) == ["kim", "samira", "sam"]
    assert people(book, Wanted(person="%_")) == ["50%_off"]
    assert people(book, Wanted(kind="member")) == ["samira"]
    assert people(book, Wanted(since=NOW + timedelta(minutes=1), until=NOW + timedelta(minutes=3))) == ["kim", "samira"]
    tokyo = NOW.astimezone().replace(tzinfo=None).astimezone()
    assert people(book, Wanted(until=tokyo + timedelta(seconds=1))) == ["sam"]


def test_what_is_old_is_forgotten(tmp_path: Path) -> None:
    book = a_book(tmp_path, days=10)
    book.append([entry("old", -10 * 24 * 60 - 1), entry("young", -10 * 24 * 60 + 1)])
    assert book.prune(NOW) == 1
    assert people(book) == ["young"]


def test_a31_failures_push_nothing_else_out(tmp_path: Path) -> None:
    book = a_book(tmp_path, rows=1000)
    book.append([entry(f"p{number}") for number in range(600)])
    book.append([entry("", kind="login", action="failed", failure=True) for _ in range(5000)])
    assert book.prune(NOW) == 4750
    kept = book.newest(most=10_000)
    assert [sum(each.failure is failure for each in kept) for failure in (False, True)] == [600, 250]
    book.append([entry(f"q{number}") for number in range(500)])
    assert book.prune(NOW) == 350
    assert len(people(book, most=10_000)) == 1000 and people(book, most=1) == ["q499"]


def test_ids_are_never_used_again(tmp_path: Path) -> None:
    book = a_book(tmp_path, days=1)
    book.append([entry(minutes=-3000)])
    first = book.newest()[0].id
    book.prune(NOW)
    book.append([entry()])
    assert book.newest()[0].id > first


def test_several_threads_may_be_the_first(tmp_path: Path) -> None:
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        book = a_book(folder)
        with ThreadPoolExecutor(4) as threads:
            asked = [threads.submit(book.fact, "state"), threads.submit(book.append, [entry()])]
            asked += [threads.submit(book.remember, f"f{each}", "x") for each in range(2)]
        assert [each.exception() for each in asked] == [None] * 4
        book.close()


def test_facts(tmp_path: Path) -> None:
    book = a_book(tmp_path)
    assert book.fact("state") == ""
    book.remember("state", "open")
    book.remember("state", "closed")
    assert a_book(tmp_path).fact("state") == "closed"


def test_reading_makes_nothing_and_a_spoilt_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "hub.sqlite").touch()
    assert a_book(tmp_path).newest() == []
    with sqlite3.connect(tmp_path / "hub.sqlite") as database:
        assert database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    (tmp_path / "hub.sqlite").write_bytes(b"x" * 4096)
    with pytest.raises(SQLAlchemyError):
        a_book(tmp_path).newest()
    assert "sqlite" not in repr(a_book(tmp_path))
