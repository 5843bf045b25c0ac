"""`spawner` of `site.yaml`: what runs the learners' servers."""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Network
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    Tag,
    WithJsonSchema,
    model_validator,
)

from coursewarehub import __version__
from coursewarehub.model.problems import quoted
from coursewarehub.model.values import Expect, ImageName, LimitedDuration, Settings, refusal

DEFAULT_IMAGE = f"coursewarehub/singleuser:{__version__}"
HUB_IMAGE = f"coursewarehub/hub:{__version__}"
REGISTRIES = (
    "pypi.org",
    "files.pythonhosted.org",
    "conda.anaconda.org",
    "repo.anaconda.com",
    "cran.r-project.org",
    "cloud.r-project.org",
    "deb.debian.org",
    "security.debian.org",
    "registry.npmjs.org",
)
"""Where Python, conda, R, Debian and JavaScript packages come from."""
SHORTEST_LEASE = 15  # seconds; a busy server may be late by some
LONGEST_LEASE = 3600

# --- values ------------------------------------------------------------------------------------

_PATH = StringConstraints(pattern=r"^[^\x00-\x1f\x7f:,]+$", max_length=1024)


def _absolute(value: str) -> str:
    path = PurePosixPath(value)
    if not path.is_absolute() or ".." in path.parts or path == PurePosixPath("/"):
        raise ValueError("not an absolute path")
    return str(path)


def _storage(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        raise refusal(
            f"is {quoted(value)}, which names a Docker volume: that lives on one node, and a home would stay behind "
            "when its owner's server starts on another",
            hint="give the absolute path of a folder, on a swarm one that all nodes share",
        )
    return _absolute(value)


_A_PATH = "an absolute path such as `/srv/courseware`, without `..`, `:` and `,`"
AbsolutePath = Annotated[str, _PATH, AfterValidator(_absolute), Expect(_A_PATH)]
StoragePath = Annotated[str, _PATH, AfterValidator(_storage), Expect(_A_PATH)]


def _engine(value: str) -> str:
    try:
        parts = urlsplit(value)
        unix = parts.scheme == "unix" and not parts.netloc and _absolute(parts.path) == parts.path
        tcp = parts.scheme == "tcp" and bool(parts.hostname) and bool(parts.port) and parts.path == ""
    except ValueError:
        unix = tcp = False
    if not (unix or tcp) or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("not the URL of an engine")
    return value


def _network(value: Any) -> IPv4Network:
    if isinstance(value, IPv4Network):
        return value
    if not isinstance(value, str) or "/" not in value:
        raise ValueError("not a network")
    network = ipaddress.IPv4Network(value, strict=False)
    if str(network) != value:
        raise refusal(f"is {quoted(value)}, an address inside a network", hint=f"did you mean `{network}`?")
    return network


Network = Annotated[
    IPv4Network,
    PlainValidator(_network),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$"}),
    Expect("an IPv4 network such as `10.180.0.0/14`"),
]


def _lease(seconds: int) -> int:
    if not SHORTEST_LEASE <= seconds <= LONGEST_LEASE:
        raise refusal(f"must be between {SHORTEST_LEASE} seconds and {LONGEST_LEASE // 60} minutes")
    return seconds


HostName = Annotated[
    str,
    StringConstraints(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"),
    Expect("the name of a host such as `pypi.org`"),
]

_CONSTRAINT = (
    r"^(node\.(id|hostname|role|platform\.os|platform\.arch)|(node|engine)\.labels\.[A-Za-z0-9][A-Za-z0-9_.-]*) ?"
    r"(==|!=) ?[A-Za-z0-9][A-Za-z0-9_.:/-]*$"
)


Constraint = Annotated[
    str,
    StringConstraints(pattern=_CONSTRAINT),
    Expect("a constraint such as `node.labels.zone==campus` or `node.role!=manager`"),
]
NodeLabel = Annotated[
    str,
    StringConstraints(pattern=r"^(node|engine)\.labels\.[A-Za-z0-9][A-Za-z0-9_.-]*$"),
    Expect("the label to spread over, such as `node.labels.zone`"),
]


class Placement(Settings):
    """Nodes of a swarm on which learners' servers may run; other spawners ignore it."""

    constraints: Annotated[
        tuple[Constraint, ...], Expect("a list of constraints such as `[node.labels.zone==campus]`")
    ] = Field((), description="Only nodes for which all of these hold.")
    prefer: Annotated[tuple[NodeLabel, ...], Expect("a list of labels such as `[node.labels.zone]`")] = Field(
        (), description="Labels over whose values servers are spread evenly, the most important first."
    )


# --- the kinds ---------------------------------------------------------------------------------

ConcurrentStarts = Annotated[int, Field(ge=1, le=1000)]


class LocalSpawner(Settings):
    """Learners' servers are processes of this machine."""

    kind: Literal["local"] = Field(
        "local",
        description="What runs the learners' servers: `local` processes of this machine, containers of one `docker` "
        "host, or of a `swarm`.",
    )
    accept_strangers: bool = Field(
        False,
        description="Local processes do not shield the machine from its users, so a public site "
        "on which anybody can choose a name is refused unless this is `true`.",
    )
    concurrent_starts: ConcurrentStarts | None = Field(
        None,
        description="How many servers may be starting at once; the default is the number of processor cores.",
        examples=[4],
    )


class ContainerSpawner(Settings):
    """What the spawners that run learners' servers in containers have in common."""

    kind: Literal["docker", "swarm"] = Field(description="What runs the learners' servers: `docker` or `swarm`.")
    image: ImageName = Field(DEFAULT_IMAGE, description="Container image of courses that name none.")
    engine: Annotated[
        str,
        AfterValidator(_engine),
        Expect("the address of a Docker Engine such as `unix:///var/run/docker.sock`"),
    ] = Field(
        "unix:///var/run/docker.sock",
        description="Where the Docker Engine answers; on a swarm, that of a manager.",
    )
    engine_folder: AbsolutePath = Field(
        "/var/run/docker",
        description="Folder in which the Docker Engine keeps what it knows of running containers; the same on every "
        "node.",
    )
    storage: StoragePath | None = Field(
        None,
        description="Folder with the homes, the shared folders and the published material; by default the site folder.",
        examples=["/srv/courseware"],
    )
    addresses: Network = Field(
        IPv4Network("10.180.0.0/14"),
        description="Private addresses that nobody else uses; every course gets a network out of them.",
    )
    course_network: int = Field(
        20,
        ge=16,
        le=28,
        description="Prefix length of the network of one course; with 20 it has room for about 2000 servers.",
    )
    port: int = Field(
        8081,
        ge=1,
        le=65534,
        description="Port at which learners' servers reach the site; the next one is for package registries.",
    )
    registries: Annotated[tuple[HostName, ...], Expect("a list of host names such as `[pypi.org]`")] = Field(
        REGISTRIES,
        description="Package registries that courses with `egress: registries` reach.",
    )
    concurrent_starts: ConcurrentStarts | None = Field(
        None,
        description="How many servers may be starting at once; the default is one more than the nodes have "
        "processor cores.",
        examples=[8],
    )
    runtime: (
        Annotated[
            str,
            StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"),
            Expect("the name of a runtime that the Docker Engine knows"),
        ]
        | None
    ) = Field(
        None,
        description="Container runtime other than the Docker Engine's default, for instance one with a kernel of its "
        "own.",
        examples=["runsc"],
    )
    isolation: Literal["required", "accepted_off"] = Field(
        "required",
        description="`required` starts no server where the network rules between learners cannot be applied; "
        "`accepted_off` starts it without them, and `status` says so.",
    )

    @model_validator(mode="after")
    def _addresses_suffice(self) -> ContainerSpawner:
        network = self.addresses
        if not network.is_private or network.is_loopback or network.is_link_local:
            raise refusal(
                f"is {quoted(str(network))}, which is not private",
                at=("addresses",),
                hint="take some of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 that your network does not use",
            )
        if network.prefixlen > self.course_network:
            raise refusal(
                f"is {quoted(str(network))}, too small for one course's network of /{self.course_network}",
                at=("addresses",),
                hint="take a larger network, or a higher `course_network`",
            )
        return self

    def storage_folder(self, root: Path) -> Path:
        """Return the folder with homes, shared folders and published material of the site in the folder `root`."""
        return root if self.storage is None else Path(self.storage)


# A mapping without `kind` is the local spawner, so in the schema the others need theirs.
_NEEDS_KIND = ConfigDict(json_schema_extra={"required": ["kind"]})


class DockerSpawner(ContainerSpawner):
    """Learners' servers are containers of one Docker host."""

    model_config = _NEEDS_KIND

    kind: Literal["docker"] = Field("docker", description="`docker`: containers of one Docker host.")


class SwarmSpawner(ContainerSpawner):
    """Learners' servers are services of a Docker Swarm."""

    model_config = ConfigDict(json_schema_extra={"required": ["kind", "storage"]})

    kind: Literal["swarm"] = Field("swarm", description="`swarm`: services of a Docker Swarm.")
    storage: StoragePath = Field(
        description="Folder with the homes, the shared folders and the published material; every node has it at this "
        "path, and it is the same folder everywhere (NFS, for instance).",
        examples=["/srv/courseware"],
    )
    placement: Placement = Field(Placement(), description="Nodes on which learners' servers of all courses may run.")
    lease: Annotated[LimitedDuration, AfterValidator(_lease)] = Field(
        60,
        description="A server that has not reached the site for so long stops writing, so that two copies never "
        "write to one home when a node is cut off.",
    )


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("kind", "local"))
    return str(getattr(value, "kind", "local"))


Spawner = Annotated[
    Annotated[LocalSpawner, Tag("local")]
    | Annotated[DockerSpawner, Tag("docker")]
    | Annotated[SwarmSpawner, Tag("swarm")],
    Discriminator(
        _kind,
        custom_error_type="union_tag_invalid",
        custom_error_context={"discriminator": "'kind'", "tag": "", "expected_tags": "'local', 'docker', 'swarm'"},
    ),
]
