"""What a site is on a swarm: services and secrets as values. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from coursewarehub.model.course import Course, CourseState
from coursewarehub.model.login import provider_secrets
from coursewarehub.model.names import object_name
from coursewarehub.model.problems import ConfigurationError, Problem
from coursewarehub.model.secret import SecretRef
from coursewarehub.model.site import Site
from coursewarehub.model.spawner import DEFAULT_IMAGE, HUB_IMAGE, ContainerSpawner, SwarmSpawner
from coursewarehub.model.yaml_source import KeyPath, Source
from coursewarehub.wire import labels

_SECOND: Final = 1_000_000_000  # nanoseconds
_STOP_SECONDS: Final = 60
_CHECK_SECONDS: Final = 5
_OWNER_READS: Final = 0o400
_DEFAULT_SOCKET: Final = "unix:///var/run/docker.sock"
AGENT_CAPABILITIES: Final = ("CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_SYS_ADMIN")
"""What the agent of a node may: enter containers' network namespaces, and set packet filters there and on the host."""


@dataclass(frozen=True)
class Surroundings:
    """What a stack depends on besides site and courses.

    `image` is the hub image. `node` is the id of the one node that has the site folder, None when every manager has
    it. `digests` are keyed digests of the secrets that there are, by reference (`file:secrets/x`). `time_zone` is that
    of the machine (`Asia/Tokyo`), None when it is not known.
    """

    site_id: str
    root: Path
    image: str = HUB_IMAGE
    node: str | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    time_zone: str | None = None


@dataclass(frozen=True)
class Service:
    """One service as the engine takes it, but that its secrets have no `SecretID` yet."""

    kind: str
    spec: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name on the swarm."""
        return str(self.spec["Name"])


@dataclass(frozen=True)
class Secret:
    """One Docker secret; its content is read from the file when it is made, and is part of no value here."""

    name: str
    reference: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Stack:
    """Everything of a site that `coursewarehub deploy` makes on a swarm."""

    services: tuple[Service, ...]
    secrets: tuple[Secret, ...]


def render(site: Site, courses: Iterable[Course], surroundings: Surroundings) -> Stack:
    """Return what the site is on a swarm. Raises ValueError when its spawner is not `swarm`."""
    spawner = site.spawner
    if not isinstance(spawner, SwarmSpawner):
        raise ValueError("`deploy swarm` needs `kind: swarm` in `spawner` of site.yaml")
    secrets = tuple(_secret(reference, surroundings) for reference in _file_secrets(site, courses, surroundings))
    services = (
        _site_service(site, spawner, secrets, surroundings),
        _agent_service(spawner, surroundings),
    )
    return Stack(services, secrets)


def hub_image(spawner: ContainerSpawner) -> str:
    """Return the hub image that goes with a site's image of learners' servers: if that is ours, of its registry."""
    registry = spawner.image.removesuffix(DEFAULT_IMAGE)
    return registry + HUB_IMAGE if registry != spawner.image and registry[-1:] in {"", "/"} else HUB_IMAGE


# --- secrets -----------------------------------------------------------------------------------


def references(site: Site, courses: Iterable[Course]) -> list[tuple[str, KeyPath, SecretRef]]:
    """Return every secret that the files refer to: course id (empty: the site), key and reference."""
    found: list[tuple[str, KeyPath, SecretRef]] = []
    if isinstance(site.database.url, SecretRef):
        found.append(("", ("database", "url"), site.database.url))
    for name, provider in site.login.items():
        found += (("", ("login", name, key), reference) for key, reference in provider_secrets(provider))
    if site.mail is not None and site.mail.password is not None:
        found.append(("", ("mail", "password"), site.mail.password))
    for course in courses:
        login = course.workshop
        if course.state is not CourseState.ARCHIVED and login is not None and login.password is not None:
            found.append((course.id, (*course.login_key(login), "password"), login.password))
    return found


def environment_problems(site: Site, courses: Iterable[Course], sources: Mapping[str, Source]) -> Iterator[Problem]:
    """Yield a problem for every secret in an environment variable: a service of the swarm does not have those."""
    for course_id, path, reference in references(site, courses):
        if reference.kind == "env":
            message = (
                f"`{'.'.join(map(str, path))}` is `{reference}`, a variable that a service of a swarm does not have"
            )
            yield sources[course_id].problem(path, message, "write the secret into a file: `file:PATH`")


def _file_secrets(site: Site, courses: Iterable[Course], surroundings: Surroundings) -> list[str]:
    """References of the secrets in files that exist, each once."""
    found = dict.fromkeys(str(reference) for _, _, reference in references(site, courses))
    return [reference for reference in found if reference in surroundings.digests]


def _secret(reference: str, surroundings: Surroundings) -> Secret:
    digest = surroundings.digests[reference]
    name = object_name("courseware-secret", f"{surroundings.site_id}\n{reference}\n{digest}")
    own = _labels(surroundings, labels.KIND_SECRET) | {labels.FILE: reference, labels.DEPLOYED: digest}
    return Secret(name, reference, own)


def _secret_mount(secret: Secret, root: Path) -> dict[str, Any]:
    """The secret at the path at which the site looks for it."""
    path = str(root / SecretRef.parse(secret.reference).name)
    return {"SecretName": secret.name, "File": {"Name": path, "UID": "0", "GID": "0", "Mode": _OWNER_READS}}


# --- services ----------------------------------------------------------------------------------


def _site_service(site: Site, spawner: SwarmSpawner, secrets: Iterable[Secret], surroundings: Surroundings) -> Service:
    root = str(surroundings.root)
    container = {
        "Image": surroundings.image,
        "Args": ["coursewarehub", "up", "--site", root, "--host", "0.0.0.0"],  # noqa: S104 - inside a container
        "Mounts": [_bind(folder) for folder in _outermost((root, spawner.storage))] + _socket(spawner.engine),
        "Secrets": [_secret_mount(secret, surroundings.root) for secret in secrets],
        "StopGracePeriod": _STOP_SECONDS * _SECOND,
        "Init": True,
    }
    if surroundings.time_zone is not None:
        container["Env"] = [f"TZ={surroundings.time_zone}"]
    here = [] if surroundings.node is None else [f"node.id=={surroundings.node}"]
    spec = {
        "TaskTemplate": {
            "ContainerSpec": container,
            "Placement": {"Constraints": ["node.role==manager", *here]},
            "RestartPolicy": {"Condition": "any", "Delay": 2 * _SECOND},
            "LogDriver": _logs(),
        },
        "Mode": {"Replicated": {"Replicas": 1}},
        # Two site processes never hold one folder at the same time.
        "UpdateConfig": {"Parallelism": 1, "Order": "stop-first", "FailureAction": "pause"},
        "EndpointSpec": {"Mode": "dnsrr", "Ports": [_port(site.edge.port)]},
    }
    return _service(labels.KIND_SITE, spec, surroundings)


def _agent_service(spawner: SwarmSpawner, surroundings: Surroundings) -> Service:
    """On every node: its own engine, and the namespaces of the containers there, also of those to come."""
    engine = spawner.engine if spawner.engine.startswith("unix:") else _DEFAULT_SOCKET
    folder = spawner.engine_folder
    check = ["CMD", "python", "-m", "coursewarehub.nodes", "--check"]
    container = {
        "Image": surroundings.image,
        "Args": [
            *("python", "-m", "coursewarehub.nodes", "--engine", engine, "--netns-folder", f"{folder}/netns"),
            *("--host-rules", str(spawner.addresses), "--ports", str(spawner.port), str(spawner.port + 1)),
        ],
        "Mounts": [
            {"Type": "tmpfs", "Target": "/run"},
            *_socket(engine),
            {**_bind(folder), "BindOptions": {"Propagation": "rslave"}},
        ],
        "CapabilityDrop": ["ALL"],
        "CapabilityAdd": list(AGENT_CAPABILITIES),
        "ReadOnly": True,
        "Healthcheck": {"Test": check, "Interval": _CHECK_SECONDS * _SECOND, "Timeout": 4 * _SECOND, "Retries": 3},
        "Init": True,
    }
    spec = {
        "TaskTemplate": {
            "ContainerSpec": container,
            "RestartPolicy": {"Condition": "any", "Delay": 2 * _SECOND},
            "Networks": [{"Target": "host"}],
            "LogDriver": _logs(),
        },
        "Mode": {"Global": {}},
        "UpdateConfig": {"Parallelism": 1, "Order": "stop-first", "FailureAction": "pause"},
    }
    return _service(labels.KIND_AGENT, spec, surroundings)


def _service(kind: str, spec: dict[str, Any], surroundings: Surroundings) -> Service:
    """Name and label it; the label with the digest is on its tasks as well, to tell new ones from old ones."""
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:20]
    own = _labels(surroundings, kind) | {labels.DEPLOYED: digest}
    template = spec["TaskTemplate"]
    template["ContainerSpec"]["Labels"] = own
    return Service(kind, {"Name": object_name(f"courseware-{kind}", surroundings.site_id), "Labels": own, **spec})


def _labels(surroundings: Surroundings, kind: str) -> dict[str, str]:
    return {labels.SITE: surroundings.site_id, labels.KIND: kind}


def _bind(folder: str) -> dict[str, Any]:
    return {"Type": "bind", "Source": folder, "Target": folder}


def _socket(engine: str) -> list[dict[str, Any]]:
    return [_bind(engine.removeprefix("unix://"))] if engine.startswith("unix:") else []


def _outermost(folders: Iterable[str]) -> list[str]:
    """The folders without those that lie in another one."""
    paths = sorted({PurePosixPath(folder) for folder in folders})
    return [str(path) for path in paths if not any(other in path.parents for other in paths)]


def _port(number: int) -> dict[str, Any]:
    return {"Protocol": "tcp", "TargetPort": number, "PublishedPort": number, "PublishMode": "host"}


def _logs() -> dict[str, Any]:
    return {"Name": "json-file", "Options": {"max-size": "10m", "max-file": "3"}}


def refuse(problems: Iterable[Problem]) -> None:
    """Raise ConfigurationError if there are problems."""
    found = tuple(problems)
    if found:
        raise ConfigurationError(found)
