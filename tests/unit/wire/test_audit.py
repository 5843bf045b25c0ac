"""Events of the audit: each function makes what its schema says, on one line of at most 1 KB, whatever is put in."""

from __future__ import annotations

import inspect
import io
import json
import logging
import unicodedata
from typing import Any

import pytest
from jupyter_events import EventLogger

from coursewarehub.model import Role
from coursewarehub.model.course import CourseState
from coursewarehub.wire import audit
from coursewarehub.wire.audit import PREFIX, SCHEMAS, Event, clean

MAKERS = {
    name: make
    for name, make in vars(audit).items()
    if inspect.isfunction(make) and not name.startswith("_") and make.__annotations__.get("return") == "Event"
}
FIXED: dict[str, Any] = {
    "role": "student",
    "was": "assistant",
    "by": "person",
    "count": 7,
    "address": "2001:db8:1234::/48",
}
HOSTILE = "\r\n\x1b[31m\x00\u202eevil\u2028\u2066\ud800\U000e0041" * 9 + "x" * 100_000


def made(name: str, text: str) -> Event:
    """An event with `text` wherever others could have written it."""
    parameters = list(inspect.signature(MAKERS[name]).parameters)
    values = {parameter: FIXED.get(parameter, text) for parameter in parameters}
    if name == "course_changed":
        values = {"was": "draft", "state": "open"}
    return MAKERS[name](**values)


@pytest.fixture(scope="module")
def log() -> tuple[EventLogger, io.StringIO]:
    stream = io.StringIO()
    log = EventLogger(handlers=[logging.StreamHandler(stream)])
    for file in SCHEMAS.glob("*/v1.yaml"):
        log.register_event_schema(file)
    return log, stream


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("text", ["sam", HOSTILE, "😀" * 200, ""])
def test_a30_every_event_fits_its_schema_on_one_short_line(
    log: tuple[EventLogger, io.StringIO], name: str, text: str
) -> None:
    if text == "" and name not in {"login_failed", "launch_refused", "login_refused"}:
        text = "sam"
    event = made(name, text or "ldap")
    if text == "":
        event = MAKERS[name]("", method="ldap", reason="")
    events, stream = log
    stream.seek(0)
    stream.truncate()
    data = {"course": "c" * 32, **event.data}
    assert events.emit(schema_id=event.schema_id, data=data) is not None
    line = json.dumps({**json.loads(stream.getvalue())}, ensure_ascii=False)
    assert len(line.encode()) <= 1024
    assert not [char for char in line if unicodedata.category(char)[0] == "C" or char in "\u2028\u2029"]


def test_every_schema_has_a_maker_and_every_action_too(log: tuple[EventLogger, io.StringIO]) -> None:
    """Nothing is described that is never told."""
    told = {(event.schema, event.action) for event in (made(name, "x") for name in MAKERS)}
    described = {
        (id_.removeprefix(PREFIX), action)
        for id_ in log[0].schemas.schema_ids
        if id_.startswith(PREFIX)
        for action in log[0].schemas.get(id_)._schema["properties"]["action"]["enum"]
    }
    assert told == described and len(told) == len(MAKERS)


def test_schemas_know_our_roles_and_states(log: tuple[EventLogger, io.StringIO]) -> None:
    def values(schema: str, key: str) -> set[str]:
        return set(log[0].schemas.get(f"{PREFIX}{schema}")._schema["properties"][key]["enum"])

    assert (
        values("login", "role") == values("launch", "role") == values("member", "was") == {str(role) for role in Role}
    )
    assert values("course", "state") == values("course", "was") == {str(state) for state in CourseState}


def test_a29_no_event_has_a_place_for_a_secret(log: tuple[EventLogger, io.StringIO]) -> None:
    """What may be in an event is a closed list."""
    properties: set[str] = set()
    for id_ in log[0].schemas.schema_ids:
        if id_.startswith(PREFIX):
            schema = log[0].schemas.get(id_)._schema
            assert schema["additionalProperties"] is False
            properties |= set(schema["properties"])
    assert properties == {
        "course", "action", "person", "actor", "by", "method", "role", "was", "state", "reason", "target", "server",
        "address", "count",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("sam", "sam"),
        ("学生1 é", "学生1 é"),
        ("a\r\nb\tc", "a��b�c"),
        ("\x1b[31m", "�[31m"),
        ("\u202eabc\u2066", "�abc�"),
        ("a\u200bb\ufeff", "a�b�"),
        ("\ud800", "�"),
        ("123456789", "12345678…"[:7] + "…"),
    ],
)
def test_a30_clean(text: str, cleaned: str) -> None:
    assert clean(text, 8) == cleaned
