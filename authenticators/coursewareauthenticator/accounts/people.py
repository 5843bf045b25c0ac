"""What is known of somebody with an account, and what an e-mail address is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from coursewarehub.model.mail import ADDRESS
from coursewarehub.model.roles import Role

LONGEST_TEXT: Final = 200
"""Characters of a display name, or of the name of a group."""
LONGEST_ADDRESS: Final = 254

_ADDRESS: Final = re.compile(ADDRESS)


class State(StrEnum):
    """How far an account is in its life."""

    INVITED = "invited"
    ACTIVE = "active"
    DISABLED = "disabled"


@dataclass(frozen=True)
class Person:
    """What a roster says of somebody; `name` is normalised."""

    name: str
    display: str = ""
    mail: str = ""
    role: Role = Role.STUDENT
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Account:
    """Somebody with an account. Times are seconds since 1970 (UTC); `link_ends` is that of the newest link."""

    person: Person
    state: State
    made: int
    link_ends: int | None = None
    last_login: int | None = None

    @property
    def name(self) -> str:
        """The normalised name."""
        return self.person.name


def is_address(text: str) -> bool:
    """Whether a text is an e-mail address that mail can be sent to."""
    return len(text) <= LONGEST_ADDRESS and _ADDRESS.fullmatch(text) is not None
