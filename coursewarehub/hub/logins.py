"""The ways to log in to a course: what its hub does them with, and what the login page shows of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from coursewareauthenticator.dummy import WorkshopMethod
from coursewarehub.hub.notebooks import published_notebooks
from coursewarehub.model.course import Course
from coursewarehub.model.login import AccountsAuthentication, DummyAuthentication, LdapProvider, Login, OAuthProvider
from coursewarehub.model.lti import LtiAuthentication
from coursewarehub.model.site import Site
from coursewarehub.model.spawner import ContainerSpawner
from coursewarehub.state.folders import SiteFolders
from coursewarehub.wire import paths

BRANDS: Final = {
    "github": "GitHub",
    "gitlab": "GitLab",
    "google": "Google",
    "azuread": "Microsoft",
    "cilogon": "CILogon",
}
"""What people call an account where nothing else is said."""

_KINDS: Final = {"ldap": "password", "lti13": "launch", "lti11": "launch"}


def login_choices(site: Site, course: Course) -> list[dict[str, Any]]:
    """What the login page shows, the first way first.

    Each has `name`, `kind` (`workshop`, `account` and `password` share the form, `button` has its own page, `launch`
    begins elsewhere), `title` (a text, a text in several languages, or None) and `self_chosen_names`.
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
    kind = _KINDS.get(login.method, "button")
    return {
        "name": login.name,
        "kind": kind,
        "title": title or BRANDS.get(login.method),
        "self_chosen_names": False,
    }


@dataclass(frozen=True)
class Secrets:
    """What logins need to know and nobody else may: the workshop's password, providers' secrets by reference, and what
    seals launches, the same for all hubs of a site."""

    password: SecretStr
    by_reference: Mapping[str, SecretStr]
    lti_seal: SecretStr
    database_url: SecretStr


def login_methods(site: Site, course: Course, folders: SiteFolders, secrets: Secrets) -> list[Any]:
    """The ways to log in, as `CoursewareLogin.methods`, without those that the site lacks."""
    found: list[Any] = []
    for login in course.logins:
        if isinstance(login, DummyAuthentication):
            found.append(WorkshopMethod(secrets.password))
        elif isinstance(login, AccountsAuthentication):
            # Imported here, as all methods that few courses need.
            from coursewarehub.hub.accounts import accounts_method

            reference = site.mail.password if site.mail is not None else None
            mail_password = None if reference is None else secrets.by_reference[str(reference)]
            found.append(accounts_method(site, course, secrets.database_url.get_secret_value(), mail_password))
        elif isinstance(login, LtiAuthentication):
            continue
        elif login.name in site.login:
            found.append(_method(login.name, site, course, folders.root, secrets.by_reference))
    if any(isinstance(login, LtiAuthentication) for login in course.logins):
        found += _launches(site, course, folders, secrets)
    return found


def _method(name: str, site: Site, course: Course, root: Path, secrets: Mapping[str, SecretStr]) -> Any:
    """What a provider's people log in with. Imported here: few courses need each, and they are large."""
    provider = site.login[name]
    if isinstance(provider, LdapProvider):
        from coursewareauthenticator.ldap import LdapMethod

        reference = provider.bind_password
        return LdapMethod(name, provider, root, None if reference is None else secrets[str(reference)])
    assert isinstance(provider, OAuthProvider)
    from coursewareauthenticator.oauth import OAuthMethod
    from coursewareauthenticator.providers import service_of

    public = str(site.edge.public_url or "").rstrip("/")
    callback = f"{public}{paths.course_prefix(course.id)}hub/login/{name}/callback" if public else ""
    return OAuthMethod(service_of(provider, name, secrets[str(provider.client_secret)], callback))


def _launches(site: Site, course: Course, folders: SiteFolders, secrets: Secrets) -> list[Any]:
    """The desk at which launches of all the course's platforms arrive, as a login for each."""
    from coursewareauthenticator.lti.desk import Desk, Setup
    from coursewareauthenticator.lti.method import lti_methods
    from coursewareauthenticator.lti.platforms import platforms_of

    setup = Setup(
        course=course.id,
        base=paths.course_prefix(course.id),
        public=str(site.edge.public_url or ""),
        platforms=platforms_of(course.logins, site.login, secrets.by_reference),
        seal=secrets.lti_seal.get_secret_value().encode(),
        keys_folder=folders.lti_keys,
        database_url=secrets.database_url.get_secret_value(),
        images=_images(site, course),
        choose_image=bool(course.images) and isinstance(site.spawner, ContainerSpawner),
        notebooks=partial(published_notebooks, folders.course(course.id).content / "current"),
    )
    return lti_methods(Desk(setup))


def _images(site: Site, course: Course) -> tuple[str, ...]:
    """What links may ask for, the usual one first."""
    usual = site.spawner.image if isinstance(site.spawner, ContainerSpawner) else ""
    return tuple(image for image in course.images_with(usual) if image)
