"""Login at GitHub and GitLab on a running site: names, groups over many pages, answers gone wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from support.github import Account, GitHub, running_github
from support.providers import running_provider, sentence
from support.sites import PASSWORD, RunningSite
from support.students import Student

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]

ROLES = {"instructors": ["octo-org:staff"], "students": ["octo-org"]}


def started(make_site: MakeSite, method: str, url: str, **provider: Any) -> RunningSite:
    settings = {"method": method, "url": url, "client_id": "courses", "client_secret": "file:password", **provider}
    site = make_site(courses=(), login={method: settings})
    site.folder.add_course(
        "alpha", authentication={"method": method, "roles": ROLES}, members={"assistants": ["grace"]}
    )
    site.start()
    return site


def arrive(site: RunningSite, github: GitHub, account: Account) -> tuple[requests.Response, Student]:
    github.account = account
    visitor = Student(site, "alpha", account.login)
    next_page = f"{urlsplit(visitor.base).path}hub/home"
    return visitor.session.get(f"{visitor.base}hub/login/github?next={next_page}", timeout=30), visitor


def groups(site: RunningSite) -> dict[str, list[str]]:
    token = {"Authorization": f"token {site.token('alpha')}"}
    users = requests.get(site.course_url("alpha") + "hub/api/users", headers=token, timeout=10).json()
    return {user["name"]: user["groups"] for user in users}


def test_a35_github_names_organisations_and_teams(make_site: MakeSite) -> None:
    many = [f"org-{number}" for number in range(250)]
    with running_github("courses", PASSWORD) as github:
        site = started(make_site, "github", github.url)
        answer, _ = arrive(site, github, Account(7, "Sam", [*many, "Octo-Org"]))
        assert answer.status_code == 200 and "/hub/login" not in answer.url
        assert github.asked.count("/api/v3/user/orgs") == 3
        teams = [("octo-org", f"t{number}") for number in range(120)]
        assert (
            arrive(site, github, Account(8, "tea", ["octo-org"], [*teams, ("octo-org", "staff")]))[0].status_code == 200
        )
        assert arrive(site, github, Account(9, "grace", []))[0].status_code == 200
        refused, _ = arrive(site, github, Account(10, "eve", many, [("evil-org", "staff")]))
        assert (refused.status_code, sentence(refused)) == (403, "You are not a member of this course.")
        assert groups(site) == {"sam": ["student"], "tea": ["instructor"], "grace": ["assistant"]}

        # The id is who somebody is: a new login name keeps the account, and the old one in other hands gets nothing.
        assert arrive(site, github, Account(7, "samuel", ["octo-org"], [("octo-org", "staff")]))[0].status_code == 200
        thief, _ = arrive(site, github, Account(11, "sam", ["octo-org"]))
        assert thief.status_code == 403 and "belongs to another account" in sentence(thief)
        assert groups(site)["sam"] == ["instructor"] and "samuel" not in groups(site)


def test_a35_github_codes_tokens_and_answers_gone_wrong(make_site: MakeSite) -> None:
    with running_github("courses", PASSWORD) as github:
        site = started(make_site, "github", github.url)
        good = Account(7, "sam", ["octo-org"])
        visitor = Student(site, "alpha", "sam")
        github.account = good
        button = f"{visitor.base}hub/login/github?next=/courses/alpha/hub/home"
        begun = visitor.session.get(button, timeout=30, allow_redirects=False)
        back = requests.get(begun.headers["Location"], timeout=10, allow_redirects=False).headers["Location"]
        # The code works once, and only with the verifier of the browser that began.
        other = Student(site, "alpha", "eve")
        other.session.get(f"{other.base}hub/login/github", timeout=30, allow_redirects=False)
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
            answer, _ = arrive(site, github, good)
            assert answer.status_code in {403, 502, 503}, (path, body, answer.status_code)
            assert sentence(answer).startswith("The sign-in service"), (path, body)
            assert "555" not in answer.text
        github.broken = {}
        assert arrive(site, github, good)[0].status_code == 200
        log = site.folder.root.joinpath("state/logs/hub-alpha.log").read_text()
        assert not [token for token in github.tokens if token in log] and PASSWORD not in log


def test_a35_github_domains_count_verified_addresses_only(make_site: MakeSite) -> None:
    with running_github("courses", PASSWORD) as github:
        site = started(make_site, "github", github.url, domains=["example.org"])
        for number, (emails, said) in enumerate(
            (
                ([("sam@example.org", True, False)], "Your e-mail address is not verified"),
                ([("sam@evil.org", True, True), ("sam@example.org", False, True)], "This course is for accounts of"),
                ([], "Your e-mail address is not verified"),
                ([("sam@evil.org", False, True), ("sam@example.org", True, True)], ""),
            )
        ):
            answer, _ = arrive(site, github, Account(20 + number, f"sam{number}", ["octo-org"], emails=emails))
            assert sentence(answer).startswith(said) and answer.status_code == (403 if said else 200), emails
        assert groups(site) == {"sam3": ["student"]}


def test_a35_gitlab_is_openid_with_groups_by_path(make_site: MakeSite) -> None:
    with running_provider() as provider:
        settings = {"method": "gitlab", "url": provider.url, "client_id": "courses", "client_secret": "file:password"}
        site = make_site(courses=(), login={"gitlab": settings})
        roles = {"instructors": ["faculty/staff"], "students": ["faculty"]}
        site.folder.add_course("alpha", authentication={"method": "gitlab", "roles": roles}, members={})
        site.start()
        provider.set_user("1", preferred_username="sam", groups=["faculty"])
        provider.set_user("2", preferred_username="tea", groups=["faculty/staff", "faculty"])
        provider.set_user("3", preferred_username="eve", groups=["other/faculty", "facultyx"])
        for sub, status in (("1", 200), ("2", 200), ("3", 403)):
            visitor = Student(site, "alpha", sub)
            begun = visitor.session.get(f"{visitor.base}hub/login/gitlab?next=/courses/alpha/hub/home", timeout=30)
            assert visitor.session.get(provider.consent(begun, sub), timeout=30).status_code == status
        assert groups(site) == {"sam": ["student"], "tea": ["instructor"]}
