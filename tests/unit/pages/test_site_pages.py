"""The portal and the pages that say why a course cannot be entered."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import jinja2
import pytest

from coursewarehub.i18n import LANGUAGES, NAMES
from coursewarehub.site.rendering import (
    ASSETS_FOLDER,
    EXPLANATIONS,
    CardState,
    CourseCard,
    Obstacle,
    asset_url,
    format_day,
    language_name,
    render,
    render_obstacle,
    render_portal,
)
from coursewarehub.wire.paths import course_prefix

from .structure import HOSTILE, Page

STATES: tuple[CardState, ...] = ("open", "upcoming", "closed")


def card(course_id: str = "python", title: str = "Qwerty", state: CardState = "open", **changes: Any) -> CourseCard:
    values: dict[str, Any] = {
        "id": course_id,
        "title": title,
        "description": "",
        "language": "en",
        "opens": None,
        "closes": None,
        "state": state,
        "url": course_prefix(course_id),
    }
    return CourseCard(**values | changes)


def portal(language: str = "en", *courses: CourseCard, site_title: str = "Azerty") -> Page:
    return Page(render_portal(language, site_title=site_title, courses=courses))


def every_page(language: str, text: str = "Qwerty") -> dict[str, Page]:
    """All pages, with `text` wherever a person could have written it."""
    cards = [
        card(f"c{number}", text, state, description=text, opens=date(2026, 4, 2), closes=date(2026, 7, 31))
        for number, state in enumerate(STATES)
    ]
    pages = {"portal": portal(language, *cards, site_title=text), "empty": portal(language, site_title=text)}
    for obstacle in Obstacle:
        _, html = render_obstacle(
            obstacle, language, site_title=text, course_title=text, error_id=text, path="/courses/x/?a=b"
        )
        pages[obstacle.value] = Page(html)
    return pages


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_is_well_made(language: str) -> None:
    for name, page in every_page(language).items():
        assert not page.unbalanced, name
        assert page.all("html") == [{"lang": language}], name
        assert len(page.all("h1")) == 1, name
        assert len(page.all("main")) == 1, name
        assert page.links[0] == "#content", name
        assert any(main.get("id") == "content" for main in page.all("main")), name
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids)), name


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_comes_from_elsewhere(language: str) -> None:
    for name, page in every_page(language).items():
        assert not page.all("script") + page.all("style") + page.all("iframe"), name
        assert not [attributes for _, attributes in page.elements if "style" in attributes], name
        for tag, attributes in page.elements:
            for key in ("src", "href"):
                url = attributes.get(key, "")
                assert not re.match(r"[a-z]+:|//", url), f"{name}: {tag} {url}"


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_escaped(language: str, hostile: str) -> None:
    plain, attacked = every_page(language), every_page(language, hostile)
    shown = " ".join(hostile.replace("\0", "\ufffd").split())
    for name, page in attacked.items():
        assert page.skeleton == plain[name].skeleton, name
        assert any(shown in text.replace("\0", "\ufffd") for text in page.texts), name


@pytest.mark.parametrize("language", ["ja", "fr"])
def test_no_english_is_left(language: str) -> None:
    names = {*NAMES.values(), "Qwerty", "Qwerty · Qwerty"}
    for name, page in every_page(language).items():
        english = set(every_page("en")[name].texts)
        same = {text for text in page.texts if text in english and not text.startswith("coursewarehub ")}
        assert same <= names, name


@pytest.mark.parametrize("language", LANGUAGES)
def test_languages_can_be_changed(language: str) -> None:
    page = portal(language, card())
    chosen = [a for a in page.all("a") if a.get("hreflang")]
    assert [a["href"] for a in chosen] == ["?lang=en", "?lang=ja", "?lang=fr"]
    assert [a["lang"] for a in chosen if a.get("aria-current") == "true"] == [language]


def test_an_error_page_comes_back_to_itself_after_a_change_of_language() -> None:
    _, html = render_obstacle(Obstacle.UNKNOWN_COURSE, "en", site_title="A", path="/courses/nope/")
    assert "/?lang=ja&next=%2Fcourses%2Fnope%2F" in Page(html).links


def test_an_open_course_has_a_button_with_its_name() -> None:
    page = portal("en", card("python", "Python"))
    [door] = [a for a in page.all("a") if a.get("href") == "/courses/python/"]
    assert door["class"] == "cw-button"
    assert door["aria-labelledby"] == "enter-python course-python"
    assert "Enter" in page.texts
    assert "Closed" not in page.texts


@pytest.mark.parametrize(("state", "said"), [("closed", "Closed"), ("upcoming", "Not open yet")])
def test_other_courses_have_no_button(state: CardState, said: str) -> None:
    page = portal("en", card(state=state))
    assert said in page.texts
    assert "Enter" not in page.texts
    assert not [a for a in page.all("a") if a.get("class") == "cw-button"]


@pytest.mark.parametrize(
    ("opens", "closes", "state", "english", "french"),
    [
        (
            date(2026, 4, 1),
            date(2026, 7, 31),
            "open",
            "1 April 2026 to 31 July 2026",
            "Du 1er avril 2026 au 31 juillet 2026",
        ),
        (None, date(2026, 7, 31), "open", "Until 31 July 2026", "Jusqu’au 31 juillet 2026"),
        (date(2026, 4, 2), None, "open", "Since 2 April 2026", "Depuis le 2 avril 2026"),
        (date(2026, 4, 2), date(2026, 5, 1), "upcoming", "Opens on 2 April 2026", "Ouvre le 2 avril 2026"),
    ],
)
def test_dates(opens: date | None, closes: date | None, state: CardState, english: str, french: str) -> None:
    course = card(opens=opens, closes=closes, state=state)
    assert english in portal("en", course).texts
    assert french in portal("fr", course).texts


def test_a_moment_has_its_time_and_zone() -> None:
    moment = datetime(2026, 10, 11, 9, 5, tzinfo=timezone(timedelta(hours=9)))
    assert format_day(moment, "en") == "11 October 2026 09:05 GMT+09:00"
    assert format_day(moment, "ja") == "2026年10月11日 9:05 GMT+09:00"
    assert format_day(datetime(2026, 10, 1, 9, 5, tzinfo=UTC), "fr").startswith("1er octobre 2026 09:05 ")


@pytest.mark.parametrize(
    ("tag", "language", "name"),
    [
        ("ja", "en", "Japanese"),
        ("en", "ja", "英語"),
        ("pt-BR", "fr", "portugais brésilien"),
        ("zh-Hant-TW", "en", "Chinese"),
        ("mul", "en", "Multiple languages"),
        ("xx", "en", "xx"),
        ("en-nosuchpart", "en", "English"),
    ],
)
def test_language_names(tag: str, language: str, name: str) -> None:
    assert language_name(tag, language) == name


def test_courses_keep_their_order() -> None:
    page = portal("en", card("b", "Bbb"), card("a", "Aaa"))
    assert page.texts.index("Bbb") < page.texts.index("Aaa")


def test_an_empty_site_says_what_to_do() -> None:
    page = portal("en")
    assert any("coursewarehub course create" in text for text in page.texts)
    assert any("Come back" in text for text in page.texts)


def test_every_obstacle_is_explained() -> None:
    assert set(EXPLANATIONS) == set(Obstacle)


@pytest.mark.parametrize(
    ("obstacle", "status"),
    [
        (Obstacle.UNKNOWN_COURSE, 404),
        (Obstacle.ARCHIVED_COURSE, 410),
        (Obstacle.DRAFT_COURSE, 404),
        (Obstacle.BROKEN_COURSE, 503),
        (Obstacle.START_FAILED, 503),
        (Obstacle.UNKNOWN_PAGE, 404),
        (Obstacle.SITE_FAILED, 500),
    ],
)
def test_obstacles(obstacle: Obstacle, status: int) -> None:
    answer, html = render_obstacle(obstacle, "en", site_title="Azerty")
    page = Page(html)
    explanation = EXPLANATIONS[obstacle]
    assert answer == status
    assert {explanation.title, explanation.sentence, explanation.next_step} <= set(page.texts)
    assert "/" in page.links
    assert ("Try again" in page.texts) == explanation.again
    assert not any("Error number" in text for text in page.texts)


def test_the_error_id_is_shown() -> None:
    _, html = render_obstacle(Obstacle.START_FAILED, "en", site_title="Azerty", error_id="4711-ab")
    assert "Error number: 4711-ab" in Page(html).texts


def test_a_forgotten_value_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render("portal.html", "en", site_title="Azerty", languages=())


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(ValueError, match="no pages in language 'de'"):
        render("portal.html", "de")


def test_assets_exist_and_carry_their_version() -> None:
    page = portal()
    urls = [link["href"] for link in page.all("link")]
    assert urls == [asset_url("courseware.css"), asset_url("logo.svg")]
    for url in urls:
        name = url.removeprefix("/assets/").split("?")[0]
        assert (ASSETS_FOLDER / name).is_file()
