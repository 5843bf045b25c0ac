"""Run a learner's server in this process, as a forked child would, up to its first answer; print its cost as JSON.

With `--stock` it is JupyterHub's own single-user server, with the same imports done beforehand: the unit of time.
"""

from __future__ import annotations

import http.server
import json
import os
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable


class FakeHub(http.server.BaseHTTPRequestHandler):
    """Says yes to everything a starting server asks its hub."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("X-JupyterHub-Version", "6.1.1")
        self.end_headers()
        self.wfile.write(b"{}")

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


def stock(tell: Callable[[str], None]) -> None:
    """JupyterHub's single-user server as it is, but for saying when it listens."""
    from jupyter_server.serverapp import ServerApp
    from jupyterhub.singleuser.extension import JupyterHubSingleUser

    class App(ServerApp):
        def _bind_http_server_tcp(self) -> bool:
            bound: bool = super()._bind_http_server_tcp()
            tell("ready")
            return bound

    class Server(JupyterHubSingleUser):
        serverapp_class = App

        @classmethod
        def get_extension_package(cls) -> str:
            return "jupyterhub"

    Server.launch_instance(argv=["--allow-root"])


def main() -> None:
    from coursewarehub.prefork.kinds import program, warm_up

    warm_up("server")
    hub = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    home = tempfile.mkdtemp()
    api = f"http://127.0.0.1:{hub.server_port}/hub/api"
    os.environ.update(
        HOME=home,
        JUPYTERHUB_SERVICE_URL="http://127.0.0.1:0",
        JUPYTERHUB_SERVICE_PREFIX="/user/x/",
        JUPYTERHUB_API_URL=api,
        JUPYTERHUB_ACTIVITY_URL=f"{api}/activity",
        JUPYTERHUB_API_TOKEN="x",
        JUPYTERHUB_CLIENT_ID="x",
        JUPYTERHUB_USER="x",
        JUPYTERHUB_HOST="",
        JUPYTERHUB_BASE_URL="/",
        JUPYTERHUB_DISABLE_USER_CONFIG="1",
        JUPYTERHUB_ROOT_DIR=home,
    )
    os.chdir(home)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    if "--stock" in sys.argv:
        listening.close()
        os.environ["JUPYTERHUB_SERVICE_URL"] = f"http://127.0.0.1:{port}"
    known = set(sys.modules)
    counting = "--calls" in sys.argv
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    if counting:
        sys.setprofile(count)
    begin = time.process_time()

    def tell(_: str) -> None:
        sys.setprofile(None)

        def ask() -> None:
            assert urllib.request.urlopen(f"http://127.0.0.1:{port}/user/x/api", timeout=30).status == 200
            spent = time.process_time() - begin
            late = sorted(set(sys.modules) - known)
            figures = {"cpu": spent, "calls": calls, "modules": len(known), "late_modules": len(late)}
            print(json.dumps({**figures, "late": late}), flush=True)
            os._exit(0)

        threading.Thread(target=ask).start()

    if "--stock" in sys.argv:
        stock(tell)
    else:
        program("server")(dict(os.environ), listening, tell)


if __name__ == "__main__":
    main()
