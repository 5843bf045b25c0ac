"""LTI on a real site: launches find their course and wake its hub, platforms come while the site runs."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from support.learning_platform import CLIENT, FORM_TYPE, TEACHER, LearningPlatform, hidden, said, visitor
from support.learning_platform import running_platform as running_lms
from support.lti import FORM_11, KEY, SECRET, signed
from support.openedx import running_openedx
from support.registering_platform import TOKEN, FakePlatform, running_platform
from support.sites import RunningSite, eventually

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]
OLD = {"method": "lti11", "url": "https://old.example.org", "key": "old", "secret": "file:password"}


@pytest.fixture
def platform() -> Iterator[FakePlatform]:
    with running_platform("moodle") as running:
        yield running


def write_platform(site: RunningSite, name: str, **settings: Any) -> None:
    folder = site.folder.root / "platforms.d"
    folder.mkdir(exist_ok=True)
    partial = folder / f".{name}"
    partial.write_text(json.dumps(settings))
    os.replace(partial, folder / f"{name}.yaml")


def launch(site: RunningSite, path: str = "lti/launch", key: str = "old", **changes: str) -> requests.Response:
    url = site.url + path
    form = FORM_11 | changes
    body = signed(form.items(), url=url, key=key, secret="correct horse", timestamp=str(int(time.time())))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return requests.post(url, data=body, headers=headers, timeout=30, allow_redirects=False)


def pids(site: RunningSite, *courses: str) -> dict[str, Any]:
    return {course: site.hub(course)["pid"] for course in courses}


def times_up(site: RunningSite, course: str) -> int:
    """How often the hub of a course has started, by the site's log."""
    return (site.folder.root / "up.log").read_text().count(f"the hub of {course} is up after")


def test_a_launch_wakes_its_hub_and_arrives_whole(make_site: MakeSite) -> None:
    site = make_site(courses=("beta",), hubs={"sleep_after": "1s"}, login={"old": OLD})
    site.folder.add_course("alpha", authentication={"method": "lti11", "use": "old"})
    site.start()
    assert site.hub("alpha")["state"] == "sleeping"
    answer = launch(site)
    assert (answer.status_code, answer.headers["Location"]) == (307, "/courses/alpha/hub/lti/launch")
    # Woken by the launch itself, before the browser has come round.
    eventually(lambda: times_up(site, "alpha") == 1, 30)
    assert times_up(site, "beta") == 0

    eventually(lambda: site.hub("alpha")["state"] == "sleeping", 30, every=0.2)
    again = requests.post(
        site.url + "courses/alpha/hub/lti/launch", data=answer.request.body, headers=answer.request.headers, timeout=30,
        allow_redirects=False,
    )  # fmt: skip
    # The hub has verified what was signed for the site's address.
    assert again.status_code == 303, again.text[:2000]
    assert times_up(site, "alpha") == 2 and times_up(site, "beta") == 0


def test_several_courses_and_none(make_site: MakeSite) -> None:
    site = make_site(courses=("plain",), login={"old": OLD})
    for course in ("alpha", "beta"):
        site.folder.add_course(course, authentication={"method": "lti11", "use": "old"})
    site.start()
    page = launch(site)
    assert page.status_code == 200 and "frame-ancestors *" in page.headers["Content-Security-Policy"]
    assert re.findall(r'formaction="([^"]+)"', page.text) == [
        "/lti/connect?with=alpha&amp;by=launch",
        "/lti/connect?with=beta&amp;by=launch",
    ]
    assert launch(site, custom_course="beta").headers["Location"] == "/courses/beta/hub/lti/launch"
    assert launch(site, key="nobody").status_code == 404
    answer = requests.post(site.url + "lti/launch", data={"a": "x" * 200_000}, timeout=30)
    assert answer.status_code == 413


def test_a_platform_comes_while_the_site_runs(make_site: MakeSite) -> None:
    """Of three courses, the one that waits for the platform is served within ten seconds; no other hub is touched."""
    site = make_site(courses=("plain",), hubs={"sleep_after": "never"}, login={"old": OLD})
    site.folder.add_course("old", authentication={"method": "lti11", "use": "old"})
    site.folder.add_course("new", authentication=[{"method": "lti11", "use": "late"}])
    with pytest.raises(AssertionError):
        site.start()  # nothing starts while a course names a platform that is nowhere
    # One whose file is broken keeps its own course from being served, and no other.
    write_platform(site, "late", **{**OLD, "ky": "late"})
    site.start()
    assert any(problem.startswith("platforms.d/late.yaml:") for problem in site.status()["problems"])
    eventually(lambda: all(pids(site, "plain", "old").values()), 30)
    write_platform(site, "late", **{**OLD, "key": "late"})
    eventually(lambda: launch(site, key="late").status_code == 307, 10, every=0.2)
    eventually(lambda: all(pids(site, "plain", "old", "new").values()), 30)
    before = pids(site, "plain", "old", "new")

    begun = time.monotonic()
    write_platform(site, "later", **{**OLD, "key": "later"})
    site.folder.add_course("newest", authentication={"method": "lti11", "use": "later"})
    eventually(lambda: launch(site, key="later").status_code == 307, 10, every=0.2)
    assert time.monotonic() - begun < 10
    write_platform(site, "late", **{**OLD, "key": "late2"})
    eventually(lambda: launch(site, key="late2").status_code == 307, 10, every=0.2)
    eventually(lambda: site.hub("new")["pid"] not in {None, before["new"]}, 20)
    now = pids(site, "plain", "old")
    assert now == {course: before[course] for course in ("plain", "old")}

    # A broken file leaves its platform, and its course, as they were.
    running = site.hub("new")["pid"]
    (site.folder.root / "platforms.d/late.yaml").write_text("method: lti11\nky: x\n")
    eventually(lambda: any("platforms.d/late.yaml:2" in problem for problem in site.status()["problems"]), 10)
    assert launch(site, key="late2").status_code == 307
    assert site.hub("new")["pid"] == running
    assert pids(site, "plain", "old") == now


def test_dr_01_to_dr_06_a_platform_registers_itself(make_site: MakeSite, platform: FakePlatform) -> None:
    site = make_site(courses=())
    site.start()
    said = site.cli("lti", "register", "moodle", "--link", "--private-host", platform.host).stdout
    found = re.search(r"^http\S+$", said, re.MULTILINE)
    assert found is not None and found[0].startswith(site.url + "lti/register/")
    fields = {"openid_configuration": platform.configuration_url, "registration_token": TOKEN}
    page = requests.get(f"{found[0]}?{urlencode(fields)}", timeout=20)
    assert page.status_code == 200 and platform.host in page.text and platform.asked == []
    action = re.search(r'action="([^"]+)"', page.text)
    assert action is not None and action[1] == urlsplit(found[0]).path
    done = requests.post(found[0], data=fields, timeout=20)
    assert done.status_code == 200 and "org.imsglobal.lti.close" in done.text
    assert requests.post(found[0], data=fields, timeout=20).status_code == 410

    assert platform.registrations[0]["jwks_uri"] == site.url + "lti/jwks"
    assert requests.get(site.url + "lti/jwks", timeout=20).json()["keys"][0]["kty"] == "RSA"
    assert [p["name"] for p in json.loads(site.cli("lti", "list", "--json").stdout)] == ["moodle"]
    assert site.cli("check").returncode == 0
    site.folder.add_course("alpha", authentication={"method": "lti13", "use": "moodle"})
    said_of = {"iss": platform.url, "client_id": "x7Ab3", "login_hint": "1", "target_link_uri": site.url + "lti/launch"}

    def goes_on() -> bool:
        answer = requests.post(site.url + "lti/login", data=said_of, timeout=20, allow_redirects=False)
        return answer.status_code == 307

    eventually(goes_on, 10, every=0.2)
    login = requests.post(site.url + "lti/login", data=said_of, timeout=30, allow_redirects=False)
    assert login.headers["Location"] == "/courses/alpha/hub/lti/login?via=site"


# --- LTI 1.3, from the first request to the last ----------------------------------------------


def begin_13(site: RunningSite, lms: LearningPlatform, session: requests.Session, user: str, link: str) -> str:
    """From the platform's first request to its own login page; its address."""
    fields = lms.initiation("", user, target_link_uri=link)
    begun = session.get(f"{site.url}lti/login", params=fields, timeout=30, allow_redirects=False)
    assert begun.status_code == 307, begun.text[:500]
    asked = session.get(site.url.rstrip("/") + begun.headers["Location"], timeout=30, allow_redirects=False)
    assert asked.status_code == 302 and asked.headers["Location"].startswith(f"{lms.url}/auth?"), asked.text[:500]
    return asked.headers["Location"]


def launch_13(
    site: RunningSite, lms: LearningPlatform, user: str, context: str, query: str = "", **changes: Any
) -> tuple[requests.Session, requests.Response, requests.Response]:
    """A whole launch by the site's addresses: the browser, the site's answer, and the hub's if it was sent there."""
    session, link = visitor(), f"{site.url}lti/launch{query}"
    form = lms.answer(
        begin_13(site, lms, session, user, link), "", context={"id": context}, target_link_uri=link, **changes
    )
    answer = session.post(f"{site.url}lti/callback", form, timeout=30, allow_redirects=False)
    if answer.status_code != 307:
        return session, answer, answer
    onward = site.url.rstrip("/") + answer.headers["Location"]
    return session, answer, session.post(onward, form, timeout=30, allow_redirects=False)


def test_l13_a_login_begun_by_one_hub_ends_in_another_that_slept(make_site: MakeSite) -> None:
    with running_lms() as lms:
        site = make_site(courses=(), hubs={"sleep_after": "1s"}, login={"lms": lms.registration()})
        for course in ("alpha", "beta"):
            site.folder.add_course(course, authentication={"method": "lti13", "use": "lms"}, members={})
        site.start()

        # Somebody who teaches connects the platform's course with the one that the link names.
        _, sent, arrived = launch_13(site, lms, "t1", "ctx-9", "?course=beta", roles=[TEACHER])
        assert sent.headers["Location"] == "/courses/beta/hub/lti/callback"
        assert arrived.status_code == 303, arrived.text[:2000]

        # A link that names no course: the login begins at alpha's hub and ends at beta's, which is connected.
        eventually(lambda: all(site.hub(course)["state"] == "sleeping" for course in ("alpha", "beta")), 20, every=0.3)
        session, sent, arrived = launch_13(site, lms, "s1", "ctx-9")
        assert sent.headers["Location"] == "/courses/beta/hub/lti/callback"
        assert (arrived.status_code, arrived.headers["Location"]) == (303, "/courses/beta/hub/user-redirect/")
        home = session.get(f"{site.url}courses/beta/hub/home", timeout=30, headers={"Sec-Fetch-Site": "same-origin"})
        assert home.status_code == 200 and home.url.endswith("/hub/home")

        # One that is not connected: alpha is the only course left, and its hub says what has to be done.
        _, sent, arrived = launch_13(site, lms, "s1", "ctx-7")
        assert sent.headers["Location"] == "/courses/alpha/hub/lti/callback"
        assert arrived.status_code == 403 and "ask your instructor to open this link once" in said(arrived)


def test_l13_several_courses_the_button_of_one_brings_the_launch_there(make_site: MakeSite) -> None:
    with running_lms() as lms:
        site = make_site(courses=(), login={"lms": lms.registration()})
        for course in ("alpha", "beta"):
            site.folder.add_course(course, authentication={"method": "lti13", "use": "lms"}, members={})
        site.start()
        session, page, _ = launch_13(site, lms, "t1", "ctx-9", roles=[TEACHER])
        assert page.status_code == 200 and "Course beta" in page.text
        onward = site.url.rstrip("/") + "/courses/beta/hub/lti/callback"
        assert 'formaction="/lti/connect?with=beta&amp;by=callback"' in page.text
        asked = session.post(f"{site.url}lti/connect?with=beta&by=callback", hidden(page), timeout=30)
        assert asked.status_code == 200 and f'action="{urlsplit(onward).path}"' in asked.text
        arrived = session.post(onward, hidden(page), headers=FORM_TYPE, timeout=30, allow_redirects=False)
        assert arrived.status_code == 303, arrived.text[:2000]

        # The platform refuses a login: its hub says so in the platform's words.
        asked = begin_13(site, lms, session, "s1", f"{site.url}lti/launch")
        state = re.search(r"[?&]state=([^&]+)", asked)
        assert state is not None
        form = {"error": "login_required", "state": state[1]}
        answer = session.post(f"{site.url}lti/callback", form, timeout=30)
        assert answer.status_code == 400 and "login_required" in said(answer)


# --- Open edX's own code ------------------------------------------------------------------------


def test_open_edx_by_the_sites_addresses(make_site: MakeSite) -> None:
    """Students and staff of `lti-consumer-xblock` come in by both versions, with the site as the tool."""
    with running_openedx() as openedx, running_lms() as lms:
        login = {"edx": lms.registration(), "old": lms.consumer(secret="file:lti-secret")}
        site = make_site(courses=("plain",), login=login)
        secret = site.folder.root / "lti-secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        logins = [
            {"method": method, "use": use, "contexts": ["course-v1:Org+CS1+2026"]}
            for method, use in (("lti13", "edx"), ("lti11", "old"))
        ]
        site.folder.add_course("alpha", authentication=logins, members={})
        site.start()
        openedx.always = {
            "issuer": lms.url,
            "client_id": CLIENT,
            "login_url": f"{site.url}lti/login",
            "launch_url": f"{site.url}lti/launch",
            "redirect_uris": [f"{site.url}lti/callback", f"{site.url}lti/launch"],
            "jwks_url": f"{site.url}lti/jwks",
            "key": KEY,
            "secret": SECRET,
        }
        lms.document = json.dumps(openedx("key_set"))

        for role in ("student", "staff"):
            who: dict[str, Any] = {"user": f"uuid-{role}", "role": role}
            session = visitor()
            begun = session.get(openedx("preflight", **who), timeout=30, allow_redirects=True)
            query = {name: values[0] for name, values in parse_qs(urlsplit(begun.url).query).items()}
            assert query["redirect_uri"] == f"{site.url}lti/callback", begun.url
            form = openedx("launch_13", query=query, **who)
            arrived = sent_on(site, session, "lti/callback", urlencode(form).encode())
            assert arrived.headers["Location"].startswith("/courses/alpha/hub/"), arrived.text[:500]

        for role in ("Student", "Instructor"):
            form = openedx("launch_11", user=f"anon-{role}", role=role, custom={"custom_é": "ü ~"})
            arrived = sent_on(site, visitor(), "lti/launch", urlencode(form).encode())
            assert arrived.headers["Location"].startswith("/courses/alpha/hub/"), arrived.text[:500]


def sent_on(site: RunningSite, session: requests.Session, path: str, body: bytes) -> requests.Response:
    """The hub's answer to a form for one of the site's addresses."""
    answer = session.post(site.url + path, body, headers=FORM_TYPE, timeout=30, allow_redirects=False)
    assert answer.status_code == 307, answer.text[:500]
    onward = site.url.rstrip("/") + answer.headers["Location"]
    arrived = session.post(onward, body, headers=FORM_TYPE, timeout=30, allow_redirects=False)
    assert arrived.status_code == 303, arrived.text[:1000]
    return arrived
