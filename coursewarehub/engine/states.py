"""What the states of tasks and containers mean, and why one did not come up, in plain words. Pure.

One table for both questions that are asked of it: is it up yet (a start), and is it still there (a poll).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from coursewarehub.i18n import N_
from coursewarehub.wire.messages import memory_size


class Condition(StrEnum):
    """What is known of a container, or of a service with one."""

    STARTING = "starting"
    """On its way."""
    RUNNING = "running"
    """Up, or stopping and not yet down."""
    ENDED = "ended"
    """Came to its end in order, or was told to."""
    FAILED = "failed"
    """Did not start, or ended with an error."""
    LOST = "lost"
    """Its machine does not answer: out of reach, perhaps still running there."""
    UNKNOWN = "unknown"
    """Nothing reliable is known; it may well run."""
    GONE = "gone"
    """The engine says that there is no such object."""

    @property
    def is_over(self) -> bool:
        """It does not run, and will not by itself."""
        return self in {Condition.ENDED, Condition.FAILED, Condition.GONE}


TASK_STATES: Final[Mapping[str, Condition]] = {
    "new": Condition.STARTING,
    "allocated": Condition.STARTING,
    "pending": Condition.STARTING,
    "assigned": Condition.STARTING,
    "accepted": Condition.STARTING,
    "preparing": Condition.STARTING,
    "ready": Condition.STARTING,
    "starting": Condition.STARTING,
    "running": Condition.RUNNING,
    "complete": Condition.ENDED,
    "shutdown": Condition.ENDED,
    "remove": Condition.ENDED,
    "failed": Condition.FAILED,
    "rejected": Condition.FAILED,
    "orphaned": Condition.LOST,
}
"""Every state that Swarm gives a task, in the order in which they follow each other."""

CONTAINER_STATES: Final[Mapping[str, Condition]] = {
    "created": Condition.STARTING,
    "restarting": Condition.STARTING,
    "running": Condition.RUNNING,
    "paused": Condition.RUNNING,
    "removing": Condition.ENDED,
    "exited": Condition.ENDED,
    "dead": Condition.FAILED,
}
"""Every state that an engine gives a container."""

_UNWANTED = frozenset({"shutdown", "remove"})
_UNPLACED = frozenset({"new", "allocated", "pending"})
_ALIVE = frozenset({Condition.STARTING, Condition.RUNNING})
_BY_REQUEST = frozenset({0, 130, 143})  # in order, SIGINT, SIGTERM


def of_task(state: str, desired: str, node_state: str | None) -> Condition:
    """What a task's state means, with the state that Swarm wants for it and that of its machine.

    `node_state` is None as long as the task has no machine; for a machine that has left the swarm it is `down`.
    A task that Swarm wants to be down is up until it is down; one that never had a machine will not get one any more.
    """
    if desired in _UNWANTED and state in _UNPLACED:
        return Condition.ENDED
    found = TASK_STATES.get(state, Condition.UNKNOWN)
    if found not in _ALIVE or node_state in {None, "ready"}:
        return found
    return Condition.LOST if node_state == "down" else Condition.UNKNOWN


def of_container(state: Mapping[str, Any]) -> Condition:
    """What `State` of an inspected container means; `Status` is needed, `ExitCode` and `Error` are looked at."""
    found = CONTAINER_STATES.get(str(state.get("Status", "")), Condition.UNKNOWN)
    if found is Condition.STARTING and state.get("Error"):
        return Condition.FAILED
    if state.get("Status") == "exited" and (state.get("Error") or state.get("ExitCode", 0) not in _BY_REQUEST):
        return Condition.FAILED
    return found


# --- reasons -----------------------------------------------------------------------------------


class Reason(str):
    """A sentence in English, which remembers what it was made of, so that it can be said in another language."""

    template: str
    values: Mapping[str, object]

    def __new__(cls, template: str, **values: object) -> Reason:
        """The template with its `%(name)s` filled."""
        reason = super().__new__(cls, template % values)
        reason.template = template
        reason.values = values
        return reason

    def translated(self, gettext: Callable[[str], str]) -> str:
        """The sentence in the language of `gettext`."""
        return gettext(self.template) % self.values


@dataclass(frozen=True)
class Facts:
    """What reasons name. `machine` is empty where there is only one."""

    image: str = ""
    machine: str = ""
    memory_limit: int = 0
    memory_asked: int = 0
    cores_asked: float = 0.0


_NO_IMAGE = N_("The image %(image)s is not on this machine.")
_NO_IMAGE_ON = N_("The image %(image)s is not on the machine %(machine)s.")
_NO_FOLDER = N_("The folder %(folder)s is missing.")
_NO_FOLDER_ON = N_("The folder %(folder)s is missing on the machine %(machine)s.")
_NO_PROGRAM = N_("The image %(image)s has no program %(program)s.")
_NO_ACCESS = N_("The program %(program)s of the image %(image)s may not be executed.")
_NO_SUCH_PROGRAM = N_("The image %(image)s has no such program as it is told to run (exit status 127).")
_NO_NETWORK = N_("The course's network is missing.")
_NO_ADDRESS = N_("No address is free in the course's network: the course is full.")
_NO_MEMORY = N_("No machine has room: %(memory)s of memory are asked for.")
_NO_CORES = N_("No machine has room: %(cores)s processor cores are asked for.")
_NO_CORE = N_("No machine has room: one processor core is asked for.")
_NO_MEMORY_OR_CORES = N_("No machine has room: %(memory)s of memory and %(cores)s processor cores are asked for.")
_NO_MEMORY_OR_CORE = N_("No machine has room: %(memory)s of memory and one processor core are asked for.")
_NO_ROOM = N_("No machine has room.")
_NO_FIT = N_(
    "No machine is ready for this course: its image or its folder is missing there, or `placement` excludes it."
)
_NO_PLATFORM = N_("No machine has the kind of processor that the image %(image)s is made for.")
_NO_PLUGIN = N_("No machine has the plugin that this course needs.")
_NO_MACHINE = N_("No machine is in service: all are drained, paused or down.")
_NO_GPU = N_("No graphics processor is free.")
_NO_RUNTIME = N_("The container runtime %(runtime)s is not installed.")
_TOO_MANY_CORES = N_("The machine has only %(cores)s processor cores: the course's limit is higher.")
_ONE_CORE = N_("The machine has only one processor core: the course's limit is higher.")
_NO_DISK = N_("The disk is full.")
_NO_DISK_ON = N_("The disk of the machine %(machine)s is full.")
_TOO_LITTLE_MEMORY = N_("The memory limit is too small for the program to start.")
_OUT_OF_MEMORY = N_("It was stopped because it used more memory than the %(memory)s it may.")
_KILLED = N_("It was killed, most likely because it used more memory than the %(memory)s it may (exit status 137).")
_KILLED_BY_SOMEBODY = N_("It was killed (exit status 137).")
_ENDED_AT_ONCE = N_("The program ended at once (exit status %(status)s).")
_ENDED = N_("The program ended (exit status %(status)s).")
NEVER_STARTED = N_("It was made and never started.")
_LOST = N_("The machine %(machine)s does not answer.")
_LEFT = N_("The machine on which it ran has left.")
_OTHER = N_("The machine could not start it: %(words)s.")
_OTHER_ON = N_("The machine %(machine)s could not start it: %(words)s.")

_AT_ONCE = timedelta(seconds=30)
_COMMAND_NOT_FOUND = 127  # what a container with an init ends with when there is no such program
_LONGEST_WORDS = 200
_NOT_FOUND = r"(?:executable file not found|no such file or directory)"


def reason_of_task(task: Mapping[str, Any], machine: str = "", node_state: str | None = None) -> Reason | None:
    """Why the task (an object of `GET /tasks`) on `machine` is not up; None when there is nothing to tell."""
    status = task.get("Status", {})
    condition = of_task(status.get("State", ""), task.get("DesiredState", ""), node_state)
    facts = _facts(task.get("Spec", {}), machine)
    if condition is Condition.LOST:
        return Reason(_LOST, machine=machine) if machine else Reason(_LEFT)
    if condition is Condition.FAILED:
        return _of_failed_task(task, facts)
    words = status.get("Err", "")
    if condition is Condition.STARTING and (words or status.get("State") == "new"):
        return reason_of_words(words, facts) if words else Reason(_NO_ADDRESS)
    return None


def reason_of_container(inspected: Mapping[str, Any]) -> Reason | None:
    """Why the container (`GET /containers/<id>/json`) is not up; None when there is nothing to tell."""
    state = inspected.get("State", {})
    facts = Facts(
        image=inspected.get("Config", {}).get("Image", ""),
        memory_limit=inspected.get("HostConfig", {}).get("Memory", 0),
    )
    if of_container(state) is not Condition.FAILED:
        return None
    if state.get("Error"):
        return reason_of_words(state["Error"], facts)
    took = _between(state.get("StartedAt", ""), state.get("FinishedAt", ""))
    return reason_of_exit(int(state.get("ExitCode", 0)), facts, out_of_memory=bool(state.get("OOMKilled")), took=took)


def reason_of_exit(
    status: int, facts: Facts, *, out_of_memory: bool | None = None, took: timedelta | None = None
) -> Reason:
    """Why a program ended that nobody asked to. `out_of_memory` None: the engine does not tell."""
    memory = memory_size(facts.memory_limit)["en"]
    if out_of_memory and facts.memory_limit:
        return Reason(_OUT_OF_MEMORY, memory=memory)
    if status == 137:
        probable = out_of_memory is None and facts.memory_limit
        return Reason(_KILLED, memory=memory) if probable else Reason(_KILLED_BY_SOMEBODY)
    if status == _COMMAND_NOT_FOUND and facts.image:
        return Reason(_NO_SUCH_PROGRAM, image=facts.image)
    return Reason(_ENDED_AT_ONCE if took is not None and took < _AT_ONCE else _ENDED, status=status)


def reason_of_words(words: str, facts: Facts) -> Reason:
    """What the engine says, in plain words."""
    line = " ".join(words.split())
    for pattern, reason in _WORDS:
        if found := re.search(pattern, line, re.IGNORECASE):
            return reason(found, facts)
    short = line if len(line) <= _LONGEST_WORDS else line[:_LONGEST_WORDS] + "..."
    if facts.machine:
        return Reason(_OTHER_ON, machine=facts.machine, words=short.rstrip("."))
    return Reason(_OTHER, words=short.rstrip("."))


def _of_failed_task(task: Mapping[str, Any], facts: Facts) -> Reason:
    status = task["Status"]
    code = status.get("ContainerStatus", {}).get("ExitCode", 0)
    if code and re.match(r"task: non-zero exit", status.get("Err", "task: non-zero exit")):
        took = _between(task.get("CreatedAt", ""), status.get("Timestamp", ""))
        return reason_of_exit(code, facts, took=took)
    return reason_of_words(status.get("Err") or status.get("Message", ""), facts)


def _facts(spec: Mapping[str, Any], machine: str) -> Facts:
    resources = spec.get("Resources") or {}
    limits = resources.get("Limits") or {}
    asked = resources.get("Reservations") or {}
    return Facts(
        image=spec.get("ContainerSpec", {}).get("Image", ""),
        machine=machine,
        memory_limit=limits.get("MemoryBytes", 0),
        memory_asked=asked.get("MemoryBytes", 0),
        cores_asked=asked.get("NanoCPUs", 0) / 1e9,
    )


def moment(text: str) -> datetime | None:
    """A point in time as engines write it (`2026-01-31T12:00:00.123456789Z`); None when it is none, or year 1."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.year > 1 else None


def _between(begin: str, end: str) -> timedelta | None:
    first, last = moment(begin), moment(end)
    return last - first if first and last else None


# The engine's words.


def _here_or_on(here: str, there: str, facts: Facts, **values: object) -> Reason:
    return Reason(there, machine=facts.machine, **values) if facts.machine else Reason(here, **values)


def _no_image(_found: re.Match[str], facts: Facts) -> Reason:
    return _here_or_on(_NO_IMAGE, _NO_IMAGE_ON, facts, image=facts.image or _found[1])


def _no_folder(found: re.Match[str], facts: Facts) -> Reason:
    return _here_or_on(_NO_FOLDER, _NO_FOLDER_ON, facts, folder=found[1])


def _no_program(found: re.Match[str], facts: Facts) -> Reason:
    return Reason(_NO_PROGRAM, image=facts.image, program=found[1])


def _no_access(found: re.Match[str], facts: Facts) -> Reason:
    return Reason(_NO_ACCESS, image=facts.image, program=found[1])


def _no_room(_found: re.Match[str], facts: Facts) -> Reason:
    memory, cores = memory_size(facts.memory_asked)["en"], f"{facts.cores_asked:g}"
    if not facts.cores_asked:
        return Reason(_NO_MEMORY, memory=memory) if facts.memory_asked else Reason(_NO_ROOM)
    if facts.memory_asked:
        return Reason(_NO_MEMORY_OR_CORE if cores == "1" else _NO_MEMORY_OR_CORES, memory=memory, cores=cores)
    return Reason(_NO_CORE if cores == "1" else _NO_CORES, cores=cores)


def _no_platform(_found: re.Match[str], facts: Facts) -> Reason:
    return Reason(_NO_PLATFORM, image=facts.image)


def _no_runtime(found: re.Match[str], _facts: Facts) -> Reason:
    return Reason(_NO_RUNTIME, runtime=found[1] or found[2])


def _too_many_cores(found: re.Match[str], _facts: Facts) -> Reason:
    return Reason(_ONE_CORE if found[1] == "1" else _TOO_MANY_CORES, cores=found[1])


def _no_disk(_found: re.Match[str], facts: Facts) -> Reason:
    return _here_or_on(_NO_DISK, _NO_DISK_ON, facts)


def _plain(template: str) -> Callable[[re.Match[str], Facts], Reason]:
    return lambda _found, _facts: Reason(template)


# The first that is found. What a scheduler lists of several machines is told by what helps most.
_WORDS: Final[tuple[tuple[str, Callable[[re.Match[str], Facts], Reason]], ...]] = (
    (r"no such image:? ?(\S*)", _no_image),
    (r"pull access denied for (\S+?),", _no_image),
    (r"manifest (?:unknown|for (\S+) not found)", _no_image),
    (r"no space left on device", _no_disk),
    (r"bind source path does not exist: (.+)", _no_folder),
    (r"bind mount source path does not exist: (.+)", _no_folder),
    (r'error (?:while )?mounting \\?"?(/[^":\\]+).* no such file or directory', _no_folder),
    (rf'exec: \\?"(.*?)\\?":.* {_NOT_FOUND}', _no_program),
    (rf'exec: \\?"(.*?)\\?": {_NOT_FOUND}', _no_program),
    (r'exec: \\?"(.*?)\\?":.*permission denied', _no_access),
    (r"container init was OOM-killed|memory limit too low|minimum memory limit", _plain(_TOO_LITTLE_MEMORY)),
    (r"no available (?:IPv4 )?addresses|could not find an available ip", _plain(_NO_ADDRESS)),
    (r"ip addresses may be exhausted", _plain(_NO_ADDRESS)),
    (r"could not select device driver .*gpu", _plain(_NO_GPU)),
    (r"unknown runtime specified (\S+)|unknown or invalid runtime name: (\S+)", _no_runtime),
    (r"as there are only (\d+) CPUs available", _too_many_cores),
    (r"network \S+ not found|no such network", _plain(_NO_NETWORK)),
    (r"insufficient resources", _no_room),
    (r"scheduling constraints not satisfied|max replicas per node", _plain(_NO_FIT)),
    (r"unsupported platform", _no_platform),
    (r"missing plugin", _plain(_NO_PLUGIN)),
    (r"not available for new tasks|no suitable node", _plain(_NO_MACHINE)),
)
