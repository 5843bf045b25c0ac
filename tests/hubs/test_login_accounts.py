"""Accounts of a course's own on a real site: invitation, login, reset by mail, lock-out, removal, the staff's page.

The tests share one site, each with people of its own.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
import signal
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
import requests
from support.accounts import ANOTHER_PASSWORD, GOOD_PASSWORD, Invited, Mailbox, link_in, mail_server
from support.providers import sentence
from support.sites import RunningSite, SiteFolder, alive, eventually

pytestmark = pytest.mark.slow

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def box() -> Iterator[tuple[Mailbox, int]]:
    with mail_server() as running:
        yield running


@pytest.fixture(scope="module")
def early() -> dict[str, str]:
    """The link of somebody who was invited before the site has ever run."""
    return {}


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, box: tuple[Mailbox, int], early: dict[str, str]
) -> Iterator[RunningSite]:
    mail = {"host": "127.0.0.1", "port": box[1], "tls": "none", "sender": "courses@example.org"}
    folder = SiteFolder(tmp_path_factory.mktemp("accounts") / "site", mail=mail)
    folder.add_course("alpha", authentication={"method": "accounts"}, members={"owners": ["olga"]})
    # Once in two seconds instead of twenty: that it is within a minute is shown by test_removed_member.py.
    (folder.root / "hub.d").mkdir()
    (folder.root / "hub.d" / "often.py").write_text(
        "import coursewarehub.hub.main\n\ncoursewarehub.hub.main.EVERY_SECONDS = 2.0\n"
    )
    running = RunningSite(folder)
    early |= invite(running, "early,Sam Ünique,,")
    running.start()
    try:
        yield running
    finally:
        running.stop()
        for pid in running.pids() - {os.getpid()}:
            os.kill(pid, signal.SIGKILL)


def fresh(name: str) -> str:
    """A name that nobody has had, also when a test runs once more."""
    return f"{name}{next(_NUMBERS)}"


def invite(site: RunningSite, *rows: str) -> dict[str, str]:
    """Import people (`name,display name,e-mail,role`); their links."""
    number = next(_NUMBERS)
    file, links = (site.folder.root / f"{what}{number}.csv" for what in ("people", "links"))
    file.write_text("\n".join(["name,display name,e-mail,role", *rows]))
    site.cli("course", "members", "alpha", "import", str(file), "--links", str(links))
    with links.open(encoding="utf-8-sig", newline="") as stream:
        return {row["name"]: row["link"] for row in csv.DictReader(stream)}


def members(site: RunningSite, *rows: str) -> list[Staff]:
    """People who have been invited and have set a password."""
    found = []
    for name, link in invite(site, *rows).items():
        person = Staff(site, "alpha", name)
        done = person.choose(link)
        assert done.status_code == 200 and "Your password is set" in done.text, done.text[:3000]
        found.append(person)
    return found


def said(page: requests.Response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.text).split())


def logs(site: RunningSite) -> str:
    files = [*(site.folder.root / "state" / "logs").rglob("*.log"), site.folder.root / "up.log"]
    return "".join(file.read_text(errors="replace") for file in files)


def lost(person: Invited) -> bool:
    """Whether the login has ended."""
    page = person.session.get(f"{person.base}hub/home", timeout=10)
    return page.url.split("?")[0].endswith("/hub/login")


class Staff(Invited):
    """Somebody who may be at the page of the accounts."""

    def people(self) -> requests.Response:
        return self.session.get(f"{self.base}hub/people", timeout=30)

    def act(self, action: str, name: str, **more: str) -> requests.Response:
        return self.form("people", {"action": action, "name": name, **more})

    def upload(self, data: bytes, encoding: str = "") -> requests.Response:
        return self.form("people/import", {"encoding": encoding}, files={"file": ("people.csv", data, "text/csv")})


def states(page: requests.Response) -> dict[str, str]:
    """What the list says of each person's account."""
    rows = re.findall(r'<th scope="row">([^<]*)</th>(.*?)</tr>', page.text, re.DOTALL)
    cells = {name: re.findall(r"<td.*?>(.*?)</td>", rest, re.DOTALL) for name, rest in rows}
    return {name: " ".join(re.sub(r"<[^>]+>", " ", found[2]).split()) for name, found in cells.items()}


def test_a29_an_invitation_works_once_and_leaves_no_trace(site: RunningSite, early: dict[str, str]) -> None:
    name = "early"
    if site.cli("course", "members", "alpha", "list").stdout.count("early  student  active"):
        name = fresh("late")
        early = invite(site, f"{name},Sam Ünique,,")
    link = early[name]
    token = link.partition("token=")[2]
    sam, other_tab = Invited(site, "alpha", name), Invited(site, "alpha", name)
    page = sam.open(link)
    assert page.status_code == 200 and "token" not in page.url and token not in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer" and page.headers["Cache-Control"] == "no-store"
    assert "Hello Sam Ünique!" in page.text
    other_tab.open(link)
    # Not used up by looking at it, nor by a form that says what is wrong.
    for form, telling in (
        ({"password": "short", "again": "short"}, "at least 10 characters"),
        ({"password": "password1234", "again": "password1234"}, "one of the first that anybody would try"),
        ({"password": "sam ünique sam", "again": "sam ünique sam"}, "must not be made of your name"),
        ({"password": GOOD_PASSWORD, "again": "x"}, "are not the same"),
        ({}, "at least 10 characters"),
    ):
        refused = sam.form("password", form)
        assert refused.status_code == 400 and telling in said(refused), telling
        assert GOOD_PASSWORD not in refused.text
    assert "Sam" not in requests.get(f"{sam.base}hub/password", timeout=10).text

    done = sam.form("password", {"password": GOOD_PASSWORD, "again": GOOD_PASSWORD})
    assert done.url.endswith(f"/hub/login?username={name}&done=password") and "Your password is set" in done.text
    late = other_tab.form("password", {"password": ANOTHER_PASSWORD, "again": ANOTHER_PASSWORD})
    assert late.status_code == 410 and "This link cannot be used" in late.text
    assert Invited(site, "alpha", name).open(link).status_code == 410
    assert sam.login(ANOTHER_PASSWORD).status_code == 403
    assert sam.login(follow=False).status_code == 302

    written = logs(site)
    assert "/hub/password?token=[secret]" in written
    for secret in (token, GOOD_PASSWORD, GOOD_PASSWORD.replace(" ", "+"), ANOTHER_PASSWORD, "argon2id"):
        assert secret not in written, secret
    stored = b"".join(file.read_bytes() for file in (site.folder.root / "state").rglob("*") if file.is_file())
    assert token.encode() not in stored and GOOD_PASSWORD.encode() not in stored and b"$argon2id$" in stored


def test_links_that_are_none(site: RunningSite) -> None:
    for query in ("token=", "token=x", "token=" + "A" * 5000, "token=%00%0d%0a", "token=a;b%20c", "token=../../etc"):
        page = Invited(site, "alpha", "sam").open(f"{site.course_url('alpha')}hub/password?{query}")
        assert page.status_code == 410, query
    nobody = Invited(site, "alpha", "sam")
    nobody.open(f"{nobody.base}hub/password")
    assert nobody.form("password", {"password": GOOD_PASSWORD, "again": GOOD_PASSWORD}).status_code == 410
    assert requests.post(f"{nobody.base}hub/password", data={"password": "x"}, timeout=10).status_code == 403
    french = requests.get(f"{nobody.base}hub/password", headers={"Accept-Language": "fr"}, timeout=10)
    japanese = requests.get(f"{nobody.base}hub/password", headers={"Accept-Language": "ja"}, timeout=10)
    assert "Ce lien" in french.text and "リンク" in japanese.text


def test_a35_a_header_logs_nobody_in(site: RunningSite) -> None:
    """What a proxy for SAML would say in a header is not believed from anybody: such logins come by `oidc`."""
    (sam,) = members(site, f"{fresh('sam')},,,")
    headers = dict.fromkeys(
        ("REMOTE_USER", "Remote-User", "X-Remote-User", "X-Forwarded-User", "X-Forwarded-Preferred-Username", "eppn",
         "X-Auth-Request-User", "X-WEBAUTH-USER", "X-Forwarded-Email", "X-JupyterHub-User"), sam.name,
    )  # fmt: skip
    for path in ("hub/home", "hub/login", "hub/people", f"user/{sam.name}/lab"):
        page = requests.get(f"{sam.base}{path}", headers=headers, timeout=30)
        assert page.url.split("?")[0].endswith("/hub/login") and "Sign in" in page.text, path
        assert f">{sam.name}<" not in page.text and f'value="{sam.name}"' not in page.text, path
    assert requests.get(f"{sam.base}hub/api/user", headers=headers, timeout=10).status_code == 403
    sam.session.headers.update(headers)
    assert sam.login("wrong password").status_code == 403


def test_a31_guessing_and_asking_who_is_there(site: RunningSite) -> None:
    new = fresh("new")
    (sam,) = members(site, f"{fresh('sam')},,,")
    invite(site, f"{new},,,")
    answers = []
    for name in (sam.name, new, fresh("nobody")):
        begin = time.monotonic()
        answers.append(Invited(site, "alpha", name).login("wrong password"))
        assert time.monotonic() - begin >= 0.5
    assert len({(page.status_code, sentence(page)) for page in answers}) == 1
    guesses = [Invited(site, "alpha", new).login(f"guess number {number}") for number in range(7)]
    assert guesses[-1].status_code == 429 and 1 <= int(guesses[-1].headers["Retry-After"]) <= 10
    assert sentence(guesses[-1]).startswith("Too many attempts")
    assert sam.login(follow=False).status_code == 302, "others are not concerned"


def test_b20_a31_what_ends_an_account_or_a_password_ends_everything_held(
    site: RunningSite, box: tuple[Mailbox, int]
) -> None:
    """A reset by mail tells nobody who is there; a disabled or removed member loses all within a minute."""
    address = f"{fresh('sam')}@example.org"
    thief, kim, lee = members(
        site, f"{fresh('sam')},,{address},", f"{fresh('kim')},,,", f"{fresh('lee')},,,"
    )  # fmt: skip
    admin = {"Authorization": f"token {site.token('alpha')}"}
    pids, tokens = {}, {}
    for person in (thief, kim, lee):
        person.enter()
        pids[person] = int(person.start_kernel().run("import os; print(os.getpid())"))
        made = requests.post(f"{person.base}hub/api/users/{person.name}/tokens", headers=admin, timeout=10)
        tokens[person] = str(made.json()["token"])
    assert [person.token_api(tokens[person]) for person in tokens] == [200] * 3

    # By another way than the page's: the hub looks by itself.
    site.cli("course", "members", "alpha", "disable", kim.name)
    site.cli("course", "members", "alpha", "remove", lee.name)

    sam = Invited(site, "alpha", thief.name, ANOTHER_PASSWORD)
    assert "Password forgotten?" in sam.session.get(f"{sam.base}hub/login", timeout=10).text
    sam.session.get(f"{sam.base}hub/password/forgotten", timeout=10)
    before = len(box[0].mails)
    answers = []
    for asked in ("nobody@example.org", lee.name, kim.name, address.upper(), sam.name, "\x7f", "x" * 5000):
        begin = time.monotonic()
        answers.append(sam.form("password/forgotten", {"person": asked}))
        assert time.monotonic() - begin < 2
    assert {answer.status_code for answer in answers} == {200}
    bodies = {re.sub(r'(value=|xsrf_token: )"[^"]*"', "", answer.text) for answer in answers}
    assert len(bodies) == 1 and "is on its way" in bodies.pop(), "the same page whoever is asked for"
    eventually(lambda: len(box[0].mails) > before, 10)
    (letter,) = box[0].mails[before:]
    assert letter["To"] == address and f"user name is {sam.name}" in letter.get_content()
    assert [thief.token_api(tokens[thief]), alive(pids[thief])] == [200, True], "asking alone ends nothing"

    assert "Your password is set" in sam.choose(link_in(letter.get_content())).text
    assert thief.token_api(tokens[thief]) == 403 and lost(thief)
    eventually(lambda: not alive(pids[thief]), 20)
    assert thief.login().status_code == 403
    sam.enter()
    changed = time.monotonic()

    for person in (kim, lee):
        # Whether the hub has looked yet or not: no error of the hub's, and no server.
        assert person.session.get(f"{person.base}hub/spawn", timeout=30).status_code in (200, 403)
        eventually(lambda person=person: not alive(pids[person]), 60, every=0.5)
        assert person.token_api(tokens[person]) == 403 and lost(person)
        assert person.login().status_code == 403
    # The hub has looked at everybody since, and what was to be ended for sam had ended: the new login stays.
    eventually(lambda: time.monotonic() - changed > 5, 10, every=0.5)
    assert not lost(sam)

    # Asked for too often, from one address.
    tries = [sam.form("password/forgotten", {"person": "somebody"}).status_code for _ in range(8)]
    assert tries[0] == 200 and tries[-1] == 429 and set(tries) == {200, 429}


def test_the_staffs_page(site: RunningSite) -> None:
    site.cli("course", "members", "alpha", "remove", "olga", check=False)
    owner, teacher, helper, sam = members(
        site, "olga,,,", f"{fresh('tina')},,,instructor", f"{fresh('hal')},,,assistant", f"{fresh('sam')},,,"
    )  # fmt: skip
    for person in (owner, teacher, helper, sam):
        assert person.login(follow=False).status_code == 302

    # Who may see it.
    assert 'href="/courses/alpha/hub/people"' in owner.session.get(f"{owner.base}hub/home", timeout=30).text
    for person in (helper, sam):
        assert "hub/people" not in person.session.get(f"{person.base}hub/home", timeout=30).text
        assert [person.people().status_code, person.act("disable", "olga").status_code] == [403, 403]
        assert person.session.get(f"{person.base}hub/people/export.csv", timeout=10).status_code == 403
        assert person.upload(b"name\neve\n").status_code == 403
    stranger = requests.get(f"{owner.base}hub/people", timeout=10)
    assert stranger.url.split("?")[0].endswith("/hub/login")
    there = states(owner.people())
    assert [there[person.name] for person in (owner, teacher, helper, sam)] == ["Active"] * 4

    found = owner.session.get(f"{owner.base}hub/people", params={"find": f" {sam.name.upper()} "}, timeout=10)
    assert states(found) == {sam.name: "Active"}
    none = owner.session.get(f"{owner.base}hub/people", params={"find": "<nobody>"}, timeout=10)
    assert "Nobody is called like that." in none.text and "<nobody>" not in none.text

    # An instructor manages those below, not the owner and not their equals, and makes nobody their equal.
    assert "Owners only" in teacher.people().text
    for action in ("link", "disable", "remove"):
        for name in (owner.name, teacher.name):
            refused = teacher.act(action, name)
            assert refused.status_code == 403 and "ask an owner" in said(refused), (action, name)
    assert teacher.act("invite", "eve", role="owner").status_code == 403
    assert states(owner.people()).keys() == there.keys()

    # Invite, again, disable, remove; bad input is a sentence.
    name = fresh("kim")
    about = {"display name": 'K "K" <b>', "e-mail": "kim@example.org", "role": "student"}
    made = teacher.act("invite", name.upper(), **about)
    assert made.status_code == 200 and "K &#34;K&#34; &lt;b&gt;" in made.text and states(made)[name] == "Invited"
    link = link_in(made.text)
    assert link.startswith(f"{site.url}courses/alpha/hub/password?token=")
    assert teacher.act("invite", name).status_code == 409
    again = teacher.act("link", name)
    assert Invited(site, "alpha", name).open(link).status_code == 410
    kim = Invited(site, "alpha", name)
    assert "Your password is set" in kim.choose(link_in(again.text)).text
    assert kim.login(follow=False).status_code == 302
    assert states(teacher.act("disable", name))[name] == "Disabled"
    assert lost(kim) and kim.login().status_code == 403, "at once"
    assert name not in states(teacher.act("remove", name))
    for action, who, status in (
        ("remove", name, 409), ("link", "a\x0bb", 409), ("fly", sam.name, 400), ("", "", 400), ("invite", "", 400),
        ("invite", "a/b", 400), ("invite", "=x", 400), ("invite", "n" * 65, 400), ("link", "", 409),
    ):  # fmt: skip
        assert teacher.act(action, who).status_code == status, (action, who)
    assert teacher.act("invite", "lee", **{"e-mail": "no address", "role": "king"}).status_code == 400

    # The forms cannot be sent from elsewhere.
    forged = owner.session.post(f"{owner.base}hub/people", data={"action": "remove", "name": sam.name}, timeout=10)
    assert forged.status_code == 403 and states(owner.people())[sam.name] == "Active"

    b11_import_and_export(site, owner, teacher)


def b11_import_and_export(site: RunningSite, owner: Staff, teacher: Staff) -> None:
    before = states(owner.people()).keys()
    wrong = owner.upload(b"name,role\nsam,\nkim,teachr\n=x,\nSAM,\n")
    assert wrong.status_code == 400 and "3 mistakes in the file" in wrong.text
    assert all(f"Line {line}:" in said(wrong) for line in (3, 4, 5))
    assert owner.upload(b"").status_code == 400 and owner.form("people/import", {}).status_code == 400
    assert teacher.upload(b"name,role\neve,owner\n").status_code == 400

    one, two = fresh("s"), fresh("s")
    data = f'学籍番号;氏名;role\r\n{one};"山田\r\n太郎";\r\n{two};=HYPERLINK("x");assistant\r\n'.encode("cp932")
    preview = owner.upload(data)
    assert preview.status_code == 200 and "2 people would be invited" in preview.text and "cp932" in preview.text
    assert "山田 太郎" in preview.text and states(owner.people()).keys() == before
    text = re.search(r'<textarea name="roster"[^>]*>\n(.*?)</textarea>', preview.text, re.DOTALL)
    assert text is not None
    done = owner.form("people/import", {"roster": unescape(text[1])})
    assert done.status_code == 200 and "2 people are invited." in done.text
    assert "Your password is set" in Invited(site, "alpha", one).choose(link_in(done.text)).text
    again = owner.form("people/import", {"roster": unescape(text[1])})
    assert "0 people are invited." in again.text, "sent twice, done once"

    exported = owner.session.get(f"{owner.base}hub/people/export.csv", timeout=10)
    assert exported.headers["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.reader(io.StringIO(exported.content.decode("utf-8-sig"), newline="")))
    assert [two, '\'=HYPERLINK("x")', "", "assistant", ""] in rows and [one, "山田 太郎", "", "student", ""] in rows
    assert "token" not in exported.text and "argon" not in exported.text
    assert "There is nothing to change." in owner.upload(exported.content).text


def test_without_mail_people_are_told_whom_to_ask(site: RunningSite) -> None:
    file = Path(site.folder.root / "site.yaml")
    whole = file.read_text()
    try:
        site.cli("check")
        file.write_text(re.sub(r',\s*"mail": \{.*?\}', "", whole, flags=re.DOTALL))
        person = Invited(site, "alpha", "sam")

        def told() -> bool:
            page = person.session.get(f"{person.base}hub/password/forgotten", timeout=20)
            return page.status_code == 200 and "Ask your instructor" in page.text and "<form" not in page.text

        eventually(told, 20, every=0.3)
        assert person.form("password/forgotten", {"person": "sam"}).status_code == 404
    finally:
        file.write_text(whole)
