"""The page of launches: well made, one button, works without scripts, and what others have written is only text."""

from __future__ import annotations

from typing import Any

import pytest

from coursewareauthenticator.lti.launch import LaunchRefused
from coursewarehub.i18n import LANGUAGES

from .hub_handler import handler, rendered
from .structure import HOSTILE, Page

FORM = {"action": "open", "fields": {"launch": "ticket"}, "new_window": True}
PICKER = {"ticket": "t", "notebooks": ("a.ipynb", "week 2/b.ipynb"), "multiple": False, "some": True}
REFUSED = {"refused": True, "sentence": "You are not a member of this course."}


def page(language: str = "en", **values: Any) -> Page:
    return Page(rendered(handler(headers={"Accept-Language": language}), "lti.html", nonce="n0", **values))


ASKING = {"here": "Ada (lti-1)", "new": "Bob (lti-2)", "fields": {"launch": "t", "leave": "l"}}


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_button_each_way_for_somebody_else(language: str) -> None:
    shown = page(language, asking=ASKING)
    ways = [each for each in shown.all("button") + shown.all("a") if "cw-button" in each.get("class", "")]
    assert len(ways) == 2 and ways[1]["href"].endswith("/hub/home")
    (form,) = shown.all("form")
    assert (form["method"], form["action"]) == ("post", "open") and "target" not in form
    assert sum(text.count("Ada (lti-1)") for text in shown.texts) == 2
    assert not shown.all("script")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "values",
    [
        {"form": FORM},
        {"form": FORM | {"new_window": False}},
        {"picker": PICKER},
        {"picker": PICKER | {"some": False}},
        REFUSED,
        REFUSED | {"back": "https://lms.example.org/"},
    ],
)
def test_every_kind_has_one_way_on(values: dict[str, Any], language: str) -> None:
    shown = page(language, **values)
    assert shown.all("html") == [{"lang": language}] and len(shown.all("main")) == 1 and len(shown.all("h1")) == 1
    ways = shown.all("button") + [link for link in shown.all("a") if "cw-button" in link.get("class", "")]
    assert len(ways) == 1


def test_the_button_of_a_frame_opens_a_window_without_scripts() -> None:
    (form,) = page(form=FORM).all("form")
    assert (form["method"], form["action"], form["target"]) == ("post", "open", "_blank")
    (script,) = page(form=FORM).all("script")
    assert script == {"nonce": "n0"}
    assert "target" not in page(form=FORM | {"new_window": False}).all("form")[0]


def test_a_refusal_is_said_in_the_readers_language() -> None:
    refusal = LaunchRefused(
        400,
        "custom",
        "`%(field)s` must be %(kind)s: report it to the platform's operator.",
        kind="a list of texts",
    )
    assert (
        "`custom` doit être une liste de textes : signalez-le à l’exploitant de la plateforme."
        in page("fr", refused=True, sentence=refusal).texts
    )
    assert str(refusal) in page(refused=True, sentence=refusal).texts


@pytest.mark.parametrize("text", HOSTILE)
def test_a15_what_others_have_written_is_text(text: str) -> None:
    refusal = LaunchRefused(400, text, "`%(field)s` was sent more than once.")
    plain = LaunchRefused(400, "x", "`%(field)s` was sent more than once.")
    for hostile, harmless in (
        (
            {"form": FORM | {"fields": {text: text}}, "title": text},
            {"form": FORM | {"fields": {"x": "x"}}, "title": "x"},
        ),
        ({"picker": PICKER | {"notebooks": (text,)}}, {"picker": PICKER | {"notebooks": ("x",)}}),
        ({"asking": ASKING | {"here": text, "new": text}}, {"asking": ASKING}),
        ({"refused": True, "sentence": refusal, "back": text}, {"refused": True, "sentence": plain, "back": "x"}),
    ):
        shown = page(**hostile)
        assert shown.skeleton == page(**harmless).skeleton and shown.unbalanced == []
