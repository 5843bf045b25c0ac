"""Which platforms of LTI 1.3 a course knows. Pure.

Reference: LTI Core 1.3 §3.1 (issuer, client and deployment).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from coursewareauthenticator.lti.launch import LaunchRefused, is_web_address
from coursewarehub.i18n import N_


@dataclass(frozen=True)
class Registration:
    """One client of one platform. `deployments` and `contexts` None mean any of it; `token_audience` None: `token_url`.

    Raises ValueError when something is missing or no web address.
    """

    issuer: str
    client_id: str
    auth_url: str
    jwks_url: str
    token_url: str | None = None
    token_audience: str | None = None
    deployments: frozenset[str] | None = None
    contexts: frozenset[str] | None = None
    guests: bool = False

    def __post_init__(self) -> None:
        if not self.client_id or re.search(r"\s", self.issuer) or not self.issuer:
            raise ValueError("a registration of LTI 1.3 needs an issuer without spaces and a client id")
        for url in (self.auth_url, self.jwks_url, self.token_url or self.jwks_url):
            if not is_web_address(url):
                raise ValueError(f"{url} is not a web address")

    @property
    def registration(self) -> str:
        """Its part of an identity: issuers have no spaces, so that no two registrations have the same."""
        return f"lti13:{self.issuer} {self.client_id}"

    def check_deployment(self, deployment: str, name: str) -> None:
        """Raise LaunchRefused 403, naming the parameter, for a deployment that is not known."""
        if self.deployments is not None and deployment not in self.deployments:
            raise LaunchRefused(
                403,
                name,
                N_(
                    "The deployment %(deployment)s of the platform is new here: add its id to the course's "
                    "registration, if it is meant to come in."
                ),
                deployment=deployment,
            )


class Registrations:
    """All registrations of a course. Raises ValueError when two have one issuer and one client id."""

    def __init__(self, registrations: Iterable[Registration]) -> None:
        self._by_issuer: dict[str, dict[str, Registration]] = {}
        for one in registrations:
            clients = self._by_issuer.setdefault(one.issuer, {})
            if clients.setdefault(one.client_id, one) is not one:
                raise ValueError(f"{one.issuer} has two registrations with the client id {one.client_id}")

    def find(self, issuer: str, client_id: str | None) -> Registration:
        """By both, or by the issuer alone where it has one client only. Raises LaunchRefused 400."""
        clients = self._by_issuer.get(issuer, {})
        if not clients:
            raise LaunchRefused(
                400,
                "iss",
                N_("This course knows no platform %(issuer)s: add its registration to the course."),
                issuer=issuer,
            )
        if client_id is None and len(clients) == 1:
            return next(iter(clients.values()))
        if client_id is None:
            raise LaunchRefused(
                400,
                "client_id",
                N_("`%(field)s` is missing, and %(issuer)s has several here: let the platform send it."),
                issuer=issuer,
            )
        if client_id not in clients:
            raise LaunchRefused(
                400,
                "client_id",
                N_("%(issuer)s has no client %(client)s here: correct it in the platform or the course."),
                issuer=issuer,
                client=client_id,
            )
        return clients[client_id]
