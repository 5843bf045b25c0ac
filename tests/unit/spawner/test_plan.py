"""What a learner's container is, as whole values; and names that never meet (B05)."""

from __future__ import annotations

import itertools
import random
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.models import a_course, a_site

from coursewarehub.engine.images import EITHER_COMMAND
from coursewarehub.model import Course, Role, Site, valid_name
from coursewarehub.model.networks import course_network
from coursewarehub.wire import labels
from coursewarehub.wire.policy import NetworkPolicy
from coursewarespawner.plan import (
    ContainerPlan,
    Member,
    Mount,
    Surroundings,
    course_group,
    home_name,
    learner_id,
    plan_container,
    server_name,
)
from coursewarespawner.swarm import Refusals, kept_from_unready

MIB = 1024**2
GIB = 1024**3
STORAGE = "/srv/courseware"


def site(**spawner: Any) -> Site:
    return a_site(spawner={"kind": "docker", "storage": STORAGE, "image": "teaching/base:1", **spawner})


def course(**settings: Any) -> Course:
    return a_course(**settings)


def surroundings(of: Site, content: bool = True, index: int = 0) -> Surroundings:
    assert of.spawner.kind != "local"
    network = course_network("site-1", "alpha", of.spawner, index)
    return Surroundings("site-1", Path(STORAGE), network, Path(STORAGE) / "content/alpha" if content else None)


def plan(of: Site, in_course: Course, member: Member, content: bool = True) -> ContainerPlan:
    return plan_container(of, in_course, member, surroundings(of, content))


SAM = Member("sam", Role.STUDENT, ("student",))
UID = learner_id("site-1", "alpha", "sam")
NETWORK = course_network("site-1", "alpha", site().spawner, 0)  # type: ignore[arg-type]
POLICY = NetworkPolicy(site="10.180.0.1", port=8081, registries_port=8082, egress="open", server_port=8888)
ENVIRONMENT = {
    "HOME": "/home/learner",
    "USER": "sam",
    "LOGNAME": "sam",
    "SHELL": "/bin/bash",
    "JUPYTERHUB_ROOT_DIR": "/home/learner",
    "JUPYTER_RUNTIME_DIR": "/tmp/jupyter-runtime",
    "COURSEWARE_COURSE": "alpha",
    "COURSEWARE_IDLE_SECONDS": "3600",
    "COURSEWARE_LEASE_SECONDS": "0",
    "COURSEWARE_SHARED": "/home/learner/shared",
    "COURSEWARE_CONTENT": "/srv/courseware/content/current",
}
HOME_MOUNT = Mount(f"{STORAGE}/homes/alpha/{home_name('sam')}", "/home/learner")
CONTENT_MOUNT = Mount(f"{STORAGE}/content/alpha", "/srv/courseware/content", read_only=True)
STUDENTS_PLAN = ContainerPlan(
    name=server_name("site-1", "alpha", "sam"),
    image="teaching/base:1",
    command=EITHER_COMMAND,
    environment=ENVIRONMENT,
    labels={
        labels.SITE: "site-1",
        labels.COURSE: "alpha",
        labels.USER: "sam",
        labels.SERVER: "",
        labels.KIND: "server",
        labels.IMAGE: "teaching/base:1",
        labels.POLICY: POLICY.encode(),
    },
    user=f"{UID}:{UID}",
    groups=(),
    working_dir="/home/learner",
    mounts=(HOME_MOUNT, Mount(f"{STORAGE}/shared/alpha", "/home/learner/shared", read_only=True), CONTENT_MOUNT),
    tmpfs={"/tmp": 256 * MIB, "/var/tmp": 64 * MIB, "/run": 16 * MIB},
    read_only=True,
    memory=2 * GIB,
    memory_guarantee=0,
    cpu=2.0,
    cpu_guarantee=0.0,
    pids=512,
    shared_memory=64 * MIB,
    open_files=4096,
    ulimits={},
    disk=None,
    gpus=0,
    hosts={},
    network=NETWORK.name,
    constraints=(),
    preferences=(),
    stop_grace=30,
    log_bytes=10 * MIB,
    log_files=3,
    runtime=None,
    policy=POLICY,
    port=8888,
)


def test_what_a_students_container_is() -> None:
    assert plan(site(), course(), SAM) == STUDENTS_PLAN


@pytest.mark.parametrize("role", [Role.OWNER, Role.INSTRUCTOR, Role.ASSISTANT])
def test_staff_read_the_homes_and_write_the_shared_folder(role: Role) -> None:
    expected = replace(
        STUDENTS_PLAN,
        groups=(str(course_group("site-1", "alpha")),),
        mounts=(
            HOME_MOUNT,
            Mount(f"{STORAGE}/shared/alpha", "/home/learner/shared", read_only=False),
            Mount(f"{STORAGE}/homes/alpha", "/home/learner/students", read_only=True),
            CONTENT_MOUNT,
        ),
        environment={**ENVIRONMENT, "COURSEWARE_HOMES": "/home/learner/students"},
    )
    assert plan(site(), course(), Member("sam", role)) == expected


@pytest.mark.parametrize("role", [Role.STUDENT, Role.OBSERVER, None])
def test_who_is_no_staff_sees_no_home_but_their_own(role: Role | None) -> None:
    made = plan(site(), course(), Member("sam", role, ("instructor",)))
    assert made == STUDENTS_PLAN, "a group's name gives no role"
    assert [mount for mount in made.mounts if not mount.read_only] == [HOME_MOUNT]


def test_course_without_material() -> None:
    made = plan(site(), course(), SAM, content=False)
    without = {key: value for key, value in ENVIRONMENT.items() if key != "COURSEWARE_CONTENT"}
    assert made == replace(STUDENTS_PLAN, environment=without, mounts=STUDENTS_PLAN.mounts[:2])


RESOURCES = {
    "memory": "1G",
    "memory_guarantee": "512M",
    "cpu": 1.5,
    "cpu_guarantee": 0.25,
    "processes": 300,
    "open_files": 1000,
    "shared_memory": "128M",
    "temporary": "1G",
    "disk": "5G",
    "gpus": 1,
    "ulimits": {"memlock": 65536},
    "groups": {
        "student": {"mem_limit": "3G", "priority": 5},
        "big": {"mem_limit": "8G", "cpu_limit": 4, "priority": 1},
    },
    "admin": {"mem_limit": "16G", "cpu_limit": 8},
}


@pytest.mark.parametrize(
    ("member", "memory", "cpu"),
    [
        (SAM, 3 * GIB, 1.5),
        (Member("sam", Role.STUDENT, ("student", "big")), 8 * GIB, 4.0),
        (Member("sam", Role.ASSISTANT, ("assistant",)), GIB, 1.5),
        (Member("sam", Role.OWNER, ("owner", "big")), 16 * GIB, 8.0),
    ],
)
def test_resources_go_by_role_and_group(member: Member, memory: int, cpu: float) -> None:
    made = plan(site(), course(resources=RESOURCES), member)
    basis = plan(site(), course(), member)
    assert made == replace(
        basis,
        memory=memory,
        memory_guarantee=512 * MIB,
        cpu=cpu,
        cpu_guarantee=0.25,
        pids=300,
        open_files=1000,
        shared_memory=128 * MIB,
        tmpfs={"/tmp": GIB, "/var/tmp": 64 * MIB, "/run": 16 * MIB},
        disk=5 * GIB,
        gpus=1,
        ulimits={"memlock": 65536},
    )


@pytest.mark.parametrize(
    ("image", "command"),
    [
        (None, EITHER_COMMAND),
        ("coursewarehub/singleuser:9.9", ("coursewarehub-singleuser",)),
        ("registry.example.org:5000/coursewarehub/singleuser@sha256:" + "0" * 64, ("coursewarehub-singleuser",)),
        ("registry.example.org:5000/coursewarehub/singleuser", ("coursewarehub-singleuser",)),
        ("quay.io/jupyter/scipy-notebook:2026-01-05", EITHER_COMMAND),
        ("evilcoursewarehub/singleuser:1", EITHER_COMMAND),
        ("coursewarehub/singleuser-r:1", EITHER_COMMAND),
    ],
)
def test_what_starts_the_server_of_an_image(image: str | None, command: tuple[str, ...]) -> None:
    made = plan(site(), course(**({"image": image} if image else {})), SAM)
    assert (made.image, made.command) == (image or "teaching/base:1", command)
    assert made.labels[labels.IMAGE] == made.image


@pytest.mark.parametrize(
    ("egress", "hosts"),
    [
        ("open", {}),
        ("none", {}),
        ("registries", {"pypi.example.org": "10.180.0.1", "cran.example.org": "10.180.0.1"}),
    ],
)
def test_egress_is_a_policy_and_names(egress: str, hosts: dict[str, str]) -> None:
    of = site(registries=["pypi.example.org", "cran.example.org"], port=9000)
    made = plan(of, course(egress=egress), SAM)
    policy = NetworkPolicy(site="10.180.0.1", port=9000, registries_port=9001, egress=egress, server_port=8888)
    assert (made.policy, made.hosts) == (policy, hosts)
    assert NetworkPolicy.decode(made.labels[labels.POLICY]) == policy


def test_on_a_swarm_only_nodes_that_are_ready() -> None:
    of = site(
        kind="swarm",
        placement={"constraints": ["node.labels.zone==campus", "node.role!=manager"], "prefer": ["node.labels.zone"]},
        lease="90s",
    )
    placed = course(placement={"constraints": ["node.labels.zone==campus"], "prefer": ["node.labels.rack"]})
    made = plan(of, placed, SAM)
    assert made.constraints == (
        "node.labels.zone==campus",
        "node.role!=manager",
    )
    assert made.ready == labels.ready("site-1", "teaching/base:1")
    assert made.preferences == ("node.labels.rack", "node.labels.zone")
    assert made.environment["COURSEWARE_LEASE_SECONDS"] == "90"
    assert made.policy is not None and made.policy.site == "10.180.0.10"


def node(name: str, **its_labels: str) -> dict[str, Any]:
    return {"ID": name, "Spec": {"Labels": its_labels or None}}


@pytest.mark.parametrize(
    ("nodes", "constraints"),
    [
        ([node("a", ready="true"), node("b", ready="true")], ()),
        ([node("b"), node("a", ready="true"), node("c", ready="false")], ("node.id!=b", "node.id!=c")),
        ([node("a", ready="true"), node("b", ready="true", **{labels.DRAINING: "true"})], ("node.id!=b",)),
        ([node("a"), node("b", other="true")], None),
        ([], None),
    ],
)
def test_a_start_is_kept_from_machines_that_are_not_ready(
    nodes: list[dict[str, Any]], constraints: tuple[str, ...] | None
) -> None:
    """By their ids, so that a label that is withdrawn later ends no running server."""
    planned = replace(plan(site(kind="swarm"), course(), SAM), ready="ready", constraints=("node.role!=manager",))
    placed = kept_from_unready(planned, nodes)
    wanted = None if constraints is None else ("node.role!=manager", *constraints)
    assert (placed.constraints if placed else None) == wanted
    assert kept_from_unready(replace(planned, ready=None), nodes) == replace(planned, ready=None)


def test_machines_that_refused_are_passed_over_for_a_while() -> None:
    now = 100.0
    refusals = Refusals(60.0, lambda: now)
    refusals.note("unix:///one", "base:1", "n3")
    refusals.note("unix:///one", "base:2", "n2")
    assert refusals.machines("unix:///one", "base:1") == {"n3"}
    assert refusals.machines("unix:///other", "base:1") == frozenset()
    now = 159.0
    refusals.note("unix:///one", "base:1", "n1")
    assert refusals.machines("unix:///one", "base:1") == {"n1", "n3"}
    now = 161.0
    assert refusals.machines("unix:///one", "base:1") == {"n1"}


def test_one_host_has_no_placement_and_no_lease() -> None:
    made = plan(site(), course(placement={"constraints": ["node.role!=manager"]}), SAM)
    assert (made.constraints, made.preferences, made.ready) == ((), (), None)
    assert made.environment["COURSEWARE_LEASE_SECONDS"] == "0"


def test_runtime_is_the_sites() -> None:
    assert plan(site(runtime="runsc"), course(), SAM).runtime == "runsc"


def test_local_spawner_has_no_plan() -> None:
    docker = site()
    with pytest.raises(ValueError, match="`local` spawner runs no containers"):
        plan_container(a_site(), course(), SAM, surroundings(docker))


def test_servers_of_one_learner_share_a_home_and_nothing_else() -> None:
    one, other = plan(site(), course(), SAM), plan(site(), course(), replace(SAM, server="lab"))
    assert one.name != other.name
    assert other == replace(one, name=other.name, labels={**one.labels, labels.SERVER: "lab"})


def test_ids_are_high_and_apart() -> None:
    everybody = {
        learner_id(site_id, course_id, user)
        for site_id in ("s1", "s2")
        for course_id in ("alpha", "beta")
        for user in ("sam", "Sam", "日本", "a" * 64, *(f"student-{n}" for n in range(500)))
    }
    groups = {course_group(site_id, course_id) for site_id in ("s1", "s2") for course_id in ("alpha", "beta")}
    assert len(everybody) == 4 * 504 and len(groups) == 4 and not everybody & groups
    assert all(100_000 <= number < 2**31 for number in everybody | groups)
    assert learner_id("s1", "alpha", "sam") == learner_id("s1", "alpha", "sam")


KANJI = "日本大学数学物理化学統計講座学生山田田中鈴木佐藤高橋伊藤渡辺"


def ten_thousand_names() -> list[str]:
    """Users as they come: Japanese, long addresses, twins in case and in normal form, and near misses."""
    chance = random.Random(5)
    names = [f"student-{n:05}" for n in range(4000)]
    names += ["".join(chance.choice(KANJI) for _ in range(chance.randint(3, 30))) + str(n) for n in range(2000)]
    names += [
        (f"{n:04}" + "very.long.address.of.a.student@" + "faculty.example-university.ac.jp")[:64] for n in range(2000)
    ]
    names += [f"{'x' * 60}{n:04}" for n in range(500)]
    names += [f"{'x' * 59}.{n:04}" for n in range(500)]
    for n in range(250):
        names += [f"Ünïté-{n}", unicodedata.normalize("NFD", f"ünïté-{n}"), f"a.b{n}", f"a-b{n}"]
    return names


def test_b05_names_of_objects_are_unique_and_short() -> None:
    raw = ten_thousand_names()
    assert len(raw) == 10_000 and len(set(raw)) == 10_000
    users = sorted({valid_name(name) for name in raw})
    assert len(users) == 10_000 - 250, "twins in case and in normal form are one user each"
    courses = [("site-1", "alpha"), ("site-1", "alpha-beta"), ("site-2", "alpha")]
    names = [
        server_name(site_id, course_id, user, server)
        for (site_id, course_id), user, server in itertools.product(courses, users, ("", "lab"))
    ]
    assert len(set(names)) == len(names) == 3 * 9750 * 2
    assert max(map(len, names)) <= 63
    assert all(name.isascii() and name.replace("-", "").isalnum() and name == name.lower() for name in names)
    assert len({server_name("site-1", "alpha", name) for name in raw}) == 10_000, "nor does any spelling meet another"
    assert len({home_name(user) for user in users}) == len(users)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("s", "alpha", "sam", "x"), ("s", "alpha", "sam x", "")),
        (("s", "alpha", "x-sam", ""), ("s", "alpha-x", "sam", "")),
        (("s-1", "alpha", "sam", ""), ("s", "alpha", "sam", "1")),
        (("s", "alpha", "Sam", ""), ("s", "alpha", "sam", "")),
    ],
)
def test_names_that_read_alike_are_different(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert server_name(*one) != server_name(*other)


def test_names_tell_course_and_user() -> None:
    assert server_name("site-1", "alpha", "sam").startswith("jupyter-alpha-sam-site-1-")


@pytest.mark.parametrize(
    ("usual", "more", "wanted", "image"),
    [
        (None, [], "", "teaching/base:1"),
        (None, [], "evil:1", "teaching/base:1"),
        ("own:1", [], "teaching/base:1", "own:1"),
        ("own:1", ["r:1"], "", "own:1"),
        ("own:1", ["r:1"], "r:1", "r:1"),
        ("own:1", ["r:1"], "own:1", "own:1"),
        ("own:1", ["r:1"], "r:2", "own:1"),
        (None, ["r:1"], "r:1", "r:1"),
        (None, ["r:1"], "teaching/base:1", "teaching/base:1"),
    ],
)
def test_a14_the_image_is_one_of_the_courses(usual: str | None, more: list[str], wanted: str, image: str) -> None:
    made = course(images=more, **({"image": usual} if usual else {}))
    chosen = plan(site(), made, replace(SAM, image=wanted))
    assert (chosen.image, chosen.labels[labels.IMAGE]) == (image, image)
    # Nothing else of a container follows from it.
    usual_plan = plan(site(), made, SAM)
    same = {"image": "", "command": (), "labels": {}}
    assert replace(chosen, **same) == replace(usual_plan, **same)
