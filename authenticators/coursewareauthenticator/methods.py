"""What a way to log in is: a form with name and password, or a button that leads to a provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, runtime_checkable

from coursewarehub.i18n import N_
from coursewarehub.model.access import Arrival

WAIT = N_("Too many attempts. Wait a minute, then try again.")
NAME_TAKEN = N_("Your name in this course belongs to another account. Ask your instructor.")
WRONG = N_("The name or the password was wrong.")
NO_SUCH_METHOD = N_("This course does not let people in that way.")

LINKED_ALREADY = N_("This login belongs to another account already. Sign in with it and end that link first.")
ONE_OF_EACH = N_("You have a login of this kind in your account already: end its link first.")
NOT_LINKABLE = N_("This login cannot be linked: it does not prove who somebody is, or the course does not have it.")

SLOW_SERVICE = N_("The sign-in service did not answer in time. Try again in a minute.")
BROKEN_SERVICE = N_("The sign-in service cannot be reached or does not work. Try again later, or tell your instructor.")
UNFINISHED = N_("The sign-in was not finished, or it was started in another window. Please sign in again.")
REFUSED = N_("You did not finish signing in, or the sign-in service refused.")
NO_NAME = N_("The sign-in service has no name for you that this course can use. Tell your instructor.")
UNVERIFIED = N_("Your e-mail address is not verified at the sign-in service. Verify it there, then sign in again.")
OTHER_INSTITUTION = N_(
    "This course is for accounts of another institution. Sign in with the account of your institution."
)

SLOW_DIRECTORY = N_("The directory of your institution did not answer in time. Try again in a minute.")
UNREACHABLE_DIRECTORY = N_(
    "The directory of your institution cannot be reached. Try again later, or tell your instructor."
)
UNTRUSTED_DIRECTORY = N_(
    "The connection to the directory of your institution cannot be trusted (certificate or encryption). "
    "Your password was not sent; tell your instructor."
)
BROKEN_DIRECTORY = N_("The directory of your institution refuses to answer questions. Tell your instructor.")
BUSY = N_("Many people are signing in at the moment. Try again in a minute.")

SENTENCES: Final = (
    WAIT,
    NAME_TAKEN,
    NO_SUCH_METHOD,
    SLOW_SERVICE,
    BROKEN_SERVICE,
    UNFINISHED,
    REFUSED,
    NO_NAME,
    UNVERIFIED,
    OTHER_INSTITUTION,
    SLOW_DIRECTORY,
    UNREACHABLE_DIRECTORY,
    UNTRUSTED_DIRECTORY,
    BROKEN_DIRECTORY,
    BUSY,
)
"""Everything that a login says to people besides the access decision's own reasons; `WRONG` is for the audit alone."""


LINKING: Final = (LINKED_ALREADY, ONE_OF_EACH, NOT_LINKABLE)
"""Why two logins cannot be linked."""


class LoginFailedError(Exception):
    """A login that failed for a reason that is not the person's: one sentence for them, more for the log.

    `status` is the HTTP status of the answer.
    """

    def __init__(self, sentence: str, detail: str = "", status: int = 503) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.detail = detail
        self.status = status


@runtime_checkable
class FormMethod(Protocol):
    """Checks a name and a password."""

    @property
    def name(self) -> str:
        """What this way to log in is called in the course."""

    async def check(self, username: str, password: str) -> Arrival | None:
        """Who that is, or None when name and password do not fit. LoginFailedError when it cannot be known."""


@runtime_checkable
class ButtonMethod(Protocol):
    """Sends people to a provider, from which they come back to one of its handlers.

    A handler that knows who somebody is calls `handler.login_user({ARRIVAL: arrival})`.
    """

    @property
    def name(self) -> str:
        """What this way to log in is called in the course."""

    def handlers(self) -> Sequence[tuple[str, type[Any]]]:
        """Paths below the hub's, and JupyterHub handlers."""


@runtime_checkable
class StandingMethod(Protocol):
    """Knows all its people by itself, and changes of them that come while nobody logs in."""

    @property
    def name(self) -> str:
        """What this way to log in is called in the course."""

    async def standing(self) -> tuple[Mapping[str, frozenset[str]], frozenset[str]]:
        """The groups of everybody who may log in, and for whom everything must end that is held; by subject."""

    async def ended(self, subjects: frozenset[str]) -> None:
        """Everything that these held has ended."""


@runtime_checkable
class RefreshingMethod(Protocol):
    """Can look a person up again without them."""

    async def look_again(self, arrival: Arrival) -> Arrival | None:
        """The arrival as it would be now; None when the person is no longer there.

        LoginFailedError when it cannot be known.
        """
