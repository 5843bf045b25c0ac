"""`coursewarehub image`: build, verify and push the images, and have them pulled before they are needed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coursewarehub.cli import Subparsers


def register(subparsers: Subparsers) -> None:
    """Add the command and its verbs."""
    from coursewarehub.imaging.recipes import RECIPES

    parser = subparsers.add_parser("image", help="build, verify, push or pre-pull the images", description=__doc__)
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    build = verbs.add_parser("build", help="build the images", description="Build one image, or all of them.")
    build.add_argument("image", nargs="?", choices=(*RECIPES, "all"), default="all", help="which (default: all)")
    build.add_argument("--tag", metavar="NAME", help="full name of the image (default: coursewarehub/IMAGE:VERSION)")
    build.add_argument("--base", metavar="NAME", help="image to start from (default: debian:bookworm-slim)")
    build.add_argument("--ca", type=Path, metavar="DIR", help="folder with further certificates to trust, *.crt")
    build.add_argument("--network", metavar="NAME", help="network for the build, as in `docker build`: host")
    build.add_argument(
        "--pip-option", action="append", default=[], metavar="WORD", help="word for pip: --pip-option=--index-url=URL"
    )
    _add_engine(build)
    build.set_defaults(run=run_build)


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", metavar="URL", help="the Docker Engine, such as unix:///var/run/docker.sock")


def run_build(args: argparse.Namespace) -> int:
    """Build; prints the builder's output and the names of the images."""
    from coursewarehub.cli.errors import CommandError
    from coursewarehub.imaging.build import BuildOptions, build
    from coursewarehub.imaging.client import Docker
    from coursewarehub.imaging.errors import ImagingError
    from coursewarehub.imaging.recipes import RECIPES

    recipes = tuple(RECIPES.values()) if args.image == "all" else (RECIPES[args.image],)
    if args.tag and len(recipes) > 1:
        raise CommandError("--tag names one image: say which one to build, singleuser or hub")
    options = BuildOptions(args.tag, args.base, args.ca, args.network, tuple(args.pip_option))
    try:
        for recipe in recipes:
            print(f"built {build(Docker(args.engine), recipe, options)}")
    except ImagingError as error:
        raise CommandError(f"{error}.") from error
    return 0
