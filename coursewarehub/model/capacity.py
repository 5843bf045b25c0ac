"""How many nodes, how much memory, how many cores and addresses so many students need: arithmetic over course files.

A swarm places servers by what is guaranteed to them, so that is what counts here; a server without a guarantee of
memory counts with its limit, and one without a guarantee of processors counts with none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from coursewarehub.model.course import Course, CourseState
from coursewarehub.model.networks import capacity, course_network, courses_that_fit
from coursewarehub.model.resources import resources_for
from coursewarehub.model.roles import Role
from coursewarehub.model.site import Site
from coursewarehub.model.spawner import ContainerSpawner
from coursewarehub.model.values import format_bytes, format_cores

SYSTEM_SHARE = 6
"""One part in so many of a node's memory is for its system and file cache, as in NII's published design (80 of 480)."""
_SITE_MEMORY = 512 * 1024**2
_HUB_MEMORY = 150 * 1024**2
_NANO = 1_000_000_000
_MEBIBYTE = 1024**2
_STAFF = (Role.OWNER, Role.INSTRUCTOR, Role.ASSISTANT)


@dataclass(frozen=True)
class NodeSize:
    """What one node has: memory in bytes, processor cores."""

    memory: int
    cores: float

    @property
    def for_servers(self) -> int:
        """Memory that is left for servers, in bytes."""
        return self.memory - self.memory // SYSTEM_SHARE


@dataclass(frozen=True)
class Servers:
    """So many servers alike: guaranteed (or planned) memory in bytes and cores of each, and its limit of memory."""

    count: int
    memory: int
    cores: float
    memory_limit: int


@dataclass(frozen=True)
class CourseNeeds:
    """What one course needs at once: `addresses` in its network, which has `addresses_available` (None without one)."""

    course: str
    students: int
    staff: int
    servers: tuple[Servers, ...]
    addresses: int
    addresses_available: int | None

    @property
    def server_count(self) -> int:
        """How many servers run at once."""
        return sum(servers.count for servers in self.servers)

    @property
    def memory(self) -> int:
        """Memory of all servers, in bytes."""
        return sum(servers.count * servers.memory for servers in self.servers)

    @property
    def cores(self) -> float:
        """Cores of all servers."""
        return sum(servers.count * servers.cores for servers in self.servers)


@dataclass(frozen=True)
class CapacityPlan:
    """What a site needs; `nodes` is None when one server does not fit a node at all. `problems` are sentences."""

    node: NodeSize
    courses: tuple[CourseNeeds, ...]
    nodes: int | None
    nodes_for_memory: int | None
    nodes_for_cores: int | None
    site_memory: int
    problems: tuple[str, ...]

    @property
    def server_count(self) -> int:
        """How many servers run at once."""
        return sum(course.server_count for course in self.courses)

    @property
    def memory(self) -> int:
        """Memory of all servers, in bytes."""
        return sum(course.memory for course in self.courses)

    @property
    def cores(self) -> float:
        """Cores of all servers."""
        return sum(course.cores for course in self.courses)


def plan_capacity(
    site: Site, courses: Sequence[Course], students: Mapping[str, int], node: NodeSize, nodes: int | None = None
) -> CapacityPlan:
    """Return what the courses need when so many students (by course id) work at once, on nodes of one size.

    With `nodes` the plan also says, as a problem, what does not fit on so many. Archived courses, and those without
    an entry in `students`, need nothing.
    """
    taking_part = [course for course in courses if course.state is not CourseState.ARCHIVED and course.id in students]
    kinds = [_servers(course, students[course.id]) for course in taking_part]
    every = [servers for some in kinds for servers in some]
    needed = _nodes(every, node)
    spread = nodes if nodes is not None else needed or 0
    needs = [
        _needs(site, course, students[course.id], servers, spread)
        for course, servers in zip(taking_part, kinds, strict=True)
    ]
    plan = CapacityPlan(
        node=node,
        courses=tuple(needs),
        nodes=needed,
        nodes_for_memory=_nodes([replace(servers, cores=0) for servers in every], node),
        nodes_for_cores=_nodes([replace(servers, memory=0) for servers in every], node),
        site_memory=_SITE_MEMORY + _HUB_MEMORY * len(taking_part),
        problems=(),
    )
    return replace(plan, problems=tuple(_problems(site, plan, nodes)))


# --- one course --------------------------------------------------------------------------------


def _servers(course: Course, students: int) -> list[Servers]:
    """The servers of a course, those of one kind together; at most as many as the course allows."""
    wanted = {Role.STUDENT: students}
    wanted |= {role: len(course.members.by_role()[role]) for role in _STAFF}
    left = students + sum(wanted.values()) if course.limits.servers is None else course.limits.servers
    found: list[Servers] = []
    for role in (*_STAFF, Role.STUDENT):
        count = min(wanted[role], left)
        left -= count
        if count:
            found.append(_of_role(course, role, count))
    return found


def _of_role(course: Course, role: Role, count: int) -> Servers:
    given = resources_for(course, role, [])
    return Servers(count, given.memory_guarantee or given.memory, given.cpu_guarantee, given.memory)


def _needs(site: Site, course: Course, students: int, servers: Sequence[Servers], nodes: int) -> CourseNeeds:
    count = sum(some.count for some in servers)
    staff = sum(len(course.members.by_role()[role]) for role in _STAFF)
    available = None
    if isinstance(site.spawner, ContainerSpawner):
        network = course_network("site", course.id, site.spawner, 0)
        available = capacity(network, nodes if site.spawner.kind == "swarm" else 0)
    return CourseNeeds(course.id, students, staff, tuple(servers), count, available)


# --- nodes -------------------------------------------------------------------------------------


def _nodes(servers: Sequence[Servers], node: NodeSize) -> int | None:
    """How many nodes hold all servers (the largest first, each where it fits first); None when one fits nowhere."""
    free: list[list[int]] = []
    for some in sorted(servers, key=lambda some: (some.memory, some.cores), reverse=True):
        left = some.count
        for place in free:
            left -= _put(some, place, left)
        while left:
            free.append([node.for_servers, round(node.cores * _NANO)])
            placed = _put(some, free[-1], left)
            if not placed:
                return None
            left -= placed
    return len(free)


def _put(servers: Servers, free: list[int], most: int) -> int:
    """Put as many servers into what is free of a node as fit; return how many that were."""
    sizes = (servers.memory, round(servers.cores * _NANO))
    count = min([most, *(room // size for room, size in zip(free, sizes, strict=True) if size)])
    for index, size in enumerate(sizes):
        free[index] -= count * size
    return count


# --- what does not fit -------------------------------------------------------------------------


def _problems(site: Site, plan: CapacityPlan, nodes: int | None) -> Iterator[str]:
    for course in plan.courses:
        yield from _course_problems(course)
    if isinstance(site.spawner, ContainerSpawner) and len(plan.courses) > (room := courses_that_fit(site.spawner)):
        yield f"`spawner.addresses` has room for the networks of {room} courses, not of {len(plan.courses)}."
    if plan.nodes is None:
        yield _too_large(plan)
        return
    if site.spawner.kind != "swarm" and nodes is None:
        nodes = 1
    if nodes is not None and plan.nodes > nodes:
        yield from _too_few(plan, nodes)


def _course_problems(course: CourseNeeds) -> Iterator[str]:
    wanted = course.students + course.staff
    if wanted > course.server_count:
        yield (
            f"`limits.servers` of {course.course} allows {course.server_count} servers, so "
            f"{wanted - course.server_count} of {wanted} people cannot start one."
        )
    if course.addresses_available is not None and course.addresses > course.addresses_available:
        yield (
            f"The network of {course.course} has addresses for {course.addresses_available} servers, not for "
            f"{course.addresses}: lower `course_network` in `spawner` of site.yaml."
        )


def _too_large(plan: CapacityPlan) -> str:
    node = plan.node
    largest = max((some for course in plan.courses for some in course.servers), key=lambda some: some.memory)
    if largest.memory > node.for_servers:
        return (
            f"One server needs {in_words(largest.memory)} of memory, and a node with {in_words(node.memory)} has "
            f"{in_words(node.for_servers)} for servers."
        )
    most = max(some.cores for course in plan.courses for some in course.servers)
    return f"One server needs {format_cores(most)}, and a node has {node.cores:g}."


def _too_few(plan: CapacityPlan, nodes: int) -> Iterator[str]:
    """Say of memory and of processors on their own whether they do not fit on so many nodes."""
    by_memory, by_cores = plan.nodes_for_memory or 0, plan.nodes_for_cores or 0
    more = f"take {_count(plan.nodes or 0, 'node')}"
    has = "has" if nodes == 1 else "have"
    if by_memory > nodes:
        yield (
            f"The memory does not fit: {_count(plan.server_count, 'server')} need {in_words(plan.memory)}, and "
            f"{_count(nodes, 'node')} with {in_words(plan.node.memory)} {has} "
            f"{in_words(nodes * plan.node.for_servers)} for servers; {more} or lower the guarantees."
        )
    if by_cores > nodes:
        each = plan.cores / plan.server_count
        have = nodes * plan.node.cores
        room = _count(int(have / each + 1e-9), "server")
        yield (
            f"The CPU guarantee does not fit: {_count(plan.server_count, 'server')} with "
            f"{format_cores(float(f'{each:.3g}'))} each need {format_cores(plan.cores)}, and "
            f"{_count(nodes, 'node')} {has} {have:g}, enough for {room}; {more} or lower `cpu_guarantee` to "
            f"{have / plan.server_count:.2g}."
        )
    if by_memory <= nodes and by_cores <= nodes:
        yield f"Memory and processors together do not fit on {_count(nodes, 'node')}; {more}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def in_words(size: int) -> str:
    """Return a size as people say it: `13.3G`."""
    whole = format_bytes(size)
    if len(whole) <= 5:
        return whole
    gibibytes = size / 1024**3
    return f"{gibibytes:.3g}G" if gibibytes < 1000 else f"{gibibytes:.0f}G"
