"""`python tiny_parent.py FOLDER [SECONDS [FILES]]`: a real prefork parent, whose children run a few lines only.

The lines come with the request, in the variable `DO`; they see `environment`, `listening` and `tell`, and may
call `leave(status)`. With SECONDS, the parent loses the processor for so long after each fork; FILES limits its
open files.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from socket import socket
from typing import NoReturn

from coursewarehub.prefork import child, parent


def leave(status: int = 0) -> NoReturn:
    sys.exit(status)


def tiny(environment: Mapping[str, str], listening: socket | None, tell: Callable[[str], None]) -> int:
    names = {"environment": environment, "listening": listening, "tell": tell, "leave": leave}
    exec(environment.get("DO", "tell('ready')\nimport time\ntime.sleep(600)"), names)
    return 0


def main(folder: Path, pause: float = 0.0, open_files: int = 0) -> int:
    if open_files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))
    child.program = lambda _kind: tiny
    fork = os.fork

    def slow_fork() -> int:
        pid = fork()
        if pid:
            time.sleep(pause)
        return pid

    if pause:
        os.fork = slow_fork
    serving = parent.Parent("server", folder)
    task = serving.serve()
    return 0 if task is None else task.run()


if __name__ == "__main__":
    given = [*sys.argv[2:], "0", "0"]
    sys.exit(main(Path(sys.argv[1]), float(given[0]), int(given[1])))
