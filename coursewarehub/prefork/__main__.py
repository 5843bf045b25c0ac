"""`python -m coursewarehub.prefork KIND FOLDER`: run a parent until it is told to stop."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from coursewarehub.prefork.child import ChildTask, set_name
from coursewarehub.prefork.kinds import ENTRY, warm_up


def run(kind: str, folder: Path) -> ChildTask | None:
    """Import the program, serve; returns the task of a forked child, None in the parent at its end."""
    from coursewarehub.prefork.parent import Parent

    warm_up(kind)
    set_name(f"cw-{kind}-parent")
    try:
        parent = Parent(kind, folder)
    except BlockingIOError:
        logging.getLogger("coursewarehub.prefork").warning("another parent serves %s already", folder)
        return None
    return parent.serve()


def main(arguments: list[str]) -> int:
    """Command line; exit status."""
    if len(arguments) != 2 or arguments[0] not in ENTRY:
        print(f"usage: python -m coursewarehub.prefork {'|'.join(ENTRY)} FOLDER", file=sys.stderr)
        return 2
    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s")
    task = run(arguments[0], Path(arguments[1]).resolve())
    return 0 if task is None else task.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
