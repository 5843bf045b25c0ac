"""Columns of a gradebook and what stands in them: line items and results, read and written. Pure.

Reference: LTI Assignment and Grade Services 2.0 §3.2 (line item service), §3.3 (result service). What a platform says
is read leniently: an entry that is none is left out, and never an exception.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

from coursewareauthenticator.lti.launch import LONGEST_TEXT, is_web_address
from coursewareauthenticator.lti.services.families import family
from coursewareauthenticator.lti.services.grades import below, number

LINE_ITEM_TYPE: Final = "application/vnd.ims.lis.v2.lineitem+json"
LINE_ITEMS_TYPE: Final = "application/vnd.ims.lis.v2.lineitemcontainer+json"
RESULTS_TYPE: Final = "application/vnd.ims.lis.v2.resultcontainer+json"
_KNOWN: Final = ("id", "label", "scoreMaximum", "resourceId", "resourceLinkId", "tag", "startDateTime", "endDateTime")
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True)
class Column:
    """A line item. `resource_id` is the tool's own id of what is graded: a column is found by it, never by its label.

    `url` is None for one that is to be made. `starts` and `ends` are ISO 8601 with a zone. `more` has all that a
    platform said besides, and is sent back to it.
    """

    label: str
    maximum: float
    resource_id: str | None = None
    tag: str | None = None
    link: str | None = None
    url: str | None = None
    starts: str | None = None
    ends: str | None = None
    more: Mapping[str, Any] = field(default_factory=lambda: _NOTHING, repr=False)

    def __post_init__(self) -> None:
        if not math.isfinite(self.maximum) or self.maximum < 0:
            raise ValueError("the maximum of a column must be a number")


@dataclass(frozen=True)
class Result:
    """What stands in the gradebook for one person, manual changes included; `score` None when there is nothing."""

    user: str
    score: float | None
    maximum: float | None
    comment: str = ""


def column_body(column: Column, platform: str) -> bytes:
    """The line item as JSON. ValueError when the column has no label, no maximum, or nothing that it is found by."""
    if not column.label.strip() or column.maximum <= 0:
        raise ValueError("a column needs a label and a maximum of more than 0")
    if not column.resource_id and not column.link:
        raise ValueError("a column needs the id of what is graded, or the link that it belongs to")
    maximum = math.ceil(column.maximum) if family(platform).whole_maximum else column.maximum
    values: dict[str, Any] = {
        "label": column.label.strip()[:LONGEST_TEXT],
        "scoreMaximum": number(maximum),
        "resourceId": column.resource_id,
        "resourceLinkId": column.link,
        "tag": column.tag,
        "startDateTime": column.starts,
        "endDateTime": column.ends,
        "id": column.url,
    }
    own = {name: value for name, value in values.items() if value is not None}
    return json.dumps({**column.more, **own}, allow_nan=False).encode()


def read_column(value: Any, base: str) -> Column | None:
    """A line item as the platform says it, or None for what is none."""
    if not isinstance(value, dict):
        return None
    maximum = finite(value.get("scoreMaximum"))
    if maximum is None or maximum < 0:
        maximum = 0.0  # some platforms have columns without a maximum
    url = value.get("id")
    absolute = _address(url, base) if isinstance(url, str) else None
    if absolute is None:
        return None
    more = {name: one for name, one in value.items() if name not in _KNOWN}
    return Column(
        label=text(value.get("label")) or "",
        maximum=maximum,
        resource_id=text(value.get("resourceId")),
        tag=text(value.get("tag")),
        link=text(value.get("resourceLinkId")),
        url=absolute,
        starts=text(value.get("startDateTime")),
        ends=text(value.get("endDateTime")),
        more=MappingProxyType(more),
    )


def same_column(wanted: Column, found: Iterable[Column]) -> Column | None:
    """The column that is meant: by address, else by what is graded, then by link where no other id contradicts.

    A column's label is what people change, and says nothing.
    """
    candidates = list(found)
    if wanted.url is not None:
        by_url = next((one for one in candidates if one.url == wanted.url), None)
        if by_url is not None:
            return by_url
    if wanted.resource_id is not None:
        own = [one for one in candidates if one.resource_id == wanted.resource_id and one.tag == wanted.tag]
        own += [one for one in candidates if one.resource_id == wanted.resource_id and one not in own]
        # After a copy of the platform's course, several links may have one id of ours.
        at_link = [one for one in own if wanted.link is not None and one.link == wanted.link]
        other_link = [one for one in own if wanted.link is None or one.link is None]
        if at_link or other_link:
            return (at_link or other_link)[0]
    if wanted.link is None:
        return None
    return next((one for one in candidates if one.link == wanted.link and one.resource_id is None), None)


def updated(found: Column, wanted: Column) -> Column:
    """What the platform has, with what is wanted; what the tool does not say stays as it is there."""
    return replace(
        found,
        label=wanted.label or found.label,
        maximum=wanted.maximum,
        resource_id=wanted.resource_id or found.resource_id,
        tag=wanted.tag or found.tag,
        link=found.link or wanted.link,
        starts=wanted.starts or found.starts,
        ends=wanted.ends or found.ends,
    )


def with_query(url: str, **values: str | int | None) -> str:
    """The address with some parameters more; those that it has stay first and as they are."""
    parts = urlsplit(url)
    added = urlencode({name: value for name, value in values.items() if value is not None})
    return urlunsplit(parts._replace(query="&".join(part for part in (parts.query, added) if part), fragment=""))


def results_url(line_item: str, user: str | None) -> str:
    """Where results of a line item are, of one person or of all (§3.3.1)."""
    return with_query(below(line_item, "results"), user_id=user)


def read_result(value: Any) -> Result | None:
    """A result as the platform says it, or None for what is none; without a score it is one that was cleared."""
    user = text(value.get("userId")) if isinstance(value, dict) else None
    if user is None:
        return None
    comment = value.get("comment")
    return Result(
        user,
        finite(value.get("resultScore")),
        finite(value.get("resultMaximum")),
        comment[:LONGEST_TEXT] if isinstance(comment, str) else "",
    )


def is_same_grade(result: Result, fraction: float) -> bool:
    """Whether a result is the grade of that part of the maximum, as far as platforms keep digits."""
    if result.score is None:
        return False
    maximum = result.maximum or 1.0  # §3.3.4: 1 when it is not said
    return abs(result.score / maximum - fraction) < 0.001


def text(value: Any) -> str | None:
    """A text that is not empty; numbers as texts, for platforms that have numbers for ids."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value[:LONGEST_TEXT] if isinstance(value, str) and value else None


def finite(value: Any) -> float | None:
    """A number, also one in a text, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _address(url: str, base: str) -> str | None:
    try:
        absolute = urljoin(base, url)
    except ValueError:
        return None
    return absolute if is_web_address(absolute) else None
