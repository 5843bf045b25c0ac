"""Read by a Python inside a container: start `COMMAND`, and print what its first answer cost, as JSON.

`cpu` and `wall` in seconds, from the start of the command to the first answer with status 200; `program` is what runs.
"""

import http.client
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

PORT = 8888


class Hub(http.server.BaseHTTPRequestHandler):
    """Says yes to everything a starting server asks its hub."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("X-JupyterHub-Version", "6.1.1")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def log_message(self, *args):
        pass


def answers():
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
    try:
        connection.request("GET", "/user/x/api")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def spent(pid):
    """Processor seconds of a process and of the children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


hub = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=hub.serve_forever, daemon=True).start()
api = f"http://127.0.0.1:{hub.server_port}/hub/api"
environment = {
    **os.environ,
    "JUPYTERHUB_SERVICE_URL": f"http://0.0.0.0:{PORT}/user/x/",
    "JUPYTERHUB_SERVICE_PREFIX": "/user/x/",
    "JUPYTERHUB_API_URL": api,
    "JUPYTERHUB_ACTIVITY_URL": f"{api}/users/x/activity",
    "JUPYTERHUB_API_TOKEN": "x",
    "JUPYTERHUB_CLIENT_ID": "x",
    "JUPYTERHUB_USER": "x",
    "JUPYTERHUB_HOST": "",
    "JUPYTERHUB_BASE_URL": "/",
    "JUPYTERHUB_ROOT_DIR": os.environ["HOME"],
}
begin = time.monotonic()
with open("/tmp/server.log", "wb") as log:
    server = subprocess.Popen(sys.argv[1:], env=environment, stdout=log, stderr=log)
while not answers():
    if server.poll() is not None or time.monotonic() > begin + 120:
        sys.exit(Path("/tmp/server.log").read_text()[-2000:])
    time.sleep(0.005)
figures = {"wall": round(time.monotonic() - begin, 3), "cpu": spent(server.pid)}
words = Path(f"/proc/{server.pid}/cmdline").read_text().split("\0")
figures["program"] = next(Path(word).name for word in words if word.endswith("singleuser"))
print(json.dumps(figures), flush=True)
server.kill()
