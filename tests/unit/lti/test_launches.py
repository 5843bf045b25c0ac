"""What launches leave in the database: one context a registration, one row a person and link."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from coursewareauthenticator.lti.launch import (
    Context,
    Grades,
    Launch,
    LaunchRefused,
    Message,
    Once,
    Outcomes,
    Person,
    ResourceLink,
    Roster,
    Services,
)
from coursewareauthenticator.lti.launches import LaunchStore

SERVICES = Services(
    Outcomes("https://lms.example.org/o?a=1", '{"data":"x:y"}\u00e9'),
    Grades(frozenset({"score", "lineitem"}), "https://lms.example.org/items", None),
    Roster("https://lms.example.org/people", ("2.0",)),
)
LAUNCH = Launch(
    version="1.3",
    message=Message.RESOURCE_LINK,
    registration="lti13:https://lms.example.org c1",
    subject="7",
    once=Once("o", "n", 0),
    deployment="4",
    context=Context("course-1", title="Python"),
    resource_link=ResourceLink("link-1"),
    services=SERVICES,
    person=Person("Ada Lovelace", "Ada", "Lovelace", "ada@example.org"),
)


@pytest.fixture
def store(tmp_path: Path) -> LaunchStore:
    made = LaunchStore(create_engine(f"sqlite:///{tmp_path / 'hub.sqlite'}"))
    made.create()
    made.create()
    return made


def test_l11_15_the_last_launch_of_each_link_is_kept(store: LaunchStore) -> None:
    store.remember(replace(LAUNCH, services=Services()), "moodle", "lti-a", "student")
    store.remember(LAUNCH, "moodle", "lti-a", "assistant")
    store.remember(replace(LAUNCH, resource_link=ResourceLink("link-2")), "moodle", "lti-a", "student")
    store.remember(LAUNCH, "moodle", "lti-b", "student")
    (kept,) = (link for link in store.links(name="lti-a") if link.resource_link == "link-1")
    assert (kept.services, kept.person, kept.role) == (SERVICES, LAUNCH.person, "assistant")
    assert (kept.subject, kept.deployment, kept.context, kept.platform) == ("7", "4", "course-1", "moodle")
    assert {link.name for link in store.links(resource_link="link-1")} == {"lti-a", "lti-b"}
    assert len(list(store.links())) == 3


def test_a_launch_without_link_context_or_person_is_kept_as_well(store: LaunchStore) -> None:
    bare = replace(LAUNCH, context=None, resource_link=None, subject=None, deployment=None, person=Person())
    store.remember(bare, "moodle", "lti-g", "observer")
    (kept,) = store.links(name="lti-g")
    assert (kept.context, kept.resource_link, kept.subject, kept.person) == ("", "", "", Person())


def test_of_many_who_are_first_one_connects(store: LaunchStore) -> None:
    answers: list[tuple[str, str]] = []

    def claim(number: int) -> None:
        answers.append(store.claim(replace(LAUNCH, context=Context(f"course-{number}")), "lti-a"))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(answers) == 8 and set(answers) == {store.claimed(LAUNCH.registration)}
    assert store.claimed("lti11:other") is None


def test_a_database_that_is_away_is_one_sentence(store: LaunchStore) -> None:
    with store._engine.begin() as connection:
        connection.execute(text("drop table courseware_lti_links"))
    with pytest.raises(LaunchRefused, match="database does not answer") as caught:
        store.remember(LAUNCH, "moodle", "lti-a", "student")
    assert caught.value.status == 503 and "Lovelace" not in str(caught.value)
