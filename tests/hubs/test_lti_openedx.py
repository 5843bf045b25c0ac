"""Students and staff of Open edX come in by LTI 1.1 and 1.3, sent by Open edX's own code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
import requests
from support.learning_platform import (
    CLIENT,
    CROSS_SITE,
    Launched,
    hidden,
    launched_site,
    running_platform,
    visitor,
)
from support.lti import KEY, SECRET
from support.openedx import OpenEdx, running_openedx

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def edx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OpenEdx, Launched]]:
    """A running site, and Open edX's code set up for it; a server of ours publishes its keys."""
    course = "course-v1:Org+CS1+2026"
    logins = [
        {"method": name, "use": use, "contexts": [course]} for name, use in (("lti13", "moodle"), ("lti11", "old"))
    ]
    root = tmp_path_factory.mktemp("openedx") / "site"
    with (
        running_openedx() as openedx,
        running_platform() as platform,
        launched_site(root, platform, authentication=logins) as alpha,
    ):
        openedx.always = {
            "issuer": platform.url,
            "login_url": alpha.lti("login"),
            "launch_url": alpha.lti("launch"),
            "client_id": CLIENT,
            "redirect_uris": [alpha.lti("callback"), alpha.lti("launch")],
            "jwks_url": alpha.lti("jwks"),
            "key": KEY,
            "secret": SECRET,
        }
        platform.document = json.dumps(openedx("key_set"))
        yield openedx, alpha


def launch_13(edx: tuple[OpenEdx, Launched], session: requests.Session, **order: Any) -> requests.Response:
    openedx, alpha = edx
    begun = session.get(openedx("preflight", **order), timeout=30, allow_redirects=False)
    assert begun.status_code == 302, begun.text[:500]
    query = {name: values[0] for name, values in parse_qs(urlsplit(begun.headers["Location"]).query).items()}
    return alpha.end(session, openedx("launch_13", query=query, **order))


@pytest.mark.parametrize(
    ("role", "becomes"), [("student", "student"), ("staff", "instructor"), ("instructor", "instructor")]
)
def test_l13_01_l13_08_l13_18_by_lti_1_3(edx: tuple[OpenEdx, Launched], role: str, becomes: str) -> None:
    session = visitor()
    page = launch_13(edx, session, user=f"uuid-{role}", role=role, custom={"notebook": "start.ipynb"})
    assert page.status_code == 303 and page.headers["Location"].endswith("/lab/tree/start.ipynb"), page.text[:500]
    assert edx[1].groups()[edx[1].who(session)] == [becomes]


@pytest.mark.parametrize(("role", "becomes"), [("Student", "student"), ("Instructor", "instructor")])
def test_l11_01_l11_02_l11_16_by_lti_1_1(edx: tuple[OpenEdx, Launched], role: str, becomes: str) -> None:
    openedx, alpha = edx
    form = openedx(
        "launch_11", user=f"anon-{role}", role=role, custom={"custom_notebook": "start.ipynb", "custom_é": "ü ~"}
    )
    session = visitor()
    page = alpha.launch11(session, urlencode(form).encode())
    assert page.status_code == 303 and page.headers["Location"].endswith("/lab/tree/start.ipynb"), page.text[:500]
    assert alpha.groups()[alpha.who(session)] == [becomes]
    again = alpha.launch11(visitor(), urlencode(dict(parse_qsl(urlencode(form), keep_blank_values=True))).encode())
    assert again.status_code == 401


def test_l13_06_in_the_frame_of_a_unit(edx: tuple[OpenEdx, Launched]) -> None:
    """Open edX shows tools in a frame by default."""
    openedx, alpha = edx
    frame = visitor(**{"Sec-Fetch-Dest": "iframe"})
    address = openedx("preflight", user="f", role="student")
    check = frame.get(address, timeout=30, allow_redirects=False)
    frame.cookies.clear()
    page = frame.get(alpha.site.url + check.headers["Location"][1:], timeout=30, allow_redirects=False)
    window = visitor(**CROSS_SITE)
    begun = window.post(alpha.lti("login"), hidden(page), timeout=30, allow_redirects=False)
    query = {name: values[0] for name, values in parse_qs(urlsplit(begun.headers["Location"]).query).items()}
    form = openedx("launch_13", query=query, user="f", role="student")
    assert alpha.end(window, form).status_code == 303


def test_dl_01_dl_04_dl_05_open_edx_takes_the_chosen_links(edx: tuple[OpenEdx, Launched]) -> None:
    openedx, alpha = edx
    page = launch_13(edx, visitor(), user="t", role="staff", deep_linking=True)
    assert page.status_code == 200 and 'name="item"' in page.text
    chosen = visitor().post(alpha.lti("choose"), {**hidden(page), "item": "start.ipynb"}, timeout=30)
    (item,) = openedx("deep_linked", deep_linking=True, token=hidden(chosen)["JWT"])
    assert item["type"] == "ltiResourceLink" and item["custom"] == {"notebook": "start.ipynb"}
