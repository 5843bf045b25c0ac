"""The language of a request, and the links that change it."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from coursewarehub.i18n import LANGUAGES, choose, language_links, negotiate, return_path


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "en"),
        ("ja", "ja"),
        ("JA", "ja"),
        ("ja-JP", "ja"),
        ("ja_JP", "ja"),
        ("fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5", "fr"),
        ("de, fr;q=0.3", "fr"),
        ("de", "en"),
        ("en;q=0.5, ja;q=0.6", "ja"),
        ("en;q=0.6, ja;q=0.6", "en"),
        ("ja;q=0.6, en;q=0.6", "ja"),
        ("en-GB;q=0.2, ja;q=0.4, en;q=0.9", "en"),
        ("fr-CA, fr;q=0.1, ja;q=0.9", "fr"),
        ("ja;q=0", "en"),
        ("en;q=0, ja;q=0.001", "ja"),
        ("ja;q=0.000, fr;q=0", "en"),
        ("ja ; q = 0.9 , fr;q=0.8", "ja"),
        ("ja;Q=0.2,fr;q=0.3", "fr"),
        ("ja;q=1.000", "ja"),
        ("ja;q=.9, fr;q=.95", "fr"),
        ("fr;level=1;q=0.9, ja;q=0.8", "fr"),
        ("*", "en"),
        ("de, *;q=0.1", "en"),
        ("en;q=0, *", "ja"),
        ("en;q=0.1, *;q=0.5", "ja"),
        ("*;q=0", "en"),
        # not well formed: the part is left out, the rest counts
        ("ja;q=abc, fr;q=0.1", "fr"),
        ("ja;q=2, fr;q=0.1", "fr"),
        ("ja;q=-1, fr;q=0.1", "fr"),
        ("ja;q=nan, fr;q=0.1", "fr"),
        ("ja;q=, fr;q=0.1", "fr"),
        ("ja;q=１, fr;q=0.1", "fr"),
        (",, ,;;=,ja", "ja"),
        ("<script>, ja", "ja"),
        ("fran\u00e7ais, ja;q=0.1", "ja"),
        ("jaa, enfr", "en"),
        ("x" * 5000 + ", ja", "en"),
        ("ja," * 5000, "ja"),
        ("\x00\xff", "en"),
    ],
)
def test_negotiation(header: str, expected: str) -> None:
    assert negotiate(header) == expected


@pytest.mark.parametrize(
    ("header", "default", "expected"),
    [
        ("", "ja", "ja"),
        ("de", "fr", "fr"),
        ("*", "fr", "fr"),
        ("en, *;q=0.5", "fr", "en"),
        ("", "ja-JP", "ja"),
        ("", "de", "en"),
        ("", "", "en"),
        ("fr;q=0", "fr", "fr"),
    ],
)
def test_default(header: str, default: str, expected: str) -> None:
    assert negotiate(header, default) == expected


@pytest.mark.parametrize(
    ("cookie", "header", "defaults", "expected"),
    [
        ("fr", "ja", ("en",), "fr"),
        ("de", "ja", ("en",), "ja"),
        ("", "ja", ("en",), "ja"),
        (None, None, ("de", "ja"), "ja"),
        (None, None, ("fr-CA", "ja"), "fr"),
        (None, None, (), "en"),
        ("../../etc", None, ("zz",), "en"),
    ],
)
def test_choice(cookie: str | None, header: str | None, defaults: tuple[str, ...], expected: str) -> None:
    assert choose(cookie, header, *defaults) == expected


def test_links_come_back() -> None:
    back = "/courses/a/hub/login?next=%2Fcourses%2Fa%2Fhub%2F&x=1"
    links = language_links("ja", "/", back)
    assert [link.code for link in links] == list(LANGUAGES)
    assert [link.current for link in links] == [False, True, False]
    for link in links:
        query = parse_qs(urlsplit(link.url).query)
        assert query == {"lang": [link.code], "next": [back]}
        assert return_path(query["next"][0]) == back


def test_links_on_the_portal() -> None:
    assert [link.url for link in language_links("en")] == ["?lang=en", "?lang=ja", "?lang=fr"]


@pytest.mark.parametrize(
    "path", ["/", "/courses/a/hub/login?next=%2Fx", "/courses/a/?u=https://example.org//x", "/a#//b"]
)
def test_paths_of_the_site(path: str) -> None:
    assert return_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        None,
        "",
        "courses/a",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/a//evil.example",
        "/..//evil.example",
        "https://evil.example/",
        "https:evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        " /courses",
        "/\tcourses",
        "/courses\r\nSet-Cookie: a=b",
        "/\x00",
        "/日本",
        "/ａ",
        "/ //evil.example",
        "/" + "a" * 3000,
    ],
)
def test_other_hosts_and_damaged_paths(path: str | None) -> None:
    assert return_path(path, "/home") == "/home"
