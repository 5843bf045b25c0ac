"""LTI 1.3: how a login begins, and which tokens end it. Tokens are signed by hand, not with the code under test."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.lti import (
    CLAIM,
    CLIENT,
    DEPLOYMENT,
    ISSUER,
    MEMBERSHIP,
    NOW,
    b64,
    claims,
    ec_key,
    jwk,
    key_set,
    rsa_key,
    token,
)  # fmt: skip

from coursewareauthenticator.lti import lti13
from coursewareauthenticator.lti.launch import (
    BadSignature,
    Former,
    Launch,
    LaunchRefused,
    Message,
    Person,
    UnknownKey,
    return_address,
)
from coursewareauthenticator.lti.login import LIFETIME, Login, Pending, begin_login, read_callback, unseal
from coursewareauthenticator.lti.lti11 import Consumer
from coursewareauthenticator.lti.lti13 import Rules
from coursewareauthenticator.lti.registrations import Registration, Registrations
from coursewareauthenticator.lti.tokens import read_key_set

SECRET = b"a secret of the hub's"
REDIRECT = "https://hub.example.org/courses/python/hub/lti/launch13"
MOODLE = Registration(ISSUER, CLIENT, f"{ISSUER}/auth?x=1", f"{ISSUER}/jwks", f"{ISSUER}/token")
REGISTRATIONS = Registrations([MOODLE])
KEYS = read_key_set(key_set())
PENDING = Pending(ISSUER, CLIENT, "n-1", NOW + 3000, hashlib.sha256(b"tab").hexdigest())
INITIATION = {"iss": [ISSUER], "login_hint": ["42"], "target_link_uri": ["https://hub.example.org/x"]}


def launch(id_token: str, registration: Registration = MOODLE, **how: Any) -> Launch:
    values: dict[str, Any] = {
        "pending": PENDING,
        "registrations": Registrations([registration]),
        "keys": KEYS,
        "rules": Rules(NOW),
    } | how
    return lti13.verify(id_token, **values)


def refused(id_token: str, registration: Registration = MOODLE, **how: Any) -> tuple[int, str]:
    with pytest.raises(LaunchRefused) as caught:
        launch(id_token, registration, **how)
    sentence = caught.value.sentence
    assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 400
    return caught.value.status, caught.value.field


def begin(browser: str = "tab", **parameters: list[str] | None) -> Login:
    given_ = {name: values for name, values in (INITIATION | parameters).items() if values is not None}
    return begin_login(given_, REGISTRATIONS, REDIRECT, SECRET, browser, NOW)


def test_l13_04_the_request_to_the_platform() -> None:
    login = begin(lti_message_hint=["m&1"])
    parts = urlsplit(login.url)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{ISSUER}/auth"
    assert dict(parse_qsl(parts.query)) == {
        "x": "1", "scope": "openid", "response_type": "id_token", "response_mode": "form_post", "prompt": "none",
        "client_id": CLIENT, "redirect_uri": REDIRECT, "login_hint": "42", "lti_message_hint": "m&1",
        "state": login.state, "nonce": login.nonce,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["iss", "login_hint", "target_link_uri"])
@pytest.mark.parametrize(
    ("values", "status"), [(None, 400), ([""], 400), (["a", "b"], 400), (["x" * 65536], 413), (["\ud800"], 400)]
)
def test_l13_01_b02_a_required_parameter(name: str, values: list[str] | None, status: int) -> None:
    with pytest.raises(LaunchRefused) as caught:
        begin(**{name: values})
    assert (caught.value.status, caught.value.field) == (status, name)


@pytest.mark.parametrize(
    "issuer", ["https://lms.example.org/", "https://evil.example", "LMS", "http://lms.example.org"]
)
def test_l13_01_an_unknown_issuer_is_not_sent_to_anybody(issuer: str) -> None:
    with pytest.raises(LaunchRefused, match="knows no platform") as caught:
        begin(iss=[issuer])
    assert (caught.value.status, caught.value.field) == (400, "iss")


@pytest.mark.parametrize("uri", ["javascript:alert(1)", "/relative", "https://u:p@hub.example.org"])
def test_a05_the_unsigned_target_must_be_a_web_address(uri: str) -> None:
    with pytest.raises(LaunchRefused) as caught:
        begin(target_link_uri=[uri])
    assert caught.value.field == "target_link_uri"


CANVAS = "https://canvas.instructure.com"
MANY = Registrations(
    [
        MOODLE,
        Registration(CANVAS, "100", "https://sso.example.org/a", "https://sso.example.org/keys"),
        Registration(CANVAS, "200", "https://sso.example.org/b", "https://sso.example.org/other-keys"),
    ]
)


@pytest.mark.parametrize(
    ("issuer", "client", "found"),
    [
        (ISSUER, CLIENT, (ISSUER, CLIENT)),
        (ISSUER, None, (ISSUER, CLIENT)),
        (CANVAS, "100", (CANVAS, "100")),
        (CANVAS, "200", (CANVAS, "200")),
        (CANVAS, None, "client_id"),
        (CANVAS, CLIENT, "client_id"),
        (ISSUER, "100", "client_id"),
        (ISSUER, "None", "client_id"),
        ("https://other.example.org", CLIENT, "iss"),
    ],
)
def test_l13_02_l13_03_many_platforms_and_clients(issuer: str, client: str | None, found: Any) -> None:
    try:
        registration = MANY.find(issuer, client)
    except LaunchRefused as refusal:
        assert (refusal.status, refusal.field) == (400, found)
    else:
        assert (registration.issuer, registration.client_id) == found


def test_l13_02_a_registration_must_be_whole_and_unique() -> None:
    with pytest.raises(ValueError, match="two registrations"):
        Registrations([MOODLE, replace(MOODLE, auth_url="https://other.example.org/auth")])
    for changes in (
        {"issuer": ""},
        {"issuer": "a b"},
        {"client_id": ""},
        {"auth_url": "lms"},
        {"jwks_url": "file:///x"},
    ):
        with pytest.raises(ValueError, match=r"needs an issuer|not a web address"):
            replace(MOODLE, **changes)


def test_l13_03_a_missing_client_id_is_that_of_the_registration() -> None:
    assert parse_qs(urlsplit(begin().url).query)["client_id"] == [CLIENT]


def test_l13_05_launches_side_by_side_in_one_browser() -> None:
    logins = [begin() for _ in range(5)]
    assert len({login.state for login in logins}) == len({login.nonce for login in logins}) == 5
    for login in reversed(logins):
        pending = unseal(login.state, SECRET, NOW + 1)
        pending.check_browser("tab")
        found = launch(token(claims(login.nonce)), pending=pending)
        assert found.once.value == login.nonce


@pytest.mark.parametrize("browser", [None, "", "another", "tab "])
def test_l13_05_a_launch_ends_in_the_browser_that_began_it(browser: str | None) -> None:
    pending = unseal(begin().state, SECRET, NOW)
    with pytest.raises(LaunchRefused, match="window of its own") as caught:
        pending.check_browser(browser)
    assert (caught.value.status, caught.value.field) == (401, "state")


def test_l13_05_a_login_may_take_a_detour_of_ten_minutes_but_not_a_day() -> None:
    state = begin().state
    assert unseal(state, SECRET, NOW + 600).issuer == ISSUER
    assert unseal(state, SECRET, NOW + LIFETIME).issuer == ISSUER
    with pytest.raises(LaunchRefused, match="more than an hour"):
        unseal(state, SECRET, NOW + LIFETIME + 1)


def test_l13_05_a_forged_state_is_none() -> None:
    state = begin().state
    body, mac = state.split(".")
    for forged in ("", ".", state[:-1], state + "0", f"{body}.", f".{mac}", f"{body[:-1]}A.{mac}", "é.ü", "\ud800.x"):
        with pytest.raises(LaunchRefused, match="not begun here"):
            unseal(forged, SECRET, NOW)
    with pytest.raises(LaunchRefused, match="not begun here"):
        unseal(state, b"another secret", NOW)


@pytest.mark.parametrize(
    ("target", "kept"),
    [(None, None), ("_parent", "_parent"), ("post_message_forwarding", "post_message_forwarding"), ("a'b", None)],
)
def test_l13_06_the_platforms_storage_is_named(target: str | None, kept: str | None) -> None:
    assert begin(lti_storage_target=None if target is None else [target]).storage_target == kept


def test_l13_07_the_platforms_refusal_is_shown() -> None:
    answer = {"error": ["login_required"], "error_description": ["Please\nlog in"], "state": ["s"]}
    with pytest.raises(LaunchRefused, match=r"login_required Please.log in") as caught:
        read_callback(answer)
    assert (caught.value.status, caught.value.field) == (400, "error")


@pytest.mark.parametrize("name", ["state", "id_token"])
def test_l13_07_b02_the_callback_needs_both(name: str) -> None:
    whole = {"state": ["s"], "id_token": ["t"]}
    assert (read_callback(whole).state, read_callback(whole).id_token) == ("s", "t")
    for values in ([], [""], ["a", "b"]):
        with pytest.raises(LaunchRefused) as caught:
            read_callback(whole | {name: values})
        assert (caught.value.status, caught.value.field) == (400, name)


def test_l13_08_a_whole_launch_is_understood() -> None:
    found = launch(token(claims()))
    assert (found.version, found.message) == ("1.3", Message.RESOURCE_LINK)
    assert (found.registration, found.subject, found.deployment) == (f"lti13:{ISSUER} {CLIENT}", "42", DEPLOYMENT)
    assert found.context is not None and found.resource_link is not None
    assert (found.context.id, found.context.label, found.context.types) == ("course-1", None, ("CourseSection",))
    assert (found.resource_link.id, found.resource_link.title) == ("link-7", "Week 3")
    assert found.roles == (f"{MEMBERSHIP}#Learner",)
    assert found.custom == {"notebook": "week3/a.ipynb", "points": "3", "open": "true", "none": ""}
    assert (found.return_url, found.locale) == ("https://lms.example.org/back", "fr")
    assert found.person == Person("Ada Lovelace", None, None, "ada@example.org")
    services = found.services
    assert services.grades is not None and services.roster is not None and services.outcomes is not None
    assert services.grades.lineitem == "https://lms.example.org/items/1?type_id=1"
    assert services.grades.scopes == {"https://purl.imsglobal.org/spec/lti-ags/scope/score"}
    assert (services.roster.url, services.roster.versions) == ("https://lms.example.org/members", ("2.0",))
    assert services.outcomes.sourcedid == '{"a":"b:c"}'


def test_l13_08_es256_is_accepted() -> None:
    assert launch(token(claims(), key=ec_key(), kid="e1")).subject == "42"


PUBLIC_PEM = (
    rsa_key().public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
)


def hs256(secret: bytes, algorithm: str = "HS256") -> str:
    header = {"typ": "JWT", "alg": algorithm, "kid": "k1"}
    text = ".".join(b64(json.dumps(part).encode()) for part in (header, claims()))
    return f"{text}.{b64(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def unsigned(algorithm: str) -> str:
    return token(claims(), header={"alg": algorithm})


A03 = {
    "alg none": (unsigned("none"), (400, "id_token")),
    "alg None": (unsigned("None"), (400, "id_token")),
    "alg none, no signature": (unsigned("none").rpartition(".")[0] + ".", (400, "id_token")),
    "HS256 with the public key": (hs256(PUBLIC_PEM), (400, "id_token")),
    "HS256 with the modulus": (hs256(json.dumps(jwk(rsa_key(), "k1")).encode()), (400, "id_token")),
    "an HMAC that says RS256": (hs256(PUBLIC_PEM, "RS256"), (401, "id_token")),
    "RS512": (unsigned("RS512"), (400, "id_token")),
    "ES256 with an RSA key": (unsigned("ES256"), (401, "kid")),
    "RS256 with an EC key": (token(claims(), key=ec_key(), kid="e1", header={"alg": "RS256"}), (401, "kid")),
    "another key of that name": (token(claims(), key=rsa_key("attacker")), (401, "id_token")),
    "an unknown key": (token(claims(), kid="k2"), (401, "kid")),
    "jku": (token(claims(), header={"jku": "https://evil.example/jwks"}), (400, "id_token")),
    "x5u": (token(claims(), header={"x5u": "https://evil.example/cert"}), (400, "id_token")),
    "x5c": (token(claims(), header={"x5c": ["MIIB"]}), (400, "id_token")),
    "jwk": (
        token(claims(), key=rsa_key("attacker"), header={"jwk": jwk(rsa_key("attacker"), "k1")}),
        (400, "id_token"),
    ),
    "crit": (token(claims(), header={"crit": ["exp"]}), (400, "id_token")),
    "b64": (token(claims(), header={"b64": False, "crit": ["b64"]}), (400, "id_token")),
    "zip": (token(claims(), header={"zip": "DEF"}), (400, "id_token")),
    "an access token": (token(claims(), header={"typ": "at+jwt"}), (400, "id_token")),
    "JWE": (".".join([b64(b'{"alg":"RSA-OAEP","enc":"A256GCM","kid":"k1"}')] + ["AAAA"] * 4), (400, "id_token")),
}


@pytest.mark.parametrize("name", A03)
def test_a03_l13_08_a_token_not_signed_as_it_must_be(name: str) -> None:
    id_token, answer = A03[name]
    assert refused(id_token) == answer


def test_l13_08_a_key_worth_fetching_again_is_told_apart() -> None:
    with pytest.raises(UnknownKey):
        launch(token(claims(), kid="k2"))
    with pytest.raises(BadSignature):
        launch(token(claims(), key=rsa_key("attacker")))


B03 = {
    "1 segment": "abc",
    "2 segments": "abc.def",
    "4 segments": f"{token(claims())}.abc",
    "empty": "",
    "bad base64": "a!b.c$d.e%f",
    "base64 of another length": "A.B.C",
    "padding": token(claims()).replace(".", "=."),
    "header no JSON": f"{b64(b'nonsense')}.{b64(b'{}')}.AAAA",
    "header a list": f"{b64(b'[]')}.{b64(b'{}')}.AAAA",
    "header with a name twice": b64(b'{"alg":"RS256","alg":"none","kid":"k1"}') + ".e30.AAAA",
    "header too deep": f"{b64(b'[' * 40000)}.{b64(b'{}')}.AAAA",
    "no kid": token(claims(), header={"kid": None}),
    "empty kid": token(claims(), header={"kid": ""}),
    "kid a number": token(claims(), header={"kid": 1}),
    "no alg": token(claims(), header={"alg": None}),
    "alg a list": token(claims(), header={"alg": ["RS256"]}),
    "payload no JSON": token(b"nonsense"),
    "payload a list": token([claims()]),
    "payload with a name twice": token(b'{"iss":"a","iss":"b"}'),
    "payload not UTF-8": token(b'{"iss":"\xff"}'),
    "payload with half a character": token(b'{"iss":"\\ud800"}'),
    "payload with infinity": token(b'{"exp":Infinity}'),
    "payload with too large a number": token(b'{"exp":1e999}'),
    "payload with 5000 digits": token(b'{"exp":' + b"9" * 5000 + b"}"),
    "payload too deep": token(b'{"a":' * 5000 + b"1" + b"}" * 5000),
    "not ASCII": token(claims()) + "é",
    "a line": token(claims()) + "\n",
}


@pytest.mark.parametrize("name", B03)
def test_b03_a_token_that_is_none(name: str) -> None:
    assert refused(B03[name]) == (400, "id_token")


def test_b03_a_token_of_a_megabyte() -> None:
    assert refused("a" * 2**20) == (413, "id_token")
    assert refused(token(claims(custom={"x": "y" * 2**20}))) == (413, "id_token")


REQUIRED = [
    "iss", "aud", "sub", "nonce", "exp", "iat", "version", "message_type", "deployment_id", "roles",
    "resource_link", "target_link_uri",
]  # fmt: skip


@pytest.mark.parametrize("name", REQUIRED)
def test_b02_b03_l13_13_a_required_claim_missing(name: str) -> None:
    status, field = refused(token(claims(**{name: None})))
    assert status == 400
    assert field.split(".")[0] == name


@pytest.mark.parametrize("name", [name for name in REQUIRED if name != "aud"])
@pytest.mark.parametrize("value", ["", [], {}, 0, True, [{}], {"id": []}, {"id": {"id": "x"}}], ids=str)
def test_b03_a_required_claim_of_another_type(name: str, value: Any) -> None:
    if name == "roles" and value == []:
        return
    status, field = refused(token(claims(**{name: value})))
    assert status in {400, 401}, (name, value)
    assert field.split(".")[0] == name


WRONG_TYPES = {
    "context": ["x", [], 1, {"id": 1}, {"id": ""}, {"id": "a\0"}, {"id": "x", "label": 1}, {"id": "x", "type": "y"}],
    "resource_link": ["x", [1], {"id": "x" * 256}, {"id": "x", "title": []}],
    "roles": ["Learner", [1], [None], {"a": 1}, ["x"] * 201],
    "custom": ["x", ["y"], 1, {"a": []}, {"a": {}}, {str(number): "" for number in range(201)}],
    "launch_presentation": ["x", {"return_url": 1}, {"return_url": "javascript:alert(1)"}, {"locale": 3}],
    "name": [1, ["Ada"]],
    "email": [1, {}],
    "deployment_id": [4, ["4"], "x" * 256],
    "target_link_uri": ["javascript:alert(1)", "/x", 7],
    "https://purl.imsglobal.org/spec/lti-ags/claim/endpoint": ["x", {"scope": "y"}, {"lineitems": "ftp://x"}],
    "https://purl.imsglobal.org/spec/lti-nrps/claim/namesroleservice": ["x", {"context_memberships_url": 1}],
    "https://purl.imsglobal.org/spec/lti-bo/claim/basicoutcome": ["x", {"lis_result_sourcedid": 1}],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG_TYPES.items() for value in values])
def test_b03_nested_claims_of_wrong_types(name: str, value: Any) -> None:
    status, field = refused(token(claims(**{name: value})))
    assert status == 400
    assert field.split(".")[0] == name.rpartition("/")[2]


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"iss": "https://evil.example"}, (401, "iss")),
        ({"iss": ISSUER + "/"}, (401, "iss")),
        ({"aud": "client-2"}, (401, "aud")),
        ({"aud": [CLIENT + "x"]}, (401, "aud")),
        ({"aud": []}, (401, "aud")),
        ({"aud": [CLIENT, "other"]}, (401, "azp")),
        ({"aud": [CLIENT, "other"], "azp": "other"}, (401, "azp")),
        ({"azp": "other"}, (401, "azp")),
        ({"azp": ""}, (401, "azp")),
        ({"aud": "other", "azp": CLIENT}, (401, "aud")),
        ({"aud": [CLIENT]}, None),
        ({"azp": CLIENT}, None),
        ({"aud": ["other", CLIENT], "azp": CLIENT}, None),
    ],
)
def test_l13_10_a03_issuer_and_audience(changes: dict[str, Any], answer: tuple[int, str] | None) -> None:
    if answer is None:
        assert launch(token(claims(**changes))).subject == "42"
    else:
        assert refused(token(claims(**changes))) == answer


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"exp": NOW - 61}, "exp", "61 s ago"),
        ({"exp": NOW - 60}, None, ""),
        ({"exp": NOW - 86400}, "exp", "86400 s ago"),
        ({"iat": NOW + 61}, "iat", "61 s in the future"),
        ({"iat": NOW + 60}, None, ""),
        ({"iat": NOW - 661}, "iat", "661 s old"),
        ({"iat": NOW - 660}, None, ""),
        ({"iat": NOW - 0.5, "exp": NOW + 59.5}, None, ""),
        ({"nbf": NOW + 61}, "nbf", "61 s in the future"),
        ({"nbf": NOW - 5}, None, ""),
    ],
)
def test_l13_10_f28_times_with_leeway(changes: dict[str, Any], field: str | None, words: str) -> None:
    id_token = token(claims(**changes))
    if field is None:
        assert launch(id_token).subject == "42"
        return
    with pytest.raises(LaunchRefused, match=words) as caught:
        launch(id_token)
    assert (caught.value.status, caught.value.field) == (401, field)


@pytest.mark.parametrize("off", [-600, 600, 3600])
def test_f28_leeway_and_age_are_the_callers(off: int) -> None:
    assert refused(token(claims()), rules=Rules(NOW + off))[0] == 401
    assert launch(token(claims()), rules=Rules(NOW + off, leeway=4000)).subject == "42"
    assert refused(token(claims(exp=NOW + 9000)), rules=Rules(NOW + 500, max_age=300)) == (401, "iat")


@pytest.mark.parametrize("value", ["1800000000", True, [NOW], 1e13, -1e13])
def test_b03_times_of_another_kind(value: Any) -> None:
    assert refused(token(claims(exp=value))) == (400, "exp")
    assert refused(token(claims(nbf=value))) == (400, "nbf")


@pytest.mark.parametrize("nonce", ["n-2", "N-1", "n-1 ", "é"])
def test_l13_11_a03_the_nonce_is_that_of_the_request(nonce: str) -> None:
    assert refused(token(claims(nonce))) == (401, "nonce")


def test_l13_11_the_nonce_is_remembered_longer_than_its_state_lives() -> None:
    login = begin()
    pending = unseal(login.state, SECRET, NOW)
    once = launch(token(claims(login.nonce, exp=NOW + 10**9)), pending=pending).once
    assert (once.owner, once.value) == (MOODLE.registration, login.nonce)
    assert NOW + LIFETIME + 3600 <= once.expires <= NOW + LIFETIME + 2 * 3600


@pytest.mark.parametrize(
    ("deployments", "deployment", "allowed"),
    [(None, "4", True), (None, "anything", True), ({"4"}, "4", True), ({"4"}, "5", False), (set(), "4", False)],
)
def test_l13_12_a03_a_new_deployment(deployments: set[str] | None, deployment: str, allowed: bool) -> None:
    strict = replace(MOODLE, deployments=None if deployments is None else frozenset(deployments))
    id_token = token(claims(deployment_id=deployment))
    if allowed:
        assert launch(id_token, strict).deployment == deployment
    else:
        assert refused(id_token, strict) == (403, "deployment_id")


def test_l13_12_a_new_deployment_is_told_before_the_detour() -> None:
    strict = Registrations([replace(MOODLE, deployments=frozenset({"4"}))])
    with pytest.raises(LaunchRefused) as caught:
        begin_login(INITIATION | {"lti_deployment_id": ["5"]}, strict, REDIRECT, SECRET, "tab", NOW)
    assert (caught.value.status, caught.value.field) == (403, "lti_deployment_id")


@pytest.mark.parametrize("context", [None, {"id": "course-2"}])
def test_a03_another_course_of_the_platform(context: Any) -> None:
    only = replace(MOODLE, contexts=frozenset({"course-1"}))
    assert refused(token(claims(context=context)), only) == (403, "context.id")
    assert launch(token(claims()), only).subject == "42"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"version": "1.3"}, "version"),
        ({"version": "LTI-1p0"}, "version"),
        ({"message_type": "LtiStartProctoring"}, "message_type"),
        ({"message_type": "basic-lti-launch-request"}, "message_type"),
    ],
)
def test_l13_13_a03_version_and_message_type(changes: dict[str, str], field: str) -> None:
    assert refused(token(claims(**changes))) == (400, field)


@pytest.mark.parametrize(
    "changes",
    [{"roles": []}, {"context": None}, {"context": {"id": "1", "label": "", "title": ""}}, {"custom": None}],
    ids=str,
)
def test_l13_13_what_may_be_empty(changes: dict[str, Any]) -> None:
    assert launch(token(claims(**changes))).subject == "42"


def test_l13_14_a_guest_enters_only_where_guests_may() -> None:
    assert refused(token(claims(sub=None))) == (400, "sub")
    assert launch(token(claims(sub=None)), replace(MOODLE, guests=True)).subject is None
    assert launch(token(claims()), replace(MOODLE, guests=True)).subject == "42"
    assert refused(token(claims(sub="")), replace(MOODLE, guests=True)) == (400, "sub")


def test_l13_15_the_target_is_the_signed_one() -> None:
    login = begin(target_link_uri=["https://hub.example.org/unsigned"])
    found = launch(token(claims(login.nonce)), pending=unseal(login.state, SECRET, NOW))
    assert found.target_link_uri == claims()[CLAIM + "target_link_uri"]
    assert "unsigned" not in repr(unseal(login.state, SECRET, NOW))


OLD = {"old-key": Consumer("old-key", ("old secret", "older secret"))}


def proof(secret: str, nonce: str = "n-1", client: str = CLIENT) -> str:
    """LTI Core §6.2."""
    text = "&".join(["old-key", DEPLOYMENT, ISSUER, client, str(NOW + 60), nonce])
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()).decode()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, Former("lti11:old-key", "7", "old-link")),
        ({"oauth_consumer_key_sign": proof("older secret")}, Former("lti11:old-key", "7", "old-link")),
        ({"user_id": None, "resource_link_id": None}, Former("lti11:old-key", "42", None)),
        ({"oauth_consumer_key_sign": None}, None),
        ({"oauth_consumer_key": "unknown"}, None),
        ({"oauth_consumer_key": ["old-key"]}, None),
        ({"oauth_consumer_key_sign": proof("guessed")}, "lti1p1.oauth_consumer_key_sign"),
        ({"oauth_consumer_key_sign": proof("old secret", nonce="n-0")}, "lti1p1.oauth_consumer_key_sign"),
        ({"oauth_consumer_key_sign": proof("old secret", client="x")}, "lti1p1.oauth_consumer_key_sign"),
        ({"oauth_consumer_key_sign": 1}, "lti1p1.oauth_consumer_key_sign"),
        ({"user_id": 7}, "lti1p1.user_id"),
    ],
)
def test_l13_19_the_account_of_lti_1_1_days(changes: dict[str, Any], found: Any) -> None:
    claim = {
        "oauth_consumer_key": "old-key",
        "oauth_consumer_key_sign": proof("old secret"),
        "user_id": "7",
        "resource_link_id": "old-link",
    } | changes
    id_token = token(claims(lti1p1={name: value for name, value in claim.items() if value is not None}))
    if isinstance(found, str):
        assert refused(id_token, consumers=OLD)[1] == found
    else:
        assert launch(id_token, consumers=OLD).former == found


@pytest.mark.parametrize(
    ("url", "said", "back"),
    [
        (None, {"error": "No", "log": "x"}, None),
        ("https://lms.example.org/back", {}, "https://lms.example.org/back"),
        (
            "https://lms.example.org/back?id=1#x",
            {"error": "No & no"},
            "https://lms.example.org/back?id=1&lti_errormsg=No+%26+no#x",
        ),
        (
            "https://lms.example.org/back",
            {"error": "No", "log": "exp: over"},
            "https://lms.example.org/back?lti_errormsg=No&lti_errorlog=exp%3A+over",
        ),
        (
            "https://lms.example.org/back",
            {"message": "Bye", "log": "left"},
            "https://lms.example.org/back?lti_msg=Bye&lti_log=left",
        ),
    ],
)
def test_l13_20_the_way_back_says_why(url: str | None, said: dict[str, str], back: str | None) -> None:
    assert return_address(url, **said) == back


def test_l13_23_a_submission_to_review() -> None:
    review = {"message_type": "LtiSubmissionReviewRequest", "for_user": {"user_id": "99"}}
    found = launch(token(claims(**review)))
    assert (found.message, found.for_user) == (Message.SUBMISSION_REVIEW, "99")
    assert refused(token(claims(**review | {"for_user": None}))) == (400, "for_user.user_id")


@pytest.mark.parametrize(
    ("email", "kept"),
    [
        ("a@b", "a@b"),
        ("", None),
        ("ada", None),
        ("@b", None),
        ("a b@c", None),
        ("a@b@c", None),
        ("a" * 255 + "@b", None),
    ],
)
def test_l13_17_an_address_is_an_attribute_or_nothing(email: str, kept: str | None) -> None:
    assert launch(token(claims(email=email))).person.email == kept


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("Ada", "Ada"),
        ("  ", None),
        ("A\0d\na", "A d a"),
        ("\u202eadA", "adA"),
        ("<b>Ada</b>", "<b>Ada</b>"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("x" * 5000, "x" * 4096),
    ],
    ids=range(7),
)
def test_a15_l13_17_a_name_is_one_line_and_turns_nothing(name: str, kept: str | None) -> None:
    assert launch(token(claims(name=name))).person.name == kept


KEY_SETS = {
    "no JSON": b"nonsense",
    "a list": b"[]",
    "no keys": b"{}",
    "keys an object": b'{"keys": {}}',
    "empty": b'{"keys": []}',
    "not UTF-8": b"\xff",
    "too large": b'{"keys": []}' + b" " * 300_000,
    "too many": json.dumps({"keys": [{}] * 101}).encode(),
    "keys of other kinds": key_set({"kty": "oct", "k": "c2VjcmV0", "kid": "k1"}, {"kty": "OKP", "kid": "k1"}),
    "no objects": json.dumps({"keys": ["x", 1, None, []]}).encode(),
    "no kid": key_set(jwk(rsa_key(), "k1") | {"kid": None}),
    "for encryption": key_set(jwk(rsa_key(), "k1", use="enc")),
    "another algorithm": key_set(jwk(rsa_key(), "k1", alg="RS512")),
    "too small": key_set(jwk(rsa_key("small", 1024), "k1")),
    "damaged": key_set(jwk(rsa_key(), "k1", n="!!!"), jwk(rsa_key(), "k2", n=1), jwk(rsa_key(), "k3", e="")),
    "off the curve": key_set(jwk(ec_key(), "k1", x=b64(b"\1" * 32))),
    "another curve": key_set(jwk(ec_key(), "k1", crv="P-384")),
    "kty a list": key_set(jwk(rsa_key(), "k1", kty=["RSA"])),
    "too deep": b"[" * 100_000,
}


@pytest.mark.parametrize("name", KEY_SETS)
def test_a03_f20_a_key_set_without_a_usable_key(name: str) -> None:
    with pytest.raises(LaunchRefused) as caught:
        read_key_set(KEY_SETS[name])
    assert (caught.value.status, caught.value.field) == (502, "jwks")


def test_a03_a_usable_key_among_others_is_found() -> None:
    keys = read_key_set(key_set(jwk(rsa_key(), "k1", n="!"), jwk(ec_key(), "k1"), jwk(rsa_key(), "k1", d="private")))
    assert launch(token(claims()), keys=keys).subject == "42"
    assert launch(token(claims(), key=ec_key(), kid="k1"), keys=keys).subject == "42"


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
JSON_BYTES = st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode())
CLAIM_NAMES = st.sampled_from([*claims(), CLAIM + "for_user", CLAIM + "lti1p1", "azp", "nbf", "locale", "given_name"])


@st.composite
def malformed(draw: st.DrawFn) -> str:
    changed: dict[str, Any] = claims()
    for name, value in draw(st.lists(st.tuples(CLAIM_NAMES, JSON), max_size=4)):
        inside = changed.get(name)
        if isinstance(inside, dict) and inside and draw(st.booleans()):
            changed[name] = inside | {draw(st.sampled_from(sorted(inside))): value}
        else:
            changed[name] = value
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return draw(st.text(max_size=200))
    if kind == 1:
        parts = draw(
            st.lists(st.one_of(st.binary(max_size=60), JSON.map(lambda v: json.dumps(v).encode())), max_size=5)
        )
        return ".".join(map(b64, parts))
    if kind == 2:
        return token(changed, header=draw(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit"]), JSON)))
    if kind == 3:
        return token(draw(JSON_BYTES))
    return token(changed)


def _only_refusals(id_token: str) -> None:
    try:
        found = launch(id_token, consumers=OLD)
    except LaunchRefused as refusal:
        assert 400 <= refusal.status < 500
        assert refusal.field
        assert "\n" not in refusal.sentence
    else:
        assert (found.subject, found.registration) and found.once.value == "n-1"


@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(malformed())
def test_b03_malformed_tokens_raise_nothing_but_a_refusal(id_token: str) -> None:
    _only_refusals(id_token)


@pytest.mark.long
@pytest.mark.timeout(1800)
@settings(max_examples=100_000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(malformed())
def test_b03_a_hundred_thousand_malformed_tokens(id_token: str) -> None:
    _only_refusals(id_token)
