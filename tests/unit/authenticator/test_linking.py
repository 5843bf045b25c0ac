"""Two logins of one person, linked: one user, what any of them gives, and nothing that was not proved and asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from support.models import a_course
from tornado.web import HTTPError

from coursewareauthenticator.dummy import WorkshopMethod
from coursewareauthenticator.identities import IdentityBook, NameTakenError
from coursewareauthenticator.linking import choices
from coursewareauthenticator.login import ARRIVAL, CoursewareLogin
from coursewareauthenticator.methods import LINKED_ALREADY, NOT_LINKABLE, ONE_OF_EACH
from coursewarehub.model import Arrival, Identity, Reason, Role
from coursewarehub.wire.audit import Event

from .test_login import Directory, a_login, enter

COURSE = a_course(
    authentication=[
        {"method": "ldap", "roles": {"instructors": ["staff"], "students": ["python"]}},
        {"method": "dummy", "self_chosen_names": True},
        {"method": "github", "everyone": "observer"},
        {"method": "gitlab", "roles": {"assistants": ["helpers"]}},
    ],
    members={"instructors": ["github:grace"]},
)
KIM = Arrival(Identity("github", "1"), "kim")


def at_gitlab(*groups: str, subject: str = "9") -> Arrival:
    return Arrival(Identity("gitlab", subject), "kim9", frozenset(groups))


def logins(book: IdentityBook | None = None) -> tuple[CoursewareLogin, Directory, list[Event]]:
    directory = Directory(sam=("s", "s-sam", {"python"}), eve=("e", "s-eve", {"python"}))
    others = [SimpleNamespace(name="github"), SimpleNamespace(name="gitlab")]
    by = a_login(COURSE, directory, WorkshopMethod(SecretStr("x")), *others, book=book)
    told: list[Event] = []
    by.audit = told.append
    enter(by, username="sam", password="s")
    told.clear()
    return by, directory, told


def link(by: CoursewareLogin, name: str, arrival: Arrival) -> None:
    asyncio.run(by.link(name, arrival, "192.0.2.1"))


def refusal(by: CoursewareLogin, name: str, arrival: Arrival) -> tuple[int, str]:
    with pytest.raises(HTTPError) as error:
        link(by, name, arrival)
    return error.value.status_code, str(error.value.log_message)


def model(by: CoursewareLogin, arrival: Arrival) -> tuple[str, list[str]]:
    found: Any = enter(by, **{ARRIVAL: arrival})
    return found["name"], found["groups"]


def test_both_lead_to_the_same_user_with_the_better_role() -> None:
    by, _, told = logins()
    assert model(by, KIM) == ("github:kim", ["observer"])
    link(by, "sam", KIM)
    assert [(each.action, dict(each.data)) for each in told[1:]] == [
        ("linked", {"action": "linked", "person": "sam", "method": "github", "address": "192.0.2.1"})
    ]
    assert model(by, KIM) == ("sam", ["student"])
    assert enter(by, username="sam", password="s")["groups"] == ["student"]
    link(by, "sam", at_gitlab("helpers"))
    assert by.verdict("sam").role is Role.ASSISTANT
    assert model(by, KIM) == ("sam", ["assistant"]), "whichever login is used"
    # What a login says anew counts at once, and what another says stays.
    assert model(by, at_gitlab()) == ("sam", ["student"])
    assert choices(by, "sam") == ("ldap", ("github", "gitlab"), ())


def test_the_list_of_members_counts_for_either_name() -> None:
    by, _, _ = logins()
    link(by, "sam", Arrival(Identity("github", "7"), "grace"))
    assert by.verdict("sam").role is Role.INSTRUCTOR


def test_the_former_user_is_nobodys_until_the_link_ends() -> None:
    by, _, told = logins()
    assert model(by, KIM)[0] == "github:kim"
    link(by, "sam", KIM)
    former = by.verdict("github:kim")
    assert (former.allowed, former.role, former.reason) == (False, None, Reason.LINKED)
    assert asyncio.run(by.refresh_user(SimpleNamespace(name="github:kim", groups=[]))) is False
    told.clear()
    assert asyncio.run(by.unlink("sam", "github", "192.0.2.1"))
    assert [each.action for each in told] == ["unlinked"]
    assert by.verdict("github:kim").role is Role.OBSERVER and by.verdict("sam").role is Role.STUDENT
    assert model(by, KIM) == ("github:kim", ["observer"])
    assert not asyncio.run(by.unlink("sam", "github"))


def test_what_cannot_be_linked() -> None:
    by, directory, _ = logins()
    enter(by, username="kay", password="x", method="dummy")
    guest = Arrival(Identity("dummy", "kay"), "kay")
    # A shared password proves nobody, on neither side.
    assert refusal(by, "sam", guest) == (409, NOT_LINKABLE)
    assert refusal(by, "dummy:kay", KIM) == (409, NOT_LINKABLE)
    assert refusal(by, "nobody", KIM) == (409, NOT_LINKABLE)
    assert refusal(by, "sam", Arrival(Identity("oidc", "1"), "x")) == (409, NOT_LINKABLE)
    # One login of each kind.
    assert refusal(by, "sam", Arrival(Identity("ldap", "s-eve"), "eve")) == (409, ONE_OF_EACH)
    link(by, "sam", KIM)
    assert refusal(by, "sam", Arrival(Identity("github", "2"), "other")) == (409, ONE_OF_EACH)
    # Nobody else's, and no chains.
    enter(by, username="eve", password="e")
    assert refusal(by, "eve", KIM) == (409, LINKED_ALREADY)
    assert refusal(by, "github:kim", at_gitlab("helpers")) == (409, NOT_LINKABLE)
    assert model(by, at_gitlab("helpers"))[0] == "gitlab:kim9"
    assert refusal(by, "gitlab:kim9", Arrival(Identity("ldap", "s-sam"), "sam")) == (409, LINKED_ALREADY)
    # Who may not come in that way brings nothing.
    by.identities.forget("gitlab:kim9")
    assert refusal(by, "sam", at_gitlab()) == (403, str(Reason.NOT_A_MEMBER))
    assert choices(by, "dummy:kay") == ("dummy", (), ())
    del directory


def test_a35_the_same_address_or_name_links_nothing() -> None:
    by, _, _ = logins()
    assert model(by, Arrival(Identity("github", "5"), "sam"))[0] == "github:sam"
    assert by.identities.linked("sam") == ()


def test_who_is_gone_by_one_login_stays_by_the_other() -> None:
    by, directory, _ = logins()
    link(by, "sam", KIM)
    user = SimpleNamespace(name="sam", groups=[])
    del directory.people["sam"]
    kept: Any = asyncio.run(by.refresh_user(user))
    assert kept["groups"] == ["observer"], "what the directory gave has ended"
    asyncio.run(by.unlink("sam", "github"))
    assert asyncio.run(by.refresh_user(user)) is False


def test_links_are_kept_and_end_with_the_user(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hub.sqlite"
    by, _, _ = logins(IdentityBook(url))
    link(by, "sam", KIM)
    again = IdentityBook(url)
    again.open()
    assert again.name_of(KIM.identity) == "sam" and again.linked("sam") == (KIM,)
    assert again.arrivals("github") == {"sam": KIM}
    again.enter(Arrival(KIM.identity, "kimberly", frozenset({"g"})), "ignored", ["ldap", "github"])
    with pytest.raises(NameTakenError):
        again.link(KIM, "eve")
    third = IdentityBook(url)
    third.open()
    assert third.linked("sam")[0].username == "kimberly"
    third.forget("sam")
    fourth = IdentityBook(url)
    fourth.open()
    assert fourth.linked("sam") == () and fourth.name_of(KIM.identity) is None


def test_a_name_that_is_taken_over_has_no_links() -> None:
    book = IdentityBook()
    book.enter(Arrival(Identity("old", "1"), "sam"), "sam", ["old"])
    book.link(KIM, "sam")
    assert book.enter(Arrival(Identity("ldap", "2"), "sam"), "sam", ["ldap", "github"]) == "sam"
    assert book.linked("sam") == () and book.name_of(KIM.identity) is None
