"""From an invitation to the first notebook, in a real browser; the staff's page, without JavaScript and by keyboard."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from support.accounts import GOOD_PASSWORD
from support.browsers import chromium, run_first_cell
from support.sites import RunningSite

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]

PICTURES = os.environ.get("COURSEWARE_PICTURES", "")
"""A folder for screenshots, for those who want to look."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def site(make_site: MakeSite) -> RunningSite:
    mail = {"host": "127.0.0.1", "port": 9, "tls": "none", "sender": "courses@example.org"}
    site = make_site(courses=(), mail=mail)
    site.folder.add_course(
        "alpha",
        title="Statistics for everybody",
        description="Bring your own questions.",
        authentication={"method": "accounts"},
        members={"owners": ["ada"]},
    )
    site.start()
    return site


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/accounts-{name}.png", full_page=True)


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def set_password(page: Page, link: str) -> None:
    page.goto(link)
    page.get_by_label("New password").fill(GOOD_PASSWORD)
    page.get_by_label("The same password once more").fill(GOOD_PASSWORD)
    page.get_by_role("button", name="Set the password").click()
    expect(page.get_by_text("Your password is set. Sign in with it now.")).to_be_visible()


def sign_in(page: Page) -> None:
    page.get_by_label("Password", exact=True).fill(GOOD_PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_from_the_invitation_to_the_first_notebook(site: RunningSite, browser: Browser) -> None:
    owner_link = site.cli("course", "members", "alpha", "invite", "ada").stdout.strip()
    # The owner, without JavaScript: invites, imports, and passes a link on.
    context = browser.new_context(locale="en-GB", java_script_enabled=False)
    page = context.new_page()
    set_password(page, owner_link)
    picture(page, "set")
    expect(page.get_by_label("User name")).to_have_value("ada")
    sign_in(page)
    page.wait_for_url(lambda url: "/hub/login" not in url)
    page.goto(f"{site.course_url('alpha')}hub/people")
    page.get_by_label("User name").fill("sam")
    page.locator("#display").fill("Sam Smith")
    page.get_by_label("E-mail address").fill("sam@example.org")
    page.get_by_role("button", name="Make the invitation").click()
    link = page.get_by_label("For sam").input_value()
    picture(page, "invited")
    roster = (
        "name,display name,role,groups\n" + "".join(f"s{n},学生 {n},,A\n" for n in range(1, 13)) + "tom,,assistant,\n"
    )
    file = {"name": "people.csv", "mimeType": "text/csv", "buffer": roster.encode("cp932")}
    page.get_by_label("File").set_input_files(file)  # type: ignore[arg-type]
    page.get_by_role("button", name="Show what would change").click()
    expect(page.get_by_role("heading", name="13 people would be invited")).to_be_visible()
    picture(page, "preview")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("13 people are invited.")).to_be_visible()
    picture(page, "imported")
    page.get_by_role("link", name="Back to the list").click()
    # Removing asks once more.
    page.get_by_label("Remove tom").click()
    page.get_by_role("button", name="Yes, remove tom").click()
    expect(page.get_by_text("tom is removed, and all that they held has ended.")).to_be_visible()
    file["buffer"] = b"name,role\nsam,teachr\n=x,\n"
    page.get_by_label("File").set_input_files(file)  # type: ignore[arg-type]
    page.get_by_role("button", name="Show what would change").click()
    expect(page.get_by_text("teachr is no role.")).to_be_visible()
    picture(page, "mistakes")
    context.close()

    # The student, by keyboard alone.
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.goto(link)
    assert "token" not in page.url
    picture(page, "password")
    page.keyboard.type("short")
    page.keyboard.press("Tab")
    page.keyboard.type("short")
    page.evaluate("document.querySelector('main form').noValidate = true")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="at least 10 characters")).to_be_visible()
    expect(page.get_by_label("New password")).to_be_focused()
    picture(page, "refused")
    page.keyboard.type(GOOD_PASSWORD)
    page.keyboard.press("Tab")
    page.keyboard.type(GOOD_PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Your password is set. Sign in with it now.")).to_be_visible()
    picture(page, "login")
    expect(page.locator("input[name=password]")).to_be_focused()
    page.keyboard.type(GOOD_PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/courses/alpha/user/sam/lab/**", timeout=60_000)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    run_first_cell(page)
    expect(page.locator(".jp-OutputArea-output").first).to_contain_text("six times seven is 42", timeout=60_000)
    page.goto(link)
    expect(page.get_by_role("heading", name="This link cannot be used")).to_be_visible()
    picture(page, "used")
    context.close()

    # In other languages, on a telephone, in the dark.
    for language, forgotten, people in (
        ("ja", "パスワードをお忘れですか", "アカウント"),
        ("fr", "Mot de passe oublié", "Comptes"),
    ):
        context = browser.new_context(locale=language, viewport={"width": 390, "height": 844}, color_scheme="dark")
        page = context.new_page()
        page.goto(f"{site.course_url('alpha')}hub/password/forgotten")
        expect(page.get_by_role("heading", name=forgotten)).to_be_visible()
        picture(page, f"forgotten-{language}")
        assert fits(page)
        page.goto(f"{site.course_url('alpha')}hub/login?username=ada&next=%2Fcourses%2Falpha%2Fhub%2Fpeople")
        page.locator("input[name=password]").fill(GOOD_PASSWORD)
        page.locator("#login_submit").click()
        page.wait_for_url("**/hub/people")
        expect(page.get_by_role("heading", name=people).first).to_be_visible()
        picture(page, f"people-{language}")
        assert fits(page), "only the table scrolls"
        context.close()

    # With JavaScript, a button copies the link.
    context = browser.new_context(locale="en-GB", permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"{site.course_url('alpha')}hub/login?username=ada&next=%2Fcourses%2Falpha%2Fhub%2Fpeople")
    sign_in(page)
    page.wait_for_url("**/hub/people")
    page.get_by_label("Invite s1 again").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.get_by_label("For s1").input_value()
    picture(page, "people")
    context.close()
