"""The stack compared against: one stock JupyterHub with its own configurable-http-proxy per course.

Everything is JupyterHub's default except the address, the data folder, the login (dummy), the
spawner (simple local processes), an API token, and limits that are raised so that no start is
refused or given up: stock is never made slower than it is.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.processes import Command, StackError, clean_environment
from benchmarks.stack import PASSWORD, Address, Stack, free_ports

PROXY = "configurable-http-proxy"
PROXY_REQUIREMENT = f"{PROXY}@5"
CACHE = Path(__file__).resolve().parent / ".cache"

CONFIGURATION = """\
c.JupyterHub.bind_url = "http://127.0.0.1:{port}/courses/{course}/"
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {password!r}
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r}
c.Spawner.args = ["--allow-root"]
c.JupyterHub.concurrent_spawn_limit = {limit}
c.Spawner.start_timeout = c.Spawner.http_timeout = 600
c.JupyterHub.services = [{{"name": "benchmark", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [
    {{
        "name": "benchmark",
        "services": ["benchmark"],
        "scopes": ["admin:users", "admin:servers", "access:servers"],
    }}
]
"""


class Stock(Stack):
    """`courses` stock hubs, each in a folder of its own."""

    name = "stock"

    def __init__(self, courses: int, students: int = 1) -> None:
        super().__init__(courses)
        self._tokens = {course.id: secrets.token_hex(32) for course in self.courses}
        self._environment = clean_environment(
            {"PATH": os.pathsep.join([sys_bin(), proxy_folder(), os.environ.get("PATH", "")])}
        )
        self._environment.pop("PYTHONPATH", None)
        self.courses = [dataclasses.replace(course, url=self._write(course, students)) for course in self.courses]

    def _write(self, course: Address, students: int) -> str:
        folder = self.folder / course.id
        folder.mkdir()
        port, hub_port, api_port = free_ports(3)
        (folder / "jupyterhub_config.py").write_text(
            CONFIGURATION.format(
                course=course.id,
                port=port,
                hub_port=hub_port,
                api_port=api_port,
                password=PASSWORD,
                homes=str(folder / "homes" / "{username}"),
                limit=max(100, students),
                token=self._tokens[course.id],
            )
        )
        return f"http://127.0.0.1:{port}/courses/{course.id}/"

    def start(self) -> None:
        """Run all hubs at the same time; each runs its own proxy."""
        for course in self.courses:
            command = [sys.executable, "-m", "jupyterhub"]
            self._commands.append(Command(command, self.folder / course.id, self._environment))

    def token(self, course: Address) -> str:
        """The token that the hub's configuration names."""
        return self._tokens[course.id]

    @property
    def entry(self) -> str:
        """The first course: stock has nothing above its hubs."""
        return self.courses[0].url


def sys_bin() -> str:
    """The folder of the running interpreter's commands (``jupyterhub-singleuser`` among them)."""
    return str(Path(sys.executable).parent)


def proxy_folder() -> str:
    """The folder with configurable-http-proxy, installed by npm into the cache if missing."""
    found = shutil.which(PROXY)
    if found:
        return str(Path(found).parent)
    folder = CACHE / "node_modules" / ".bin"
    if not (folder / PROXY).exists():
        _install_proxy()
    return str(folder)


def proxy_version() -> str:
    """What configurable-http-proxy calls itself."""
    command = [str(Path(proxy_folder(), PROXY)), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _install_proxy() -> None:
    if shutil.which("npm") is None:
        raise StackError(f"stock: install Node with npm, or put {PROXY} on PATH")
    CACHE.mkdir(exist_ok=True)
    command = ["npm", "install", "--prefix", str(CACHE), "--no-audit", "--no-fund"]
    done = subprocess.run([*command, PROXY_REQUIREMENT], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StackError(f"stock: npm could not install {PROXY}: {done.stderr.strip()[-500:]}")
