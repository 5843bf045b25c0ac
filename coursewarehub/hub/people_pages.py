"""The page on which owners and instructors invite people, and change or end their accounts.

All of it is forms of one request each, so it works without JavaScript. A link that was made is shown once, in the
answer.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

from tornado.web import HTTPError

from coursewareauthenticator.accounts.encodings import ENCODINGS
from coursewareauthenticator.accounts.people import Account, Person
from coursewareauthenticator.accounts.plan import NOT_IN_FILE, Plan, may_manage, plan_import
from coursewareauthenticator.accounts.roster import Entry, Roster, parse, read, written
from coursewareauthenticator.accounts.sentences import Sentence, say
from coursewareauthenticator.accounts.store import Invitation, NoSuchAccount, Write
from coursewarehub.hub import places
from coursewarehub.hub.accounts import listed_in
from coursewarehub.hub.password_pages import AccountPage
from coursewarehub.hub.removal import end_memberships
from coursewarehub.i18n import N_
from coursewarehub.model import Course, Role
from coursewarehub.model.names import natural_key

MOST_SHOWN: Final = 200
"""Lines of a list or a preview; the rest is counted, so that a large course makes no page that takes long."""

MAY_NOT: Final = N_("You may not do that with %(name)s: ask an owner of the course.")
GONE: Final = N_("There is no account %(name)s any more, or it has changed meanwhile. Look at the list again.")
HAS_ONE: Final = N_("%(name)s has an account already.")
DISABLED: Final = N_("%(name)s is disabled, and all that they held has ended.")
REMOVED: Final = N_("%(name)s is removed, and all that they held has ended. Their files are kept.")
NO_FILE: Final = N_("Choose a file first.")
DOES_NOT_EXIST: Final = N_("Something in the form is missing. Go back to the list and try again.")


@dataclass(frozen=True)
class Line:
    """One person in the list; `account` is None for somebody whom only the course's file names."""

    name: str
    role: Role
    by_file: bool
    account: Account | None
    may_change: bool

    def has(self, text: str) -> bool:
        """Whether a text is part of a name or the address; case does not count."""
        person = self.account.person if self.account is not None else Person(self.name)
        folded = text.strip().casefold()
        return any(folded in part.casefold() for part in (self.name, person.display, person.mail))

    @property
    def seen(self) -> str:
        """The day of the last login, where the server is; empty when there was none."""
        if self.account is None or self.account.last_login is None:
            return ""
        return datetime.fromtimestamp(self.account.last_login).astimezone().date().isoformat()


class StaffPage(AccountPage):
    """A page for those who may manage the course's accounts; others do not learn that it is there."""

    async def prepare(self) -> None:
        """JupyterHub's, then whether the visitor may be here."""
        await super().prepare()
        if self._finished:
            return
        if self.current_user is None:
            if self.request.method in {"GET", "HEAD"}:
                self.redirect(f"{self.settings['login_url']}?next={self.request.path}")
                return
            raise HTTPError(403)
        if not self.has_scope(places.PEOPLE_SCOPE):
            raise HTTPError(403)

    @cached_property
    def actor(self) -> Role:
        """What the visitor is in the course: the least, if that cannot be said. Not to be asked first in a thread."""
        held = {group.name for group in self.current_user.groups}
        return next((role for role in Role if role in held), Role.OBSERVER)

    def may(self, account: Account, *more: Role) -> bool:
        """Whether the visitor may change an account."""
        return may_manage(self.actor, account.person.role, listed_in(self.desk.course)(account.name), *more)


class PeoplePage(StaffPage):
    """The list, and what can be done with one person."""

    async def get(self) -> None:
        """The list."""
        await self._list()

    async def post(self) -> None:
        """Do one thing with one person."""
        steps = {"invite": self._invite, "link": self._link, "disable": self._disable, "remove": self._remove}
        step = steps.get(self.form_text("action"))
        if step is None:
            await self._list(wrong=[say(DOES_NOT_EXIST)], status=400)
            return
        try:
            await step()
        except NoSuchAccount as error:
            await self._list(wrong=[say(GONE, name=str(error))], status=409)

    async def _invite(self) -> None:
        """Somebody new, from the small form: a roster of one."""
        fields = ("name", "display name", "e-mail", "role")
        cells = ["".join(self.form_text(field).splitlines()).replace('"', '""') for field in fields]
        roster = parse(f"{','.join(fields)}\n" + ",".join(f'"{cell}"' for cell in cells) + "\n")
        if roster.mistakes:
            await self._list(wrong=[mistake.sentence for mistake in roster.mistakes], status=400)
            return
        entry = roster.entries[0]
        if await asyncio.to_thread(self.desk.book.find, entry.name) is not None:
            await self._list(wrong=[say(HAS_ONE, name=entry.name)], status=409)
            return
        links, plan = await write(self, [entry])
        if plan.mistakes:
            await self._list(wrong=[mistake.sentence for mistake in plan.mistakes], status=403)
            return
        await self._list(links=links, notes=[note for note in plan.notes if note.template != NOT_IN_FILE])

    async def _link(self) -> None:
        account = await self._chosen()
        if account is None:
            return
        made = await asyncio.to_thread(self.desk.make_link, account)
        self.log.info("%r has made a link for %r", self.current_user.name, account.name)
        await self._list(links=[made])

    async def _disable(self) -> None:
        account = await self._chosen()
        if account is not None:
            await asyncio.to_thread(self.desk.book.disable, account.name)
            await end_memberships(self.app, self.authenticator)
            self.log.info("%r has disabled %r", self.current_user.name, account.name)
            await self._list(notes=[say(DISABLED, name=account.name)])

    async def _remove(self) -> None:
        account = await self._chosen()
        if account is not None:
            await asyncio.to_thread(self.desk.book.remove, account.name)
            await end_memberships(self.app, self.authenticator)
            self.log.info("%r has removed %r", self.current_user.name, account.name)
            await self._list(notes=[say(REMOVED, name=account.name)])

    async def _chosen(self) -> Account | None:
        """The account that the form is about; None after the answer that it must not be changed. NoSuchAccount."""
        name = self.form_text("name")
        account = await asyncio.to_thread(self.desk.book.find, name) if name.isprintable() else None
        if account is None:
            raise NoSuchAccount(name)
        if not self.may(account):
            await self._list(wrong=[say(MAY_NOT, name=name)], status=403)
            return None
        return account

    async def _list(
        self,
        links: Sequence[Invitation] = (),
        notes: Iterable[Sentence] = (),
        wrong: Iterable[Sentence] = (),
        status: int = 200,
    ) -> None:
        accounts = await asyncio.to_thread(self.desk.book.people)
        actor = self.actor
        everybody = await asyncio.to_thread(lines, self.desk.course, accounts, actor)
        wanted = self.get_query_argument("find", "")[:100]
        found = [line for line in everybody if line.has(wanted)]
        await self.show(
            "people.html",
            status,
            lines=found[:MOST_SHOWN],
            more=len(found) - len(found[:MOST_SHOWN]),
            everybody=len(everybody),
            wanted=wanted,
            links=[(made.name, self.desk.link(made), made.ends) for made in links],
            notes=list(notes),
            wrong=list(wrong),
            roles=[role for role in Role if may_manage(actor, role)],
            encodings=[name for name in ENCODINGS if name not in {"utf-16", "shift_jis", "cp1252"}],
            now=self.desk.book.now(),
        )


class ImportPage(StaffPage):
    """A roster: what it would change, and, after a second look, the change."""

    async def get(self) -> None:
        """Nothing is kept between the steps: back to where the file is chosen."""
        self.redirect(f"{self.hub.base_url}{places.PEOPLE}")

    async def post(self) -> None:
        """The preview of a file, or, with the text of the preview, the import."""
        confirmed = self.form_text("roster")
        if confirmed:
            await self._import(confirmed)
            return
        files = self.request.files.get("file", [])
        if not files or not files[0].filename:
            await self._preview(Roster(), Plan(), [say(NO_FILE)])
            return
        roster = await asyncio.to_thread(read, bytes(files[0].body), self.form_text("encoding") or None)
        await self._preview(roster, await self._plan(roster))

    async def _plan(self, roster: Roster) -> Plan:
        accounts = await asyncio.to_thread(self.desk.book.people)
        return await asyncio.to_thread(plan_import, roster.entries, accounts, listed_in(self.desk.course), self.actor)

    async def _preview(self, roster: Roster, plan: Plan, wrong: Iterable[Sentence] = ()) -> None:
        mistakes = [*roster.mistakes, *plan.mistakes]
        wrong = list(wrong)
        notes = [*roster.notes, *(() if mistakes else plan.notes)]
        await self.show(
            "people_import.html", 400 if mistakes or wrong else 200, roster=roster, plan=plan, mistakes=mistakes,
            notes=notes, wrong=wrong, most=MOST_SHOWN,
        )  # fmt: skip

    async def _import(self, text: str) -> None:
        roster = await asyncio.to_thread(parse, text)
        if roster.mistakes:
            await self._preview(roster, Plan())
            return
        links, plan = await write(self, roster.entries)
        if plan.mistakes:
            await self._preview(roster, plan)
            return
        self.log.info("%r has imported a roster: %d new", self.current_user.name, len(links))
        addresses = {made.name: self.desk.link(made) for made in links}
        file = written(plan.add, {"link": addresses})
        encoded = base64.b64encode(f"\ufeff{file}".encode()).decode("ascii")
        shown = list(addresses.items())[:MOST_SHOWN]
        await self.show("people_imported.html", plan=plan, links=shown, more=len(links) - len(shown), file=encoded)


class ExportFile(StaffPage):
    """The roster as CSV, with a mark that spreadsheets need to read UTF-8."""

    async def get(self) -> None:
        """The file."""
        accounts = await asyncio.to_thread(self.desk.book.people)
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Disposition", f'attachment; filename="{self.desk.course.id}-people.csv"')
        self.finish(f"\ufeff{written([account.person for account in accounts])}")


async def write(page: StaffPage, entries: Sequence[Entry]) -> tuple[list[Invitation], Plan]:
    """Import entries as the visitor of a page, as the accounts are at that moment; with a mistake, nothing."""
    listed, actor, login = listed_in(page.desk.course), page.actor, page.desk.course.accounts
    assert login is not None

    def planned(accounts: list[Account]) -> tuple[Write | None, Plan]:
        plan = plan_import(entries, accounts, listed, actor)
        return plan.write, plan

    return await asyncio.to_thread(page.desk.book.write, planned, login.invitation)


def lines(course: Course, accounts: Iterable[Account], actor: Role) -> list[Line]:
    """The list for `actor`: everybody with an account, and whom the course's file names besides."""
    listed = listed_in(course)
    found = []
    for account in accounts:
        by_file = listed(account.name)
        role = by_file or account.person.role
        may = may_manage(actor, account.person.role, by_file)
        found.append(Line(account.name, role, by_file is not None, account, may))
    names = {line.name for line in found}
    own = course.logins[0].name == (course.accounts.name if course.accounts else "")
    others = [(name, role) for role, several in course.members.by_role().items() for name in several] if own else []
    for name, role in others:
        if name not in names and not any(name.startswith(f"{login.name}:") for login in course.logins[1:]):
            found.append(Line(name, role, True, None, may_manage(actor, role)))
    ranks = list(Role)
    return sorted(found, key=lambda line: (ranks.index(line.role), natural_key(line.name)))
