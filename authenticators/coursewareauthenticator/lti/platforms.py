"""A course's learning platforms, and who has come from one. Pure.

From what site.yaml and the course say (`coursewarehub.model.lti`) to what this package checks launches with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from coursewareauthenticator.lti.identity import user_name
from coursewareauthenticator.lti.launch import Launch, LaunchRefused
from coursewareauthenticator.lti.lti11 import Consumer
from coursewareauthenticator.lti.registrations import Registration, Registrations
from coursewareauthenticator.lti.roles import role_of
from coursewarehub.i18n import N_
from coursewarehub.model.access import STAFF, Arrival, Identity
from coursewarehub.model.login import Login, Provider
from coursewarehub.model.lti import Lti11Provider, Lti13Provider, LtiAuthentication
from coursewarehub.model.roles import Role

TEACHING: Final = frozenset({Role.OWNER, Role.INSTRUCTOR})
"""Who may connect a course of the platform with this one."""
LONGEST_WINDOW: Final = 90 * 60
"""Seconds: nonces are kept that long beyond a launch."""


@dataclass(frozen=True)
class Platform:
    """One platform as one course uses it. `former` are the consumers of LTI 1.1 whose accounts it may claim."""

    name: str
    provider: Lti13Provider | Lti11Provider
    login: LtiAuthentication
    known: Registration | Consumer
    former: Mapping[str, Consumer]

    @property
    def registration(self) -> str:
        """Its part of an identity, by which a launch says that it is of this platform."""
        return self.known.registration

    def roles(self, launch: Launch) -> Role | None:
        """What the person is in the course by the platform's word; a guest is a student at most."""
        role = role_of(launch.roles, self.login.roles.by_name())
        return Role.STUDENT if launch.subject is None and role in STAFF else role


class Platforms:
    """All platforms of a course."""

    def __init__(self, platforms: Iterable[Platform]) -> None:
        self.all = tuple(platforms)
        self._by_registration = {each.registration: each for each in self.all}
        self.registrations = Registrations(each.known for each in self.all if isinstance(each.known, Registration))
        self.consumers = {each.known.key: each.known for each in self.all if isinstance(each.known, Consumer)}

    def of(self, registration: str) -> Platform:
        """The platform of a verified launch, by `launch.registration`. Raises KeyError."""
        return self._by_registration[registration]

    def of_client(self, issuer: str, client_id: str | None) -> Platform:
        """The platform of a login under way. Raises LaunchRefused 400."""
        return self.of(self.registrations.find(issuer, client_id).registration)

    def window(self, key: str) -> float:
        """Seconds that the clock of the platform with this consumer key may be off."""
        consumer = self.consumers.get(key)
        provider = self.of(consumer.registration).provider if consumer is not None else None
        return min(provider.window, LONGEST_WINDOW) if isinstance(provider, Lti11Provider) else 0

    @property
    def origins(self) -> frozenset[str]:
        """Hosts whose pages may show ours in a frame."""
        return frozenset(origin for each in self.all for origin in each.provider.own_origins())

    @property
    def unencrypted(self) -> frozenset[str]:
        """Hosts whose key sets are fetched without TLS, because the operator has written `http:`."""
        urls = (each.known.jwks_url for each in self.all if isinstance(each.known, Registration))
        return frozenset(urlsplit(url).netloc for url in urls if url.startswith("http:"))


def platforms_of(
    logins: Iterable[Login], providers: Mapping[str, Provider], secrets: Mapping[str, SecretStr]
) -> Platforms:
    """The platforms of a course with these logins; `secrets` by reference (`file:PATH`). Those unknown are left out."""
    found = []
    for login in logins:
        provider = providers.get(login.name)
        if not isinstance(login, LtiAuthentication) or not isinstance(provider, Lti13Provider | Lti11Provider):
            continue
        contexts = frozenset(login.contexts) if isinstance(login.contexts, tuple) else None
        if isinstance(provider, Lti11Provider):
            found.append(Platform(login.name, provider, login, _consumer(provider, secrets, contexts), {}))
            continue
        formerly = providers.get(provider.formerly or "")
        former = _consumer(formerly, secrets, None) if isinstance(formerly, Lti11Provider) else None
        known = Registration(
            issuer=provider.issuer,
            client_id=provider.client_id,
            auth_url=provider.auth_url,
            jwks_url=provider.jwks_url,
            token_url=provider.token_url,
            token_audience=provider.token_audience,
            deployments=None if provider.deployments is None else frozenset(provider.deployments),
            contexts=contexts,
            guests=provider.anonymous,
        )
        found.append(Platform(login.name, provider, login, known, {former.key: former} if former else {}))
    return Platforms(found)


def _consumer(provider: Lti11Provider, secrets: Mapping[str, SecretStr], contexts: frozenset[str] | None) -> Consumer:
    references = (provider.secret, provider.former_secret)
    known = (secrets[str(reference)].get_secret_value() for reference in references if reference is not None)
    return Consumer(key=provider.key, secrets=tuple(known), contexts=contexts, guests=provider.anonymous)


def arrival_of(platforms: Platforms, launch: Launch) -> Arrival:
    """Who has come: the account for good (`identity`), and the role of this launch as its only group.

    Who was known under LTI 1.1 and is proved to be the same is the person of then. Raises LaunchRefused 403 for a role
    that does not come in by any way: there is no such case here, the access decision says so.
    """
    platform = platforms.of(launch.registration)
    name, registration, subject = platform.name, launch.registration, launch.subject
    if launch.former is not None:
        registration, subject = launch.former.registration, launch.former.subject
        earlier = next((each for each in platforms.all if each.registration == registration), None)
        name = earlier.name if earlier is not None else name
    if subject is None:
        registration, subject = f"guest {registration}", launch.once.value
    account = user_name(registration, subject)
    role = platform.roles(launch)
    return Arrival(Identity(name, account), account, frozenset() if role is None else frozenset({str(role)}))


def check_context(platform: Platform, launch: Launch, claimed: tuple[str, str] | None) -> bool:
    """Whether the launch's context is to be connected with the course now, as the first one.

    `claimed` is the (deployment, context) that is connected already, deployment empty for LTI 1.1. A context that the
    course file names has been checked with the launch. Raises LaunchRefused 403.
    """
    if platform.login.contexts is not None:
        return False
    if launch.context is None:
        raise LaunchRefused(
            403,
            "context",
            N_("The launch does not say from which course it comes (`%(field)s`): put the link into a course."),
        )
    if claimed is None:
        if platform.roles(launch) in TEACHING:
            return True
        raise LaunchRefused(
            403,
            "context",
            N_("This course is not connected with yours yet: ask your instructor to open this link once."),
        )
    if claimed != (launch.deployment or "", launch.context.id):
        raise LaunchRefused(
            403,
            "context",
            N_(
                "This link leads to a course that belongs to another course of your platform (%(title)s is not it): "
                "ask your instructor to add %(id)s to `contexts` in the course file."
            ),
            title=launch.context.title or launch.context.label or launch.context.id,
            id=launch.context.id,
        )
    return False
