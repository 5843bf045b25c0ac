"""Open edX's consumer code (`lti-consumer-xblock`) as a process, in a virtual environment that is made once.

Its dependencies (Django and much else) do not belong beside JupyterHub's, so it has an environment of its own, in the
folder where the suite keeps what is costly to make.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.beds import CACHE

PACKAGES = ("lti-consumer-xblock==11.4.4", "pyjwt[crypto]", "jsonschema")
PROGRAM = Path(__file__).with_name("openedx_consumer.py")


def environment() -> Path:
    """The Python of the environment; of two that ask at the same time, one makes it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / f"openedx-{PACKAGES[0].rpartition('=')[2]}-{sys.version_info.major}.{sys.version_info.minor}"
    with (CACHE / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run([folder / "bin" / "pip", "install", "-q", *PACKAGES], check=True)
            (folder / "complete").touch()
    return folder / "bin" / "python"


class OpenEdx:
    """The running process; each order is a function of `openedx_consumer` and what it needs."""

    def __init__(self, process: subprocess.Popen[str], **always: Any) -> None:
        self.process = process
        self.always = always

    def __call__(self, do: str, **order: Any) -> Any:
        """Give an order; the answer. AssertionError when the process has ended instead."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, **self.always, **order}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"Open edX's code has ended at {do}"
        return json.loads(line)


@contextmanager
def running_openedx() -> Iterator[OpenEdx]:
    """Open edX's consumer, ended afterwards."""
    process = subprocess.Popen([environment(), "-P", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield OpenEdx(process)
    finally:
        process.kill()
        process.wait(timeout=10)
