"""What platforms are given to register the tool."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from coursewareauthenticator.lti.documents import Tool, cartridge, configuration

BASE = "https://hub.example.org:8443/courses/python/hub/lti"
TOOL = Tool("Python & <friends>", "「演習」", f"{BASE}/login", f"{BASE}/launch", f"{BASE}/jwks.json")
BLTI = "{http://www.imsglobal.org/xsd/imsbasiclti_v1p0}"


def test_l13_22_all_addresses_are_complete_and_ours() -> None:
    found = configuration(TOOL)
    assert found["oidc_initiation_url"] == f"{BASE}/login"
    assert found["target_link_uri"] == f"{BASE}/launch"
    assert found["redirect_uris"] == [f"{BASE}/launch"]
    assert found["public_jwk_url"] == f"{BASE}/jwks.json"
    (extension,) = found["extensions"]
    assert extension["domain"] == "hub.example.org:8443"
    assert {one["target_link_uri"] for one in extension["settings"]["placements"]} == {f"{BASE}/launch"}
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("scopes", [[], ["https://purl.imsglobal.org/spec/lti-ags/scope/score"]])
def test_l13_22_only_the_scopes_that_are_used(scopes: list[str]) -> None:
    assert configuration(TOOL, scopes)["scopes"] == scopes
    assert json.dumps(configuration(TOOL, scopes)).count("/scope/") == len(scopes)


@pytest.mark.parametrize("name", ["login_url", "launch_url", "jwks_url"])
@pytest.mark.parametrize("url", ["/hub/lti/launch", "hub.example.org/x", "", "javascript:alert(1)"])
def test_l13_22_an_address_that_is_not_complete(name: str, url: str) -> None:
    with pytest.raises(ValueError, match="not a complete web address"):
        replace(TOOL, **{name: url})


def test_l11_17_a_cartridge() -> None:
    root = ElementTree.fromstring(cartridge(TOOL))
    assert root.tag == "{http://www.imsglobal.org/xsd/imslticc_v1p3}cartridge_basiclti_link"
    assert root.findtext(f"{BLTI}title") == "Python & <friends>"
    assert root.findtext(f"{BLTI}description") == "「演習」"
    assert root.findtext(f"{BLTI}launch_url") == root.findtext(f"{BLTI}secure_launch_url") == f"{BASE}/launch"


def test_l11_17_without_tls_there_is_no_secure_address() -> None:
    root = ElementTree.fromstring(cartridge(replace(TOOL, launch_url="http://localhost:8000/hub/lti/launch")))
    assert root.find(f"{BLTI}secure_launch_url") is None
    assert root.findtext(f"{BLTI}launch_url") == "http://localhost:8000/hub/lti/launch"


def test_l11_17_values_are_escaped() -> None:
    hostile = "</blti:title><blti:launch_url>https://evil.example</blti:launch_url>"
    root = ElementTree.fromstring(cartridge(replace(TOOL, title=hostile, launch_url=f"{BASE}/launch?a=1&b=2")))
    assert root.findtext(f"{BLTI}title") == hostile
    assert [one.text for one in root.iter(f"{BLTI}launch_url")] == [f"{BASE}/launch?a=1&b=2"]
