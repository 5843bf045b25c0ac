"""What is looked at from inside a learner's container: network, posture, and what happens to whoever takes too much.

Each snippet is the source of a Python program without imports of ours, which prints one line of JSON. It runs in a
container (`run_in`), or as a cell of a learner's notebook.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

from support.beds import CACHE
from support.engines import Engine
from support.netns import run

PYTHON = "courseware-test/python:bookworm"
"""A small Debian with Python and iptables."""

OPEN, CLOSED, FILTERED, UNKNOWN = "open", "closed", "filtered", "unknown"
"""Something answers; the machine says that nobody listens; packets do not pass; the name leads nowhere."""

Target = tuple[str, int, str]
"""Address or name, port, `tcp` or `udp`."""


def provide_python(engine: Engine) -> str:
    """Have an image with Python and iptables on this engine, and in its registry; its name."""
    if engine.docker("images", "--quiet", PYTHON):
        return PYTHON
    if not engine.registry.holds(PYTHON):
        engine.docker("import", "--change", 'CMD ["bash"]', str(_archive()), PYTHON, timeout=600)
        engine.publish(PYTHON)
    engine.provide(PYTHON)
    return PYTHON


def _archive() -> Any:
    """Its files, made once with debootstrap."""
    archive = CACHE / "debian-python.tar"
    if not archive.exists():
        root = CACHE / f"debian-python-{os.getpid()}"
        partial = CACHE / f"debian-python-{os.getpid()}.tar"
        run("debootstrap", "--variant=minbase", "--include=python3,iptables", "bookworm", root, timeout=1800)
        leave_out = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
        run("tar", "-C", root, *(f"--exclude=./{path}/*" for path in leave_out), "-cf", partial, ".", timeout=600)
        shutil.rmtree(root)
        partial.rename(archive)
    return archive


def run_in(engine: Engine, container: str, source: str, timeout: float = 120) -> Any:
    """What a snippet found in a running container."""
    said = engine.docker("exec", "--interactive", container, "python3", "-", given=source, timeout=timeout)
    return json.loads(said.splitlines()[-1])


# --- network -----------------------------------------------------------------------------------

_CONNECTIONS = r"""
import concurrent.futures, errno, json, socket
TARGETS = json.loads({targets!r})
SECONDS = {seconds!r}
def probe(target):
    address, port, kind = target
    try:
        family, _, _, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        return "unknown"
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as s:
        s.settimeout(SECONDS)
        try:
            s.connect(place)
            if kind == "tcp":
                return "open"
            s.send(b"probe")
            return "open" if s.recv(100) else "filtered"
        except ConnectionRefusedError:
            return "closed"
        except OSError:
            return "filtered"
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    found = list(pool.map(probe, TARGETS))
print(json.dumps([[*target, state] for target, state in zip(TARGETS, found)]))
"""


def connections(targets: Iterable[Target], seconds: float = 2.0) -> str:
    """The snippet that tries to reach each target, waiting `seconds` for it; `reached` reads its answer."""
    return _CONNECTIONS.format(targets=json.dumps(list(targets)), seconds=seconds)


def reached(answer: Iterable[Iterable[Any]]) -> Mapping[Target, str]:
    """The state of each target: OPEN, CLOSED, FILTERED or UNKNOWN."""
    return {(address, port, kind): state for address, port, kind, state in answer}


LISTENERS = r"""
import json, selectors, socket, sys
chosen = selectors.DefaultSelector()
for address, port, kind in json.loads(sys.argv[1]):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # two runs of the tests at the same time
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((address, port))
    if kind == "tcp":
        s.listen(64)
    chosen.register(s, selectors.EVENT_READ, kind)
print("listening", flush=True)
while True:
    for key, _ in chosen.select():
        if key.data == "tcp":
            connection, _ = key.fileobj.accept()
            connection.close()
        else:
            data, sender = key.fileobj.recvfrom(100)
            key.fileobj.sendto(data, sender)
"""
"""Listens at every (address, port, `tcp` or `udp`) of its first argument, a JSON list; prints a line when it does."""
