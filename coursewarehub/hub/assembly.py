"""From (site, course) to the configuration of the course's JupyterHub.

`assemble` is pure: parts, each a small function over one concern, fill a traitlets Config. `configure` is its shell: it
reads the site, resolves secrets and loads `hub.d/*.py` last.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemBytecodeCache
from jinja2.bccache import Bucket
from pydantic import SecretStr
from traitlets.config import Config

from coursewareauthenticator.identities import IdentityBook
from coursewarehub.hub import localisation
from coursewarehub.hub.audit.recorder import AuditSettings
from coursewarehub.hub.database import use_write_ahead_log
from coursewarehub.hub.engine_state import EngineState
from coursewarehub.hub.localisation import Localisation
from coursewarehub.hub.logins import Secrets, login_choices, login_methods
from coursewarehub.hub.places import PEOPLE, PEOPLE_SCOPE
from coursewarehub.hub.proxy import CourseProxy
from coursewarehub.model import (
    Arrival,
    ConfigurationError,
    Course,
    Decision,
    Problem,
    Role,
    Site,
    account_name,
    decide,
)
from coursewarehub.model.login import used_secrets
from coursewarehub.model.networks import CourseNetwork, capacity
from coursewarehub.model.spawner import ContainerSpawner, LocalSpawner, SwarmSpawner
from coursewarehub.state.databases import hub_database
from coursewarehub.state.folders import SiteFolders, extra_files
from coursewarehub.state.identity import site_id
from coursewarehub.state.secrets import generated_once
from coursewarehub.wire import environment as names
from coursewarehub.wire import paths
from coursewarehub.wire.audit import READ_AUDIT

SERVICE: Final = "site"
"""The hub's name for the site: its command line and its own processes."""

_TEMPLATES: Final = Path(__file__).with_name("templates")

STAFF_SCOPES: Final = (
    "admin-ui",
    "list:users",
    "list:groups",
    "read:users:name",
    "read:users:groups",
    "read:users:activity",
    "read:servers",
    "start:servers",
    "delete:servers",
)
SCOPES: Final[dict[Role, tuple[str, ...]]] = {
    Role.OWNER: (*STAFF_SCOPES, READ_AUDIT, PEOPLE_SCOPE),
    Role.INSTRUCTOR: (*STAFF_SCOPES, READ_AUDIT, PEOPLE_SCOPE),
    Role.ASSISTANT: STAFF_SCOPES,
}
"""What a role may do in its own hub beyond what every learner may; never more than this one course."""

SERVICE_SCOPES: Final = (
    "admin:users",
    "admin:servers",
    "admin:groups",
    "access:servers",
    "list:services",
    "read:hub",
    "read:metrics",
    "proxy",
    "tokens",
)


@cache
def localisation_time() -> int:
    """When the code that translates templates was written, in nanoseconds."""
    return Path(localisation.__file__).stat().st_mtime_ns


class CompiledTemplates(FileSystemBytecodeCache):
    """A folder of compiled templates; a value like a path, equal where the folder is.

    JupyterHub has two environments, of which one compiles to coroutines, and our extension changes what is compiled:
    both go into the key.
    """

    def get_bucket(self, environment: Environment, name: str, filename: str | None, source: str) -> Bucket:
        """The compiled form of a template for this environment."""
        kind = f"{environment.is_async}-{localisation_time()}"
        return super().get_bucket(environment, f"{kind}-{name}", filename, source)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CompiledTemplates) and other.directory == self.directory

    def __hash__(self) -> int:
        return hash(self.directory)

    def __repr__(self) -> str:
        return f"CompiledTemplates({self.directory!r})"


@dataclass(frozen=True)
class Place:
    """What a hub is told besides site and course: where it lives and its secrets."""

    folders: SiteFolders
    port: int
    edge_api: str
    edge_password: SecretStr
    service_token: SecretStr
    password: SecretStr
    database_url: SecretStr
    secrets: Mapping[str, SecretStr] = field(default_factory=dict)
    """What the site's providers of logins need, by reference (`file:PATH`)."""
    lti_seal: SecretStr = field(default_factory=lambda: SecretStr(""))
    """What seals launches from learning platforms on their way, one for all hubs of the site."""
    network: CourseNetwork | None = None
    """Of the course's containers; None for local processes, or when the site has none left for it."""


@dataclass(frozen=True)
class Order:
    """Everything a part may look at."""

    site: Site
    course: Course
    place: Place


Part = Callable[[Config, Order], None]


def assemble(site: Site, course: Course, place: Place) -> Config:
    """The configuration of the course's JupyterHub."""
    config = Config()
    order = Order(site, course, place)
    for part in PARTS:
        part(config, order)
    return config


def addresses(c: Config, order: Order) -> None:
    """Its URL behind the front door and the loopback port at which it answers."""
    prefix = paths.course_prefix(order.course.id)
    c.JupyterHub.base_url = prefix
    c.JupyterHub.bind_url = f"http://127.0.0.1:{order.site.edge.port}{prefix}"
    c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{order.place.port}"
    c.JupyterHub.hub_connect_url = f"http://127.0.0.1:{order.place.port}"
    if order.site.edge.public_url:
        c.JupyterHub.public_url = f"{str(order.site.edge.public_url).rstrip('/')}{prefix}"


def database(c: Config, order: Order) -> None:
    """A database and a cookie secret of its own."""
    course = order.place.folders.course(order.course.id)
    c.JupyterHub.db_url = order.place.database_url.get_secret_value()
    c.JupyterHub.cookie_secret_file = str(course.cookie_secret)


def lasting_servers(c: Config, _: Order) -> None:
    """A hub that ends leaves servers and routes alone."""
    c.JupyterHub.cleanup_servers = False
    c.JupyterHub.cleanup_proxy = False
    c.JupyterHub.last_activity_interval = 60
    # A server that does not answer must not keep the others waiting for their hub.
    c.JupyterHub.init_spawners_timeout = 1


def edge(c: Config, order: Order) -> None:
    """Routes go to the hub's own file; the edge is the site's."""
    c.JupyterHub.proxy_class = CourseProxy
    c.CourseProxy.should_start = False
    c.CourseProxy.enable_setup_dynamic_config = False
    c.CourseProxy.dynamic_config_file = str(order.place.folders.course(order.course.id).routes)
    c.CourseProxy.traefik_api_url = order.place.edge_api
    c.CourseProxy.traefik_api_username = "hub"
    c.CourseProxy.traefik_api_password = order.place.edge_password.get_secret_value()
    c.CourseProxy.traefik_entrypoint = "web"


def authentication(c: Config, order: Order) -> None:
    """The course's login methods, and the one decision who may enter as what."""
    course, place = order.course, order.place

    def decide_now(name: str, arrival: Arrival | None = None) -> Decision:
        return decide(course, name, now=datetime.now().astimezone(), arrival=arrival)

    c.JupyterHub.authenticator_class = "courseware"
    c.CoursewareAuthenticator.decide = decide_now
    c.CoursewareLogin.name_for = partial(account_name, course)
    c.CoursewareLogin.identities = IdentityBook(place.database_url.get_secret_value())
    secrets = Secrets(place.password, place.secrets, place.lti_seal, place.database_url)
    c.CoursewareLogin.methods = login_methods(order.site, course, place.folders, secrets)
    c.Authenticator.admin_users = set()


def roles(c: Config, order: Order) -> None:
    """Rights by role (hub groups), and the site's own service account."""
    c.JupyterHub.services = [{"name": SERVICE, "api_token": order.place.service_token.get_secret_value()}]
    c.JupyterHub.custom_scopes = {
        READ_AUDIT: {"description": "Read what happened in the course."},
        PEOPLE_SCOPE: {"description": "Invite people to the course, and change or end their accounts."},
    }
    c.JupyterHub.load_roles = [
        {"name": SERVICE, "services": [SERVICE], "scopes": list(SERVICE_SCOPES)},
        *({"name": f"course-{role}", "groups": [str(role)], "scopes": list(scopes)} for role, scopes in SCOPES.items()),
    ]


def servers(c: Config, order: Order) -> None:
    """What holds for learners' servers wherever they run."""
    course = order.course
    c.JupyterHub.spawner_class = f"courseware-{order.site.spawner.kind}"
    c.JupyterHub.concurrent_spawn_limit = 0
    c.JupyterHub.active_server_limit = course.limits.servers or 0
    start = course.content.start if course.content else None
    c.Spawner.default_url = f"/lab/tree/{quote(start)}" if start else "/lab"
    c.Spawner.disable_user_config = True
    c.Spawner.poll_interval = 5
    c.Spawner.http_timeout = 60


def local_servers(c: Config, order: Order) -> None:
    """Servers as processes of this machine, and their limits."""
    spawner, course = order.site.spawner, order.course
    if not isinstance(spawner, LocalSpawner):
        return
    folders = order.place.folders.course(course.id)
    c.Spawner.mem_limit = course.resources.memory
    c.Spawner.cpu_limit = course.resources.cpu
    c.Spawner.start_timeout = 300
    c.CoursewareLocalSpawner.parent_folder = str(order.place.folders.parent("server"))
    c.CoursewareLocalSpawner.start_parent = False
    c.CoursewareLocalSpawner.homes_folder = str(folders.homes)
    c.CoursewareLocalSpawner.logs_folder = str(folders.server_logs)
    c.CoursewareLocalSpawner.material = str(folders.content / "current") if course.content else ""
    c.CoursewareLocalSpawner.open_files = course.resources.open_files
    c.CoursewareLocalSpawner.concurrent_starts = spawner.concurrent_starts or 0
    c.CoursewareLocalSpawner.variables = {
        names.COURSE: course.id,
        names.IDLE_SECONDS: str(course.limits.idle_server or 0),
    }


def containers(c: Config, order: Order) -> None:
    """Servers as containers: what each is, is decided by the plan; the spawner only carries it out."""
    spawner, course = order.site.spawner, order.course
    if not isinstance(spawner, ContainerSpawner):
        return
    from coursewarehub.hub.members import member_of, obstacle_in, planner

    c.ContainerSpawner.engine_url = spawner.engine
    c.ContainerSpawner.site_id = site_id(order.place.folders)
    c.ContainerSpawner.course_id = course.id
    c.ContainerSpawner.remove_unknown = True
    c.ContainerSpawner.width = spawner.concurrent_starts or 0
    c.ContainerSpawner.lease_seconds = spawner.lease if isinstance(spawner, SwarmSpawner) else 0
    c.ContainerSpawner.member = member_of(course)
    c.ContainerSpawner.obstacle = obstacle_in(order.place.folders.engine_state, order.place.network)
    if order.place.network is not None:
        c.ContainerSpawner.plan = planner(order.site, course, order.place.folders, order.place.network)
        c.ContainerSpawner.capacity = partial(capacity, order.place.network)
    if course.images:
        c.ContainerSpawner.images = list(course.images_with(spawner.image))


def audit(c: Config, order: Order) -> None:
    """What is kept of who did what."""
    kept = order.site.audit
    lines = kept.lines if kept.lines in ("", "log") else str(order.place.folders.root / kept.lines)
    c.CourseHub.audit = AuditSettings(
        course=order.course.id,
        state=str(order.course.state),
        url=order.place.database_url.get_secret_value(),
        keep_days=kept.keep_days,
        most_events=kept.most_events,
        addresses=kept.addresses,
        lines=lines,
    )


def pages(c: Config, order: Order) -> None:
    """Pages in the course's name, in the reader's language."""
    site, course = order.site, order.course
    choices = login_choices(site, course)
    c.JupyterHub.template_paths = [str(_TEMPLATES)]
    c.JupyterHub.jinja_environment_options = {
        "extensions": [Localisation],
        # A hub that wakes finds its templates compiled.
        "bytecode_cache": CompiledTemplates(str(order.place.folders.templates)),
    }
    c.JupyterHub.template_vars = {
        "course": {
            "id": course.id,
            "title": course.title,
            "description": course.description,
            "language": course.language,
            "logins": choices,
            "linking": sum(choice["kind"] != "workshop" for choice in choices) > 1,
            "people": f"{paths.course_prefix(course.id)}hub/{PEOPLE}" if course.accounts is not None else "",
        },
        "engine": EngineState(order.place.folders.engine_state) if site.spawner.kind != "local" else None,
        "site_title": site.title,
        "site_language": site.language,
        "portal_url": paths.PORTAL,
        "courseware_css_url": f"{paths.ASSETS}courseware.css",
    }


def sleep(c: Config, order: Order) -> None:
    """When to go to sleep."""
    c.CourseHub.sleep_after = float(order.site.hubs.sleep_after or 0)


PARTS: Final[tuple[Part, ...]] = (
    addresses,
    database,
    lasting_servers,
    edge,
    authentication,
    roles,
    servers,
    local_servers,
    containers,
    audit,
    pages,
    sleep,
)


def effective(root: Path, course_id: str) -> tuple[Site, Course, CourseNetwork | None]:
    """Site, course and its containers' network, as the site process last found them valid."""
    stored = json.loads(SiteFolders(root).course(course_id).effective.read_text())
    network = stored.get("network")
    return (
        Site.model_validate_json(json.dumps(stored["site"])),
        Course.model_validate_json(json.dumps(stored["course"])),
        None if network is None else CourseNetwork(**network),
    )


def place_of(
    root: Path, site: Site, course: Course, port: int, edge_api: str, network: CourseNetwork | None = None
) -> Place:
    """Resolve the secrets of a hub; ConfigurationError when one cannot be had."""
    folders = SiteFolders.of(root, site)
    reference = course.workshop.password if course.workshop is not None else None
    own = folders.course_secrets(course.id)
    needed = used_secrets(site.login, course.logins, site.mail)
    return Place(
        folders=folders,
        port=port,
        edge_api=edge_api,
        edge_password=generated_once(folders.secrets / "edge-api"),
        service_token=generated_once(own / "service-token"),
        password=reference.resolve(root, os.environ) if reference else generated_once(own / "password"),
        database_url=SecretStr(hub_database(folders, site, course.id, os.environ).url),
        network=network,
        lti_seal=generated_once(folders.lti_seal),
        secrets={str(each): each.resolve(root, os.environ) for each in needed},
    )


def load_extra(config: Config, root: Path, site: Site, course: Course) -> None:
    """Run `hub.d/*.py` in order of name over the assembled configuration (`c`, `site`, `course` are given).

    ConfigurationError with file and line when one of them fails.
    """
    for file in extra_files(root):
        values: dict[str, Any] = {"c": config, "site": site, "course": course, "__file__": str(file)}
        try:
            code = compile(file.read_bytes(), str(file), "exec")
            exec(code, values)  # noqa: S102 - the operator's own configuration, as jupyterhub_config.py is
        except Exception as error:
            raise ConfigurationError([_problem_of(error, file)]) from error


def _problem_of(error: Exception, file: Path) -> Problem:
    """What went wrong in a file of `hub.d`, and in which line of it."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    line = error.lineno if isinstance(error, SyntaxError) else (lines[-1] if lines else None)
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return Problem(f"hub.d/{file.name}", line, f"{type(error).__name__}: {message}")


def configure(config: Config) -> None:
    """Fill JupyterHub's configuration in a hub process, from its environment."""
    root = Path(os.environ[names.SITE])
    site, course, network = effective(root, os.environ[names.COURSE])
    place = place_of(root, site, course, int(os.environ[names.HUB_PORT]), os.environ[names.EDGE_API], network)
    use_write_ahead_log()
    place.folders.templates.mkdir(parents=True, exist_ok=True, mode=0o700)
    config.merge(assemble(site, course, place))
    load_extra(config, root, site, course)
