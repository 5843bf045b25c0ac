"""Launches of LTI 1.1 into a real hub: who gets in, where to, and what is refused with one sentence."""

from __future__ import annotations

import html
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests
from support.learning_platform import (
    CONTEXT,
    FORM_TYPE,
    Launched,
    hidden,
    launched_site,
    running_platform,
    said,
    visitor,
)
from support.lti import SECRET
from support.sites import eventually

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alpha(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """A site whose course takes launches of one context."""
    logins = [
        {"method": "lti13", "use": "moodle", "contexts": [CONTEXT]},
        {"method": "lti11", "use": "old", "contexts": [CONTEXT]},
    ]
    root = tmp_path_factory.mktemp("lti11") / "site"
    with running_platform() as platform, launched_site(root, platform, authentication=logins) as launched:
        yield launched


def body(alpha: Launched, user: str = "42", **changes: Any) -> bytes:
    return alpha.platform.form(alpha.lti("launch"), user, **changes)


def refused(alpha: Launched, sent: bytes, status: int, telling: str, query: str = "") -> requests.Response:
    """The launch ends on a page with one sentence, and nobody is logged in."""
    session = visitor()
    page = alpha.launch11(session, sent, query)
    assert (page.status_code, telling in said(page)) == (status, True), (
        page.status_code,
        said(page) or page.text[:300],
    )
    assert page.text.count('class="cw-button') == 1 and not session.cookies
    return page


def test_l11_01_b04_students_and_instructors_come_in(alpha: Launched) -> None:
    session = visitor()
    page = alpha.launch11(session, body(alpha, "s1"))
    assert page.status_code == 303 and urlsplit(page.headers["Location"]).path == "/courses/alpha/hub/user-redirect/"
    name = alpha.who(session)
    assert name.startswith("lti-") and len(name) == 24
    teacher = visitor()
    alpha.launch11(teacher, body(alpha, "t1", roles="Instructor"))
    assert {alpha.groups()[alpha.who(who)][0] for who in (session, teacher)} == {"student", "instructor"}
    # The role is that of the last launch, and the account the same for ever.
    alpha.launch11(visitor(), body(alpha, "s1", roles="urn:lti:role:ims/lis/TeachingAssistant"))
    assert alpha.groups()[name] == ["assistant"]
    alpha.launch11(visitor(), body(alpha, "s1"))
    assert alpha.groups()[name] == ["student"]


def test_l11_01_the_notebook_opens(alpha: Launched) -> None:
    session = visitor()
    page = alpha.launch11(session, body(alpha, "s2", custom_notebook="start.ipynb"))
    assert page.headers["Location"].endswith("hub/user-redirect/lab/tree/start.ipynb")
    name = alpha.who(session)

    def arrived() -> bool:
        opened = session.get(alpha.site.url + page.headers["Location"].lstrip("/"), timeout=60)
        return opened.status_code == 200 and opened.url.endswith(f"/user/{name}/lab/tree/start.ipynb")

    eventually(arrived, 60, 0.5)


def test_l11_02_l11_13_parameters_in_the_address_and_doubled(alpha: Launched) -> None:
    url = alpha.lti("launch") + "?next=%2Fhub%2Fhome&custom_a=1&custom_a=2"
    page = alpha.launch11(visitor(), alpha.platform.form(url), "next=%2Fhub%2Fhome&custom_a=1&custom_a=2")
    assert page.status_code == 303 and page.headers["Location"] == "/courses/alpha/hub/home"


def test_l11_03_a01_wrong_secret_key_and_altered_fields(alpha: Launched) -> None:
    refused(alpha, body(alpha, secret="wrong"), 401, "The signature does not fit")
    refused(alpha, body(alpha, key="nobody"), 401, "knows no consumer key nobody")
    honest = dict(parse_qsl(body(alpha).decode(), keep_blank_values=True))
    altered = [name for name in honest if name not in ("oauth_consumer_key", "oauth_signature_method", "oauth_version")]
    assert len(altered) >= 20
    for name in altered:
        value = "9" + honest[name] if name != "oauth_timestamp" else str(int(honest[name]) - 1)
        sent = urlencode({**honest, name: value}).encode()
        answer = alpha.launch11(visitor(), sent)
        assert answer.status_code == 401 and said(answer).startswith("The signature does not fit"), name
    assert alpha.launch11(visitor(), urlencode(honest).encode()).status_code == 303


def test_l11_04_b01_f28_timestamps(alpha: Launched) -> None:
    for wrong in ("abc", "1.5", "", "-1", "12345678901", "\uff11\uff12", "1" * 400):
        fields = dict(parse_qsl(body(alpha).decode(), keep_blank_values=True)) | {"oauth_timestamp": wrong}
        answer = alpha.launch11(visitor(), urlencode(fields).encode())
        assert answer.status_code in (400, 401) and said(answer), wrong
    assert alpha.launch11(visitor(), body(alpha, offset="240")).status_code == 303
    for offset, side in (("400", "ahead of"), ("-400", "behind")):
        page = refused(alpha, body(alpha, offset=offset), 401, side)
        assert any(f"{seconds} s" in said(page) for seconds in (398, 399, 400, 401, 402))


def test_a02_l11_05_l11_06_replays_and_junk(alpha: Launched) -> None:
    sent = body(alpha, "r1", nonce="n1")
    forged = sent.replace(b"oauth_signature=", b"oauth_signature=x")
    assert alpha.launch11(visitor(), forged).status_code == 401
    assert alpha.launch11(visitor(), sent).status_code == 303  # junk has not used the nonce up
    page = refused(alpha, sent, 401, "was used before")
    assert "lti_errormsg" in page.text and "Back to your platform" in page.text
    # In the language of the browser, else in the platform's (`launch_presentation_locale`); in English for its log.
    for language, told in (("en", "This launch was used before"), ("fr", "Ce lancement"), ("", "この起動は")):
        page = alpha.launch11(visitor(**({"Accept-Language": language} if language else {})), sent)
        (link,) = re.findall(r'href="(https://lms[^"]+)"', page.text)
        back = dict(parse_qsl(urlsplit(html.unescape(link)).query))
        assert back["id"] == "1" and back["lti_errormsg"].startswith(told), language
        assert back["lti_errorlog"].startswith("nonce: This launch was used before")


@pytest.mark.parametrize(
    ("changes", "status", "telling"),
    [
        ({"lti_message_type": "ContentItemSelectionRequest"}, 400, "Content cannot be chosen through LTI 1.1"),
        ({"lti_message_type": "x"}, 400, "basic-lti-launch-request"),
        ({"lti_version": "LTI-2p0"}, 400, "LTI-1p0"),
        ({"resource_link_id": None}, 400, "`resource_link_id`"),
        ({"user_id": None}, 400, "`user_id`"),
        ({"user_id": ""}, 400, "`user_id`"),
        ({"context_id": "course-9"}, 403, "`context_id`"),
        ({"roles": "urn:lti:instrole:ims/lis/Instructor"}, 403, "does not say what you are"),
        ({"custom_course_server": "other"}, 403, "`course_server` names the course other, and this is the launch"),
        ({"custom_course_image": "evil/image"}, 403, "`course_image` asks for evil/image"),
    ],
)
def test_l11_08_l11_09_b02_b08_what_a_launch_must_say(
    alpha: Launched, changes: dict[str, Any], status: int, telling: str
) -> None:
    refused(alpha, body(alpha, **changes), status, telling)


def test_b02_doubled_large_and_not_utf8(alpha: Launched) -> None:
    sent = body(alpha)
    for extra, status in ((b"&user_id=7", 401), (b"&custom_x=" + b"a" * 70_000, 413), (b"&custom_x=%ff", 401)):
        answer = alpha.launch11(visitor(), sent + extra)
        assert answer.status_code == status and said(answer), extra[:20]
    answer = requests.post(alpha.lti("launch"), files={"user_id": "x"}, timeout=30)
    assert answer.status_code == 415 and "multipart/form-data" in said(answer)
    answer = requests.post(alpha.lti("launch"), b"x" * 3_000_000, headers=FORM_TYPE, timeout=30)
    assert answer.status_code == 413


def test_l11_10_b06_nobody_becomes_admin(alpha: Launched) -> None:
    names = set()
    for user in ("admin", "Admin", "ADMIN", "admin ", "\u00e9", "e\u0301", "../x", "<b>", "\u202eabc"):
        session = visitor()
        launch = body(alpha, user, custom_uname="admin", lis_person_contact_email_primary="a@example.org")
        assert alpha.launch11(session, launch).status_code == 303, user
        names.add(alpha.who(session))
    assert len(names) == 9 and all(name.startswith("lti-") for name in names)


def test_l11_12_who_comes_without_a_launch_reads_where_to_begin(alpha: Launched) -> None:
    page = visitor().get(f"{alpha.url}hub/", timeout=30)
    assert page.status_code == 200 and "Open this course from Campus" in page.text
    assert 'name="password"' not in page.text
    page = visitor(**{"Accept-Language": "ja"}).get(alpha.lti("launch"), timeout=30)
    assert page.status_code == 405 and page.headers["Allow"] == "POST" and "POST" in said(page)
    assert "のリンクを開き直してください" in said(page)


PLACES = [
    "https://evil.example", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example",
    "https:evil.example", "javascript:alert(1)", "data:text/html,x", "/hub/../../evil", "/hub/%2e%2e/%2e%2e/x",
    "/hub/home/../../../../x", "http://evil.example/hub/home", "/hub/user-redirect/..%2f..%2f..%2fx",
    "/hub/logout", "/courses/beta/hub/home", "/hub/login?next=//evil.example", "/hub/home?next=https://evil.example",
    "/services/../x", "/%2f/evil.example", "/hub/user-redirect/git-pull?urlpath=//evil.example", "hub/home",
    "https://127.0.0.1@evil.example/", "/hub%00/home", "/hub/\x00home", "\thttps://evil.example", " //evil.example",
]  # fmt: skip


@pytest.mark.parametrize("name", ["custom_next", "custom_urlpath", "custom_notebook", "custom_logout_redirect_url"])
def test_a05_no_parameter_leads_elsewhere(alpha: Launched, name: str) -> None:
    for place in PLACES:
        answer = alpha.launch11(visitor(), body(alpha, **{name: place}))
        assert answer.status_code in (303, 400), (name, place, answer.status_code)
        if answer.status_code == 303:
            target = answer.headers["Location"]
            assert target.startswith("/courses/alpha/") and "evil.example" not in urlsplit(target).netloc, place
        else:
            assert said(answer), place


def test_l11_14_a06_headers_change_no_identity(alpha: Launched) -> None:
    for name in ("REMOTE_USER", "Remote-User", "X-Remote-User", "X-Forwarded-User", "X_Remote_User"):
        assert alpha.who(visitor(**{name: "admin"})) == ""
    session = visitor(**{"X-Forwarded-Host": "evil.example", "X-Forwarded-User": "admin"})
    answer = alpha.launch11(session, body(alpha, "h1"))
    assert answer.status_code in (303, 401) and "evil.example" not in answer.headers.get("Location", "")
    # Signed for the address of the whole site, which sends launches on.
    answer = alpha.launch11(visitor(), alpha.platform.form(f"{alpha.site.url}lti/launch", "h1"))
    assert answer.status_code == 303


def test_l11_15_what_grades_need_is_kept_for_each_link(alpha: Launched) -> None:
    session = visitor()
    for link, sourcedid in (("l1", "one"), ("l2", "two"), ("l1", '{"newest": "a:b"}')):
        sent = body(alpha, "g1", resource_link_id=link, lis_result_sourcedid=sourcedid)
        assert alpha.launch11(session, sent).status_code == 303
    name = alpha.who(session)
    database = Path(alpha.site.folder.root) / "state" / "courses" / "alpha" / "hub.sqlite"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        query = "select resource_link, services, subject, role from courseware_lti_links where name = ? order by 1"
        rows = connection.execute(query, (name,)).fetchall()
    kept = {link: json.loads(services)["outcomes"] for link, services, _, _ in rows}
    url = "https://lms.example.org/outcomes"
    assert kept == {"l1": [url, '{"newest": "a:b"}'], "l2": [url, "two"]}
    assert {row[2:] for row in rows} == {("g1", "student")}
    assert all("sourced" not in (cookie.value or "") for cookie in session.cookies)


def test_logout_leads_to_where_the_link_says(alpha: Launched) -> None:
    session = visitor()
    back = f"{alpha.platform.url}/bye"
    assert alpha.launch11(session, body(alpha, "o1", custom_logout_redirect_url=back)).status_code == 303
    left = session.get(f"{alpha.url}hub/logout", timeout=30, allow_redirects=False)
    assert left.status_code == 302 and left.headers["Location"] == back
    assert alpha.who(session) == ""
    left = session.get(f"{alpha.url}hub/logout", timeout=30, allow_redirects=False)
    assert left.headers["Location"].endswith("/hub/login")


def test_in_a_frame_one_button_opens_a_window(alpha: Launched) -> None:
    frame = visitor(**{"Sec-Fetch-Dest": "iframe"})
    page = alpha.launch11(frame, body(alpha, "f1", custom_notebook="start.ipynb"))
    assert page.status_code == 200 and page.text.count("<button") == 1
    assert 'target="_blank"' in page.text and 'action="open"' in page.text
    policy = page.headers["Content-Security-Policy"]
    assert f"frame-ancestors 'self' {alpha.platform.url}" in policy and "X-Frame-Options" not in page.headers
    assert not frame.cookies, "nobody is logged in inside the frame"
    ticket = hidden(page)
    window = visitor(**{"Sec-Fetch-Site": "same-origin"})
    opened = window.post(alpha.lti("open"), ticket, timeout=30, allow_redirects=False)
    assert opened.status_code == 303 and opened.headers["Location"].endswith("/lab/tree/start.ipynb")
    assert alpha.who(window).startswith("lti-")
    # Pressed again it leads on; in another browser it is worth nothing, nor when it was changed.
    assert window.post(alpha.lti("open"), ticket, timeout=30, allow_redirects=False).status_code == 303
    again = visitor().post(alpha.lti("open"), ticket, timeout=30, allow_redirects=False)
    assert again.status_code == 401 and "was used before" in said(again)
    changed = {"launch": "x" + ticket["launch"]}
    assert visitor().post(alpha.lti("open"), changed, timeout=30, allow_redirects=False).status_code == 401


def test_who_is_signed_in_is_asked_before_somebody_else_comes_in(alpha: Launched) -> None:
    window = visitor()
    assert alpha.launch11(window, body(alpha, "first", lis_person_name_full="Ada First")).status_code == 303
    ada = alpha.who(window)
    # The same person again is asked nothing.
    assert alpha.launch11(window, body(alpha, "first", lis_person_name_full="Ada First")).status_code == 303
    arrived = alpha.launch11(
        window, body(alpha, "second", lis_person_name_full="Bob <Second>", custom_notebook="start.ipynb")
    )
    assert arrived.status_code == 200 and 'action="open"' in arrived.text and 'target="_blank"' not in arrived.text
    asked = window.post(alpha.lti("open"), hidden(arrived), timeout=30, allow_redirects=False)
    assert asked.status_code == 200 and f"Ada First ({ada}) is signed in to this course" in asked.text
    assert "Go on as Bob &lt;Second&gt; (lti-" in asked.text
    ways = re.findall(r'<(?:button|a) [^>]*class="cw-button[^"]*"[^>]*>', asked.text)
    assert len(ways) == 2 and "/courses/alpha/hub/home" in ways[1]
    assert alpha.who(window) == ada, "nothing has happened yet"
    # The answer is for this browser and these two people only.
    elsewhere = visitor()
    assert alpha.launch11(elsewhere, body(alpha, "third")).status_code == 303
    third = alpha.who(elsewhere)
    page = elsewhere.post(alpha.lti("open"), hidden(asked), timeout=30, allow_redirects=False)
    assert page.status_code == 200 and "is signed in" in page.text and alpha.who(elsewhere) == third
    went = window.post(alpha.lti("open"), hidden(asked), timeout=30, allow_redirects=False)
    assert went.status_code == 303 and went.headers["Location"].endswith("/lab/tree/start.ipynb")
    assert alpha.who(window) not in {ada, third, ""}


def test_a_frame_asks_in_its_window(alpha: Launched) -> None:
    """In a frame without cookies nobody is signed in; the window has them, and is asked there."""
    window, frame = visitor(), visitor(**{"Sec-Fetch-Dest": "iframe"})
    alpha.launch11(window, body(alpha, "first"))
    page = alpha.launch11(frame, body(alpha, "second"))
    assert 'target="_blank"' in page.text
    asked = window.post(alpha.lti("open"), hidden(page), timeout=30, allow_redirects=False)
    assert asked.status_code == 200 and "Somebody else is signed in" in asked.text


def test_l11_17_other_pages_are_in_no_frame(alpha: Launched) -> None:
    """What launches are registered with (the cartridge) is the site's; the hub's own pages are framed by nobody."""
    page = visitor().get(f"{alpha.url}hub/login", timeout=30)
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]


def test_a02_after_a_restart_a_replay_is_one(alpha: Launched) -> None:
    sent = body(alpha, "r2")
    assert alpha.launch11(visitor(), sent).status_code == 303
    alpha.site.stop()
    alpha.site.start()
    refused(alpha, sent, 401, "was used before")
    assert SECRET not in (alpha.site.folder.root / "up.log").read_text()


def test_a30_the_log_has_short_lines_and_no_secret(alpha: Launched) -> None:
    for junk in ("a" * 60_000, "x%0d%0aERROR forged", "%1b[31mred", "%s%n{0}"):
        alpha.launch11(visitor(), f"oauth_consumer_key={junk}&oauth_nonce=1".encode())
        visitor().get(alpha.lti("login") + f"?iss={junk}&login_hint={junk}", timeout=30)
    log = (alpha.site.folder.root / "state" / "logs" / "hub-alpha.log").read_text()
    assert max(map(len, log.splitlines())) <= 1024
    assert SECRET not in log and "\x1b" not in log and "\nERROR forged" not in log


def test_the_course_log_tells_of_launches(alpha: Launched) -> None:
    session = visitor()
    alpha.launch11(session, body(alpha, "logged"))
    name = alpha.who(session)
    refused(alpha, body(alpha, "s1", context_title="unspeakable") + b"&oauth_signature=wrong", 400, "")

    def launches() -> list[dict[str, Any]]:
        told = alpha.site.cli("course", "audit", "alpha", "--json").stdout.splitlines()
        return [event for event in map(json.loads, told) if event["kind"] == "launch"]

    def both() -> bool:
        succeeded = [each for each in launches() if each["action"] == "succeeded" and each["person"] == name]
        return bool(succeeded) and any(each["action"] == "refused" for each in launches())

    eventually(both, 20)
    assert not [each for each in launches() if "unspeakable" in json.dumps(each)]
