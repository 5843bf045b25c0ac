"""The models' refusals as sentences with file and line."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from coursewarehub.model.problems import Problem, quoted
from coursewarehub.model.shape import Shape, one_of, telling_key
from coursewarehub.model.values import Expect
from coursewarehub.model.yaml_source import KeyPath, Source, plain_value


def explain(error: ValidationError, model: type[BaseModel], source: Source) -> Iterator[Problem]:
    """Yield one problem for every error pydantic found in `source` for `model`."""
    for details in error.errors(include_url=False, include_input=False):
        shape, parent, path = _locate(Shape(model), details["loc"])
        if details["type"] == "extra_forbidden":
            home = _variants_with(Shape(model), details["loc"])
            yield source.problem(path, *_unknown_key(model, parent, path, home))
        elif details["type"] == "missing":
            yield source.problem(path, *_missing(shape, path))
        elif details["type"] == "refusal":
            yield _refused(details, path, source)
        elif details["type"].startswith("union_tag"):
            yield _tag(details, path, source)
        else:
            yield _unexpected(shape, path, source)


def label(path: KeyPath) -> str:
    """Return what a message calls the place: `edge.port`, or item 2 of `members.students`."""
    if not path:
        return "the file"
    if isinstance(path[-1], int):
        return f"item {path[-1] + 1} of {label(path[:-1])}"
    index = next((i for i in range(len(path) - 1, 0, -1) if isinstance(path[i], int)), None)
    if index is not None:
        return f"{label(path[index + 1 :])} of {label(path[: index + 1])}"
    return quoted(".".join(map(str, path)), limit=100)


def _locate(shape: Shape, location: KeyPath) -> tuple[Shape, Shape, KeyPath]:
    """Return the shape at a location, the shape that contains it, and the path in the data."""
    parent = shape
    path: KeyPath = ()
    for segment in location:
        inner, is_data = shape.step(segment)
        if is_data:
            parent, path = shape, (*path, segment)
        shape = inner
    return shape, parent, path


def _variants_with(shape: Shape, location: KeyPath) -> str | None:
    """Return which other choices (`kind: swarm`) of the union around an unknown key do have that key."""
    if len(location) < 2:
        return None
    for segment in location[:-2]:
        shape = shape.step(segment)[0]
    found = [f"`{telling_key(m, tag)}: {tag}`" for tag, m in shape.variants.items() if location[-1] in m.model_fields]
    return " or ".join(found) or None


def _unknown_key(model: type[BaseModel], parent: Shape, path: KeyPath, variants: str | None) -> tuple[str, str | None]:
    key, place = str(path[-1]), path[:-1]
    message = f"unknown key {quoted(key)}" + (f" in {label(place)}" if place else "")
    if variants is not None:
        return message, f"`{key}` goes with {variants}"
    known = list(_fields(parent))
    close = get_close_matches(key.lower().replace("-", "_"), known, n=1, cutoff=0.6)
    home = next((found for found in _homes(Shape(model), key, ()) if found != place), None)
    if home is not None and (not close or close[0] != key):
        return message, f"`{key}` belongs {f'in {label(home)}' if home else 'at the top level'}"
    if close:
        return message, f"did you mean `{close[0]}`?"
    return message, f"known keys: {', '.join(known)}" if known else None


def _fields(shape: Shape) -> Iterator[str]:
    """Yield the keys of a mapping; of a union or a text with translations, those of its mapping."""
    if shape.model is not None:
        yield from shape.model.model_fields


def _homes(shape: Shape, key: str, path: KeyPath) -> Iterator[KeyPath]:
    """Yield the places where `key` is a known key."""
    fields = shape.model.model_fields if shape.model is not None else {}
    if key in fields:
        yield path
    for name, field in fields.items():
        yield from _homes(Shape.of_field(field), key, (*path, name))


def _missing(shape: Shape, path: KeyPath) -> tuple[str, str]:
    return f"{label(path)} is missing", f"it must be {shape.expected()}"


def _refused(details: ErrorDetails, path: KeyPath, source: Source) -> Problem:
    context = details["ctx"]
    path = (*path, *context["at"])
    return source.problem(path, f"{label(path)} {context['predicate']}", context["hint"])


def _tag(details: ErrorDetails, path: KeyPath, source: Source) -> Problem:
    context = details["ctx"]
    path = (*path, str(context["discriminator"]).strip("'"))
    if "expected_tags" not in context:
        return source.problem(path, f"{label(path)} is missing")
    tags = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
    shown = _shown(path, source)
    return source.problem(path, f"{label(path)} must be {one_of(tags)}, not {shown}")


def _unexpected(shape: Shape, path: KeyPath, source: Source) -> Problem:
    expect = shape.find(Expect)
    expected = shape.expected()
    message = f"{label(path)} must be {expected}"
    if expect is None or expect.echo:
        message += f", not {_shown(path, source)}"
    return source.problem(path, message, _advice(path, source, shape, expect))


def _advice(path: KeyPath, source: Source, shape: Shape, expect: Expect | None) -> str | None:
    """Advise quotes where text was wanted and YAML read something else."""
    value, scalar = _value(path, source), source.scalars.get(path)
    if expect is not None and expect.hint:
        return expect.hint
    if value is None and scalar is not None and not scalar.text:
        return "write a value, or remove the key"
    if shape.type is str and scalar is not None and isinstance(value, bool | int | float):
        return f'write it in quotes: `"{scalar.text}"`'
    return None


def _shown(path: KeyPath, source: Source) -> str:
    value, scalar = _value(path, source), source.scalars.get(path)
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = scalar.text if scalar is not None else str(value)
    if not text:
        return "empty"
    if isinstance(value, str):
        return quoted(text) if isinstance(plain_value(text), str) else f"the text {quoted(text)}"
    return quoted(text) if value is None or isinstance(value, bool) else f"the number {quoted(text)}"


def _value(path: KeyPath, source: Source) -> Any:
    value: Any = source.data
    for segment in path:
        value = value[segment]
    return value
