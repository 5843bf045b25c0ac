"""What a launch says of itself, read without believing it; hostile input is refused by name and costs nothing."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.lti import CLIENT, FORM_11, ISSUER, claims, token

from coursewareauthenticator.lti.login import Pending, seal
from coursewarehub.site.lti.asked import (
    Asked,
    Unreadable,
    asked_by_form,
    asked_by_login,
    asked_by_state,
    asked_by_token,
    pairs,
)

LAUNCH = "https://hub.example.org/lti/launch"


def by_token(query: str = "", **changes: Any) -> Asked:
    return asked_by_token([("id_token", token(claims(**changes)))], pairs(query.encode()))


def test_a_form_of_lti_11() -> None:
    form = [*FORM_11.items(), ("oauth_consumer_key", "moodle")]
    asked = asked_by_form(form)
    assert asked == Asked(key="moodle", context="course-1", teaches=True, title="Python for all")
    assert (asked.method, asked.platform) == ("lti11", "moodle")
    assert asked_by_form([("oauth_consumer_key", "k"), ("roles", "Learner")]).teaches is False


@pytest.mark.parametrize(
    ("fields", "query", "course", "server"),
    [
        ({"custom_course": "python"}, "", "python", None),
        ({"custom_course": "python"}, "course=other", "python", None),
        ({}, "course=python", "python", None),
        ({}, "custom_course=python&custom_course=b", "python", None),
        ({"custom_course_server": "python"}, "", None, "python"),
        ({"custom_course_server": "Not an id"}, "", None, "Not an id"),
        ({"custom_course": ""}, "", None, None),
    ],
)
def test_a_form_names_its_course(fields: dict[str, str], query: str, course: str | None, server: str | None) -> None:
    asked = asked_by_form([("oauth_consumer_key", "k"), *fields.items()], pairs(query.encode()))
    assert (asked.course, asked.server) == (course, server)


@pytest.mark.parametrize("form", [[], [("oauth_consumer_key", "")], [("OAUTH_CONSUMER_KEY", "k")]])
def test_a_form_without_a_key(form: list[tuple[str, str]]) -> None:
    with pytest.raises(Unreadable, match="oauth_consumer_key"):
        asked_by_form(form)


def test_the_beginning_of_a_login() -> None:
    said = {"iss": ISSUER, "client_id": CLIENT, "login_hint": "x", "target_link_uri": LAUNCH}
    assert asked_by_login(list(said.items())) == Asked(issuer=ISSUER, clients=(CLIENT,))
    assert asked_by_login([("iss", ISSUER)]) == Asked(issuer=ISSUER)
    for target, course in (
        ("https://hub.example.org/courses/python/hub/lti/launch", "python"),
        ("https://hub.example.org/courses/python/hub/user-redirect/lab", "python"),
        (f"{LAUNCH}?course=python&x=1", "python"),
        (f"{LAUNCH}?custom_course=python", "python"),
        ("https://hub.example.org/courses/", None),
        ("https://hub.example.org/courses/..%2f/x", None),
        ("https://[hub.example.org/courses/python", None),
        ("", None),
    ):
        assert asked_by_login(list((said | {"target_link_uri": target}).items())).course == course, target
    with pytest.raises(Unreadable, match="iss"):
        asked_by_login([("issuer", ISSUER)])


def test_the_end_of_a_login() -> None:
    asked = by_token(target_link_uri=LAUNCH)
    assert asked == Asked(issuer=ISSUER, clients=(CLIENT,), context="course-1", title="Python for all")
    assert by_token().course == "python"  # the signed address of the emulator's launch
    assert by_token(target_link_uri=LAUNCH, custom={"course": "b"}).course == "b"
    assert by_token(target_link_uri=f"{LAUNCH}?course=c").course == "c"
    assert by_token("course=d", target_link_uri=LAUNCH).course == "d"
    assert by_token("course=d", target_link_uri=LAUNCH, custom={"course": "b"}).course == "b"
    assert by_token(target_link_uri=LAUNCH, custom={"course_server": "e"}).server == "e"
    assert by_token(aud=["other", CLIENT], azp=CLIENT).clients == (CLIENT, "other")
    membership = "http://purl.imsglobal.org/vocab/lis/v2/membership"
    assert by_token(roles=[f"{membership}#Instructor"]).teaches
    assert by_token(roles=[f"{membership}/Instructor#TeachingAssistant"]).teaches
    assert by_token(roles=["Instructor"]).teaches
    assert not by_token(roles=[f"{membership}#Learner"]).teaches


@pytest.mark.parametrize("wrong", [None, 7, [], {}, "", [7], {"id": 7}, {"id": ""}, {"title": 7, "label": []}, True])
@pytest.mark.parametrize("name", ["context", "custom", "target_link_uri", "roles", "aud", "azp"])
def test_a_claim_of_another_type_is_not_there(name: str, wrong: Any) -> None:
    asked = by_token(**{name: wrong})
    assert asked.issuer == ISSUER
    assert all(isinstance(client, str) for client in asked.clients)
    assert asked.context in {None, "course-1"}


@pytest.mark.parametrize(
    "text",
    ["", "x", "a.b", "a.b.c", "a.!.c", f"a.{base64.urlsafe_b64encode(b'[1]').decode()}.c", "é.é.é", "...", "a.e30.c"]
    + [f"a.{base64.urlsafe_b64encode(raw).decode()}.c" for raw in (b"[" * 40_000, b'{"iss": 7}', b"nul", b"\xff")],
)
def test_no_token_to_read(text: str) -> None:
    with pytest.raises(Unreadable, match="id_token"):
        asked_by_token([("id_token", text)])


def test_where_a_login_began_by_its_state() -> None:
    state = seal(Pending(ISSUER, CLIENT, "n", 1, "b", "python"), b"secret")
    assert asked_by_state([("error", "x"), ("state", state)]) == Asked(issuer=ISSUER, clients=(CLIENT,))
    for wrong in ("", "x", "e30.x", "W10.x", "WzFd.x", "WzEsMl0.x", "é", base64.b64encode(b"[" * 9999).decode()):
        with pytest.raises(Unreadable):
            asked_by_state([("state", wrong)])


def test_too_many_parameters() -> None:
    assert len(pairs(b"&".join([b"a=1"] * 1000))) == 1000
    with pytest.raises(Unreadable, match="parameters"):
        pairs(b"&".join([b"a=1"] * 1001))


def test_blanks_and_duplicates_stay() -> None:
    assert pairs(b"a=&b=1&a=2&c") == [("a", ""), ("b", "1"), ("a", "2"), ("c", "")]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@given(st.binary(max_size=300), st.dictionaries(st.sampled_from(["iss", "aud", "azp", "x"]), anything), st.binary())
def test_a30_only_unreadable_is_raised(form: bytes, said: dict[str, Any], query: bytes) -> None:
    payload = base64.urlsafe_b64encode(json.dumps(said).encode()).decode()
    bodies = [pairs(form), pairs(urlencode({"id_token": f"a.{payload}.b", "state": payload}).encode())]
    for body in bodies:
        for read in (asked_by_form, asked_by_login, asked_by_token):
            try:
                asked = read(body, pairs(query))
            except Unreadable:
                continue
            assert asked.key or asked.issuer
        with contextlib.suppress(Unreadable):
            asked_by_state(body)
