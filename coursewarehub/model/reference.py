"""The reference page of the configuration (MyST Markdown), written from the models."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from coursewarehub.model.course import Course
from coursewarehub.model.example import yaml_value
from coursewarehub.model.shape import Shape, default_value, telling_key
from coursewarehub.model.site import Site

_INTRODUCTION = """\
# Configuration

A site is a folder with one file `site.yaml`, one file `courses.d/<id>.yaml` per course and, if you like, one file
`platforms.d/<name>.yaml` per learning platform. All are YAML 1.2: only `true` and `false` are yes and no, and text that
looks like a number goes in quotes.
Unknown keys are refused. `coursewarehub check` names every problem with its file and line;
`coursewarehub schema site`, `coursewarehub schema course` and `coursewarehub schema platform` print the JSON Schemas
for your editor.

Paths are relative to the site folder. Secrets never stand in these files: a key that needs one takes
`file:PATH` (a file only its owner can read) or `env:NAME` (an environment variable).

This page is generated from the models: `python -m coursewarehub.model.schema --write docs/reference`.
"""

_TITLES: tuple[tuple[type[BaseModel], str, str], ...] = (
    (Site, "`site.yaml`", "site.example.yaml"),
    (Course, "`courses.d/<id>.yaml`", "course.example.yaml"),
)


def reference_page() -> str:
    """Return the page: for each file a table per mapping, then the commented example."""
    parts = [_INTRODUCTION]
    for model, title, example in _TITLES:
        parts.append(f"## {title}\n\n{_sentence(model)}\n\n{_table(model)}")
        parts += _sections(model, ())
        parts.append(f"### Example of {title}\n\n```{{literalinclude}} {example}\n:language: yaml\n```\n")
    parts.append(_PLATFORMS)
    return "\n".join(parts)


_PLATFORMS = """\
## `platforms.d/<name>.yaml`

One learning platform, with the same keys as one entry of `login` in `site.yaml`: those of
[LTI 1.3](#loginname-method-lti13) or those of [LTI 1.1](#loginname-method-lti11). The name of the file is the name
that courses use, and may not stand in `login` too. `coursewarehub lti register` writes such files, and a platform that
registers itself has one written. A new file takes effect while the site runs, and changes the hubs of those courses
only that name it.

### Example of `platforms.d/<name>.yaml`

```{literalinclude} platform.example.yaml
:language: yaml
```
"""


def _sections(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        shape, place = Shape.of_field(field), (*path, name)
        for tag, section in shape.variants.items():
            yield from _section(section, place, _variant(section, tag))
        if shape.item is not None:
            below = (*place, "<name>")
            for tag, section in shape.item.variants.items():
                yield from _section(section, below, _variant(section, tag))
            if shape.item.model is not None:
                yield from _section(shape.item.model, below)
        if shape.model is not None:
            yield from _section(shape.model, place)


def _variant(section: type[BaseModel], tag: str) -> str:
    """What tells this mapping apart from the others that can stand here."""
    key = telling_key(section, tag)
    values = get_args(section.model_fields[str(key)].annotation)
    return f", `{key}: {'` or `'.join(values)}`"


def _section(section: type[BaseModel], path: tuple[str, ...], variant: str = "") -> Iterator[str]:
    yield f"### `{'.'.join(path)}`{variant}\n\n{_sentence(section)}\n\n{_table(section)}"
    yield from _sections(section, path)


def _sentence(model: type[BaseModel]) -> str:
    return inspect.cleandoc(model.__doc__ or "")


def _table(model: type[BaseModel]) -> str:
    rows = ["| Key | Value | Default | Meaning |", "| --- | --- | --- | --- |"]
    for name, field in model.model_fields.items():
        cells = (f"`{name}`", _accepts(field), _default(model, name, field), field.description or "")
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _accepts(field: FieldInfo) -> str:
    shape = Shape.of_field(field)
    if shape.item is not None and shape.item.models:
        return "a mapping of names to mappings, see below"
    return "a mapping, see below" if shape.models else shape.expected()


def _default(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None:
        return "none"
    if isinstance(field.default, BaseModel) and Shape.of_field(field).models:
        return "its defaults"
    return f"`{yaml_value(default_value(model, name))}`"
