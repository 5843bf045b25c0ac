"""The people of a platform's course, as its roster says them. Pure.

Reference: LTI Names and Role Provisioning Services 2.0 §2.2, §2.4 (status), §2.6 (of a resource link). Read leniently:
names and addresses may be absent, roles are short names or URIs, and an entry that has no id is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from coursewareauthenticator.lti.claims import OUTCOMES
from coursewareauthenticator.lti.launch import (
    LaunchRefused,
    Outcomes,
    Person,
    email,
    identifier,
    is_web_address,
    label,
)
from coursewareauthenticator.lti.roles import role_of
from coursewareauthenticator.lti.services.columns import text
from coursewareauthenticator.lti.services.reasons import Kind, Reason, ServiceFailure
from coursewareauthenticator.lti.tokens import strict_json
from coursewarehub.model.roles import Role

MEMBERS_TYPE: Final = "application/vnd.ims.lti-nrps.v2.membershipcontainer+json"
_MOST_ROLES: Final = 200


class Status(StrEnum):
    """Whether somebody takes part (§2.4)."""

    ACTIVE = "Active"
    INACTIVE = "Inactive"
    DELETED = "Deleted"


@dataclass(frozen=True)
class RosterMember:
    """One person. `role` is None for who has no role in the course; `former` is their id under LTI 1.1.

    `outcomes` is where their grade for the asked resource link goes, where the platform says so.
    """

    user: str
    role: Role | None
    status: Status = Status.ACTIVE
    person: Person = field(default=Person(), repr=False)
    former: str | None = None
    outcomes: Outcomes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Roster:
    """A whole roster, from its first page to its last. `left_out` is how many entries could not be read.

    `context` is the id of the platform's course that it says it is of. `complete` is False for a list of differences
    only, and when entries were left out.
    """

    members: tuple[RosterMember, ...]
    context: str | None = None
    left_out: int = 0
    differences: bool = False

    @property
    def complete(self) -> bool:
        """Whether somebody who is not in it does not take part."""
        return not self.differences and self.left_out == 0


@dataclass(frozen=True)
class Page:
    """One page of a roster."""

    members: tuple[RosterMember, ...]
    context: str | None
    left_out: int


def read_page(body: bytes) -> Page:
    """A page of a roster. Raises ServiceFailure when it is none."""
    try:
        value = strict_json(body)
    except ValueError:
        value = None
    entries = value.get("members") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise ServiceFailure(Kind.RETRY, Reason.UNREADABLE)
    context = value.get("context")
    found = [read_member(entry) for entry in entries]
    members = tuple(member for member in found if member is not None)
    ident = text(context.get("id")) if isinstance(context, dict) else None
    return Page(members, ident, len(found) - len(members))


def read_member(value: Any) -> RosterMember | None:
    """One entry, or None for what has no usable id."""
    if not isinstance(value, dict):
        return None
    try:
        user = identifier(text(value.get("user_id")), "user_id")
    except LaunchRefused:
        return None
    return RosterMember(
        user=user,
        role=role_of(_texts(value.get("roles"))),
        status=_status(value.get("status")),
        person=_person(value),
        former=text(value.get("lti11_legacy_user_id")),
        outcomes=_outcomes(value.get("message")),
    )


def joined(pages: Iterable[Page], *, differences: bool = False) -> Roster:
    """The pages as one roster; of two entries for one person the last counts."""
    members: dict[str, RosterMember] = {}
    context, left_out = None, 0
    for page in pages:
        members |= {member.user: member for member in page.members}
        context = context or page.context
        left_out += page.left_out
    return Roster(tuple(members.values()), context, left_out, differences)


def _status(value: Any) -> Status:
    """Active where nothing is said (§2.4), and where it is not understood: nobody is taken out by a typing error."""
    known = {status.lower(): status for status in Status}
    return known.get(value.rpartition("#")[2].lower(), Status.ACTIVE) if isinstance(value, str) else Status.ACTIVE


def _person(value: dict[str, Any]) -> Person:
    full, given, family = (_label(value.get(name)) for name in ("name", "given_name", "family_name"))
    together = " ".join(part for part in (given, family) if part) or None
    try:
        address = email(value.get("email"), "email")
    except LaunchRefused:
        address = None
    return Person(full or together, given, family, address)


def _label(value: Any) -> str | None:
    try:
        return label(value, "name")
    except LaunchRefused:
        return None


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [one for one in value[:_MOST_ROLES] if isinstance(one, str)] if isinstance(value, list) else []


def _outcomes(messages: Any) -> Outcomes | None:
    """What the person's launch of the resource link would say of Basic Outcomes."""
    for message in messages if isinstance(messages, list) else [messages]:
        claim = message.get(OUTCOMES) if isinstance(message, dict) else None
        if not isinstance(claim, dict):
            continue
        url, sourcedid = claim.get("lis_outcome_service_url"), claim.get("lis_result_sourcedid")
        if isinstance(url, str) and is_web_address(url) and isinstance(sourcedid, str) and sourcedid:
            return Outcomes(url, sourcedid)
    return None
