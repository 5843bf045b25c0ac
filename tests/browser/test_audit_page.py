"""The course log in a real browser: without JavaScript, by keyboard, on a telephone, in three languages."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from support.browsers import chromium, log_in
from support.sites import PASSWORD, RunningSite, eventually
from support.students import Student

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]

PICTURES = os.environ.get("COURSEWARE_PICTURES", "")
"""A folder for screenshots, for those who want to look."""

TITLES = {"en": "Course log", "ja": "コースの記録", "fr": "Journal du cours"}
REFUSED = {
    "en": "eve was refused: is not a member of the course",
    "ja": "eve は拒否されました：コースの参加者ではありません",
    "fr": "eve a été refusé : n’est pas membre du cours",
}


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}.png", full_page=True)


def test_the_course_log_reads_well_everywhere(make_site: MakeSite) -> None:
    site = make_site(courses=())
    site.folder.add_course(
        "alpha",
        title="Statistics for everybody",
        authentication={"method": "dummy", "password": "file:password"},
        members={"instructors": ["ada"], "students": ["sam", "名前", "<b>bold"]},
    )
    site.start()
    for name, password in (
        ("eve", PASSWORD),
        ("sam", "x"),
        ("sam", "y"),
        ("名前", PASSWORD),
        ("<b>bold", PASSWORD),
    ):
        Student(site, "alpha", name).login(password, follow=False)
    with chromium() as browser:
        context = browser.new_context(locale="en-GB")
        page = context.new_page()
        page.goto(f"{site.course_url('alpha')}hub/login?next=%2Fcourses%2Falpha%2Fhub%2Fhome")
        log_in(page, "ada", PASSWORD)
        page.wait_for_url("**/hub/home")
        picture(page, "home")
        eventually(lambda: "ada signed in" in site.cli("course", "audit", "alpha").stdout)
        page.get_by_role("main").get_by_role("link", name="Course log").click()
        expect(page.get_by_role("heading", level=1, name="Course log")).to_be_visible()
        expect(page.get_by_role("listitem").filter(has_text=REFUSED["en"])).to_be_visible()
        picture(page, "en")
        # By keyboard: to the field, one word, Enter.
        page.get_by_label("Person").focus()
        page.keyboard.type("EVE")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"person=EVE"))
        expect(page.locator("time")).to_have_count(1)
        expect(page.get_by_label("Person")).to_have_value("eve")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download as a table (CSV)").click()
        assert re.fullmatch(r"log-alpha-\d{4}-\d\d-\d\d\.csv", download.value.suggested_filename)
        page.get_by_label("Kind").select_option("token")
        page.get_by_role("button", name="Show", exact=True).click()
        expect(page.get_by_text("Nothing that fits.")).to_be_visible()
        picture(page, "nothing")
        state = context.storage_state()
        context.close()
        for language, scheme, width in (
            ("en", "dark", 1280), ("ja", "light", 1280), ("ja", "dark", 390), ("fr", "light", 390), ("fr", "dark", 1280)
        ):  # fmt: skip
            context = browser.new_context(
                locale=language,
                color_scheme=scheme,  # type: ignore[arg-type]
                storage_state=state,
                viewport={"width": width, "height": 844},
                # The theme of the page is JupyterHub's script.
                java_script_enabled=scheme == "dark",
            )
            page = context.new_page()
            page.goto(f"{site.course_url('alpha')}hub/audit")
            expect(page.get_by_role("heading", level=1)).to_have_text(TITLES[language])
            expect(page.get_by_role("listitem").filter(has_text=REFUSED[language])).to_be_visible()
            expect(page.locator("html")).to_have_attribute("lang", language)
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            picture(page, f"{language}-{scheme}-{width}")
            context.close()
