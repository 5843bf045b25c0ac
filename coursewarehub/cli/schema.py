"""`coursewarehub schema`: what may stand in the files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coursewarehub.cli import Subparsers


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("schema", help="print the JSON Schema, reference or example of the files")
    parser.add_argument("file", nargs="?", choices=("site", "course", "platform"), default="site", help="default: site")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--reference", action="store_true", help="the reference page of all files")
    form.add_argument("--example", action="store_true", help="a commented file with every setting")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the JSON Schema of one file, or what was asked instead."""
    print(_text(args.file, reference=args.reference, example=args.example), end="")
    return 0


def _text(file: str, *, reference: bool, example: bool) -> str:
    from coursewarehub.model import schema

    if reference:
        return schema.reference_page()
    if example:
        examples = {"site": schema.example_site, "course": schema.example_course, "platform": schema.example_platform}
        return examples[file]()
    schemas = {"site": schema.site_schema, "course": schema.course_schema, "platform": schema.platform_schema}
    return schema.to_json(schemas[file]())
