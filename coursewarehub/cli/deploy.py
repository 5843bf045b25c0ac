"""`coursewarehub deploy swarm`: make a Docker Swarm run the site."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coursewarehub.cli.errors import CommandError

if TYPE_CHECKING:
    from coursewarehub.cli import Subparsers
    from coursewarehub.deploy.apply import Manager
    from coursewarehub.deploy.difference import Change
    from coursewarehub.deploy.stack import Service, Stack, Surroundings
    from coursewarehub.engine import Engine
    from coursewarehub.model import Course, LoadedSite, Site
    from coursewarehub.model.spawner import SwarmSpawner
    from coursewarehub.state.folders import SiteFolders

_WAIT_SECONDS = 180
_SWARM = """Show what differs between the site folder and what runs on the swarm, ask, and make the swarm have it: the
site on a manager, an agent on every node, and the secrets that the files refer to. Run it on a manager, again after
every change of `edge`, `spawner` or a secret, and for a new version."""


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("deploy", help="make a swarm run the site")
    kinds = parser.add_subparsers(metavar="WHERE", required=True)
    swarm = kinds.add_parser("swarm", help="deploy the site on a Docker Swarm", description=_SWARM)
    swarm.add_argument("--yes", action="store_true", help="do not ask")
    swarm.add_argument("--dry-run", action="store_true", help="only show what differs")
    swarm.add_argument("--hub-image", metavar="IMAGE", help="image of the site and the agents")
    swarm.add_argument(
        "--timeout",
        type=int,
        default=_WAIT_SECONDS,
        metavar="SECONDS",
        help=f"how long to wait until the site answers ({_WAIT_SECONDS})",
    )
    swarm.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Deploy; 0 when the swarm has what the files say and the site answers."""
    from coursewarehub.deploy.apply import DeployError
    from coursewarehub.engine import EngineError
    from coursewarehub.model.load import load_site

    root = Path(args.site).resolve()
    loaded = load_site(root)
    spawner = swarm_spawner(loaded.site)
    refuse_files(root, loaded, spawner)
    try:
        return asyncio.run(_deploy(root, loaded, spawner, args))
    except (DeployError, EngineError) as error:
        raise CommandError(sentence(error)) from error


def swarm_spawner(site: Site) -> SwarmSpawner:
    """The site's spawner. Raises CommandError when it is not for a swarm."""
    from coursewarehub.model.spawner import SwarmSpawner

    if not isinstance(site.spawner, SwarmSpawner):
        raise CommandError(f"`spawner.kind` of site.yaml is `{site.spawner.kind}`; a swarm needs `kind: swarm`.")
    return site.spawner


def refuse_files(root: Path, loaded: LoadedSite, spawner: SwarmSpawner) -> None:
    """Raise ConfigurationError or CommandError for what the files say or lack."""
    from coursewarehub.deploy.stack import environment_problems, refuse
    from coursewarehub.model.checks import site_problems

    site, courses = loaded.site, tuple(loaded.courses.values())
    refuse(site_problems(root, site, loaded.sources[""], courses))
    refuse(environment_problems(site, courses, loaded.sources))
    if spawner.engine.startswith("unix:") and not Path(spawner.storage).is_dir():
        raise CommandError(f"The storage {spawner.storage} is not on this machine; mount it here and on every node.")


def sentence(error: Exception) -> str:
    """What went wrong, as one sentence."""
    text = str(error).rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


async def _deploy(root: Path, loaded: LoadedSite, spawner: SwarmSpawner, args: argparse.Namespace) -> int:
    from coursewarehub.deploy.apply import apply, connected, look, manager
    from coursewarehub.deploy.difference import described, difference
    from coursewarehub.deploy.stack import render

    async with connected(spawner.engine) as engine:
        here = await manager(engine)
        surroundings = await _surroundings(engine, root, loaded, spawner, here, args.hub_image)
        stack = render(loaded.site, loaded.courses.values(), surroundings)
        running = await look(engine, surroundings.site_id)
        _refuse_second_site(root, running.services)
        changes = difference(stack, running)
        for line in (*notes(surroundings), *described(changes)):
            print(line)
        if args.dry_run:
            print("nothing to do" if not changes else "nothing was changed (--dry-run)")
            return 0
        if changes:
            _ask(changes, yes=args.yes)
            await apply(engine, stack, surroundings.site_id, root, print)
        else:
            print("nothing to do")
        await _wait(engine, loaded.site, stack, args.timeout)
    return 0


# --- what a stack depends on -------------------------------------------------------------------


async def _surroundings(
    engine: Engine, root: Path, loaded: LoadedSite, spawner: SwarmSpawner, here: Manager, image: str | None
) -> Surroundings:
    from coursewarehub.deploy.apply import pinned
    from coursewarehub.deploy.stack import Surroundings, hub_image
    from coursewarehub.state.folders import SiteFolders
    from coursewarehub.state.identity import site_id

    folders = SiteFolders(root)
    return Surroundings(
        site_id=site_id(folders),
        root=root,
        image=await pinned(engine, image or hub_image(spawner)),
        node=None if root.is_relative_to(spawner.storage) else here.node,
        digests=secret_digests(folders, loaded.site, loaded.courses.values()),
        time_zone=time_zone(),
    )


def secret_digests(folders: SiteFolders, site: Site, courses: Iterable[Course]) -> dict[str, str]:
    """Digests of the secrets in files that exist, by reference; nobody without this site's key can guess from them."""
    from coursewarehub.deploy.stack import references
    from coursewarehub.state.secrets import generated_once

    key = generated_once(folders.secrets / "deploy-key").get_secret_value().encode()
    found = {}
    for _, _, reference in references(site, courses):
        if reference.kind == "file" and (folders.root / reference.name).is_file():
            content = reference.resolve(folders.root, {}).get_secret_value().encode()
            found[str(reference)] = hmac.new(key, content, hashlib.sha256).hexdigest()[:20]
    return found


def time_zone(environ: Mapping[str, str] = os.environ, localtime: Path = Path("/etc/localtime")) -> str | None:
    """Name of this machine's time zone (`Asia/Tokyo`), if it says it: days in course files begin by it."""
    if environ.get("TZ"):
        return environ["TZ"].removeprefix(":")
    try:
        _, found, name = str(localtime.resolve(strict=True)).partition("/zoneinfo/")
    except OSError:
        return None
    return name if found else None


def notes(surroundings: Surroundings) -> Iterator[str]:
    """What somebody who deploys should know beforehand."""
    if "@" not in surroundings.image:
        yield (
            f"note: no registry knows the image {surroundings.image}; only nodes that have it can run it "
            "(`coursewarehub image push` puts it into a registry)"
        )


def _refuse_second_site(root: Path, services: Sequence[object]) -> None:
    """A site that `coursewarehub up` runs holds the folder; the swarm's would never come up."""
    from coursewarehub.site.status import ask
    from coursewarehub.state.folders import SiteFolders

    if not services and ask(SiteFolders(root).control_socket) is not None:
        raise CommandError("The site runs on this machine by `coursewarehub up`; end that, then deploy.")


# --- asking and waiting ------------------------------------------------------------------------


def _ask(changes: Sequence[Change], *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("Nobody can be asked whether to do this; say `--yes`.")
    count = f"{len(changes)} change{'' if len(changes) == 1 else 's'}"
    if input(f"Apply {count}? [y/N] ").strip().lower() not in {"y", "yes"}:
        raise CommandError("Nothing was changed.")


async def _wait(engine: Engine, site: Site, stack: Stack, seconds: float) -> None:
    from coursewarehub.deploy.apply import DeployError, comes_up, last_words, why_waiting
    from coursewarehub.wire import labels

    service = next(service for service in stack.services if service.kind == labels.KIND_SITE)
    tls = site.edge.tls is not None or site.edge.acme is not None
    try:
        async with asyncio.timeout(seconds):
            address = await comes_up(engine, service, site.edge.port, tls=tls)
    except TimeoutError:
        why = await why_waiting(engine, service) or await last_words(engine, service) or _look_into(service)
        raise DeployError(f"the site did not answer within {seconds:g} s: {why}") from None
    print(f"CoursewareHub is ready: {public_url(site, address)}", flush=True)


def _look_into(service: Service) -> str:
    return f"see `docker service logs {service.name}`"


def public_url(site: Site, address: str) -> str:
    """What people type, with a slash at the end."""
    from coursewarehub.model import addresses

    edge = site.edge.model_copy(update={"host": address})
    return addresses.public_url(site.model_copy(update={"edge": edge}))
