"""Commented YAML written from the models: the examples of the reference, and new files."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from coursewarehub.model.course import Course
from coursewarehub.model.lti import Lti13Provider
from coursewarehub.model.problems import visible
from coursewarehub.model.shape import default_value, section_of
from coursewarehub.model.site import Site
from coursewarehub.model.yaml_source import plain_value

_WIDTH = 92
_BARE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/@+-]*", re.ASCII)
_DURATION_OR_URL = re.compile(r"[a-z]+:[^\s,\[\]{}#]+", re.ASCII)

_EXAMPLE_SITE: dict[str, Any] = {
    "title": {"en": "Courses of the Faculty", "ja": "学部の講義", "fr": "Cours de la faculté"},
}
_EXAMPLE_COURSE: dict[str, Any] = {
    "title": {"en": "Python basics", "ja": "Python 入門", "fr": "Les bases de Python"},
    "description": "First steps in programming, for students of every faculty.",
    "dates.opens": "2026-04-01",
    "dates.closes": "2026-07-31",
    "authentication.method": "dummy",
    "authentication.workshop": True,
    "members.owners": ["prof-tanaka"],
    "members.instructors": ["suzuki"],
    "members.students": ["alice", "bob"],
    "content.folder": "content/python-basics",
    "content.start": "01-first-steps.ipynb",
    "limits.servers": 100,
}


_EXAMPLE_PLATFORM: dict[str, Any] = {
    "method": "lti13",
    "issuer": "https://moodle.example.org",
    "client_id": "x7Ab3",
    "auth_url": "https://moodle.example.org/mod/lti/auth.php",
    "token_url": "https://moodle.example.org/mod/lti/token.php",
    "jwks_url": "https://moodle.example.org/mod/lti/certs.php",
}


def example_site() -> str:
    """Return a `site.yaml` with every setting, explained."""
    header = ["Settings of one CoursewareHub site.", _ALL_OPTIONAL]
    return commented_yaml(Site, header, _EXAMPLE_SITE)


def example_course() -> str:
    """Return a course file with every setting, explained."""
    header = ["One course; the file is `courses.d/<id>.yaml`.", _TWO_REQUIRED]
    return commented_yaml(Course, header, _EXAMPLE_COURSE)


def example_platform() -> str:
    """Return the file of a platform of LTI 1.3 with every setting, explained."""
    header = ["One learning platform; the file is `platforms.d/<name>.yaml`.", _AS_IN_LOGIN]
    return commented_yaml(Lti13Provider, header, _EXAMPLE_PLATFORM)


_AS_IN_LOGIN = "The same keys as one entry of `login` in site.yaml, with `method: lti13` or `method: lti11`."
_ALL_OPTIONAL = "Every setting is optional: shown is its default, or (commented out) an example."
_TWO_REQUIRED = "Only `id` and `title` are required; a setting that is left out has its default."


def commented_yaml(
    model: type[BaseModel],
    header: Iterable[str],
    values: Mapping[str, Any],
    only: Collection[str] | None = None,
) -> str:
    """Return YAML for `model` with a comment above every key.

    `values` gives the value of keys (`edge.port`); other keys show their default, or, commented
    out, an example. `only` names the keys to show besides those with a value; None shows all.
    """
    top = "\n".join(line for text in header for line in _comment(text))
    blocks = _Writer(values, only).blocks(model, (), active=True)
    return "\n\n".join([top, *blocks]) + "\n"


def yaml_value(value: Any) -> str:
    """Return a value in YAML's one-line form; text is quoted where it must be."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {yaml_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(yaml_value, value)) + "]"
    if isinstance(value, str):
        return _yaml_text(value)
    return json.dumps(value)


def _yaml_text(text: str) -> str:
    bare = _BARE.fullmatch(text) and not text.endswith(" ")
    if (bare or _DURATION_OR_URL.fullmatch(text)) and isinstance(plain_value(text), str):
        return text
    escaped = json.dumps(text, ensure_ascii=False)
    return visible(escaped)


@dataclass(frozen=True)
class _Writer:
    values: Mapping[str, Any]
    only: Collection[str] | None

    def blocks(self, model: type[BaseModel], path: tuple[str, ...], active: bool) -> Iterator[str]:
        """Yield the text of each key that is shown; not `active` comments all of it out."""
        for name, field in model.model_fields.items():
            if self._is_shown((*path, name)):
                yield "\n".join(self._key(model, (*path, name), field, active))

    def _key(self, model: type[BaseModel], path: tuple[str, ...], field: FieldInfo, active: bool) -> Iterator[str]:
        indent = "  " * (len(path) - 1)
        yield from _comment(field.description or "", indent)
        section = section_of(field)
        if section is None:
            value, is_set = self._value(model, path, field)
            yield _line(f"{indent}{path[-1]}: {yaml_value(value)}", active and is_set)
            return
        inner = active and (field.default is not None or self._has_values(path))
        blocks = list(self.blocks(section, path, inner))
        in_force = any(not line.lstrip().startswith("#") for block in blocks for line in block.splitlines())
        yield _line(f"{indent}{path[-1]}:", in_force)
        yield from blocks

    def _value(self, model: type[BaseModel], path: tuple[str, ...], field: FieldInfo) -> tuple[Any, bool]:
        """Return the value to show, and whether it is in force rather than an example."""
        key = ".".join(path)
        if key in self.values:
            return self.values[key], True
        if field.default is not None and not field.is_required():
            return default_value(model, path[-1]), True
        return (field.examples or [None])[0], field.is_required()

    def _is_shown(self, path: tuple[str, ...]) -> bool:
        if self.only is None or self._has_values(path):
            return True
        key = ".".join(path)
        return any(key == name or name.startswith(key + ".") for name in self.only)

    def _has_values(self, path: tuple[str, ...]) -> bool:
        key = ".".join(path)
        return any(name == key or name.startswith(key + ".") for name in self.values)


def _line(text: str, active: bool) -> str:
    if active:
        return text
    stripped = text.lstrip()
    return f"{text[: len(text) - len(stripped)]}# {stripped}"


def _comment(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
