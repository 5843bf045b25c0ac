"""`coursewarehub status`: what runs, and what is wrong."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from coursewarehub.model import LoadedSite, load_site

_TAKEN_OUT = {"drain": "drained", "pause": "paused"}


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("status", help="show what runs", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command; 0 when the site is ready, 1 when it is not running."""
    status = current(Path(args.site).resolve())
    print(json.dumps(status, indent=2) if args.json else "\n".join(lines(status)))
    return 0 if status["ready"] else 1


def current(root: Path) -> dict[str, Any]:
    """The status of the running site, or of one that is not running."""
    from coursewarehub.site.status import ask
    from coursewarehub.state.folders import SiteFolders

    return ask(SiteFolders(root).control_socket) or not_running(load_site(root))


def not_running(loaded: LoadedSite) -> dict[str, Any]:
    """What can be said from the files alone, in the same shape."""
    from coursewarehub.model.addresses import public_url
    from coursewarehub.wire.paths import course_prefix

    url = public_url(loaded.site)
    stopped = {"state": "stopped", "pid": None, "rss_bytes": 0, "reason": ""}
    return {
        "ready": False,
        "url": url,
        "processes": {},
        "courses": [
            {
                "id": course.id,
                "title": course.title.text(loaded.site.language),
                "url": url.rstrip("/") + course_prefix(course.id),
                "state": str(course.state),
                "hub": stopped,
            }
            for course in loaded.courses.values()
        ],
        "problems": [str(problem) for problem in loaded.problems],
    }


def lines(status: dict[str, Any]) -> list[str]:
    """The status for people."""
    shown = [f"{status['url']}  {'ready' if status['ready'] else 'not running (start it with `coursewarehub up`)'}"]
    width = max((len(course["id"]) for course in status["courses"]), default=0)
    for course in status["courses"]:
        hub = course["hub"]
        memory = f"{hub['rss_bytes'] / 2**20:.0f} MiB" if hub["pid"] else ""
        shown.append(
            f"  {course['id']:<{width}}  {course['state']:<8}  hub {hub['state']:<8}  {memory:>8}  {course['title']}"
        )
        if hub["reason"]:
            shown.append(f"  {'':<{width}}  {hub['reason']}")
    if "engine" in status:
        shown += engine_lines(status["engine"])
    return shown + [f"! {problem}" for problem in status["problems"]]


def engine_lines(engine: dict[str, Any]) -> list[str]:
    """The engine that runs learners' containers, and its nodes, for people."""
    message = f": {engine['message']}" if engine["message"] else ""
    isolation = engine["isolation"]
    rules = "in force" if isolation["on"] else f"not in force: {isolation['message']}"
    shown = [
        f"{engine['kind']} engine  {engine['state']} since {engine['since']}{message}",
        f"  network rules between learners are {rules}",
    ]
    width = max((len(node["name"]) for node in engine["nodes"]), default=0)
    for node in engine["nodes"]:
        servers = "1 server" if node["servers"] == 1 else f"{node['servers']} servers"
        shown.append(f"  {node['name']:<{width}}  {_standing(node):<9}  {servers}")
        shown += [f"  {'':<{width}}  {lack}" for lack in node["lacks"]]
    return shown


def _standing(node: dict[str, Any]) -> str:
    """What a node is, in a word or two: an operator's decision is none of its faults."""
    if node["state"] != "ready":
        return str(node["state"])
    taken_out = _TAKEN_OUT.get(node["availability"])
    return taken_out or ("ready" if node["ready"] else "not ready")
