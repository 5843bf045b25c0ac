"""What the pages of a course's own accounts share: the accounts, who somebody is by the course's file, links, mail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from pydantic import SecretStr

from coursewareauthenticator.accounts.hashing import Hasher
from coursewareauthenticator.accounts.mail import MailFailed, send
from coursewareauthenticator.accounts.method import NAME, AccountsMethod
from coursewareauthenticator.accounts.people import Account, State
from coursewareauthenticator.accounts.store import AccountBook, Invitation
from coursewareauthenticator.throttle import Throttle
from coursewarehub.hub import places
from coursewarehub.i18n import N_, translations
from coursewarehub.model import Arrival, Course, Identity, Role, Site, account_name
from coursewarehub.model.addresses import public_url
from coursewarehub.model.mail import Mail
from coursewarehub.wire import paths

log = logging.getLogger("coursewarehub.hub.accounts")

RESET_SECONDS: Final = 86400
"""How long a link works that staff have made for somebody who has a password."""
MAILED_SECONDS: Final = 3600
"""How long a link works that was sent by mail."""
MOST_MAILS: Final = 20
"""Mails under way at once; further ones are left out."""

SUBJECT: Final = N_("Your password for %(course)s")
BODY: Final = N_(
    "Hello %(who)s,\n\nsomebody, probably you, has asked for a new password for the course %(course)s. "
    "With this link you choose one within an hour; your user name is %(name)s:\n\n%(link)s\n\n"
    "If it was not you, you need not do anything: your password stays as it is."
)


def name_in_course(course: Course, name: str) -> str:
    """The user name that an account has in the hub. Raises ValueError when there cannot be one."""
    return account_name(course, Arrival(Identity(NAME, name), name))


def listed_in(course: Course) -> Callable[[str], Role | None]:
    """The function that says which role the course's file gives to an account's name."""

    def listed(name: str) -> Role | None:
        try:
            return course.members.role_of(name_in_course(course, name))
        except ValueError:
            return None

    return listed


def link_to(site: Site, course: Course, token: str) -> str:
    """The address with which somebody sets their password."""
    query = urlencode({places.TOKEN: token})
    return f"{public_url(site).rstrip('/')}{paths.course_prefix(course.id)}hub/{places.PASSWORD}?{query}"


@dataclass
class Desk:
    """Everything that the pages of one course's accounts need."""

    site: Site
    course: Course
    book: AccountBook
    hasher: Hasher
    mail_password: SecretStr | None = None
    throttle: Throttle = field(default_factory=Throttle)
    _sending: set[asyncio.Future[None]] = field(default_factory=set)
    # Threads of its own: a mail server that is silent takes none from those who sign in meanwhile.
    _mailing: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "courseware-mail"))

    @property
    def mail(self) -> Mail | None:
        """The server that sends mail, if the site has one."""
        return self.site.mail

    def about(self, account: Account) -> list[str]:
        """What a password of this person must not be made of."""
        person = account.person
        titles = [self.course.id, *self.course.title.texts(), *self.site.title.texts()]
        return [person.name, person.mail, person.display, *person.display.split(), *titles]

    def link(self, invitation: Invitation) -> str:
        """The address of a link that has just been made."""
        return link_to(self.site, self.course, invitation.token)

    def make_link(self, account: Account) -> Invitation:
        """An invitation, or a link for a new password. NoSuchAccount when the account has changed meanwhile."""
        assert self.course.accounts is not None
        seconds = RESET_SECONDS if account.state is State.ACTIVE else self.course.accounts.invitation
        return self.book.link(account.name, seconds, {account.state})

    def send_link_later(self, asked: str, language: str) -> None:
        """Send a link to whom a name or an address belongs, if anybody; the page that asked waits for nothing."""
        if len(self._sending) >= MOST_MAILS:
            log.warning("Too many mails are under way: one is left out")
            return
        task = asyncio.get_running_loop().run_in_executor(self._mailing, self._send_links, asked, language)
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def _send_links(self, asked: str, language: str) -> None:
        try:
            for account in self._asked(asked):
                made = self.book.mailed_link(account.name, MAILED_SECONDS)
                if made is not None:
                    self._send_link(account, made, language)
        except MailFailed as error:
            log.error("A link could not be sent: %s", error)
        except Exception:
            log.exception("A link could not be sent")

    def _asked(self, asked: str) -> list[Account]:
        from coursewareauthenticator.accounts.people import is_address
        from coursewarehub.model.names import valid_name

        found = self.book.by_address(asked) if is_address(asked) else []
        try:
            account = self.book.find(valid_name(asked))
        except ValueError:
            account = None
        # The same address may be that of several people; not of a crowd.
        return [*([account] if account is not None else []), *found][:5]

    def _send_link(self, account: Account, made: Invitation, language: str) -> None:
        assert self.mail is not None
        gettext = translations(language).gettext
        course = self.course.title.text(language)
        values = {
            "who": account.person.display or account.name,
            "course": course,
            "name": account.name,
            "link": self.link(made),
        }
        body = f"{gettext(BODY) % values}\n"
        subject = " ".join((gettext(SUBJECT) % {"course": course}).split())
        send(self.mail, self.mail_password, account.person.mail, subject, body)


def accounts_method(site: Site, course: Course, database_url: str, mail_password: SecretStr | None) -> AccountsMethod:
    """The login by accounts of the course's own, with its pages."""
    from coursewarehub.hub.password_pages import ForgottenPage, PasswordPage
    from coursewarehub.hub.people_pages import ExportFile, ImportPage, PeoplePage

    desk = Desk(site, course, AccountBook(database_url), Hasher(), mail_password)
    pages = {
        places.PASSWORD: PasswordPage,
        places.FORGOTTEN: ForgottenPage,
        places.PEOPLE: PeoplePage,
        places.IMPORT: ImportPage,
        places.EXPORT: ExportFile,
    }
    handlers = [(f"/{path}", page, {"desk": desk}) for path, page in pages.items()]
    return AccountsMethod(desk.book, desk.hasher, handlers)
