"""The ways to log in to a course: what its hub does them with, and what the login page shows of them."""

from __future__ import annotations

from typing import Any, Final

from pydantic import SecretStr

from coursewareauthenticator.dummy import WorkshopMethod
from coursewarehub.model.course import Course
from coursewarehub.model.login import DummyAuthentication, Login
from coursewarehub.model.site import Site

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

    Each has `name`, `kind` (`workshop` and `password` share the form, `button` has its own page), `title` (a text, a
    text in several languages, or None) and `self_chosen_names`.
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
    provider = site.login.get(login.name)
    title = provider.title if provider is not None else None
    kind = "password" if login.method == "ldap" else "button"
    return {
        "name": login.name,
        "kind": kind,
        "title": title or BRANDS.get(login.method),
        "self_chosen_names": False,
    }


def login_methods(course: Course, password: SecretStr) -> list[Any]:
    """The ways to log in, as `CoursewareLogin.methods`."""
    return [WorkshopMethod(password) for login in course.logins if isinstance(login, DummyAuthentication)]
