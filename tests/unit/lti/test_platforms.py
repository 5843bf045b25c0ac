"""A course's platforms: roles, accounts, contexts, as tables."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from coursewareauthenticator.lti.launch import Context, Former, Launch, LaunchRefused, Message, Once
from coursewareauthenticator.lti.platforms import Platforms, arrival_of, check_context, platforms_of
from coursewarehub.model import Course, Role, Site
from coursewarehub.model.access import account_name

MOODLE = {
    "method": "lti13",
    "issuer": "https://moodle.example.org",
    "client_id": "c1",
    "auth_url": "https://login.example.org/auth",
    "jwks_url": "https://moodle.example.org/jwks",
    "formerly": "old",
    "anonymous": True,
    "origins": ["https://apps.example.org"],
}
OLD = {"method": "lti11", "url": "https://old.example.org", "key": "k", "secret": "file:s", "former_secret": "file:t"}
SECRETS = {"file:s": SecretStr("new"), "file:t": SecretStr("old")}
LAUNCH = Launch(
    version="1.3",
    message=Message.RESOURCE_LINK,
    registration="lti13:https://moodle.example.org c1",
    subject="7",
    once=Once("o", "n", 0),
    roles=("http://purl.imsglobal.org/vocab/lis/v2/membership#Instructor",),
    deployment="4",
    context=Context("course-1", title="Python"),
)


def made(*logins: dict[str, Any], **login: Any) -> tuple[Course, Platforms]:
    site = Site.model_validate_json(json.dumps({"login": {"moodle": MOODLE, "old": OLD, **login}}), strict=True)
    chosen = list(logins) or [{"method": "lti13", "use": "moodle"}]
    course = Course.model_validate_json(json.dumps({"id": "demo", "title": "D", "authentication": chosen}), strict=True)
    return course, platforms_of(course.logins, site.login, SECRETS)


def test_what_the_files_say_is_what_launches_are_checked_with() -> None:
    _, platforms = made({"method": "lti13", "use": "moodle", "contexts": ["a"]}, {"method": "lti11", "use": "old"})
    moodle, old = platforms.all
    assert moodle.known.contexts == {"a"} and moodle.known.guests and moodle.former["k"].secrets == ("new", "old")
    assert old.known.contexts is None and not old.known.guests and platforms.window("k") == 300
    assert platforms.window("unknown") == 0 and set(platforms.consumers) == {"k"}
    assert platforms.origins == {
        "https://moodle.example.org", "https://login.example.org", "https://apps.example.org",
        "https://old.example.org",
    }  # fmt: skip


def test_a_course_has_its_own_word_about_roles() -> None:
    _, platforms = made({"method": "lti13", "use": "moodle", "roles": {"observers": ["Instructor"]}})
    assert platforms.all[0].roles(LAUNCH) is Role.OBSERVER
    _, platforms = made()
    assert platforms.all[0].roles(LAUNCH) is Role.INSTRUCTOR
    assert platforms.all[0].roles(replace(LAUNCH, subject=None)) is Role.STUDENT


def test_l13_17_one_account_for_each_person_of_each_platform() -> None:
    course, platforms = made()
    first = arrival_of(platforms, LAUNCH)
    assert first.username == first.identity.subject and first.groups == {"instructor"}
    assert first.identity.registration == "moodle" and account_name(course, first) == first.username
    assert arrival_of(platforms, replace(LAUNCH, roles=())).identity == first.identity
    assert arrival_of(platforms, replace(LAUNCH, subject="8")).identity != first.identity
    guests = [arrival_of(platforms, replace(LAUNCH, subject=None, once=Once("o", n, 0))).username for n in "ab"]
    assert len({first.username, *guests}) == 3


def test_l13_19_who_was_known_before_stays_the_same() -> None:
    former = replace(LAUNCH, former=Former("lti11:k", "42"))
    before = replace(LAUNCH, registration="lti11:k", subject="42")
    _, both = made({"method": "lti13", "use": "moodle"}, {"method": "lti11", "use": "old"})
    assert arrival_of(both, former).identity == arrival_of(both, before).identity
    _, later = made()  # the old way is gone: the same name, under the new identity
    assert arrival_of(later, former).username == arrival_of(both, before).username
    assert arrival_of(later, former).identity.registration == "moodle"


def test_names_of_launches_are_nobody_elses() -> None:
    logins = [{"method": "dummy"}, {"method": "lti13", "use": "moodle"}]
    course, platforms = made(*logins)
    launched = arrival_of(platforms, LAUNCH)
    assert account_name(course, launched) == launched.username
    chosen = replace(launched, identity=replace(launched.identity, registration="dummy"))
    with pytest.raises(ValueError, match="learning platform"):
        account_name(course, chosen)


STUDENT = ("Learner",)


@pytest.mark.parametrize(
    ("contexts", "changes", "claimed", "answer"),
    [
        ("any", {}, None, False),
        ("any", {"context": None}, None, False),
        (["course-1"], {}, None, False),
        (None, {}, None, True),
        (None, {"roles": STUDENT}, None, "not connected with yours yet"),
        (None, {}, ("4", "course-1"), False),
        (None, {"roles": STUDENT}, ("4", "course-1"), False),
        (None, {}, ("4", "course-2"), "add course-1 to `contexts`"),
        (None, {}, ("5", "course-1"), "belongs to another course"),
        (None, {"context": None}, ("4", "course-1"), "from which course"),
        (None, {"context": None}, None, "from which course"),
    ],
)
def test_l13_12_b08_contexts(contexts: Any, changes: Any, claimed: Any, answer: Any) -> None:
    _, platforms = made({"method": "lti13", "use": "moodle", **({} if contexts is None else {"contexts": contexts})})
    launch = replace(LAUNCH, **changes)
    if isinstance(answer, bool):
        assert check_context(platforms.all[0], launch, claimed) is answer
        return
    with pytest.raises(LaunchRefused, match=answer) as caught:
        check_context(platforms.all[0], launch, claimed)
    assert caught.value.status == 403
