"""`python -m coursewarehub.nodes`: run the agent of a node, ask how it is, or take the node's rules away."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

from coursewarehub.nodes import health

_PORTS: Final = (8081, 8082)
_CANNOT: Final = 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser("python -m coursewarehub.nodes", description=__doc__)
    made.add_argument("--engine", default="unix:///var/run/docker.sock", help="address of this node's Docker Engine")
    made.add_argument(
        "--netns-folder",
        type=Path,
        default=Path("/var/run/docker/netns"),
        metavar="DIR",
        help="folder in which that engine keeps its network namespaces",
    )
    made.add_argument(
        "--host-rules",
        type=_pool,
        metavar="POOL",
        help="apply rules to the node itself, for what comes from these addresses (`spawner.addresses`), and lock "
        "containers with such an address before they start",
    )
    made.add_argument(
        "--ports",
        type=int,
        nargs="+",
        default=list(_PORTS),
        metavar="PORT",
        help="the site's ports that they reach on the node (default: 8081 8082)",
    )
    made.add_argument(
        "--health",
        type=Path,
        default=health.DEFAULT,
        metavar="FILE",
        help=f"file that says how it is ({health.DEFAULT})",
    )
    made.add_argument(
        "--round",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="how often all rules are looked at, to mend what is not in force any more (60)",
    )
    what = made.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="say whether the agent is well; exit status 1 when not")
    what.add_argument("--remove", action="store_true", help="take the rules of --host-rules away, and end")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; exit status."""
    made = parser()
    args = made.parse_args(arguments)
    if args.check:
        well, sentence = health.check(args.health)
        print(sentence)
        return 0 if well else 1
    if args.remove and args.host_rules is None:
        made.error("--remove needs --host-rules POOL")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if os.geteuid() != 0:
        print("the agent of a node must run as root: it sets packet filters", file=sys.stderr)
        return _CANNOT
    from coursewarehub.nodes.iptables import IptablesError

    try:
        return _remove(args.host_rules) if args.remove else asyncio.run(_serve(args))
    except IptablesError as error:
        print(f"rules cannot be applied on this node: {error}", file=sys.stderr)
        return _CANNOT


def _remove(pool: IPv4Network) -> int:
    from coursewarehub.nodes import host

    print("the node's rules are removed" if host.remove(str(pool)) else "the node has no such rules")
    return 0


async def _serve(args: argparse.Namespace) -> int:
    from coursewarehub.engine import Engine
    from coursewarehub.nodes.agent import Agent, Settings

    args.health.unlink(missing_ok=True)
    engine = Engine(args.engine)
    settings = Settings(args.netns_folder, args.host_rules, tuple(args.ports), args.health, args.round)
    task = asyncio.ensure_future(Agent(engine, settings).run())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    finally:
        args.health.unlink(missing_ok=True)
        engine.close()
    return 0


def _pool(text: str) -> IPv4Network:
    try:
        return IPv4Network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
