"""Every state of tasks and containers, as a start and as a poll asks for it, and every reason in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from coursewarehub.engine import states
from coursewarehub.engine.states import (
    CONTAINER_STATES,
    TASK_STATES,
    Condition,
    Facts,
    Reason,
    moment,
    of_container,
    of_task,
    reason_of_container,
    reason_of_task,
    reason_of_words,
)

STARTING, RUNNING, ENDED, FAILED = Condition.STARTING, Condition.RUNNING, Condition.ENDED, Condition.FAILED
LOST, UNKNOWN = Condition.LOST, Condition.UNKNOWN
MIB, GIB = 1 << 20, 1 << 30

# What a start does with each state, and what a poll answers: is it still there?
WAIT, UP, GIVE_UP = "wait", "up", "give up"
ALIVE, OVER, OUT_OF_REACH = "alive", "over", "out of reach"

TASKS = [
    ("new", WAIT, ALIVE),
    ("allocated", WAIT, ALIVE),
    ("pending", WAIT, ALIVE),
    ("assigned", WAIT, ALIVE),
    ("accepted", WAIT, ALIVE),
    ("preparing", WAIT, ALIVE),
    ("ready", WAIT, ALIVE),
    ("starting", WAIT, ALIVE),
    ("running", UP, ALIVE),
    ("complete", GIVE_UP, OVER),
    ("shutdown", GIVE_UP, OVER),
    ("failed", GIVE_UP, OVER),
    ("rejected", GIVE_UP, OVER),
    ("remove", GIVE_UP, OVER),
    ("orphaned", GIVE_UP, OUT_OF_REACH),
]
CONTAINERS = [
    ({"Status": "created"}, WAIT, ALIVE),
    ({"Status": "created", "Error": "no such program", "ExitCode": 127}, GIVE_UP, OVER),
    ({"Status": "restarting", "ExitCode": 1}, WAIT, ALIVE),
    ({"Status": "running", "ExitCode": 0}, UP, ALIVE),
    ({"Status": "running", "OOMKilled": True}, UP, ALIVE),
    ({"Status": "paused"}, UP, ALIVE),
    ({"Status": "removing"}, GIVE_UP, OVER),
    ({"Status": "exited", "ExitCode": 0}, GIVE_UP, OVER),
    ({"Status": "exited", "ExitCode": 1}, GIVE_UP, OVER),
    ({"Status": "dead"}, GIVE_UP, OVER),
]


def as_a_start(condition: Condition) -> str:
    if condition is RUNNING:
        return UP
    return WAIT if condition in {STARTING, UNKNOWN} else GIVE_UP


def as_a_poll(condition: Condition) -> str:
    if condition is LOST:
        return OUT_OF_REACH
    return OVER if condition.is_over else ALIVE


# --- conditions --------------------------------------------------------------------------------


def test_the_tables_have_every_state() -> None:
    assert [state for state, _, _ in TASKS if state not in TASK_STATES] == []
    assert set(TASK_STATES) == {state for state, _, _ in TASKS}
    assert set(CONTAINER_STATES) == {state["Status"] for state, _, _ in CONTAINERS}


@pytest.mark.parametrize(("state", "start", "_poll"), TASKS)
@pytest.mark.parametrize("node", ["ready", None])
def test_s3_a_start_and_each_state_of_a_task(state: str, start: str, _poll: str, node: str | None) -> None:
    assert as_a_start(of_task(state, "running", node)) == start


@pytest.mark.parametrize(("state", "_start", "poll"), TASKS)
@pytest.mark.parametrize("node", ["ready", None])
def test_s3_a_poll_and_each_state_of_a_task(state: str, _start: str, poll: str, node: str | None) -> None:
    assert as_a_poll(of_task(state, "running", node)) == poll


@pytest.mark.parametrize(("state", "start", "_poll"), CONTAINERS)
def test_s3_a_start_and_each_state_of_a_container(state: dict[str, Any], start: str, _poll: str) -> None:
    assert as_a_start(of_container(state)) == start


@pytest.mark.parametrize(("state", "_start", "poll"), CONTAINERS)
def test_s3_a_poll_and_each_state_of_a_container(state: dict[str, Any], _start: str, poll: str) -> None:
    assert as_a_poll(of_container(state)) == poll


@pytest.mark.parametrize(
    ("state", "desired", "node", "condition"),
    [
        # S8, S9: a machine that does not answer is neither "runs" nor "ended".
        ("running", "running", "down", LOST),
        ("running", "shutdown", "down", LOST),
        ("starting", "running", "down", LOST),
        ("assigned", "running", "down", LOST),
        ("pending", "running", "down", LOST),
        ("running", "running", "disconnected", UNKNOWN),
        ("running", "running", "unknown", UNKNOWN),
        ("preparing", "running", "unknown", UNKNOWN),
        # What has ended has ended, wherever it was.
        ("complete", "shutdown", "down", ENDED),
        ("failed", "shutdown", "down", FAILED),
        ("rejected", "shutdown", "unknown", FAILED),
        ("orphaned", "shutdown", "ready", LOST),
        # With restart policy `none` Swarm wants what failed to be shut down.
        ("failed", "shutdown", "ready", FAILED),
        ("rejected", "shutdown", "ready", FAILED),
        ("complete", "shutdown", "ready", ENDED),
        # On its way down it is up.
        ("running", "shutdown", "ready", RUNNING),
        ("running", "remove", "ready", RUNNING),
        ("preparing", "shutdown", "ready", STARTING),
        # Without a machine, and not to get one any more.
        ("pending", "shutdown", None, ENDED),
        ("new", "remove", None, ENDED),
        # An update: the new one waits for the old one.
        ("ready", "ready", "ready", STARTING),
        # A state of a Docker to come is no reason to stop a server.
        ("hibernating", "running", "ready", UNKNOWN),
        ("", "", None, UNKNOWN),
    ],
)
def test_task_machine_and_what_swarm_wants(state: str, desired: str, node: str | None, condition: Condition) -> None:
    assert of_task(state, desired, node) is condition


@pytest.mark.parametrize(
    ("state", "condition"),
    [
        ({"Status": "exited", "ExitCode": 137}, FAILED),
        ({"Status": "exited", "ExitCode": 143}, ENDED),
        ({"Status": "exited", "ExitCode": 130}, ENDED),
        ({"Status": "exited"}, ENDED),
        ({"Status": "exited", "ExitCode": 0, "Error": "broken"}, FAILED),
        ({"Status": "hibernating"}, UNKNOWN),
        ({}, UNKNOWN),
    ],
)
def test_how_a_container_ended(state: dict[str, Any], condition: Condition) -> None:
    assert of_container(state) is condition


WORDS = {WAIT: "wait", UP: "up", GIVE_UP: "give up, with the reason", ALIVE: "there", OVER: "over"}
PAGE = Path(__file__).parents[3] / "docs/explanation/truth-about-state.md"


@pytest.mark.parametrize(
    ("first", "states"), [("State of a task", TASK_STATES), ("State of a container", CONTAINER_STATES)]
)
def test_the_page_has_the_tables(first: str, states: Mapping[str, Condition]) -> None:
    text = PAGE.read_text(encoding="utf-8").split(f"| {first} |")[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]
    assert rows == [
        [f"`{state}`", condition, WORDS[as_a_start(condition)], WORDS.get(as_a_poll(condition), OUT_OF_REACH)]
        for state, condition in states.items()
    ]


# --- reasons of tasks --------------------------------------------------------------------------

SPEC = {
    "ContainerSpec": {"Image": "lab:1"},
    "Resources": {
        "Limits": {"MemoryBytes": 2 * GIB},
        "Reservations": {"MemoryBytes": 2 * GIB, "NanoCPUs": 500_000_000},
    },
}
OCI = "starting container failed: failed to create shim task: OCI runtime create failed: runc create failed: "
NO_FIT = "No machine is ready for this course: its image or its folder is missing there, or `placement` excludes it."
CREATED = "2026-11-25T10:00:00.123456789Z"


def task(state: str, error: str = "", code: int | None = None, ended: str = CREATED, **spec: Any) -> dict[str, Any]:
    status: dict[str, Any] = {"State": state, "Timestamp": ended}
    if error:
        status["Err"] = error
    if code is not None:
        status["ContainerStatus"] = {"ExitCode": code}
    return {"Status": status, "DesiredState": "running", "CreatedAt": CREATED, "Spec": SPEC | spec}


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (task("rejected", "No such image: lab:1"), "The image lab:1 is not on the machine n2."),
        (
            task("rejected", 'invalid mount config for type "bind": bind source path does not exist: /srv/homes/a b'),
            "The folder /srv/homes/a b is missing on the machine n2.",
        ),
        (
            task("rejected", "node is missing network attachments, ip addresses may be exhausted"),
            "No address is free in the course's network: the course is full.",
        ),
        (
            task("rejected", "Minimum memory limit allowed is 6MB"),
            "The memory limit is too small for the program to start.",
        ),
        (task("rejected", "no space left on device"), "The disk of the machine n2 is full."),
        (
            task(
                "failed",
                OCI + 'unable to start container process: exec: "lab": executable file not found in $PATH',
                127,
            ),
            "The image lab:1 has no program lab.",
        ),
        (
            task("failed", OCI + 'unable to start container process: exec: "/lab": permission denied: unknown', 126),
            "The program /lab of the image lab:1 may not be executed.",
        ),
        (
            task(
                "failed",
                OCI + 'process_linux.go:545: container init caused: exec: "/x": stat /x: no such file or directory',
            ),
            "The image lab:1 has no program /x.",
        ),
        (
            task("failed", "task: non-zero exit (127)", 127),
            "The image lab:1 has no such program as it is told to run (exit status 127).",
        ),
        (task("failed", "task: non-zero exit (1)", 1), "The program ended at once (exit status 1)."),
        (
            task("failed", "task: non-zero exit (1)", 1, "2026-11-25T11:00:00.1Z"),
            "The program ended (exit status 1).",
        ),
        (
            task("failed", "task: non-zero exit (137)", 137),
            "It was killed, most likely because it used more memory than the 2.0 GB it may (exit status 137).",
        ),
        (task("failed", "task: non-zero exit (137)", 137, Resources={}), "It was killed (exit status 137)."),
        (
            task("pending", "no suitable node (insufficient resources on 3 nodes)"),
            "No machine has room: 2.0 GB of memory and 0.5 processor cores are asked for.",
        ),
        (
            task(
                "pending",
                "no suitable node (insufficient resources on 2 nodes; scheduling constraints not satisfied on 1 node)",
                Resources={"Reservations": {"MemoryBytes": 3 * GIB // 2}},
            ),
            "No machine has room: 1.5 GB of memory are asked for.",
        ),
        (
            task(
                "pending",
                "no suitable node (insufficient resources on 1 node)",
                Resources={"Reservations": {"NanoCPUs": 8e9}},
            ),
            "No machine has room: 8 processor cores are asked for.",
        ),
        (
            task(
                "pending",
                "no suitable node (insufficient resources on 1 node)",
                Resources={"Reservations": {"NanoCPUs": 1e9}},
            ),
            "No machine has room: one processor core is asked for.",
        ),
        (
            task(
                "pending",
                "no suitable node (insufficient resources on 1 node)",
                Resources={"Reservations": {"MemoryBytes": GIB, "NanoCPUs": 1e9}},
            ),
            "No machine has room: 1.0 GB of memory and one processor core are asked for.",
        ),
        (
            task("pending", "no suitable node (insufficient resources on 1 node)", Resources=None),
            "No machine has room.",
        ),
        (
            task(
                "pending",
                "no suitable node (1 node not available for new tasks; scheduling constraints not satisfied on 1 node)",
            ),
            NO_FIT,
        ),
        (
            task("pending", "no suitable node (3 nodes not available for new tasks)"),
            "No machine is in service: all are drained, paused or down.",
        ),
        (task("pending", "no suitable node"), "No machine is in service: all are drained, paused or down."),
        (
            task("pending", "no suitable node (unsupported platform on 3 nodes)"),
            "No machine has the kind of processor that the image lab:1 is made for.",
        ),
        (
            task("pending", "no suitable node (missing plugin on 3 nodes)"),
            "No machine has the plugin that this course needs.",
        ),
        (task("new"), "No address is free in the course's network: the course is full."),
        (
            task("rejected", "Cannot mkdir: /etc/passwd is not a directory\nand more"),
            "The machine n2 could not start it: Cannot mkdir: /etc/passwd is not a directory and more.",
        ),
    ],
)
def test_f21_f22_f23_reason_of_a_task(what: dict[str, Any], reason: str) -> None:
    assert reason_of_task(what, "n2", "ready") == reason


@pytest.mark.parametrize("state", ["pending", "assigned", "preparing", "running", "complete", "shutdown"])
def test_nothing_to_tell_of_a_task(state: str) -> None:
    assert reason_of_task(task(state), "n2", "ready") is None


@pytest.mark.parametrize(
    ("state", "machine", "reason"),
    [
        ("running", "n2", "The machine n2 does not answer."),
        ("starting", "n2", "The machine n2 does not answer."),
        ("orphaned", "", "The machine on which it ran has left."),
    ],
)
def test_f06_reason_of_a_lost_task(state: str, machine: str, reason: str) -> None:
    assert reason_of_task(task(state), machine, "down") == reason


# --- reasons of containers ---------------------------------------------------------------------


def container(memory: int = 2 * GIB, **state: Any) -> dict[str, Any]:
    return {
        "State": {"Status": "exited", "StartedAt": CREATED, "FinishedAt": CREATED} | state,
        "Config": {"Image": "lab:1"},
        "HostConfig": {"Memory": memory},
    }


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        (container(ExitCode=1), "The program ended at once (exit status 1)."),
        (container(ExitCode=1, FinishedAt="2026-11-25T10:05:00Z"), "The program ended (exit status 1)."),
        (container(ExitCode=1, StartedAt="0001-01-01T00:00:00Z"), "The program ended (exit status 1)."),
        (container(ExitCode=137, OOMKilled=True), "It was stopped because it used more memory than the 2.0 GB it may."),
        (
            container(30 * MIB, ExitCode=1, OOMKilled=True),
            "It was stopped because it used more memory than the 30 MB it may.",
        ),
        (container(ExitCode=137, OOMKilled=False), "It was killed (exit status 137)."),
        (container(0, ExitCode=137, OOMKilled=True), "It was killed (exit status 137)."),
        (
            container(
                Status="created", ExitCode=127, Error=OCI + 'exec: "lab": executable file not found in $PATH: unknown'
            ),
            "The image lab:1 has no program lab.",
        ),
        (
            container(Status="created", ExitCode=128, Error="No available addresses on this pool"),
            "No address is free in the course's network: the course is full.",
        ),
        (
            container(
                Status="created", ExitCode=128, Error="Could not attach to network n: desc = network n not found"
            ),
            "The course's network is missing.",
        ),
        (container(ExitCode=0), None),
        (container(ExitCode=143), None),
        (container(Status="running", OOMKilled=True), None),
    ],
)
def test_f24_reason_of_a_container(what: dict[str, Any], reason: str | None) -> None:
    assert reason_of_container(what) == reason


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("No such image: lab:1", "The image lab:1 is not on this machine."),
        ("pull access denied for other/lab, repository does not exist", "The image other/lab is not on this machine."),
        (
            "manifest for r.example/lab:9 not found: manifest unknown",
            "The image r.example/lab:9 is not on this machine.",
        ),
        ('invalid mount config for type "bind": bind source path does not exist: /x', "The folder /x is missing."),
        (
            'error mounting "/x/y" to rootfs at "/z": mount /x/y:/z, flags: 0x5000: no such file or directory: unknown',
            "The folder /x/y is missing.",
        ),
        (
            "no available IPv4 addresses on this network's address pools: tiny (daf8)",
            "No address is free in the course's network: the course is full.",
        ),
        ('could not select device driver "" with capabilities: [[gpu]]', "No graphics processor is free."),
        ("Unknown runtime specified runsc", "The container runtime runsc is not installed."),
        ("unknown or invalid runtime name: runsc", "The container runtime runsc is not installed."),
        (
            "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
            "The machine has only 2 processor cores: the course's limit is higher.",
        ),
        (
            "Range of CPUs is from 0.01 to 1.00, as there are only 1 CPUs available",
            "The machine has only one processor core: the course's limit is higher.",
        ),
        ("write /x: no space left on device", "The disk is full."),
        ("something odd.", "The machine could not start it: something odd."),
        ("x" * 500, f"The machine could not start it: {'x' * 200}."),
    ],
)
def test_plain_words(words: str, reason: str) -> None:
    assert reason_of_words(words, Facts()) == reason


# --- translation -------------------------------------------------------------------------------


def test_a_reason_can_be_said_in_another_language() -> None:
    reason = reason_of_words("No such image: lab:1", Facts(machine="n2"))
    french = {"The image %(image)s is not on the machine %(machine)s.": "Image %(image)s absente de %(machine)s."}
    assert reason.translated(french.__getitem__) == "Image lab:1 absente de n2."


def test_every_template_fits_its_values() -> None:
    templates = [value for name, value in vars(states).items() if name.startswith("_") and isinstance(value, str)]
    sentences = [value for value in templates if value.endswith(".")]
    assert len(sentences) > 25
    everything = dict.fromkeys(
        ("image", "machine", "folder", "program", "memory", "cores", "status", "words", "runtime"), "X"
    )
    assert all("%" not in Reason(sentence, **everything) for sentence in sentences)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2026-11-25T10:00:00.123456789Z", datetime(2026, 11, 25, 10, 0, 0, 123456, UTC)),
        ("2026-11-25T10:00:00Z", datetime(2026, 11, 25, 10, tzinfo=UTC)),
        ("2026-11-25T19:00:00.5+09:00", datetime(2026, 11, 25, 10, 0, 0, 500000, UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        ("yesterday", None),
    ],
)
def test_points_in_time(text: str, when: datetime | None) -> None:
    assert moment(text) == when
