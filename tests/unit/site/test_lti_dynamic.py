"""The documents of dynamic registration: what is taken from platforms, and what they are told."""

from __future__ import annotations

from typing import Any

import pytest
from support.models import a_course, a_site
from support.registering_platform import TOKEN, TOOL, FakePlatform

from coursewarehub.site.lti.dynamic import (
    CLAIMS,
    PRIVACY,
    Registered,
    RegistrationRefused,
    read_configuration,
    read_registration,
    refused,
    registration,
)
from coursewarehub.site.lti.tool import SCOPES, Addresses, tool_of

URL = "https://lms.example.org:8443"
ADDRESSES = Addresses("https://courses.example.org:444/")
NAMES = ("issuer", "authorization_endpoint", "jwks_uri", "token_endpoint", "registration_endpoint")


def platform(family: Any = "moodle", **said: Any) -> FakePlatform:
    found = FakePlatform(family)
    found.url, found.said = URL, said
    return found


def refusal(url: str = f"{URL}/configuration", **said: Any) -> str:
    with pytest.raises(RegistrationRefused) as caught:
        read_configuration(platform(**said).configuration(), url)
    assert "%(" not in str(caught.value)
    return str(caught.value)


def test_dr_02_a_configuration() -> None:
    found = read_configuration(platform("canvas").configuration(), f"{URL}/configuration")
    assert (found.issuer, found.jwks_url, found.auth_url) == (URL, f"{URL}/jwks", f"{URL}/auth")
    assert (found.token_url, found.audience, found.family) == (f"{URL}/token", "lms.example.org:8443", "canvas")


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://evil.example.org", f"{URL}/configuration"),
        ("https://lms.example.org", f"{URL}/configuration"),
        ("https://lms.example.org.evil.example.org:8443", f"{URL}/configuration"),
        ("https://canvas.instructure.com", "https://sso.beta.canvaslms.com/api/lti/security/openid-configuration"),
        ("https://canvas.instructure.com", "https://sso.canvaslms.com.evil.example.org/x"),
    ],
)
def test_dr_02_the_issuer_is_of_the_host_that_publishes_it(issuer: str, url: str) -> None:
    assert "not registered" in refusal(url, issuer=issuer)


@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        ("https://LMS.example.org", "https://lms.example.org:443/x"),
        ("https://canvas.instructure.com", "https://sso.canvaslms.com/api/lti/security/openid-configuration"),
        ("https://canvas.test.instructure.com", "https://sso.test.canvaslms.com/x"),
    ],
)
def test_dr_02_hosts_that_are_the_same(issuer: str, url: str) -> None:
    document = platform(issuer=issuer).configuration()
    assert read_configuration(document, url).issuer == issuer


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value", [None, "", 7, [], "/auth", "javascript:alert(1)", "https://a b.org/", f"{URL}/{'x' * 3000}"]
)
def test_dr_02_addresses_that_are_missing_or_wrong(name: str, value: Any) -> None:
    assert f"`{name}`" in refusal(**{name: value})


@pytest.mark.parametrize("name", NAMES[1:])
def test_dr_02_everything_of_a_secure_platform_is_secure(name: str) -> None:
    assert "https://" in refusal(**{name: "http://lms.example.org:8443/x"})


@pytest.mark.parametrize(
    "wrong", [None, 7, "x", [7], [{"type": 7}], [{"type": "LtiDeepLinkingRequest", "placements": 7}]]
)
def test_messages_that_cannot_be_read_are_none(wrong: Any) -> None:
    lti = {"product_family_code": wrong, "messages_supported": wrong}
    document = platform(**{"https://purl.imsglobal.org/spec/lti-platform-configuration": lti}).configuration()
    found = read_configuration(document, f"{URL}/configuration")
    assert not any(found.messages.values())
    document = platform(**{"https://purl.imsglobal.org/spec/lti-platform-configuration": wrong}).configuration()
    assert read_configuration(document, f"{URL}/configuration").family == ""


def test_dr_02_a_platform_without_https() -> None:
    """Where the site's mode allows one; a secure address never speaks for one."""
    document = platform(issuer="http://lms.example.org:8443").configuration()
    url = "http://lms.example.org:8443/configuration"
    assert read_configuration(document, url, secure=False).issuer == "http://lms.example.org:8443"
    with pytest.raises(RegistrationRefused, match=r"`issuer` .* does not begin with https://"):
        read_configuration(document, url)
    with pytest.raises(RegistrationRefused, match="not registered"):
        read_configuration(document, f"{URL}/configuration", secure=False)


def told(family: Any) -> dict[str, Any]:
    known = read_configuration(platform(family).configuration(), f"{URL}/configuration")
    tool = tool_of(a_site(title="Courses"), ADDRESSES)
    return registration(tool, ADDRESSES.callbacks, known, SCOPES)


def test_dr_03_dr_04_what_moodle_wants() -> None:
    fake, document = platform("moodle"), told("moodle")
    status, answer = fake.register(TOKEN, document)
    assert (status, read_registration(answer)) == (200, Registered("x7Ab3", "4"))
    base = "https://courses.example.org:444/lti"
    assert document["initiate_login_uri"] == f"{base}/login"
    assert document["redirect_uris"] == [f"{base}/callback", f"{base}/launch"]
    assert document["jwks_uri"] == f"{base}/jwks"
    assert document[TOOL]["domain"] == "courses.example.org:444"
    assert document[TOOL]["target_link_uri"] == f"{base}/launch"
    assert PRIVACY not in document[TOOL]
    assert all("placements" not in message for message in document[TOOL]["messages"])


def test_dr_07_what_is_asked_for_of_people() -> None:
    for family in ("moodle", "canvas"):
        assert told(family)[TOOL]["claims"] == list(CLAIMS)
    assert {"sub", "iss", "name", "given_name", "family_name", "email"} == set(CLAIMS)


def test_dr_08_what_canvas_wants() -> None:
    fake, document = platform("canvas"), told("canvas")
    status, answer = fake.register(TOKEN, document)
    assert (status, read_registration(answer)) == (200, Registered("10000000000042"))
    placements = {message["type"]: message["placements"] for message in document[TOOL]["messages"]}
    assert placements == {
        "LtiResourceLinkRequest": ["course_navigation"],
        "LtiDeepLinkingRequest": ["link_selection", "assignment_selection"],
    }
    assert document[TOOL][PRIVACY] == "public"


def test_l13_22_no_scope_that_is_not_used() -> None:
    assert told("canvas")["scope"] == " ".join(SCOPES)


@pytest.mark.parametrize("wrong", [None, "", 7, [], "x" * 300, "a\nb", "a\0"])
def test_dr_03_an_answer_without_a_client(wrong: Any) -> None:
    with pytest.raises(RegistrationRefused, match="client_id"):
        read_registration({"client_id": wrong})
    assert read_registration({"client_id": "c", TOOL: {"deployment_id": wrong}}) == Registered("c")
    assert read_registration({"client_id": "c", TOOL: wrong}) == Registered("c")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"error": "invalid_redirect_uri"}, "invalid_redirect_uri"),
        ({"error": "x", "error_description": "No such thing"}, "No such thing"),
        ({"message": "domain_targetlinkuri_mismatch"}, "domain_targetlinkuri_mismatch"),
        ({"errors": [{"message": "unknown placements"}]}, "unknown placements"),
        ({"errors": "plain"}, "plain"),
        ({}, "HTTP 400"),
        ({"errors": [7]}, "HTTP 400"),
    ],
)
def test_dr_03_a_refusal_in_the_platforms_words(said: dict[str, Any], words: str) -> None:
    assert words in str(refused(said, 400))


def test_dr_05_a_token_of_the_platforms_that_was_used() -> None:
    fake = platform("moodle")
    assert fake.register(TOKEN, told("moodle"))[0] == 200
    status, words = fake.register(TOKEN, told("moodle"))
    assert status == 401
    assert "start the registration there once more" in str(refused({"message": words}, status))


def test_one_course_as_a_tool() -> None:
    course = a_course("python", title={"en": "Python", "ja": "パイソン"}, description="First steps")
    tool = tool_of(a_site(language="ja"), ADDRESSES, course)
    assert (tool.title, tool.description) == ("パイソン", "First steps")
    assert tool.launch_url == "https://courses.example.org:444/lti/launch?course=python"
    assert tool_of(a_site(), ADDRESSES, a_course()).description
