"""`coursewarehub course token`, `password` and `hub-config`: a course's hub, for operators."""

from __future__ import annotations

import argparse
import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coursewarehub.cli.course_files import find_course

if TYPE_CHECKING:
    from traitlets.config import Config

    from coursewarehub.cli import Subparsers
    from coursewarehub.model import Course, Site
    from coursewarehub.model.networks import CourseNetwork
    from coursewarehub.state.folders import SiteFolders

HIDDEN = "(secret)"
SET_ELSEWHERE = "(set in hub.d)"


def add_token(verbs: Subparsers) -> None:
    """Add `course token`."""
    parser = verbs.add_parser("token", help="print an API token with all rights in that course's hub")
    parser.add_argument("id", metavar="ID")
    parser.set_defaults(run=run_token)


def add_password(verbs: Subparsers) -> None:
    """Add `course password`."""
    parser = verbs.add_parser("password", help="print the password of a course that has a shared one")
    parser.add_argument("id", metavar="ID")
    parser.set_defaults(run=run_password)


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


def run_password(args: argparse.Namespace) -> int:
    """Print the course's password, wherever it is kept; one is generated if the course names none."""
    from coursewarehub.model.problems import ConfigurationError, Problem
    from coursewarehub.state.folders import SiteFolders
    from coursewarehub.state.secrets import generated_once

    root = Path(args.site).resolve()
    course = find_course(root, args.id)
    if course.workshop is None:
        raise ConfigurationError([Problem(f"courses.d/{course.id}.yaml", None, "this course has no shared password")])
    reference = course.workshop.password
    own = SiteFolders(root).course_secrets(course.id) / "password"
    secret = reference.resolve(root, os.environ) if reference else generated_once(own)
    print(secret.get_secret_value())
    return 0


def run_hub_config(args: argparse.Namespace) -> int:
    """Print what `assemble` and `hub.d` make of the course, one setting a line."""
    from pydantic import SecretStr

    from coursewarehub.hub.assembly import Place, assemble, load_extra
    from coursewarehub.model.load import load_site
    from coursewarehub.model.login import used_secrets
    from coursewarehub.state.databases import SqliteDatabase
    from coursewarehub.state.folders import SiteFolders
    from coursewarehub.state.ports import PortBook

    root = Path(args.site).resolve()
    site = load_site(root).site
    course = find_course(root, args.id)
    folders = SiteFolders.of(root, site)
    ports = PortBook(folders.state / "ports.json")
    hidden = SecretStr(HIDDEN)
    file = SecretStr(SqliteDatabase(folders.course(course.id).database).url)
    place = Place(
        folders=folders,
        port=ports.get(f"course-{course.id}") or 0,
        edge_api=f"http://127.0.0.1:{ports.get('edge-api') or 0}",
        edge_password=hidden,
        service_token=hidden,
        password=hidden,
        database_url=file if site.database.url is None else hidden,
        secrets={str(reference): hidden for reference in used_secrets(site.login, course.logins, site.mail)},
        network=_network(site, course, folders),
    )
    assembled = assemble(site, course, place)
    config = copy.deepcopy(assembled)
    load_extra(config, root, site, course)
    print("\n".join(lines(config, assembled)))
    return 0


def _network(site: Site, course: Course, folders: SiteFolders) -> CourseNetwork | None:
    """The network that a course's containers have, None before the site has given it one."""
    from coursewarehub.model.networks import course_network
    from coursewarehub.model.spawner import ContainerSpawner
    from coursewarehub.state.identity import site_id
    from coursewarehub.state.networks import NetworkBook

    number = NetworkBook(folders.networks).get(course.id)
    if number is None or not isinstance(site.spawner, ContainerSpawner):
        return None
    return course_network(site_id(folders), course.id, site.spawner, number)


def lines(config: Config, assembled: Config) -> list[str]:
    """One line a setting, in order of name; of what `hub.d` set only that it did, since it may be secret."""

    def shown(section: str, name: str, value: Any) -> str:
        ours = assembled.get(section, {})
        return _shown(value) if name in ours and ours[name] == value else SET_ELSEWHERE

    return [
        f"c.{section}.{name} = {shown(section, name, value)}"
        for section, settings in sorted(config.items())
        for name, value in sorted(settings.items())
    ]


def _shown(value: Any) -> str:
    return value.__qualname__ if isinstance(value, type) else repr(value)
