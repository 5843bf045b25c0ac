"""The `Link` header as platforms write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coursewareauthenticator.lti.services.links import links

BASE = "https://lms.example.org/mod/lti/services.php/CourseSection/2/bindings/1/lineitems?limit=1"
NEXT = "https://lms.example.org/items?limit=1&from=1"
ESCAPED = NEXT.replace("&", "&amp;")


@pytest.mark.parametrize(
    "headers",
    [
        [f'<{NEXT}>; rel="next"'],
        [f"<{NEXT}>; rel=next"],
        [f"<{NEXT}>;rel='next'"],
        [f'<{NEXT}>; REL = "Next"'],
        [f'<{NEXT}>; title="a, b; c"; rel="next"'],
        [f'<{NEXT}>; rel="last next"'],
        [f'<https://lms.example.org/items?limit=1>; rel="first", <{NEXT}>; rel="next"'],
        [f'<https://lms.example.org/1>; rel="current",<{NEXT}>; rel="next",<https://lms.example.org/9>; rel="last"'],
        ['<https://lms.example.org/1>; rel="first"', f'<{NEXT}>; rel="next"'],
        [f"<{ESCAPED}>; rel=\u201cnext\u201d"],
        [f"<{ESCAPED}>; rel=\u201cnext\u201d".encode().decode("latin-1")],
        ['</items?limit=1&from=1>; rel="next"'],
        ['<//lms.example.org/items?limit=1&from=1>; rel="next"'],
        [f'  < {NEXT} > ; rel="next"'],
    ],
    ids=range(14),
)
def test_ags_02_nr_01_the_next_page_is_found(headers: list[str]) -> None:
    assert links(headers, BASE)["next"] == NEXT


def test_ags_02_a_relative_address_is_of_the_page_it_came_from() -> None:
    assert links(['<?limit=1&from=2>; rel="next"'], BASE)["next"] == BASE.partition("?")[0] + "?limit=1&from=2"


def test_ags_02_names_of_letters_in_addresses_stay() -> None:
    """`&region` is a parameter, and not the registered trade mark."""
    assert links(['<https://a.example/x?a=1&region=2&copy=3>; rel="next"'], BASE)["next"].endswith("&region=2&copy=3")


@pytest.mark.parametrize(
    "header",
    [
        "",
        NEXT,
        f"<{NEXT}>",
        f'<{NEXT}>; rel="prev"',
        f'<{NEXT}>; rel="nextish"',
        f'<{NEXT}; rel="next"',
        "<>; rel=next",
        '<https://[>; rel="next"',
        f'<{NEXT}>; rel=""',
        f'<{NEXT}>; xrel="next"',
    ],
)
def test_ags_02_what_is_no_next_page_is_none(header: str) -> None:
    assert "next" not in links([header], BASE)


@given(st.lists(st.text(st.sampled_from("<>;,=\"' relnxt\u201c&amp/[:"), max_size=60), max_size=3))
def test_b03_any_header_can_be_read(headers: list[str]) -> None:
    assert all(isinstance(url, str) for url in links(headers, BASE).values())


def test_a30_a_long_header_takes_no_time() -> None:
    assert links(["<" * 100_000 + ">" * 100_000, 'rel="' * 50_000], BASE) == {}
