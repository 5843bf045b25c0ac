"""Loopback ports that stay the same over restarts.

A learner's server knows its hub by address, so a hub must come back where it was. Ports lie below the range the
kernel hands out by itself (32768 and above), so that nothing takes one by accident.
"""

from __future__ import annotations

import errno
import json
import socket
import zlib
from pathlib import Path

from coursewarehub.state.files import replace_text

FIRST, LAST = 20000, 31999


class PortBook:
    """Remembers a port for each name in one JSON file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            known = json.loads(file.read_text())
        except (OSError, ValueError):
            known = {}
        items = known.items() if isinstance(known, dict) else ()
        self._ports: dict[str, int] = {str(k): v for k, v in items if isinstance(v, int)}

    def get(self, name: str) -> int | None:
        """The port that was used for `name` last."""
        return self._ports.get(name)

    def listen(self, name: str, backlog: int = 1024) -> socket.socket:
        """A socket listening on 127.0.0.1 at the port of `name`; another port only if that one is taken.

        OSError when no port of the range is free.
        """
        for port in self._candidates(name):
            try:
                listening = listen_on("127.0.0.1", port, backlog)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            self._remember(name, port)
            return listening
        raise OSError(errno.EADDRINUSE, f"no free port between {FIRST} and {LAST}")

    def reserve(self, name: str) -> int:
        """A free port for a program that binds it itself."""
        with self.listen(name) as listening:
            port: int = listening.getsockname()[1]
        return port

    def _candidates(self, name: str) -> list[int]:
        span = LAST - FIRST + 1
        start = zlib.crc32(f"{self.file}:{name}".encode()) % span
        taken = set(self._ports.values())
        fresh = [FIRST + (start + i) % span for i in range(500)]
        known = self._ports.get(name)
        return ([known] if known else []) + [port for port in fresh if port not in taken]

    def _remember(self, name: str, port: int) -> None:
        if self._ports.get(name) != port:
            self._ports[name] = port
            replace_text(self.file, json.dumps(self._ports, indent=1, sort_keys=True))


def listen_on(host: str, port: int, backlog: int = 1024) -> socket.socket:
    """A non-blocking listening TCP socket; OSError (EADDRINUSE) when somebody listens there already."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(backlog)
    except BaseException:
        listening.close()
        raise
    listening.setblocking(False)
    return listening
