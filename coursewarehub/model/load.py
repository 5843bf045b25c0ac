"""Reading a site folder: `site.yaml`, `platforms.d/*.yaml` and `courses.d/*.yaml`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from coursewarehub.model.checks import course_problems, provider_problems, site_problems
from coursewarehub.model.course import Course
from coursewarehub.model.explain import explain
from coursewarehub.model.platforms import load_platforms
from coursewarehub.model.problems import ConfigurationError, Problem, quoted
from coursewarehub.model.site import Site
from coursewarehub.model.yaml_source import Source, parse, read_source

SITE_FILE = "site.yaml"
COURSES_FOLDER = "courses.d"

_M = TypeVar("_M", bound=BaseModel)


@dataclass(frozen=True)
class LoadedSite:
    """A site folder's data; `site.login` has the platforms of `platforms.d` too.

    `problems` are those of platform files that are not in it and of course files that are not in `courses`.
    """

    root: Path
    site: Site
    courses: Mapping[str, Course]
    problems: tuple[Problem, ...] = ()
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)
    """Where things were written: by course id, and the site's under the empty text."""
    platforms: Mapping[str, Source] = field(default_factory=dict, repr=False, compare=False)
    """Where the platforms of `platforms.d` were written, by name."""


def load_site(root: Path) -> LoadedSite:
    """Read a site folder; broken course and platform files become `problems` and the others load.

    Raises ConfigurationError when the folder or `site.yaml` is missing or broken.
    """
    site, source = _load_site_file(root)
    found = load_platforms(root, source, site.login)
    if found.platforms:
        site = site.model_copy(update={"login": {**site.login, **found.platforms}})
    courses, sources, problems = _load_courses(root)
    sources[""] = source
    return LoadedSite(
        root, site, MappingProxyType(courses), found.problems + problems, sources, MappingProxyType(dict(found.sources))
    )


def load_course(root: Path, file: Path) -> Course:
    """Read one course file. Raises ConfigurationError."""
    return _load_course(root, file)[0]


def parse_course(root: Path, file: Path, text: str) -> tuple[Course, Source]:
    """Read `text` as if it were the content of `file`. Raises ConfigurationError."""
    return _course(root, file, parse(text, relative(root, file)))


def usable(loaded: LoadedSite, environ: Mapping[str, str] | None = None) -> LoadedSite:
    """Return the site without the platforms and courses that cannot be used; `problems` then says why.

    Checks what reaches beyond one file: mode, strangers, secrets, content folders.
    """
    loaded = _without_broken_platforms(loaded, os.environ if environ is None else environ)
    found = {name: tuple(_course_problems(loaded, course, environ)) for name, course in loaded.courses.items()}
    courses = {name: course for name, course in loaded.courses.items() if not found[name]}
    problems = loaded.problems + tuple(problem for some in found.values() for problem in some)
    return replace(loaded, courses=MappingProxyType(courses), problems=problems)


def _without_broken_platforms(loaded: LoadedSite, environ: Mapping[str, str]) -> LoadedSite:
    found = {
        name: tuple(provider_problems(loaded.root, loaded.site, name, (), source, environ))
        for name, source in loaded.platforms.items()
        if name in loaded.site.login
    }
    if not any(found.values()):
        return loaded
    login = {name: provider for name, provider in loaded.site.login.items() if not found.get(name)}
    problems = loaded.problems + tuple(problem for some in found.values() for problem in some)
    return replace(loaded, site=loaded.site.model_copy(update={"login": login}), problems=problems)


def check_site(root: Path, environ: Mapping[str, str] | None = None) -> LoadedSite:
    """Read a site folder and check everything that can be checked before starting it.

    `environ` (default: this process's) is where `env:` secrets are looked up. Raises
    ConfigurationError with all problems of all files.
    """
    try:
        loaded = load_site(root)
    except ConfigurationError as error:
        others = load_platforms(root).problems + _load_courses(root)[2]
        raise ConfigurationError(error.problems + others) from None
    checked = usable(loaded, environ)
    of_site = site_problems(root, loaded.site, loaded.sources[""], tuple(loaded.courses.values()), environ)
    problems = (*of_site, *checked.problems)
    if problems:
        raise ConfigurationError(problems)
    return checked


def course_file(root: Path, course_id: str) -> Path:
    """Return the path of a course's file."""
    return root / COURSES_FOLDER / f"{course_id}.yaml"


def relative(root: Path, file: Path) -> str:
    """Return what messages call a file: its path in the site folder, if it is inside."""
    return str(file.relative_to(root) if file.is_relative_to(root) else file)


def _course_problems(loaded: LoadedSite, course: Course, environ: Mapping[str, str] | None) -> Iterator[Problem]:
    source = loaded.sources[course.id]
    environ = os.environ if environ is None else environ
    return course_problems(loaded.root, loaded.site, course, source, environ)


def _load_site_file(root: Path) -> tuple[Site, Source]:
    hint = "make one with `coursewarehub init`"
    if not root.is_dir():
        message = "there is no such site folder"
        raise ConfigurationError([Problem(str(root), None, message, hint)])
    if not os.path.lexists(root / SITE_FILE):
        message = f"is missing in {quoted(str(root), limit=200)}"
        raise ConfigurationError([Problem(SITE_FILE, None, message, hint)])
    source = read_source(root / SITE_FILE, SITE_FILE)
    return _validate(Site, source), source


def _load_courses(root: Path) -> tuple[dict[str, Course], dict[str, Source], tuple[Problem, ...]]:
    courses: dict[str, Course] = {}
    sources: dict[str, Source] = {}
    problems: list[Problem] = []
    try:
        files = _course_files(root / COURSES_FOLDER)
    except OSError as error:
        return {}, {}, (Problem(COURSES_FOLDER, None, f"cannot be read: {error.strerror}"),)
    for file in files:
        try:
            course, source = _load_course(root, file)
        except ConfigurationError as error:
            problems += error.problems
        else:
            courses[course.id], sources[course.id] = course, source
    return courses, sources, tuple(problems)


def _course_files(folder: Path) -> list[Path]:
    """Return the files that are, or want to be, course files; hidden ones are editors' copies."""
    wanted = {".yaml", ".yml"}
    found = sorted(folder.iterdir()) if os.path.lexists(folder) else []
    return [file for file in found if file.suffix in wanted and not file.name.startswith(".")]


def _load_course(root: Path, file: Path) -> tuple[Course, Source]:
    name = relative(root, file)
    if file.suffix == ".yml":
        raise ConfigurationError([Problem(name, 1, "is named `.yml`", "rename it to `.yaml`")])
    return _course(root, file, read_source(file, name))


def _course(root: Path, file: Path, source: Source) -> tuple[Course, Source]:
    course = _validate(Course, source)
    if course.id != file.stem:
        raise ConfigurationError([_wrong_name(root, file, source, course.id)])
    return course, source


def _wrong_name(root: Path, file: Path, source: Source, course_id: str) -> Problem:
    other = course_file(root, course_id)
    if os.path.lexists(other):
        message = f"`id` is `{course_id}`, which {quoted(relative(root, other))} has already"
        return source.problem(("id",), message, "give each course an id of its own")
    message = f"`id` is `{course_id}` but the file is named {quoted(file.name)}"
    return source.problem(("id",), message, f"rename the file to `{course_id}.yaml`")


def _validate(model: type[_M], source: Source) -> _M:
    try:
        return model.model_validate_json(json.dumps(source.data), strict=True)
    except ValidationError as error:
        problems = tuple(explain(error, model, source))
    raise ConfigurationError(problems)
