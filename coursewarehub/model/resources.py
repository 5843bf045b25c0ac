"""What one learner's server gets: the settings of a course file, and what follows for one person."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import AfterValidator, Field, model_validator

from coursewarehub.model.roles import Role
from coursewarehub.model.values import SMALLEST_MEMORY, ByteSize, Expect, Settings, Size, format_bytes, refusal

if TYPE_CHECKING:
    from coursewarehub.model.course import Course

_N = TypeVar("_N", int, float)

ADMINS = frozenset({Role.OWNER, Role.INSTRUCTOR})
"""Roles that get what `resources.admin` says."""

_ULIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nproc rss rtprio rttime sigpending stack".split()  # noqa: SIM905
)
_OWN_KEY = {"nofile": "open_files"}


def _ulimits(value: dict[str, int]) -> dict[str, int]:
    for name, limit in value.items():
        if name in _OWN_KEY:
            raise refusal("has a key of its own", at=(name,), hint=f"write `{_OWN_KEY[name]}` in `resources`")
        if name not in _ULIMITS:
            raise refusal(
                "is not a limit that containers know", at=(name,), hint=f"known: {', '.join(sorted(_ULIMITS))}"
            )
        if limit < -1:
            raise refusal("must be -1 (no limit), 0 or more", at=(name,))
    return value


def _memory(size: int) -> int:
    if size < SMALLEST_MEMORY:
        raise refusal(f"must be at least {format_bytes(SMALLEST_MEMORY)}", hint="write the unit: `1G`, not `1`")
    return size


def _small(size: int) -> int:
    if size < 1024**2:
        raise refusal("must be at least 1M")
    return size


Cores = Annotated[float, Field(ge=0.05, le=1024)]
GuaranteedCores = Annotated[float, Field(ge=0, le=1024)]


class Allocation(Settings):
    """Limits and guarantees for one group, in the words of NII's CoursewareHub; what it leaves out is the course's."""

    mem_limit: Annotated[Size, AfterValidator(_memory)] | None = Field(
        None, description="Memory at most.", examples=["2G"]
    )
    mem_guarantee: Size | None = Field(None, description="Memory set aside on the node.", examples=["1G"])
    cpu_limit: Cores | None = Field(None, description="Processor cores at most.", examples=[2.0])
    cpu_guarantee: GuaranteedCores | None = Field(
        None, description="Processor cores set aside on the node.", examples=[0.5]
    )
    priority: int = Field(
        0,
        ge=-1_000_000,
        le=1_000_000,
        description="Who is in several groups gets what the one with the smallest number says.",
    )


class Resources(Settings):
    """Limits of one learner's server."""

    memory: ByteSize = Field(2 * 1024**3, description="Memory; `1G` is 1024 MiB.")
    memory_guarantee: Size = Field(
        0, description="Memory set aside on the node for every server; 0 sets none aside. For containers."
    )
    cpu: float = Field(2.0, ge=0.05, le=1024, description="Processor cores; parts such as 0.5 are possible.")
    cpu_guarantee: GuaranteedCores = Field(
        0.0, description="Processor cores set aside on the node for every server; 0 sets none aside. For containers."
    )
    processes: int = Field(512, ge=32, le=1_000_000, description="Processes and threads.")
    open_files: int = Field(4096, ge=256, le=1_000_000, description="Open files of one process.")
    shared_memory: Annotated[Size, AfterValidator(_small)] = Field(
        64 * 1024**2, description="Size of `/dev/shm`; it counts as memory. For containers."
    )
    temporary: Annotated[Size, AfterValidator(_small)] = Field(
        256 * 1024**2,
        description="Size of `/tmp`, which is emptied with every start; it counts as memory. For containers.",
    )
    disk: ByteSize | None = Field(
        None,
        description="Disk space of the container outside the home; where the storage of the Docker Engine cannot limit "
        "it, `doctor` says so.",
        examples=["10G"],
    )
    gpus: int = Field(0, ge=0, le=64, description="Graphics processors, each for this server alone. For containers.")
    ulimits: Annotated[
        dict[str, int],
        AfterValidator(_ulimits),
        Expect("a mapping of limits to whole numbers such as `{memlock: 67108864}`"),
    ] = Field({}, description="Other resource limits of a process, as setrlimit(2) counts them. For containers.")
    groups: Annotated[
        dict[str, Allocation], Expect("a mapping of groups to limits such as `{student: {mem_limit: 1G}}`")
    ] = Field(
        {},
        description="Other limits for groups of the hub; roles are groups as well (`student`). Written as for NII's "
        "CoursewareHub.",
    )
    default: Allocation | None = Field(
        None, description="Limits of who is in none of `groups`; as for NII's CoursewareHub."
    )
    admin: Allocation | None = Field(
        None, description="Limits of owners and instructors, before `groups`; as for NII's CoursewareHub."
    )

    @model_validator(mode="after")
    def _guarantees_fit(self) -> Resources:
        _check(self.memory_guarantee > self.memory, "memory_guarantee", "memory", ())
        _check(self.cpu_guarantee > self.cpu, "cpu_guarantee", "cpu", ())
        named = [(("groups", name), group) for name, group in self.groups.items()]
        for place, group in (*named, (("default",), self.default), (("admin",), self.admin)):
            if group is not None:
                result = _applied(self, group)
                _check(result.memory_guarantee > result.memory, "mem_guarantee", "mem_limit", place)
                _check(result.cpu_guarantee > result.cpu, "cpu_guarantee", "cpu_limit", place)
        return self


def _check(above: bool, guarantee: str, limit: str, place: tuple[str, ...]) -> None:
    if above:
        raise refusal(f"is above the limit (`{limit}`)", at=(*place, guarantee), hint="raise the limit with it")


@dataclass(frozen=True)
class EffectiveResources:
    """What one server gets: sizes in bytes, processors in cores; a guarantee of 0 is none, `disk` None no limit."""

    memory: int
    memory_guarantee: int
    cpu: float
    cpu_guarantee: float
    processes: int
    open_files: int
    shared_memory: int
    temporary: int
    disk: int | None = None
    gpus: int = 0
    ulimits: dict[str, int] = field(default_factory=dict)


def resources_for(course: Course, role: Role | None, groups: Collection[str]) -> EffectiveResources:
    """Return what a server of a person with this role, in these groups of the hub, gets in a course.

    As in NII's CoursewareHub, one allocation applies as a whole: `admin` for owners and instructors, else the group's
    with the smallest `priority`, else `default`. What it leaves out is what the course says.
    """
    return _applied(course.resources, _allocation(course.resources, role, groups))


def _allocation(resources: Resources, role: Role | None, groups: Collection[str]) -> Allocation | None:
    if role in ADMINS and resources.admin is not None:
        return resources.admin
    mine = {*groups, *([str(role)] if role is not None else [])}
    found = [group for name, group in resources.groups.items() if name in mine]
    return min(found, key=lambda group: group.priority, default=resources.default)


def _applied(course: Resources, group: Allocation | None) -> EffectiveResources:
    group = group or Allocation()
    memory, cpu = _either(group.mem_limit, course.memory), _either(group.cpu_limit, course.cpu)
    return EffectiveResources(
        memory=memory,
        memory_guarantee=_either(group.mem_guarantee, min(course.memory_guarantee, memory)),
        cpu=cpu,
        cpu_guarantee=_either(group.cpu_guarantee, min(course.cpu_guarantee, cpu)),
        processes=course.processes,
        open_files=course.open_files,
        shared_memory=course.shared_memory,
        temporary=course.temporary,
        disk=course.disk,
        gpus=course.gpus,
        ulimits=dict(course.ulimits),
    )


def _either(value: _N | None, otherwise: _N) -> _N:
    return otherwise if value is None else value
