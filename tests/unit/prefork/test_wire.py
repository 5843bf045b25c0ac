"""Messages on the prefork socket: what is written is read back, what is malformed is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from coursewarehub.wire.prefork import (
    Event,
    Operation,
    ProcessLimits,
    ProcessRecord,
    StartRequest,
    decode,
    encode,
)

REQUESTS = [
    StartRequest("a", {}, "/tmp", "/tmp/log"),
    StartRequest(
        "日本語 `name`",
        {"TOKEN": "line\nbreak", "EMPTY": "", "QUOTE": '"\\'},
        "/home/été",
        "/log",
        listen=True,
        limits=ProcessLimits(data_bytes=1 << 31, open_files=256, processes=64, cores=2),
    ),
    StartRequest("a", {"A": "1"}, "/", "/l", limits=ProcessLimits(cores=1)),
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_start_request_comes_back_as_it_was(request_: StartRequest) -> None:
    line = request_.encode()
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    message = decode(line)
    assert message["operation"] == Operation.START
    assert StartRequest.decode(message) == replace(request_, environment={})
    assert json.loads(request_.encode_environment()) == request_.environment


def test_environment_does_not_travel_in_the_line() -> None:
    line = StartRequest("a", {"TOKEN": "planted"}, "/", "/l").encode()
    assert b"planted" not in line and b"TOKEN" not in line


def test_record_comes_back_as_it_was() -> None:
    record = ProcessRecord("a", 12, 345, 6789)
    started = decode(encode({"event": Event.STARTED, **vars(record)}))
    assert Event(started.pop("event")) is Event.STARTED
    assert ProcessRecord(**started) == record


@pytest.mark.parametrize("line", [b"", b"\n", b"{", b"[]", b"null", b'"start"', b"1", b"\xff\xfe\n", b"{}{}"])
def test_line_that_is_no_object_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError):
        decode(line)


WHOLE: dict[str, Any] = json.loads(REQUESTS[1].encode())


@pytest.mark.parametrize("missing", ["name", "environment", "directory", "log_file", "listen", "limits"])
def test_request_without_a_part_is_a_value_error(missing: str) -> None:
    with pytest.raises(ValueError, match="not a start request"):
        StartRequest.decode({key: value for key, value in WHOLE.items() if key != missing})


@pytest.mark.parametrize(
    "wrong",
    [
        {"environment": []},
        {"environment": "A=1"},
        {"environment": None},
        {"limits": []},
        {"limits": {"memory": 1}},
        {"limits": None},
    ],
)
def test_request_with_a_part_of_another_type_is_a_value_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a start request"):
        StartRequest.decode({**WHOLE, **wrong})
