"""A grade as it leaves the hub, and the score that AGS makes of it. Pure.

Reference: LTI Assignment and Grade Services 2.0 §3.4 (score service).
"""

from __future__ import annotations

import json
import math
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from coursewareauthenticator.lti.services.families import family
from coursewareauthenticator.lti.services.targets import LineItemTarget

SCORE_TYPE: Final = "application/vnd.ims.lis.v1.score+json"
SUBMISSION: Final = "https://canvas.instructure.com/lti/submission"
LONGEST_COMMENT: Final = 4000
"""Characters; what is longer is cut."""
SMALLEST: Final = 0.0001
"""What stands for zero, as part of the maximum, where zero is not shown and that was asked for."""


class Activity(StrEnum):
    """How far the person is (§3.4.6)."""

    INITIALIZED = "Initialized"
    STARTED = "Started"
    IN_PROGRESS = "InProgress"
    SUBMITTED = "Submitted"
    COMPLETED = "Completed"


class Grading(StrEnum):
    """How far the grading is (§3.4.7); only `FULLY_GRADED` is shown to the person."""

    FULLY_GRADED = "FullyGraded"
    PENDING = "Pending"
    PENDING_MANUAL = "PendingManual"
    FAILED = "Failed"
    NOT_READY = "NotReady"


@dataclass(frozen=True)
class Submission:
    """What was submitted, for platforms that show it; `at` is in seconds since 1970, `url` opens it by a launch.

    `again` says that it is another submission than that of the last grade; a regrade is none.
    """

    at: float
    url: str | None = None
    again: bool = True


@dataclass(frozen=True)
class Grade:
    """A grade: `score` of `maximum` points; None while there is none. More than the maximum is extra credit.

    `version` is a whole number that grows with every grade of this person for this column; with it, an older one that
    comes late is known. Raises ValueError for what is no grade.
    """

    score: float | None
    maximum: float
    activity: Activity = Activity.COMPLETED
    grading: Grading = Grading.FULLY_GRADED
    comment: str = ""
    submission: Submission | None = None
    version: int | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.maximum) or self.maximum <= 0:
            raise ValueError("the maximum of a grade must be more than 0")
        if self.score is not None and (not math.isfinite(self.score) or self.score < 0):
            raise ValueError("the score of a grade must be 0 or more")
        if self.score is None and self.is_final:
            raise ValueError("a grade that is fully graded needs a score")

    @property
    def is_final(self) -> bool:
        """Whether it is what the person gets."""
        return self.grading is Grading.FULLY_GRADED

    @property
    def fraction(self) -> float | None:
        """The part of the maximum, which may be more than 1; None without a score."""
        return None if self.score is None else self.score / self.maximum


def dump(grade: Grade) -> str:
    """The grade as one line of JSON, without its version; the same text for the same grade."""
    submission = grade.submission
    return json.dumps(
        {
            "score": grade.score,
            "maximum": grade.maximum,
            "activity": grade.activity,
            "grading": grade.grading,
            "comment": plain(grade.comment),
            "submission": None if submission is None else [submission.at, submission.url, submission.again],
        },
        sort_keys=True,
    )


def load(text: str, version: int | None = None) -> Grade:
    """What `dump` wrote."""
    values = json.loads(text)
    return Grade(
        score=values["score"],
        maximum=values["maximum"],
        activity=Activity(values["activity"]),
        grading=Grading(values["grading"]),
        comment=values["comment"],
        submission=None if values["submission"] is None else Submission(*values["submission"]),
        version=version,
    )


def scores_url(line_item: str) -> str:
    """Where scores of a line item are sent: `/scores` after its path, in front of its query (§3.4.1)."""
    return below(line_item, "scores")


def below(line_item: str, name: str) -> str:
    """The address of what belongs to a line item; its query stays where it is."""
    parts = urlsplit(line_item)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}", fragment=""))


def score_body(target: LineItemTarget, grade: Grade, stamp: int, *, lift_zero: bool = False) -> bytes:
    """The score as JSON. `stamp` is in milliseconds since 1970 and grows with every score of this person.

    `lift_zero` sends `SMALLEST` instead of zero where the platform does not show zero.
    """
    kind = family(target.platform)
    score = grade.score
    if score == 0 and kind.zero_hidden and lift_zero and grade.is_final:
        score = grade.maximum * SMALLEST
    body: dict[str, Any] = {
        "timestamp": timestamp(stamp),
        "activityProgress": grade.activity,
        "gradingProgress": grade.grading,
        "userId": target.user,
    }
    if score is not None:
        body |= {"scoreGiven": number(score), "scoreMaximum": number(grade.maximum)}
    if comment := plain(grade.comment):
        body["comment"] = comment
    if grade.submission is not None and kind.submissions:
        body[SUBMISSION] = _submission(grade.submission)
    return json.dumps(body, allow_nan=False).encode()


def _submission(submission: Submission) -> dict[str, Any]:
    """Canvas's extension of a score: when, and what to launch to see it."""
    shown_as: dict[str, Any] = {"submission_type": "none"}
    if submission.url:
        shown_as = {"submission_type": "basic_lti_launch", "submission_data": submission.url}
    at = timestamp(round(submission.at * 1000))
    return {"new_submission": submission.again, "submitted_at": at, **shown_as}


def timestamp(stamp: int) -> str:
    """Milliseconds since 1970 as ISO 8601 with milliseconds and zone (§3.4.4)."""
    seconds, rest = divmod(stamp, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}+00:00"


def number(value: float) -> int | float:
    """A number as people write it: 7 instead of 7.0, 0.3 instead of 0.30000000000000004."""
    short = round(value, 6)
    return int(short) if short == int(short) else short


def plain(text: str) -> str:
    """A comment without control characters but line ends and tabs, at most 4000 characters."""
    kept = (char for char in text if char in "\n\t" or unicodedata.category(char) not in {"Cc", "Cs"})
    return "".join(kept)[:LONGEST_COMMENT].strip()
