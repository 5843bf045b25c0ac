"""Every string of the pages exists in every language."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po

import coursewarehub.engine.states
import coursewarespawner.messages
from coursewarehub.i18n import LANGUAGES, translations
from coursewarehub.i18n.catalogues import catalogue_file

ROOT = Path(__file__).parents[3]
TRANSLATED = [language for language in LANGUAGES if language != "en"]
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%%|\{\w+\}")


@cache
def messages() -> dict[Any, str]:
    """Every string marked for translation (a tuple when it has a plural), with the file it stands in."""
    with (ROOT / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)  # type: ignore[no-untyped-call]
    found = extract_from_dir(ROOT, methods, options, keywords=DEFAULT_KEYWORDS)
    return {message: name for name, _, message, _, _ in found}


def file_of(module: ModuleType) -> Path:
    """Where a module's strings stand, as extraction names it."""
    return Path(str(module.__file__)).relative_to(ROOT)


def catalogue(language: str) -> Catalog:
    with catalogue_file(language).open("rb") as file:
        return read_po(file, locale=language)


def strings(message: Any) -> tuple[str, ...]:
    return message if isinstance(message, tuple) else (message,)


def test_extraction_finds_templates_and_code() -> None:
    files = {Path(name).as_posix() for name in messages().values()}
    assert "coursewarehub/site/rendering.py" in files
    assert "coursewarehub/site/pages/portal.html" in files
    assert "coursewarehub/hub/localisation.py" in files
    assert "coursewarehub/hub/templates/login.html" in files
    assert "coursewarehub/engine/states.py" in files
    assert "spawners/coursewarespawner/messages.py" in files


@pytest.mark.parametrize("module", [coursewarespawner.messages, coursewarehub.engine.states])
def test_every_sentence_for_learners_is_marked(module: ModuleType) -> None:
    """A constant that is a sentence and not marked with `N_` would be told in English to everybody."""
    constants = {name: value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)}
    sentences = {name: value for name, value in constants.items() if " " in value and not value.startswith("(?")}
    assert len(sentences) > 25
    assert set(sentences.values()) <= set(messages()), {
        name: value for name, value in sentences.items() if value not in messages()
    }


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("module", [coursewarespawner.messages, coursewarehub.engine.states])
def test_every_sentence_for_learners_can_be_filled(module: ModuleType, language: str) -> None:
    """A wrong place in a translation would be a crash in the middle of a start that failed."""
    gettext = translations(language).gettext
    values = defaultdict(lambda: "x")
    filled = {text: gettext(text) % values for text, file in messages().items() if file_of(module) == Path(file)}
    assert len(filled) > 25
    assert all("%(" not in said for said in filled.values())


@pytest.mark.parametrize("language", TRANSLATED)
def test_everything_is_translated(language: str) -> None:
    known = catalogue(language)
    missing = []
    for message, file in messages().items():
        entry = known.get(strings(message)[0])
        if entry is None or not all(strings(entry.string)):
            missing.append(f"{file}: {message!r}")
    advice = "run the command in the docstring of coursewarehub.i18n, then fill: "
    assert not missing, advice + "; ".join(missing)


@pytest.mark.parametrize("language", TRANSLATED)
def test_nothing_is_left_over(language: str) -> None:
    known = catalogue(language)
    used = {strings(message)[0] for message in messages()}
    assert not known.obsolete
    assert not [entry.id for entry in known if entry.id and strings(entry.id)[0] not in used]


@pytest.mark.parametrize("language", TRANSLATED)
def test_nothing_is_guessed(language: str) -> None:
    known = catalogue(language)
    assert not known.fuzzy
    assert not [entry.id for entry in known if entry.id and entry.fuzzy]


@pytest.mark.parametrize("language", TRANSLATED)
def test_placeholders_are_kept(language: str) -> None:
    wrong = []
    for entry in catalogue(language):
        if entry.id:
            expected = set(PLACEHOLDER.findall(strings(entry.id)[-1]))
            wrong += [text for text in strings(entry.string) if set(PLACEHOLDER.findall(text)) != expected]
            # in templates every message is a format string, so a bare per cent sign would be an error there
            wrong += [text for text in strings(entry.string) if "%" in PLACEHOLDER.sub("", text)]
    assert not wrong


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_hold_no_markup(language: str) -> None:
    """Templates take a message as HTML, so a catalogue must not be able to bring any."""
    entries = [text for entry in catalogue(language) if entry.id for text in strings(entry.string)]
    assert not [text for text in entries if re.search(r'[<>&"]', text)]


@pytest.mark.parametrize("language", TRANSLATED)
def test_number_of_plural_forms(language: str) -> None:
    known = catalogue(language)
    plurals = [entry for entry in known if entry.id and isinstance(entry.id, (tuple, list))]
    assert all(len(strings(entry.string)) == known.num_plurals for entry in plurals)


def test_catalogues_are_read() -> None:
    assert translations("en").gettext("Enter") == "Enter"
    assert translations("ja").gettext("Enter") == "入る"
    assert translations("fr").gettext("Enter") == "Entrer"
    assert translations("fr").gettext("no such string") == "no such string"
    assert translations("fr").ngettext("one", "many", 2) == "many"
    assert translations("ja") is translations("ja")


def test_other_languages_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no pages in language '\.\./en'"):
        translations("../en")
