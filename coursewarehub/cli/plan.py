"""`coursewarehub plan`: what so many students need."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from coursewarehub.cli.errors import CommandError

if TYPE_CHECKING:
    from coursewarehub.cli import Subparsers
    from coursewarehub.model import LoadedSite
    from coursewarehub.model.capacity import CapacityPlan, CourseNeeds

_DESCRIPTION = """Compute nodes, memory, processor cores and addresses from the course files. A swarm places servers by
what their course guarantees them; a server without a guarantee of memory counts with its limit. One sixth of a node's
memory is left to its system."""


def register(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser("plan", help="compute what so many students need", description=_DESCRIPTION)
    parser.add_argument(
        "--students",
        required=True,
        action="append",
        type=_students,
        metavar="[COURSE=]N",
        help="students who work at once, in every course or in one; may be given again",
    )
    parser.add_argument("--nodes", type=_positive, metavar="N", help="check whether so many nodes suffice")
    parser.add_argument("--node-memory", type=_memory, default="16G", metavar="SIZE", help="memory of a node (16G)")
    parser.add_argument("--node-cpus", type=_cores, default="8", metavar="N", help="processor cores of a node (8)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the plan; 0 when everything fits, 1 when something does not."""
    from coursewarehub.model.capacity import NodeSize, plan_capacity
    from coursewarehub.model.load import load_site

    loaded = load_site(args.site)
    students = _by_course(loaded, args.students)
    node = NodeSize(args.node_memory, args.node_cpus)
    plan = plan_capacity(loaded.site, tuple(loaded.courses.values()), students, node, args.nodes)
    print(json.dumps(as_data(plan), indent=2) if args.json else "\n".join(lines(plan, args.nodes)))
    return 1 if plan.problems else 0


def _by_course(loaded: LoadedSite, given: list[tuple[str | None, int]]) -> dict[str, int]:
    everywhere = [count for name, count in given if name is None]
    if len(everywhere) > 1:
        raise CommandError("`--students` is given twice for every course; name the course: `--students COURSE=N`.")
    students = dict.fromkeys(loaded.courses, everywhere[0]) if everywhere else {}
    for name, count in given:
        if name is None:
            continue
        if name not in loaded.courses:
            raise CommandError(f"There is no course `{name}`; there are: {', '.join(loaded.courses) or 'none'}.")
        students[name] = count
    return students


def as_data(plan: CapacityPlan) -> dict[str, Any]:
    """The plan as JSON: sizes in bytes, processors in cores."""
    return {
        "node": {"memory": plan.node.memory, "memory_for_servers": plan.node.for_servers, "cores": plan.node.cores},
        "nodes": plan.nodes,
        "nodes_for_memory": plan.nodes_for_memory,
        "nodes_for_cores": plan.nodes_for_cores,
        "servers": plan.server_count,
        "memory": plan.memory,
        "cores": plan.cores,
        "site_memory": plan.site_memory,
        "courses": [_course_data(course) for course in plan.courses],
        "problems": list(plan.problems),
    }


def _course_data(course: CourseNeeds) -> dict[str, Any]:
    return {
        "course": course.course,
        "students": course.students,
        "staff": course.staff,
        "servers": course.server_count,
        "memory": course.memory,
        "cores": course.cores,
        "addresses": course.addresses,
        "addresses_available": course.addresses_available,
    }


def lines(plan: CapacityPlan, nodes: int | None = None) -> Iterator[str]:
    """The plan for people."""
    from coursewarehub.model.capacity import in_words

    width = max([len(course.course) for course in plan.courses] + [6])
    yield f"{'course':<{width}}  {'servers':>8}  {'memory':>8}  {'cores':>8}  addresses"
    for course in plan.courses:
        of = "" if course.addresses_available is None else f"{course.addresses} of {course.addresses_available}"
        memory, cores = in_words(course.memory), f"{course.cores:g}"
        yield f"{course.course:<{width}}  {course.server_count:>8}  {memory:>8}  {cores:>8}  {of}".rstrip()
    if len(plan.courses) > 1:
        memory, cores = in_words(plan.memory), f"{plan.cores:g}"
        yield f"{'all':<{width}}  {plan.server_count:>8}  {memory:>8}  {cores:>8}"
    yield ""
    memory = f"{in_words(plan.node.memory)} memory ({in_words(plan.node.for_servers)} for servers)"
    yield f"one node:  {memory}, {plan.node.cores:g} cores"
    if plan.nodes is not None:
        alone = f"memory alone {plan.nodes_for_memory}, processors alone {plan.nodes_for_cores}"
        given = "" if nodes is None else f"; you have {nodes}"
        yield f"nodes:     {plan.nodes} ({alone}{given})"
    yield f"the site:  about {in_words(plan.site_memory)} memory on a manager, when all hubs are awake"
    yield from (f"! {problem}" for problem in plan.problems)


# --- arguments ---------------------------------------------------------------------------------


def _students(text: str) -> tuple[str | None, int]:
    name, sign, count = text.rpartition("=")
    return (name if sign else None), _positive(count)


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number from 1 to 1000000")
    return int(text)


def _cores(text: str) -> float:
    try:
        cores = float(text)
    except ValueError:
        cores = 0
    if not 0.1 <= cores <= 10_000:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number of cores such as `8`")
    return cores


def _memory(text: str) -> int:
    from coursewarehub.model.values import parse_bytes

    try:
        size = parse_bytes(text)
    except ValueError:
        size = 0
    if size < 1024**2:
        raise argparse.ArgumentTypeError(f"`{text}` is not a size such as `16G`")
    return size
