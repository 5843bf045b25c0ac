"""The portal's values by a fixed clock, and its answers over HTTP."""

from __future__ import annotations

import html
import re
from datetime import UTC, date, datetime, timedelta, timezone
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from support.models import a_course, a_site
from tornado.httpclient import HTTPResponse
from tornado.testing import AsyncHTTPTestCase
from tornado.web import Application

from coursewarehub.model import Course, decide
from coursewarehub.site.portal import Catalogue, application, card_state, cards, failed_application, obstacle
from coursewarehub.site.rendering import Obstacle, render_obstacle

TOKYO = timezone(timedelta(hours=9))
NOON = datetime(2026, 4, 10, 12, 0, tzinfo=TOKYO)


def dated(state: str = "open", opens: str | None = None, closes: str | None = None) -> Course:
    return a_course(state=state, dates={"opens": opens, "closes": closes})


@pytest.mark.parametrize(
    ("course", "state"),
    [
        (dated(), "open"),
        (dated("closed"), "closed"),
        (dated("closed", opens="2026-05-01"), "closed"),
        (dated(opens="2026-04-10"), "open"),
        (dated(opens="2026-04-11"), "upcoming"),
        (dated(closes="2026-04-10"), "open"),
        (dated(closes="2026-04-09"), "closed"),
        (dated(opens="2026-04-01", closes="2026-04-30"), "open"),
        (dated(opens="2026-05-01", closes="2026-05-30"), "upcoming"),
        (dated(opens="2026-03-01", closes="2026-03-30"), "closed"),
        (dated(opens="2026-04-10T11:59:00+09:00"), "open"),
        (dated(opens="2026-04-10T12:01:00+09:00"), "upcoming"),
        (dated(opens="2026-04-10T03:01:00+00:00"), "upcoming"),
        (dated(closes="2026-04-10T11:59:00+09:00"), "closed"),
        (dated(closes="2026-04-10T03:01:00+00:00"), "open"),
    ],
)
def test_card_state(course: Course, state: str) -> None:
    assert card_state(course, NOON) == state
    # The portal says what the hub does.
    student = decide(
        course.model_copy(update={"members": a_course(members={"students": ["sam"]}).members}), "sam", now=NOON
    )
    assert student.allowed == (state == "open")


@pytest.mark.parametrize(
    ("moment", "state"),
    [
        (datetime(2026, 4, 9, 23, 59, 59, tzinfo=TOKYO), "upcoming"),
        (datetime(2026, 4, 10, 0, 0, 0, tzinfo=TOKYO), "open"),
        (datetime(2026, 4, 12, 23, 59, 59, tzinfo=TOKYO), "open"),
        (datetime(2026, 4, 13, 0, 0, 0, tzinfo=TOKYO), "closed"),
        (datetime(2026, 4, 9, 23, 59, 59, tzinfo=UTC), "upcoming"),
    ],
)
def test_days_count_in_full_where_the_server_is(moment: datetime, state: str) -> None:
    assert card_state(dated(opens="2026-04-10", closes="2026-04-12"), moment) == state


COURSES = {
    course.id: course
    for course in (
        a_course("beta", title={"en": "beta", "ja": "ベータ"}, description="Second"),
        a_course("alpha", title="Alpha"),
        a_course("draft", state="draft"),
        a_course("old", state="archived", title="Old"),
        a_course("closed", title="Closed", state="closed", dates={"opens": "2026-01-01", "closes": "2026-02-01"}),
    )
}
CATALOGUE = Catalogue(a_site(), COURSES, frozenset({"broken"}))


def test_cards_are_the_published_courses_by_title() -> None:
    assert [(c.id, c.title, c.state, c.url) for c in cards(CATALOGUE, "en", NOON)] == [
        ("alpha", "Alpha", "open", "/courses/alpha/"),
        ("beta", "beta", "open", "/courses/beta/"),
        ("closed", "Closed", "closed", "/courses/closed/"),
    ]
    card = cards(CATALOGUE, "en", NOON)[2]
    assert (card.opens, card.closes) == (date(2026, 1, 1), date(2026, 2, 1))
    assert [c.title for c in cards(CATALOGUE, "ja", NOON)] == ["Alpha", "Closed", "ベータ"]


@pytest.mark.parametrize(
    ("course_id", "why"),
    [
        (None, Obstacle.UNKNOWN_PAGE),
        ("nope", Obstacle.UNKNOWN_COURSE),
        ("../alpha", Obstacle.UNKNOWN_COURSE),
        ("broken", Obstacle.BROKEN_COURSE),
        ("old", Obstacle.ARCHIVED_COURSE),
        ("alpha", Obstacle.START_FAILED),
    ],
)
def test_obstacle(course_id: str | None, why: Obstacle) -> None:
    assert obstacle(CATALOGUE, course_id) is why


HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Server": "CoursewareHub",
    "Cache-Control": "no-store",
    "Vary": "Accept-Language, Cookie",
}
FOREIGN = [
    "https://evil.example/",
    "http:evil.example",
    "//evil.example/",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/ /evil.example",
    "/\n/evil.example",
    "/.//evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "evil.example",
    "@evil.example",
    ".evil.example",
    "/x\r\nSet-Cookie: a=b",
    "/\u2215/evil.example",
    "",
]


class Case(AsyncHTTPTestCase):
    def ask(self, path: str, method: str = "GET", **options: Any) -> HTTPResponse:
        options.setdefault("body", b"" if method in ("POST", "PUT", "PATCH") else None)
        return self.fetch(path, method=method, follow_redirects=False, allow_nonstandard_methods=True, **options)

    def assert_page(self, answer: HTTPResponse, status: int) -> None:
        assert answer.code == status, (answer.code, answer.effective_url)
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        for telling in (b"Traceback", b"tornado", b"Tornado"):
            assert telling not in answer.body


class TestPortal(Case):
    def get_app(self) -> Application:
        return application(lambda: CATALOGUE)

    def test_list_of_courses(self) -> None:
        answer = self.ask("/")
        self.assert_page(answer, 200)
        page = answer.body.decode()
        assert page.index("Alpha") < page.index("beta") < page.index("Closed")
        assert "Old" not in page and "draft" not in page
        assert 'href="/courses/alpha/"' in page

    def test_language_of_the_browser_and_of_the_cookie(self) -> None:
        assert b'lang="fr"' in self.ask("/", headers={"Accept-Language": "fr-CA,fr;q=0.9"}).body
        both = {"Accept-Language": "fr", "Cookie": "courseware_lang=ja"}
        assert b'lang="ja"' in self.ask("/", headers=both).body
        assert b'lang="en"' in self.ask("/", headers={"Cookie": "courseware_lang=../../x"}).body

    def test_chosen_language_is_kept_in_a_cookie(self) -> None:
        answer = self.ask("/?lang=ja&next=/courses/alpha/hub/login%3Fa%3D1")
        assert answer.code == 302
        assert answer.headers["Location"] == "/courses/alpha/hub/login?a=1"
        cookie = SimpleCookie(answer.headers["Set-Cookie"])["courseware_lang"]
        assert (cookie.value, cookie["path"], cookie["samesite"], cookie["httponly"]) == ("ja", "/", "Lax", True)
        assert cookie["domain"] == ""

    def test_unknown_language_is_no_choice(self) -> None:
        for wanted in ("xx", "", "JA", "ja,fr", "%ff", "en%0d%0aX:%20y"):
            answer = self.ask(f"/?lang={wanted if '%' in wanted else quote(wanted)}")
            self.assert_page(answer, 200)
            assert "Set-Cookie" not in answer.headers

    def test_no_redirect_leads_away(self) -> None:
        for foreign in FOREIGN:
            answer = self.ask("/?" + urlencode({"lang": "fr", "next": foreign}))
            assert answer.code == 302
            assert answer.headers["Location"] in ("/", "/x"), foreign
        assert self.ask("/?lang=fr&next=%ff").headers["Location"] == "/"
        assert self.ask("/?lang=fr").headers["Location"] == "/"

    def test_head_is_get_without_a_body(self) -> None:
        answer = self.ask("/", "HEAD")
        self.assert_page(answer, 200)
        assert answer.body == b"" and int(answer.headers["Content-Length"]) > 500

    def test_other_methods_are_not_allowed_on_the_portal(self) -> None:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"):
            self.assert_page(self.ask("/", method), 405)

    def test_every_method_gets_the_explanation_elsewhere(self) -> None:
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            self.assert_page(self.ask("/courses/nope/", method), 404)
            self.assert_page(self.ask("/courses/old/hub/login", method), 410)
            self.assert_page(self.ask("/courses/broken/", method), 503)
        self.assert_page(self.ask("/courses/nope/", "BREW"), 405)

    def test_why_a_page_cannot_be_had(self) -> None:
        for path, status in (
            ("/nope", 404),
            ("/courses/", 404),
            ("/courses", 404),
            ("/courses/nope", 404),
            ("/courses/old/", 410),
            ("/courses/broken/x/y", 503),
            ("/courses/alpha/", 503),
            ("/assetsx", 404),
            ("//evil.example/%2e%2e", 404),
        ):
            self.assert_page(self.ask(path), status)
        assert self.ask("/courses/alpha/").headers["Retry-After"] == "5"

    def test_path_asked_for_is_escaped(self) -> None:
        page = self.ask("/nope/%22%3E%3Cscript%3Ealert(1)%3C/script%3E?%22><script>").body
        assert b"<script" not in page

    def test_missing_slash_is_added_and_the_query_kept(self) -> None:
        answer = self.ask("/courses/alpha?a=1&b=%2F%2Fevil", "POST")
        assert answer.code == 307
        assert answer.headers["Location"] == "/courses/alpha/?a=1&b=%2F%2Fevil"
        assert self.ask("/courses/alpha").headers["Location"] == "/courses/alpha/"
        assert self.ask("/courses/nope?a=1").code == 404

    def test_assets(self) -> None:
        answer = self.ask("/assets/courseware.css?v=abc")
        assert answer.code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Type"].startswith("text/css")
        assert "immutable" not in self.ask("/assets/courseware.css").headers.get("Cache-Control", "")
        for path in ("..%2fportal.html", "../portal.html", "%2e%2e/layout.html", "/etc/passwd", "", "%00", "x/../../y"):
            answer = self.ask(f"/assets/{path}")
            assert answer.code in (400, 403, 404), path
            assert b"<html" not in answer.body or b"courses" in answer.body, path


class TestFailed(Case):
    def get_app(self) -> Application:
        return failed_application(lambda: CATALOGUE)

    def test_every_request_is_told_to_come_back(self) -> None:
        for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS"):
            answer = self.ask("/courses/alpha/hub/login", method)
            self.assert_page(answer, 503)
            assert answer.headers["Retry-After"] == "5"

    def test_a_launch_is_told_so_in_the_platforms_frame(self) -> None:
        answer = self.ask("/courses/alpha/hub/lti/launch", "POST")
        assert answer.code == 503
        assert answer.headers["Content-Security-Policy"].endswith("frame-ancestors *")

    def test_trying_a_launch_again_sends_its_form_once_more(self) -> None:
        path = "/courses/alpha/hub/lti/launch?a=1"
        body = urlencode([("oauth_nonce", "n"), ("custom_x", '"><b>'), ("custom_x", ""), ("custom_y", "\u00e9")])
        page = self.ask(path, "POST", body=body).body.decode()
        assert '<form class="cw-actions" method="post" action=""' in page and 'href="">' not in page
        fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page)
        assert [(name, html.unescape(value)) for name, value in fields] == parse_qsl(body, keep_blank_values=True)
        # What leads out of the frame opens a window, since no other page of ours may be in it.
        assert '<a class="cw-button cw-button-quiet" href="/" target="_blank"' in page and "hreflang" not in page
        for sent, method in (
            (b"", "GET"),
            (b"x=" + b"y" * 70_000, "POST"),
            (b"\xff=%ff&a", "POST"),
        ):
            page = self.ask(path, method, body=sent if method == "POST" else None).body.decode()
            assert "Try again" in page, sent[:9]
        # Elsewhere nothing that was sent is sent again.
        page = self.ask("/courses/alpha/hub/login", "POST", body="password=secret").body.decode()
        assert "secret" not in page and 'href="">' in page

    def test_error_has_a_number_that_the_log_knows(self) -> None:
        with self.assertLogs("coursewarehub.site.portal", "ERROR") as logged:
            page = self.ask("/courses/alpha/").body.decode()
        number = logged.records[0].args[0]  # type: ignore[index]
        assert str(number) in page and len(str(number)) == 8


def test_statuses_of_the_obstacles() -> None:
    statuses = {why: render_obstacle(why, "en", site_title="x")[0] for why in Obstacle}
    assert {why.value: int(status) for why, status in statuses.items()} == {
        "unknown_course": 404,
        "archived_course": 410,
        "draft_course": 404,
        "broken_course": 503,
        "start_failed": 503,
        "unknown_page": 404,
        "site_failed": 500,
    }
