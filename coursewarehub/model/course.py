"""`courses.d/<id>.yaml`: one course."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from coursewarehub.model.content import Content
from coursewarehub.model.login import AccountsAuthentication, Authentication, DummyAuthentication, Login
from coursewarehub.model.resources import Resources
from coursewarehub.model.roles import Role
from coursewarehub.model.spawner import Placement
from coursewarehub.model.values import (
    Duration,
    Expect,
    ImageName,
    LocalizedText,
    Moment,
    Settings,
    Title,
    UserNames,
    refusal,
)

MOST_IMAGES = 32
"""Images of one course besides the usual one; each is kept on every node."""

COURSE_ID = r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$"


def is_course_id(text: str) -> bool:
    """Whether a text can be the id of a course."""
    return re.fullmatch(COURSE_ID, text) is not None


class CourseState(StrEnum):
    """How far a course is in its life."""

    DRAFT = "draft"
    OPEN = "open"
    CLOSED = "closed"
    ARCHIVED = "archived"


class Dates(Settings):
    """When students and observers may enter; owners, instructors and assistants always may."""

    opens: Moment | None = Field(
        None,
        description="First day, or moment, of the course. A day without a time starts at midnight where the server is.",
        examples=["2026-04-01"],
    )
    closes: Moment | None = Field(
        None,
        description="Last day (it counts in full) or last moment of the course.",
        examples=["2026-07-31"],
    )

    @model_validator(mode="after")
    def _ordered(self) -> Dates:
        if self.opens is None or self.closes is None:
            return self
        if isinstance(self.opens, datetime) and isinstance(self.closes, datetime):
            ordered = self.opens < self.closes
        else:
            ordered = _day(self.opens) <= _day(self.closes)
        if not ordered:
            raise refusal("must be after `opens`", at=("closes",))
        return self


def _day(moment: date) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


class Members(Settings):
    """Who takes part, by role."""

    owners: UserNames = Field((), description="Responsible for the course.", examples=[["prof-tanaka"]])
    instructors: UserNames = Field((), description="Teach the course.", examples=[["suzuki"]])
    assistants: UserNames = Field((), description="Help teaching and grading.", examples=[["lee"]])
    students: UserNames = Field((), description="Learn.", examples=[["alice", "bob"]])
    observers: UserNames = Field((), description="Look on without taking part.", examples=[["eve"]])

    @model_validator(mode="after")
    def _each_once(self) -> Members:
        seen: dict[str, tuple[str, int]] = {}
        for role, index, name in self._entries():
            if name in seen:
                raise refusal(_twice(name, *seen[name], role), at=(role, index))
            seen[name] = role, index
        return self

    def _entries(self) -> Iterator[tuple[str, int, str]]:
        for role in _ROLE_OF_LIST:
            for index, name in enumerate(getattr(self, role)):
                yield role, index, name

    def role_of(self, name: str) -> Role | None:
        """Return the role of a normalised user name."""
        for names, role in _ROLE_OF_LIST.items():
            if name in getattr(self, names):
                return role
        return None

    def by_role(self) -> dict[Role, tuple[str, ...]]:
        """Return the user names of every role."""
        return {role: getattr(self, names) for names, role in _ROLE_OF_LIST.items()}


_ROLE_OF_LIST = {f"{role}s": role for role in Role}


def _twice(name: str, first: str, index: int, second: str) -> str:
    if first == second:
        return f"repeats `{name}`, which is item {index + 1} of the same list"
    return f"is `{name}`, who is in `{first}` as well; keep the name in one list"


class Limits(Settings):
    """Limits of the course as a whole."""

    servers: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None,
        description="Most learners' servers at once; by default there is no such limit.",
        examples=[100],
    )
    idle_server: Duration = Field(3600, description="Stop a learner's server that has been idle for so long.")


class Course(Settings):
    """One file `courses.d/<id>.yaml`."""

    id: Annotated[
        str,
        StringConstraints(pattern=COURSE_ID),
        Expect(
            "text of 2 to 32 lower-case letters, digits and dashes that starts with a letter and "
            "does not end with a dash"
        ),
    ] = Field(
        description="Name of the course in URLs; the file is called `<id>.yaml`.",
        examples=["python-basics"],
    )
    title: Title = Field(
        description="Title of the course: one text, or one per language (`{en: ..., ja: ..., fr: ...}`).",
        examples=["Python basics"],
    )
    description: LocalizedText = Field(LocalizedText(""), description="What the portal says about the course.")
    language: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$"),
        Expect("a language tag such as `en`, `ja` or `pt-BR`"),
    ] = Field("en", description="Language the course is taught in.")
    dates: Dates = Field(Dates(), description="When students may enter.")
    state: CourseState = Field(
        CourseState.DRAFT,
        description="`draft`: only owners, instructors and assistants enter, and the portal does "
        "not show it; `open`: everybody does; `closed`: students no longer enter; `archived`: "
        "nobody does.",
    )
    authentication: Authentication = Field(
        DummyAuthentication(method="dummy"),
        description="How people log in: one method, or a list of methods. Names of people who come by the first are "
        "written as they are; before those of another stands its name, as in `github:ada`.",
    )
    members: Members = Field(Members(), description="Who takes part, by role.")
    image: ImageName | None = Field(
        None,
        description="Container image of the learners' servers; by default the spawner's. The `local` spawner "
        "ignores it.",
        examples=["example.org/teaching/python:2026.1"],
    )
    images: Annotated[
        tuple[ImageName, ...],
        Field(max_length=MOST_IMAGES),
        Expect(f"a list of at most {MOST_IMAGES} names of container images"),
    ] = Field(
        (),
        description="Further container images that learners may choose instead of the usual one: on the page that "
        "starts their server, or by a link of a learning platform (`course_image`). No other can be chosen. The "
        "`local` spawner ignores them.",
        examples=[["example.org/teaching/r:2026.1"]],
    )
    egress: Literal["none", "registries", "open"] = Field(
        "open",
        description="What learners' containers reach beyond the site: `none` (for examinations), only the package "
        "`registries` of the spawner, or the internet (`open`). The `local` spawner cannot keep to it.",
    )
    placement: Placement = Field(Placement(), description="Nodes of a swarm on which learners' servers may run.")
    resources: Resources = Field(Resources(), description="Limits of one learner's server.")
    content: Content | None = Field(
        None,
        description="Where the materials come from; without it learners start in an empty folder.",
    )
    limits: Limits = Field(Limits(), description="Limits of the course as a whole.")

    @model_validator(mode="after")
    def _images_each_once(self) -> Course:
        for index, image in enumerate(self.images):
            if image == self.image:
                raise refusal("is the usual image (`image`) already", at=("images", index), hint="remove it here")
            if image in self.images[:index]:
                raise refusal(f"repeats `{image}`", at=("images", index), hint="keep it once")
        return self

    def images_with(self, usual: str) -> tuple[str, ...]:
        """The images that learners may have, the usual one first; `usual` is the spawner's, for a course without."""
        return tuple(dict.fromkeys((self.image or usual, *self.images)))

    @property
    def logins(self) -> tuple[Login, ...]:
        """The ways to log in, the first one first."""
        return self.authentication if isinstance(self.authentication, tuple) else (self.authentication,)

    @property
    def workshop(self) -> DummyAuthentication | None:
        """The login with a shared password, if the course has one."""
        return next((login for login in self.logins if isinstance(login, DummyAuthentication)), None)

    @property
    def accounts(self) -> AccountsAuthentication | None:
        """The login with passwords of people's own, if the course has it."""
        return next((login for login in self.logins if isinstance(login, AccountsAuthentication)), None)

    def login(self, name: str) -> Login | None:
        """The way to log in of this name, if the course has it."""
        return next((login for login in self.logins if login.name == name), None)

    def login_key(self, login: Login) -> tuple[str | int, ...]:
        """Where a way to log in stands in the file."""
        if not isinstance(self.authentication, tuple):
            return ("authentication",)
        return ("authentication", self.authentication.index(login))
