"""B11: a roster as CSV: everything wrong is said with its line, and what is written reads back the same."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coursewareauthenticator.accounts import roster
from coursewareauthenticator.accounts.people import Person
from coursewareauthenticator.accounts.roster import Entry, parse, read, written
from coursewarehub.i18n import LANGUAGES, translations
from coursewarehub.model.names import normalise_name
from coursewarehub.model.roles import Role


def lines(text: str | bytes) -> list[tuple[int | None, str]]:
    found = read(text.encode() if isinstance(text, str) else text)
    return [(mistake.line, mistake.sentence.template) for mistake in found.mistakes]


def names(text: str) -> list[str]:
    found = parse(text)
    assert not found.mistakes, found.mistakes
    return [entry.name for entry in found.entries]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_b11_separators_and_line_ends(delimiter: str, end: str) -> None:
    rows = [("Name", "E-Mail", "Role"), ("Ada", "ada@example.org", "Instructor"), ("sam", "", "")]
    text = end.join(delimiter.join(row) for row in rows) + end
    assert parse(text).entries == (
        Entry(2, "ada", None, "ada@example.org", Role.INSTRUCTOR),
        Entry(3, "sam", None, "", None),
    )


def test_b11_headers_in_the_languages_of_the_pages() -> None:
    assert parse("学籍番号,氏名,メール,役割\ns1,山田,s1@example.org,学生\n").entries == (
        Entry(2, "s1", "山田", "s1@example.org", Role.STUDENT),
    )
    french = parse("Nom d’utilisateur;Nom;Courriel;Rôle;Groupe\nh1;Hélène;h@example.org;Étudiante;A|B\n")
    assert french.entries == (Entry(2, "h1", "Hélène", "h@example.org", Role.STUDENT, ("A", "B")),)


def test_b11_excel_says_its_separator() -> None:
    found = parse('sep=;\r\nname;display name\r\nsam;"Smith, Sam"\r\nsam;x\r\n')
    assert found.entries[0] == Entry(3, "sam", "Smith, Sam")
    assert [mistake.line for mistake in found.mistakes] == [4]


def test_b11_lines_are_those_of_the_file_also_after_quoted_line_breaks() -> None:
    found = parse('\n\nname,display name\n\nada,"Ada\nof\r\nLondon"\n\n=x,\n')
    assert found.entries[0] == Entry(5, "ada", "Ada of London")
    assert [(m.line, m.sentence.template) for m in found.mistakes] == [(9, roster.NAME_FORMULA)]


def test_b11_every_mistake_at_once() -> None:
    text = (
        "name,role,e-mail,display name\n,student\nsam,teachr\na/b,\n=cmd(),,nobody\nSAM ,,a@b.org,x,y\nkim,,,"
        + "x" * 201
    )
    assert lines(text) == [
        (2, roster.NAME_MISSING),
        (3, roster.ROLE_UNKNOWN),
        (4, roster.NAME_INVALID),
        (5, roster.NAME_FORMULA),
        (5, roster.ADDRESS_INVALID),
        (6, roster.TOO_MANY_CELLS),
        (6, roster.NAME_TWICE),
        (7, roster.TOO_LONG),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (None, roster.EMPTY)),
        ("\ufeff\r\n \r\n", (None, roster.EMPTY)),
        ("name\n", (None, roster.NOBODY)),
        ("sam,Sam\nkim,Kim\n", (1, roster.NO_NAME_COLUMN)),
        ("e-mail,role\na@b.org,student\n", (1, roster.NO_NAME_COLUMN)),
        ("name,User Name\na,b\n", (1, roster.COLUMN_TWICE)),
        ('name\n"sam\nkim\n', (2, roster.BROKEN)),
        ('name\nsam\n"a"b\n', (3, roster.BROKEN)),
        ("name\nsa\0m\n", (2, roster.BROKEN)),
    ],
)
def test_b11_files_that_are_no_roster(text: str, expected: tuple[int | None, str]) -> None:
    assert lines(text) == [expected]


def test_b11_names_with_what_cannot_be_seen() -> None:
    assert lines('name\n"sa\u200bm"\n"sam\nsmith"\nka\u00a0i\n') == [
        (2, roster.NAME_INVALID), (3, roster.NAME_INVALID), (5, roster.NAME_INVALID),
    ]  # fmt: skip


def test_b11_the_same_name_in_two_spellings() -> None:
    assert lines("name\nJosé\nsam\njose\u0301\n") == [(4, roster.NAME_TWICE)]


def test_b11_5000_rows_and_no_more_than_is_sensible(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(names("name\n" + "".join(f"s{number}\n" for number in range(5000)))) == 5000
    monkeypatch.setattr(roster, "MOST_PEOPLE", 3)
    assert lines("name\na\nb\nc\nd\ne\n") == [(None, roster.TOO_MANY)]
    monkeypatch.setattr(roster, "MOST_BYTES", 8)
    assert lines("name\naaaa\n") == [(None, roster.TOO_LARGE)]


def test_b11_a12_a_group_that_is_called_as_a_role() -> None:
    found = parse("name,groups\nsam,lab-a|Owner\nkim,lab-a | lab b\nbob, INSTRUCTOR \n")
    assert [(each.line, each.sentence.template) for each in found.mistakes] == [
        (2, roster.GROUP_IS_ROLE), (4, roster.GROUP_IS_ROLE),
    ]  # fmt: skip
    assert str(found.mistakes[0].sentence) == "Owner is no group but a role: write it in the column role."
    assert found.entries[1].groups == ("lab-a", "lab b")


def test_b11_columns_of_others_are_named_and_left_alone() -> None:
    found = parse("name,Grade,Last access\nsam,1.0,never\n")
    assert [str(note) for note in found.notes] == ["Columns that are not used: Grade, Last access."]
    assert found.entries == (Entry(2, "sam"),)


def test_b11_cells_that_a_spreadsheet_would_run() -> None:
    evil = ["=cmd|' /C calc'!A0", "+1", "-2+3", "@SUM(A1)", "'=x", "''-y"]
    people = [Person(f"s{number}", display) for number, display in enumerate(evil)]
    text = written(people)
    cells = [row[1] for row in csv.reader(io.StringIO(text, newline=""))][1:]
    assert all(cell.startswith("'") for cell in cells)
    assert [entry.display for entry in parse(text).entries] == evil


def test_sentences_name_the_value_on_one_line_in_every_language() -> None:
    (mistake,) = parse('name,role\nsam,"x\u202e' + "y" * 500 + '"\n').mistakes
    for language in LANGUAGES:
        said = mistake.sentence.translated(translations(language).gettext)
        assert "xyyy" in said and len(said) < 250 and "\u202e" not in said


TEXT = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=20)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9 _.-]{0,20}[a-z0-9]", fullmatch=True).map(normalise_name)
PEOPLE = st.lists(
    st.builds(
        Person,
        NAMES,
        TEXT,
        st.sampled_from(["", "a@example.org"]),
        st.sampled_from(Role),
        st.lists(TEXT.filter(lambda text: text and "|" not in text), max_size=3, unique=True).map(tuple),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda person: person.name,
)


@settings(max_examples=150)
@given(PEOPLE, st.sampled_from([",", ";", "\t"]), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_b11_what_is_written_reads_back_the_same(people: list[Person], delimiter: str, codec: str) -> None:
    rows = csv.reader(io.StringIO(written(people), newline=""))
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter).writerows(rows)
    found = read(out.getvalue().encode(codec))
    assert not found.mistakes
    expected = [
        Entry(0, p.name, *(roster._text(t) for t in (p.display, p.mail)), p.role, p.groups).over(None) for p in people
    ]
    got = [entry.over(None) for entry in found.entries]
    assert [(g.name, g.display, g.mail, g.role) for g in got] == [(e.name, e.display, e.mail, e.role) for e in expected]


@settings(max_examples=300)
@given(st.binary(max_size=300).map(lambda tail: b"name,role\n" + tail) | st.binary(max_size=300))
def test_b11_any_bytes_give_people_or_sentences(data: bytes) -> None:
    found = read(data)
    assert found.mistakes or found.entries
    for mistake in found.mistakes:
        assert "\n" not in str(mistake.sentence)
        assert mistake.line is None or mistake.line >= 1
    if not found.mistakes:
        kept = [entry.name for entry in found.entries]
        assert len(set(kept)) == len(kept) and all(kept)
