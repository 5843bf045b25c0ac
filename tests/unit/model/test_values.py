"""Durations, sizes, moments, texts and secrets: what is read, and what is written back."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from coursewarehub.model import ConfigurationError, Course, LocalizedText, SecretRef, Site
from coursewarehub.model.values import format_bytes, format_cores, format_duration, parse_bytes, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("90s", 90),
        ("15m", 900),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("2d", 172_800),
        ("1d2h3m4s", 93_784),
        ("366d", 31_622_400),
        ("never", None),
    ],
)
def test_durations(text: str, seconds: int | None) -> None:
    assert parse_duration(text) == seconds
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "0s", "0d0h", "15", "-1m", "1.5h", "1m1h", "367d", "Never", "1M", "１m", "m", "1m\n"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("512M", 512 * 1024**2),
        ("2G", 2 * 1024**3),
        ("2 GiB", 2 * 1024**3),
        ("2Gi", 2 * 1024**3),
        ("1.5G", 3 * 1024**3 // 2),
        ("1T", 1024**4),
        ("100k", 100 * 1024),
        ("1000B", 1000),
    ],
)
def test_sizes(text: str, count: int) -> None:
    assert parse_bytes(text) == count
    assert parse_bytes(format_bytes(count)) == count


@pytest.mark.parametrize(
    ("count", "words"), [(1, "1 core"), (1.0, "1 core"), (2.0, "2 cores"), (0.5, "0.5 cores"), (0, "0 cores")]
)
def test_cores_in_words(count: float, words: str) -> None:
    assert format_cores(count) == words


@pytest.mark.parametrize("text", ["", "2", "2GB", "2 gigs", "-2G", "G", "2  G", "1e3M", "２G", "2G\n", "1X"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-04-01", date(2026, 4, 1)),
        ("2026-04-01T09:00Z", datetime(2026, 4, 1, 9, tzinfo=UTC)),
        ("2026-04-01 09:00:30+09:00", datetime(2026, 4, 1, 9, 0, 30, tzinfo=timezone(timedelta(hours=9)))),
        ("2026-04-01t09:00z", datetime(2026, 4, 1, 9, tzinfo=UTC)),
    ],
)
def test_moments(text: str, moment: date) -> None:
    made = Course.model_validate({"id": "demo", "title": "D", "dates": {"opens": text}})
    assert made.dates.opens == moment
    assert type(made.dates.opens) is type(moment)


@pytest.mark.parametrize("text", ["20260401", "2026-4-1", "2026-W14-3", "2026-04-01T25:00Z", "2026-04-01T9Z"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValidationError):
        Course.model_validate({"id": "demo", "title": "D", "dates": {"opens": text}})


@pytest.mark.parametrize(
    ("value", "language", "text"),
    [
        ("Statistics", "ja", "Statistics"),
        ({"en": "Statistics", "ja": "統計"}, "ja", "統計"),
        ({"en": "Statistics", "ja": "統計"}, "ja-JP", "統計"),
        ({"en": "Statistics", "ja": "統計"}, "JA_jp", "統計"),
        ({"en": "Statistics", "ja": "統計"}, "fr", "Statistics"),
        ({"en": "Statistics", "ja": "統計"}, "de", "Statistics"),
        ({"ja": "統計", "fr": "Statistiques"}, "en", "統計"),
        ({"fr": "Statistiques"}, "", "Statistiques"),
    ],
)
def test_localized_texts(value: Any, language: str, text: str) -> None:
    assert LocalizedText.model_validate(value).text(language) == text


def test_a_course_written_out_reads_back_the_same() -> None:
    course = Course.model_validate(
        {
            "id": "demo",
            "title": {"en": "Demo", "ja": "デモ"},
            "dates": {"opens": "2026-04-01", "closes": "2026-07-31T18:00+09:00"},
            "authentication": {"method": "dummy", "password": "env:WORKSHOP"},
            "members": {"students": ["Alice"]},
            "resources": {"memory": "1.5G", "cpu": 0.5},
            "limits": {"idle_server": "never"},
        }
    )
    assert Course.model_validate_json(course.model_dump_json(), strict=True) == course
    assert Site.model_validate_json(Site().model_dump_json(), strict=True) == Site()


def test_models_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Site().edge.port = 1  # type: ignore[misc]


# --- secrets -----------------------------------------------------------------------------------

VALUE = "hunter2 and more"


def secret_file(root: Path, content: bytes, mode: int = 0o600) -> SecretRef:
    file = root / "workshop"
    file.write_bytes(content)
    file.chmod(mode)
    return SecretRef.parse("file:workshop")


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b"hunter2\n\n", "hunter2\n"),
        (b" hunter2 \n", " hunter2 "),
        ("学生\n".encode(), "学生"),
    ],
)
def test_secret_files(tmp_path: Path, content: bytes, value: str) -> None:
    assert secret_file(tmp_path, content).resolve(tmp_path, {}).get_secret_value() == value


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_modes_of_a_private_file(tmp_path: Path, mode: int) -> None:
    assert secret_file(tmp_path, b"x", mode).resolve(tmp_path, {}) == SecretStr("x")


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (b"", 0o600, "is empty"),
        (b"\n", 0o600, "is empty"),
        (b"a\0b", 0o600, "holds a NUL character"),
        (b"\xff\xfe", 0o600, "is not UTF-8 text"),
        (b"x" * 70_000, 0o600, "is larger than 64 KiB"),
        (VALUE.encode(), 0o640, "can be read by others"),
        (VALUE.encode(), 0o606, "can be read by others"),
    ],
)
def test_secret_files_that_are_refused(tmp_path: Path, content: bytes, mode: int, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        secret_file(tmp_path, content, mode).resolve(tmp_path, {})
    assert reason in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_secret_variables() -> None:
    ref = SecretRef.parse("env:WORKSHOP")
    assert ref.resolve(Path(), {"WORKSHOP": "hunter2"}) == SecretStr("hunter2")
    for environ in ({}, {"WORKSHOP": ""}):
        with pytest.raises(ConfigurationError, match=r"`WORKSHOP` is (not set|empty)"):
            ref.resolve(Path(), environ)


@pytest.mark.parametrize(
    "text",
    ["hunter2", "file:", "file: ", "env:", "env:1A", "env:A-B", "FILE:x", "file:a\nb", "", "https://x"],
)
def test_what_is_no_secret_reference_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="not a reference to a secret") as caught:
        SecretRef.parse(text)
    assert not text or text not in str(caught.value)


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    secret_file(tmp_path, VALUE.encode())
    course = Course.model_validate(
        {"id": "demo", "title": "D", "authentication": {"method": "dummy", "password": "file:workshop"}}
    )
    ref = course.authentication.password
    assert ref is not None
    resolved = ref.resolve(tmp_path, {})
    shown = [repr(ref), str(ref), repr(resolved), str(resolved), repr(course), course.model_dump_json()]
    assert not any("hunter2" in text for text in shown)
    assert "file:workshop" in course.model_dump_json()
