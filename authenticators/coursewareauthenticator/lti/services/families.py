"""How platforms differ, as data. Pure.

What all of them take is done for all of them, without asking which one it is: whole numbers where a maximum is whole,
times that grow by a second and more, grades that never go back to pending. Here is only what contradicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from coursewareauthenticator.lti.launch import Launch
from coursewareauthenticator.lti.services.reasons import Kind, Reason

TOOL_PLATFORM: Final = "https://purl.imsglobal.org/spec/lti/claim/tool_platform"
LONGEST: Final = 32
"""Characters of a family's code."""


@dataclass(frozen=True)
class Family:
    """One kind of platform.

    `not_a_student` are the HTTP statuses by which it refuses a grade for somebody whom it does not grade, `busy` what
    the body of a 403 has in it that is no refusal but a pause, `whole_maximum` that the maximum of a line item must be
    a whole number, `zero_hidden` that a grade of zero is taken and never shown, `submissions` that a score may bring
    what was submitted.
    """

    not_a_student: frozenset[int] = frozenset()
    busy: tuple[str, ...] = ()
    whole_maximum: bool = False
    zero_hidden: bool = False
    submissions: bool = False


OTHER: Final = Family()
FAMILIES: Final[Mapping[str, Family]] = MappingProxyType(
    {
        "moodle": Family(not_a_student=frozenset({400})),
        "canvas": Family(not_a_student=frozenset({422}), busy=("rate limit exceeded",), submissions=True),
        "openedx": Family(whole_maximum=True, zero_hidden=True),
        "sakai": OTHER,
    }
)
"""By `product_family_code`, letters and digits only, in lower case."""
_SAME: Final = {"edx": "openedx", "instructure": "canvas"}

# Texts of answers of Basic Outcomes, in lower case, and what they mean; the first that is found counts.
OUTCOME_TEXTS: Final[tuple[tuple[str, Kind, Reason], ...]] = (
    ("signature not valid", Kind.RETRY, Reason.BAD_SIGNATURE),
    ("invalid signature", Kind.RETRY, Reason.BAD_SIGNATURE),
    ("oauth", Kind.RETRY, Reason.BAD_SIGNATURE),
    ("past due", Kind.PERMANENT, Reason.PAST_DUE),
    ("sourcedid hash not valid", Kind.GONE, Reason.NOT_THERE),
    ("invalid sourcedid", Kind.GONE, Reason.NOT_THERE),
    ("sourcedid not found", Kind.GONE, Reason.NOT_THERE),
    ("no longer in course", Kind.GONE, Reason.NOT_A_STUDENT),
    ("user not found", Kind.GONE, Reason.NOT_A_STUDENT),
    ("not enrolled", Kind.GONE, Reason.NOT_A_STUDENT),
    ("assignment is invalid", Kind.GONE, Reason.NOT_THERE),
    ("assignment is no longer", Kind.GONE, Reason.NOT_THERE),
    ("tool is invalid", Kind.GONE, Reason.NOT_THERE),
    ("course is invalid", Kind.GONE, Reason.NOT_THERE),
    ("course not available", Kind.GONE, Reason.NOT_THERE),
)
# `imsx_codeMinorFieldValue` (Outcomes Management 1.0, code lists), in lower case.
OUTCOME_CODES: Final[Mapping[str, tuple[Kind, Reason]]] = MappingProxyType(
    {
        "targetisbusy": (Kind.RETRY, Reason.BUSY),
        "serverbusy": (Kind.RETRY, Reason.BUSY),
        "linkfailure": (Kind.RETRY, Reason.BROKEN),
        "savepointerror": (Kind.RETRY, Reason.BROKEN),
        "unknownobject": (Kind.GONE, Reason.NOT_THERE),
        "nosourcedids": (Kind.GONE, Reason.NOT_THERE),
    }
)


def family(code: str) -> Family:
    """The family of a code as `code_of` writes it; what is not known has no peculiarity."""
    return FAMILIES.get(code, OTHER)


def code_of(launch: Launch) -> str:
    """The code of the platform that a launch comes from, empty when it does not say.

    LTI 1.3 has it in `tool_platform`, LTI 1.1 in `tool_consumer_info_product_family_code`.
    """
    claim = launch.claims.get(TOOL_PLATFORM)
    said = claim.get("product_family_code") if isinstance(claim, Mapping) else None
    if not isinstance(said, str):
        said = "".join(launch.parameters.get("tool_consumer_info_product_family_code", ())[:1])
    plain = "".join(char for char in said.lower() if char.isascii() and char.isalnum())[:LONGEST]
    return _SAME.get(plain, plain)
