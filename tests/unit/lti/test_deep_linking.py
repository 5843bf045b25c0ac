"""Choosing content: who may, what the platform takes, and the answer it gets."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support.lti import CLIENT, DEPLOYMENT, ISSUER, MEMBERSHIP, NOW, claims, key_set, token

from coursewareauthenticator.lti import lti13
from coursewareauthenticator.lti.deep_linking import LIFETIME, Item, LineItem, Request, answer, page, read_request
from coursewareauthenticator.lti.keys import ToolKeys
from coursewareauthenticator.lti.launch import Launch, LaunchRefused
from coursewareauthenticator.lti.login import Pending
from coursewareauthenticator.lti.lti13 import Rules
from coursewareauthenticator.lti.registrations import Registration, Registrations
from coursewareauthenticator.lti.target import Host, resolve
from coursewareauthenticator.lti.tokens import read_key_set, verified_claims

DL = "https://purl.imsglobal.org/spec/lti-dl/claim/"
LTI = "https://purl.imsglobal.org/spec/lti/claim/"
MOODLE = Registration(ISSUER, CLIENT, f"{ISSUER}/auth", f"{ISSUER}/jwks")
SETTINGS = {
    "deep_link_return_url": f"{ISSUER}/return?a=1&b=2",
    "accept_types": ["ltiResourceLink"],
    "accept_presentation_document_targets": ["iframe", "window"],
    "accept_multiple": True,
}
WEEK_3 = Item(
    "https://hub.example.org/courses/python/hub/lti/launch",
    "Week 3: 演習",
    text="Lists",
    custom={"assignment": "week3", "notebook": "week3/a.ipynb"},
    line_item=LineItem(40, "Week 3", "uuid-3", "homework"),
    available=(datetime(2026, 4, 1, 9, tzinfo=UTC), None),
    submission=(None, datetime(2026, 4, 8, 23, 59, tzinfo=timezone(timedelta(hours=9)))),
    frame=(800, 600),
    new_window=True,
)


def launch(settings: Any = SETTINGS, **changes: Any) -> Launch:
    """As little as a platform may send."""
    bare: dict[str, Any] = dict.fromkeys(("resource_link", "launch_presentation", "custom", "target_link_uri", "name"))
    bare |= {"message_type": "LtiDeepLinkingRequest", "roles": [f"{MEMBERSHIP}#Instructor"]}
    content = claims(**bare | changes)
    if settings is not None:
        content[f"{DL}deep_linking_settings"] = settings
    pending = Pending(ISSUER, CLIENT, "n-1", NOW + 60, "")
    return lti13.verify(token(content), pending, Registrations([MOODLE]), read_key_set(key_set()), Rules(NOW))


def request(**changes: Any) -> Request:
    return read_request(launch({name: value for name, value in (SETTINGS | changes).items() if value is not None}))


def refused(settings: Any = SETTINGS, **changes: Any) -> tuple[int, str]:
    with pytest.raises(LaunchRefused) as caught:
        read_request(launch(settings, **changes))
    assert caught.value.sentence.endswith(".")
    return caught.value.status, caught.value.field


def test_dl_01_a_request_with_the_least() -> None:
    found = request()
    assert found == Request(
        f"{ISSUER}/return?a=1&b=2", frozenset({"ltiResourceLink"}), ("iframe", "window"), True, True, False
    )


def test_dl_01_a_request_with_everything() -> None:
    more = {
        "accept_lineitem": False,
        "auto_create": "true",
        "title": "T",
        "text": "U",
        "data": "D",
        "accept_media_types": "x",
    }
    found = request(**more)
    assert (found.line_items, found.auto_create, found.title, found.text, found.data) == (False, True, "T", "U", "D")


@pytest.mark.parametrize("name", ["deep_link_return_url", "accept_types", "accept_presentation_document_targets"])
def test_dl_01_a_required_setting_missing(name: str) -> None:
    without = {key: value for key, value in SETTINGS.items() if key != name}
    assert refused(without) == (400, f"deep_linking_settings.{name}")


def test_dl_01_no_settings_at_all() -> None:
    assert refused(None) == (400, "deep_linking_settings.deep_link_return_url")
    assert refused([]) == (400, "deep_linking_settings")
    assert refused("x") == (400, "deep_linking_settings")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("deep_link_return_url", "javascript:alert(1)"),
        ("deep_link_return_url", "/return"),
        ("deep_link_return_url", 1),
        ("accept_types", "ltiResourceLink"),
        ("accept_types", [1]),
        ("accept_types", ["x"] * 101),
        ("accept_presentation_document_targets", {}),
        ("accept_multiple", "yes"),
        ("accept_lineitem", 1),
        ("auto_create", []),
        ("title", 1),
        ("data", {"a": 1}),
    ],
)
def test_dl_01_b03_a_setting_of_another_type(name: str, value: Any) -> None:
    assert refused(SETTINGS | {name: value}) == (400, f"deep_linking_settings.{name}")


@pytest.mark.parametrize(
    ("roles", "allowed"),
    [
        (["#Instructor"], True),
        (["#ContentDeveloper"], True),
        (["#Administrator"], True),
        (["/Instructor#GuestInstructor"], True),
        (["#Learner"], False),
        (["#Mentor"], False),
        (["/Instructor#TeachingAssistant"], False),
        (["#Instructor", "/Instructor#TeachingAssistant"], False),
        ([], False),
    ],
)
def test_dl_02_who_may_choose(roles: list[str], allowed: bool) -> None:
    full = [f"{MEMBERSHIP}{role}" for role in roles]
    if allowed:
        assert read_request(launch(roles=full)).most == 100
    else:
        assert refused(roles=full) == (403, "roles")


def test_dl_02_no_role_outside_the_course_lets_choose() -> None:
    outside = ["http://purl.imsglobal.org/vocab/lis/v2/system/person#Administrator", f"{MEMBERSHIP}#Learner"]
    assert refused(roles=outside) == (403, "roles")


def test_dl_02_another_message_is_no_choice() -> None:
    other = launch(
        message_type="LtiResourceLinkRequest", resource_link={"id": "1"}, target_link_uri="https://hub.example.org/x"
    )
    with pytest.raises(LaunchRefused) as caught:
        read_request(other)
    assert (caught.value.status, caught.value.field) == (400, "message_type")


@pytest.mark.parametrize(
    ("multiple", "types", "most"),
    [
        (True, ["ltiResourceLink", "link"], 100),
        (False, ["ltiResourceLink"], 1),
        (None, ["ltiResourceLink"], 1),
        (True, ["link", "html"], 0),
        (True, [], 0),
    ],
)
def test_dl_03_how_many_may_be_chosen(multiple: bool | None, types: list[str], most: int) -> None:
    found = request(accept_multiple=multiple, accept_types=types)
    assert found.most == most
    assert len(answer(launch(), found, [WEEK_3] * most, MOODLE, NOW)[f"{DL}content_items"]) == most
    with pytest.raises(LaunchRefused, match=f"takes {most} links") as caught:
        answer(launch(), found, [WEEK_3] * (most + 1), MOODLE, NOW)
    assert (caught.value.status, caught.value.field) == (400, "content_items")


def test_dl_04_the_answers_claims() -> None:
    found = answer(launch(), request(), [WEEK_3], MOODLE, NOW + 0.7)
    assert found.pop("nonce") != answer(launch(), request(), [], MOODLE, NOW)["nonce"]
    assert len(found.pop(f"{DL}content_items")) == 1
    assert found == {
        "iss": CLIENT,
        "aud": [ISSUER],
        "iat": NOW,
        "exp": NOW + LIFETIME,
        f"{LTI}deployment_id": DEPLOYMENT,
        f"{LTI}message_type": "LtiDeepLinkingResponse",
        f"{LTI}version": "1.3.0",
    }


def test_dl_04_nothing_chosen_is_an_answer_too() -> None:
    assert answer(launch(), request(), [], MOODLE, NOW)[f"{DL}content_items"] == []
    assert answer(launch(), request(accept_types=[]), [], MOODLE, NOW)[f"{DL}content_items"] == []


@pytest.mark.parametrize("data", [None, "", "csrf:é 漢字 \"'<>&\\\n\t", "x" * 5000])
def test_dl_04_data_goes_back_as_it_came(data: str | None) -> None:
    found = answer(launch(), request(data=data), [], MOODLE, NOW)
    assert found.get(f"{DL}data") == data
    assert (f"{DL}data" in found) is (data is not None)


class _Form(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_dl_04_the_page_posts_a_signed_answer(tmp_path: Path) -> None:
    keys = ToolKeys(tmp_path)
    key = keys.signing(NOW)
    hostile = request(data="</script><script>alert(1)</script>")
    text = page(hostile, answer(launch(), hostile, [WEEK_3], MOODLE, NOW), key, 'n"><b>', "Weiter & <fort>")
    tags = dict(_Form(text).tags)
    assert (tags["form"]["method"], tags["form"]["action"]) == ("post", f"{ISSUER}/return?a=1&b=2")
    assert (tags["input"]["name"], tags["input"]["type"]) == ("JWT", "hidden")
    assert tags["script"]["nonce"] == 'n"><b>' and "b" not in tags
    assert "alert" not in text and "Weiter &amp; &lt;fort&gt;" in text
    signed = tags["input"]["value"]
    assert signed is not None
    public = read_key_set(json.dumps(keys.document(NOW)).encode())
    assert verified_claims(signed, public)[f"{DL}data"] == "</script><script>alert(1)</script>"


def test_dl_05_an_item_with_everything() -> None:
    (item,) = answer(launch(), request(), [WEEK_3], MOODLE, NOW)[f"{DL}content_items"]
    assert item == {
        "type": "ltiResourceLink",
        "url": "https://hub.example.org/courses/python/hub/lti/launch",
        "title": "Week 3: 演習",
        "text": "Lists",
        "custom": {"assignment": "week3", "notebook": "week3/a.ipynb"},
        "lineItem": {"scoreMaximum": 40, "label": "Week 3", "resourceId": "uuid-3", "tag": "homework"},
        "available": {"startDateTime": "2026-04-01T09:00:00+00:00"},
        "submission": {"endDateTime": "2026-04-08T23:59:00+09:00"},
        "iframe": {"width": 800, "height": 600},
        "window": {"targetName": "_blank"},
    }


def test_dl_05_an_item_with_the_least() -> None:
    (item,) = answer(launch(), request(), [Item("https://hub.example.org/x", "X")], MOODLE, NOW)[f"{DL}content_items"]
    assert item == {"type": "ltiResourceLink", "url": "https://hub.example.org/x", "title": "X"}


@pytest.mark.parametrize(("maximum", "written"), [(40, "40"), (40.0, "40"), (7.5, "7.5")])
def test_dl_05_a_whole_maximum_is_a_whole_number(maximum: float, written: str) -> None:
    item = Item("https://hub.example.org/x", "X", line_item=LineItem(maximum, "L", "r"))
    (found,) = answer(launch(), request(), [item], MOODLE, NOW)[f"{DL}content_items"]
    assert json.dumps(found["lineItem"]) == f'{{"scoreMaximum": {written}, "label": "L", "resourceId": "r"}}'


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (Item("javascript:alert(1)", "X"), "web address"),
        (Item("/relative", "X"), "web address"),
        (Item("https://hub.example.org/x", ""), "title"),
        (Item("https://hub.example.org/x", "X", line_item=LineItem(0, "L", "r")), "maximum"),
        (Item("https://hub.example.org/x", "X", available=(datetime(2026, 4, 1), None)), "zone"),
    ],
)
def test_dl_05_an_item_that_cannot_be_right(item: Item, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        answer(launch(), request(), [item], MOODLE, NOW)


def test_dl_06_a_later_launch_of_the_link_brings_its_parameters() -> None:
    """As a platform does: a new link in a copied course, with the item's custom parameters and address."""
    (item,) = answer(launch(), request(), [WEEK_3], MOODLE, NOW)[f"{DL}content_items"]
    host = Host(frozenset({"https://hub.example.org"}), "/courses/python/")
    for link, context in (("link-1", "course-1"), ("link-2", "copy-of-course-1")):
        later = launch(
            None,
            message_type="LtiResourceLinkRequest",
            resource_link={"id": link},
            context={"id": context},
            target_link_uri=item["url"],
            custom=item["custom"],
        )
        assert later.custom["assignment"] == "week3"
        assert resolve(later, host, "lti-x").path == "/courses/python/hub/user-redirect/lab/tree/week3/a.ipynb"
        assert later.services.grades is not None and later.services.grades.lineitem is not None


def test_dl_07_no_line_item_where_the_platform_takes_none() -> None:
    (item,) = answer(launch(), request(accept_lineitem=False), [WEEK_3], MOODLE, NOW)[f"{DL}content_items"]
    assert "lineItem" not in item
    (item,) = answer(launch(), request(accept_lineitem=None), [WEEK_3], MOODLE, NOW)[f"{DL}content_items"]
    assert "lineItem" in item


def test_dl_07_words_for_the_person() -> None:
    found = answer(launch(), request(), [], MOODLE, NOW, message="Saved", error="One is missing")
    assert (found[f"{DL}msg"], found[f"{DL}errormsg"]) == ("Saved", "One is missing")
    assert not [name for name in answer(launch(), request(), [], MOODLE, NOW) if re.search(r"msg$", name)]
