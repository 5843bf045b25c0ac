"""`platforms.d`: the same rules as `login` of site.yaml, one file each, with file and line (A36, B09)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coursewarehub.model import ConfigurationError, load_site, usable
from coursewarehub.model.login import used_providers
from coursewarehub.model.platforms import is_platform_name, parse_platform, platform_text

MOODLE = """\
method: lti13
issuer: https://moodle.example.org
client_id: x7Ab3
auth_url: https://moodle.example.org/mod/lti/auth.php
jwks_url: https://moodle.example.org/mod/lti/certs.php
"""
OLD = "method: lti11\nurl: https://old.example.org\nkey: old\nsecret: file:secrets/old\n"
COURSE = "id: demo\ntitle: Demo\n"
USES = "authentication:\n  - method: lti13\n    use: moodle\n"


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


def test_a_platform_is_one_of_the_sites_logins(site: Any) -> None:
    site.write("platforms.d/moodle.yaml", MOODLE)
    site.write("courses.d/demo.yaml", COURSE + USES)
    assert site.run("check").code == 0
    loaded = load_site(site.root)
    assert loaded.site.login["moodle"].client_id == "x7Ab3"
    assert loaded.platforms["moodle"].file == "platforms.d/moodle.yaml"
    assert loaded.problems == ()


def test_both_places_give_the_same(site: Any) -> None:
    site.write("platforms.d/moodle.yaml", MOODLE)
    here = load_site(site.root).site
    (site.root / "platforms.d/moodle.yaml").unlink()
    site.write("site.yaml", "mode: development\nlogin:\n  moodle:\n" + indented(MOODLE))
    assert load_site(site.root).site == here


@pytest.mark.parametrize(
    ("name", "text", "line", "telling"),
    [
        ("moodle.yaml", MOODLE + "isuer: x\n", 6, "unknown key `isuer`"),
        ("moodle.yaml", MOODLE.replace("client_id: x7Ab3\n", ""), 1, "`client_id` is missing"),
        ("moodle.yaml", MOODLE.replace("lti13", "ldap"), 1, "`method` must be one of `lti13`, `lti11`"),
        ("moodle.yaml", MOODLE.replace("method: lti13\n", ""), 1, "`method` is missing"),
        ("moodle.yaml", MOODLE + "key: x\n", 6, "unknown key `key`"),
        ("moodle.yaml", "", 1, "is empty"),
        ("moodle.yaml", "- 1\n", 1, "must be"),
        ("moodle.yml", MOODLE, 1, "rename it to `.yaml`"),
        ("Moodle.yaml", MOODLE, 1, "`Moodle` cannot be the name of a platform"),
        ("dummy.yaml", MOODLE, 1, "`dummy` cannot be the name of a platform"),
        ("old.yaml", OLD.replace("file:secrets/old", "hunter2"), 4, "`secret` must be `file:PATH` or `env:NAME`"),
        ("old.yaml", OLD, 4, "the secret file `secrets/old` does not exist"),
        ("moodle.yaml", MOODLE + "formerly: nobody\n", 6, "`login` has no `nobody`"),
    ],
)
def test_a36_b09_broken_platforms(site: Any, name: str, text: str, line: int, telling: str) -> None:
    site.write(f"platforms.d/{name}", text)
    site.assert_refused(f"platforms.d/{name}:{line}", telling)
    assert "hunter2" not in site.run("check").err


def test_an_address_that_is_not_encrypted_in_production(site: Any) -> None:
    site.write("site.yaml", "mode: production\n")
    site.write("courses.d/demo.yaml", COURSE + USES)
    site.write("platforms.d/moodle.yaml", MOODLE.replace("auth_url: https", "auth_url: http"))
    outcome = site.run("check")
    assert outcome.code == 2
    assert "platforms.d/moodle.yaml:4: " in outcome.err and "production mode refuses" in outcome.err


def test_a_name_stands_in_one_place(site: Any) -> None:
    site.write("site.yaml", "mode: development\nlogin:\n  moodle:\n" + indented(MOODLE))
    site.write("platforms.d/moodle.yaml", MOODLE.replace("x7Ab3", "other"))
    site.assert_refused("platforms.d/moodle.yaml:1", "stands in `login` of site.yaml too (line 3)")


@pytest.mark.parametrize("where", ["site.yaml", "platforms.d/other.yaml"])
def test_a_client_stands_in_one_place(site: Any, where: str) -> None:
    text = "mode: development\nlogin:\n  other:\n" + indented(MOODLE) if where == "site.yaml" else MOODLE
    site.write(where, text)
    site.write("platforms.d/zz.yaml", MOODLE)
    site.assert_refused("platforms.d/zz.yaml:3", "is the same platform and client as `other`")


def test_hidden_and_other_files_are_none(site: Any) -> None:
    for name in (".moodle.yaml.swp", ".moodle.yaml", "README.md", "moodle.yaml~"):
        site.write(f"platforms.d/{name}", "nonsense: [")
    assert site.run("check").code == 0


def test_a_broken_platform_puts_its_courses_out_of_order_and_no_other(site: Any) -> None:
    site.write("platforms.d/old.yaml", OLD)
    site.write("courses.d/demo.yaml", COURSE)
    site.write("courses.d/lti.yaml", "id: lti\ntitle: LTI\nauthentication: {method: lti11, use: old}\n")
    loaded = usable(load_site(site.root))
    assert list(loaded.courses) == ["demo"]
    assert "old" not in loaded.site.login
    files = {problem.file for problem in loaded.problems}
    assert files == {"platforms.d/old.yaml", "courses.d/lti.yaml"}
    site.write("secrets/old", "s3cret\n", mode=0o600)
    assert list(usable(load_site(site.root)).courses) == ["demo", "lti"]


def test_problems_of_platforms_are_told_beside_those_of_the_site(site: Any) -> None:
    site.write("site.yaml", "mod: x\n")
    site.write("platforms.d/moodle.yaml", "method: x\n")
    lines = site.run("check").err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["site.yaml", "platforms.d/moodle.yaml"]


def test_what_the_hub_of_a_course_has_to_know(site: Any) -> None:
    site.write("secrets/old", "s3cret\n", mode=0o600)
    site.write("platforms.d/old.yaml", OLD)
    site.write("platforms.d/canvas.yaml", MOODLE.replace("moodle.example", "canvas.example"))
    site.write("platforms.d/moodle.yaml", MOODLE + "formerly: old\n")
    site.write("courses.d/demo.yaml", COURSE + USES)
    loaded = load_site(site.root)
    used = used_providers(loaded.site.login, loaded.courses["demo"].logins)
    assert sorted(used) == ["moodle", "old"]
    assert used_providers(loaded.site.login, ()) == {}


@pytest.mark.parametrize(
    ("name", "good"), [("moodle", True), ("a-1", True), ("dummy", False), ("A", False), ("", False), ("a/b", False)]
)
def test_names(name: str, good: bool) -> None:
    assert is_platform_name(name) is good


def test_a_written_file_is_read_as_it_was_meant() -> None:
    values = {
        "method": "lti13",
        "issuer": "https://moodle.example.org",
        "client_id": "10000000000042",
        "auth_url": "https://moodle.example.org/auth?a=b&c=d",
        "jwks_url": "https://moodle.example.org/jwks",
        "token_url": None,
        "deployments": ("1", "yes", "# 7: {x}"),
        "title": 'Mo"odle: 講義 #1',
    }
    platform = parse_platform("moodle", platform_text("moodle", values))
    assert platform.model_dump(mode="json", exclude_unset=True) | {"token_url": None} == {
        **values,
        "deployments": ["1", "yes", "# 7: {x}"],
    }


@pytest.mark.parametrize("client", ["x\ny: z", "x\0", "x" * 300, "\u2028", "x\u0085y"])
def test_a_hostile_value_makes_no_file(client: str) -> None:
    values = {"method": "lti13", "issuer": "https://a.org", "client_id": client, "auth_url": "https://a.org/a"}
    values["jwks_url"] = "https://a.org/j"
    try:
        platform = parse_platform("x", platform_text("x", values))
    except ConfigurationError as error:
        assert len(error.problems) == 1
    else:
        assert platform.model_dump()["client_id"] == client


def test_a_folder_that_cannot_be_listed(site: Any) -> None:
    Path(site.root / "platforms.d").write_text("a file")
    site.assert_refused("platforms.d", "cannot be read")
