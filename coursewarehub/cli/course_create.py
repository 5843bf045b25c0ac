"""`coursewarehub course create`: write a new course file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coursewarehub.cli.course_files import warn_of_problems
from coursewarehub.cli.errors import CommandError

if TYPE_CHECKING:
    from coursewarehub.cli import Subparsers

_ROLES = ("owner", "instructor", "assistant", "student", "observer")
_SHOWN = ("members.owners", "members.instructors", "members.students", "content.folder", "content.start")
_HEADER = ("One course. All settings there are, explained: `coursewarehub schema course --example`.",)


def add_create(verbs: Subparsers) -> None:
    """Add the verb."""
    parser = verbs.add_parser("create", help="write a new course file; the course starts as a draft")
    parser.add_argument("id", metavar="ID", help="lower-case letters, digits and dashes")
    parser.add_argument("--title", required=True)
    parser.add_argument("--description")
    parser.add_argument("--language", metavar="TAG", help="language of teaching, such as en or ja")
    for role in _ROLES:
        parser.add_argument(f"--{role}", action="append", metavar="NAME", help="may be repeated")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--folder", metavar="DIR", help="content: a folder, relative to the site")
    source.add_argument("--git", metavar="URL", help="content: a git repository")
    parser.add_argument("--ref", help="branch, tag or commit of --git")
    parser.add_argument("--start", metavar="FILE", help="notebook opened on entering")
    parser.add_argument("--workshop", action="store_true", help="confirm the shared password, for production mode")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write `courses.d/ID.yaml` unless it exists, and say what is missing before it can run."""
    from coursewarehub.cli.files import create_file
    from coursewarehub.model.course import Course, is_course_id
    from coursewarehub.model.example import commented_yaml
    from coursewarehub.model.load import course_file, load_site, parse_course, relative

    if not is_course_id(args.id):
        raise CommandError(
            f"`{args.id}` cannot be a course id: use 2 to 32 lower-case letters, digits and dashes, "
            "starting with a letter and not ending with a dash."
        )
    load_site(args.site)
    file = course_file(args.site, args.id)
    text = commented_yaml(Course, _HEADER, _values(args), only=_SHOWN)
    parse_course(args.site, file, text)
    file.parent.mkdir(exist_ok=True)
    create_file(file, text)
    print(f"Wrote {relative(args.site, file)} (a draft).")
    print(f"Let students in with: coursewarehub --site {_shown(args.site)} course open {args.id}")
    warn_of_problems(args.site, args.id)
    return 0


def _values(args: argparse.Namespace) -> dict[str, Any]:
    values = {
        "id": args.id,
        "title": args.title,
        "description": args.description,
        "language": args.language,
        "state": "draft",
        "authentication.method": "dummy",
        "authentication.workshop": args.workshop,
        **{f"members.{role}s": getattr(args, role) for role in _ROLES},
        "content.folder": args.folder,
        "content.git": args.git,
        "content.ref": args.ref,
        "content.start": args.start,
    }
    return {key: value for key, value in values.items() if value is not None}


def _shown(root: Path) -> str:
    import shlex

    return shlex.quote(str(root))
