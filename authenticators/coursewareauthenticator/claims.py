"""From what an identity provider says of somebody to who that is: pure, one table of rules a provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from coursewareauthenticator.methods import NO_NAME, OTHER_INSTITUTION, UNVERIFIED, LoginFailedError
from coursewarehub.model.access import Arrival, Identity

MOST_GROUPS: Final = 20_000
"""Groups looked at; a provider that sends more sends the rest in vain."""

LONGEST_SUBJECT: Final = 512


@dataclass(frozen=True)
class Rules:
    """Which claims say what, and who is let through.

    `require` names claims that must have one of the given values. With `domains` the verified e-mail address must be
    in one of them (the last part of the user name instead where `domains_of_username`: a provider of one
    organisation that gives those names itself). With `username` `email`, only a verified address is a name.
    """

    subject: str = "sub"
    username: str = "preferred_username"
    groups: str = "groups"
    domains: frozenset[str] = frozenset()
    domains_of_username: bool = False
    require: Mapping[str, frozenset[str]] = field(default_factory=dict)


def arrival_of(registration: str, rules: Rules, claims: Mapping[str, Any]) -> Arrival:
    """Return who has come. Raises LoginFailedError (403) with the sentence for them."""
    subject = _text(claims, rules.subject)
    username = _text(claims, rules.username)
    if not subject or len(subject) > LONGEST_SUBJECT or not username:
        missing = rules.subject if not subject else rules.username
        raise LoginFailedError(NO_NAME, f"the claim `{missing}` is missing or unusable", 403)
    for claim, values in rules.require.items():
        if _text(claims, claim) not in values:
            raise LoginFailedError(OTHER_INSTITUTION, f"the claim `{claim}` is not one of the allowed", 403)
    by_email = bool(rules.domains) and not rules.domains_of_username
    if (by_email or rules.username == "email") and not _verified(claims):
        raise LoginFailedError(UNVERIFIED, "the e-mail address is not verified", 403)
    if rules.domains:
        address = username if rules.domains_of_username else _text(claims, "email")
        if address.rpartition("@")[2].lower() not in rules.domains or "@" not in address:
            raise LoginFailedError(OTHER_INSTITUTION, "the address is in none of `domains`", 403)
    return Arrival(Identity(registration, subject), username, _groups(claims, rules.groups))


def claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim by its name, or by a path such as `realm_access.roles`; None when it is not there."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def _text(claims: Mapping[str, Any], name: str) -> str:
    """A claim as text; numbers are text as well (GitHub's ids), anything else is nothing."""
    value = claim(claims, name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() if isinstance(value, str) else ""


def _verified(claims: Mapping[str, Any]) -> bool:
    return bool(_text(claims, "email")) and claims.get("email_verified") in (True, "true")


def _groups(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    value = claim(claims, name)
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple):
        return frozenset()
    return frozenset(group for group in value[:MOST_GROUPS] if isinstance(group, str) and group)
