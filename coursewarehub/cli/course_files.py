"""Finding a course by its id, and saying what keeps it from running."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from coursewarehub.cli.errors import CommandError

if TYPE_CHECKING:
    from coursewarehub.model.course import Course


def find_course(root: Path, course_id: str) -> Course:
    """Return a course. Raises CommandError when there is none, ConfigurationError when broken."""
    from coursewarehub.model.course import is_course_id
    from coursewarehub.model.load import course_file, load_course, load_site
    from coursewarehub.model.problems import quoted

    file = course_file(root, course_id)
    if is_course_id(course_id) and os.path.lexists(file):
        return load_course(root, file)
    known = ", ".join(load_site(root).courses) or "none"
    raise CommandError(f"There is no course {quoted(course_id)} (courses: {known}).")


def warn_of_problems(root: Path, course_id: str) -> None:
    """Print to the standard error what keeps a course from running, if anything does."""
    from coursewarehub.model.load import course_file, load_site, relative, usable
    from coursewarehub.model.problems import ConfigurationError

    try:
        problems = usable(load_site(root)).problems
    except ConfigurationError as error:
        problems = error.problems
    files = {relative(root, course_file(root, course_id)), "site.yaml"}
    for problem in problems:
        if problem.file in files:
            print(f"Before it can run: {problem}", file=sys.stderr)
