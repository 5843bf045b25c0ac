"""`python -m coursewarehub.singleuser`: the learner's server started cold, as an image's command does."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

from coursewarehub.singleuser import lean
from coursewarehub.wire import environment as names

# jsonschema suppresses the ImportError of this optional package, whose import alone costs about a second.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

_ANYWHERE = ("", "0.0.0.0", "::", "*")  # noqa: S104 - a container has its own network


def entry() -> int:
    """Console script; exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the server has a handler of its own
    os.umask(umask(os.environ))
    try:
        listening = listen(os.environ)
    except OSError as error:
        print(f"The server cannot listen at {os.environ.get('JUPYTERHUB_SERVICE_URL')}: {error}", file=sys.stderr)
        return 1
    lean.import_jupyterhub()
    from coursewarehub.singleuser.main import main

    return main(dict(os.environ), listening)


def umask(environment: Mapping[str, str]) -> int:
    """Who may do what with the files that are made.

    A learner's are read by the course's staff (the group of the home) and by nobody else. What the staff put into the
    shared folder, the staff write and learners read; the staff's own homes are closed by their folder's mode.
    """
    return 0o002 if environment.get(names.HOMES) else 0o027


def listen(environment: Mapping[str, str]) -> socket.socket | None:
    """A socket at the address that the hub expects, before anything is imported; None when the hub named none.

    Whoever connects from now on waits in its queue, and is answered as soon as the server can.
    """
    address = urlsplit(environment.get("JUPYTERHUB_SERVICE_URL", ""))
    if address.port is None:
        return None
    host = address.hostname or ""
    if host in _ANYWHERE and socket.has_dualstack_ipv6():
        return socket.create_server(("::", address.port), family=socket.AF_INET6, backlog=256, dualstack_ipv6=True)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server(("" if host in _ANYWHERE else host, address.port), family=family, backlog=256)


if __name__ == "__main__":
    sys.exit(entry())
