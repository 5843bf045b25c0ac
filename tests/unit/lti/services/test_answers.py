"""What an answer means: try again, refused, gone; and what people read of it."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coursewareauthenticator.lti.outcomes import Reply
from coursewareauthenticator.lti.services.answers import explanation, failure, outcome_failure, retry_after
from coursewareauthenticator.lti.services.backoff import FIRST, LONGEST, pause
from coursewareauthenticator.lti.services.families import FAMILIES, OTHER, family
from coursewareauthenticator.lti.services.reasons import SENTENCES, Kind, Reason, ServiceFailure, sentence
from coursewarehub.i18n import LANGUAGES, translations

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("status", "code", "person", "expected"),
    [
        (400, "", True, (Kind.PERMANENT, Reason.REFUSED)),
        (400, "moodle", True, (Kind.PERMANENT, Reason.NOT_A_STUDENT)),
        (400, "moodle", False, (Kind.PERMANENT, Reason.REFUSED)),
        (422, "canvas", True, (Kind.PERMANENT, Reason.NOT_A_STUDENT)),
        (401, "", True, (Kind.RETRY, Reason.TOKEN_REFUSED)),
        (403, "", True, (Kind.PERMANENT, Reason.NOT_ALLOWED)),
        (404, "", True, (Kind.GONE, Reason.NOT_THERE)),
        (410, "", True, (Kind.GONE, Reason.NOT_THERE)),
        (405, "", True, (Kind.PERMANENT, Reason.REFUSED)),
        (408, "", True, (Kind.RETRY, Reason.BUSY)),
        (409, "moodle", True, (Kind.CONFLICT, Reason.NEWER)),
        (429, "", True, (Kind.RETRY, Reason.BUSY)),
        (302, "", True, (Kind.PERMANENT, Reason.MOVED)),
        (500, "", True, (Kind.RETRY, Reason.BROKEN)),
        (501, "", True, (Kind.PERMANENT, Reason.REFUSED)),
        (503, "", True, (Kind.RETRY, Reason.BROKEN)),
        (599, "", True, (Kind.RETRY, Reason.BROKEN)),
    ],
)
def test_ags_10_ags_12_a_status_says_what_to_do(
    status: int, code: str, person: bool, expected: tuple[Kind, Reason]
) -> None:
    failed = failure(status, b"", None, family(code), person=person)
    assert (failed.kind, failed.reason) == expected
    assert failed.status == status


def test_a_pause_is_of_the_whole_platform_and_a_refusal_of_one_grade() -> None:
    assert failure(429, b"", None, OTHER).everything and failure(503, b"", 5, OTHER).reason is Reason.BUSY
    assert not failure(400, b"", None, OTHER).everything and not failure(500, b"", None, OTHER).everything


def test_canvas_throttles_with_a_403() -> None:
    body = b"403 Forbidden (Rate Limit Exceeded)"
    assert failure(403, body, None, FAMILIES["canvas"]).kind is Kind.RETRY
    assert failure(403, body, None, OTHER).kind is Kind.PERMANENT
    assert failure(403, b"{}", None, FAMILIES["canvas"]).kind is Kind.PERMANENT


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None), ("", None), ("120", 120.0), (" 7 ", 7.0), ("-1", None), ("1.5", None), ("soon", None),
        (format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True), 90.0),
        (format_datetime(datetime.fromtimestamp(NOW - 90, UTC), usegmt=True), 0.0),
        ("Fri, 99 Foo 2027 25:61:61 GMT", None), ("9" * 40, None), ("\u0661", None),
    ],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


@given(st.text(max_size=60))
def test_b03_any_retry_after_can_be_read(header: str) -> None:
    found = retry_after(header, NOW)
    assert found is None or found >= 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "HTTP 400"),
        (b"not gradable", "HTTP 400: not gradable"),
        (b'{"error": "invalid_client", "error_description": "no such client"}', "HTTP 400: no such client"),
        (b'{"errors": [{"message": "no user"}]}', "HTTP 400: no user"),
        (b'{"errors": {"type": "unprocessable", "message": "x"}}', "HTTP 400: x"),
        (b"<html><b>secret path /var/www</b></html>", "HTTP 400"),
        (b"a\nb", "HTTP 400"),
        (b"\xff\xfe", "HTTP 400: \ufffd\ufffd"),
        (b"[" * 20_000, "HTTP 400"),
        (b"x" * 500, "HTTP 400: " + "x" * 70 + "..."),
    ],
)
def test_only_a_short_text_of_an_answer_is_shown(body: bytes, said: str) -> None:
    assert explanation(400, body) == said


@settings(max_examples=50)
@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(lambda v: str(v).encode())
)
def test_b03_any_answer_can_be_explained(body: bytes) -> None:
    assert len(explanation(400, body)) <= 83


@pytest.mark.parametrize(
    ("status", "reply", "expected"),
    [
        (200, Reply(True, "ok", code="success"), None),
        (200, Reply(False, "Grade is past due", code="failure"), (Kind.PERMANENT, Reason.PAST_DUE)),
        (200, Reply(False, "SourcedId hash not valid", code="failure"), (Kind.GONE, Reason.NOT_THERE)),
        (200, Reply(False, "Message signature not valid", code="failure"), (Kind.RETRY, Reason.BAD_SIGNATURE)),
        (200, Reply(False, "User is no longer in course", code="failure"), (Kind.GONE, Reason.NOT_A_STUDENT)),
        (200, Reply(False, "Score not between 0.0 and 1.0", code="failure"), (Kind.PERMANENT, Reason.REFUSED)),
        (200, Reply(False, "x", code="processing"), (Kind.RETRY, Reason.BUSY)),
        (200, Reply(False, "x", code="unsupported"), (Kind.PERMANENT, Reason.REFUSED)),
        (200, Reply(False, "x", code="failure", minor="targetisbusy"), (Kind.RETRY, Reason.BUSY)),
        (200, Reply(False, "x", code="failure", minor="unknownobject"), (Kind.GONE, Reason.NOT_THERE)),
        (400, Reply(False, "SourcedId hash not valid", code="failure"), (Kind.GONE, Reason.NOT_THERE)),
        (200, Reply(False, "The platform's answer is not XML."), (Kind.RETRY, Reason.UNREADABLE)),
        (500, Reply(False, "The platform's answer is not XML."), (Kind.RETRY, Reason.BROKEN)),
        (404, Reply(False, "The platform's answer is not XML."), (Kind.GONE, Reason.NOT_THERE)),
    ],
)
def test_bo_03_bo_05_an_outcome_s_code_says_what_to_do(
    status: int, reply: Reply, expected: tuple[Kind, Reason] | None
) -> None:
    failed = outcome_failure(status, reply, None, OTHER)
    assert (None if failed is None else (failed.kind, failed.reason)) == expected


def test_pauses_double_up_to_an_hour_and_keep_what_is_asked_for() -> None:
    assert [pause(n, 0) for n in (1, 2, 3, 4)] == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]
    assert pause(1, 1) == FIRST / 2
    assert pause(10**9, 0) == LONGEST
    assert pause(1, 0, 100) == 100 and pause(1, 0, 1) == FIRST
    assert pause(1, 0, 1e12) == LONGEST and pause(1, 0, -5) == FIRST


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_sentence_in_every_language(reason: Reason, language: str) -> None:
    gettext = translations(language).gettext
    text = sentence(reason, "HTTP 500: no.", gettext)
    assert "%" not in text and text.rstrip()[-1] in ".。"
    assert language == "en" or text != sentence(reason, "HTTP 500: no.")
    assert SENTENCES.keys() == set(Reason)


def test_a30_what_a_platform_says_is_one_short_line() -> None:
    failed = ServiceFailure(Kind.PERMANENT, Reason.REFUSED, "a\r\nb\x1b[31m" + "c" * 5000)
    assert len(str(failed)) < 200 and "\n" not in str(failed) and "\x1b" not in str(failed)
