"""Learning platforms (LMS): `login` of site.yaml describes them, a course says what of theirs may enter.

References: LTI 1.1.1 implementation guide; LTI Core 1.3 §3.1 (issuer, client, deployment) and §5.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag

from coursewarehub.model.provider import ProviderName, ProviderSettings
from coursewarehub.model.roles import Role
from coursewarehub.model.secret import SecretReference
from coursewarehub.model.values import Expect, LimitedDuration, Settings, refusal, web_url

# --- what a course says ------------------------------------------------------------------------


def _lti_role(value: str) -> str:
    if re.fullmatch(r"[A-Za-z]+(/[A-Za-z]+)?", value) is None:
        raise ValueError("not a role")
    return value


_LtiRoles = Annotated[
    tuple[
        Annotated[str, AfterValidator(_lti_role), Expect("a role of LTI such as `Mentor` or `Instructor/Grader`")], ...
    ],
    Expect("a list of LTI's roles such as `[Mentor]`"),
]


class LaunchRoles(Settings):
    """What roles of the platform are in the course, where it is not the usual; the usual is in the documentation."""

    owners: _LtiRoles = Field((), description="Roles of those responsible for the course; by default none.")
    instructors: _LtiRoles = Field((), description="Roles of those who teach.", examples=[["Instructor"]])
    assistants: _LtiRoles = Field((), description="Roles of those who help.", examples=[["Mentor"]])
    students: _LtiRoles = Field((), description="Roles of those who learn.", examples=[["Learner"]])
    observers: _LtiRoles = Field((), description="Roles of those who look on.", examples=[["Instructor/Grader"]])

    def by_name(self) -> dict[str, Role]:
        """Return the course's role for each role of the platform, in lower case; the first list wins."""
        found: dict[str, Role] = {}
        for role in Role:
            for name in getattr(self, f"{role}s"):
                found.setdefault(name.lower(), role)
        return found


_ContextIds = tuple[
    Annotated[str, StringConstraints(min_length=1, max_length=255), Expect("the platform's id of a course (text)")], ...
]


def _any_or_list(value: Any) -> str:
    return "list" if isinstance(value, list | tuple) else "any"


def _some(ids: _ContextIds) -> _ContextIds:
    if not ids:
        raise refusal("must name at least one course of the platform", hint="or leave it out")
    return ids


Contexts = Annotated[
    Annotated[Literal["any"], Tag("any"), Expect("`any`, or a list of ids such as `[course-v1:Org+CS1+2026]`")]
    | Annotated[_ContextIds, AfterValidator(_some), Tag("list"), Expect("a list of ids such as `[course-1]`")],
    Discriminator(_any_or_list),
]


class LtiAuthentication(Settings):
    """People come from a course of a learning platform, which `login` of site.yaml describes."""

    method: Literal["lti13", "lti11"] = Field(
        description="How people come: from a learning platform, by LTI 1.3 (`lti13`) or LTI 1.1 (`lti11`)."
    )
    use: ProviderName | None = Field(
        None,
        description="Which entry of `login` in site.yaml; by default the one named like the method.",
        examples=["moodle"],
    )
    contexts: Contexts | None = Field(
        None,
        description="Which courses of the platform lead here, by its own ids; `any` for all of them. By default the "
        "first course from which somebody who teaches there comes, and no other.",
        examples=[["course-v1:Org+CS1+2026"]],
    )
    roles: LaunchRoles = Field(LaunchRoles(), description="What the platform's roles are here; `members` wins.")
    everyone: Literal["student", "observer"] | None = Field(
        None,
        description="What people are for whom the platform names no role in its course; by default they do not enter.",
        examples=["student"],
    )

    @property
    def name(self) -> str:
        """What this way of logging in is called in the course."""
        return self.use or self.method

    def role_of(self, groups: Iterable[str]) -> Role | None:
        """Return the role that the last launch gave: its arrival has the role's name as a group."""
        found = set(groups)
        return next((role for role in Role if role in found), None)


# --- what the site says ------------------------------------------------------------------------


def _endpoint(value: str) -> str:
    """A web address, which may have a query: platforms compare some of them letter by letter."""
    head, mark, query = value.partition("?")
    web_url(head, path=True)
    if not value.isascii() or re.search(r"[\s\\\"<>`#]", query) or (mark and not query):
        raise ValueError("not a web address")
    return value


def _origin(value: str) -> str:
    url = web_url(value, path=True)
    parts = urlsplit(url)
    if parts.path not in {"", "/"}:
        raise refusal("must not have a path")
    return f"{parts.scheme}://{parts.netloc.lower()}"


_Endpoint = Annotated[
    str, StringConstraints(max_length=4096), AfterValidator(_endpoint), Expect("an address such as `https://a.org/b`")
]
_Origins = Annotated[
    tuple[
        Annotated[str, AfterValidator(_origin), Expect("the address of a host such as `https://apps.example.org`")], ...
    ],
    Expect("a list of addresses such as `[https://apps.example.org]`"),
]
_Short = StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")


class LtiPlatform(ProviderSettings):
    """What every learning platform has."""

    origins: _Origins = Field(
        (),
        description="Hosts besides the platform's own in whose pages it shows its courses, as Open edX does with "
        "`apps`: only pages of these may have ours in a frame.",
        examples=[["https://apps.example.org"]],
    )
    anonymous: bool = Field(
        False,
        description="Whether people may come of whom the platform does not say who they are: each time as a new "
        "guest, who is a student at most.",
    )


class Lti13Provider(LtiPlatform):
    """A learning platform (Moodle, Canvas, Open edX ...) that speaks LTI 1.3: one registration of this site there."""

    method: Literal["lti13"] = Field(description="`lti13`: LTI 1.3.")
    issuer: Annotated[
        str, StringConstraints(pattern=r"^\S+$", max_length=4096), Expect("the platform's issuer, letter by letter")
    ] = Field(
        description="The platform's issuer (platform id), letter by letter.",
        examples=["https://moodle.example.org"],
    )
    client_id: Annotated[str, _Short, Expect("text")] = Field(
        description="The client id by which the platform knows this site.", examples=["x7Ab3"]
    )
    auth_url: _Endpoint = Field(
        description="Its authentication request (OIDC login) URL.",
        examples=["https://moodle.example.org/mod/lti/auth.php"],
    )
    token_url: _Endpoint | None = Field(
        None,
        description="Its access token URL; needed for grades and rosters.",
        examples=["https://moodle.example.org/mod/lti/token.php"],
    )
    jwks_url: _Endpoint = Field(
        description="Its public keyset URL.", examples=["https://moodle.example.org/mod/lti/certs.php"]
    )
    token_audience: Annotated[str, _Short, Expect("text")] | None = Field(
        None, description="What the platform wants as audience when it is asked for a token; by default `token_url`."
    )
    deployments: (
        Annotated[
            tuple[Annotated[str, _Short, Expect("a deployment id (text)")], ...],
            Expect('a list of deployment ids such as `["1"]`'),
        ]
        | None
    ) = Field(None, description="Deployment ids from which people may come; by default any.", examples=[["1"]])
    formerly: ProviderName | None = Field(
        None,
        description="The entry of `login` by which the same platform came with LTI 1.1: people keep their accounts "
        "when the platform proves who they were (the `lti1p1` claim).",
        examples=["moodle-old"],
    )

    def own_origins(self) -> frozenset[str]:
        """Return the hosts whose pages may have ours in a frame."""
        return frozenset((*_origins_of((self.issuer, self.auth_url)), *self.origins))


class Lti11Provider(LtiPlatform):
    """A learning platform that speaks LTI 1.1: a key, and a secret that both sides know."""

    method: Literal["lti11"] = Field(description="`lti11`: LTI 1.1.")
    url: Annotated[str, AfterValidator(_origin), Expect("the address of a host such as `https://lms.example.org`")] = (
        Field(description="The platform's own address, without a path.", examples=["https://lms.example.org"])
    )
    key: Annotated[str, _Short, Expect("text")] = Field(
        description="The consumer key that is entered in the platform.", examples=["courses"]
    )
    secret: SecretReference = Field(
        description="The shared secret: `file:PATH` or `env:NAME`.", examples=["file:secrets/lms"]
    )
    former_secret: SecretReference | None = Field(
        None,
        description="The secret of before, which counts as well while links are changed to the new one.",
        examples=["file:secrets/lms-old"],
    )
    window: LimitedDuration = Field(
        300, description="How far the platform's clock may be from this machine's; at most 90 minutes are used."
    )

    def own_origins(self) -> frozenset[str]:
        """Return the hosts whose pages may have ours in a frame."""
        return frozenset((self.url, *self.origins))


def _origins_of(urls: Iterable[str]) -> Iterator[str]:
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.netloc and "@" not in parts.netloc:
            yield f"{parts.scheme}://{parts.netloc.lower()}"


def repeated_platform(providers: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return (name, name of an earlier entry) for the first platform that is there twice: same issuer and client, or
    same key."""
    seen: dict[tuple[str, ...], str] = {}
    for name, provider in providers.items():
        if isinstance(provider, Lti13Provider):
            known: tuple[str, ...] = ("lti13", provider.issuer, provider.client_id)
        elif isinstance(provider, Lti11Provider):
            known = ("lti11", provider.key)
        else:
            continue
        if (earlier := seen.setdefault(known, name)) != name:
            return name, earlier
    return None
