"""Asking a course's hub, through the site's front door, to stop a server."""

from __future__ import annotations

import http.client
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from coursewarehub.deploy.nodes import Server
from coursewarehub.wire.paths import course_prefix

_TIMEOUT: Final = 90  # seconds; a hub may have to wake up first
_DONE: Final = frozenset({202, 204, 404})
"""Stopping, stopped, and not known (any more)."""


@dataclass(frozen=True)
class Door:
    """The site's front door: where it listens, and by which name it is known (that of its certificate).

    `certificate` is a file with the site's own certificate, which is trusted besides those of the system.
    """

    address: str
    port: int
    name: str
    tls: bool = False
    certificate: str | None = None


def server_path(server: Server) -> str:
    """Return the path of a server in the API of its course's hub."""
    user = f"{course_prefix(server.course)}hub/api/users/{quote(server.user, safe='')}"
    return f"{user}/servers/{quote(server.server, safe='')}" if server.server else f"{user}/server"


def stop(door: Door, server: Server, token: str) -> str | None:
    """Ask the hub to stop a server; return None, or one sentence about why it could not be asked."""
    connection = _connection(door)
    try:
        headers = {"Host": door.name, "Authorization": f"token {token}"}
        connection.request("DELETE", server_path(server), headers=headers)
        status = connection.getresponse().status
    except ssl.SSLError as error:
        return f"the hub of {server.course} was not asked: the site's certificate is not to be trusted ({error.reason})"
    except (OSError, http.client.HTTPException):
        return f"the hub of {server.course} does not answer; its servers end with the node, and it finds that out later"
    finally:
        connection.close()
    return None if status in _DONE else f"the hub of {server.course} did not stop a server (HTTP {status})"


class _Named(http.client.HTTPSConnection):
    """Connects to an address, and expects the certificate of a name."""

    def __init__(self, door: Door, context: ssl.SSLContext) -> None:
        super().__init__(door.address, door.port, timeout=_TIMEOUT)
        self._name = door.name.partition(":")[0]
        self._trusting = context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._trusting.wrap_socket(self.sock, server_hostname=self._name)


def _connection(door: Door) -> http.client.HTTPConnection:
    if not door.tls:
        return http.client.HTTPConnection(door.address, door.port, timeout=_TIMEOUT)
    context = ssl.create_default_context()
    if door.certificate is not None:
        context.load_verify_locations(door.certificate)
    return _Named(door, context)
