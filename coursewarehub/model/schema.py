"""JSON Schemas of the files, and the generated files of `docs/reference`.

`python -m coursewarehub.model.schema --write docs/reference` writes them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, RootModel

from coursewarehub.model.course import Course
from coursewarehub.model.example import example_course, example_platform, example_site
from coursewarehub.model.platforms import PlatformFile
from coursewarehub.model.reference import reference_page
from coursewarehub.model.shape import Shape, default_value
from coursewarehub.model.site import Site

__all__ = [
    "course_schema",
    "example_course",
    "example_platform",
    "example_site",
    "generated_files",
    "platform_schema",
    "reference_page",
    "site_schema",
]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def site_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of `site.yaml`."""
    return _schema(Site)


def course_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a course file."""
    return _schema(Course)


def platform_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the file of a learning platform."""
    return _schema(PlatformFile)


def generated_files() -> dict[str, str]:
    """Return the content of each generated file of `docs/reference` by its name."""
    return {
        "site.schema.json": to_json(site_schema()),
        "course.schema.json": to_json(course_schema()),
        "platform.schema.json": to_json(platform_schema()),
        "configuration.md": reference_page(),
        "site.example.yaml": example_site(),
        "course.example.yaml": example_course(),
        "platform.example.yaml": example_platform(),
    }


def to_json(schema: dict[str, Any]) -> str:
    """Return a schema as text that ends with a newline."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    for section in _models(model):
        if not issubclass(section, RootModel):
            _tidy(schema if section is model else schema["$defs"][section.__name__], section)
    return {"$schema": _DIALECT, **schema}


def _tidy(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Write defaults as a file would, and drop titles that only repeat the key."""
    for name, field in model.model_fields.items():
        entry = schema["properties"][name]
        entry.pop("title", None)
        if not field.is_required() and field.default is not None:
            entry["default"] = default_value(model, name)


def _models(model: type[BaseModel]) -> list[type[BaseModel]]:
    shapes = map(Shape.of_field, model.model_fields.values())
    inner = [found for shape in shapes for section in shape.models for found in _models(section)]
    return [model, *inner]


def main(argv: Sequence[str] | None = None) -> int:
    """Write the generated files into a folder."""
    parser = argparse.ArgumentParser(prog="python -m coursewarehub.model.schema")
    parser.add_argument("--write", type=Path, required=True, metavar="FOLDER")
    folder: Path = parser.parse_args(argv).write
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in generated_files().items():
        (folder / name).write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
