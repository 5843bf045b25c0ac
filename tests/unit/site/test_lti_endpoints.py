"""The addresses below `/lti/` over HTTP: dispatch, documents, and registration with platforms as strict as theirs."""

from __future__ import annotations

import asyncio
import html
import json
import re
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

from support.lti import CLIENT, FORM_11, ISSUER, claims, token
from support.models import a_course, a_site
from support.registering_platform import TOKEN, FakePlatform, running_platform
from tornado.httpclient import HTTPResponse
from tornado.testing import AsyncHTTPTestCase
from tornado.web import Application

from coursewareauthenticator.lti.login import Pending, seal
from coursewarehub.model.platforms import parse_platform
from coursewarehub.site.lti.claims import REMEMBERED, Claims
from coursewarehub.site.lti.dispatch import registration_digest
from coursewarehub.site.lti.endpoints import Lti
from coursewarehub.site.lti.fetch import Fetcher
from coursewarehub.site.lti.handlers import handlers
from coursewarehub.site.portal import Catalogue, application
from coursewarehub.state.files import create_text
from coursewarehub.state.lti_links import LIFETIME, Link, Links

LMS = {
    "method": "lti13",
    "issuer": ISSUER,
    "client_id": CLIENT,
    "auth_url": f"{ISSUER}/auth",
    "jwks_url": f"{ISSUER}/jwks",
}
SITE = a_site(
    title="Courses",
    login={
        "lms": LMS,
        "spare": {**LMS, "client_id": "spare"},
        "old": {"method": "lti11", "url": "https://old.example.org", "key": "old", "secret": "env:OLD"},
        "lone": {"method": "lti11", "url": "https://old.example.org", "key": "lone", "secret": "env:OLD"},
    },
)
BY_13, BY_11 = {"method": "lti13", "use": "lms"}, {"method": "lti11", "use": "old"}
COURSES = {
    course.id: course
    for course in (
        a_course("alpha", title="Alpha", authentication=[BY_13, BY_11]),
        a_course("beta", title={"en": "Beta <b>", "ja": "ベータ"}, authentication=[{**BY_13, "contexts": ["ctx-b"]}]),
        a_course("draft", title="Secret draft", state="draft", authentication=BY_11),
        a_course("lone", title="Lone", authentication={"method": "lti11", "use": "lone"}),
        a_course("gone", state="archived", authentication={"method": "lti13", "use": "spare"}),
        a_course("plain"),
    )
}
LAUNCH = "https://courses.example.org/lti/launch"


class Case(AsyncHTTPTestCase):
    def setUp(self) -> None:
        self.folder = TemporaryDirectory()
        self.root = Path(self.folder.name)
        self.woken: list[str] = []
        self.patience = 5.0
        self.connected: dict[str, frozenset[tuple[str, str]]] = {}
        super().setUp()

    def tearDown(self) -> None:
        super().tearDown()
        self.folder.cleanup()

    def get_app(self) -> Application:
        def catalogue() -> Catalogue:
            return Catalogue(SITE, COURSES)

        self.links = Links(self.root / "links")
        lti = Lti(
            catalogue=catalogue,
            address=lambda: "https://courses.example.org/",
            wake=self.woken.append,
            keys_folder=self.root / "keys",
            links=self.links,
            claims=Claims(lambda course: self.connected.get(course, frozenset())),
            add_platform=lambda name, text: create_text(self.root / f"{name}.yaml", text),
            fetcher=lambda hosts: Fetcher(hosts, self.patience),
        )
        return application(catalogue, handlers(lti))

    def ask(self, path: str, method: str = "GET", **options: Any) -> HTTPResponse:
        options.setdefault("body", b"" if method == "POST" else None)
        return self.fetch(path, method=method, follow_redirects=False, allow_nonstandard_methods=True, **options)

    def post(self, path: str, fields: Any, **options: Any) -> HTTPResponse:
        return self.ask(path, "POST", body=urlencode(list(fields)).encode(), **options)

    def assert_page(self, answer: HTTPResponse, status: int, *telling: str) -> str:
        page = answer.body.decode()
        assert answer.code == status, (answer.code, page[:500])
        assert all(text in page for text in telling), page
        policy = answer.headers["Content-Security-Policy"]
        assert "frame-ancestors *" in policy and "default-src 'none'" in policy
        assert "Traceback" not in page
        return page


class TestDispatch(Case):
    def launch_11(self, key: str = "old", path: str = "/lti/launch", **changes: str) -> HTTPResponse:
        return self.post(path, (FORM_11 | {"oauth_consumer_key": key} | changes).items())

    def callback(self, query: str = "", path: str = "/lti/callback", **changes: Any) -> HTTPResponse:
        said = {"target_link_uri": LAUNCH} | changes
        fields = {"id_token": token(claims(**said)), "state": "sealed"}
        return self.post(path + query, fields.items())

    def goes_to(self, answer: HTTPResponse, location: str) -> None:
        assert (answer.code, answer.headers.get("Location")) == (307, location), answer.body[:800]
        assert self.woken[-1] == location.split("/")[2]

    def test_l11_a_launch_goes_to_its_course_as_it_came(self) -> None:
        self.goes_to(self.launch_11("lone"), "/courses/lone/hub/lti/launch")
        answer = self.launch_11("lone", path="/lti/launch?custom_a=%2F%2F%20x&custom_a=b+c&d")
        self.goes_to(answer, "/courses/lone/hub/lti/launch?custom_a=%2F%2F%20x&custom_a=b+c&d")

    def test_a_course_that_the_link_names(self) -> None:
        self.goes_to(self.launch_11(custom_course="draft"), "/courses/draft/hub/lti/launch")
        self.goes_to(self.launch_11(path="/lti/launch?course=alpha"), "/courses/alpha/hub/lti/launch?course=alpha")
        self.goes_to(self.launch_11(custom_course_server="draft"), "/courses/draft/hub/lti/launch")
        self.assert_page(self.launch_11(custom_course="beta"), 404, "names the course beta", "parameter `course`")
        of_server = self.launch_11(custom_course_server="Old Name")
        self.assert_page(of_server, 404, "names the course Old Name", "parameter `course_server`")
        self.assert_page(self.launch_11(custom_course="no\u202esuch<script>"), 404, "no?such&lt;script&gt;")
        self.goes_to(self.callback(custom={"course": "beta"}), "/courses/beta/hub/lti/callback")

    def test_a_course_by_its_context(self) -> None:
        self.goes_to(self.callback(context={"id": "ctx-b"}), "/courses/beta/hub/lti/callback")
        self.goes_to(self.callback(context={"id": "another"}), "/courses/alpha/hub/lti/callback")

    def test_several_courses_have_a_button_each(self) -> None:
        answer = self.launch_11(path="/lti/launch?x=1&y=%26", custom_odd='"><b>\r\n&amp;', context_id="")
        page = self.assert_page(answer, 200, "Which course is this?", "Alpha", "Secret draft")
        targets = re.findall(r'formaction="([^"]+)"', page)
        assert targets == [f"/courses/{course}/hub/lti/launch?x=1&amp;y=%26" for course in ("alpha", "draft")]
        assert '<form method="post"' in page and 'target="_self"' in page
        assert page.count('type="hidden"') == len(FORM_11) + 2
        assert 'name="custom_odd" value="&#34;&gt;&lt;b&gt;\r\n&amp;amp;"' in page
        assert self.woken == []

    def test_who_teaches_confirms_that_two_courses_are_connected(self) -> None:
        answer = self.launch_11(path="/lti/launch?x=1&y=%26", context_title="Python <b> for all")
        page = self.assert_page(answer, 200, "Which course is this?")
        asked = [html.unescape(found) for found in re.findall(r'formaction="([^"]+)"', page)]
        assert asked == [f"/lti/connect?with={course}&by=launch&x=1&y=%26" for course in ("alpha", "draft")]
        fields = FORM_11 | {"oauth_consumer_key": "old", "context_title": "Python <b> for all"}
        page = self.assert_page(self.post(asked[0], fields.items()), 200, "Connect this course with Alpha?")
        assert "Python &lt;b&gt; for all in your learning platform leads to Alpha" in page
        # One button each way, and the launch goes on as it came: its address may be signed.
        assert 'action="/courses/alpha/hub/lti/launch?x=1&amp;y=%26"' in page
        assert 'formaction="/lti/launch?x=1&amp;y=%26"' in page and page.count("<button") == 2
        assert page.count('type="hidden"') == len(fields)
        by_token = {"id_token": token(claims(target_link_uri=LAUNCH)), "state": "s"}.items()
        page = self.assert_page(self.post("/lti/connect?with=alpha&by=callback", by_token), 200, "Python for all")
        assert 'action="/courses/alpha/hub/lti/callback"' in page
        for query, fields_sent, status in (
            ("with=nowhere&by=launch", fields.items(), 404),
            ("with=alpha&by=login", fields.items(), 404),
            ("", fields.items(), 404),
            ("with=alpha&by=callback", [("id_token", "x")], 400),
            ("with=alpha&by=launch", [], 400),
        ):
            self.assert_page(self.post(f"/lti/connect?{query}", fields_sent), status)
        self.assert_page(self.ask("/lti/connect?with=alpha&by=launch"), 405)
        # Nothing is asked of students, nor where a course is connected already.
        students = self.assert_page(self.launch_11(roles="Learner", custom_x="1", key="old"), 200)
        assert "/lti/connect" not in students

    def test_a_course_that_is_connected_by_an_earlier_launch(self) -> None:
        self.connected = {"draft": frozenset({(registration_digest(SITE.login["old"]), "course-1")})}
        self.goes_to(self.launch_11(), "/courses/draft/hub/lti/launch")
        self.goes_to(self.launch_11(context_id="course-2"), "/courses/alpha/hub/lti/launch")

    def test_a_draft_is_shown_to_those_who_teach(self) -> None:
        page = self.assert_page(self.launch_11(roles="Learner"), 200, "Alpha")
        assert "Secret draft" not in page

    def test_l13_a_login_goes_to_a_hub_that_uses_the_platform(self) -> None:
        said = {"iss": ISSUER, "client_id": CLIENT, "login_hint": "h", "target_link_uri": LAUNCH}
        query = urlencode(said)
        self.goes_to(self.ask(f"/lti/login?{query}"), f"/courses/alpha/hub/lti/login?via=site&{query}")
        self.goes_to(self.post("/lti/login", said.items()), "/courses/alpha/hub/lti/login?via=site")
        named = said | {"target_link_uri": f"{LAUNCH}?course=beta"}
        self.goes_to(self.post("/lti/login", named.items()), "/courses/beta/hub/lti/login?via=site")
        del said["client_id"]
        self.goes_to(self.post("/lti/login", said.items()), "/courses/alpha/hub/lti/login?via=site")

    def test_a30_bytes_that_may_not_stand_in_a_header(self) -> None:
        async def raw() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.get_http_port())
            form = b"oauth_consumer_key=lone"
            head = (
                b"POST /lti/launch?a=\x01\x7f\xc3\xa9&b=%0d%0aX:%20y HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
            )
            writer.write(head.replace(b"%d\r", b"%d\r" % len(form)) + form)
            answer = await reader.readuntil(b"\r\n\r\n")
            writer.close()
            return answer

        lines = self.io_loop.run_sync(raw).decode().splitlines()
        assert lines[0].split()[1] in {"307", "400"}
        if "307" in lines[0]:
            location = "Location: /courses/lone/hub/lti/launch?a=%01%7F%C3%A9&b=%0d%0aX:%20y"
            assert [line for line in lines if line.startswith("Location")] == [location]

    def test_l13_a_token_at_the_tools_own_address(self) -> None:
        """Open edX before 11.3.1 posts the choice of content there."""
        answer = self.callback(path="/lti/launch", context={"id": "ctx-b"})
        self.goes_to(answer, "/courses/beta/hub/lti/callback")

    def test_l13_07_the_platforms_refusal_goes_to_where_it_is_told(self) -> None:
        state = seal(Pending(ISSUER, CLIENT, "n", 1, "b"), b"secret")
        answer = self.post("/lti/callback", {"error": "login_required", "state": state}.items())
        self.goes_to(answer, "/courses/alpha/hub/lti/callback")
        self.assert_page(self.post("/lti/callback", {"error": "x", "state": "none"}.items()), 400, "id_token")

    def test_no_course_for_it(self) -> None:
        self.assert_page(self.launch_11("nobody"), 404, "nobody", "coursewarehub lti register NAME")
        self.assert_page(self.callback(aud="spare"), 404, "registered here as spare", "method: lti13", "use: spare")
        self.assert_page(self.callback(iss="https://evil.example.org"), 404, "https://evil.example.org")
        assert self.woken == []

    def test_a30_what_is_no_launch(self) -> None:
        for path, fields, lacking in (
            ("launch", {}, "oauth_consumer_key"),
            ("launch", {"id_token": "x"}, "id_token"),
            ("login", {}, "iss"),
            ("callback", {}, "id_token"),
            ("callback", {"id_token": "a.b.c"}, "id_token"),
        ):
            self.assert_page(self.post(f"/lti/{path}", fields.items()), 400, f"`{lacking}`")
        self.assert_page(self.post("/lti/launch", [("a", "b")] * 1001), 400, "`parameters`")
        self.assert_page(self.ask("/lti/launch", "POST", body=b"\xff\xfe%ff=%00&;;=&&=="), 400)

    def test_a30_what_is_too_large(self) -> None:
        self.assert_page(self.post("/lti/launch", [("oauth_consumer_key", "x" * 70_000)]), 413, "64 KB")
        self.assert_page(self.post("/lti/launch?" + "a" * 40_000, [("oauth_consumer_key", "x" * 40_000)]), 413)
        largest = self.post("/lti/launch", [("oauth_consumer_key", "lone"), ("custom_x", "x" * 65_000)])
        assert largest.code == 307

        async def pieces(write: Any) -> None:
            for _ in range(40):
                await write(b"a" * 4096)

        answer = self.fetch("/lti/launch", method="POST", body_producer=pieces, follow_redirects=False)
        self.assert_page(answer, 413, "64 KB")

    def test_l11_12_who_types_the_address_is_told_what_it_is_for(self) -> None:
        for path in ("launch", "callback"):
            answer = self.ask(f"/lti/{path}")
            self.assert_page(answer, 405, "Open your course from your learning platform")
            assert answer.headers["Allow"] == "POST"
        self.assert_page(self.ask("/lti/login"), 405)
        self.assert_page(self.ask("/lti/login?a=b"), 400, "`iss`")

    def test_pages_in_the_visitors_language(self) -> None:
        for language in ("ja", "fr"):
            page = self.ask("/lti/launch", headers={"Accept-Language": language}).body.decode()
            assert f'lang="{language}"' in page and "Open your course" not in page
        page = self.launch_11(custom_x="1").body.decode()
        assert "Alpha" in page

    def test_nothing_else_is_below_it(self) -> None:
        for path in ("/lti", "/lti/", "/lti/x", "/lti/launch/x", "/lti/config.html", "/lti/register/../jwks"):
            assert self.ask(path).code == 404, path
        assert self.ask("/lti/launch", "PUT", body=b"").code == 405


def test_connections_are_read_now_and_then() -> None:
    now, asked = [0.0], []

    def read(course: str) -> frozenset[tuple[str, str]]:
        asked.append(course)
        if course == "broken":
            raise OSError("no such file")
        return frozenset({("r", "1"), ("r", "2"), ("s", "1")})

    claims = Claims(read, lambda: now[0])
    for _ in range(3):
        assert claims.of(["a", "broken"]) == {("a", "r"): frozenset("12"), ("a", "s"): frozenset("1")}
    assert asked == ["a", "broken"]
    now[0] = REMEMBERED + 1
    claims.of(["a"])
    assert asked == ["a", "broken", "a"]


class TestDocuments(Case):
    def test_l13_21_one_set_of_keys(self) -> None:
        answer = self.ask("/lti/jwks")
        assert answer.headers["Content-Type"].startswith("application/json")
        (key,) = json.loads(answer.body)["keys"]
        assert key["kty"] == "RSA" and "d" not in key
        assert json.loads(self.ask("/lti/jwks").body)["keys"] == [key]
        assert "max-age" in answer.headers["Cache-Control"]

    def test_l13_21_keys_that_others_can_read_are_not_published(self) -> None:
        self.ask("/lti/jwks")
        for file in (self.root / "keys").glob("*.pem"):
            file.chmod(0o644)
        with self.assertLogs("coursewarehub.site.lti", "ERROR"):
            assert self.ask("/lti/jwks").code == 503

    def test_l13_22_settings_for_canvas(self) -> None:
        document = json.loads(self.ask("/lti/config.json").body)
        assert document["title"] == "Courses"
        assert document["target_link_uri"] == LAUNCH
        assert document["oidc_initiation_url"] == "https://courses.example.org/lti/login"
        assert document["public_jwk_url"] == "https://courses.example.org/lti/jwks"
        assert document["redirect_uris"] == ["https://courses.example.org/lti/callback", LAUNCH]
        one = json.loads(self.ask("/lti/config.json?course=alpha").body)
        assert (one["title"], one["target_link_uri"]) == ("Alpha", f"{LAUNCH}?course=alpha")

    def test_l11_17_a_cartridge(self) -> None:
        answer = self.ask("/lti/config.xml?course=beta")
        assert answer.headers["Content-Type"].startswith("application/xml")
        root = ElementTree.fromstring(answer.body)
        blti = "{http://www.imsglobal.org/xsd/imsbasiclti_v1p0}"
        assert root.findtext(f"{blti}title") == "Beta <b>"
        assert root.findtext(f"{blti}launch_url") == f"{LAUNCH}?course=beta"

    def test_no_settings_for_courses_that_platforms_do_not_launch(self) -> None:
        for course in ("plain", "gone", "nope", "", "..%2f", "%ff"):
            self.assert_page(self.ask(f"/lti/config.json?course={course}"), 404)


class TestRegistration(Case):
    def setUp(self) -> None:
        super().setUp()
        self.running = running_platform("moodle")
        self.platform: FakePlatform = self.running.__enter__()

    def tearDown(self) -> None:
        self.running.__exit__(None, None, None)
        super().tearDown()

    def link(self, private_host: str | None = "", name: str = "moodle") -> str:
        host = self.platform.host if private_host == "" else private_host
        return self.links.make(Link(name, time.time() + LIFETIME, host), time.time())

    def asked(self, **changes: str) -> dict[str, str]:
        fields = {"openid_configuration": self.platform.configuration_url, "registration_token": TOKEN}
        return fields | changes

    def register(self, link: str, **changes: str) -> HTTPResponse:
        return self.post(f"/lti/register/{link}", self.asked(**changes).items())

    def stored(self, name: str = "moodle") -> Any:
        return parse_platform(name, (self.root / f"{name}.yaml").read_text())

    def test_dr_01_who_is_there_is_asked_first(self) -> None:
        link = self.link()
        page = self.assert_page(
            self.ask(f"/lti/register/{link}?{urlencode(self.asked())}"), 200, self.platform.host, "moodle", "Courses"
        )
        assert f'action="/lti/register/{link}"' in page and f'value="{TOKEN}"' in page
        assert self.platform.asked == []

    def test_a29_the_log_has_no_token(self) -> None:
        link = self.link()
        with self.assertLogs("coursewarehub", "DEBUG") as logged:
            self.ask(f"/lti/register/{link}?{urlencode(self.asked())}")
            self.register(link)
            self.register(link)
        said = "\n".join(record.getMessage() for record in logged.records)
        assert "/lti/register/..." in said
        assert link not in said and TOKEN not in said

    def test_dr_03_dr_04_moodle(self) -> None:
        link = self.link()
        answer = self.register(link)
        self.assert_page(answer, 200, "use: moodle")
        stored = self.stored()
        assert (stored.issuer, stored.client_id) == (self.platform.url, "x7Ab3")
        assert (stored.auth_url, stored.jwks_url) == (f"{self.platform.url}/auth", f"{self.platform.url}/jwks")
        assert stored.token_url == f"{self.platform.url}/token"
        assert self.platform.asked[-1] == ("POST", "/registrations", f"Bearer {TOKEN}")

    def test_dr_06_the_platforms_page_is_told_that_this_one_can_be_closed(self) -> None:
        answer = self.register(self.link())
        page = answer.body.decode()
        found = re.search(r'<script nonce="([^"]+)">(.*?)</script>', page, re.DOTALL)
        assert found is not None
        script = '(window.opener || window.parent).postMessage({subject: "org.imsglobal.lti.close"}, "*");'
        assert found[2].strip() == script
        assert f"script-src 'nonce-{found[1]}'" in answer.headers["Content-Security-Policy"]

    def test_dr_08_canvas(self) -> None:
        self.platform.family = "canvas"
        self.assert_page(self.register(self.link()), 200)
        assert self.stored().client_id == "10000000000042"
        assert self.stored().token_audience == self.platform.host
        assert [one[2] for one in self.platform.asked] == [f"Bearer {TOKEN}"] * 2

    def test_dr_05_a_link_holds_good_once(self) -> None:
        link = self.link()
        assert self.register(link).code == 200
        for answer in (self.register(link), self.ask(f"/lti/register/{link}?{urlencode(self.asked())}")):
            self.assert_page(answer, 410, "coursewarehub lti register NAME --link")
        assert len(self.platform.registrations) == 1

    def test_dr_05_the_platforms_own_token_was_used(self) -> None:
        assert self.register(self.link()).code == 200
        answer = self.register(self.link(name="again"))
        self.assert_page(answer, 502, "start the registration there once more", "Try again")
        assert not (self.root / "again.yaml").exists()

    def test_dr_01_no_link_no_registration(self) -> None:
        for path in ("/lti/register", "/lti/register/", f"/lti/register?{urlencode(self.asked())}"):
            self.assert_page(self.ask(path), 403, "coursewarehub lti register NAME --link")
        self.assert_page(self.post("/lti/register", self.asked().items()), 403)
        for wrong in ("x", "x" * 43):
            self.assert_page(self.register(wrong), 410)
        assert self.platform.asked == []

    def test_a_link_that_a_person_opens(self) -> None:
        link = self.link()
        self.assert_page(self.ask(f"/lti/register/{link}"), 400, "Give this link to your learning platform")
        self.assert_page(self.post(f"/lti/register/{link}", []), 400)
        assert self.register(link).code == 200

    def test_dr_02_hostile_configurations_leave_nothing_behind(self) -> None:
        link = self.link()
        for path, telling in (
            ("/redirect", "redirect"),
            ("/huge", "256 KB"),
            ("/endless", "256 KB"),
            ("/text", "not a JSON object"),
            ("/deep", "not a JSON object"),
            ("/nothing", "HTTP 404"),
        ):
            answer = self.register(link, openid_configuration=self.platform.url + path)
            page = self.assert_page(answer, 502, telling, "Try again")
            assert f'action="/lti/register/{link}"' in page
        self.platform.said = {"issuer": "https://bank.example.org"}
        self.assert_page(self.register(link), 502, "https://bank.example.org")
        self.platform.said = {}
        assert not list(self.root.glob("*.yaml"))
        assert self.platform.registrations == []
        assert self.register(link).code == 200

    def test_dr_02_a_silent_platform_keeps_nobody_waiting(self) -> None:
        self.platform.delay = 1.5
        self.patience = 1.0
        link = self.link()

        async def both() -> tuple[HTTPResponse, list[float]]:
            registering = asyncio.ensure_future(
                self.http_client.fetch(
                    self.get_url(f"/lti/register/{link}"),
                    method="POST",
                    body=urlencode(self.asked()),
                    raise_error=False,
                )
            )
            waited = []
            while not registering.done():
                begun = time.monotonic()
                await self.http_client.fetch(self.get_url("/lti/launch"), raise_error=False)
                waited.append(time.monotonic() - begun)
                await asyncio.sleep(0.05)
            return await registering, waited

        answer, waited = self.io_loop.run_sync(both)
        self.assert_page(answer, 502, "did not answer within five seconds")
        assert len(waited) > 5 and sorted(waited)[len(waited) // 2] < 0.05
        assert self.links.look(link, time.time()) is not None

    def test_dr_02_private_addresses_are_the_operators_to_allow(self) -> None:
        self.assert_page(self.register(self.link(None)), 502, "does not begin with https://")
        secure = self.platform.configuration_url.replace("http:", "https:")
        self.assert_page(self.register(self.link(None), openid_configuration=secure), 502, "private network")
        link = self.link("other.example.org")
        self.assert_page(self.register(link), 502)
        self.platform.said = {"registration_endpoint": "http://127.0.0.2:1/x"}
        self.assert_page(self.register(self.link()), 502, "does not begin with https://")
        assert not [one for one in self.platform.asked if one[0] == "POST"]

    def test_dr_02_addresses_that_are_none(self) -> None:
        link = self.link()
        for wrong in ("x", "javascript:alert(1)", "file:///etc/passwd", "https://a b/", "https://x/" + "y" * 9000):
            self.assert_page(self.register(link, openid_configuration=wrong), 400, "`openid_configuration`")
            query = urlencode(self.asked(openid_configuration=wrong))
            self.assert_page(self.ask(f"/lti/register/{link}?{query}"), 400)

    def test_dr_03_the_platform_refuses_in_its_own_words(self) -> None:
        link = self.link()
        for answer, telling in (
            ((400, "domain_targetlinkuri_mismatch"), "domain_targetlinkuri_mismatch"),
            ((422, {"errors": [{"message": "<b>no</b>"}]}), "&lt;b&gt;no&lt;/b&gt;"),
            ((500, ""), "HTTP 500"),
            ((200, {"client": "x"}), "client_id"),
            ((200, "text"), "not a JSON object"),
            ((200, {"client_id": "x\ny: z"}), "client_id"),
        ):
            self.platform.answer = answer
            self.assert_page(self.register(link), 502, telling)
        assert not list(self.root.glob("*.yaml"))

    def test_what_cannot_be_stored_is_told(self) -> None:
        (self.root / "moodle.yaml").write_text("kept")
        link = self.link()
        page = self.assert_page(self.register(link), 502, "remove the tool there")
        assert "Try again" not in page
        assert (self.root / "moodle.yaml").read_text() == "kept"
        self.assert_page(self.register(link), 410)
