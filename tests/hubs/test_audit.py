"""The course log of a real hub: who is told of, who may read it, and that no secret is in it or anywhere near."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from support.providers import running_provider
from support.sites import PASSWORD, RunningSite, SiteFolder, eventually
from support.students import FETCH, Student

from coursewarehub.cli.course_audit import as_json
from coursewarehub.state.audit import AuditBook, Entry

pytestmark = pytest.mark.slow
MakeSite = Callable[..., RunningSite]

CLOSED = {"method": "dummy", "password": "file:password"}
MEMBERS = {
    "owners": ["olga"],
    "instructors": ["ada"],
    "assistants": ["grace"],
    "students": ["sam", "kim"],
    "observers": ["vera"],
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSite]:
    """A running site with a course for each test that needs no site of its own."""
    folder = SiteFolder(
        tmp_path_factory.mktemp("shared") / "site", audit={"addresses": "whole", "lines": "audit.jsonl"}
    )
    for course in ("alpha", "beta"):
        folder.add_course(course, authentication=CLOSED, members=MEMBERS)
    folder.add_course("gamma", authentication={**CLOSED, "self_chosen_names": True}, members={"instructors": ["ada"]})
    site = RunningSite(folder)
    site.start()
    try:
        yield site
    finally:
        site.stop()


def book_of(site: RunningSite, course: str) -> AuditBook:
    return AuditBook(f"sqlite:///{site.folder.root}/state/courses/{course}/hub.sqlite")


def events(site: RunningSite, course: str = "alpha") -> list[dict[str, Any]]:
    """As `course audit --json` prints them."""
    return [json.loads(as_json(entry)) for entry in reversed(book_of(site, course).newest(most=1000))]


def short(site: RunningSite, course: str = "alpha") -> list[str]:
    return [f"{each['kind']} {each['action']} {each.get('person', '')}".strip() for each in events(site, course)]


def lines(site: RunningSite, course: str) -> list[dict[str, Any]]:
    """What is in the file of all courses about one."""
    text = (site.folder.root / "audit.jsonl").read_text()
    return [line for line in map(json.loads, text.splitlines()) if line["course"] == course]


def api(student: Student, method: str, path: str, **options: Any) -> requests.Response:
    """A request of the hub's own pages to its API."""
    headers = {
        **FETCH,
        "X-XSRFToken": student.cookie("_xsrf", f"{student.base}hub/"),
        "Referer": f"{student.base}hub/home",
    }
    return student.session.request(method, f"{student.base}hub/api/{path}", headers=headers, timeout=30, **options)


def logged_in(site: RunningSite, *names: str, course: str = "alpha") -> list[Student]:
    found = [Student(site, course, name) for name in names]
    # Not to where it leads: that would start a server.
    assert all(each.login(follow=False).status_code == 302 for each in found)
    return found


def test_who_did_what_to_whom_is_told(shared: RunningSite) -> None:
    site = shared
    ada, sam, _ = logged_in(site, "ada", "sam", "kim")
    eve = Student(site, "alpha", "eve")
    # A06: what somebody claims of where they come from counts for nothing behind the front door.
    eve.session.headers.update({"X-Forwarded-For": "203.0.113.9", "X-Real-Ip": "203.0.113.9"})
    assert eve.login().status_code == 403
    assert api(ada, "POST", "users/sam/server").status_code in {201, 202}
    assert api(ada, "POST", "users/ada/tokens", json={"note": "a note"}).status_code == 201
    assert api(sam, "POST", "users/sam/tokens", json={}).status_code == 201
    admin = {"Authorization": f"token {site.token('alpha')}"}
    assert requests.delete(f"{sam.base}hub/api/users/ada", headers=admin, timeout=10).status_code == 204
    expected = [
        "login succeeded ada",
        "login refused eve",
        "server start sam",
        "token created ada",
        "member deleted ada",
    ]
    eventually(lambda: [each for each in short(site) if each in expected] == expected)
    assert "token created sam" not in short(site)
    refused = next(each for each in events(site) if each["action"] == "refused")
    assert refused["reason"] == "You are not a member of this course." and refused["address"] == "127.0.0.1"
    started = next(each for each in events(site) if each["kind"] == "server")
    assert (started["actor"], started["by"]) == ("ada", "person")

    # Roles, removals and the course's state, without anybody asking.
    changed = {**MEMBERS, "instructors": ["ada", "sam"], "students": []}
    site.folder.add_course("alpha", authentication=CLOSED, members=changed, state="closed")
    told = {"member role-changed sam", "member removed kim", "course state-changed"}
    eventually(lambda: told <= set(short(site)), 30)
    found = {f"{each['kind']} {each['action']}": each for each in events(site)}
    assert (found["member role-changed"]["was"], found["member role-changed"]["role"]) == ("student", "instructor")
    assert (found["course state-changed"]["was"], found["course state-changed"]["state"]) == ("open", "closed")
    assert [line["action"] for line in lines(site, "alpha")] == [each["action"] for each in events(site)]


def test_a12_who_may_read_it_and_how(shared: RunningSite) -> None:
    site = shared
    for name, status in (("olga", 200), ("ada", 200), ("grace", 403), ("sam", 403), ("vera", 403)):
        (reader,) = logged_in(site, name, course="beta")
        pages = [reader.session.get(f"{reader.base}hub/{path}", timeout=30) for path in ("audit", "audit.csv")]
        assert [page.status_code for page in pages] == [status, status], name
        home = reader.session.get(f"{reader.base}hub/home", timeout=30).text
        assert ("Course log" in home) is (status == 200)
        if status == 403:
            assert "You may not open this page" in pages[0].text and "signed in" not in pages[0].text
    nobody = requests.get(f"{site.course_url('beta')}hub/audit", timeout=30)
    assert "/hub/login" in nobody.url

    eve = Student(site, "beta", "eve")
    assert eve.login().status_code == 403
    (ada,) = logged_in(site, "ada", course="beta")

    def page(query: str = "", language: str = "en", path: str = "audit") -> requests.Response:
        headers = {"Accept-Language": language}
        return ada.session.get(f"{ada.base}hub/{path}{query}", headers=headers, timeout=30)

    def plain(answer: requests.Response) -> str:
        return re.sub(r"<[^>]+>", "", answer.content.decode())

    eventually(lambda: "eve was refused: is not a member of the course" in plain(page()))
    assert "eve a été refusé : n’est pas membre du cours" in plain(page(language="fr"))
    assert "eve は拒否されました：コースの参加者ではありません" in plain(page(language="ja"))
    assert "grace" not in plain(page("?person=eve")) and "Nothing that fits" in plain(page("?kind=token"))
    assert "Nothing that fits" in plain(page("?day=2020-02-29"))
    wrong = page("?day=gestern&before=x&kind=%00")
    assert wrong.status_code == 400 and "must be a date such as" in plain(wrong)
    for query in ("?before=999999999999999999", "?person=%25'%3B--", "?person=" + "x" * 5000, "?person=%ff"):
        assert page(query).status_code in {200, 400}, query

    table = page("?person=eve", path="audit.csv")
    assert table.headers["Content-Type"] == "text/csv; charset=utf-8" and table.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(table.content.decode("utf-8-sig"))))
    assert [row["sentence"] for row in rows] == ["eve was refused: is not a member of the course"]

    # More than a page: the way to older ones, and back.
    now = datetime.now(UTC)
    book_of(site, "beta").append(
        [Entry(now, "server", "stop", f"p{n}", "ada", data={"by": "person"}) for n in range(60)]
    )
    first = page()
    older = re.search(r'href="[^"]*/hub/audit(\?before=\d+)"', first.text)
    assert older is not None and first.text.count("<time ") == 50
    second = page(older[1])
    assert "Newest" in second.text and "olga" in plain(second) and "olga" not in plain(first)


SECRETS = {
    "typed as a password": "canary-password-1",
    "typed as a name": "canary-password-2",
    "typed into both": "canary-password-3",
}


def test_a29_no_password_token_or_cookie_is_in_the_log_or_near_it(make_site: MakeSite) -> None:
    with running_provider() as provider:
        oidc = {"method": "oidc", "issuer": provider.url, "client_id": "courses", "client_secret": "file:password"}
        site = make_site(courses=(), login={"house": oidc}, audit={"lines": "audit.jsonl", "addresses": "whole"})
        ways = [{**CLOSED}, {"method": "oidc", "use": "house", "everyone": "student"}]
        site.folder.add_course("alpha", authentication=ways, members=MEMBERS)
        site.start()
        (ada,) = logged_in(site, "ada")
        secrets = {PASSWORD, *SECRETS.values(), "canary-note", "canary-code", "canary-state"}
        assert Student(site, "alpha", "sam").login(SECRETS["typed as a password"]).status_code == 403
        assert Student(site, "alpha", SECRETS["typed as a name"]).login("x").status_code == 403
        assert Student(site, "alpha", SECRETS["typed into both"]).login(SECRETS["typed into both"]).status_code == 403
        made = api(ada, "POST", "users/ada/tokens", json={"note": "canary-note"})
        secrets |= {made.json()["token"]}
        assert api(ada, "DELETE", f"users/ada/tokens/{made.json()['id']}").status_code == 204
        # The provider's answer: code, state and cookies of a login that works, and one that does not.
        provider.set_user("u1", preferred_username="uma")
        visitor = Student(site, "alpha", "uma")
        begun = visitor.session.get(f"{visitor.base}hub/login/house?next=/courses/alpha/hub/home", timeout=30)
        back = provider.consent(begun, "u1")
        assert visitor.session.get(back, timeout=30).status_code == 200
        secrets |= set(re.findall(r"(?:code|state)=([^&]{8,})", back))
        bad = f"{visitor.base}hub/login/house/callback?code=canary-code&state=canary-state"
        assert visitor.session.get(bad, timeout=30).status_code == 400
        for each in (ada, visitor):
            # JupyterHub writes `_xsrf` into its pages.
            cookies = {cookie.value or "" for cookie in each.session.cookies if cookie.name != "_xsrf"}
            secrets |= {value for value in cookies if len(value) > 16}
        told = ["login succeeded ada", "login failed sam", "login failed", "token created ada", "token revoked ada"]
        eventually(lambda: {*told, "login succeeded house:uma"} <= set(short(site)))
        page = ada.session.get(f"{ada.base}hub/audit", timeout=30).text
        table = ada.session.get(f"{ada.base}hub/audit.csv", timeout=30).text
        site.stop()
    kept = {
        "the command line": site.cli("course", "audit", "alpha").stdout,
        "the same for programs": site.cli("course", "audit", "alpha", "--json").stdout,
        "the file": (site.folder.root / "audit.jsonl").read_text(),
        "the table": table,
        "the page": page,
    }
    assert all("uma" in text for text in kept.values())
    found = [(where, secret) for where, text in kept.items() for secret in secrets if secret in text]
    assert not found
    # What was typed as a password, and what makes a login, is in no file of the site.
    logs = "".join(file.read_text(errors="replace") for file in (site.folder.root / "state/logs").rglob("*.log"))
    private = {PASSWORD, SECRETS["typed as a password"], "canary-code", made.json()["token"]}
    assert not [secret for secret in private if secret in logs]
    database = (site.folder.root / "state/courses/alpha/hub.sqlite").read_bytes()
    assert not [secret for secret in private | {SECRETS["typed as a name"]} if secret.encode() in database]


def test_a30_hostile_names_stay_on_their_line(shared: RunningSite) -> None:
    site = shared
    names = [
        "<img src=x onerror=alert(1)>",
        "=cmd|'x'!a1",
        "a\r\n2026 forged",
        "\x1b[31mred",
        "\u202eevil",
        "x" * 100_000,
    ]
    for name in names:
        Student(site, "gamma", name).login(follow=False)
    (ada,) = logged_in(site, "ada", course="gamma")
    eventually(lambda: "login succeeded ada" in short(site, "gamma"))
    text = (site.folder.root / "audit.jsonl").read_text()
    assert all(json.loads(line) and len(line.encode()) <= 1024 for line in text.splitlines())
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", text)
    page = ada.session.get(f"{ada.base}hub/audit", timeout=30).text
    assert "<img src=x" not in page and "&lt;img src=x onerror=alert(1)&gt;" in page
    rows = list(csv.reader(io.StringIO(ada.session.get(f"{ada.base}hub/audit.csv", timeout=30).text)))
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]
