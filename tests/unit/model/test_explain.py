"""Messages for shapes that the models do not have yet, and for every field there is."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from coursewarehub.model import ConfigurationError, Problem
from coursewarehub.model.explain import explain
from coursewarehub.model.values import Settings
from coursewarehub.model.yaml_source import parse


class Ldap(Settings):
    method: Literal["ldap"]
    server: str
    dummy: str = ""


class Dummy(Settings):
    method: Literal["dummy"]
    workshop: bool = False


class Login(Settings):
    login: Annotated[Ldap | Dummy, Field(discriminator="method")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "login:\n  method: oauth\n",
            "f.yaml:2: `login.method` must be one of `ldap`, `dummy`, not `oauth`",
        ),
        ("login:\n  server: x\n", "f.yaml:1: `login.method` is missing"),
        (
            "login:\n  method: ldap\n  server: 1.5\n",
            'f.yaml:3: `login.server` must be text, not the number `1.5` (write it in quotes: `"1.5"`)',
        ),
        ("login:\n  method: ldap\n", "f.yaml:1: `login.server` is missing (it must be text)"),
        (
            "login:\n  method: dummy\n  worksop: true\n",
            "f.yaml:3: unknown key `worksop` in `login` (did you mean `workshop`?)",
        ),
        (
            "login:\n  dummy: {a: 1}\n  method: dummy\n  workshop: 1\n",
            "f.yaml:2: unknown key `dummy` in `login`",
        ),
    ],
)
def test_methods_told_apart_by_a_key(text: str, sentence: str) -> None:
    source = parse(text, "f.yaml")
    with pytest.raises(ValidationError) as caught:
        Login.model_validate(source.data, strict=True)
    problems = ConfigurationError(explain(caught.value, Login, source)).problems
    assert str(problems[0]).startswith(sentence)


def test_problems_come_in_the_order_of_files_and_lines() -> None:
    problems = [
        Problem("courses.d/b.yaml", 1, "x"),
        Problem("courses.d/a.yaml", 10, "x"),
        Problem("courses.d/a.yaml", 9, "x"),
        Problem("site.yaml", 3, "x"),
    ]
    assert ConfigurationError(problems).problems == tuple(reversed(problems))


def test_a_problem_is_one_printable_line() -> None:
    problem = Problem("a\nb.yaml", 1, "x\x1b[31m", "y\u202e")
    assert str(problem) == "a\\nb.yaml:1: x\\x1b[31m (y\\u202e)"
