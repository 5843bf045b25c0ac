"""The form, checked by the accounts of the course."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from coursewareauthenticator.accounts.hashing import Hasher
from coursewareauthenticator.accounts.people import State
from coursewareauthenticator.accounts.rules import LONGEST, normalise
from coursewareauthenticator.accounts.store import AccountBook
from coursewarehub.model.access import Arrival, Identity, group_mark
from coursewarehub.model.names import valid_name
from coursewarehub.model.roles import Role

NAME: Final = "accounts"


class AccountsMethod:
    """Name and password of somebody's own; `pages` are handlers of JupyterHub with which people set theirs."""

    name = NAME

    def __init__(self, book: AccountBook, hasher: Hasher, pages: Sequence[Any] = ()) -> None:
        self.book = book
        self.hasher = hasher
        self._pages = pages

    def __repr__(self) -> str:
        return f"AccountsMethod({self.book!r})"

    def __deepcopy__(self, _: object) -> AccountsMethod:
        """traitlets copies what is configured; there is one pool of threads."""
        return self

    def handlers(self) -> Sequence[Any]:
        """The pages."""
        return self._pages

    async def check(self, username: str, password: str) -> Arrival | None:
        """Who that is; None when name and password do not fit, at the same cost whoever it is. LoginFailedError."""
        try:
            name = valid_name(username)
        except ValueError:
            name = ""
        typed = normalise(password[: 4 * LONGEST])
        found = await asyncio.to_thread(self.book.credentials, name)
        hashed = found[1] if found is not None and found[0].state is State.ACTIVE else None
        fits = await self.hasher.fits(hashed, typed)
        if not fits or found is None or hashed is None:
            return None
        if self.hasher.outdated(hashed):
            better = await self.hasher.hash(typed)
            await asyncio.to_thread(self.book.replace_hash, name, hashed, better)
        await asyncio.to_thread(self.book.logged_in, name)
        return Arrival(Identity(NAME, name), name, groups_of(found[0].person.role, found[0].person.groups))

    async def look_again(self, arrival: Arrival) -> Arrival | None:
        """As the account is now; None when it has ended."""
        account = await asyncio.to_thread(self.book.find, arrival.identity.subject)
        if account is None or account.state is not State.ACTIVE:
            return None
        return replace(arrival, groups=groups_of(account.person.role, account.person.groups))

    async def standing(self) -> tuple[Mapping[str, frozenset[str]], frozenset[str]]:
        """The groups of everybody who may log in, and for whom everything must end that is held; by subject."""
        active, to_end = await asyncio.to_thread(self.book.standing)
        return {name: groups_of(role, groups) for name, (role, groups) in active.items()}, to_end

    async def ended(self, subjects: frozenset[str]) -> None:
        """Everything that these held has ended."""
        await asyncio.to_thread(self.book.ended, subjects)


def groups_of(role: Role, groups: Iterable[str] = ()) -> frozenset[str]:
    """What `decide` reads the role from, and the groups of the course."""
    return frozenset({str(role), *(group_mark(group) for group in groups)})
