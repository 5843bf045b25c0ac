"""The pages at the site's LTI addresses: well made, escaped, translated, and fit for a platform's frame."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from coursewarehub.i18n import LANGUAGES
from coursewarehub.site.lti.dynamic import RegistrationRefused
from coursewarehub.site.lti.fetch import Failure
from coursewarehub.site.lti.pages import (
    NOTICES,
    CourseButton,
    Notice,
    choice_page,
    connect_page,
    failed_page,
    notice,
    register_page,
    registered_page,
)

from .structure import HOSTILE, Page

VALUES = ("field", "platform", "name", "method", "course", "parameter")


def every_page(language: str, text: str = "Qwerty") -> dict[str, Page]:
    """All pages, with `text` wherever a request or a person could have written it."""
    pages = {
        what.value: Page(notice(what, language, site_title=text, **dict.fromkeys(VALUES, text))[1]) for what in Notice
    }
    choices = [CourseButton(text, "/courses/a/hub/lti/launch?a=1&b=2"), CourseButton(text, "/courses/b/hub/lti/launch")]
    fields = [("custom_x", text), (text, "twice"), (text, "")]
    pages["choice"] = Page(choice_page(language, site_title=text, choices=choices, fields=fields))
    onward, back = "/courses/a/hub/lti/launch?a=1&b=2", "/lti/launch?a=1&b=2"
    connecting = connect_page(
        language, site_title=text, course=text, theirs=text, onward=onward, back=back, fields=fields
    )
    pages["connect"] = Page(connecting)
    pages["register"] = Page(
        register_page(language, site_title=text, host=text, name=text, action="/lti/register/x", fields=fields)
    )
    for failure in Failure:
        pages[failure.name] = Page(
            failed_page(
                language,
                site_title=text,
                template=failure.value,
                values={"url": text, "why": text},
                again="/lti/register/x",
                fields=fields,
            )
        )
    pages["over"] = Page(
        failed_page(language, site_title=text, template="%(url)s", values={"url": text}, again=None, fields=fields)
    )
    pages["registered"] = Page(registered_page(language, site_title=text, host=text, name=text, script_nonce="n0nce"))
    return pages


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_is_well_made(language: str) -> None:
    for name, page in every_page(language).items():
        assert not page.unbalanced, name
        assert page.all("html") == [{"lang": language}], name
        assert len(page.all("h1")) == len(page.all("main")) == 1, name
        assert page.all("base") == [{"target": "_blank"}], name
        assert not page.all("style") + page.all("iframe"), name
        assert not [attributes for _, attributes in page.elements if "style" in attributes], name
        scripts = page.all("script")
        assert scripts == ([{"nonce": "n0nce"}] if name == "registered" else []), name
        assert all(form["target"] == "_self" and form["method"] == "post" for form in page.all("form")), name


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_escaped(language: str, hostile: str) -> None:
    plain, attacked = every_page(language), every_page(language, hostile)
    for name, page in attacked.items():
        assert page.skeleton == plain[name].skeleton, name


@pytest.mark.parametrize("language", ["ja", "fr"])
def test_no_english_is_left(language: str) -> None:
    for name, page in every_page(language).items():
        english = {text for text in every_page("en")[name].texts if "Qwerty" not in text or " " in text}
        same = {text for text in page.texts if text in english and not text.startswith(("coursewarehub ", "authent"))}
        assert all(set(text) <= set("Qwerty· ") or "postMessage" in text for text in same), (name, same)


def test_a_page_with_nothing_to_press_says_what_to_do() -> None:
    for what, text in NOTICES.items():
        assert text.next_step, what
        assert text.status >= HTTPStatus.BAD_REQUEST, what


def test_the_buttons_send_a_launch_on_as_it_came() -> None:
    page = every_page("en")["choice"]
    assert [b["formaction"] for b in page.all("button")] == [
        "/courses/a/hub/lti/launch?a=1&b=2",
        "/courses/b/hub/lti/launch",
    ]
    hidden = [(i["name"], i["value"]) for i in page.all("input") if i["type"] == "hidden"]
    assert hidden == [("custom_x", "Qwerty"), ("Qwerty", "twice"), ("Qwerty", "")]


def test_who_connects_a_course_has_a_button_each_way() -> None:
    page = every_page("en")["connect"]
    (form,) = page.all("form")
    assert form["action"] == "/courses/a/hub/lti/launch?a=1&b=2"
    assert [b.get("formaction") for b in page.all("button")] == [None, "/lti/launch?a=1&b=2"]


def test_refusals_are_whole_sentences() -> None:
    for failure in Failure:
        sentence = failure.value % {"url": "https://a.org/", "why": "x"}
        assert sentence.endswith(".") and "%" not in sentence
    assert str(RegistrationRefused("%(a)s.", a="x" * 300)) == "x" * 80 + "...."
