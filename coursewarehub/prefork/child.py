"""What a freshly forked process does before it runs its program."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import random
import resource
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

from coursewarehub.prefork.kinds import program
from coursewarehub.wire.prefork import Event, ProcessLimits, StartRequest

_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)

_USUAL_OPEN_FILES = 4096
"""For a request that names no limit; the parent's own is as high as the system allows."""

_EVENT_BYTES = {Event.READY: b"r", Event.SLEEPING: b"s"}
EVENTS = {code: event for event, code in _EVENT_BYTES.items()}


def become_subreaper() -> None:
    """Orphans among our descendants become our children instead of init's (prctl(2))."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def set_name(name: str) -> None:
    """The name shown by `ps -o comm` and `top`, 15 bytes."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def apply_limits(limits: ProcessLimits) -> None:
    """Lower the resource limits; a limit above the hard one is cut to it. Core dumps are off."""
    wanted = {
        resource.RLIMIT_DATA: limits.data_bytes,
        resource.RLIMIT_NOFILE: limits.open_files or _USUAL_OPEN_FILES,
        resource.RLIMIT_NPROC: limits.processes,
        resource.RLIMIT_CORE: 0,
    }
    for which, value in wanted.items():
        if value is None:
            continue
        hard = resource.getrlimit(which)[1]
        lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (lowered, lowered))
    if limits.cores is not None:
        _keep_to_cores(limits.cores)


def _keep_to_cores(count: int) -> None:
    """Run on `count` of the cores this process may use, spread over the machine by pid."""
    available = sorted(os.sched_getaffinity(0))
    if count < len(available):
        first = os.getpid() % len(available)
        os.sched_setaffinity(0, [available[(first + i) % len(available)] for i in range(count)])


@dataclass(frozen=True)
class ChildTask:
    """A child's work, to be run after the parent's own stack has been left."""

    kind: str
    request: StartRequest
    environment: int
    """Descriptor of the file with the environment, which only this process reads."""
    listening: socket.socket | None
    status_pipe: int
    inherited: object
    """The parent's objects, kept from being finalised: they would close descriptors that are ours by now."""

    def run(self) -> int:
        """Set the process up and run the program; its exit status."""
        self._detach()
        tell = self._teller()
        try:
            return program(self.kind)(dict(os.environ), self.listening, tell)
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else int(stop.code is not None)

    def _detach(self) -> None:
        request = self.request
        os.setsid()
        become_subreaper()
        set_name(request.name)
        self._redirect(request.log_file)
        self._close_other_descriptors()
        with os.fdopen(self.environment, "rb") as source:
            environment = json.load(source)
        os.environ.clear()
        os.environ.update(environment)
        os.umask(0o077)
        os.chdir(request.directory)
        sys.argv = [request.name]
        random.seed()
        apply_limits(request.limits)
        gc.enable()

    def _redirect(self, log_file: str) -> None:
        null = os.open(os.devnull, os.O_RDONLY)
        log = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(null, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)

    def _close_other_descriptors(self) -> None:
        kept = {self.status_pipe, self.environment}
        if self.listening is not None:
            kept.add(self.listening.fileno())
        first = 3
        for descriptor in sorted(kept):
            os.closerange(first, descriptor)
            first = descriptor + 1
        os.closerange(first, resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    def _teller(self) -> Callable[[str], None]:
        def tell(event: str) -> None:
            with contextlib.suppress(OSError):
                os.write(self.status_pipe, _EVENT_BYTES[Event(event)])

        return tell


def reset_signals() -> None:
    """Default signal handling again, nothing blocked."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
