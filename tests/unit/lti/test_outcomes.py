"""Grades to a platform of LTI 1.1. Signatures are compared with oauthlib's, replies are as platforms write them."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oauthlib.oauth1 import SIGNATURE_HMAC_SHA1, SIGNATURE_TYPE_AUTH_HEADER, Client
from support.lti import NOW

from coursewareauthenticator.lti.launch import Outcomes
from coursewareauthenticator.lti.lti11 import Consumer
from coursewareauthenticator.lti.outcomes import NAMESPACE, Action, Message, Reply, message, read_reply

CONSUMER = Consumer("moodle", ("s3cret & more", "the next"))
SOURCEDID = '{"data":{"instanceid":"1","userid":"42"},"hash":"a&b<c>"}'
URL = "https://lms.example.org/mod/lti/service.php?x=1&y=&x=0"


def sent(action: Action = Action.REPLACE, score: float | None = 0.92, sourcedid: str = SOURCEDID) -> Message:
    return message(action, Outcomes(URL, sourcedid), CONSUMER, NOW + 0.9, score)


def header(one: Message) -> dict[str, str]:
    pairs = re.findall(r'(\w+)="([^"]*)"', one.headers["Authorization"])
    return {name: unquote(value) for name, value in pairs}


def element(one: Message, name: str) -> str | None:
    found = ElementTree.fromstring(one.body).find(f".//{{{NAMESPACE}}}{name}")
    return None if found is None else found.text


def test_bo_01_a_grade_is_sent_in_the_form_that_platforms_read() -> None:
    one = sent()
    assert element(one, "textString") == "0.92"
    assert element(one, "language") == "en"
    path = ".//{n}replaceResultRequest/{n}resultRecord/{n}sourcedGUID/{n}sourcedId".replace("{n}", f"{{{NAMESPACE}}}")
    assert ElementTree.fromstring(one.body).findtext(path) == SOURCEDID
    assert one.headers["Content-Type"] == "application/xml"
    assert one.url == URL


@pytest.mark.parametrize("action", [Action.READ, Action.DELETE])
def test_bo_02_reading_and_deleting_have_no_result(action: Action) -> None:
    one = sent(action, None)
    assert f"<{action}Request>".encode() in one.body
    assert element(one, "textString") is None and b"<result>" not in one.body
    assert element(one, "sourcedId") == SOURCEDID


def test_bo_04_the_signature_is_the_one_that_others_compute() -> None:
    one = sent()
    given_ = header(one)
    assert given_["oauth_body_hash"] == base64.b64encode(hashlib.sha1(one.body).digest()).decode()
    client: Any = Client(
        "moodle", client_secret="s3cret & more", signature_method=SIGNATURE_HMAC_SHA1,
        signature_type=SIGNATURE_TYPE_AUTH_HEADER, timestamp=given_["oauth_timestamp"], nonce=given_["oauth_nonce"],
    )  # fmt: skip
    _, theirs, _ = client.sign(URL, "POST", one.body.decode(), {"Content-Type": "application/xml"})
    assert header(Message(URL, theirs, b"")) == given_
    assert given_["oauth_timestamp"] == str(NOW)


@pytest.mark.parametrize(
    "sourcedid",
    [
        "a:b:1234-5678-uuid",
        "",
        "漢字 é \U0001f600",
        "]]>&amp;<x/>",
        "a\tb\nc\r\nd",
        " leading and trailing ",
        "'\"",
        "%20+",
    ],
)
def test_bo_06_the_platforms_id_arrives_to_the_byte(sourcedid: str) -> None:
    assert (element(sent(sourcedid=sourcedid), "sourcedId") or "") == sourcedid


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=50))
def test_bo_06_any_id_arrives(sourcedid: str) -> None:
    assert (element(sent(sourcedid=sourcedid), "sourcedId") or "") == sourcedid


@pytest.mark.parametrize("sourcedid", ["a\0b", "a\x1fb", "\ud800", "\uffff"])
def test_bo_06_an_id_that_xml_cannot_carry(sourcedid: str) -> None:
    with pytest.raises(ValueError, match="characters that XML has not"):
        sent(sourcedid=sourcedid)


def test_bo_07_each_try_has_a_nonce_and_an_id_of_its_own() -> None:
    tries = [sent() for _ in range(5)]
    assert len({header(one)["oauth_nonce"] for one in tries}) == 5
    assert len({element(one, "imsx_messageIdentifier") for one in tries}) == 5


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (0, "0"), (1, "1"), (0.0, "0"), (1.0, "1"), (-0.0, "0"), (0.5, "0.5"), (1 / 3, "0.333333"), (1e-7, "0"),
        (0.00001, "0.00001"), (1.5, "1"), (-3, "0"), (1e308, "1"), (float("inf"), "1"), (0.1 + 0.2, "0.3"),
    ],
)  # fmt: skip
def test_bo_08_a_score_is_a_short_decimal_from_0_to_1(score: float, text: str) -> None:
    assert element(sent(score=score), "textString") == text


@pytest.mark.parametrize("score", [None, float("nan")])
def test_bo_08_no_score_is_not_sent(score: float | None) -> None:
    with pytest.raises(ValueError, match="needs a score"):
        sent(score=score)


def reply(code: str, description: str = "", body: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><imsx_POXEnvelopeResponse xmlns="{NAMESPACE}"><imsx_POXHeader>'
        "<imsx_POXResponseHeaderInfo><imsx_version>V1.0</imsx_version><imsx_statusInfo>"
        f"<imsx_codeMajor>{code}</imsx_codeMajor><imsx_severity>status</imsx_severity>"
        f"<imsx_description>{description}</imsx_description></imsx_statusInfo></imsx_POXResponseHeaderInfo>"
        f"</imsx_POXHeader><imsx_POXBody>{body}</imsx_POXBody></imsx_POXEnvelopeResponse>"
    ).encode()


RESULT = (
    "<readResultResponse><result><resultScore><textString>{}</textString></resultScore></result></readResultResponse>"
)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (reply("success", "Done", "<replaceResultResponse/>"), Reply(True, "Done")),
        (reply("success", "", RESULT.format("0.92")), Reply(True, "success", 0.92)),
        (reply("success", "", RESULT.format("")), Reply(True, "success", None)),
        (reply("success", "", RESULT.format("n/a")), Reply(True, "success", None)),
        (reply("success", "", RESULT.format("inf")), Reply(True, "success", None)),
        (reply("failure", "Score not between 0.0 and 1.0"), Reply(False, "Score not between 0.0 and 1.0")),
        (reply("failure", "must be numeric"), Reply(False, "must be numeric")),
        (reply("failure", "Message signature not valid"), Reply(False, "Message signature not valid")),
        (reply("failure", "SourcedId hash not valid"), Reply(False, "SourcedId hash not valid")),
        (reply("processing"), Reply(False, "processing")),
        (reply("unsupported"), Reply(False, "unsupported")),
        (reply("Success"), Reply(False, "Success")),
        (reply(" success "), Reply(True, "success")),
        (reply("success").replace(f' xmlns="{NAMESPACE}"'.encode(), b""), Reply(True, "success")),
    ],
)
def test_bo_03_bo_05_only_the_answers_code_says_whether_it_was_done(body: bytes, found: Reply) -> None:
    assert read_reply(body) == found


SUCCESS = reply("success").decode().partition("?>")[2]
BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(f'<!ENTITY b{n} "&a;&a;">' for n in range(9)) + "]>"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"OK", b"<html><body>success</body></html>", b"<a>", b"\xff\xfe", b"{}", b"x" * 100_000,
        (BOMB + SUCCESS).encode(), ('<?xml version="1.0" encoding="UTF-16"?>' + BOMB + SUCCESS).encode("utf-16"),
        b'<?xml version="1.0" encoding="no-such"?><a/>', b"<a>" * 20_000,
    ],
    ids=range(11),
)  # fmt: skip
def test_bo_03_b03_an_answer_that_is_none_is_no_success(body: bytes) -> None:
    found = read_reply(body)
    assert not found.success and found.score is None and found.description.endswith(".")


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: reply("success", text)))
def test_bo_03_b03_no_answer_makes_it_fail(body: bytes) -> None:
    assert len(read_reply(body).description) < 200
