"""`coursewarehub image`: build, verify and push the images, and have them pulled before they are needed."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from coursewarehub.cli.errors import CommandError

if TYPE_CHECKING:
    from coursewarehub.cli import Subparsers
    from coursewarehub.imaging.prepull import NodeReport

_T = TypeVar("_T")

_NAME = "singleuser, hub, or the full name of any image"


def register(subparsers: Subparsers) -> None:
    """Add the command and its verbs."""
    parser = subparsers.add_parser("image", help="build, verify, push or pre-pull the images", description=__doc__)
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    _register_build(verbs)
    verify = verbs.add_parser("verify", help="check an image", description="Check an image from inside a container.")
    verify.add_argument("image", metavar="IMAGE", help=_NAME)
    push = verbs.add_parser("push", help="push an image to a registry", description="Tag and push an image.")
    push.add_argument("image", metavar="IMAGE", help=_NAME)
    push.add_argument("destination", metavar="REGISTRY/...", help="a registry, with or without path, or a whole name")
    prepull = verbs.add_parser(
        "prepull",
        help="pull images before they are needed",
        description="Pull images by digest on every node of a swarm, or on the one Docker host; report on each node.",
    )
    prepull.add_argument("image", nargs="*", metavar="IMAGE", help="full names (default: those of the site's courses)")
    prepull.add_argument("--wait", type=float, default=1800, metavar="SECONDS", help="how long to wait (1800)")
    for verb, run in ((verify, run_verify), (push, run_push), (prepull, run_prepull)):
        _add_engine(verb)
        verb.set_defaults(run=run)


def _register_build(verbs: Subparsers) -> None:
    from coursewarehub.imaging.recipes import RECIPES

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
    parser.add_argument(
        "--engine",
        metavar="URL",
        help="the Docker Engine, such as unix:///var/run/docker.sock (default: the site's, else what `docker` uses)",
    )


def run_build(args: argparse.Namespace) -> int:
    """Build; prints the builder's output and the names of the images."""
    from coursewarehub.imaging.build import BuildOptions, build
    from coursewarehub.imaging.client import Docker
    from coursewarehub.imaging.recipes import RECIPES

    recipes = tuple(RECIPES.values()) if args.image == "all" else (RECIPES[args.image],)
    if args.tag and len(recipes) > 1:
        raise CommandError("`--tag` names one image: say which one to build, singleuser or hub.")
    options = BuildOptions(args.tag, args.base, args.ca, args.network, tuple(args.pip_option))
    docker = Docker(_engine(args))
    for reference in _told(lambda: [build(docker, recipe, options) for recipe in recipes]):
        print(f"built {reference}")
    return 0


def run_verify(args: argparse.Namespace) -> int:
    """Check; prints a line for each thing, 1 when one is bad."""
    from coursewarehub.imaging.client import Docker
    from coursewarehub.imaging.verify import verify

    reference = _reference(args.image)
    good = _told(lambda: verify(Docker(_engine(args)), reference))
    print(f"{reference} is {'good' if good else 'not good'}")
    return 0 if good else 1


def run_push(args: argparse.Namespace) -> int:
    """Push; prints the image's name in the registry with its digest."""
    from coursewarehub.imaging.client import Docker
    from coursewarehub.imaging.push import push

    print(_told(lambda: push(Docker(_engine(args)), _reference(args.image), args.destination)))
    return 0


def run_prepull(args: argparse.Namespace) -> int:
    """Pull; prints a table of the nodes for each image, 1 when a node is not ready."""
    import asyncio

    references = tuple(_reference(name) for name in args.image) or _images_of_site(args.site)
    url = _engine(args) or os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    return 0 if _told(lambda: asyncio.run(_prepull(url, references, args.wait))) else 1


def _reference(name: str) -> str:
    """Full name of an image that may be given by the short name of one of ours."""
    from coursewarehub.imaging.recipes import RECIPES

    return RECIPES[name].reference if name in RECIPES else name


def _engine(args: argparse.Namespace) -> str | None:
    """The engine that was asked for, else the site's; None for the one that `docker` takes by itself."""
    from coursewarehub.model.load import load_site
    from coursewarehub.model.spawner import ContainerSpawner

    if args.engine or not (args.site / "site.yaml").is_file():
        return str(args.engine) if args.engine else None
    spawner = load_site(args.site).site.spawner
    return spawner.engine if isinstance(spawner, ContainerSpawner) else None


def _images_of_site(root: Path) -> tuple[str, ...]:
    """The images of the site's courses that are not archived, and the site's own."""
    from coursewarehub.model.load import load_site
    from coursewarehub.model.spawner import ContainerSpawner

    loaded = load_site(root)
    spawner = loaded.site.spawner
    if not isinstance(spawner, ContainerSpawner):
        raise CommandError(f"The site's spawner is `{spawner.kind}`, which needs no images: name one to pull.")
    courses = (course for course in loaded.courses.values() if course.state != "archived")
    of_courses = (image for course in courses for image in course.images_with(spawner.image))
    return tuple(dict.fromkeys([spawner.image, *of_courses]))


def _told(work: Callable[[], _T]) -> _T:
    """Do it; what is known to go wrong ends the command with its sentence."""
    from coursewarehub.imaging.errors import ImagingError

    try:
        return work()
    except ImagingError as error:
        text = str(error)
        raise CommandError(f"{text[:1].upper()}{text[1:]}.") from error


async def _prepull(url: str, references: tuple[str, ...], seconds: float) -> bool:
    from coursewarehub.engine import Engine, EngineError
    from coursewarehub.imaging.client import Docker
    from coursewarehub.imaging.errors import ImagingError
    from coursewarehub.imaging.prepull import prepull, table
    from coursewarehub.imaging.pull import pull

    engine = Engine(url)
    try:
        swarm = (await engine.info()).get("Swarm", {})
        good = True
        for reference in references:
            if swarm.get("LocalNodeState") != "active":
                print(f"{pull(Docker(url), reference)} is ready")
                continue
            print(f"{reference}: every node is asked to pull it", flush=True)
            report = await prepull(engine, reference, seconds=seconds, tell=_tell)
            print(f"{report.image}\n{table(report.nodes)}")
            good = good and report.is_well
    except EngineError as error:
        raise ImagingError(str(error).rstrip(".")) from error
    finally:
        engine.close()
    return good


def _tell(node: NodeReport) -> None:
    print(f"  {node.node}: {node.state}", flush=True)
