"""How people log in: what a course says, and the providers that `login` of site.yaml describes.

A provider (a directory, an identity provider) is described once, by the operator, under a name. A course only names
it and says who of those people may enter, so that a course file can send nobody's password anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, StringConstraints, Tag, model_validator

from coursewarehub.model.lti import Lti11Provider, Lti13Provider, LtiAuthentication
from coursewarehub.model.provider import ProviderName, ProviderSettings
from coursewarehub.model.roles import Role
from coursewarehub.model.secret import SecretRef, SecretReference
from coursewarehub.model.values import Expect, PlainPath, Settings, refusal, web_url

# --- what a course says ------------------------------------------------------------------------


class DummyAuthentication(Settings):
    """One password shared by everybody in the course: for workshops and for trying things out."""

    method: Literal["dummy"] = Field(description="How people log in; `dummy` asks for a name and the shared password.")
    password: SecretReference | None = Field(
        None,
        description="The shared password: `file:PATH` (readable by its owner only) or `env:NAME`. "
        "By default one is generated once, in the site's state folder.",
        examples=["file:secrets/workshop"],
    )
    workshop: bool = Field(
        False,
        description="Confirms that a shared password is what you want; production mode refuses `dummy` without it.",
    )
    self_chosen_names: bool = Field(
        False,
        description="With `true` anybody who knows the password may choose a name and enter as a student.",
    )

    @property
    def name(self) -> str:
        """What this way of logging in is called in the course."""
        return self.method


GroupNames = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1, max_length=1024), Expect("the name of a group (text)")], ...],
    Expect("a list of groups such as `[teachers]`"),
]


class GroupRoles(Settings):
    """Which groups of the provider are what in the course; of several roles, the first of this list counts."""

    owners: GroupNames = Field((), description="Groups of those responsible for the course.")
    instructors: GroupNames = Field((), description="Groups of those who teach.", examples=[["staff"]])
    assistants: GroupNames = Field((), description="Groups of those who help.", examples=[["tutors"]])
    students: GroupNames = Field((), description="Groups of those who learn.", examples=[["python-2026"]])
    observers: GroupNames = Field((), description="Groups of those who look on.")

    def role_of(self, groups: frozenset[str]) -> Role | None:
        """Return the first role one of whose groups is among `groups`; case does not count."""
        folded = {group.casefold() for group in groups}
        for role in Role:
            if any(group.casefold() in folded for group in getattr(self, f"{role}s")):
                return role
        return None


ProviderMethod = Literal["ldap", "oidc", "github", "gitlab", "google", "azuread", "cilogon"]


class ProviderAuthentication(Settings):
    """People log in with an account they have already, at a provider that `login` of site.yaml describes."""

    method: ProviderMethod = Field(
        description="How people log in: with a password of the directory (`ldap`), or at an identity provider."
    )
    use: ProviderName | None = Field(
        None,
        description="Which entry of `login` in site.yaml; by default the one named like the method.",
        examples=["university"],
    )
    roles: GroupRoles = Field(GroupRoles(), description="What members of the provider's groups are; `members` wins.")
    everyone: Literal["student", "observer"] | None = Field(
        None,
        description="What everybody else is who can log in there; by default nobody else enters.",
        examples=["student"],
    )

    @property
    def name(self) -> str:
        """What this way of logging in is called in the course."""
        return self.use or self.method


Login = DummyAuthentication | ProviderAuthentication | LtiAuthentication

_OneLogin = Annotated[
    Annotated[DummyAuthentication, Tag("dummy")]
    | Annotated[ProviderAuthentication, Tag("ldap")]
    | Annotated[LtiAuthentication, Tag("lti13")],
    Field(discriminator="method"),
]


def _one_or_several(value: Any) -> str:
    return "several" if isinstance(value, list | tuple) else "one"


def _different(logins: tuple[Login, ...]) -> tuple[Login, ...]:
    if not logins:
        raise refusal("must name at least one method")
    names = [login.name for login in logins]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise refusal(f"repeats `{name}`", hint="name another entry of `login` with `use`", at=(index,))
    return logins


Authentication = Annotated[
    Annotated[_OneLogin, Tag("one")]
    | Annotated[
        tuple[_OneLogin, ...],
        AfterValidator(_different),
        Tag("several"),
        Expect("a mapping such as `{method: ldap}`, or a list of such mappings"),
    ],
    Discriminator(_one_or_several),
]

# --- what the site says ------------------------------------------------------------------------


def _ldap_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        valid = parts.scheme in {"ldap", "ldaps"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("not the URL of a directory")
    return value.rstrip("/")


def _user_template(value: str) -> str:
    if value.count("{username}") != 1 or re.search(r"[{}]", value.replace("{username}", "")) or "=" not in value:
        raise ValueError("not a template")
    return value


def _filter(value: str) -> str:
    if not (value.startswith("(") and value.endswith(")")) or re.search(r"[{}]", value):
        raise ValueError("not a filter")
    return value


_Attribute = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9.;-]{0,63}$"), Expect("the name of an attribute (`uid`)")
]
_Dn = Annotated[
    str,
    StringConstraints(pattern=r"^[^\x00-\x1f\x7f{}]*=[^\x00-\x1f\x7f{}]*$", max_length=1024),
    Expect("a distinguished name such as `ou=people,dc=example,dc=org`"),
]


class LdapSearch(Settings):
    """How the entry of a person is found by the name they type."""

    base: _Dn = Field(description="Where people are.", examples=["ou=people,dc=example,dc=org"])
    attribute: _Attribute = Field(
        "uid", description="The attribute that holds the name people type; `sAMAccountName` in Active Directory."
    )
    only: Annotated[str, AfterValidator(_filter), Expect("a filter such as `(objectClass=person)`")] | None = Field(
        None, description="Only entries that this filter fits.", examples=["(objectClass=person)"]
    )


class LdapGroups(Settings):
    """Where the groups are that decide about roles."""

    base: _Dn = Field(description="Where groups are.", examples=["ou=groups,dc=example,dc=org"])
    attribute: _Attribute = Field("cn", description="The attribute that a course's `roles` name groups by.")
    nested: bool = Field(False, description="Whether groups may be members of groups, up to 8 deep.")


class LdapProvider(ProviderSettings):
    """A directory (LDAP, Active Directory): people type the name and password that they have there."""

    method: Literal["ldap"] = Field(description="`ldap`: a directory.")
    server: Annotated[
        str, AfterValidator(_ldap_url), Expect("a URL such as `ldaps://ldap.example.org` or `ldap://10.0.0.5:389`")
    ] = Field(
        description="The directory: `ldaps://` (TLS from the start) or `ldap://`.",
        examples=["ldaps://ldap.example.org"],
    )
    starttls: bool = Field(
        True,
        description="With `ldap://`: encrypt before anything is said. Production mode refuses `false`.",
    )
    ca: PlainPath | None = Field(
        None,
        description="Certificates (PEM) of the authority that the directory's certificate is from; by default the "
        "machine's.",
        examples=["tls/university-ca.pem"],
    )
    user_dn: (
        Annotated[str, AfterValidator(_user_template), Expect("a template such as `uid={username},dc=example,dc=org`")]
        | None
    ) = Field(
        None,
        description="How the distinguished name of a person is made of the name they type; instead of `search`.",
        examples=["uid={username},ou=people,dc=example,dc=org"],
    )
    search: LdapSearch | None = Field(None, description="How a person is found; instead of `user_dn`.")
    bind_dn: _Dn | None = Field(
        None,
        description="The account that searches; without it searches are anonymous.",
        examples=["cn=courses,ou=services,dc=example,dc=org"],
    )
    bind_password: SecretReference | None = Field(
        None, description="Its password: `file:PATH` or `env:NAME`.", examples=["file:secrets/ldap"]
    )
    subject: _Attribute = Field(
        "entryUUID",
        description="The attribute that stays the same when a person is renamed and is never given to another; "
        "`objectGUID` in Active Directory, `dn` where there is none.",
    )
    groups: LdapGroups | None = Field(None, description="Where groups are; without it `roles` of courses find none.")

    @model_validator(mode="after")
    def _one_way(self) -> LdapProvider:
        if (self.user_dn is None) == (self.search is None):
            raise refusal("needs exactly one of `user_dn` and `search`")
        if (self.bind_dn is None) != (self.bind_password is None):
            raise refusal("needs both or none of `bind_dn` and `bind_password`")
        return self


def _issuer(value: str) -> str:
    return web_url(value, path=True).rstrip("/")


_WebUrl = Annotated[str, AfterValidator(_issuer), Expect("a URL such as `https://login.example.org`")]
_Claim = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_:/.-]{1,128}$"), Expect("the name of a claim")]
_Domains = Annotated[
    tuple[
        Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$"), Expect("a domain in lower case")], ...
    ],
    Expect("a list of domains such as `[example.org]`"),
]


class OAuthProvider(ProviderSettings):
    """What every identity provider needs: how it knows this site, and who of its people may come."""

    client_id: Annotated[str, StringConstraints(min_length=1, max_length=255), Expect("text")] = Field(
        description="The name by which the provider knows this site.", examples=["courses"]
    )
    client_secret: SecretReference = Field(
        description="The secret that goes with it: `file:PATH` or `env:NAME`.", examples=["file:secrets/oidc"]
    )
    domains: _Domains = Field(
        (),
        description="Only people whose verified e-mail address is in one of these domains; by default that does not "
        "count.",
        examples=[["example.org"]],
    )


class OidcProvider(OAuthProvider):
    """Any identity provider that speaks OpenID Connect (Keycloak, Shibboleth, Dex ...)."""

    method: Literal["oidc"] = Field(description="`oidc`: OpenID Connect.")
    issuer: _WebUrl = Field(
        description="The provider, as in its `/.well-known/openid-configuration`.",
        examples=["https://login.example.org/realms/university"],
    )
    scopes: tuple[_Claim, ...] = Field(
        ("openid", "profile", "email"), description="What is asked for; `openid` must be among it."
    )
    username: _Claim = Field(
        "preferred_username",
        description="The claim that is the name in `members`; with `email` only verified addresses count.",
    )
    groups: _Claim = Field("groups", description="The claim with the groups that `roles` of courses name.")

    @model_validator(mode="after")
    def _openid(self) -> OidcProvider:
        if "openid" not in self.scopes:
            raise refusal("must have `openid`", at=("scopes",))
        return self


class GithubProvider(OAuthProvider):
    """GitHub. Groups are organisations (`octo-org`) and teams (`octo-org:staff`)."""

    method: Literal["github"] = Field(description="`github`: GitHub.")
    url: _WebUrl = Field("https://github.com", description="GitHub, or a GitHub Enterprise Server.")


class GitlabProvider(OAuthProvider):
    """GitLab. Groups are GitLab's, by their full path (`faculty/staff`)."""

    method: Literal["gitlab"] = Field(description="`gitlab`: GitLab.")
    url: _WebUrl = Field("https://gitlab.com", description="GitLab.com, or a GitLab of your own.")


class GoogleProvider(OAuthProvider):
    """Google. Names are verified e-mail addresses; `domains` are Workspace organisations, and required."""

    method: Literal["google"] = Field(description="`google`: Google.")

    @model_validator(mode="after")
    def _organisations(self) -> GoogleProvider:
        if not self.domains:
            raise refusal(
                "is missing", at=("domains",), hint="whose accounts are meant? Anybody can have one at Google"
            )
        return self


class AzureAdProvider(OAuthProvider):
    """Microsoft Entra ID (Azure AD) of one organisation. Groups are object ids, or what the claim holds."""

    method: Literal["azuread"] = Field(description="`azuread`: Microsoft Entra ID.")
    tenant: Annotated[
        str,
        StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"),
        Expect("the organisation's id such as `00000000-0000-0000-0000-000000000000`"),
    ] = Field(description="The organisation (tenant).", examples=["00000000-0000-0000-0000-000000000000"])


class CilogonProvider(OAuthProvider):
    """CILogon: researchers by their institutions. Names are `eppn`."""

    method: Literal["cilogon"] = Field(description="`cilogon`: CILogon.")
    institutions: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=1024), Expect("an entity id")], ...],
        Expect("a list of entity ids such as `[https://idp.example.org/shibboleth]`"),
    ] = Field(
        description="Entity ids of the institutions whose people may come.",
        examples=[["https://idp.example.org/shibboleth"]],
    )

    @model_validator(mode="after")
    def _some(self) -> CilogonProvider:
        if not self.institutions:
            raise refusal("must have at least one", at=("institutions",))
        return self


Provider = Annotated[
    Annotated[LdapProvider, Tag("ldap")]
    | Annotated[OidcProvider, Tag("oidc")]
    | Annotated[GithubProvider, Tag("github")]
    | Annotated[GitlabProvider, Tag("gitlab")]
    | Annotated[GoogleProvider, Tag("google")]
    | Annotated[AzureAdProvider, Tag("azuread")]
    | Annotated[CilogonProvider, Tag("cilogon")]
    | Annotated[Lti13Provider, Tag("lti13")]
    | Annotated[Lti11Provider, Tag("lti11")],
    Field(discriminator="method"),
]


_SECRET_KEYS = ("bind_password", "client_secret", "secret", "former_secret")


def used_providers(providers: Mapping[str, Provider], logins: Iterable[Login]) -> dict[str, Provider]:
    """Return, by name, those providers that a course with these logins needs: all that its hub has to know of them."""
    names: list[str] = []
    for login in logins:
        provider = providers.get(login.name)
        names += (login.name, getattr(provider, "formerly", None) or "")
    return {name: providers[name] for name in names if name in providers}


def provider_secrets(provider: Provider) -> Iterator[tuple[str, SecretRef]]:
    """Yield (key, reference) of every secret that a provider refers to."""
    for key in _SECRET_KEYS:
        reference = getattr(provider, key, None)
        if reference is not None:
            yield key, reference


def used_secrets(providers: Mapping[str, Provider], logins: Iterable[Login]) -> Iterator[SecretRef]:
    """Yield every reference to a secret that a course with these logins needs for them."""
    for login in logins:
        if isinstance(login, DummyAuthentication):
            if login.password is not None:
                yield login.password
            continue
        provider = providers.get(login.name)
        formerly = providers.get(getattr(provider, "formerly", None) or "")
        for each in (provider, formerly):
            if each is not None:
                yield from (reference for _, reference in provider_secrets(each))
