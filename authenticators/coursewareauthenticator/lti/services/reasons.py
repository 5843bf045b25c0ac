"""Why a service of a platform did not do what it was asked: a kind for programs, a sentence for people. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from coursewareauthenticator.lti.launch import shown
from coursewarehub.i18n import N_


class Kind(StrEnum):
    """What to do about it."""

    RETRY = "retry"
    """Try again later; nothing has to be changed by hand, or what has to be is at the platform."""
    CONFLICT = "conflict"
    """The platform has something newer: try a few times, clocks may differ."""
    PERMANENT = "permanent"
    """Trying again gives the same answer until somebody changes something."""
    GONE = "gone"
    """The place or the person is no longer there; the next launch may bring a new address."""


class Reason(StrEnum):
    """One for each sentence; kept in the database, so a value never changes its meaning."""

    NO_ANSWER = "no-answer"
    BUSY = "busy"
    BROKEN = "broken"
    UNREADABLE = "unreadable"
    NO_TOKEN = "no-token"  # noqa: S105 - no password
    TOKEN_REFUSED = "token-refused"  # noqa: S105
    BAD_SIGNATURE = "bad-signature"
    UNKNOWN_PLATFORM = "unknown-platform"
    NOT_ALLOWED = "not-allowed"
    NOT_A_STUDENT = "not-a-student"
    NOT_THERE = "not-there"
    NEWER = "newer"
    PAST_DUE = "past-due"
    REFUSED = "refused"
    MOVED = "moved"
    NOT_ASKED = "not-asked"
    TOO_LARGE = "too-large"
    ZERO_HIDDEN = "zero-hidden"


SENTENCES: Final[Mapping[Reason, str]] = MappingProxyType(
    {
        Reason.NO_ANSWER: N_("The platform does not answer. This is tried again by itself."),
        Reason.BUSY: N_("The platform asks for a pause. This is tried again by itself."),
        Reason.BROKEN: N_(
            "The platform has an error of its own (%(said)s). This is tried again by itself; "
            "if it goes on, tell the operator of the platform."
        ),
        Reason.UNREADABLE: N_(
            "The answer of the platform cannot be read. This is tried again by itself; "
            "if it goes on, tell the operator of the platform."
        ),
        Reason.NO_TOKEN: N_(
            "The platform gives this tool no access (%(said)s). "
            "Check client id, token address and key set of the tool in the platform."
        ),
        Reason.TOKEN_REFUSED: N_(
            "The platform does not accept the access that it has given. "
            "This is tried again by itself; if it goes on, tell the operator of the platform."
        ),
        Reason.BAD_SIGNATURE: N_(
            "The platform does not accept the signature. Make key and secret the same in platform and course."
        ),
        Reason.UNKNOWN_PLATFORM: N_(
            "This course does not know the platform any more. Add its registration again, and this goes on by itself."
        ),
        Reason.NOT_ALLOWED: N_(
            "The platform does not let this tool do that. "
            "Allow grades and roster in the settings of the tool in the platform, then try again."
        ),
        Reason.NOT_A_STUDENT: N_(
            "The platform takes no grade for this person: they are not a student of its course, or not any more."
        ),
        Reason.NOT_THERE: N_(
            "The place in the gradebook of the platform is no longer there. "
            "Open the link in the platform again, then try again."
        ),
        Reason.NEWER: N_("The platform has a newer grade of its own. Compare the two, then try again."),
        Reason.PAST_DUE: N_("The platform takes no grades any more: the date it is due there is past."),
        Reason.REFUSED: N_("The platform refuses: %(said)s."),
        Reason.MOVED: N_("The platform sends on to another address (%(said)s). Open the link in the platform again."),
        Reason.NOT_ASKED: N_(
            "The address %(said)s is not used: it needs https, or its host among those allowed without."
        ),
        Reason.TOO_LARGE: N_(
            "The platform does not give the roster of so large a course. "
            "People appear here when they first open a link of the course."
        ),
        Reason.ZERO_HIDDEN: N_("Sent, but this platform does not show a grade of zero."),
    }
)
"""In English, for whoever teaches; `%(said)s` is what the platform said, in one short line."""


def sentence(reason: Reason, said: str = "", gettext: Callable[[str], str] = str) -> str:
    """The sentence in the language of `gettext`."""
    # A platform's own sentence ends as it likes; ours ends with one full stop.
    return gettext(SENTENCES[reason]) % {"said": shown(said).rstrip(" .") or "?"}


class ServiceFailure(Exception):
    """The only exception of this package for what a platform did or did not do.

    `said` is the platform's own short text, `retry_after` the seconds that it asks to wait, `status` the HTTP status.
    `everything` says that it is about the platform as a whole, not about one grade.
    """

    def __init__(
        self,
        kind: Kind,
        reason: Reason,
        said: str = "",
        *,
        status: int | None = None,
        retry_after: float | None = None,
        everything: bool = False,
    ) -> None:
        self.kind = kind
        self.reason = reason
        self.said = shown(said)
        self.status = status
        self.retry_after = retry_after
        self.everything = everything
        super().__init__(sentence(reason, said))
