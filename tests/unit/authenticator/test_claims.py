"""What claims make of somebody: each restriction alone lets nobody through that it should not (A35, B21)."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter

from coursewareauthenticator.claims import MOST_GROUPS, Rules, arrival_of
from coursewareauthenticator.methods import NO_NAME, OTHER_INSTITUTION, UNVERIFIED, LoginFailedError
from coursewareauthenticator.providers import service_of
from coursewarehub.model import Arrival, Identity
from coursewarehub.model.login import Provider

TENANT = "00000000-0000-0000-0000-00000000000a"
OTHER = "00000000-0000-0000-0000-00000000000b"
MAIL = {"email": "ada@example.org", "email_verified": True}
PROVIDERS: dict[str, dict[str, Any]] = {
    "oidc": {"method": "oidc", "issuer": "https://login.example.org"},
    "by-mail": {"method": "oidc", "issuer": "https://login.example.org", "username": "email"},
    "own": {"method": "oidc", "issuer": "https://login.example.org", "domains": ["example.org"]},
    "keycloak": {"method": "oidc", "issuer": "https://login.example.org", "groups": "realm_access.roles"},
    "github": {"method": "github"},
    "gitlab": {"method": "gitlab"},
    "google": {"method": "google", "domains": ["example.org"]},
    "azuread": {"method": "azuread", "tenant": TENANT},
    "azure-domain": {"method": "azuread", "tenant": TENANT, "domains": ["example.org"]},
    "cilogon": {"method": "cilogon", "institutions": ["https://idp.example.org"]},
}
ADA = {"sub": "1", "preferred_username": "ada"}
AT_GOOGLE = {"sub": "1", "hd": "example.org", **MAIL}
AT_AZURE = {"sub": "x", "oid": "1", "tid": TENANT, "preferred_username": "ada@example.org"}
AT_CILOGON = {"sub": "1", "eppn": "ada@example.org", "idp": "https://idp.example.org"}


def rules_of(name: str) -> Rules:
    values = {"client_id": "courses", "client_secret": "env:X", **PROVIDERS[name]}
    provider = TypeAdapter(Provider).validate_python(values)
    return service_of(provider, name, SecretStr("secret"), "").rules


@pytest.mark.parametrize(
    ("provider", "claims", "expected"),
    [
        ("oidc", ADA, "ada"),
        ("oidc", {**ADA, "email": "a@b.c", "email_verified": False}, "ada"),
        ("oidc", {"sub": "1"}, NO_NAME),
        ("oidc", {"preferred_username": "ada"}, NO_NAME),
        ("oidc", {"sub": "", "preferred_username": "ada"}, NO_NAME),
        ("oidc", {"sub": "x" * 513, "preferred_username": "ada"}, NO_NAME),
        ("oidc", {"sub": ["1"], "preferred_username": "ada"}, NO_NAME),
        ("oidc", {"sub": True, "preferred_username": "ada"}, NO_NAME),
        ("oidc", {"sub": "1", "preferred_username": ["ada", "eve"]}, NO_NAME),
        ("by-mail", {"sub": "1", **MAIL}, "ada@example.org"),
        ("by-mail", {"sub": "1", **MAIL, "email_verified": "true"}, "ada@example.org"),
        ("by-mail", {"sub": "1", **MAIL, "email_verified": False}, UNVERIFIED),
        ("by-mail", {"sub": "1", **MAIL, "email_verified": "false"}, UNVERIFIED),
        ("by-mail", {"sub": "1", "email": "ada@example.org"}, UNVERIFIED),
        ("by-mail", ADA, NO_NAME),
        ("own", {**ADA, **MAIL}, "ada"),
        ("own", ADA, UNVERIFIED),
        ("own", {**ADA, **MAIL, "email_verified": False}, UNVERIFIED),
        ("own", {**ADA, **MAIL, "email": "ada@EXAMPLE.org"}, "ada"),
        ("own", {**ADA, **MAIL, "email": "ada@sub.example.org"}, OTHER_INSTITUTION),
        ("own", {**ADA, **MAIL, "email": "ada@example.org@evil.org"}, OTHER_INSTITUTION),
        ("own", {**ADA, **MAIL, "email": "example.org"}, OTHER_INSTITUTION),
        ("github", {"id": 1, "login": "ada"}, "ada"),
        ("github", {"login": "ada"}, NO_NAME),
        ("gitlab", ADA, "ada"),
        ("google", AT_GOOGLE, "ada@example.org"),
        ("google", {**AT_GOOGLE, "hd": "evil.org"}, OTHER_INSTITUTION),
        ("google", {**AT_GOOGLE, "hd": None}, OTHER_INSTITUTION),
        ("google", {**AT_GOOGLE, "email_verified": False}, UNVERIFIED),
        ("google", {**AT_GOOGLE, "email": "ada@evil.org"}, OTHER_INSTITUTION),
        ("azuread", AT_AZURE, "ada@example.org"),
        ("azuread", {**AT_AZURE, "tid": OTHER}, OTHER_INSTITUTION),
        ("azuread", {**AT_AZURE, "tid": [TENANT]}, OTHER_INSTITUTION),
        ("azuread", {key: value for key, value in AT_AZURE.items() if key != "oid"}, NO_NAME),
        ("azure-domain", AT_AZURE, "ada@example.org"),
        ("azure-domain", {**AT_AZURE, "preferred_username": "ada@evil.org"}, OTHER_INSTITUTION),
        ("cilogon", AT_CILOGON, "ada@example.org"),
        ("cilogon", {**AT_CILOGON, "idp": "https://idp.evil.org"}, OTHER_INSTITUTION),
        ("cilogon", {"sub": "1", "idp": "https://idp.example.org"}, NO_NAME),
    ],
)
def test_a35_each_restriction_alone(provider: str, claims: dict[str, Any], expected: str) -> None:
    rules = rules_of(provider)
    if " " in expected:
        with pytest.raises(LoginFailedError) as error:
            arrival_of(provider, rules, claims)
        assert (error.value.sentence, error.value.status) == (expected, 403)
        assert "ada" not in error.value.detail and "example" not in error.value.detail
    else:
        assert arrival_of(provider, rules, claims) == Arrival(Identity(provider, "1"), expected)


@pytest.mark.parametrize(
    ("provider", "claims", "groups"),
    [
        ("oidc", {"groups": ["a", "b", "a"]}, {"a", "b"}),
        ("oidc", {"groups": []}, set()),
        ("oidc", {"groups": None}, set()),
        ("oidc", {"groups": "a"}, {"a"}),
        ("oidc", {"groups": {"a": 1}}, set()),
        ("oidc", {"groups": ["a", 1, None, "", ["b"]]}, {"a"}),
        ("keycloak", {"realm_access": {"roles": ["a"]}}, {"a"}),
        ("keycloak", {"realm_access.roles": ["b"]}, {"b"}),
        ("keycloak", {"realm_access": ["roles"]}, set()),
    ],
)
def test_b21_groups_of_every_shape(provider: str, claims: dict[str, Any], groups: set[str]) -> None:
    assert arrival_of(provider, rules_of(provider), {**ADA, **claims}).groups == groups


def test_b21_ten_thousand_groups_are_taken_and_no_end_of_them_is_not() -> None:
    many = {**ADA, "groups": [f"g{n}" for n in range(MOST_GROUPS + 1000)]}
    assert len(arrival_of("oidc", rules_of("oidc"), many).groups) == MOST_GROUPS
    assert (
        len(arrival_of("oidc", rules_of("oidc"), {**ADA, "groups": [f"g{n}" for n in range(10_000)]}).groups) == 10_000
    )


def test_a35_a_changed_address_is_the_same_person() -> None:
    rules = rules_of("by-mail")
    before = arrival_of("by-mail", rules, {"sub": "1", **MAIL})
    after = arrival_of("by-mail", rules, {"sub": "1", **MAIL, "email": "lovelace@example.org"})
    heir = arrival_of("by-mail", rules, {"sub": "2", **MAIL})
    assert before.identity == after.identity != heir.identity
