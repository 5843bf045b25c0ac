"""Who may enter by which login: the list of members, groups, everybody, in this order, for each method alone (A35)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from coursewarehub.model import Arrival, Course, Decision, Identity, Reason, Role, account_name, decide
from coursewarehub.model.access import group_mark, union

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LDAP = {
    "method": "ldap",
    "roles": {"owners": ["deans"], "instructors": ["Staff"], "students": ["python", "cn=python,dc=x"]},
}
GITHUB = {"method": "github", "everyone": "observer"}
DUMMY = {"method": "dummy", "self_chosen_names": True}
MEMBERS = {"assistants": ["ada"], "students": ["bob"]}


def course(authentication: Any, **changes: Any) -> Course:
    values = {"id": "demo", "title": "Demo", "state": "open", "members": MEMBERS, "authentication": authentication}
    return Course.model_validate({**values, **changes})


def by(registration: str, *groups: str, username: str = "x") -> Arrival:
    return Arrival(Identity(registration, "s"), username, frozenset(groups))


@pytest.mark.parametrize(
    ("authentication", "name", "arrival", "role", "reason"),
    [
        (LDAP, "ada", by("ldap"), Role.ASSISTANT, Reason.MEMBER),
        (LDAP, "ada", by("ldap", "deans"), Role.ASSISTANT, Reason.MEMBER),
        (LDAP, "kim", by("ldap", "deans", "staff"), Role.OWNER, Reason.GROUP),
        (LDAP, "kim", by("ldap", "STAFF", "python"), Role.INSTRUCTOR, Reason.GROUP),
        (LDAP, "kim", by("ldap", "CN=Python,DC=x"), Role.STUDENT, Reason.GROUP),
        (LDAP, "kim", by("ldap", "pythons"), None, Reason.NOT_A_MEMBER),
        (LDAP, "kim", by("ldap"), None, Reason.NOT_A_MEMBER),
        (LDAP, "kim", None, None, Reason.NOT_A_MEMBER),
        (LDAP, "ada", None, Role.ASSISTANT, Reason.MEMBER),
        (LDAP, "ada", by("github", "deans"), None, Reason.OTHERWISE),
        (LDAP, "ada", by("dummy"), None, Reason.OTHERWISE),
        (GITHUB, "kim", by("github", "deans"), Role.OBSERVER, Reason.EVERYONE),
        ([LDAP, GITHUB], "kim", by("ldap"), None, Reason.NOT_A_MEMBER),
        ([LDAP, GITHUB], "github:kim", by("github", "deans"), Role.OBSERVER, Reason.EVERYONE),
        ([LDAP, DUMMY], "dummy:kim", by("dummy"), Role.STUDENT, Reason.STRANGER),
        ([LDAP, DUMMY], "kim", by("ldap"), None, Reason.NOT_A_MEMBER),
        ([LDAP, {"method": "dummy"}], "dummy:kim", by("dummy", "deans"), None, Reason.NOT_A_MEMBER),
        (DUMMY, "kim", by("dummy"), Role.STUDENT, Reason.STRANGER),
        (DUMMY, "kim", None, Role.STUDENT, Reason.STRANGER),
        (LDAP, "a/b", by("ldap", "deans"), None, Reason.INVALID_NAME),
    ],
)
def test_a35_role(authentication: Any, name: str, arrival: Arrival | None, role: Role | None, reason: Reason) -> None:
    assert decide(course(authentication), name, now=NOW, arrival=arrival) == Decision(role is not None, role, reason)


@pytest.mark.parametrize(
    ("state", "group", "role", "reason"),
    [
        ("draft", "staff", Role.INSTRUCTOR, None),
        ("draft", "python", Role.STUDENT, Reason.DRAFT),
        ("closed", "python", Role.STUDENT, Reason.CLOSED),
        ("archived", "deans", None, Reason.ARCHIVED),
    ],
)
def test_state_counts_for_roles_by_group_too(state: str, group: str, role: Role | None, reason: Reason | None) -> None:
    answer = decide(course(LDAP, state=state), "kim", now=NOW, arrival=by("ldap", group))
    assert answer == Decision(reason is None, role, reason or Reason.GROUP)


@pytest.mark.parametrize(
    ("authentication", "arrival", "name"),
    [
        (LDAP, by("ldap", username=" Ada "), "ada"),
        ([LDAP, GITHUB], by("ldap", username="ada"), "ada"),
        ([LDAP, GITHUB], by("github", username="Ada"), "github:ada"),
        ([GITHUB, LDAP], by("github", username="ada"), "ada"),
        ([LDAP, {**GITHUB, "use": "house"}], by("house", username="ada"), "house:ada"),
        ([LDAP, GITHUB], by("ldap", username="other:ada"), "other:ada"),
        ([LDAP, GITHUB], by("ldap", username="github:ada"), None),
        ([LDAP, GITHUB], by("ldap", username=" GitHub:ada"), None),
        ([LDAP, GITHUB], by("google", username="ada"), None),
        (LDAP, by("ldap", username="a/b"), None),
        ([LDAP, GITHUB], by("github", username=""), None),
        ([LDAP, GITHUB], by("github", username="x" * 60), None),
    ],
)
def test_a35_names_of_two_methods_never_meet(authentication: Any, arrival: Arrival, name: str | None) -> None:
    made = course(authentication)
    if name is None:
        with pytest.raises(ValueError, match=r"\w"):
            account_name(made, arrival)
    else:
        assert account_name(made, arrival) == name


# --- several logins that a person has linked ----------------------------------------------------

NO = Decision(False, None, Reason.NOT_A_MEMBER)
ENDED = Decision(False, None, Reason.NO_ACCOUNT)
OWNER = Decision(True, Role.OWNER, Reason.MEMBER)
INSTRUCTOR = Decision(True, Role.INSTRUCTOR, Reason.LAUNCH)
STUDENT = Decision(True, Role.STUDENT, Reason.ACCOUNT, ("lab-a",))
OBSERVER = Decision(True, Role.OBSERVER, Reason.EVERYONE, ("lab-b",))
OVER = Decision(False, Role.STUDENT, Reason.OVER)
ARCHIVED = Decision(False, Role.OWNER, Reason.ARCHIVED)


@pytest.mark.parametrize(
    ("each", "together"),
    [
        ([STUDENT], STUDENT),
        ([STUDENT, INSTRUCTOR], Decision(True, Role.INSTRUCTOR, Reason.LAUNCH, ("lab-a",))),
        ([INSTRUCTOR, STUDENT], Decision(True, Role.INSTRUCTOR, Reason.LAUNCH, ("lab-a",))),
        ([OWNER, INSTRUCTOR, OBSERVER], Decision(True, Role.OWNER, Reason.MEMBER, ("lab-b",))),
        ([STUDENT, OBSERVER], Decision(True, Role.STUDENT, Reason.ACCOUNT, ("lab-a", "lab-b"))),
        # A login that gives nothing takes nothing.
        ([NO, STUDENT], STUDENT),
        ([STUDENT, NO], STUDENT),
        ([ENDED, INSTRUCTOR], INSTRUCTOR),
        ([OVER, INSTRUCTOR], INSTRUCTOR),
        ([OVER, OBSERVER], OBSERVER),
        # And nothing becomes something.
        ([NO, ENDED], NO),
        ([ENDED, NO], ENDED),
        ([NO, OVER], OVER),
        ([OVER, NO], OVER),
        ([OVER, ARCHIVED], ARCHIVED),
    ],
)
def test_linked_logins_give_what_any_of_them_gives(each: list[Decision], together: Decision) -> None:
    assert union(each) == together


@pytest.mark.parametrize("state", ["draft", "open", "closed", "archived"])
def test_no_union_is_more_than_its_best(state: str) -> None:
    """Over whole decisions: linking gives nobody a right that none of the two logins gives."""
    made = course([LDAP, GITHUB], state=state)
    logins = [("ada", by("ldap")), ("kim", by("ldap", "deans")), ("kim", by("ldap", "python")), ("kim", by("ldap")),
              ("github:kim", by("github")), ("x", by("oidc"))]  # fmt: skip
    decisions = [decide(made, name, now=NOW, arrival=arrival) for name, arrival in logins]
    for first in decisions:
        for second in decisions:
            both = union([first, second])
            assert both.allowed == (first.allowed or second.allowed)
            assert both.role in {first.role, second.role} and both.reason in {first.reason, second.reason}
            if both.allowed:
                able = [each.role for each in (first, second) if each.allowed and each.role is not None]
                assert both.role == min(able, key=list(Role).index)


# --- groups of the course's own accounts ---------------------------------------------------------

OWN = {"method": "accounts"}
LABS = {"groups": {"lab-a": {"mem_limit": "1G"}, "lab b": {}, "Owner": {}, "student": {"mem_limit": "1G"}}}


@pytest.mark.parametrize(
    ("groups", "found"),
    [
        ([], ()),
        (["lab-a"], ("lab-a",)),
        (["lab b", "lab-a", "chess"], ("lab b", "lab-a")),
        (["LAB-A"], ()),
        # What is called as a role is none, whatever the roster and the file say.
        (["owner", "Owner", "OWNER", "instructor", " owner "], ()),
    ],
)
def test_groups_of_accounts_are_those_that_the_course_names(groups: list[str], found: tuple[str, ...]) -> None:
    marked = (group_mark(group) for group in groups)
    decision = decide(course(OWN, resources=LABS), "kim", now=NOW, arrival=by("accounts", "student", *marked))
    assert decision == Decision(True, Role.STUDENT, Reason.ACCOUNT, found)
    # Another login's groups are only what `roles` makes of them.
    other = decide(course([LDAP, OWN], resources=LABS), "kim", now=NOW, arrival=by("ldap", "staff", *marked, *groups))
    assert other == Decision(True, Role.INSTRUCTOR, Reason.GROUP)


def test_a12_no_group_of_an_account_is_a_role() -> None:
    arrival = by("accounts", group_mark("owner"), group_mark("instructor"))
    assert decide(course(OWN), "kim", now=NOW, arrival=arrival) == Decision(False, None, Reason.NO_ACCOUNT)
