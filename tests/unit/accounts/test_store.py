"""The table of accounts in SQLite; tests/hubs/test_postgres.py runs the same on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.accounts import Clock, check_store

from coursewareauthenticator.accounts.store import AccountBook


@pytest.fixture
def book(tmp_path: Path) -> Iterator[tuple[AccountBook, Clock]]:
    clock = Clock()
    made = AccountBook(f"sqlite:///{tmp_path}/hub.sqlite", clock)
    yield made, clock
    made.close()


@pytest.mark.parametrize("name", sorted(check_store))
def test_store(book: tuple[AccountBook, Clock], name: str) -> None:
    check_store[name](*book)


def test_nothing_that_opens_an_account_is_in_the_file(book: tuple[AccountBook, Clock], tmp_path: Path) -> None:
    from coursewareauthenticator.accounts.people import Person

    store, _ = book
    made = store.add(Person("sam"), 60)
    assert made.token not in repr(made) and made.token not in repr(store)
    store.set_password(made.token, "argon2-hash")
    store.close()
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"argon2-hash" in stored and made.token.encode() not in stored
