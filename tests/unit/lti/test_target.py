"""Where a launch goes: always to this host and this course, or nowhere."""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urljoin, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.lti import KEY, LAUNCH_URL, NOW, SECRET, form, signed

from coursewareauthenticator.lti.launch import Launch, LaunchRefused, Message, Once
from coursewareauthenticator.lti.lti11 import Consumer, Request, verify
from coursewareauthenticator.lti.target import Host, Target, resolve

CONSUMERS = {KEY: Consumer(KEY, (SECRET,))}
ORIGIN, BASE, USER = "https://hub.example.org", "/courses/python/", "lti-abc"
HOST = Host(frozenset({ORIGIN}), BASE, course="python", servers=frozenset({"exam"}), images=frozenset({"scipy:2026"}))
REDIRECT = f"{BASE}hub/user-redirect/"


def a_launch(uri: str | None = None, **custom: str) -> Launch:
    return Launch("1.3", Message.RESOURCE_LINK, "r", "s", Once("", "", 0), custom=custom, target_link_uri=uri)


def goes(uri: str | None = None, host: Host = HOST, **custom: str) -> Target:
    return resolve(a_launch(uri, **custom), host, USER)


def refused(uri: str | None = None, host: Host = HOST, **custom: str) -> tuple[int, str]:
    with pytest.raises(LaunchRefused) as caught:
        goes(uri, host, **custom)
    assert caught.value.sentence.endswith(("correct the link.", "or correct it."))
    return caught.value.status, caught.value.field


@pytest.mark.parametrize(
    ("custom", "path"),
    [
        ({}, REDIRECT),
        ({"notebook": "week3/a.ipynb"}, f"{REDIRECT}lab/tree/week3/a.ipynb"),
        ({"notebook": "/week3/a.ipynb"}, f"{REDIRECT}lab/tree/week3/a.ipynb"),
        ({"notebook": "演習 1?.ipynb"}, f"{REDIRECT}lab/tree/%E6%BC%94%E7%BF%92%201%3F.ipynb"),
        ({"notebook": "100%.ipynb"}, f"{REDIRECT}lab/tree/100%25.ipynb"),
        ({"notebook": "..a/b..ipynb"}, f"{REDIRECT}lab/tree/..a/b..ipynb"),
        ({"notebook": ""}, REDIRECT),
        ({"urlpath": "rstudio/"}, f"{REDIRECT}rstudio/"),
        ({"urlpath": "lab/tree/a%20b.ipynb?reset"}, f"{REDIRECT}lab/tree/a%20b.ipynb?reset="),
        ({"next": "/hub/home"}, f"{BASE}hub/home"),
        ({"next": "/courses/python/hub/spawn"}, f"{BASE}hub/spawn"),
        ({"next": "/user/x/lab?a=1&a=2#top"}, f"{BASE}user/x/lab?a=1&a=2"),
        ({"next": "/services/console/"}, f"{BASE}services/console/"),
        ({"next": f"{ORIGIN}/courses/python/user/x/lab"}, f"{BASE}user/x/lab"),
        ({"next": f"{ORIGIN.upper()}:443/courses/python/hub/home"}, f"{BASE}hub/home"),
        ({"next": "/hub/spawn?next=%2Fuser%2Fx%2Flab"}, f"{BASE}hub/spawn?next=%2Fcourses%2Fpython%2Fuser%2Fx%2Flab"),
        ({"next": "/hub/home", "notebook": "a.ipynb", "urlpath": "lab"}, f"{BASE}hub/home"),
        ({"notebook": "a.ipynb", "urlpath": "lab"}, f"{REDIRECT}lab"),
    ],
)
def test_l11_13_l13_16_places_of_this_course(custom: dict[str, str], path: str) -> None:
    assert goes(**custom) == Target(path)


def test_l13_16_a_link_of_nbgitpuller() -> None:
    repository = "https://git.example.org/next/nextweek?x=1"
    query = urlencode({"repo": repository, "urlpath": "lab/tree/nextweek/a.ipynb", "branch": "main"})
    expected = f"{REDIRECT}git-pull?{query}"
    for text in (f"/hub/user-redirect/git-pull?{query}", f"{ORIGIN}{BASE}hub/user-redirect/git-pull?{query}"):
        assert goes(next=text).path == expected
    assert goes(f"{ORIGIN}{BASE}hub/user-redirect/git-pull?{query}").path == expected
    assert goes(urlpath=f"git-pull?{query}").path == expected


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        (f"{ORIGIN}{BASE}hub/lti/launch", REDIRECT),
        (f"{ORIGIN}{BASE}hub/lti", REDIRECT),
        (f"{ORIGIN}{BASE}", REDIRECT),
        (f"{ORIGIN}{BASE[:-1]}", REDIRECT),
        (ORIGIN, REDIRECT),
        (f"{ORIGIN}{BASE}hub/lti/launch?next=%2Fhub%2Fhome", f"{BASE}hub/home"),
        (f"{ORIGIN}{BASE}hub/lti/launch?custom_next=%2Fhub%2Fhome&x=1", f"{BASE}hub/home"),
        (f"{ORIGIN}{BASE}hub/lti/launch?notebook=a.ipynb", f"{REDIRECT}lab/tree/a.ipynb"),
        (f"{ORIGIN}{BASE}user/x/lab/tree/nextweek/next", f"{BASE}user/x/lab/tree/nextweek/next"),
        (f"{ORIGIN}/hub/user-redirect/lab", f"{REDIRECT}lab"),
    ],
)
def test_l13_15_l13_16_the_signed_address(uri: str, path: str) -> None:
    assert goes(uri).path == path
    # What the link says of itself comes first.
    assert goes(uri, next="/hub/spawn").path == f"{BASE}hub/spawn"
    assert goes(uri, notebook="b.ipynb").path == f"{REDIRECT}lab/tree/b.ipynb"
    assert goes(uri, course_server="python").path == path


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/courses/python/hub/home",
        "http://hub.example.org/courses/python/hub/home",
        "https://hub.example.org:8443/courses/python/hub/home",
        "https://hub.example.org.evil.example/courses/python/",
        "https://hub.example.org/courses/other/hub/home",
        "https://hub.example.org/courses/python/hub/ltix",
        "https://hub.example.org/courses/python/../other/",
    ],
)
def test_l13_16_a05_an_address_of_somewhere_else(uri: str) -> None:
    assert refused(uri) == (400, "target_link_uri")


def test_l11_13_a_launch_of_lti_1_1_with_its_own_names() -> None:
    more = [("custom_logout_redirect_url", "/hub/home"), ("custom_course_server", "exam")]
    query = "next=%2Fhub%2Fuser-redirect%2Flab"
    body = signed([*form(custom_notebook=None), *more], url=f"{LAUNCH_URL}?{query}")
    request = Request("POST", LAUNCH_URL, query.encode(), body)
    launch = verify(request, CONSUMERS, NOW, 300)
    assert resolve(launch, HOST, USER) == Target(f"{REDIRECT}lab", server="exam", logout=f"{BASE}hub/home")


def test_a_named_server_starts_with_its_page() -> None:
    found = goes(course_server="exam", notebook="week 3/a.ipynb", course_image="scipy:2026")
    assert (found.server, found.image) == ("exam", "scipy:2026")
    parts = urlsplit(found.path)
    assert parts.path == f"{BASE}hub/spawn/{USER}/exam"
    following = f"{BASE}user/{USER}/exam/lab/tree/week%203/a.ipynb"
    assert dict(parse_qsl(parts.query)) == {"opt-image": "scipy:2026", "next": following}


@pytest.mark.parametrize(
    ("custom", "below"),
    [
        ({"notebook": "a.ipynb"}, "lab/tree/a.ipynb"),
        ({}, ""),
        ({"urlpath": "rstudio/"}, "rstudio/"),
        ({"next": "/hub/user-redirect/git-pull?repo=x&urlpath=lab"}, "git-pull?repo=x&urlpath=lab"),
    ],
)
def test_a_server_starts_with_the_image_of_the_link(custom: dict[str, str], below: str) -> None:
    path = urlsplit(goes(course_image="scipy:2026", **custom).path)
    assert path.path == f"{BASE}hub/spawn/{USER}"
    assert dict(parse_qsl(path.query)) == {"opt-image": "scipy:2026", "next": f"{BASE}user/{USER}/{below}"}
    # Where nothing can be chosen, the link works all the same, and other images are refused all the same.
    fixed = replace(HOST, choose_image=False)
    assert goes(host=fixed, course_image="scipy:2026", **custom) == goes(host=fixed, **custom)
    assert refused(host=fixed, course_image="other", **custom) == (403, "course_image")


def test_a_page_of_the_hub_needs_no_image() -> None:
    assert goes(course_image="scipy:2026", next="/hub/home").path == f"{BASE}hub/home"


@pytest.mark.parametrize("name", ["course_server", "course_image"])
@pytest.mark.parametrize(
    "value", ["other", "Exam", "../exam", "exam/../x", "latest", "scipy", " exam", "evil.example/x"]
)
def test_a14_servers_and_images_that_the_course_does_not_have(name: str, value: str) -> None:
    assert refused(**{name: value}) == (403, name)


def test_a14_the_courses_own_name_is_its_usual_server() -> None:
    assert goes(course_server="python") == goes(course_server="") == goes()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/", "/"),
        (BASE, BASE),
        ("/hub/home", f"{BASE}hub/home"),
        ("https://lms.example.org/course?id=1", "https://lms.example.org/course?id=1"),
    ],
)
def test_after_logging_out(text: str, found: str) -> None:
    host = replace(HOST, logout_origins=frozenset({"https://lms.example.org"}))
    assert goes(host=host, **{"logout-redirect-url": text}).logout == found


def test_a05_no_other_host_after_logging_out_unless_the_course_names_it() -> None:
    assert refused(**{"logout-redirect-url": "https://lms.example.org/"}) == (400, "logout-redirect-url")
    host = replace(HOST, logout_origins=frozenset({"https://lms.example.org"}))
    for text in (
        "http://lms.example.org/",
        "https://lms.example.org.evil.example/",
        "https://lms.example.org@evil.example/",
    ):
        assert refused(host=host, **{"logout-redirect-url": text}) == (400, "logout-redirect-url")


EVIL = [
    "https://evil.example", "http://evil.example/", "HTTPS://EVIL.EXAMPLE", "//evil.example", "///evil.example",
    "////evil.example", "/\\evil.example", "\\\\evil.example", "\\/evil.example", "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example", " //evil.example", "https:evil.example", "https:/evil.example", "https:///evil.example",
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x", "ftp://evil.example",
    "https://hub.example.org@evil.example/hub/home", "https://hub.example.org:pw@evil.example/hub/home",
    "https://hub.example.org.evil.example/hub/home", "https://evil.example#hub.example.org/hub/home",
    "https://evil.example?hub.example.org/hub/home", "https://evil.example\\@hub.example.org/hub/home",
    "/%2fevil.example", "/%5cevil.example", "/%2f%2fevil.example", "/hub/..//evil.example", "/hub/%2e%2e//evil.example",
    "/hub/../../evil.example", "/hub/home/../../../evil", "/.//evil.example", "/user/x/..%2f..%2f..%2fevil",
    "/user/%252e%252e/%252e%252e/x", "/hub//evil.example", "/user//evil.example/x", "/user/\u2025/x//evil.example",
    "https://evil。example/hub/home", "https://hub.example.org\u2044@evil.example", "/hub/spawn?next=https://evil.example",
    "/hub/spawn?next=//evil.example", "/hub/spawn?next=/hub/spawn%3Fnext%3D%252F%252Fevil.example",
    "/hub/home\r\nLocation: https://evil.example", "/hub/logout", "/hub/oauth_logout", "/hub/login?next=//evil.example",
    "/hub/api/users", "/courses/other/hub/home", "/", "/evil", "evil", "..", ".", "?next=//evil.example",
    "#//evil.example", "\0//evil.example", "/hub/user-redirect/git-pull?urlpath=//evil.example", "x" * 5000,
]  # fmt: skip
PARAMETERS = ["next", "notebook", "urlpath", "course_server", "course_image", "logout-redirect-url"]
BENIGN = {"/": {"logout-redirect-url"}}


def browser_goes(path: str) -> str:
    """Where a browser lands, as strictly as any: its URL with `\\` as `/`, and dots taken out."""
    assert re.fullmatch(r"[!-~]+", path) and "\\" not in path
    landed = urlsplit(urljoin(LAUNCH_URL, path.replace("\\", "/")))
    assert f"{landed.scheme}://{landed.netloc}" == ORIGIN
    plain = unquote(unquote(unquote(landed.path)))
    assert posixpath.normpath(plain).startswith(BASE[:-1])
    assert not plain.startswith("//")
    return landed.path


def stays_here(target: Target) -> None:
    path = browser_goes(target.path)
    assert path.split("/")[3] in {"hub", "user", "services"}
    for name, value in parse_qsl(urlsplit(target.path).query):
        if name == "next":
            browser_goes(value)
        elif name == "urlpath":
            browser_goes(f"{BASE}user/x/{value}")
    if target.logout is not None and target.logout != "/":
        browser_goes(target.logout)
    assert target.server in {None, "exam"} and target.image in {None, "scipy:2026"}


def test_a05_there_are_forty_strings() -> None:
    assert len(set(EVIL)) >= 40


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("text", EVIL)
def test_a05_forty_strings_in_every_parameter(name: str, text: str) -> None:
    try:
        target = goes(**{name: text})
    except LaunchRefused as refusal:
        assert refusal.field == name and refusal.status in {400, 403}
    else:
        stays_here(target)
        assert name in {"notebook", "urlpath"} or text in BENIGN
        assert not (name == "logout-redirect-url" and text not in {"/"})


@pytest.mark.parametrize("text", EVIL)
def test_a05_forty_strings_in_the_signed_address(text: str) -> None:
    for uri in (text, f"{ORIGIN}{text}", f"{ORIGIN}{BASE}{text}", f"{LAUNCH_URL}?next={quote(text)}"):
        try:
            target = goes(uri)
        except LaunchRefused as refusal:
            assert refusal.field in {"target_link_uri", "next"}
        else:
            stays_here(target)


@pytest.mark.parametrize("text", EVIL)
def test_a05_forty_strings_in_the_custom_next_of_lti_1_1(text: str) -> None:
    body = signed([*form(custom_notebook=None), ("custom_next", text)])
    launch = verify(
        Request("POST", LAUNCH_URL, body=body), {"moodle": Consumer("moodle", ("s3cret & more",))}, NOW, 300
    )
    with pytest.raises(LaunchRefused) as caught:
        resolve(launch, HOST, USER)
    assert caught.value.field == "next"


PIECES = st.lists(
    st.sampled_from(
        ["/", "//", "\\", "..", ".", "%2e", "%2f", "%5c", "%25", "hub", "user", "services", "home", "spawn", "?next=",
         "&", "urlpath=", "#", "@", ":", "https:", "hub.example.org", "evil.example", "courses", "python", "\t",
         " ", "é", "%ff"]
    )
    | st.text(max_size=3),
    max_size=12,
).map("".join)  # fmt: skip


@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from([*PARAMETERS, "logout_redirect_url"]), PIECES), st.none() | PIECES)
def test_a05_whatever_is_asked_for_the_host_is_ours(custom: dict[str, str], tail: str | None) -> None:
    try:
        target = goes(None if tail is None else f"{ORIGIN}{tail}", **custom)
    except LaunchRefused as refusal:
        assert refusal.status in {400, 403}
    else:
        stays_here(target)


@pytest.mark.parametrize(
    "changes",
    [
        {"origins": frozenset()},
        {"origins": frozenset({"https://hub.example.org/"})},
        {"origins": frozenset({"hub.example.org"})},
        {"origins": frozenset({"https://Hub.example.org"})},
        {"logout_origins": frozenset({"https://lms.example.org/x"})},
        {"base": "courses/python/"},
        {"base": "/courses/python"},
        {"base": "//courses/"},
        {"opens": "/lab"},
    ],
)
def test_b09_a_host_that_cannot_be_right(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"origins are written|the base is a path"):
        replace(HOST, **changes)


def test_a_hub_at_the_root() -> None:
    host = Host(frozenset({ORIGIN}), "/", opens="notebooks")
    assert goes(host=host, notebook="a.ipynb").path == "/hub/user-redirect/notebooks/a.ipynb"
    assert goes(host=host, next="/user/x/lab").path == "/user/x/lab"
    for text in ("//evil.example", "/evil", "/\\evil.example", "/hub//evil.example"):
        assert refused(host=host, next=text) == (400, "next")
