"""Notices in real Chromium: the banner is in JupyterLab and Notebook, and a notice that says so saves everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Page, expect
from support.browsers import chromium, log_in
from support.sites import PASSWORD, RunningSite, eventually

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]
BANNER = "#courseware-notices"
TEXT = {
    "en": "This machine goes into maintenance. Your work is being saved; start your server again in a minute.",
    "ja": "このマシンはメンテナンスに入ります。作業内容を保存しています。1分後にサーバーをもう一度起動してください。",
    "fr": "Cette machine passe en maintenance. Votre travail est enregistré ; relancez votre serveur dans une minute.",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def site(make_site: MakeSite) -> RunningSite:
    site = make_site()
    site.start()
    return site


def post(site: RunningSite, **notice: Any) -> None:
    url = f"{site.course_url('alpha')}user/sam/courseware/notices"
    headers = {"Authorization": f"token {site.token('alpha')}"}
    answer = requests.post(url, json=notice, headers=headers, timeout=20)
    assert answer.status_code == 204, answer.text


def log_in_to_lab(browser: Browser, site: RunningSite, locale: str = "en-GB") -> Page:
    page = browser.new_context(locale=locale, viewport={"width": 1280, "height": 720}).new_page()
    page.goto(site.course_url("alpha"))
    log_in(page, "sam", PASSWORD)
    page.wait_for_url("**/user/sam/lab/**", timeout=60_000)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    return page


def write_in_first_cell(page: Page, text: str) -> None:
    page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
    page.keyboard.type(text)


def the_notebook(site: RunningSite) -> Path:
    (notebook,) = (site.folder.root / "homes" / "alpha").glob("*sam*/start.ipynb")
    return notebook


def height(page: Page, selector: str) -> float:
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box["height"]


def test_shown_counted_down_and_everything_saved(site: RunningSite, browser: Browser) -> None:
    page = log_in_to_lab(browser, site)
    expect(page.locator(BANNER)).to_be_hidden()
    assert height(page, "#main") == 720
    write_in_first_cell(page, "# not yet saved\n")
    assert "not yet saved" not in the_notebook(site).read_text()

    post(site, id="drain", text=TEXT, seconds=12, level="warning", save=True)
    expect(page.get_by_role("alert").filter(has_text="goes into maintenance")).to_be_visible(timeout=10_000)
    eventually(lambda: "not yet saved" in the_notebook(site).read_text(), 10)
    left = [page.locator(".courseware-notice-time").inner_text()]
    page.wait_for_function(
        "before => document.querySelector('.courseware-notice-time').textContent !== before", arg=left[0], timeout=5000
    )
    assert left[0].startswith("0:")
    # JupyterLab is below the banner, not under it.
    assert height(page, "#main") == pytest.approx(720 - height(page, BANNER), abs=1)
    assert height(page, BANNER) >= 40

    # What is written after the notice is saved before the end, and the banner goes when its time is over.
    write_in_first_cell(page, "# at the last moment\n")
    eventually(lambda: "at the last moment" in the_notebook(site).read_text(), 15)
    expect(page.locator(BANNER)).to_be_hidden(timeout=15_000)
    page.wait_for_function("document.querySelector('#main').offsetHeight === 720")
    assert not page.get_by_text("official Jupyter news").count()


def test_a_closed_notice_stays_closed(site: RunningSite, browser: Browser) -> None:
    page = log_in_to_lab(browser, site)
    post(site, id="one", text="First of two", level="error")
    post(site, id="two", text="Second of two")
    lines = page.locator(".courseware-notice")
    expect(lines).to_have_count(2, timeout=10_000)
    lines.filter(has_text="First").get_by_role("button", name="Close").click()
    expect(lines).to_have_count(1)
    page.reload()
    expect(lines.filter(has_text="Second")).to_be_visible(timeout=30_000)
    expect(lines).to_have_count(1)
    post(site, id="one", text="First, once more")
    expect(lines.filter(has_text="once more")).to_be_visible(timeout=10_000)
    post(site, id="two", text="away", seconds=0)
    expect(lines).to_have_count(1, timeout=10_000)


@pytest.mark.parametrize(("locale", "language"), [("ja-JP", "ja"), ("fr-CA", "fr"), ("de-DE", "en")])
def test_in_the_browsers_language_in_notebook_too(
    site: RunningSite, browser: Browser, locale: str, language: str
) -> None:
    page = log_in_to_lab(browser, site, locale)
    page.goto(f"{site.course_url('alpha')}user/sam/notebooks/start.ipynb")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    post(site, id="drain", text=TEXT, level="warning", save=True)
    line = page.locator(".courseware-notice-text")
    expect(line).to_have_text(TEXT[language], timeout=10_000)
    expect(line).to_have_attribute("lang", language)


def test_in_the_language_chosen_on_the_courses_pages(site: RunningSite, browser: Browser) -> None:
    page = log_in_to_lab(browser, site, "en-GB")
    chosen = page.context.new_page()
    chosen.goto(site.url)
    chosen.get_by_text("日本語").click()
    post(site, id="drain", text=TEXT)
    expect(page.locator(".courseware-notice-text")).to_have_text(TEXT["ja"], timeout=10_000)


def test_quiet_while_the_server_is_away(site: RunningSite, browser: Browser) -> None:
    """Without answers, what was shown stays; nothing is thrown in the page."""
    page = log_in_to_lab(browser, site)
    thrown: list[str] = []
    page.on("pageerror", lambda error: thrown.append(str(error)))
    post(site, id="stays", text="Still to be read")
    expect(page.locator(BANNER)).to_contain_text("Still to be read", timeout=10_000)
    page.route("**/courseware/notices", lambda route: route.abort())
    page.wait_for_timeout(6_500)
    page.unroute("**/courseware/notices")
    page.route("**/courseware/notices", lambda route: route.fulfill(status=502, body="<html>not JSON"))
    page.wait_for_timeout(6_500)
    expect(page.locator(BANNER)).to_contain_text("Still to be read")
    assert thrown == []
