"""The site's own LTI pages in a platform's frame, in a real browser."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect
from support.browsers import chromium
from support.learning_platform import LearningPlatform, form_fields, self_sent
from support.learning_platform import running_platform as running_lms
from support.registering_platform import TOKEN, FakePlatform, running_platform
from support.sites import RunningSite

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


ADMINISTRATION = """<!doctype html><meta charset=utf-8><h1>Manage tools</h1>
<iframe src="{src}" width=900 height=600></iframe>
<script>addEventListener("message", event => {{ document.body.append(`told ${{event.data.subject}}`); }});</script>"""


def test_dr_06_registration_in_the_platforms_frame(make_site: MakeSite, page: Page) -> None:
    platform: FakePlatform
    with running_platform("moodle") as platform:
        site = make_site(courses=())
        site.start()
        said = site.cli("lti", "register", "moodle", "--link", "--private-host", platform.host).stdout
        link = re.search(r"^http\S+$", said, re.MULTILINE)
        assert link is not None
        fields = {"openid_configuration": platform.configuration_url, "registration_token": TOKEN}
        platform.page = ADMINISTRATION.format(src=html.escape(f"{link[0]}?{urlencode(fields)}"))
        page.goto(f"{platform.url}/administration")
        frame = page.frame_locator("iframe")
        expect(frame.get_by_role("heading", name=platform.host)).to_be_visible()
        frame.get_by_role("button", name="Register").click()
        expect(frame.get_by_role("heading", name="Registered")).to_be_visible()
        expect(page.get_by_text("told org.imsglobal.lti.close")).to_be_visible()
        assert (site.folder.root / "platforms.d/moodle.yaml").exists()


def test_the_course_is_chosen_in_the_platforms_frame(make_site: MakeSite, page: Page) -> None:
    """The button in the frame sends on what the platform has signed, to the hub that verifies it."""
    lms: LearningPlatform
    with running_lms() as lms:
        site = make_site(courses=(), login={"old": lms.consumer(secret="file:password")})
        for course in ("alpha", "beta"):
            site.folder.add_course(course, authentication={"method": "lti11", "use": "old"}, members={})
        site.start()
        launch = f"{site.url}lti/launch"
        odd = "a\r\nb  ü&<\"'"
        form = form_fields(lms.form(launch, "t1", "Instructor", secret="correct horse", custom_odd=odd))
        lms.pages["/inner"] = self_sent(launch, form)
        lms.pages["/course"] = "<!doctype html><h1>Campus</h1><iframe src=/inner width=900 height=600></iframe>"
        page.goto(f"{lms.url}/course")
        frame = page.frame_locator("iframe")
        # There and back, and then the confirmation of somebody who teaches.
        frame.get_by_role("button", name="Course alpha").click()
        frame.get_by_role("button", name="Choose another course").click()
        frame.get_by_role("button", name="Course beta").click()
        frame.get_by_text("Connect this course with Course beta?").wait_for()
        frame.get_by_role("button", name="Connect them").click()
        with page.context.expect_page() as opened:
            frame.get_by_role("button", name="Open in a new window").click()
        opened.value.wait_for_url(re.compile("/courses/beta/"), timeout=30_000)
