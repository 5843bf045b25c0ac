"""Who somebody is: an account for each (registration, subject), the same for ever. Pure.

Guarantees, by those of `coursewarehub.model.names.object_name`:

* two different pairs never have one account, and one pair never has two, for any text that a platform may send;
* an account's name has 24 characters of `[a-z0-9-]`, is what the hub's own normalisation leaves unchanged, and has
  nothing of a name, an e-mail address or a parameter in it, so that nobody can choose to be `admin`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from coursewareauthenticator.lti.launch import Former, Launch, LaunchRefused
from coursewarehub.i18n import N_
from coursewarehub.model.names import object_name

PREFIX: Final = "lti"
LENGTH: Final = 24


@dataclass(frozen=True)
class Account:
    """The user's name in the hub, and what is only shown."""

    name: str
    display_name: str | None
    email: str | None


def account(launch: Launch) -> Account:
    """The account of a launch; that of LTI 1.1 days when the platform has proved it.

    Raises LaunchRefused 403 for a guest, who has none.
    """
    if launch.subject is None:
        raise LaunchRefused(
            403, "sub", N_("A guest has no account here: log in to the platform and open the link again.")
        )
    who = launch.former or Former(launch.registration, launch.subject)
    return Account(user_name(who.registration, who.subject), launch.person.name, launch.person.email)


def user_name(registration: str, subject: str) -> str:
    """The name of a pair; the length in front keeps the two apart."""
    return object_name(PREFIX, f"{len(registration)}:{registration}{subject}", limit=LENGTH)
