"""Login at a real OpenID Connect provider: who gets in, as what, and what cannot be replayed, mixed up or held up."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from support.loop_lag import LONGEST, LoopLag, added
from support.providers import Provider, many_logins, running_provider, sentence, silent_service
from support.sites import PASSWORD, RunningSite
from support.students import Student

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]

UNFINISHED = "The sign-in was not finished"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with running_provider() as running:
        yield running


def settings(url: str, **changes: Any) -> dict[str, Any]:
    return {
        "method": "oidc",
        "title": "House account",
        "issuer": url,
        "client_id": "courses",
        "client_secret": "file:password",
        **changes,
    }


def started(make_site: MakeSite, url: str, *logins: dict[str, Any], **login: Any) -> RunningSite:
    """A site with one course that lets people in by this provider, and by whatever else."""
    site = make_site(courses=(), login={"house": settings(url, **login)})
    house = {"method": "oidc", "use": "house", "roles": {"students": ["python"], "instructors": ["staff"]}}
    site.folder.add_course("alpha", authentication=[house, *logins], members={"assistants": ["grace"]})
    site.start()
    return site


def begin(visitor: Student, name: str = "house") -> requests.Response:
    """Press the button; the provider's page."""
    return visitor.session.get(f"{visitor.base}hub/login/{name}?next={urlsplit(visitor.base).path}hub/home", timeout=30)


def arrive(visitor: Student, provider: Provider, sub: str) -> requests.Response:
    """From the button to wherever it ends."""
    return visitor.session.get(provider.consent(begin(visitor), sub), timeout=30)


def groups(site: RunningSite) -> dict[str, list[str]]:
    token = {"Authorization": f"token {site.token('alpha')}"}
    users = requests.get(site.course_url("alpha") + "hub/api/users", headers=token, timeout=10).json()
    return {user["name"]: user["groups"] for user in users}


def test_a35_name_role_and_page_by_claims(make_site: MakeSite, provider: Provider) -> None:
    site = started(make_site, provider.url, {"method": "dummy", "password": "file:password", "self_chosen_names": True})
    provider.set_user("u1", preferred_username="Sam", groups=["chess", "python"])
    provider.set_user("u2", preferred_username="grace", groups=[])
    provider.set_user("u3", preferred_username="eve", groups=["chess"])
    sam = Student(site, "alpha", "sam")
    page = sam.session.get(f"{sam.base}hub/login", timeout=30)
    assert "Sign in with House account" in page.text and "Course password" in page.text
    assert arrive(sam, provider, "u1").url.endswith("/hub/home")
    assert arrive(Student(site, "alpha", "grace"), provider, "u2").url.endswith("/hub/home")
    refused = arrive(Student(site, "alpha", "eve"), provider, "u3")
    assert (refused.status_code, sentence(refused)) == (403, "You are not a member of this course.")
    guest = Student(site, "alpha", "sam")
    assert guest.login(PASSWORD).status_code == 200
    assert groups(site) == {"sam": ["student"], "grace": ["assistant"], "dummy:sam": ["student"]}

    # The next login brings the next role; a renamed account is the same person, a new one with the name is not.
    provider.set_user("u1", preferred_username="samuel", groups=["staff"])
    assert arrive(Student(site, "alpha", "sam"), provider, "u1").url.endswith("/hub/home")
    provider.set_user("u4", preferred_username="sam", groups=["python"])
    thief = arrive(Student(site, "alpha", "sam"), provider, "u4")
    assert thief.status_code == 403 and "belongs to another account" in sentence(thief)
    assert groups(site)["sam"] == ["instructor"] and "samuel" not in groups(site)


def test_a35_state_nonce_code_and_pkce(make_site: MakeSite, provider: Provider) -> None:
    site = started(make_site, provider.url)
    provider.set_user("u1", preferred_username="sam", groups=["python"])
    sam = Student(site, "alpha", "sam")
    page = begin(sam)
    asked = {key: values[0] for key, values in parse_qs(urlsplit(page.url).query).items()}
    assert asked["code_challenge_method"] == "S256" and len(asked["code_challenge"]) == 43
    assert asked["nonce"] and asked["state"] and asked["response_type"] == "code"
    back = provider.consent(page, "u1")

    # Somebody else's browser cannot finish it (login CSRF), and neither can a state of one's own.
    other = Student(site, "alpha", "eve")
    answer = other.session.get(back, timeout=30)
    assert answer.status_code == 400 and sentence(answer).startswith(UNFINISHED)
    begin(other)
    assert other.session.get(back, timeout=30).status_code == 400
    for state in ("", "x", "e30=", "bnVsbA==", "WzFd", "//8="):
        forged = f"{back.split('?')[0]}?{urlencode({'code': 'x', 'state': state})}"
        answer = other.session.get(forged, timeout=30)
        assert answer.status_code == 400 and sentence(answer).startswith(UNFINISHED), state
    # An answer of another provider.
    answer = sam.session.get(f"{back}&iss=https://evil.example.org", timeout=30)
    assert answer.status_code == 400 and sentence(answer).startswith(UNFINISHED)

    # Two windows side by side both work, each once.
    first, second = begin(sam), begin(sam)
    back = provider.consent(first, "u1")
    assert sam.session.get(provider.consent(second, "u1"), timeout=30).url.endswith("/hub/home")
    assert sam.session.get(back, timeout=30).url.endswith("/hub/home")
    assert sentence(sam.session.get(back, timeout=30)).startswith(UNFINISHED)

    # What the provider says goes on no page.
    page = begin(sam)
    state = parse_qs(urlsplit(page.url).query)["state"][0]
    query = urlencode({"error": "<b>x", "error_description": "call 555 now", "state": state})
    answer = sam.session.get(f"{back.split('?')[0]}?{query}", timeout=30)
    assert answer.status_code == 403 and "555" not in answer.text and "<b>x" not in answer.text
    assert sentence(answer).startswith("You did not finish signing in")


def test_a35_unverified_mail_is_no_name(make_site: MakeSite, provider: Provider) -> None:
    site = started(make_site, provider.url, username="email", domains=["example.org"])
    sam = Student(site, "alpha", "sam")
    for sub, verified, address, said in (
        ("m1", False, "sam@example.org", "Your e-mail address is not verified"),
        ("m2", True, "sam@evil.org", "This course is for accounts of another institution"),
        ("m3", True, "sam@example.org", ""),
    ):
        provider.set_user(sub, email=address, email_verified=verified, groups=["python"])
        answer = arrive(sam, provider, sub)
        assert sentence(answer).startswith(said) and answer.status_code == (403 if said else 200)
    assert groups(site) == {"sam@example.org": ["student"]}


def test_f19_a_silent_provider_holds_up_nobody_but_its_own(make_site: MakeSite) -> None:
    with silent_service() as service:
        site = make_site(courses=(), login={"house": settings(f"http://127.0.0.1:{service.port}")})
        house = {"method": "oidc", "use": "house", "everyone": "student"}
        site.folder.add_course("alpha", authentication=house)
        lag = LoopLag(site.folder.root, "alpha")
        site.start()
        health = f"{site.course_url('alpha')}hub/health"

        def press() -> requests.Response:
            return begin(Student(site, "alpha", "sam"))

        press()  # what is imported once
        before = many_logins(lag, health, press)
        service.hangs_up = False
        silence = many_logins(lag, health, press)
    assert {answer.status_code for _, answer in before.answers} <= {502, 503}
    assert added(silence.late, before.late) < LONGEST, (silence.late[-5:], before.late[-5:])
    assert len(silence.answers) == 20
    for seconds, answer in silence.answers:
        assert seconds < 10 and answer.status_code == 503
        assert sentence(answer).startswith("The sign-in service did not answer in time")


def test_f19_a_provider_that_refuses(make_site: MakeSite) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    site = started(make_site, f"http://127.0.0.1:{port}")
    answer = begin(Student(site, "alpha", "sam"))
    assert answer.status_code == 503
    assert sentence(answer).startswith("The sign-in service cannot be reached")
