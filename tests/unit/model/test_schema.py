"""What is generated from the models: JSON Schema, reference page, commented examples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from pydantic import BaseModel, RootModel

from coursewarehub.model import Course, Site, check_site, load_site
from coursewarehub.model.example import commented_yaml, yaml_value
from coursewarehub.model.schema import (
    course_schema,
    example_course,
    example_site,
    generated_files,
    reference_page,
    site_schema,
)
from coursewarehub.model.shape import Shape, telling_key
from coursewarehub.model.values import Settings, Translations
from coursewarehub.model.yaml_source import parse

REFERENCE = Path(__file__).parents[3] / "docs/reference"
COMMAND = "python -m coursewarehub.model.schema --write docs/reference"
MODELS = [
    model
    for base in Settings.__subclasses__()
    for model in (base, *base.__subclasses__())
    if model.__module__.startswith("coursewarehub.")
]


@pytest.mark.parametrize("name", generated_files())
def test_generated_files_are_up_to_date(name: str) -> None:
    written = (REFERENCE / name).read_text(encoding="utf-8")
    assert written == generated_files()[name], f"run `{COMMAND}`"


def example_folder(root: Path) -> None:
    (root / "courses.d").mkdir()
    (root / "site.yaml").write_text(example_site(), encoding="utf-8")
    (root / "courses.d/python-basics.yaml").write_text(example_course(), encoding="utf-8")
    (root / "content/python-basics").mkdir(parents=True)
    (root / "content/python-basics/01-first-steps.ipynb").write_text("{}")


def test_the_examples_are_a_site_without_problems(tmp_path: Path) -> None:
    example_folder(tmp_path)
    loaded = check_site(tmp_path)
    assert loaded.courses["python-basics"].title.text("ja") == "Python 入門"
    assert loaded.site.model_copy(update={"title": Site().title}) == Site()


def test_the_examples_with_every_comment_opened_are_understood(tmp_path: Path) -> None:
    """What is commented out is right as well, apart from the choices that exclude each other."""
    site = parse(opened(example_site()), "f").data
    course = parse(opened(example_course()), "f").data
    assert jsonschema_problems(site, site_schema()) == []
    assert jsonschema_problems(course, course_schema()) == []
    del site["edge"]["tls"], course["content"]["git"], course["content"]["ref"]
    Site.model_validate_json(json.dumps(site), strict=True)
    Course.model_validate_json(json.dumps(course), strict=True)
    for data, model in ((site, Site), (course, Course)):
        assert set(data) == set(model.model_fields)


def opened(text: str) -> str:
    """Remove the `# ` before keys."""
    lines = []
    for line in text.splitlines():
        bare = line.lstrip().removeprefix("# ")
        is_key = line.lstrip().startswith("# ") and bare.split(":")[0].replace("_", "").islower()
        if is_key and ":" in bare and " " not in bare.split(":")[0] and not bare.startswith("`"):
            lines.append(line.replace("# ", "", 1))
        else:
            lines.append(line)
    return "\n".join(lines)


def jsonschema_problems(data: Any, schema: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema)
    return [error.message for error in validator.iter_errors(data)]


@pytest.mark.parametrize("schema", [site_schema(), course_schema()], ids=["site", "course"])
def test_schemas_are_valid(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("data", "good"),
    [
        ({}, True),
        ({"edge": {"port": 80}}, True),
        ({"hubs": {"sleep_after": "1h 30m"}}, True),
        ({"title": {"ja": "講義"}}, True),
        ({"titel": "x"}, False),
        ({"edge": {"prot": 80}}, False),
        ({"edge": {"port": 0}}, False),
        ({"hubs": {"sleep_after": 15}}, False),
        ({"hubs": {"sleep_after": "soon"}}, False),
        ({"title": 3.1}, False),
        ({"mode": "test"}, False),
        ({"spawner": {"accept_strangers": "yes"}}, False),
        ({"spawner": {}}, True),
        ({"spawner": {"kind": "local", "accept_strangers": True}}, True),
        ({"spawner": {"kind": "docker"}}, True),
        ({"spawner": {"kind": "docker", "storage": "/srv/courseware"}}, True),
        ({"spawner": {"kind": "docker", "accept_strangers": True}}, False),
        ({"spawner": {"kind": "swarm"}}, False),
        ({"spawner": {"kind": "swarm", "storage": "/srv/courseware", "lease": "90s"}}, True),
        ({"spawner": {"kind": "swarm", "storage": "/srv/courseware", "lease": "never"}}, False),
        ({"spawner": {"kind": "other"}}, False),
        ({"database": {"url": "file:secrets/database"}}, True),
        ({"database": {"url": "postgresql+psycopg://hub@db/courses"}}, True),
        ({"database": {"url": "sqlite:///x"}}, False),
    ],
)
def test_the_schema_and_the_model_agree(data: dict[str, Any], good: bool) -> None:
    assert (jsonschema_problems(data, site_schema()) == []) is good
    try:
        Site.model_validate_json(json.dumps(data), strict=True)
    except ValueError:
        assert not good
    else:
        assert good


def test_defaults_in_the_schema_are_what_a_file_would_say() -> None:
    properties = course_schema()["$defs"]
    assert properties["Limits"]["properties"]["idle_server"]["default"] == "1h"
    assert properties["Resources"]["properties"]["memory"]["default"] == "2G"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_everything_is_described(model: type[BaseModel]) -> None:
    assert model.__doc__
    assert model.model_config["extra"] == "forbid"
    for name, field in model.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        if field.default is None and Shape.of_field(field).model is None and model is not Translations:
            assert field.examples, name


def keys(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        yield path, name
        shape = Shape.of_field(field)
        place = f"{path}.{name}".strip(".")
        if shape.item is not None and shape.item.model is not None:
            yield from keys(shape.item.model, f"{place}.<name>")
        for tag, inner in (shape.item.variants if shape.item is not None else {}).items():
            yield from of_variant(inner, f"{place}.<name>", tag)
        if shape.model is not None:
            yield from keys(shape.model, place)
        for tag, inner in shape.variants.items():
            yield from of_variant(inner, place, tag)


def of_variant(model: type[BaseModel], place: str, tag: str) -> Iterator[tuple[str, str]]:
    telling = str(telling_key(model, tag))
    values = "` or `".join(get_args(model.model_fields[telling].annotation))
    for below, key in keys(model, place):
        yield (f"{below}`, `{telling}: {values}" if below == place else below), key


@pytest.mark.parametrize("model", [Site, Course])
def test_the_reference_names_every_key(model: type[BaseModel]) -> None:
    page = reference_page()
    for path, name in keys(model):
        section = page.split(f"### `{path}`\n")[1].split("\n###")[0] if path else page
        assert f"| `{name}` |" in section, f"{path}.{name}"


@pytest.mark.parametrize(
    "value",
    [
        "plain", "a b", "", " a", "a ", "a: b", "a #b", "#a", "- a", "true", "null", "~", "3.10", "007",
        "1e3", "2026-04-01", "15m", "@a", "*a", "&a", "!a", "'a'", '"a"', "a\nb", "a\tb", "学生",
        "\u2028", "\x7f", "😀", "a\\b", "{a}", "[a]", "a,b", "%a", "`a`", "file:x", "env:A", "https://a.org/b",
        "a:", ":a", "<<", "?", True, False, None, 8000, 0.5, [], ["a", "b: c"], {"en": "a", "ja": "学"},
        "\u200b", "\x85", "\ufffe",
    ],
)  # fmt: skip
def test_values_are_written_so_that_they_read_back(value: Any) -> None:
    assert parse(f"key: {yaml_value(value)}\n", "f").data == {"key": value}
    assert parse(f"key: [{yaml_value(value)}]\n", "f").data == {"key": [value]}


def test_only_the_wanted_keys_are_written() -> None:
    text = commented_yaml(Site, ["Hello."], {"edge.port": 80}, only=("mode",))
    assert parse(text, "f").data == {"mode": "production", "edge": {"port": 80}}
    assert text.startswith("# Hello.\n\n# ")


def test_texts_have_a_model_of_their_own(tmp_path: Path) -> None:
    example_folder(tmp_path)
    assert isinstance(load_site(tmp_path).site.title, RootModel)
