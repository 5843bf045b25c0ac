"""Values that configuration files hold: durations, sizes, moments, addresses, texts, user names.

Each type says with `Expect` what it must be; `explain` builds the sentence for the user from that.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    RootModel,
    StringConstraints,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from coursewarehub.model.names import valid_name

PageLanguage = Literal["en", "ja", "fr"]


@dataclass(frozen=True)
class Expect:
    """What a value must be, to finish the sentence "`key` must be ...".

    `hint` adds advice; with `echo` false a refused value is never shown (it may be a secret).
    """

    text: str
    hint: str | None = None
    echo: bool = True


def refusal(predicate: str, *, at: tuple[str | int, ...] = (), hint: str | None = None) -> PydanticCustomError:
    """Return the error for a value refused for a reason of its own.

    `predicate` finishes the sentence that starts with the key; `at` leads from the value that is
    validated to the key the sentence is about.
    """
    return PydanticCustomError("refusal", "{predicate}", {"predicate": predicate, "at": at, "hint": hint})


class Settings(BaseModel):
    """Base of every mapping in a configuration file: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


# --- durations and sizes -----------------------------------------------------------------------

_DURATION = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?", re.ASCII)
_SECONDS = (86400, 3600, 60, 1)
_LONGEST = 366 * 86400


def parse_duration(text: str) -> int | None:
    """Return the seconds of `90s`, `15m`, `1h30m` or `2d`; None for `never`. Raises ValueError."""
    if text == "never":
        return None
    match = _DURATION.fullmatch(text.replace(" ", ""))
    counts = match.groups() if match else ()
    seconds = sum(int(count or 0) * unit for count, unit in zip(counts, _SECONDS, strict=False))
    if not 1 <= seconds <= _LONGEST:
        raise ValueError("not a duration")
    return seconds


def format_duration(seconds: int | None) -> str:
    """Return the shortest text that `parse_duration` reads back."""
    if seconds is None:
        return "never"
    parts = []
    for unit, letter in zip(_SECONDS, "dhms", strict=True):
        count, seconds = divmod(seconds, unit)
        parts.append(f"{count}{letter}" if count else "")
    return "".join(parts)


_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,3})?) ?(B|([KMGT])(?:iB?)?)", re.ASCII | re.IGNORECASE)
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def parse_bytes(text: str) -> int:
    """Return the bytes of `512M` or `2 GiB` (a K is 1024 bytes). Raises ValueError."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("not a size")
    return int(float(match[1]) * _UNITS[(match[3] or "").upper()])


def format_bytes(count: int) -> str:
    """Return the shortest text that `parse_bytes` reads back."""
    for letter, unit in reversed(_UNITS.items()):
        if count % unit == 0 and count >= unit:
            return f"{count // unit}{letter or 'B'}"
    return f"{count}B"


def format_cores(count: float) -> str:
    """Return processor cores as people say them: `1 core`, `0.5 cores`."""
    return "1 core" if count == 1 else f"{count:g} cores"


def _reader(parse: Callable[[str], int | None]) -> PlainValidator:
    """Validate text from a file with `parse`; Python code may give the number itself."""

    def validate(value: Any, info: ValidationInfo) -> int | None:
        if isinstance(value, str):
            return parse(value)
        if info.mode == "python" and type(value) is int and value > 0:
            return value
        raise ValueError("not text")

    return PlainValidator(validate)


_DURATION_PATTERN = r"^(never|(\d+d)? ?(\d+h)? ?(\d+m)? ?(\d+s)?)$"
Duration = Annotated[
    int | None,
    _reader(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": _DURATION_PATTERN, "minLength": 2}),
    Expect("a duration such as `30s`, `15m` or `1h30m`, or `never`"),
]


def _limited(text: str) -> int:
    seconds = parse_duration(text)
    if seconds is None:
        raise ValueError("no limit")
    return seconds


LimitedDuration = Annotated[
    int,
    _reader(_limited),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^((\d+d)? ?(\d+h)? ?(\d+m)? ?(\d+s)?)$", "minLength": 2}),
    Expect("a duration such as `30s` or `15m`"),
]
SMALLEST_MEMORY = 64 * 1024**2
_SIZE_PATTERN = r"^\d+(\.\d+)? ?([Bb]|[KMGTkmgt](i[Bb]?)?)$"


def _memory(text: str) -> int:
    size = parse_bytes(text)
    if size < SMALLEST_MEMORY:
        raise refusal(f"must be at least {format_bytes(SMALLEST_MEMORY)}")
    return size


ByteSize = Annotated[
    int,
    _reader(_memory),
    PlainSerializer(format_bytes, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": _SIZE_PATTERN}),
    Expect("a size such as `512M` or `2G`"),
]


def _size(value: Any) -> int:
    size = parse_bytes(value) if isinstance(value, str) else value
    if type(size) is not int or size < 0:
        raise ValueError("not a size")
    return size


Size = Annotated[
    int,
    PlainValidator(_size),
    PlainSerializer(format_bytes, return_type=str, when_used="json"),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": _SIZE_PATTERN}, {"type": "integer", "minimum": 0}]},
    ),
    Expect("a size such as `64M` or `1G`, or a number of bytes"),
]

# --- dates -------------------------------------------------------------------------------------

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?", re.ASCII | re.IGNORECASE)


def _moment(value: Any) -> date:
    if isinstance(value, datetime):
        return _zoned(value)
    if isinstance(value, date):
        return value
    if isinstance(value, str) and _DATE.fullmatch(value):
        return date.fromisoformat(value)
    if isinstance(value, str) and _TIME.fullmatch(value):
        return _zoned(datetime.fromisoformat(value.upper()))
    raise ValueError("not a date")


def _zoned(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise refusal("has a time but no time zone", hint="add `Z` or one such as `+09:00`")
    return value


Moment = Annotated[
    date | datetime,
    PlainValidator(_moment),
    PlainSerializer(lambda value: value.isoformat(), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d))?$"}),
    Expect("a date such as `2026-04-01`, or a date and time such as `2026-04-01T09:00+09:00`"),
]

# --- names of other systems --------------------------------------------------------------------

ImageName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,254}$"),
    Expect("the name of a container image"),
]

# --- addresses and paths -------------------------------------------------------------------------

_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII)


def is_host(value: str) -> bool:
    """Whether a text is the name or address of a machine."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        numeric = re.fullmatch(r"[0-9.]+", value) is not None
        return not numeric and _HOST_NAME.fullmatch(value) is not None
    return True


def web_url(value: str, *, path: bool) -> str:
    """Return an http(s) URL, without its path unless it may have one. Raises ValueError or a refusal."""
    try:
        parts = urlsplit(value)
        valid = parts.scheme in {"http", "https"} and is_host(parts.hostname or "")
        valid = valid and parts.port != 0 and re.search(r"[\s\\]", value) is None
    except ValueError:
        valid = False
    if not valid:
        raise ValueError("not a URL")
    if "@" in parts.netloc:
        raise refusal("must not have a user name or password in it")
    if parts.query or parts.fragment or "?" in value or "#" in value:
        raise refusal("must not have a `?` or `#` in it")
    if not path and parts.path not in {"", "/"}:
        raise refusal("must not have a path", hint="courses are at `/courses/<id>/` below it")
    return value if path else f"{parts.scheme}://{parts.netloc.lower()}"


PlainPath = Annotated[
    str,
    StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$", max_length=1024),
    Expect("the path of a file, relative to the site folder"),
]

# --- texts -------------------------------------------------------------------------------------

LONGEST_TEXT = 4000


def _text(value: str) -> str:
    if len(value) > LONGEST_TEXT:
        raise refusal(f"must have at most {LONGEST_TEXT} characters")
    for char in value:
        if char not in "\n\t" and (ord(char) < 32 or 127 <= ord(char) < 160):
            raise refusal(f"must not contain the control character U+{ord(char):04X}")
    return value.strip()


class Translations(Settings):
    """One text per language of the pages; a language that is missing falls back to another."""

    en: Annotated[str, AfterValidator(_text)] | None = Field(None, description="English.")
    ja: Annotated[str, AfterValidator(_text)] | None = Field(None, description="Japanese.")
    fr: Annotated[str, AfterValidator(_text)] | None = Field(None, description="French.")

    @model_validator(mode="after")
    def _some_text(self) -> Translations:
        if not (self.en or self.ja or self.fr):
            raise refusal("must have a text for at least one of `en`, `ja`, `fr`")
        return self


def _kind(value: Any) -> str:
    return "translations" if isinstance(value, dict | Translations) else "text"


class LocalizedText(
    RootModel[
        Annotated[
            Annotated[
                str,
                AfterValidator(_text),
                Tag("text"),
                Expect("text, or one text per language such as `{en: ..., ja: ...}`"),
            ]
            | Annotated[Translations, Tag("translations")],
            Discriminator(_kind),
        ]
    ]
):
    """A text in one language for everybody, or one text per language of the pages."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    def text(self, language: str) -> str:
        """Return the text for a language tag such as `ja` or `ja-JP`.

        Falls back to English, then to any language there is.
        """
        if isinstance(self.root, str):
            return self.root
        texts = {"en": self.root.en, "ja": self.root.ja, "fr": self.root.fr}
        wanted = texts.get(language.replace("_", "-").split("-")[0].lower())
        return wanted or next(text for text in texts.values() if text)

    def texts(self) -> tuple[str, ...]:
        """Return all the texts there are."""
        if isinstance(self.root, str):
            return (self.root,)
        return tuple(text for text in (self.root.en, self.root.ja, self.root.fr) if text)


LONGEST_TITLE = 200


def _title(value: LocalizedText) -> LocalizedText:
    for text in value.texts():
        if not text or "\n" in text or len(text) > LONGEST_TITLE:
            raise refusal(f"must be one line of 1 to {LONGEST_TITLE} characters")
    return value


Title = Annotated[LocalizedText, AfterValidator(_title)]

# --- user names --------------------------------------------------------------------------------


def _user_name(value: str) -> str:
    try:
        return valid_name(value)
    except ValueError as error:
        raise refusal(str(error)) from None


UserName = Annotated[str, AfterValidator(_user_name), Expect("a user name (text)")]
UserNames = Annotated[tuple[UserName, ...], Expect("a list of user names such as `[alice, bob]`")]
