"""`coursewarehub up`: run the site until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from coursewarehub.model import ConfigurationError, Problem

if TYPE_CHECKING:
    from coursewarehub.site.process import SiteProcess

DEMO_PASSWORD = "welcome"  # noqa: S105 - the demo's own, told to everybody


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("up", help="run the site until Ctrl-C", description=__doc__)
    parser.add_argument("--demo", action="store_true", help="make and run the demo site with its two courses")
    parser.add_argument("--host", help="address to listen on instead of the one in site.yaml")
    parser.add_argument("--port", type=int, help="port to listen on instead of the one in site.yaml")
    parser.add_argument("--verbose", action="store_true", help="also log what goes well")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; exit status."""
    root = Path(args.site).resolve()
    if args.port is not None and not 1 <= args.port <= 65535:
        raise ConfigurationError([Problem("--port", None, "must be a whole number from 1 to 65535")])
    if args.demo:
        _make_demo(root)
    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    return asyncio.run(_serve(root, args))


def _make_demo(root: Path) -> None:
    from coursewarehub.demo import copy_to

    try:
        copy_to(root, DEMO_PASSWORD)
    except ValueError as error:
        raise ConfigurationError([Problem(str(root), None, str(error))]) from error


async def _serve(root: Path, args: argparse.Namespace) -> int:
    from coursewarehub.site.process import AlreadyRunning, Listen, SiteProcess

    try:
        site = SiteProcess(root, Listen(args.host, args.port))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, site.stop)
        await site.run(lambda site: _announce(site, demo=args.demo))
    except (AlreadyRunning, RuntimeError) as error:
        print(f"coursewarehub: {error}", file=sys.stderr)
        return 1
    return 0


def _announce(site: SiteProcess, *, demo: bool) -> None:
    """The one ready line."""
    from coursewarehub.model.addresses import public_url

    line = f"CoursewareHub is ready: {public_url(site.site)}"
    if demo:
        line += f"  (log in as ada, the instructor, or as a student under any name; password: {DEMO_PASSWORD})"
    print(line, flush=True)
    for problem in site.status()["problems"]:
        print(problem, file=sys.stderr, flush=True)
