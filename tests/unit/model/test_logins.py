"""`login` of site.yaml and what courses make of it: strict, with file and line (A36, B09, B10)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coursewarehub.model import Course, Role, Site
from coursewarehub.model.login import GroupRoles, used_secrets

LDAP = "login:\n  ldap:\n    method: ldap\n    server: ldaps://ldap.example.org\n"
DN = "    user_dn: uid={username},dc=x\n"
OIDC = "login:\n  house:\n    method: oidc\n    issuer: https://a.org\n    client_id: x\n    client_secret: file:s\n"
COURSE = "id: demo\ntitle: Demo\n"


@pytest.mark.parametrize(
    ("text", "line", "telling"),
    [
        (LDAP, 3, "needs exactly one of `user_dn` and `search`"),
        (LDAP + DN + "    search: {base: dc=x}\n", 3, "needs exactly one of `user_dn` and `search`"),
        (LDAP + DN + "    bind_dn: cn=a\n", 3, "needs both or none of `bind_dn` and `bind_password`"),
        (LDAP + "    user_dn: uid={user},dc=x\n", 6, "must be a template such as `uid={username}"),
        (LDAP + DN + "    sever: x\n", 7, "unknown key `sever` in `login.ldap` (did you mean `server`?)"),
        (LDAP + DN + "    issuer: https://a.org\n", 7, "`issuer` goes with `method: oidc`"),
        (LDAP + DN + "    ca: no.pem\n", 7, "the file `no.pem` does not exist"),
        (LDAP.replace("ldaps://ldap.example.org", "https://x"), 5, "must be a URL such as `ldaps://ldap.example.org`"),
        (LDAP.replace("ldaps:", "ldap:") + DN + "    starttls: false\n", 7, "which production mode refuses"),
        (LDAP.replace("  ldap:\n", "  dummy:\n") + DN, 3, "cannot be the name of a provider"),
        (LDAP.replace("  ldap:\n", "  accounts:\n") + DN, 3, "cannot be the name of a provider"),
        ("mail: {host: a.org, sender: a@b.org, tls: none}\n", 2, "which production mode refuses"),
        ("mail: {host: a.org, sender: nobody}\n", 2, "`mail.sender` must be an e-mail address"),
        ("mail: {host: a.org, sender: a@b.org, user: x}\n", 2, "needs both or none of `user` and `password`"),
        ("mail: {host: a.org, sender: a@b.org, user: x, password: hunter2}\n", 2, "must be `file:PATH` or `env:NAME`"),
        ("mail: {host: a.org, sender: a@b.org, user: x, password: 'file:s'}\n", 2, "secret file `s` does not exist"),
        ("mail: {host: 'a b', sender: a@b.org}\n", 2, "must be the name or address of a mail server"),
        ("login: {x: {method: kerberos}}\n", 2, "`login.x.method` must be one of `ldap`, `oidc`"),
        ("login: {x: {server: a}}\n", 2, "`login.x.method` is missing"),
        (OIDC, 7, "the secret file `s` does not exist"),
        (OIDC.replace("file:s", "hunter2"), 7, "`login.house.client_secret` must be `file:PATH` or `env:NAME`"),
        (OIDC.replace("file:s", "env:S").replace("https:", "http:"), 5, "is not encrypted, which production mode"),
        (OIDC.replace("file:s", "env:S") + "    scopes: [email]\n", 8, "must have `openid`"),
        ("login: {x: {method: google, client_id: a, client_secret: 'env:S'}}\n", 2, "at Google"),
        ("login: {x: {method: azuread, client_id: a, client_secret: 'env:S', tenant: common}}\n", 2, "`00000000-"),
        ("login: {x: {method: cilogon, client_id: a, client_secret: 'env:S', institutions: []}}\n", 2, "at least one"),
    ],
)  # fmt: skip
def test_a36_b09_broken_login(site: Any, monkeypatch: pytest.MonkeyPatch, text: str, line: int, telling: str) -> None:
    monkeypatch.setenv("S", "x")
    site.write("site.yaml", "mode: production\n" + text)
    site.assert_told(f"site.yaml:{line}", telling)


@pytest.mark.parametrize(
    ("text", "line", "telling"),
    [
        ("authentication: {method: oidc}\n", 3, "`login` of site.yaml has no `oidc` (it has `house`, `ldap`"),
        ("authentication: {method: oidc, use: hause}\n", 3, "has no `hause`"),
        ("authentication: {method: oidc, use: ldap}\n", 3, "is for `ldap`, not for `oidc`"),
        ("authentication:\n  - method: ldap\n  - method: dummy\n", 5, "which production mode refuses"),
        ("authentication:\n  - method: ldap\n  - {method: oidc, use: ldap}\n", 5, "repeats `ldap`"),
        ("authentication:\n  - method: accounts\n  - method: accounts\n", 5, "repeats `accounts`"),
        ("authentication: {method: accounts, invitation: never}\n", 3, "must be a duration such as"),
        ("authentication: {method: accounts, roles: {}}\n", 3, "`roles` goes with `method: ldap`"),
    ],
)
def test_a36_b10_broken_use_of_a_login(site: Any, monkeypatch: Any, text: str, line: int, telling: str) -> None:
    monkeypatch.setenv("S", "x")
    house = OIDC.replace("login:\n", "").replace("file:s", "env:S")
    site.write("site.yaml", "mode: production\nlogin:\n" + house + LDAP.replace("login:\n", "") + DN)
    site.write("courses.d/demo.yaml", COURSE + text)
    site.assert_refused(f"courses.d/demo.yaml:{line}", telling)


def test_a_course_names_a_login_in_one_line(site: Any) -> None:
    site.write("site.yaml", "mode: production\n" + LDAP + DN)
    site.write("courses.d/demo.yaml", COURSE + "authentication: {method: ldap}\n")
    assert site.run("check").code == 0
    shown = site.run("course", "show", "demo")
    assert shown.code == 0 and "ldap" in shown.out


def test_roles_by_groups_are_in_order_of_rank() -> None:
    roles = GroupRoles(instructors=("Staff",), students=("All", "staff"))
    assert roles.role_of(frozenset({"STAFF", "all"})) is Role.INSTRUCTOR
    assert roles.role_of(frozenset({"ALL"})) is Role.STUDENT
    assert roles.role_of(frozenset()) is None


def test_secrets_are_those_of_the_methods_that_are_used() -> None:
    house = {"method": "oidc", "issuer": "https://a.org", "client_id": "x", "client_secret": "env:HOUSE"}
    other = {**house, "client_secret": "env:OTHER"}
    site = Site.model_validate_json(json.dumps({"login": {"house": house, "other": other}}), strict=True)
    logins = [{"method": "oidc", "use": "house"}, {"method": "dummy", "password": "env:DUMMY"}]
    values = {"id": "demo", "title": "D", "authentication": logins}
    course = Course.model_validate_json(json.dumps(values), strict=True)
    assert [str(each) for each in used_secrets(site.login, course.logins)] == ["env:HOUSE", "env:DUMMY"]
