"""`coursewarehub node`: the nodes of the swarm on which the site runs."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from coursewarehub.cli.deploy import sentence, swarm_spawner
from coursewarehub.cli.errors import CommandError

if TYPE_CHECKING:
    from coursewarehub.cli import Subparsers
    from coursewarehub.deploy.hubs import Door
    from coursewarehub.deploy.nodes import Node, Row, Server
    from coursewarehub.engine import Engine
    from coursewarehub.model import LoadedSite
    from coursewarehub.state.folders import SiteFolders

_T = TypeVar("_T")
_NOTICE_SECONDS = 120
_LONGEST_NOTICE = 24 * 3600
_LONGEST_MESSAGE = 600
_TEXT: Mapping[str, str] = {
    "en": "This machine is going into maintenance. Save your work; your server stops and can be started again at once.",
    "ja": "このマシンはまもなくメンテナンスに入ります。作業を保存してください。"
    "サーバーは停止しますが、すぐに再起動できます。",
    "fr": "Cette machine part en maintenance. Enregistrez votre travail ; votre serveur s’arrête et peut être relancé "
    "aussitôt.",
}
_DRAIN = """Empty a node: no new servers start there, those who work on it are told, and after the notice the course
hubs stop their servers, which can be started elsewhere at once. Running it again goes on where it was."""


def register(subparsers: Subparsers) -> None:
    """Add the commands."""
    parser = subparsers.add_parser("node", help="list, drain or resume the nodes of the swarm")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    listing = verbs.add_parser("list", help="show the nodes and what they are ready for")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=run_list)
    drain = verbs.add_parser("drain", help="empty a node, with notice", description=_DRAIN)
    drain.add_argument("node", metavar="NODE", help="name of the node, or the beginning of its id")
    drain.add_argument(
        "--notice",
        type=_seconds,
        default=_NOTICE_SECONDS,
        metavar="SECONDS",
        help=f"how long before ({_NOTICE_SECONDS}; 0: no notice)",
    )
    drain.add_argument("--message", type=_message, metavar="TEXT", help="what the notice says")
    drain.set_defaults(run=run_drain)
    resume = verbs.add_parser("resume", help="let servers start on a node again")
    resume.add_argument("node", metavar="NODE", help="name of the node, or the beginning of its id")
    resume.set_defaults(run=run_resume)


def run_list(args: argparse.Namespace) -> int:
    """Print the nodes; 0."""
    found = _with_engine(args, _rows)
    print(json.dumps([as_data(row) for row in found], indent=2) if args.json else "\n".join(lines(found)))
    return 0


def run_drain(args: argparse.Namespace) -> int:
    """Empty a node; 0 when nothing of the site runs there any more."""
    text = dict(_TEXT) if args.message is None else {"en": args.message}
    return _with_engine(args, lambda engine, site: _drain(engine, site, args.node, args.notice, text))


def run_resume(args: argparse.Namespace) -> int:
    """Take a node back; 0."""
    return _with_engine(args, lambda engine, site: _resume(engine, site, args.node))


# --- the shell around the engine ---------------------------------------------------------------


class _Site:
    """A site folder, as the commands need it."""

    def __init__(self, root: Path) -> None:
        from coursewarehub.model.load import load_site
        from coursewarehub.state.folders import SiteFolders
        from coursewarehub.state.identity import site_id

        self.loaded: LoadedSite = load_site(root)
        self.spawner = swarm_spawner(self.loaded.site)
        self.folders: SiteFolders = SiteFolders(root)
        self.id = site_id(self.folders)


def _with_engine(args: argparse.Namespace, work: Callable[[Engine, _Site], Coroutine[Any, Any, _T]]) -> _T:
    """Do something with the site's engine. Raises CommandError with one sentence."""
    from coursewarehub.deploy.apply import DeployError, connected, manager
    from coursewarehub.deploy.drain import NotEmptied
    from coursewarehub.deploy.nodes import UnknownNode
    from coursewarehub.engine import EngineError

    site = _Site(Path(args.site).resolve())

    async def main() -> _T:
        async with connected(site.spawner.engine) as engine:
            await manager(engine)
            return await work(engine, site)

    try:
        return asyncio.run(main())
    except (DeployError, EngineError, NotEmptied, UnknownNode) as error:
        raise CommandError(sentence(error)) from error


async def _rows(engine: Engine, site: _Site) -> tuple[Row, ...]:
    from coursewarehub.deploy import nodes
    from coursewarehub.deploy.drain import all_nodes, all_servers

    wanted = nodes.wanted_labels(site.id, site.spawner, site.loaded.courses.values())
    return nodes.rows(await all_nodes(engine), await all_servers(engine, site.id), wanted)


async def _drain(engine: Engine, site: _Site, word: str, seconds: int, text: dict[str, str]) -> int:
    from coursewarehub.deploy.drain import Order, all_nodes, drain
    from coursewarehub.deploy.nodes import choose

    node = choose(await all_nodes(engine), word)
    door = await _door(engine, site)

    async def notify(node: Node, seconds: int) -> int:
        return await _notify(site, node, seconds, text)

    async def stop(server: Server) -> str | None:
        return await _stop(site, door, server)

    await drain(engine, node, Order(site.id, seconds, notify, stop, _say))
    return 0


async def _resume(engine: Engine, site: _Site, word: str) -> int:
    from coursewarehub.deploy.drain import all_nodes, resume
    from coursewarehub.deploy.nodes import choose

    del site
    await resume(engine, choose(await all_nodes(engine), word), _say)
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


async def _notify(site: _Site, node: Node, seconds: int, text: Mapping[str, str]) -> int:
    """Have the site tell those on the node; how many heard."""
    from coursewarehub.site.status import show_notice
    from coursewarehub.wire.control import NodeNotice

    notice = NodeNotice(node.name, text, seconds)
    heard = await asyncio.to_thread(show_notice, site.folders.control_socket, notice)
    if heard is None:
        _say("! the site cannot be asked to tell them: it does not run, or not on this machine")
    return heard or 0


async def _stop(site: _Site, door: Door, server: Server) -> str | None:
    """Ask the hub of a server to stop it, as the hub's own service."""
    from coursewarehub.deploy import hubs
    from coursewarehub.state.secrets import generated_once

    if server.course not in site.loaded.courses:
        return f"there is no course {server.course}; its servers end with the node"
    token = generated_once(site.folders.course_secrets(server.course) / "service-token").get_secret_value()
    return await asyncio.to_thread(hubs.stop, door, server, token)


async def _door(engine: Engine, site: _Site) -> Door:
    """The site's front door, on the node where it runs."""
    from coursewarehub.deploy.apply import site_address
    from coursewarehub.deploy.hubs import Door

    edge = site.loaded.site.edge
    address = await site_address(engine, site.id) or "127.0.0.1"
    known = urlsplit(edge.public_url).netloc if edge.public_url else f"{address}:{edge.port}"
    return Door(
        address=address,
        port=edge.port,
        name=known,
        tls=edge.tls is not None or edge.acme is not None,
        certificate=str(site.folders.root / edge.tls.certificate) if edge.tls is not None else None,
    )


# --- showing -----------------------------------------------------------------------------------


def as_data(row: Row) -> dict[str, Any]:
    """One node as JSON: memory in bytes."""
    return {
        "id": row.node.id,
        "name": row.node.name,
        "role": row.node.role,
        "leader": row.node.leader,
        "state": row.node.state,
        "availability": row.node.availability,
        "cores": row.node.cores,
        "memory": row.node.memory,
        "servers": row.servers,
        "ready": list(row.ready),
        "reasons": list(row.reasons),
    }


def lines(rows: tuple[Row, ...]) -> Iterator[str]:
    """The nodes for people."""
    width = max([len(row.node.name) for row in rows] + [4])
    yield f"{'node':<{width}}  role      state     takes    cores   memory  servers  ready for"
    for row in rows:
        node = row.node
        memory = f"{node.memory / 2**30:.1f}G"
        yield (
            f"{node.name:<{width}}  {node.role:<8}  {node.state:<8}  {node.availability:<6}  {node.cores:>5g}  "
            f"{memory:>7}  {row.servers:>7}  {', '.join(row.ready) or 'nothing'}"
        )
        yield from (f"{'':<{width}}  {reason}" for reason in row.reasons)


# --- arguments ---------------------------------------------------------------------------------


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > _LONGEST_NOTICE:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number of seconds from 0 to {_LONGEST_NOTICE}")
    return int(text)


def _message(text: str) -> str:
    if not text.strip() or len(text) > _LONGEST_MESSAGE:
        raise argparse.ArgumentTypeError(f"a message has 1 to {_LONGEST_MESSAGE} characters")
    return text
