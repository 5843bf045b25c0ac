"""`coursewarehub init [DIR]`: make a new site folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from coursewarehub.cli.errors import CommandError

if TYPE_CHECKING:
    from coursewarehub.cli import Subparsers

_IGNORED = ("/secrets/", "state/", "homes/")
_SHOWN = ("title", "mode", "language", "edge.host", "edge.port")
_HEADER = (
    "Settings of one CoursewareHub site; every setting is optional.",
    "All there are, explained: `coursewarehub schema site --example`.",
)


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("init", help="make a new site folder")
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="same as --site DIR")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write `site.yaml`, `courses.d/`, `state/` and `.gitignore`."""
    root = _folder(args)
    site_file = root / "site.yaml"
    if site_file.exists() or site_file.is_symlink():
        raise CommandError(f"{site_file} exists already and is left as it is.")
    _make_folders(root)
    _ignore(root / ".gitignore")
    _write_site(site_file)
    print(f"Made a site in {root.resolve()}")
    print(f"Next: coursewarehub --site {root} course create ID --title TITLE")
    return 0


def _folder(args: argparse.Namespace) -> Path:
    site: Path = args.site
    folder: Path | None = args.folder
    if folder is not None and site not in {Path(), folder}:
        raise CommandError(f"Two folders are given, {folder} and {site}; name one.")
    return folder or site


def _make_folders(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise CommandError(f"{root} is a file; a site needs a folder.")
    (root / "courses.d").mkdir(parents=True, exist_ok=True)
    state = root / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    state.chmod(0o700)


def _ignore(file: Path) -> None:
    """Keep secrets and people's work out of version control, along with what is there already."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    missing = [line for line in _IGNORED if line not in text.splitlines()]
    if missing:
        separator = "" if not text or text.endswith("\n") else "\n"
        file.write_text(text + separator + "\n".join(missing) + "\n", encoding="utf-8")


def _write_site(file: Path) -> None:
    from coursewarehub.cli.files import create_file
    from coursewarehub.model.example import commented_yaml
    from coursewarehub.model.site import Site

    create_file(file, commented_yaml(Site, _HEADER, {}, only=_SHOWN))
