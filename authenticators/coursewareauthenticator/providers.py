"""The identity providers we know: what differs between them is data, and for GitHub a hook: it speaks no OpenID."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import Any

from oauthenticator.github import GitHubOAuthenticator
from pydantic import SecretStr

from coursewareauthenticator.claims import Rules
from coursewareauthenticator.oauth import Service
from coursewarehub.model.login import (
    AzureAdProvider,
    CilogonProvider,
    GithubProvider,
    GitlabProvider,
    GoogleProvider,
    OAuthProvider,
    OidcProvider,
)

_OPENID = ("openid", "profile", "email")


@singledispatch
def service_of(provider: OAuthProvider, name: str, secret: SecretStr, callback: str) -> Service:
    """What `OAuthMethod` needs to know of a provider of site.yaml. TypeError for one that is not known."""
    del name, secret, callback
    raise TypeError(f"{type(provider).__name__} is no identity provider")


@service_of.register
def _oidc(provider: OidcProvider, name: str, secret: SecretStr, callback: str) -> Service:
    rules = Rules(username=provider.username, groups=provider.groups, domains=frozenset(provider.domains))
    return Service(name, provider.client_id, secret, rules, provider.scopes, issuer=provider.issuer, callback=callback)


@service_of.register
def _gitlab(provider: GitlabProvider, name: str, secret: SecretStr, callback: str) -> Service:
    rules = Rules(domains=frozenset(provider.domains))
    return Service(name, provider.client_id, secret, rules, _OPENID, issuer=provider.url, callback=callback)


@service_of.register
def _google(provider: GoogleProvider, name: str, secret: SecretStr, callback: str) -> Service:
    domains = frozenset(provider.domains)
    # `hd` is the organisation that owns the account; an address alone may be anybody's.
    rules = Rules(username="email", domains=domains, require={"hd": domains})
    issuer = "https://accounts.google.com"
    return Service(name, provider.client_id, secret, rules, _OPENID, issuer=issuer, callback=callback)


@service_of.register
def _azuread(provider: AzureAdProvider, name: str, secret: SecretStr, callback: str) -> Service:
    rules = Rules(
        subject="oid",
        domains=frozenset(provider.domains),
        domains_of_username=True,
        require={"tid": frozenset({provider.tenant})},
    )
    issuer = f"https://login.microsoftonline.com/{provider.tenant}/v2.0"
    return Service(name, provider.client_id, secret, rules, _OPENID, issuer=issuer, callback=callback)


@service_of.register
def _cilogon(provider: CilogonProvider, name: str, secret: SecretStr, callback: str) -> Service:
    rules = Rules(
        username="eppn",
        groups="isMemberOf",
        domains=frozenset(provider.domains),
        domains_of_username=True,
        require={"idp": frozenset(provider.institutions)},
    )
    return Service(
        name,
        provider.client_id,
        secret,
        rules,
        (*_OPENID, "org.cilogon.userinfo"),
        issuer="https://cilogon.org",
        authorize={"selected_idp": ",".join(provider.institutions)},
        callback=callback,
    )


@service_of.register
def _github(provider: GithubProvider, name: str, secret: SecretStr, callback: str) -> Service:
    return Service(
        name,
        provider.client_id,
        secret,
        Rules(subject="id", username="login", domains=frozenset(provider.domains)),
        ("read:user", "read:org", "user:email"),
        authenticator=GitHubOAuthenticator,
        settings={"github_url": provider.url},
        claims=_github_claims,
        callback=callback,
    )


async def _github_claims(client: Any, token: Mapping[str, Any]) -> dict[str, Any]:
    """The account, its organisations and teams as `groups`, and its first address as far as GitHub has verified it."""
    kind = {"token_type": "Bearer", **token}
    user = await client.token_to_user(kind)
    about = [client.github_api, token["access_token"], kind["token_type"]]
    organisations = await _pages(client, "user/orgs", *about)
    teams = await _pages(client, "user/teams", *about)
    addresses = await _pages(client, "user/emails", *about)
    primary = next((each for each in addresses if each.get("primary")), {})
    return {
        "id": user["id"],
        "login": user["login"],
        "groups": [
            *(each["login"] for each in organisations),
            *(f"{each['organization']['login']}:{each['slug']}" for each in teams),
        ],
        "email": primary.get("email", ""),
        "email_verified": primary.get("verified", False),
    }


async def _pages(client: Any, path: str, api: str, access_token: str, token_type: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await client._paginated_fetch(f"{api}/{path}?per_page=100", access_token, token_type)
    return found
