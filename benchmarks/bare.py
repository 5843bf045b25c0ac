"""What one machine can start at most: ``xargs -P8 docker run --detach`` of a learner's image, until all answer.

``python -m benchmarks.bare ENGINE ADDRESS IMAGE COMMAND COUNT`` runs on the machine of a test bed, whose address is
ADDRESS, and prints, as JSON, the seconds from the start of `xargs` to the first answer of each container. The servers
find a hub that agrees to everything.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

PORT = 8888
PAUSE = 0.05
NAME = "bare-"
HUB_VERSION = version("jupyterhub")


class Hub(BaseHTTPRequestHandler):
    """Says yes to all that a server asks when it starts."""

    def do_GET(self) -> None:
        """Answer with nothing."""
        self.send_response(200)
        self.send_header("X-JupyterHub-Version", HUB_VERSION)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_POST(self) -> None:
        """The same."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


def main(engine: str, address: str, image: str, command: str, count: str) -> list[float]:
    """Seconds until each container answered, in the order in which they did."""
    docker = ["docker", "-H", engine]
    with ThreadingHTTPServer((address, 0), Hub) as hub:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        run = [
            *docker,
            "run",
            "--detach",
            "--name",
            f"{NAME}@",
            *_environment(address, hub.server_port),
            image,
            command,
        ]
        begin = time.monotonic()
        names = "\n".join(map(str, range(int(count))))
        with subprocess.Popen(
            ["xargs", "-P8", "-I@", *run], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        ) as xargs:
            assert xargs.stdin is not None
            xargs.stdin.write(names)
            xargs.stdin.close()
            times = asyncio.run(_all_answer(docker, int(count), begin))
        hub.shutdown()
    return times


def _environment(address: str, port: int) -> list[str]:
    """Options of ``docker run``: what a hub tells a server."""
    api = f"http://{address}:{port}/hub/api"
    told = {
        "JUPYTERHUB_SERVICE_URL": f"http://0.0.0.0:{PORT}/user/x/",
        "JUPYTERHUB_SERVICE_PREFIX": "/user/x/",
        "JUPYTERHUB_API_URL": api,
        "JUPYTERHUB_ACTIVITY_URL": f"{api}/users/x/activity",
        "JUPYTERHUB_API_TOKEN": "x",
        "JUPYTERHUB_CLIENT_ID": "x",
        "JUPYTERHUB_USER": "x",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_BASE_URL": "/",
    }
    return [word for name, value in told.items() for word in ("--env", f"{name}={value}")]


async def _all_answer(docker: Sequence[str], count: int, begin: float) -> list[float]:
    known: dict[str, asyncio.Task[float]] = {}
    while len(known) < count:
        listed = _printed(*docker, "ps", "--quiet", "--no-trunc", "--filter", f"name={NAME}").split()
        new = [container for container in listed if container not in known]
        if new:
            addresses = _printed(*docker, "inspect", "--format", "{{.NetworkSettings.IPAddress}}", *new).split()
            for container, address in zip(new, addresses, strict=True):
                known[container] = asyncio.create_task(_answers(address, begin))
        await asyncio.sleep(4 * PAUSE)
    return sorted(await asyncio.gather(*known.values()))


async def _answers(address: str, begin: float) -> float:
    while True:
        try:
            reader, writer = await asyncio.open_connection(address, PORT)
            writer.write(b"GET /user/x/api HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            status = await reader.readline()
            writer.close()
        except OSError:
            status = b""
        if b" 200 " in status:
            return time.monotonic() - begin
        await asyncio.sleep(PAUSE)


def _printed(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
