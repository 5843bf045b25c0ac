"""A roster as CSV: read with every mistake named by its line, written so that no spreadsheet runs what is in a cell."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from coursewareauthenticator.accounts.encodings import EncodingUnknown, decode
from coursewareauthenticator.accounts.people import LONGEST_TEXT, Person, is_address
from coursewareauthenticator.accounts.sentences import Sentence, say
from coursewarehub.i18n import N_
from coursewarehub.model.access import is_group
from coursewarehub.model.names import valid_name
from coursewarehub.model.roles import Role

MOST_BYTES: Final = 5 * 1024 * 1024
MOST_PEOPLE: Final = 20_000

EMPTY: Final = N_("The file is empty.")
NOBODY: Final = N_("The file has a line with the names of the columns, and nobody below it.")
TOO_LARGE: Final = N_("The file is larger than %(most)s MB.")
TOO_MANY: Final = N_("The file has more than %(most)s people. Import it in parts.")
NO_NAME_COLUMN: Final = N_(
    "The first line must name the columns. One of them must be %(needed)s; there may be %(others)s as well."
)
COLUMN_TWICE: Final = N_("The column %(column)s is there twice.")
BROKEN: Final = N_("This is no CSV from here on: a quotation mark that is not closed, or a character that is none.")
TOO_MANY_CELLS: Final = N_("The line has more cells than the first line has columns.")
NAME_MISSING: Final = N_("The name is missing.")
NAME_INVALID: Final = N_(
    "%(name)s cannot be a name: it must have 1 to 64 characters, no slash, backquote or invisible character."
)
NAME_FORMULA: Final = N_("%(name)s cannot be a name here: a spreadsheet would take it for a formula.")
NAME_TWICE: Final = N_("%(name)s is the same name as in line %(line)s.")
ROLE_UNKNOWN: Final = N_("%(role)s is no role. Write one of: %(roles)s.")
ADDRESS_INVALID: Final = N_("%(address)s is no e-mail address.")
GROUP_IS_ROLE: Final = N_("%(group)s is no group but a role: write it in the column %(column)s.")
TOO_LONG: Final = N_("The column %(column)s has more than %(most)s characters.")
IGNORED: Final = N_("Columns that are not used: %(columns)s.")

COLUMNS: Final = ("name", "display name", "e-mail", "role", "groups")
_KNOWN_AS: Final[dict[str, tuple[str, ...]]] = {
    "name": (
        "user name", "username", "user", "login", "id", "ユーザ名", "ユーザー名", "学籍番号", "identifiant",
        "nom d'utilisateur",
    ),
    "display name": ("display", "full name", "fullname", "氏名", "表示名", "名前", "nom", "nom complet"),
    "e-mail": (
        "email", "mail", "e mail", "email address", "e-mail address", "メール", "メールアドレス", "courriel",
        "adresse e-mail",
    ),
    "role": ("役割", "ロール", "rôle"),
    "groups": ("group", "group(s)", "グループ", "班", "groupe", "groupes"),
}  # fmt: skip
_COLUMN: Final = {alias: column for column, aliases in _KNOWN_AS.items() for alias in (column, *aliases)}
_ROLES: Final = {
    **{str(role): role for role in Role},
    **{f"{role}s": role for role in Role},
    "ta": Role.ASSISTANT, "teaching assistant": Role.ASSISTANT, "teacher": Role.INSTRUCTOR, "learner": Role.STUDENT,
    "責任者": Role.OWNER, "教員": Role.INSTRUCTOR, "講師": Role.INSTRUCTOR, "助手": Role.ASSISTANT,
    "学生": Role.STUDENT, "受講者": Role.STUDENT, "見学者": Role.OBSERVER, "responsable": Role.OWNER,
    "enseignant": Role.INSTRUCTOR, "assistante": Role.ASSISTANT, "étudiant": Role.STUDENT, "étudiante": Role.STUDENT,
    "observateur": Role.OBSERVER,
}  # fmt: skip
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")
_QUOTED_FORMULA: Final = re.compile(r"'+[=+\-@\t\r]")


@dataclass(frozen=True)
class Entry:
    """Somebody in a roster: the line, and what it says of them; what it has no column for is None."""

    line: int
    name: str
    display: str | None = None
    mail: str | None = None
    role: Role | None = None
    groups: tuple[str, ...] | None = None

    def over(self, known: Person | None) -> Person:
        """That person as the roster wants them; what it does not say stays as it is `known`."""
        before = known or Person(self.name)
        return Person(
            self.name,
            before.display if self.display is None else self.display,
            before.mail if self.mail is None else self.mail,
            before.role if self.role is None else self.role,
            before.groups if self.groups is None else self.groups,
        )


@dataclass(frozen=True)
class Mistake:
    """What is wrong in a line (None: in the file as a whole)."""

    line: int | None
    sentence: Sentence


@dataclass(frozen=True)
class Roster:
    """A file that was read: use `entries` only when there is no mistake."""

    entries: tuple[Entry, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    notes: tuple[Sentence, ...] = ()
    encoding: str = ""
    text: str = field(default="", repr=False)


def read(data: bytes, encoding: str | None = None) -> Roster:
    """Read a file; every mistake in it is in the answer, none is raised."""
    if len(data) > MOST_BYTES:
        return Roster(mistakes=(Mistake(None, say(TOO_LARGE, most=MOST_BYTES // 1024**2)),))
    try:
        text, name = decode(data, encoding)
    except EncodingUnknown as unknown:
        return Roster(mistakes=(Mistake(None, unknown.sentence),))
    return parse(text, name)


def parse(text: str, encoding: str = "utf-8") -> Roster:
    """Read a roster's text."""
    text = text.removeprefix("\ufeff")
    reader = _Reader(text)
    records = reader.records()
    header = next(records, None)
    if header is None:
        return Roster(mistakes=(*reader.mistakes, *([] if reader.mistakes else [Mistake(None, say(EMPTY))])), text=text)
    line, cells = header
    columns, mistakes, notes = _columns(line, cells)
    if mistakes:
        return Roster(mistakes=tuple(mistakes), encoding=encoding, text=text)
    entries: list[Entry] = []
    first: dict[str, int] = {}
    for line, cells in records:
        if len(entries) >= MOST_PEOPLE:
            mistakes.append(Mistake(None, say(TOO_MANY, most=MOST_PEOPLE)))
            break
        entry, wrong = _entry(line, cells, columns)
        mistakes += [Mistake(line, sentence) for sentence in wrong]
        if entry.name in first:
            mistakes.append(Mistake(line, say(NAME_TWICE, name=entry.name, line=first[entry.name])))
        elif entry.name:
            first[entry.name] = line
        entries.append(entry)
    mistakes += reader.mistakes
    if not entries and not mistakes:
        mistakes.append(Mistake(None, say(NOBODY)))
    return Roster(tuple(entries), tuple(mistakes), tuple(notes), encoding, text)


class _Reader:
    """The records of a text that have something in them, with the line each begins in."""

    def __init__(self, text: str) -> None:
        self.mistakes: list[Mistake] = []
        self._begin = 1
        declared = re.match(r'"?sep=(.)"?\r?\n', text, re.IGNORECASE)
        if declared:
            text, self._begin = text[declared.end() :], 2
        self._text = text
        self._delimiter = declared[1] if declared and declared[1] in ",;\t" else _delimiter(text)

    def records(self) -> Iterator[tuple[int, list[str]]]:
        source = io.StringIO(self._text, newline="")
        reader = csv.reader(source, delimiter=self._delimiter, strict=True)
        while True:
            line = self._begin + reader.line_num
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                self.mistakes.append(Mistake(line, say(BROKEN)))
                return
            if "\0" in "".join(cells):
                self.mistakes.append(Mistake(line, say(BROKEN)))
                return
            if any(cell.strip() for cell in cells):
                yield line, cells


def _delimiter(text: str) -> str:
    """Which of comma, semicolon and tab tells the most columns apart that have a known name."""
    head = next((line for line in text.splitlines() if line.strip()), "")

    def known(delimiter: str) -> tuple[int, int]:
        cells = [_plain(cell.strip('"')) for cell in head.split(delimiter)]
        return sum(cell in _COLUMN for cell in cells), len(cells)

    return max((",", ";", "\t"), key=known)


def _plain(cell: str) -> str:
    """The name of a column as people write it: letter case, width, underscores and spaces do not count."""
    folded = unicodedata.normalize("NFKC", cell).strip().lower().replace("_", " ").replace("’", "'")
    return re.sub(r"\s+", " ", folded)


def _columns(line: int, cells: list[str]) -> tuple[list[str | None], list[Mistake], list[Sentence]]:
    columns = [_COLUMN.get(_plain(cell)) for cell in cells]
    mistakes: list[Mistake] = []
    notes: list[Sentence] = []
    if "name" not in columns:
        others = ", ".join(COLUMNS[1:])
        mistakes.append(Mistake(line, say(NO_NAME_COLUMN, needed="name", others=others)))
        return columns, mistakes, notes
    twice = {column for column in columns if column is not None and columns.count(column) > 1}
    mistakes += [Mistake(line, say(COLUMN_TWICE, column=column)) for column in sorted(twice)]
    unused = [cell.strip() for cell, column in zip(cells, columns, strict=True) if column is None and cell.strip()]
    if unused:
        notes.append(say(IGNORED, columns=", ".join(unused)))
    return columns, mistakes, notes


def _entry(line: int, cells: list[str], columns: list[str | None]) -> tuple[Entry, list[Sentence]]:
    wrong: list[Sentence] = []
    if any(cell.strip() for cell in cells[len(columns) :]):
        wrong.append(say(TOO_MANY_CELLS))
    padded = [*cells, *[""] * (len(columns) - len(cells))]
    values = {column: _text(cell) for column, cell in zip(columns, padded, strict=False) if column is not None}
    name = _name(_unquoted(padded[columns.index("name")]).strip(), wrong)
    long = [column for column in ("display name", "groups") if len(values.get(column, "")) > LONGEST_TEXT]
    wrong += [say(TOO_LONG, column=column, most=LONGEST_TEXT) for column in long]
    mail = values.get("e-mail")
    if mail and not is_address(mail):
        wrong.append(say(ADDRESS_INVALID, address=mail))
    role = _role(values.get("role", ""), wrong)
    groups = values.get("groups")
    found = None if groups is None else tuple(dict.fromkeys(part.strip() for part in groups.split("|") if part.strip()))
    roles = [group for group in found or () if not is_group(group)]
    wrong += [say(GROUP_IS_ROLE, group=group, column="role") for group in roles]
    return Entry(line, name, values.get("display name"), mail, role, found), wrong


def _text(cell: str) -> str:
    """What is in a cell: one line, without the quotation mark that keeps a spreadsheet from running it."""
    text = _unquoted(unicodedata.normalize("NFC", cell))
    kept = (" " if char.isspace() else char for char in text if char.isspace() or _seen(char))
    return re.sub(r" +", " ", "".join(kept)).strip()


def _unquoted(cell: str) -> str:
    return cell[1:] if _QUOTED_FORMULA.match(cell) else cell


def _seen(char: str) -> bool:
    return unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def _name(text: str, wrong: list[Sentence]) -> str:
    """The normalised name, empty when there is none that can be used."""
    if not text:
        wrong.append(say(NAME_MISSING))
        return ""
    if text.startswith(("=", "+", "-", "@")):
        wrong.append(say(NAME_FORMULA, name=text))
        return ""
    try:
        return valid_name(text)
    except ValueError:
        wrong.append(say(NAME_INVALID, name=text))
        return ""


def _role(text: str, wrong: list[Sentence]) -> Role | None:
    if not text:
        return None
    role = _ROLES.get(_plain(text))
    if role is None:
        wrong.append(say(ROLE_UNKNOWN, role=text, roles=", ".join(Role)))
    return role


def written(people: Iterable[Person], more: Mapping[str, Mapping[str, str]] | None = None) -> str:
    """A roster as CSV (RFC 4180, lines end with CR LF), which `parse` reads back; `more`: columns, each by name.

    A cell that a spreadsheet would take for a formula begins with a quotation mark.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    more = more or {}
    writer.writerow([*COLUMNS, *more])
    for person in people:
        cells = [person.name, person.display, person.mail, str(person.role), "|".join(person.groups)]
        writer.writerow([_safe(cell) for cell in (*cells, *(column.get(person.name, "") for column in more.values()))])
    return out.getvalue()


def _safe(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) else cell
