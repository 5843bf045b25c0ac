"""Reading pages without a browser: the login form and the links (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Form:
    """A form's address as written and the values of its inputs by name."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(found.get("action", "")))
        elif tag == "input" and self.forms and found.get("name"):
            self.forms[-1].fields[found["name"]] = found.get("value", "")
        elif tag == "a" and found.get("href"):
            self.links.append(found["href"])
        elif tag == "button" and found.get("formaction"):
            self.links.append(found["formaction"])


def login_form(page: str) -> Form | None:
    """The form with a user name and a password, or None when the page has none."""
    for form in _read(page).forms:
        if {"username", "password"} <= set(form.fields):
            return form
    return None


def link_to(page: str, part: str) -> str | None:
    """The first link or form address of the page that contains `part`, as written."""
    reader = _read(page)
    addresses = [*reader.links, *(form.action for form in reader.forms)]
    return next((address for address in addresses if part in address), None)


def _read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    return reader
