"""What the two stacks have in common, so that every benchmark treats them alike."""

from __future__ import annotations

import socket
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.processes import Command, StackError, stop

PASSWORD = "benchmark-password"


@dataclass(frozen=True)
class Address:
    """One course as a client sees it; `url` ends with a slash, the hub is at ``<url>hub/``."""

    id: str
    url: str

    @property
    def login(self) -> str:
        """The page that a student signs in on."""
        return f"{self.url}hub/login"

    @property
    def api(self) -> str:
        """JupyterHub's REST API of this course, without a slash at the end."""
        return f"{self.url}hub/api"


class Stack(ABC):
    """Courses in a temporary folder, stopped and removed on leaving the ``with`` block."""

    name: str

    def __init__(self, courses: int) -> None:
        self._commands: list[Command] = []
        self.left_over = 0
        self._temporary = tempfile.TemporaryDirectory(prefix="chb-", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        self.courses = [Address(f"course-{number:03}", "") for number in range(1, courses + 1)]

    @abstractmethod
    def start(self) -> None:
        """Run the commands and return at once; `check` tells when they fail later."""

    @abstractmethod
    def token(self, course: Address) -> str:
        """An API token with administrator's scopes for this course's running hub."""

    @property
    @abstractmethod
    def entry(self) -> str:
        """The URL a student opens first."""

    def check(self) -> None:
        """Raise `StackError` when one of the commands has ended."""
        for command in self._commands:
            try:
                command.check()
            except StackError as error:
                raise StackError(f"{self.name}: {error}") from None

    def stop(self) -> None:
        """Stop everything that was started; the data stay, so `start` may follow."""
        self.left_over += stop(self._commands)
        self._commands = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._temporary.cleanup()


def free_ports(count: int) -> list[int]:
    """Different TCP ports that nobody listened on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
