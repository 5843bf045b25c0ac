"""What a learner's container is: one value, by course, role and group. Pure.

The spawners and `payloads` only translate a plan. Of what a learner says, one thing has a part in it: which of the
course's own images they take.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from coursewarehub.engine.images import EITHER_COMMAND, OUR_COMMAND
from coursewarehub.model.access import STAFF
from coursewarehub.model.course import Course
from coursewarehub.model.names import object_name
from coursewarehub.model.networks import CourseNetwork
from coursewarehub.model.resources import EffectiveResources, resources_for
from coursewarehub.model.roles import Role
from coursewarehub.model.site import Site
from coursewarehub.model.spawner import ContainerSpawner, Placement, SwarmSpawner
from coursewarehub.wire import environment as names
from coursewarehub.wire import labels
from coursewarehub.wire.policy import REGISTRIES, NetworkPolicy

HOME: Final = "/home/learner"
"""Home folder and working folder in every container."""

STUDENTS: Final = f"{HOME}/students"
"""Where staff find the homes of their course, to be read only."""

SHARED: Final = f"{HOME}/shared"
"""Where everybody finds the course's shared folder; staff may write in it."""

MATERIAL: Final = "/srv/courseware/content"
"""Where the publications of the course's material are; `current` in it is the newest."""

SERVER_PORT: Final = 8888
OUR_IMAGE: Final = "coursewarehub/singleuser"

_FIRST_ID: Final = 100_000
_IDS: Final = 1 << 30
_MIB: Final = 1024**2
_STOP_SECONDS: Final = 30


@dataclass(frozen=True)
class Mount:
    """A folder of the node at a path in the container."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Member:
    """Whose server it is: normalised user name, role, groups of the hub, name of the server (empty: the main one).

    `image` is the one that they would like; it counts only when it is one of the course's.
    """

    name: str
    role: Role | None
    groups: tuple[str, ...] = ()
    server: str = ""
    image: str = ""


@dataclass(frozen=True)
class Surroundings:
    """What a plan depends on besides site and course.

    `storage` is the folder with `homes/<course>` and `shared/<course>`; `content` the one whose `current` is the
    published material.
    """

    site_id: str
    storage: Path
    network: CourseNetwork
    content: Path | None = None


@dataclass(frozen=True)
class ContainerPlan:
    """Everything a learner's container is.

    Sizes in bytes, processors in cores, times in seconds. An empty `command` is the image's own. `hosts` are names
    that resolve to the given addresses. `user` is `uid:gid`, `groups` are further group ids. `policy` is what the
    container may reach; None leaves its network alone. `ready` is the label that machines have (`true`) on which it
    may start. It is looked at when it starts and is no constraint, because a swarm ends what runs on a machine whose
    labels no longer fit.
    """

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    user: str
    memory: int
    cpu: float
    pids: int
    network: str
    mounts: tuple[Mount, ...] = ()
    tmpfs: Mapping[str, int] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    working_dir: str = HOME
    read_only: bool = True
    memory_guarantee: int = 0
    cpu_guarantee: float = 0.0
    shared_memory: int = 64 * _MIB
    open_files: int = 4096
    ulimits: Mapping[str, int] = field(default_factory=dict)
    disk: int | None = None
    gpus: int = 0
    hosts: Mapping[str, str] = field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    preferences: tuple[str, ...] = ()
    ready: str | None = None
    stop_grace: int = _STOP_SECONDS
    log_bytes: int = 10 * _MIB
    log_files: int = 3
    runtime: str | None = None
    policy: NetworkPolicy | None = None
    port: int = SERVER_PORT

    @property
    def uid(self) -> int:
        """User id of the learner, on the storage as well."""
        return int(self.user.partition(":")[0])


def server_name(site_id: str, course_id: str, user: str, server: str = "") -> str:
    """Name of the container or service of one server: at most 63 characters, different for different servers."""
    # User, server and course names hold no line breaks, so that no two join to the same text.
    return object_name(f"jupyter-{course_id}", f"{user}\n{server}\n{site_id}")


def home_name(user: str) -> str:
    """Name of a learner's home folder, among the homes of one course."""
    return object_name("home", user)


def learner_id(site_id: str, course_id: str, user: str) -> int:
    """User and group id of a learner in one course: at least 100 000, the same on every node and after every start."""
    return _id("user", site_id, course_id, user)


def course_group(site_id: str, course_id: str) -> int:
    """Group id of a course: its staff read its homes by it."""
    return _id("course", site_id, course_id)


def _id(*parts: str) -> int:
    digest = hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).digest()
    return _FIRST_ID + int.from_bytes(digest[:4], "big") % _IDS


def homes_folder(storage: Path, course_id: str) -> Path:
    """Folder with the homes of a course."""
    return storage / "homes" / course_id


def shared_folder(storage: Path, course_id: str) -> Path:
    """Folder that a course's staff share with everybody in it."""
    return storage / "shared" / course_id


def plan_container(site: Site, course: Course, member: Member, surroundings: Surroundings) -> ContainerPlan:
    """Return what the container of a member's server in a course is. Raises ValueError for the local spawner."""
    spawner = site.spawner
    if not isinstance(spawner, ContainerSpawner):
        raise ValueError(f"the `{spawner.kind}` spawner runs no containers")
    resources = resources_for(course, member.role, member.groups)
    uid = learner_id(surroundings.site_id, course.id, member.name)
    images = course.images_with(spawner.image)
    image = member.image if member.image in images else images[0]
    policy = _policy(spawner, course, surroundings.network)
    placement = _placement(spawner, course)
    return ContainerPlan(
        name=server_name(surroundings.site_id, course.id, member.name, member.server),
        image=image,
        command=OUR_COMMAND if _is_ours(image) else EITHER_COMMAND,
        environment=_environment(spawner, course, member, surroundings),
        labels=_labels(course, member, surroundings, image, policy),
        user=f"{uid}:{uid}",
        groups=(str(course_group(surroundings.site_id, course.id)),) if member.role in STAFF else (),
        mounts=_mounts(course, member, surroundings),
        tmpfs=_temporary(resources),
        memory=resources.memory,
        memory_guarantee=resources.memory_guarantee,
        cpu=resources.cpu,
        cpu_guarantee=resources.cpu_guarantee,
        pids=resources.processes,
        shared_memory=resources.shared_memory,
        open_files=resources.open_files,
        ulimits=resources.ulimits,
        disk=resources.disk,
        gpus=resources.gpus,
        hosts=_hosts(spawner, policy),
        network=surroundings.network.name,
        constraints=placement.constraints,
        preferences=placement.prefer,
        ready=labels.ready(surroundings.site_id, image) if isinstance(spawner, SwarmSpawner) else None,
        runtime=spawner.runtime,
        policy=policy,
    )


def _is_ours(image: str) -> bool:
    """Whether an image is certain to have our server, by its name in whatever registry."""
    repository = image.partition("@")[0]
    head, slash, tail = repository.rpartition("/")
    repository = f"{head}{slash}{tail.partition(':')[0]}"
    return repository == OUR_IMAGE or repository.endswith(f"/{OUR_IMAGE}")


def _policy(spawner: ContainerSpawner, course: Course, network: CourseNetwork) -> NetworkPolicy:
    return NetworkPolicy(
        site=network.site_address,
        port=spawner.port,
        registries_port=spawner.port + 1,
        egress=course.egress,
        server_port=SERVER_PORT,
    )


def _hosts(spawner: ContainerSpawner, policy: NetworkPolicy) -> dict[str, str]:
    """Package registries are reached through the site, which the network rules see to."""
    return dict.fromkeys(spawner.registries, policy.site) if policy.egress == REGISTRIES else {}


def _environment(
    spawner: ContainerSpawner, course: Course, member: Member, surroundings: Surroundings
) -> dict[str, str]:
    lease = spawner.lease if isinstance(spawner, SwarmSpawner) else 0
    return {
        "HOME": HOME,
        "USER": member.name,
        "LOGNAME": member.name,
        "SHELL": "/bin/bash",
        "JUPYTERHUB_ROOT_DIR": HOME,
        # Keys of kernels and small databases have no place on shared storage.
        "JUPYTER_RUNTIME_DIR": "/tmp/jupyter-runtime",  # noqa: S108 - in the container, which is the learner's alone
        names.COURSE: course.id,
        names.IDLE_SECONDS: str(course.limits.idle_server or 0),
        names.LEASE_SECONDS: str(lease),
        names.SHARED: SHARED,
        **({names.CONTENT: f"{MATERIAL}/current"} if surroundings.content else {}),
        **({names.HOMES: STUDENTS} if member.role in STAFF else {}),
    }


def _labels(
    course: Course, member: Member, surroundings: Surroundings, image: str, policy: NetworkPolicy
) -> dict[str, str]:
    return {
        labels.SITE: surroundings.site_id,
        labels.COURSE: course.id,
        labels.USER: member.name,
        labels.SERVER: member.server,
        labels.KIND: labels.KIND_SERVER,
        labels.IMAGE: image,
        labels.POLICY: policy.encode(),
    }


def _mounts(course: Course, member: Member, surroundings: Surroundings) -> tuple[Mount, ...]:
    storage = surroundings.storage
    homes = homes_folder(storage, course.id)
    staff = member.role in STAFF
    return (
        Mount(str(homes / home_name(member.name)), HOME),
        Mount(str(shared_folder(storage, course.id)), SHARED, read_only=not staff),
        *([Mount(str(homes), STUDENTS, read_only=True)] if staff else []),
        *([Mount(str(surroundings.content), MATERIAL, read_only=True)] if surroundings.content else []),
    )


def _temporary(resources: EffectiveResources) -> dict[str, int]:
    """Where a read-only container may write; all of it counts as memory and is gone with the server."""
    return {"/tmp": resources.temporary, "/var/tmp": 64 * _MIB, "/run": 16 * _MIB}  # noqa: S108 - see above


def _placement(spawner: ContainerSpawner, course: Course) -> Placement:
    """On a swarm: nodes that the site and the course allow."""
    if not isinstance(spawner, SwarmSpawner):
        return Placement()
    return Placement(
        constraints=tuple(dict.fromkeys((*spawner.placement.constraints, *course.placement.constraints))),
        prefer=tuple(dict.fromkeys((*course.placement.prefer, *spawner.placement.prefer))),
    )
