"""What an import would change, and who may change whom."""

from __future__ import annotations

import pytest

from coursewareauthenticator.accounts import plan
from coursewareauthenticator.accounts.people import Account, Person, State
from coursewareauthenticator.accounts.plan import Change, may_manage, plan_import
from coursewareauthenticator.accounts.roster import Entry
from coursewarehub.model.roles import Role

SAM = Person("sam", "Sam", "sam@example.org", Role.STUDENT, ("A",))
KIM = Person("kim")


def account(person: Person, state: State = State.ACTIVE) -> Account:
    return Account(person, state, 0)


def nobody(_: str) -> None:
    return None


def test_what_a_roster_does_not_say_stays() -> None:
    made = plan_import(
        [Entry(2, "sam"), Entry(3, "kim", display="Kim"), Entry(4, "new", role=Role.OBSERVER)],
        [account(SAM), account(KIM), account(Person("old"))],
        nobody,
        None,
    )
    assert made.same == 1
    assert made.change == (Change(KIM, Person("kim", "Kim")),)
    assert made.add == (Person("new", role=Role.OBSERVER),)
    assert [note.template for note in made.notes] == [plan.NOT_IN_FILE]
    assert made.write is not None and made.write.change == [Person("kim", "Kim")]


def test_the_courses_file_wins_and_that_is_said() -> None:
    made = plan_import(
        [Entry(2, "ada", role=Role.STUDENT), Entry(3, "eve")], [], {"ada": Role.OWNER, "eve": Role.OWNER}.get, None
    )
    assert [str(note) for note in made.notes] == [
        "ada is owner by the list in the course’s file, which wins over student."
    ]
    assert [person.name for person in made.add] == ["ada", "eve"]


def test_a_disabled_account_stays_so() -> None:
    made = plan_import([Entry(2, "sam", display="S")], [account(SAM, State.DISABLED)], nobody, None)
    assert [note.template for note in made.notes] == [plan.STAYS_DISABLED]


@pytest.mark.parametrize(
    ("actor", "roles"),
    [
        (None, list(Role)),
        (Role.OWNER, list(Role)),
        (Role.INSTRUCTOR, [Role.ASSISTANT, Role.STUDENT, Role.OBSERVER]),
        (Role.ASSISTANT, []),
        (Role.STUDENT, []),
        (Role.OBSERVER, []),
    ],
)
def test_who_may_manage_whom(actor: Role | None, roles: list[Role]) -> None:
    assert [role for role in Role if may_manage(actor, role)] == roles
    assert may_manage(actor, None, Role.OBSERVER) is (Role.OBSERVER in roles)


@pytest.mark.parametrize(
    ("entry", "known", "listed"),
    [
        (Entry(2, "eve", role=Role.OWNER), [], {}),
        (Entry(2, "eve", role=Role.STUDENT), [account(Person("eve", role=Role.INSTRUCTOR))], {}),
        (Entry(2, "eve", role=Role.STUDENT), [], {"eve": Role.OWNER}),
        (Entry(2, "eve", display="x"), [account(Person("eve"))], {"eve": Role.INSTRUCTOR}),
    ],
)
def test_an_instructor_makes_nobody_their_equal(entry: Entry, known: list[Account], listed: dict[str, Role]) -> None:
    made = plan_import([entry, Entry(3, "sam")], known, listed.get, Role.INSTRUCTOR)
    assert [(mistake.line, mistake.sentence.template) for mistake in made.mistakes] == [(2, plan.ABOVE)]
    assert made.write is None
    assert plan_import([entry], known, listed.get, Role.OWNER).mistakes == ()
