"""`coursewarehub course token` and `coursewarehub course hub-config`: a course's hub, for operators."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coursewarehub.cli.course_files import find_course

if TYPE_CHECKING:
    from traitlets.config import Config

    from coursewarehub.cli import Subparsers

HIDDEN = "(secret)"
_SECRET_NAME = re.compile(r"password|secret(?!_file)|token(?!s|_expires)|api_key|private_key|crypt_key|db_url", re.I)


def add_token(verbs: Subparsers) -> None:
    """Add `course token`."""
    parser = verbs.add_parser("token", help="print an API token with all rights in that course's hub")
    parser.add_argument("id", metavar="ID")
    parser.set_defaults(run=run_token)


def add_hub_config(verbs: Subparsers) -> None:
    """Add `course hub-config`."""
    parser = verbs.add_parser(
        "hub-config", help="print the JupyterHub configuration made for a course, without secrets"
    )
    parser.add_argument("id", metavar="ID")
    parser.set_defaults(run=run_hub_config)


def run_token(args: argparse.Namespace) -> int:
    """Print the token of the hub's service `site`; it works from the hub's next start on."""
    from coursewarehub.state.folders import SiteFolders
    from coursewarehub.state.secrets import generated_once

    root = Path(args.site).resolve()
    course = find_course(root, args.id)
    file = SiteFolders(root).course_secrets(course.id) / "service-token"
    print(generated_once(file).get_secret_value())
    return 0


def run_hub_config(args: argparse.Namespace) -> int:
    """Print what `assemble` and `hub.d` make of the course, one setting a line."""
    from pydantic import SecretStr

    from coursewarehub.hub.assembly import Place, assemble, load_extra
    from coursewarehub.model.load import load_site
    from coursewarehub.state.folders import SiteFolders
    from coursewarehub.state.ports import PortBook

    root = Path(args.site).resolve()
    site = load_site(root).site
    course = find_course(root, args.id)
    folders = SiteFolders(root)
    ports = PortBook(folders.state / "ports.json")
    hidden = SecretStr(HIDDEN)
    place = Place(
        folders=folders,
        port=ports.get(f"course-{course.id}") or 0,
        edge_api=f"http://127.0.0.1:{ports.get('edge-api') or 0}",
        edge_password=hidden,
        service_token=hidden,
        password=hidden,
    )
    config = assemble(site, course, place)
    load_extra(config, root, site, course)
    print("\n".join(lines(config)))
    return 0


def lines(config: Config) -> list[str]:
    """One line a setting, in order of name, secrets hidden."""
    return [
        f"c.{section}.{name} = {_shown(name, value)}"
        for section, settings in sorted(config.items())
        for name, value in sorted(settings.items())
    ]


def _shown(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_shown(str(key), each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_shown(name, each) for each in value) + "]"
    if isinstance(value, (str, bytes)) and value and _SECRET_NAME.search(name):
        return repr(HIDDEN) if "sqlite:" not in str(value) else repr(value)
    return value.__qualname__ if isinstance(value, type) else repr(value)
