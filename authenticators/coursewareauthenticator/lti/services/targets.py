"""Where grades go and rosters come from, as a launch says it; enough to do it hours later, alone. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from coursewareauthenticator.lti.launch import Launch
from coursewareauthenticator.lti.services.families import code_of

AGS: Final = "https://purl.imsglobal.org/spec/lti-ags/scope/"
SCORE: Final = AGS + "score"
LINE_ITEM: Final = AGS + "lineitem"
LINE_ITEM_READ: Final = AGS + "lineitem.readonly"
RESULT_READ: Final = AGS + "result.readonly"
ROSTER_READ: Final = "https://purl.imsglobal.org/spec/lti-nrps/scope/contextmembership.readonly"


@dataclass(frozen=True)
class LineItemTarget:
    """One person in one column of a gradebook (AGS 2.0). `registration` is that of `launch.Launch`.

    `url` is the line item's, `user` the platform's id of the person, `scopes` what the launch grants, `platform` the
    code of `families.code_of`.
    """

    registration: str
    url: str
    user: str
    scopes: frozenset[str]
    platform: str = ""

    @property
    def key(self) -> str:
        """The column, the same for all its people."""
        return f"ags {self.url}"


@dataclass(frozen=True)
class OutcomeTarget:
    """One person in one column of a platform of LTI 1.1 (Basic Outcomes).

    `link` is the resource link and names the column; `sourcedid`, which names column and person to the platform, may
    change with every launch, and only the newest is good. It lets grades be sent, so it is not in the `repr`.
    """

    registration: str
    url: str
    link: str
    sourcedid: str = field(repr=False)
    platform: str = ""

    @property
    def key(self) -> str:
        """The column, the same for all its people."""
        return f"bo {self.link} {self.url}"


Target = LineItemTarget | OutcomeTarget


@dataclass(frozen=True)
class GradebookTarget:
    """All columns that the tool has in one course of a platform: to find and to make them. `url` is `lineitems`."""

    registration: str
    url: str
    scopes: frozenset[str]
    platform: str = ""


@dataclass(frozen=True)
class RosterTarget:
    """The people of a platform's course (NRPS 2.0); `context` is its id there.

    With `link`, a resource link, a platform may say for each person where their grade for it goes.
    """

    registration: str
    url: str
    context: str
    link: str | None = None


def grade_target(launch: Launch) -> Target | None:
    """Where the grade of whoever launched goes, or None when the platform offers nothing.

    AGS where the launch brings a line item and the right to send scores; else Basic Outcomes of LTI 1.1.
    """
    grades, outcomes = launch.services.grades, launch.services.outcomes
    if launch.subject is None:
        return None
    if grades is not None and grades.lineitem and SCORE in grades.scopes:
        return LineItemTarget(launch.registration, grades.lineitem, launch.subject, grades.scopes, code_of(launch))
    # Platforms of 1.3 that offer Basic Outcomes besides want it signed otherwise, and have AGS.
    if outcomes is None or launch.version != "1.1" or launch.resource_link is None:
        return None
    return OutcomeTarget(
        launch.registration, outcomes.url, launch.resource_link.id, outcomes.sourcedid, code_of(launch)
    )


def gradebook_target(launch: Launch) -> GradebookTarget | None:
    """Where columns are found and made, or None when the launch does not say."""
    grades = launch.services.grades
    if grades is None or not grades.lineitems:
        return None
    return GradebookTarget(launch.registration, grades.lineitems, grades.scopes, code_of(launch))


def roster_target(launch: Launch) -> RosterTarget | None:
    """Where the roster of the launch's course is, or None when the platform offers none."""
    if launch.services.roster is None or launch.context is None:
        return None
    link = launch.resource_link.id if launch.resource_link else None
    return RosterTarget(launch.registration, launch.services.roster.url, launch.context.id, link)
