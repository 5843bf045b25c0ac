"""Changing one value of a course file while its comments and layout stay as they are."""

from __future__ import annotations

from pathlib import Path

from coursewarehub.model.course import Course, CourseState
from coursewarehub.model.load import course_file, parse_course, relative
from coursewarehub.model.problems import ConfigurationError
from coursewarehub.model.yaml_source import Source, read_source


class EditError(Exception):
    """The file is fine, but the change has to be made by hand; the text says which."""


def read_for_edit(root: Path, course_id: str) -> tuple[Course, Source]:
    """Read a course's file, for a change. Raises ConfigurationError."""
    file = course_file(root, course_id)
    return parse_course(root, file, read_source(file, relative(root, file)).text)


def with_state(root: Path, course: Course, source: Source, state: CourseState) -> str:
    """Return the text of a course file with another `state`.

    Raises EditError when the file is laid out so that no simple edit gives exactly that change.
    """
    text = _replace(source, state) if ("state",) in source.scalars else _insert(source, state)
    wanted = course.model_copy(update={"state": state})
    try:
        changed, _ = parse_course(root, course_file(root, course.id), text)
    except ConfigurationError:
        changed = course
    if changed != wanted:
        raise EditError(f"{source.file} has an unusual layout; write `state: {state}` into it by hand")
    return text


def _replace(source: Source, state: CourseState) -> str:
    old = source.scalars[("state",)]
    return source.text[: old.start] + state + source.text[old.end :]


def _insert(source: Source, state: CourseState) -> str:
    """Put a `state` line below the line of `id`."""
    rest = source.text.find("\n", source.scalars[("id",)].end) + 1
    newline = "\r\n" if source.text[:rest].endswith("\r\n") else "\n"
    if rest == 0:
        return f"{source.text}{newline}state: {state}{newline}"
    return f"{source.text[:rest]}state: {state}{newline}{source.text[rest:]}"
