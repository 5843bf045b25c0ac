"""Login at GitHub and GitLab on a running site: names, groups over many pages, answers gone wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import requests
from support.github import Account, GitHub, running_github
from support.loop_lag import LONGEST, LoopLag, added
from support.providers import Provider, many_logins, running_provider, sentence
from support.sites import PASSWORD, RunningSite, SiteFolder
from support.students import Student

pytestmark = pytest.mark.slow

ROLES = {"instructors": ["octo-org:staff", "faculty/staff"], "students": ["octo-org", "faculty"]}


@dataclass
class Houses:
    """A running site with three courses: `alpha` by GitHub, `beta` by GitHub with a domain, `gamma` by GitLab."""

    site: RunningSite
    github: GitHub
    gitlab: Provider
    lag: LoopLag


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Houses]:
    client = {"client_id": "courses", "client_secret": "file:password"}
    with running_github("courses", PASSWORD) as github, running_provider() as gitlab:
        login = {
            "github": {"method": "github", "url": github.url, **client},
            "strict": {"method": "github", "url": github.url, "domains": ["example.org"], **client},
            "gitlab": {"method": "gitlab", "url": gitlab.url, **client},
        }
        site = RunningSite(SiteFolder(tmp_path_factory.mktemp("houses") / "site", login=login))
        for course, use in (("alpha", "github"), ("beta", "strict"), ("gamma", "gitlab")):
            ways = {"method": login[use]["method"], "use": use, "roles": ROLES}
            site.folder.add_course(course, authentication=ways, members={"assistants": ["grace"]})
        lag = LoopLag(site.folder.root, "alpha")
        site.start()
        try:
            yield Houses(site, github, gitlab, lag)
        finally:
            site.stop()


def arrive(houses: Houses, account: Account, course: str = "alpha", way: str = "github") -> requests.Response:
    """From the button to wherever it ends."""
    houses.github.account = account
    visitor = Student(houses.site, course, account.login)
    next_page = f"{urlsplit(visitor.base).path}hub/home"
    return visitor.session.get(f"{visitor.base}hub/login/{way}?next={next_page}", timeout=30)


def groups(houses: Houses, course: str) -> dict[str, list[str]]:
    token = {"Authorization": f"token {houses.site.token(course)}"}
    users = requests.get(houses.site.course_url(course) + "hub/api/users", headers=token, timeout=10).json()
    return {user["name"]: user["groups"] for user in users}


def test_a35_github_names_organisations_and_teams(houses: Houses) -> None:
    many = [f"org-{number}" for number in range(250)]
    assert arrive(houses, Account(7, "Sam", [*many, "Octo-Org"])).status_code == 200
    assert houses.github.asked.count("/api/v3/user/orgs") == 3
    teams = [*(("octo-org", f"t{number}") for number in range(120)), ("octo-org", "staff")]
    assert arrive(houses, Account(8, "tea", ["octo-org"], teams)).status_code == 200
    assert arrive(houses, Account(9, "grace", [])).status_code == 200
    refused = arrive(houses, Account(10, "eve", many, [("evil-org", "staff")]))
    assert (refused.status_code, sentence(refused)) == (403, "You are not a member of this course.")
    assert groups(houses, "alpha") == {"sam": ["student"], "tea": ["instructor"], "grace": ["assistant"]}

    # The id is who somebody is: a new login name keeps the account, and the old one in other hands gets nothing.
    assert arrive(houses, Account(7, "samuel", ["octo-org"], [("octo-org", "staff")])).status_code == 200
    thief = arrive(houses, Account(11, "sam", ["octo-org"]))
    assert thief.status_code == 403 and "belongs to another account" in sentence(thief)
    assert groups(houses, "alpha")["sam"] == ["instructor"] and "samuel" not in groups(houses, "alpha")


def test_a35_github_codes_and_answers_gone_wrong(houses: Houses) -> None:
    site, github, good = houses.site, houses.github, Account(70, "kim", ["octo-org"])
    visitor, other = Student(site, "alpha", "kim"), Student(site, "alpha", "eve")
    github.account = good
    button = f"{visitor.base}hub/login/github?next=/courses/alpha/hub/home"
    begun = visitor.session.get(button, timeout=30, allow_redirects=False)
    back = requests.get(begun.headers["Location"], timeout=10, allow_redirects=False).headers["Location"]
    # It works once, and only in the browser that began.
    other.session.get(button, timeout=30, allow_redirects=False)
    assert other.session.get(back, timeout=30).status_code == 400
    assert visitor.session.get(back, timeout=30).status_code == 200
    again = visitor.session.get(back, timeout=30)
    assert again.status_code == 400 and sentence(again).startswith("The sign-in was not finished")
    for path, status, body in (
        ("/login/oauth/access_token", 200, b'{"error": "x", "error_description": "call 555 now"}'),
        ("/login/oauth/access_token", 200, b"<html>"),
        ("/login/oauth/access_token", 500, b""),
        ("/api/v3/user", 200, b'{"login": null}'),
        ("/api/v3/user", 200, b'["x"]'),
        ("/api/v3/user", 401, b"{}"),
        ("/api/v3/user/orgs", 403, b'{"message": "rate limit"}'),
        ("/api/v3/user/teams", 200, b'[{"slug": "staff"}]'),
        ("/api/v3/user/emails", 200, b"7"),
    ):
        github.broken = {path: (status, body)}
        answer = arrive(houses, good)
        assert answer.status_code in {403, 502, 503}, (path, body, answer.status_code)
        assert sentence(answer).startswith("The sign-in service"), (path, body)
        assert "555" not in answer.text
    github.broken = {}
    assert arrive(houses, good).status_code == 200
    log = site.folder.root.joinpath("state/logs/hub-alpha.log").read_text()
    assert github.tokens and not [token for token in github.tokens if token in log] and PASSWORD not in log


def test_f20_a_silent_userinfo_delays_nobody_else(houses: Houses) -> None:
    """Everything of the login is answered but who it is."""
    github, health = houses.github, f"{houses.site.course_url('alpha')}hub/health"
    sam = Account(90, "silent-sam", ["octo-org"])
    houses.github.account = sam

    def login() -> requests.Response:
        return arrive(houses, sam)

    answering = many_logins(houses.lag, health, login)
    assert [page.status_code for _, page in answering.answers] == [200] * 20
    github.silent = {"/api/v3/user"}
    silence = many_logins(houses.lag, health, login)
    github.speaks.set()
    github.silent = set()
    assert added(silence.late, answering.late) < LONGEST, (silence.late[-5:], answering.late[-5:])
    for seconds, page in silence.answers:
        assert seconds < 12 and page.status_code == 503
        assert sentence(page).startswith("The sign-in service did not answer in time")


def test_a35_github_domains_count_verified_first_addresses_only(houses: Houses) -> None:
    for number, (emails, said) in enumerate(
        (
            ([("sam@example.org", True, False)], "Your e-mail address is not verified"),
            ([("sam@evil.org", True, True), ("sam@example.org", False, True)], "This course is for accounts of"),
            ([], "Your e-mail address is not verified"),
            ([("sam@evil.org", False, True), ("sam@example.org", True, True)], ""),
        )
    ):
        answer = arrive(houses, Account(20 + number, f"sam{number}", ["octo-org"], emails=emails), "beta", "strict")
        assert sentence(answer).startswith(said) and answer.status_code == (403 if said else 200), emails
    assert groups(houses, "beta") == {"sam3": ["student"]}


def test_a35_gitlab_is_openid_with_groups_by_path(houses: Houses) -> None:
    houses.gitlab.set_user("1", preferred_username="sam", groups=["faculty"])
    houses.gitlab.set_user("2", preferred_username="tea", groups=["faculty/staff", "faculty"])
    houses.gitlab.set_user("3", preferred_username="eve", groups=["other/faculty", "facultyx"])
    for sub, status in (("1", 200), ("2", 200), ("3", 403)):
        visitor = Student(houses.site, "gamma", sub)
        begun = visitor.session.get(f"{visitor.base}hub/login/gitlab?next=/courses/gamma/hub/home", timeout=30)
        assert visitor.session.get(houses.gitlab.consent(begun, sub), timeout=30).status_code == status
    assert groups(houses, "gamma") == {"sam": ["student"], "tea": ["instructor"]}
