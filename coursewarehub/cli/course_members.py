"""`coursewarehub course members`: the people of a course that has accounts of its own.

It works on the course's database itself, so it does the same whether the hub runs, sleeps or has never run. A hub that
runs takes what has changed over within a minute.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from coursewarehub.cli.course_files import find_course
from coursewarehub.cli.errors import CommandError

if TYPE_CHECKING:
    from coursewareauthenticator.accounts.people import Account, Person, State
    from coursewareauthenticator.accounts.plan import Plan
    from coursewareauthenticator.accounts.roster import Entry
    from coursewareauthenticator.accounts.store import AccountBook, Invitation, Write
    from coursewarehub.cli import Subparsers
    from coursewarehub.model import Course, Role, Site

_T = TypeVar("_T")


def add_members(verbs: Subparsers) -> None:
    """Add `course members` and its own verbs."""
    parser = verbs.add_parser("members", help="list, import, export, invite, reset, disable or remove people")
    parser.add_argument("course", metavar="COURSE")
    inner = parser.add_subparsers(metavar="WHAT", required=True)
    listing = inner.add_parser("list", help="list everybody with an account, and whom the course's file names")
    listing.add_argument("--json", action="store_true", help="for programs")
    listing.set_defaults(run=run_list)
    _add_import(inner)
    export = inner.add_parser("export", help="write everybody with an account as CSV")
    export.add_argument("--output", type=Path, metavar="FILE", help="a new file that only you can read")
    export.set_defaults(run=run_export)
    invite = inner.add_parser("invite", help="invite somebody, new or again, and print the link")
    invite.add_argument("name", metavar="NAME")
    invite.add_argument("--display-name", metavar="TEXT")
    invite.add_argument("--e-mail", metavar="ADDRESS")
    invite.add_argument("--role", choices=("owner", "instructor", "assistant", "student", "observer"))
    invite.set_defaults(run=run_invite)
    for verb, run, text in (
        ("reset", run_reset, "print a link with which somebody sets a new password"),
        ("disable", run_disable, "let somebody in no more; `invite` lets them in again"),
        ("remove", run_remove, "delete an account; the person's files are kept"),
    ):
        one = inner.add_parser(verb, help=text)
        one.add_argument("name", metavar="NAME")
        one.set_defaults(run=run)


def _add_import(inner: Subparsers) -> None:
    parser = inner.add_parser("import", help="invite and change people by a CSV file")
    parser.add_argument("file", type=Path, metavar="FILE", help="columns: name, display name, e-mail, role, groups")
    parser.add_argument("--encoding", metavar="NAME", help="utf-8, utf-16, cp932 or latin-1; found out by default")
    parser.add_argument("--dry-run", action="store_true", help="only show what would change")
    parser.add_argument(
        "--links", type=Path, metavar="FILE", help="write the invitations to a new file that only you can read"
    )
    parser.set_defaults(run=run_import)


@dataclass(frozen=True)
class Members:
    """The accounts of a course, and what its file and its site say."""

    site: Site
    course: Course
    book: AccountBook

    def listed(self) -> Callable[[str], Role | None]:
        """Return the function that says which role the course's file gives to an account's name."""
        from coursewarehub.hub.accounts import listed_in

        return listed_in(self.course)

    def link(self, made: Invitation) -> str:
        """Return the address of a link that has just been made."""
        from coursewarehub.hub.accounts import link_to

        return link_to(self.site, self.course, made.token)

    @property
    def invitation_seconds(self) -> int:
        """How long an invitation can be used."""
        assert self.course.accounts is not None
        return self.course.accounts.invitation


@contextmanager
def _members(args: argparse.Namespace) -> Iterator[Members]:
    """Open the accounts. CommandError when they cannot be had, ConfigurationError when the course has none."""
    from sqlalchemy.exc import SQLAlchemyError

    from coursewareauthenticator.accounts.store import AccountBook
    from coursewarehub.hub.database import use_write_ahead_log
    from coursewarehub.model.load import load_site
    from coursewarehub.model.problems import ConfigurationError, Problem
    from coursewarehub.state.databases import DatabaseFailed, hub_database
    from coursewarehub.state.folders import SiteFolders

    root = Path(args.site).resolve()
    site, course = load_site(root).site, find_course(root, args.course)
    if course.accounts is None:
        hint = "add `method: accounts` to `authentication` to give people passwords of their own"
        message = "this course has no accounts of its own"
        raise ConfigurationError([Problem(f"courses.d/{course.id}.yaml", None, message, hint)])
    folders = SiteFolders.of(root, site)
    use_write_ahead_log()
    database = hub_database(folders, site, course.id, os.environ)
    folders.course(course.id).state.mkdir(parents=True, exist_ok=True, mode=0o700)
    book = AccountBook(database.url)
    try:
        database.prepare()
        yield Members(site, course, book)
    except DatabaseFailed as error:
        raise CommandError(f"{error}.") from None
    except SQLAlchemyError as error:
        raise CommandError(f"The database of the course cannot be used ({type(error).__name__}).") from None
    finally:
        book.close()


def run_list(args: argparse.Namespace) -> int:
    """Print everybody."""
    with _members(args) as members:
        accounts = members.book.people()
        print(_listing_json(accounts, members) if args.json else _listing(accounts, members))
    return 0


def _listing(accounts: Sequence[Account], members: Members) -> str:
    listed = members.listed()
    rows = []
    for account in accounts:
        by_file = listed(account.name)
        role = f"{by_file} (file)" if by_file else str(account.person.role)
        rows.append((account.name, role, _state(account, members), account.person.display, account.person.mail))
    names = {account.name for account in accounts}
    for role, several in members.course.members.by_role().items():
        rows += [
            (name, f"{role} (file)", "no account", "", "") for name in several if _plain(name, members) not in names
        ]
    if not rows:
        return "Nobody has an account."
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(f"{cell:{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _plain(name: str, members: Members) -> str:
    """The name of the account that a name of the course's file belongs to."""
    login = members.course.accounts
    first = login is not None and members.course.logins[0].name == login.name
    return name if first else name.removeprefix("accounts:") if name.startswith("accounts:") else f"\0{name}"


def _state(account: Account, members: Members) -> str:
    from coursewareauthenticator.accounts.people import State

    late = account.link_ends is None or account.link_ends <= members.book.now()
    return "invitation expired" if account.state is State.INVITED and late else str(account.state)


def _listing_json(accounts: Sequence[Account], members: Members) -> str:
    import json

    listed = members.listed()
    people = [
        {
            "name": account.name,
            "display_name": account.person.display,
            "e_mail": account.person.mail,
            "role": str(listed(account.name) or account.person.role),
            "role_by_file": listed(account.name) is not None,
            "groups": list(account.person.groups),
            "state": str(account.state),
            "last_login": account.last_login,
        }
        for account in accounts
    ]
    return json.dumps(people, indent=2, ensure_ascii=False)


def run_import(args: argparse.Namespace) -> int:
    """Import a roster whole, or, with every mistake said, not at all."""
    from coursewareauthenticator.accounts.plan import plan_import
    from coursewareauthenticator.accounts.roster import MOST_BYTES, read

    with args.file.open("rb") as stream:
        roster = read(stream.read(MOST_BYTES + 1), args.encoding)
    _refuse(args.file, roster.mistakes)
    with _members(args) as members:
        listed = members.listed()
        if args.dry_run:
            plan = plan_import(roster.entries, members.book.people(), listed, None)
            _refuse(args.file, plan.mistakes)
            _say_notes([*roster.notes, *plan.notes])
            print(_difference(plan))
            return 0
        with _file_of_links(args.links) as file_of_links:
            links, plan = _write(members, roster.entries)
            _refuse(args.file, plan.mistakes)
            _say_notes([*roster.notes, *plan.notes])
            addresses = {made.name: members.link(made) for made in links}
            file_of_links(plan.add, addresses)
        print(f"{len(plan.add)} invited, {len(plan.change)} changed, {plan.same} as they were ({roster.encoding}).")
    return 0


def _write(members: Members, entries: Sequence[Entry]) -> tuple[list[Invitation], Plan]:
    from coursewareauthenticator.accounts.plan import plan_import

    listed = members.listed()

    def planned(accounts: list[Account]) -> tuple[Write | None, Plan]:
        plan = plan_import(entries, accounts, listed, None)
        return plan.write, plan

    return members.book.write(planned, members.invitation_seconds)


def _refuse(file: Path, mistakes: Sequence[object]) -> None:
    """ConfigurationError with all that is wrong in a roster."""
    from coursewareauthenticator.accounts.roster import Mistake
    from coursewarehub.model.problems import ConfigurationError, Problem

    found = [Problem(str(file), m.line, str(m.sentence)) for m in mistakes if isinstance(m, Mistake)]
    if found:
        raise ConfigurationError(found)


def _say_notes(notes: Sequence[object]) -> None:
    for note in notes:
        print(f"Note: {note}", file=sys.stderr)


@contextmanager
def _file_of_links(file: Path | None) -> Iterator[Callable[[Sequence[Person], dict[str, str]], None]]:
    """Give a function that writes invitations; the file is there before anything is changed, or is gone again."""
    from coursewareauthenticator.accounts.roster import written

    if file is None:
        yield lambda people, links: print("".join(f"{p.name}  {links[p.name]}\n" for p in people), end="")
        return
    descriptor = _new_private_file(file)
    with os.fdopen(descriptor, "w", encoding="utf-8-sig", newline="") as stream:
        try:
            yield lambda people, links: print(written(people, {"link": links}), end="", file=stream)
        except BaseException:
            file.unlink(missing_ok=True)
            raise


def _new_private_file(file: Path) -> int:
    try:
        return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise CommandError(f"{file} exists already and is left as it is.") from None


def _difference(plan: Plan) -> str:
    """What an import would do, a line for each person."""
    lines = [f"+ {_described(person)}" for person in plan.add]
    for change in plan.change:
        lines += [f"- {_described(change.before)}", f"+ {_described(change.after)}"]
    lines.append(f"{len(plan.add)} would be invited, {len(plan.change)} changed, {plan.same} as they are.")
    return "\n".join(lines)


def _described(person: Person) -> str:
    from coursewarehub.model.problems import visible

    cells = (person.name, person.display, person.mail, str(person.role), "|".join(person.groups))
    return visible(", ".join(cell for cell in cells if cell))


def run_export(args: argparse.Namespace) -> int:
    """Write the roster; neither passwords nor links are in it."""
    from coursewareauthenticator.accounts.roster import written

    with _members(args) as members:
        text = written([account.person for account in members.book.people()])
    if args.output is None:
        sys.stdout.write(text)
        return 0
    with os.fdopen(_new_private_file(args.output), "w", encoding="utf-8-sig", newline="") as stream:
        stream.write(text)
    return 0


def run_invite(args: argparse.Namespace) -> int:
    """Invite somebody new, or again who has not set a password or was disabled."""
    from coursewareauthenticator.accounts.people import State

    with _members(args) as members:
        name = _name(args.name)
        account = members.book.find(name)
        if account is None:
            made = _invite_new(args, members)
        elif account.state is State.ACTIVE:
            raise CommandError(f"`{name}` has an account already; `reset` makes a link for a new password.")
        elif args.display_name or args.e_mail or args.role:
            raise CommandError(f"`{name}` has an account already; `import` changes what is known of people.")
        else:
            made = members.book.link(name, members.invitation_seconds, {account.state})
        print(members.link(made))
    return 0


def _invite_new(args: argparse.Namespace, members: Members) -> Invitation:
    """A roster of one: the same rules, the same sentences."""
    import csv
    import io

    from coursewareauthenticator.accounts.plan import FILE_WINS
    from coursewareauthenticator.accounts.roster import parse

    out = io.StringIO()
    cells = (args.name, args.display_name or "", args.e_mail or "", args.role or "")
    csv.writer(out).writerows([("name", "display name", "e-mail", "role"), cells])
    roster = parse(out.getvalue())
    if roster.mistakes:
        raise CommandError(" ".join(str(mistake.sentence) for mistake in roster.mistakes))
    links, plan = _write(members, roster.entries)
    _say_notes([note for note in plan.notes if note.template == FILE_WINS])
    return links[0]


def run_reset(args: argparse.Namespace) -> int:
    """Print a link; until it is used, the old password works."""
    from coursewareauthenticator.accounts.people import State
    from coursewarehub.hub.accounts import RESET_SECONDS

    with _members(args) as members:
        made = _of_account(lambda: members.book.link(_name(args.name), RESET_SECONDS, {State.ACTIVE}), members, args)
        print(members.link(made))
    return 0


def run_disable(args: argparse.Namespace) -> int:
    """Let somebody in no more."""
    with _members(args) as members:
        _of_account(lambda: members.book.disable(_name(args.name)), members, args)
    print("Disabled: a hub that runs ends what they still hold within a minute.")
    return 0


def run_remove(args: argparse.Namespace) -> int:
    """Delete an account."""
    with _members(args) as members:
        _of_account(lambda: members.book.remove(_name(args.name)), members, args)
    print("Removed: a hub that runs ends what they still hold within a minute. The files are kept.")
    return 0


def _of_account(do: Callable[[], _T], members: Members, args: argparse.Namespace) -> _T:
    """Do something with an account. CommandError when there is none, or not in a state for it."""
    from coursewareauthenticator.accounts.store import NoSuchAccount

    try:
        return do()
    except NoSuchAccount:
        account = members.book.find(_name(args.name))
        if account is None:
            raise CommandError(f"There is no account `{_name(args.name)}` in this course.") from None
        raise CommandError(_not_so(account.name, account.state)) from None


def _not_so(name: str, state: State) -> str:
    return f"`{name}` is {state} and has no password; `invite` makes a link with which they set one."


def _name(text: str) -> str:
    from coursewarehub.model.names import valid_name
    from coursewarehub.model.problems import quoted

    try:
        return valid_name(text)
    except ValueError as error:
        raise CommandError(f"{quoted(text)} is no user name: it {error}.") from None
