"""The login page with several methods, in a real browser: by keyboard alone, for screen readers, in three languages."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browsers import chromium
from support.providers import running_provider
from support.sites import PASSWORD, RunningSite
from support.slapd import PEOPLE, running_directory

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]

PICTURES = os.environ.get("COURSEWARE_PICTURES", "")
"""A folder for screenshots, for those who want to look."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def site(make_site: MakeSite, tmp_path: Path) -> Iterator[RunningSite]:
    with running_directory(tmp_path / "slapd") as directory, running_provider() as provider:
        provider.set_user("u1", preferred_username="olga", groups=["python"])
        oidc = {"method": "oidc", "client_id": "courses", "client_secret": "file:password"}
        site = make_site(
            courses=(),
            login={
                "ldap": {
                    "method": "ldap",
                    "title": {"en": "University account", "ja": "大学のアカウント", "fr": "Compte universitaire"},
                    "server": directory.url,
                    "ca": "ca.pem",
                    "user_dn": f"uid={{username}},{PEOPLE}",
                },
                "research": {**oidc, "issuer": provider.url, "title": "Research Federation"},
                "oidc": {**oidc, "issuer": provider.url},
            },
        )
        shutil.copy(directory.authority, site.folder.root / "ca.pem")
        site.folder.add_course(
            "alpha",
            title="Statistics for everybody",
            description="Bring your own questions.",
            authentication=[
                {"method": "ldap", "everyone": "student"},
                {"method": "oidc", "use": "research", "roles": {"students": ["python"]}},
                {"method": "oidc"},
                {"method": "dummy", "password": "file:password", "self_chosen_names": True},
            ],
        )
        site.start()
        yield site


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}.png", full_page=True)


def tab_to(page: Page, what: str) -> None:
    """Press Tab until what has the focus matches a selector."""
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", what):
            return
    raise AssertionError(f"Tab does not reach {what}")


def test_several_methods_on_one_page(site: RunningSite, browser: Browser) -> None:
    url = f"{site.course_url('alpha')}hub/login?next=%2Fcourses%2Falpha%2Fhub%2Fhome"
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.goto(url)
    picture(page, "en")
    # Everything has a name and a role.
    expect(page.get_by_role("link", name="Sign in with Research Federation")).to_be_visible()
    expect(page.get_by_role("link", name="Sign in with the account of your institution")).to_be_visible()
    expect(page.get_by_role("group", name="Which password do you have?")).to_be_visible()
    expect(page.get_by_role("radio", name="University account")).to_be_checked()
    expect(page.get_by_label("User name")).to_be_visible()

    # A guest with the workshop password, by keyboard alone; a mistake says so, and nothing chosen is lost.
    tab_to(page, "a[href*='login/research']")
    tab_to(page, "input[name=method]")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="Course password")).to_be_checked()
    tab_to(page, "input[name=username]")
    page.keyboard.type("gast")
    tab_to(page, "input[name=password]")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    alert = page.get_by_role("alert").filter(has_text="Signing in did not work")
    expect(alert).to_be_visible()
    picture(page, "failed")
    expect(page.get_by_role("radio", name="Course password")).to_be_checked()
    expect(page.locator("input[name=username]")).to_have_value("gast")
    expect(page.locator("input[name=password]")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/hub/home")
    context.close()

    # By the directory, and by the provider's own page.
    for name in ("sam", "olga"):
        context = browser.new_context(locale="en-GB")
        page = context.new_page()
        page.goto(url)
        if name == "sam":
            page.get_by_label("User name").fill("sam")
            page.get_by_label("Password", exact=True).fill("sam-password")
            page.get_by_role("button", name="Sign in", exact=True).click()
        else:
            page.get_by_role("link", name="Sign in with Research Federation").click()
            page.locator("input[name=sub]").fill("u1")
            page.locator("button[type=submit], input[type=submit]").first.click()
        page.wait_for_url("**/hub/home")
        context.close()

    for language, words in (("ja", "大学のアカウント"), ("fr", "Compte universitaire")):
        context = browser.new_context(locale=language, viewport={"width": 390, "height": 844})
        page = context.new_page()
        page.goto(url)
        expect(page.get_by_role("radio", name=words)).to_be_visible()
        assert page.locator("html").get_attribute("lang") == language
        narrow = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert narrow, "nothing sticks out of a telephone"
        picture(page, language)
        context.close()
    context = browser.new_context(locale="en", color_scheme="dark")
    page = context.new_page()
    page.goto(url)
    picture(page, "dark")
    assert re.search("Statistics", page.title())
    context.close()
