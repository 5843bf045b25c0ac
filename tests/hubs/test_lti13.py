"""Launches of LTI 1.3 into a real hub, from a platform of our own that can do everything wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import requests
from support.learning_platform import (
    CLIENT,
    CONTEXT,
    DEPLOYMENT,
    FORM_TYPE,
    LEARNER,
    TEACHER,
    Launched,
    hidden,
    launched_site,
    running_platform,
    said,
    visitor,
)
from support.loop_lag import LONGEST, LoopLag, added
from support.lti import KEY, MEMBERSHIP, SECRET, b64, rsa_key, token
from support.providers import many_logins
from support.sites import eventually

from coursewareauthenticator.lti.login import LIFETIME, Pending, seal

pytestmark = pytest.mark.slow
DL = "https://purl.imsglobal.org/spec/lti-dl/claim/"


@pytest.fixture(scope="module")
def alpha(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    logins = [
        {"method": "lti13", "use": "moodle", "contexts": [CONTEXT], "roles": {"assistants": ["Mentor"]}},
        {"method": "lti11", "use": "old", "contexts": [CONTEXT]},
    ]
    root = tmp_path_factory.mktemp("lti13") / "site"
    with running_platform() as platform, launched_site(root, platform, authentication=logins) as launched:
        yield launched


@pytest.fixture(autouse=True)
def well_behaved(request: pytest.FixtureRequest) -> None:
    """What a test has done to the platform is undone before the next."""
    if "alpha" in request.fixturenames:
        platform = request.getfixturevalue("alpha").platform
        platform.delay, platform.status, platform.signs_with = 0.0, 200, "k1"
        platform.keys = {"k1": rsa_key("k1")}


def seal_of(alpha: Launched) -> bytes:
    return (alpha.site.folder.root / "state" / "secrets" / "lti-seal").read_text().encode()


def refused(page: requests.Response, status: int, telling: str) -> None:
    assert (page.status_code, telling in said(page)) == (status, True), (
        page.status_code,
        said(page) or page.text[:300],
    )
    assert page.text.count('class="cw-button') == 1


# --- the login ----------------------------------------------------------------------------------


def test_l13_01_l13_03_l13_04_login_by_get_and_post(alpha: Launched) -> None:
    fields = alpha.platform.initiation(alpha.url, client_id=None, lti_deployment_id=DEPLOYMENT)
    by_get = visitor().get(alpha.lti("login"), params=fields, timeout=30, allow_redirects=False)
    by_post = visitor().post(alpha.lti("login"), fields, timeout=30, allow_redirects=False)
    for answer in (by_get, by_post):
        assert answer.status_code == 302 and answer.headers["Location"].startswith(f"{alpha.platform.url}/auth?")
        asked = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["Location"]).query).items()}
        assert asked["client_id"] == CLIENT and asked["redirect_uri"] == alpha.lti("callback")
        assert asked["response_type"] == "id_token" and asked["lti_message_hint"] == "hint-42"
    via_site = visitor().get(alpha.lti("login"), params=fields | {"via": "site"}, timeout=30, allow_redirects=False)
    asked = parse_qs(urlsplit(via_site.headers["Location"]).query)
    assert asked["redirect_uri"] == [f"{alpha.site.url}lti/callback"]


@pytest.mark.parametrize(
    ("changes", "telling"),
    [
        ({"iss": None}, "`iss`"),
        ({"iss": "https://evil.example"}, "knows no platform https://evil.example"),
        ({"login_hint": ""}, "`login_hint`"),
        ({"target_link_uri": None}, "`target_link_uri`"),
        ({"target_link_uri": "javascript:x"}, "`target_link_uri`"),
        ({"client_id": "other"}, "has no client other"),
        ({"lti_message_hint": "x" * 9000}, "longer than 8192"),
    ],
)
def test_l13_01_l13_02_b02_broken_logins(alpha: Launched, changes: dict[str, Any], telling: str) -> None:
    page = alpha.begin(visitor(), **changes)
    refused(page, 413 if "8192" in telling else 400, telling)
    assert not page.headers.get("Location")


def test_b02_login_parameters_twice_and_not_utf8(alpha: Launched) -> None:
    for query in ("iss=a&iss=b&login_hint=1&target_link_uri=x", "iss=%ff&login_hint=1"):
        page = visitor().get(f"{alpha.lti('login')}?{query}", timeout=30, allow_redirects=False)
        assert page.status_code == 400 and said(page), query


# --- who comes in -------------------------------------------------------------------------------


def test_l13_17_l13_18_b04_students_and_instructors_come_in(alpha: Launched) -> None:
    student, teacher = visitor(), visitor()
    assert alpha.launch13(student, "s1").headers["Location"] == "/courses/alpha/hub/user-redirect/"
    person = "http://purl.imsglobal.org/vocab/lis/v2/institution/person#Administrator"
    assert alpha.launch13(teacher, "t1", roles=[TEACHER, person]).status_code == 303
    names = [alpha.who(student), alpha.who(teacher)]
    assert [alpha.groups()[name] for name in names] == [["student"], ["instructor"]]
    # The course's own word about a role, and the role of each launch.
    assert alpha.launch13(visitor(), "s1", roles=[f"{MEMBERSHIP}#Mentor"]).status_code == 303
    assert alpha.groups()[names[0]] == ["assistant"]
    refused(alpha.launch13(visitor(), "s1", roles=[person]), 403, "does not say what you are")
    refused(alpha.launch13(visitor(), "s9", roles=[]), 403, "does not say what you are")


def test_b06_the_same_subject_at_two_platforms_is_two_people(alpha: Launched) -> None:
    by_13, by_11 = visitor(), visitor()
    alpha.launch13(by_13, "2", email="same@example.org")
    alpha.launch11(by_11, alpha.platform.form(alpha.lti("launch"), "2"))
    assert alpha.who(by_13) and alpha.who(by_11) and alpha.who(by_13) != alpha.who(by_11)


def test_l13_15_l13_16_the_signed_target_counts(alpha: Launched) -> None:
    begun = alpha.begin(session := visitor(), target_link_uri=f"{alpha.url}hub/home")
    answer = alpha.platform.answer(begun.headers["Location"], alpha.url, custom={"notebook": "start.ipynb"})
    assert alpha.end(session, answer).headers["Location"].endswith("user-redirect/lab/tree/start.ipynb")
    own = "/courses/alpha/hub/user-redirect/lab/tree"
    for target, path in (
        (f"{alpha.url}hub/user-redirect/lab/tree/next", f"{own}/next"),
        (f"{alpha.site.url}lti/launch?course=alpha&custom_notebook=a.ipynb", f"{own}/a.ipynb"),
        (f"{alpha.url}hub/lti/launch?next=/hub/home", "/courses/alpha/hub/home"),
    ):
        assert alpha.launch13(visitor(), target_link_uri=target).headers["Location"] == path
    for foreign in ("https://evil.example/hub/home", f"{alpha.site.url}courses/beta/hub/home", "//evil.example"):
        refused(alpha.launch13(visitor(), target_link_uri=foreign), 400, "`target_link_uri`")


def test_l13_05_parallel_tabs_all_come_in(alpha: Launched) -> None:
    session = visitor()
    begun = [alpha.begin(session, user) for user in ("p1", "p1", "p1", "p1")]
    answers = [alpha.platform.answer(each.headers["Location"], alpha.url) for each in begun]
    assert [alpha.end(session, each).status_code for each in reversed(answers)] == [303] * 4
    # Begun at the same moment, before any cookie was there: each has one of its own.
    first, second = visitor(), visitor()
    states = [alpha.platform.answer(alpha.begin(each).headers["Location"], alpha.url) for each in (first, second)]
    first.cookies.update(second.cookies)
    assert [alpha.end(first, each).status_code for each in states] == [303, 303]


def test_l13_05_another_browser_cannot_end_it(alpha: Launched) -> None:
    answer = alpha.platform.answer(alpha.begin(visitor()).headers["Location"], alpha.url)
    stranger = visitor()
    page = alpha.end(stranger, answer)
    # A form from elsewhere may lack cookies: the same form once more, from our own page.
    assert page.status_code == 200 and 'action="callback"' in page.text and page.text.count("<button") == 1
    again = hidden(page)
    refused(alpha.end(stranger, again), 401, "This browser has not begun this launch")
    assert alpha.who(stranger) == ""


def test_l13_05_a_cookie_that_comes_with_the_second_form(alpha: Launched) -> None:
    """What browsers do over plain http, when more than two minutes have passed."""
    session = visitor()
    answer = alpha.platform.answer(alpha.begin(session).headers["Location"], alpha.url)
    page = alpha.end(visitor(), answer)
    assert alpha.end(session, hidden(page)).status_code == 303


def test_l13_05_ten_minutes_at_the_identity_provider(alpha: Launched) -> None:
    session = visitor()
    begun = alpha.begin(session)
    browser = next(value for name, value in session.cookies.items() if name.startswith("courseware-lti-"))
    digest = hashlib.sha256(browser.encode()).hexdigest()
    for ago, status in ((600, 303), (LIFETIME + 60, 401)):
        nonce = f"late-{ago}"
        expires = int(time.time()) - ago + LIFETIME
        state = seal(Pending(alpha.platform.url, CLIENT, nonce, expires, digest, "alpha"), seal_of(alpha))
        page = alpha.end(session, {"state": state, "id_token": alpha.platform.id_token(nonce, "42", alpha.url)})
        assert page.status_code == status, said(page)
    assert "took more than an hour" in said(page) and begun.status_code == 302


def test_l13_05_a_login_may_end_in_the_hub_of_another_course(alpha: Launched) -> None:
    """The site sends a token to the course that it speaks of; the login began at any course of the platform."""
    login = {"method": "lti13", "use": "moodle", "contexts": "any"}
    alpha.site.folder.add_course("beta", authentication=login, members={})
    fields = alpha.platform.initiation(alpha.url)
    address = f"{alpha.site.url}courses/beta/hub/lti/login"

    def begun() -> requests.Response:
        return visitor().get(address, params=fields | {"via": "site"}, timeout=60, allow_redirects=False)

    eventually(lambda: begun().status_code == 302, 30, 0.5)
    session = visitor()
    answer = session.get(address, params=fields | {"via": "site"}, timeout=60, allow_redirects=False)
    form = alpha.platform.answer(answer.headers["Location"], alpha.url)
    assert alpha.end(session, form).status_code == 303


def test_l13_06_in_a_frame_one_button(alpha: Launched) -> None:
    """Where the frame keeps no cookie, the login has not begun yet: the platform's hint can still be used."""
    frame = visitor(**{"Sec-Fetch-Dest": "iframe"})
    fields = alpha.platform.initiation(alpha.url, "f1")
    check = frame.post(alpha.lti("login"), fields, timeout=30, allow_redirects=False)
    assert check.status_code == 307
    without = visitor(**{"Sec-Fetch-Dest": "iframe"})
    page = without.post(alpha.site.url + check.headers["Location"][1:], fields, timeout=30, allow_redirects=False)
    assert page.status_code == 200 and page.text.count("<button") == 1 and 'target="_blank"' in page.text
    assert f"frame-ancestors 'self' {alpha.platform.url}" in page.headers["Content-Security-Policy"]
    window = visitor(**{"Sec-Fetch-Site": "same-origin"})
    begun = window.post(alpha.lti("login"), hidden(page), timeout=30, allow_redirects=False)
    answer = alpha.platform.answer(begun.headers["Location"], alpha.url)
    assert alpha.end(window, answer, **{"Sec-Fetch-Dest": "document"}).status_code == 303
    # With the cookie it goes on in the frame, and the button comes at the end.
    begun = frame.post(alpha.site.url + check.headers["Location"][1:], fields, timeout=30, allow_redirects=False)
    page = alpha.end(frame, alpha.platform.answer(begun.headers["Location"], alpha.url))
    assert page.status_code == 200 and 'action="open"' in page.text and alpha.who(frame) == ""


def test_l13_06_a_browser_that_does_not_say_whether_it_shows_a_frame(alpha: Launched) -> None:
    """Over plain http, or an old one: a page whose script goes on where there is no frame, and whose button always."""
    unsaid = visitor()
    del unsaid.headers["Sec-Fetch-Dest"]
    page = unsaid.get(alpha.lti("login"), params=alpha.platform.initiation(alpha.url, "u1"), timeout=30)
    assert page.status_code == 200 and 'target="_blank"' in page.text and page.text.count("<button") == 1
    nonce = re.search(r'<script nonce="([^"]+)"', page.text)
    assert nonce is not None and f"script-src 'nonce-{nonce[1]}'" in page.headers["Content-Security-Policy"]
    begun = unsaid.post(alpha.lti("login"), hidden(page), timeout=30, allow_redirects=False)
    page = alpha.end(unsaid, alpha.platform.answer(begun.headers["Location"], alpha.url))
    assert page.status_code == 200 and 'action="open"' in page.text and alpha.who(unsaid) == ""
    opened = unsaid.post(alpha.lti("open"), hidden(page), timeout=30, allow_redirects=False)
    assert opened.status_code == 303 and alpha.who(unsaid).startswith("lti-")
    # What is no browser at all gets its answer at once.
    program = requests.get(
        alpha.lti("login"), params=alpha.platform.initiation(alpha.url), allow_redirects=False, timeout=30
    )
    assert program.status_code == 302


def test_l13_07_only_post_and_the_platforms_own_error(alpha: Launched) -> None:
    refused(visitor().get(alpha.lti("callback"), timeout=30), 405, "POST")
    page = alpha.end(visitor(), {"state": "x", "error": "login_required", "error_description": "<b>no session"})
    refused(page, 400, "login_required &lt;b&gt;no session".replace("&lt;", "<").replace("&gt;", ">"))
    assert "<b>no" not in page.text
    refused(alpha.end(visitor(), {"state": "x"}), 400, "`id_token`")
    refused(alpha.end(visitor(), {"state": "x", "id_token": "y"}), 401, "not begun here")


# --- tokens that are wrong ----------------------------------------------------------------------


def attempt(alpha: Launched, make: Any, **changes: Any) -> requests.Response:
    """A login that ends with a token of `make(claims)`."""
    session = visitor()
    begun = alpha.begin(session)
    answer = alpha.platform.answer(begun.headers["Location"], alpha.url, **changes)
    if make is not None:
        said_there = jwt.decode(answer["id_token"], options={"verify_signature": False})
        answer["id_token"] = make(said_there)
    page = alpha.end(session, answer)
    assert alpha.who(session) == "" or page.status_code == 303
    return page


def unsigned(said_there: dict[str, Any]) -> str:
    header = b64(json.dumps({"alg": "none", "typ": "JWT", "kid": "k1"}).encode())
    return f"{header}.{b64(json.dumps(said_there).encode())}."


def with_public_key_as_secret(said_there: dict[str, Any]) -> str:
    return jwt.encode(said_there, "n" * 64, algorithm="HS256", headers={"kid": "k1"})


def test_a03_l13_08_signatures(alpha: Launched) -> None:
    key = rsa_key("k1")
    forged: list[tuple[Any, int]] = [
        (unsigned, 400),
        (with_public_key_as_secret, 400),
        (lambda c: token(c, key=rsa_key("other"), kid="k1"), 401),
        (lambda c: token(c, key=key, kid="unknown"), 401),
        *((lambda c, h=header: token(c, key=key, header=h), 400) for header in (
            {"jku": "https://evil.example/jwks"}, {"x5u": "https://evil.example"}, {"jwk": {"kty": "RSA"}},
            {"crit": ["exp"]}, {"kid": None}, {"alg": "RS512"}, {"enc": "A128GCM"},
        )),
        (lambda _: "a.b.c.d.e", 400), (lambda _: "x", 400), (lambda _: "a.b", 400), (lambda _: "..", 400),
        (lambda _: f"{b64(b'{}')}.{b64(b'{}')}.{b64(b'x')}", 400), (lambda _: "\u00e9.\u00e9.\u00e9", 400),
    ]  # fmt: skip
    for make, status in forged:
        page = attempt(alpha, make)
        assert page.status_code == status and said(page), (status, page.status_code, said(page))


@pytest.mark.parametrize(
    ("changes", "status", "telling"),
    [
        ({"iss": "https://evil.example"}, 401, "is from https://evil.example"),
        ({"aud": "other"}, 401, "`aud`"),
        ({"aud": [CLIENT, "other"]}, 401, "`azp`"),
        ({"azp": "other"}, 401, "`azp`"),
        ({"exp": 1_000}, 401, "ended"),
        ({"iat": 4_000_000_000, "exp": 4_000_000_060}, 401, "in the future"),
        ({"iat": 1_000}, 401, "s old"),
        ({"nonce": "another"}, 401, "another request"),
        ({"nonce": None}, 400, "`nonce`"),
        ({"deployment_id": None}, 400, "`deployment_id`"),
        ({"message_type": "LtiSomething"}, 400, "`message_type`"),
        ({"message_type": None}, 400, "`message_type`"),
        ({"version": "1.1"}, 400, "`version`"),
        ({"resource_link": {}}, 400, "`resource_link.id`"),
        ({"resource_link": {"id": ""}}, 400, "`resource_link.id`"),
        ({"sub": None}, 400, "`sub`"),
        ({"roles": None}, 400, "`roles`"),
        ({"roles": "Learner"}, 400, "`roles`"),
        ({"context": {"id": "course-9"}}, 403, "course-9"),
        ({"context": None}, 403, "without an id"),
        ({"context": [1]}, 400, "`context`"),
        ({"custom": {"next": {"a": 1}}}, 400, "`custom.next`"),
        ({"target_link_uri": None}, 400, "`target_link_uri`"),
        ({"exp": "soon"}, 400, "`exp`"),
    ],
)
def test_a03_l13_10_l13_11_l13_12_l13_13_l13_14_b03_claims(
    alpha: Launched, changes: dict[str, Any], status: int, telling: str
) -> None:
    refused(attempt(alpha, None, **changes), status, telling)


def test_l13_13_an_empty_label_is_no_mistake(alpha: Launched) -> None:
    page = attempt(alpha, None, context={"id": CONTEXT, "label": "", "title": ""})
    assert page.status_code == 303


def test_l13_11_a02_a_token_counts_once(alpha: Launched) -> None:
    session = visitor()
    answer = alpha.platform.answer(alpha.begin(session).headers["Location"], alpha.url)
    assert alpha.end(session, answer).status_code == 303
    refused(alpha.end(session, answer), 401, "was used before")


def test_b03_a_large_token(alpha: Launched) -> None:
    page = visitor().post(alpha.lti("callback"), {"state": "x", "id_token": "a" * 1_000_000}, timeout=30)
    assert page.status_code == 413 and said(page)


def test_l13_20_a_refusal_leads_back_to_the_platform(alpha: Launched) -> None:
    page = attempt(alpha, None, roles=[])
    # In the platform's language (the launch says `fr`), and in English for its log.
    assert "https://lms.example.org/back?lti_errormsg=Votre+plateforme" in page.text
    assert "lti_errorlog=Your+learning+platform+does+not+say" in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer"


def test_l13_23_review_of_a_submission_is_for_those_who_teach(alpha: Launched) -> None:
    review = {"message_type": "LtiSubmissionReviewRequest", "for_user": {"user_id": "7"}}
    refused(attempt(alpha, None, **review), 403, "Only those who teach")
    assert attempt(alpha, None, roles=[TEACHER], **review).status_code == 303


# --- keys ---------------------------------------------------------------------------------------


def test_l13_09_f20_keys_rotate_without_a_restart(alpha: Launched) -> None:
    assert alpha.launch13(visitor(), "k").status_code == 303
    time.sleep(5.1)
    alpha.platform.keys = {"k1": rsa_key("k1"), "k2": rsa_key("k2")}
    alpha.platform.signs_with = "k2"
    asked = alpha.platform.asked
    assert alpha.launch13(visitor(), "k").status_code == 303
    assert alpha.platform.asked == asked + 1
    for _ in range(5):
        refused(attempt(alpha, lambda c: token(c, key=rsa_key("k1"), kid="k9")), 401, "k9")
    assert alpha.platform.asked <= asked + 2, "unknown keys are not fetched again and again"


def test_f20_known_keys_work_while_the_key_set_does_not(alpha: Launched) -> None:
    assert alpha.launch13(visitor(), "k").status_code == 303
    alpha.platform.status = 500
    time.sleep(5.1)
    refused(attempt(alpha, lambda c: token(c, key=rsa_key("k1"), kid="k9")), 401, "k9")
    assert alpha.launch13(visitor(), "k").status_code == 303


def test_f19_f20_a_silent_key_set_delays_nobody_else(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("silent") / "site"
    logins = [
        {"method": "lti13", "use": "moodle", "contexts": "any"},
        {"method": "lti11", "use": "old", "contexts": "any"},
    ]
    lag = LoopLag(root, "alpha")
    with running_platform() as platform, launched_site(root, platform, authentication=logins) as alpha:
        platform.delay = 30
        others, health = visitor(), f"{alpha.url}hub/health"
        assert alpha.launch11(others, platform.form(alpha.lti("launch"), "o")).status_code == 303

        def launch() -> requests.Response:
            return alpha.launch13(visitor(), "s")

        silence = many_logins(lag, health, launch)
        assert len(silence.answers) == 20 and platform.asked == 1
        for seconds, page in silence.answers:
            assert seconds < 10
            refused(page, 503, "cannot be had")
        platform.delay = 0
        time.sleep(5.1)
        answering = many_logins(lag, health, launch)
        assert [page.status_code for _, page in answering.answers] == [303] * 20
    assert added(silence.late, answering.late) < LONGEST, (silence.late[-5:], answering.late[-5:])


def test_l13_21_the_tool_publishes_its_keys(alpha: Launched) -> None:
    answer = requests.get(alpha.lti("jwks"), timeout=30)
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("application/json")
    (key,) = answer.json()["keys"]
    assert key["kid"] and key["alg"] == "RS256" and "d" not in key
    files = list((alpha.site.folder.root / "state" / "secrets" / "lti-keys").glob("*.pem"))
    assert len(files) == 1 and files[0].stat().st_mode & 0o077 == 0


# --- choosing content ---------------------------------------------------------------------------


def choosing(alpha: Launched, **settings: Any) -> dict[str, Any]:
    return {
        "message_type": "LtiDeepLinkingRequest",
        "resource_link": None,
        "target_link_uri": None,
        "launch_presentation": None,
        "roles": [TEACHER],
        DL + "deep_linking_settings": {
            "deep_link_return_url": f"{alpha.platform.url}/deep",
            "accept_types": ["link", "ltiResourceLink"],
            "accept_presentation_document_targets": ["iframe", "window"],
            **settings,
        },
    }


def test_dl_01_dl_03_dl_04_dl_05_a_link_is_chosen(alpha: Launched) -> None:
    data = 'csrf="a&b", \u00e9'
    page = attempt(alpha, None, **choosing(alpha, accept_multiple=True, data=data))
    assert page.status_code == 200 and 'value="start.ipynb"' in page.text and 'type="checkbox"' in page.text
    chosen = {**hidden(page), "item": ["", "start.ipynb"]}
    answered = visitor().post(alpha.lti("choose"), chosen, timeout=30)
    assert answered.status_code == 200 and f'action="{alpha.platform.url}/deep"' in answered.text
    sent = hidden(answered)["JWT"]
    keys = {key["kid"]: key for key in requests.get(alpha.lti("jwks"), timeout=30).json()["keys"]}
    key = jwt.PyJWK(keys[jwt.get_unverified_header(sent)["kid"]])
    said_there = jwt.decode(sent, key, algorithms=["RS256"], audience=alpha.platform.url, issuer=CLIENT)
    assert said_there[DL + "data"] == data
    assert said_there["https://purl.imsglobal.org/spec/lti/claim/deployment_id"] == DEPLOYMENT
    assert said_there["https://purl.imsglobal.org/spec/lti/claim/message_type"] == "LtiDeepLinkingResponse"
    course, notebook = said_there[DL + "content_items"]
    assert course == {
        "type": "ltiResourceLink",
        "url": alpha.lti("launch"),
        "title": "Course alpha",
        "window": {"targetName": "_blank"},
    }
    assert notebook["custom"] == {"notebook": "start.ipynb"} and notebook["title"] == "start"
    # DL-06: a launch by that link opens what was chosen.
    opened = alpha.launch13(visitor(), custom=notebook["custom"], target_link_uri=notebook["url"])
    assert opened.headers["Location"].endswith("/lab/tree/start.ipynb")


def test_dl_02_learners_choose_nothing(alpha: Launched) -> None:
    refused(attempt(alpha, None, **choosing(alpha) | {"roles": [LEARNER]}), 403, "Only those who teach")


def test_dl_03_dl_04_one_none_or_too_many(alpha: Launched) -> None:
    page = attempt(alpha, None, **choosing(alpha))
    assert 'type="radio"' in page.text and 'type="checkbox"' not in page.text
    ticket = hidden(page)
    none = visitor().post(alpha.lti("choose"), ticket, timeout=30)
    assert jwt.decode(hidden(none)["JWT"], options={"verify_signature": False})[DL + "content_items"] == []
    many = visitor().post(alpha.lti("choose"), {**ticket, "item": ["", "start.ipynb"]}, timeout=30)
    refused(many, 400, "takes 1 links")
    foreign = visitor().post(alpha.lti("choose"), {**ticket, "item": "../../secret.ipynb"}, timeout=30)
    refused(foreign, 400, "no notebook ../../secret.ipynb")
    forged = visitor().post(alpha.lti("choose"), {"launch": "x." + ticket["launch"], "item": ""}, timeout=30)
    refused(forged, 401, "not of this course")
    page = attempt(alpha, None, **choosing(alpha, accept_types=["link"]))
    assert "The platform takes no links" in page.text and 'type="radio"' not in page.text


def test_dl_01_settings_that_are_missing(alpha: Launched) -> None:
    for name in ("deep_link_return_url", "accept_types", "accept_presentation_document_targets"):
        refused(attempt(alpha, None, **choosing(alpha, **{name: None})), 400, f"`deep_linking_settings.{name}`")


# --- which context ------------------------------------------------------------------------------


def test_l13_12_b08_the_first_context_that_teaches_is_connected(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("contexts") / "site"
    with running_platform() as platform, launched_site(root, platform) as alpha:
        refused(alpha.launch13(visitor(), "s"), 403, "not connected with yours yet")
        refused(alpha.launch13(visitor(), "t", roles=[TEACHER], context=None), 403, "from which course")
        assert alpha.launch13(visitor(), "t", roles=[TEACHER]).status_code == 303
        assert alpha.launch13(visitor(), "s").status_code == 303
        other = {"id": "course-2", "title": "Knitting"}
        page = alpha.launch13(visitor(), "t2", roles=[TEACHER], context=other)
        refused(page, 403, "add course-2 to `contexts`")
        refused(alpha.launch13(visitor(), "s", deployment_id="5"), 403, "belongs to another course")
        # The other platform connects by itself; a draft is for those who teach, a closed course for nobody else.
        assert alpha.launch11(visitor(), platform.form(alpha.lti("launch"), "t", "Instructor")).status_code == 303
        logins = [{"method": "lti13", "use": "moodle"}, {"method": "lti11", "use": "old"}]
        alpha.site.folder.add_course("alpha", authentication=logins, members={}, state="closed")
        eventually(lambda: alpha.launch13(visitor(), "s").status_code == 403, 30, 1)
        refused(alpha.launch13(visitor(), "s"), 403, "This course is closed.")
        assert alpha.launch13(visitor(), "t", roles=[TEACHER]).status_code == 303


def test_b08_no_such_course(alpha: Launched) -> None:
    page = requests.post(f"{alpha.site.url}courses/nowhere/hub/lti/launch", b"", headers=FORM_TYPE, timeout=30)
    assert page.status_code == 404


# --- LTI 1.1 before, and guests -----------------------------------------------------------------


def test_l13_14_l13_19_migration_and_guests(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("migration") / "site"
    logins = [
        {"method": "lti13", "use": "moodle", "contexts": "any"},
        {"method": "lti11", "use": "old", "contexts": "any"},
    ]
    with running_platform() as platform:
        alpha = Launched(root, platform, authentication=logins)
        site = json.loads((root / "site.yaml").read_text())
        site["login"]["moodle"] |= {"formerly": "old", "anonymous": True}
        (root / "site.yaml").write_text(json.dumps(site))
        try:
            alpha.site.start()
            before, after, other = visitor(), visitor(), visitor()
            alpha.launch11(before, platform.form(alpha.lti("launch"), "old-7"))
            begun = alpha.begin(after, "new-7")
            answer = platform.answer(begun.headers["Location"], alpha.url)
            said_there = jwt.decode(answer["id_token"], options={"verify_signature": False})
            parts = [KEY, DEPLOYMENT, platform.url, CLIENT, str(said_there["exp"]), said_there["nonce"]]
            proof = base64.b64encode(hmac.new(SECRET.encode(), "&".join(parts).encode(), hashlib.sha256).digest())
            claim = {"user_id": "old-7", "oauth_consumer_key": KEY, "oauth_consumer_key_sign": proof.decode()}
            proved = {**said_there, "https://purl.imsglobal.org/spec/lti/claim/lti1p1": claim}
            answer["id_token"] = token(proved, key=rsa_key("k1"), kid="k1")
            assert alpha.end(after, answer).status_code == 303
            assert alpha.who(after) == alpha.who(before) != ""
            # Without the proof it is another person; a guest is a new one each time, and teaches nothing.
            assert alpha.launch13(other, "new-8").status_code == 303 and alpha.who(other) != alpha.who(before)
            guests = [visitor(), visitor()]
            for guest in guests:
                assert alpha.launch13(guest, "x", sub=None, roles=[TEACHER]).status_code == 303
            names = [alpha.who(guest) for guest in guests]
            assert len(set(names)) == 2 and all(alpha.groups()[name] == ["student"] for name in names)
        finally:
            if alpha.site.process is not None:
                alpha.site.stop()


def test_l13_22_settings_for_platforms_are_the_sites(alpha: Launched) -> None:
    assert requests.get(alpha.lti("config"), timeout=30).status_code == 404
