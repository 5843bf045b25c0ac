"""Two logins of one person on a real site: a password, a learning platform, an OpenID provider."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections.abc import Iterator
from html import unescape

import pytest
import requests
from support.accounts import Invited
from support.learning_platform import Launched, hidden, running_platform, visitor
from support.providers import Provider, running_provider
from support.sites import RunningSite, eventually

pytestmark = pytest.mark.slow

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with running_provider() as running:
        yield running


@pytest.fixture(scope="module")
def alpha(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Launched]:
    ways = [
        {"method": "accounts"},
        {"method": "lti11", "use": "old", "contexts": "any"},
        {"method": "oidc", "use": "house", "roles": {"assistants": ["helpers"], "students": ["python"]}},
        {"method": "dummy", "password": "file:password", "self_chosen_names": True},
    ]
    root = tmp_path_factory.mktemp("linking") / "site"
    with running_platform() as platform:
        launched = Launched(root, platform, authentication=ways)
        settings = json.loads((root / "site.yaml").read_text())
        house = {"method": "oidc", "issuer": provider.url, "client_id": "courses", "client_secret": "file:password"}
        settings["login"]["house"] = {**house, "title": "House account"}
        (root / "site.yaml").write_text(json.dumps(settings))
        launched.site.start()
        try:
            yield launched
        finally:
            launched.site.stop()


def somebody(site: RunningSite, role: str = "student") -> Invited:
    """Somebody new with an account of the course's own, signed in."""
    number = next(_NUMBERS)
    file, links = (site.folder.root / f"{what}{number}.csv" for what in ("people", "links"))
    file.write_text(f"name,role\nsam{number},{role}\n")
    site.cli("course", "members", "alpha", "import", str(file), "--links", str(links))
    with links.open(encoding="utf-8-sig", newline="") as stream:
        (row,) = csv.DictReader(stream)
    person = Invited(site, "alpha", row["name"])
    person.choose(row["link"])
    assert person.login().status_code == 200
    return person


def step(person: Invited, action: str, **fields: str) -> requests.Response:
    return person.form("logins", {"action": action, **fields})


def logins(person: Invited) -> requests.Response:
    return person.session.get(f"{person.base}hub/logins", timeout=30)


def told(page: requests.Response) -> str:
    found = re.search(r'id="link-(?:error|done)"[^>]*>(.*?)</p>', page.text, re.DOTALL)
    return unescape(found[1]).strip() if found else ""


def launch(alpha: Launched, session: requests.Session, user: str, roles: str = "Learner") -> requests.Response:
    """A launch, and the page that follows it when somebody is signed in already."""
    answer = alpha.launch11(session, alpha.platform.form(alpha.lti("launch"), user, roles))
    if answer.status_code == 200:
        answer = session.post(alpha.lti("open"), hidden(answer), timeout=30, allow_redirects=False)
    return answer


def test_an_account_and_a_launch(alpha: Launched) -> None:
    sam, at_platform = somebody(alpha.site), f"p{next(_NUMBERS)}"
    elsewhere = visitor()
    launch(alpha, elsewhere, at_platform, "Instructor")
    former = alpha.who(elsewhere)
    assert former.startswith("lti-") and alpha.groups()[former] == ["instructor"]
    page = logins(sam)
    assert page.status_code == 200 and re.findall(r'name="way" value="([^"]+)"', page.text) == ["house", "old"]

    # Not asked for: the launch asks who it is to be, and links nothing.
    asked = launch(alpha, sam.session, at_platform, "Instructor")
    assert asked.status_code == 200 and "Somebody else is signed in" in asked.text

    assert "go to your course there and press its link" in step(sam, "begin", way="old").text
    proved = launch(alpha, sam.session, at_platform, "Instructor")
    assert proved.status_code == 303 and proved.headers["Location"].endswith("/hub/logins")
    page = logins(sam)
    assert "Link these two logins?" in page.text and f"Files that you have as {former}" in page.text
    assert alpha.groups()[sam.name] == ["student"], "nothing is linked before the second yes"
    assert told(step(sam, "link")) == "Both logins lead to your account now."

    assert alpha.groups()[sam.name] == ["instructor"]
    assert alpha.who(elsewhere) == "", "what was held as the former user has ended"
    window = visitor()
    assert launch(alpha, window, at_platform, "Learner").status_code == 303
    assert alpha.who(window) == sam.name and alpha.groups()[sam.name] == ["student"]

    # In the course's log, without what is no name.
    def in_log() -> bool:
        events = map(json.loads, alpha.site.cli("course", "audit", "alpha", "--json").stdout.splitlines())
        return any(each["action"] == "linked" and each["person"] == sam.name for each in events)

    eventually(in_log, 20)

    assert told(step(sam, "unlink", way="old")) == "That login leads to an account of its own again."
    window = visitor()
    launch(alpha, window, at_platform, "Instructor")
    assert alpha.who(window) == former and alpha.groups()[sam.name] == ["student"]


def test_a_launch_and_an_account_and_a_provider(alpha: Launched, provider: Provider) -> None:
    """Begun from the platform; a password and a button follow."""
    sam = somebody(alpha.site, "assistant")
    kim = Invited(alpha.site, "alpha", "")
    launch(alpha, kim.session, f"p{next(_NUMBERS)}")
    kim.name = alpha.who(kim.session)
    logins(kim)  # for its cookie against forged requests
    assert 'name="password"' in step(kim, "begin", way="accounts").text
    wrong = step(kim, "prove", username=sam.name, password="not the password")
    assert (wrong.status_code, told(wrong)) == (403, "The name or the password was wrong.")
    asked = step(kim, "prove", username=sam.name, password=sam.password)
    assert asked.status_code == 200 and f"with the name {sam.name} is yours too" in asked.text
    assert told(step(kim, "forget")) == "Nothing was linked."
    assert told(step(kim, "link")).startswith("That took too long"), "no is no"
    step(kim, "begin", way="accounts")
    step(kim, "prove", username=sam.name, password=sam.password)
    assert told(step(kim, "link")) == "Both logins lead to your account now."
    again = Invited(alpha.site, "alpha", sam.name)
    assert again.login().status_code == 200 and alpha.who(again.session) == kim.name
    assert alpha.groups()[kim.name] == ["assistant"]

    sub = f"h{next(_NUMBERS)}"
    provider.set_user(sub, preferred_username=sub, groups=["python"])
    at_provider = step(kim, "begin", way="house")
    back = kim.session.get(provider.consent(at_provider, sub), timeout=30)
    assert back.url.endswith("/hub/logins") and "Link these two logins?" in back.text
    assert told(step(kim, "link")) == "Both logins lead to your account now."
    browser = Invited(alpha.site, "alpha", "")
    begun = browser.session.get(f"{browser.base}hub/login/house?next=/courses/alpha/hub/home", timeout=30)
    assert browser.session.get(provider.consent(begun, sub), timeout=30).status_code == 200
    assert alpha.who(browser.session) == kim.name and alpha.groups()[kim.name] == ["assistant"]


def test_what_was_proved_is_for_who_asked(alpha: Launched) -> None:
    sam, eve = somebody(alpha.site), somebody(alpha.site)
    at_platform = f"p{next(_NUMBERS)}"
    step(sam, "begin", way="old")
    launch(alpha, sam.session, at_platform)
    # Another's browser with the same cookies of the link, as if they had been carried over.
    for cookie in sam.session.cookies:
        if cookie.name.startswith("courseware-link-"):
            eve.session.cookies.set_cookie(cookie)
    assert "Link these two logins?" not in logins(eve).text
    assert told(step(eve, "link")).startswith("That took too long")
    # A forged form of another site has no token.
    forged = sam.session.post(f"{sam.base}hub/logins", data={"action": "link"}, timeout=30)
    assert forged.status_code == 403 and alpha.who(sam.session) == sam.name
    window = visitor()
    launch(alpha, window, at_platform)
    assert alpha.who(window).startswith("lti-"), "nothing was linked"
    for action, way in (("begin", "accounts"), ("begin", "dummy"), ("begin", "nothing"), ("unlink", "old"), ("x", "")):
        answer = step(sam, action, way=way)
        assert (answer.status_code, bool(told(answer))) == (400, True), action
    assert requests.get(f"{sam.base}hub/logins", timeout=30).url.split("?")[0].endswith("/hub/login")
