"""`coursewarehub check`: check the whole configuration."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coursewarehub.cli import Subparsers


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("check", help="check the configuration")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print how many courses there are; every problem is a ConfigurationError."""
    from coursewarehub.model.load import check_site

    count = len(check_site(args.site).courses)
    print(f"OK: {count} course{'' if count == 1 else 's'}")
    return 0
