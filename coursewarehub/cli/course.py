"""`coursewarehub course`: the courses of a site.

A verb is a function `_add_<verb>(verbs)` in `_VERBS` that adds its parser and sets `run`; larger
verbs live in modules of their own (`course_create.py`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from coursewarehub.cli.course_audit import add_audit
from coursewarehub.cli.course_create import add_create
from coursewarehub.cli.course_files import find_course, warn_of_problems
from coursewarehub.cli.course_hub import add_hub_config, add_password, add_token
from coursewarehub.cli.course_members import add_members
from coursewarehub.cli.errors import CommandError

if TYPE_CHECKING:
    from coursewarehub.cli import Subparsers
    from coursewarehub.model.load import LoadedSite


def register(subparsers: Subparsers) -> None:
    """Add the command and its verbs."""
    parser = subparsers.add_parser("course", help="list, create, show, open, close or archive courses")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for add in _VERBS:
        add(verbs)


def _add_list(verbs: Subparsers) -> None:
    parser = verbs.add_parser("list", help="list the courses")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run_list)


def _add_show(verbs: Subparsers) -> None:
    parser = verbs.add_parser("show", help="show one course")
    parser.add_argument("id", metavar="ID")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run_show)


def _add_states(verbs: Subparsers) -> None:
    for verb, state, text in (
        ("open", "open", "let students in"),
        ("close", "closed", "let no students in any more"),
        ("archive", "archived", "let nobody in any more; nothing is deleted"),
    ):
        parser = verbs.add_parser(verb, help=text)
        parser.add_argument("id", metavar="ID")
        parser.set_defaults(run=run_state, state=state)


_VERBS: tuple[Callable[[Subparsers], None], ...] = (
    _add_list,
    add_create,
    _add_show,
    _add_states,
    add_audit,
    add_token,
    add_password,
    add_hub_config,
    add_members,
)


def run_list(args: argparse.Namespace) -> int:
    """Print the courses; a broken course file is a problem at the end and exit code 2."""
    from coursewarehub.model.load import load_site
    from coursewarehub.model.problems import ConfigurationError

    loaded = load_site(args.site)
    print(_listing_json(loaded) if args.json else _listing(loaded))
    if loaded.problems:
        raise ConfigurationError(loaded.problems)
    return 0


def _listing_json(loaded: LoadedSite) -> str:
    import json

    keys = {"id", "title", "state", "language", "dates"}
    courses = [c.model_dump(mode="json", include=keys) for c in loaded.courses.values()]
    return json.dumps(courses, indent=2, ensure_ascii=False)


def _listing(loaded: LoadedSite) -> str:
    courses = loaded.courses.values()
    if not courses:
        return "There are no courses."
    width = max(len(course.id) for course in courses)
    language = loaded.site.language
    return "\n".join(f"{c.id:{width}}  {c.state:8}  {c.title.text(language)}" for c in courses)


def run_show(args: argparse.Namespace) -> int:
    """Print one course."""
    from coursewarehub.cli.course_show import described

    course = find_course(args.site, args.id)
    print(course.model_dump_json(indent=2) if args.json else described(course))
    return 0


def run_state(args: argparse.Namespace) -> int:
    """Change the `state` of a course in its file, and nothing else."""
    from coursewarehub.cli.files import replace_file
    from coursewarehub.model import edit
    from coursewarehub.model.course import CourseState
    from coursewarehub.model.load import course_file

    find_course(args.site, args.id)
    state = CourseState(args.state)
    course, source = edit.read_for_edit(args.site, args.id)
    if course.state is state:
        print(f"{source.file}: the state is `{state}` already.")
        return 0
    try:
        text = edit.with_state(args.site, course, source, state)
    except edit.EditError as error:
        raise CommandError(f"{error}.") from None
    replace_file(course_file(args.site, args.id), text)
    print(f"{source.file}: the state is `{state}` now; it was `{course.state}`.")
    warn_of_problems(args.site, args.id)
    return 0
