"""Launches in Chromium: windows and frames, cookies of third parties allowed and blocked, tabs side by side.

Platform and site are at two addresses of this machine, which are two sites to a browser, and speak https.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright
from support.browsers import ARGUMENTS
from support.learning_platform import (
    TEACHER,
    Launched,
    certificate,
    form_fields,
    launched_site,
    running_platform,
    self_sent,
)

pytestmark = pytest.mark.slow

PICTURES = os.environ.get("COURSEWARE_PICTURES", "")
"""A folder for screenshots, for those who want to look."""
NOTEBOOK = "start.ipynb"


@pytest.fixture(scope="module")
def alpha(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    folder = tmp_path_factory.mktemp("lti")
    tls = certificate(folder)
    logins = [
        {"method": "lti13", "use": "moodle", "contexts": "any"},
        {"method": "lti11", "use": "old", "contexts": "any"},
    ]
    with (
        running_platform("127.0.0.2", tls) as platform,
        launched_site(folder / "site", platform, tls, authentication=logins) as launched,
    ):
        platform.person("sam", custom={"notebook": NOTEBOOK})
        yield launched


@pytest.fixture(params=["allowed", "blocked"])
def context(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BrowserContext]:
    """A new profile in which cookies of third parties are allowed, or blocked."""
    program = shutil.which("chromium")
    assert program, "install Debian's chromium: `apt-get install chromium`"
    blocked = request.param == "blocked"
    (tmp_path / "Default").mkdir()
    preferences = {"profile": {"cookie_controls_mode": int(blocked), "block_third_party_cookies": blocked}}
    (tmp_path / "Default" / "Preferences").write_text(json.dumps(preferences))
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch_persistent_context(
            str(tmp_path), executable_path=program, args=ARGUMENTS, ignore_https_errors=True
        )
        try:
            yield opened
        finally:
            opened.close()


def course_page(alpha: Launched, version: str, *, framed: bool) -> str:
    """The platform's page with the launch in a frame or as a page of its own; its address."""
    platform = alpha.platform
    if version == "1.1":
        form = platform.form(alpha.lti("launch"), "sam", custom_notebook=NOTEBOOK)
        launch = self_sent(alpha.lti("launch"), form_fields(form))
    else:
        launch = self_sent(alpha.lti("login"), platform.initiation(alpha.url, "sam"))
    platform.pages["/launch"] = launch
    platform.pages["/frame"] = "<h1>Campus</h1><iframe id=tool src=/launch width=900 height=500></iframe>"
    return f"{platform.url}/{'frame' if framed else 'launch'}"


def notebook_opens(page: Page, *, drawn: bool = False) -> None:
    """The learner's own server shows the notebook; JupyterLab gives a second tab a workspace of its own."""
    there = re.compile(rf"/user/lti-[a-z0-9-]+/lab(/workspaces/[^/]+)?/tree/{NOTEBOOK}")
    page.wait_for_url(there, timeout=60_000, wait_until="commit")
    if drawn:
        expect(page.locator(".jp-Notebook")).to_be_visible(timeout=60_000)


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}.png", full_page=True)


@pytest.mark.parametrize("version", ["1.1", "1.3"])
def test_l13_06_in_a_window_the_notebook_opens(alpha: Launched, context: BrowserContext, version: str) -> None:
    page = context.pages[0]
    page.goto(course_page(alpha, version, framed=False))
    notebook_opens(page)


@pytest.mark.parametrize("version", ["1.1", "1.3"])
def test_l13_06_in_a_frame_one_button_opens_the_notebook(
    alpha: Launched, context: BrowserContext, version: str
) -> None:
    page = context.pages[0]
    page.goto(course_page(alpha, version, framed=True))
    button = page.frame_locator("#tool").get_by_role("button")
    expect(button).to_have_count(1, timeout=30_000)
    expect(button).to_have_text("Open in a new window")
    picture(page, f"lti-frame-{version}")
    with context.expect_page() as opened:
        button.click()
    notebook_opens(opened.value)


def test_l13_05_two_tabs_side_by_side(alpha: Launched, context: BrowserContext) -> None:
    first, second = context.pages[0], context.new_page()
    address = course_page(alpha, "1.3", framed=False)
    first.goto(address, wait_until="commit")
    second.goto(address, wait_until="commit")
    notebook_opens(first, drawn=True)
    notebook_opens(second, drawn=True)


def test_dl_03_content_is_chosen_in_a_frame(
    alpha: Launched, context: BrowserContext, request: pytest.FixtureRequest
) -> None:
    """In the frame where it has cookies, else in a window."""
    blocked = request.node.callspec.params["context"] == "blocked"
    settings = {
        "deep_link_return_url": f"{alpha.platform.url}/deep",
        "accept_types": ["ltiResourceLink"],
        "accept_presentation_document_targets": ["iframe", "window"],
    }
    alpha.platform.person(
        "sam",
        message_type="LtiDeepLinkingRequest",
        roles=[TEACHER],
        resource_link=None,
        **{"https://purl.imsglobal.org/spec/lti-dl/claim/deep_linking_settings": settings},
    )
    alpha.platform.answers.clear()
    try:
        page = context.pages[0]
        page.goto(course_page(alpha, "1.3", framed=True))
        frame = page.frame_locator("#tool")
        ours = frame.get_by_role("button", name=re.compile("Open in a new window|Make the link"))
        expect(ours).to_be_visible(timeout=30_000)
        assert (frame.get_by_role("radio").count() == 0) == blocked
        if blocked:
            with context.expect_page() as opened:
                ours.click()
            place = opened.value.locator("body")
        else:
            place = frame.locator("body")
        place.get_by_label(NOTEBOOK).check()
        picture(page, "lti-picker")
        place.get_by_role("button", name="Make the link").click()
        expect(place.locator("#back")).to_be_visible(timeout=30_000)
        assert list(alpha.platform.answers[-1]) == ["JWT"]
    finally:
        alpha.platform.person("sam", custom={"notebook": NOTEBOOK})


def test_a17_others_may_not_frame_it(alpha: Launched, context: BrowserContext) -> None:
    """A page of a host that is no registered platform, with a launch in a frame."""
    course_page(alpha, "1.1", framed=True)
    page = context.pages[0]
    stranger = alpha.platform.plain
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    page.goto(f"{stranger}/frame")
    for _ in range(50):
        if refused:
            break
        page.wait_for_timeout(100)
    assert page.frame_locator("#tool").get_by_role("button", name="Open in a new window").count() == 0
    assert any("frame-ancestors" in text for text in refused), refused
