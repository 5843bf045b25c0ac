"""The ways to log in to a course: what its hub does them with, and what the login page shows of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from coursewareauthenticator.dummy import WorkshopMethod
from coursewarehub.model.course import Course
from coursewarehub.model.login import AccountsAuthentication, DummyAuthentication, Login, OAuthProvider
from coursewarehub.model.site import Site
from coursewarehub.wire import paths

BRANDS: Final = {
    "github": "GitHub",
    "gitlab": "GitLab",
    "google": "Google",
    "azuread": "Microsoft",
    "cilogon": "CILogon",
}
"""What people call an account where nothing else is said."""


def login_choices(site: Site, course: Course) -> list[dict[str, Any]]:
    """What the login page shows, the first way first.

    Each has `name`, `kind` (`workshop`, `account` and `password` share the form, `button` has its own page), `title`
    (a text, a text in several languages, or None) and `self_chosen_names`.
    """
    return [_choice(site, login) for login in course.logins]


def _choice(site: Site, login: Login) -> dict[str, Any]:
    if isinstance(login, DummyAuthentication):
        return {
            "name": login.name,
            "kind": "workshop",
            "title": None,
            "self_chosen_names": login.self_chosen_names,
        }
    if isinstance(login, AccountsAuthentication):
        return {"name": login.name, "kind": "account", "title": login.title, "self_chosen_names": False}
    provider = site.login.get(login.name)
    title = provider.title if provider is not None else None
    kind = "password" if login.method == "ldap" else "button"
    return {
        "name": login.name,
        "kind": kind,
        "title": title or BRANDS.get(login.method),
        "self_chosen_names": False,
    }


def login_methods(
    site: Site, course: Course, root: Path, password: SecretStr, secrets: Mapping[str, SecretStr], database_url: str
) -> list[Any]:
    """The ways to log in, as `CoursewareLogin.methods`, without those that the site lacks; `secrets` by reference."""
    found: list[Any] = []
    for login in course.logins:
        if isinstance(login, DummyAuthentication):
            found.append(WorkshopMethod(password))
        elif isinstance(login, AccountsAuthentication):
            # Imported here, as all methods that few courses need.
            from coursewarehub.hub.accounts import accounts_method

            reference = site.mail.password if site.mail is not None else None
            mail_password = None if reference is None else secrets[str(reference)]
            found.append(accounts_method(site, course, database_url, mail_password))
        elif login.name in site.login:
            found.append(_method(login.name, site, course, root, secrets))
    return found


def _method(name: str, site: Site, course: Course, root: Path, secrets: Mapping[str, SecretStr]) -> Any:
    """What a provider's people log in with. Imported here: few courses need each, and they are large."""
    provider = site.login[name]
    if not isinstance(provider, OAuthProvider):
        from coursewareauthenticator.ldap import LdapMethod

        reference = provider.bind_password
        return LdapMethod(name, provider, root, None if reference is None else secrets[str(reference)])
    from coursewareauthenticator.oauth import OAuthMethod
    from coursewareauthenticator.providers import service_of

    public = str(site.edge.public_url or "").rstrip("/")
    callback = f"{public}{paths.course_prefix(course.id)}hub/login/{name}/callback" if public else ""
    return OAuthMethod(service_of(provider, name, secrets[str(provider.client_secret)], callback))
