"""Stock JupyterHub with DockerSpawner or SwarmSpawner, on a machine of a test bed.

All is its default, the time-outs too, but for the address, the data folder, the login (dummy), the image, the command
(JupyterHub's own) and the network.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from benchmarks.beds import Host
from benchmarks.processes import Command, StackError, clean_environment
from benchmarks.stack import PASSWORD, Address, Stack, free_ports
from benchmarks.stock import proxy_folder, sys_bin
from benchmarks.tasks import stock_configuration

_HUB = """\
c.JupyterHub.bind_url = "http://{bind}:{port}/courses/{course}/"
c.JupyterHub.hub_ip = "0.0.0.0"
c.JupyterHub.hub_connect_ip = {connect!r}
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {password!r}
c.Authenticator.allow_all = True
c.DockerSpawner.image = {image!r}
c.DockerSpawner.cmd = [{command!r}]
"""
_PATIENT = """
c.Spawner.start_timeout = c.Spawner.http_timeout = 600
"""


class StockContainers(Stack):
    """One hub on the machine, whose servers are containers."""

    name = "stock"
    spawner: ClassVar[str]

    def __init__(self, host: Host, *, command: str, patient: bool) -> None:
        super().__init__(1)
        self._host = host
        self._port = free_ports(1)[0]
        course = self.courses[0].id
        self.courses = [Address(course, f"http://{host.facts.address}:{self._port}/courses/{course}/")]
        hub = _HUB.format(
            course=course,
            bind=self._bind_ip(),
            port=self._port,
            connect=self._connect_ip(),
            password=PASSWORD,
            image=host.facts.images["singleuser"],
            command=command,
        )
        self._configuration = self.folder / "jupyterhub_config.py"
        self._configuration.write_text(hub + self.spawner + (_PATIENT if patient else ""))
        self._environment = clean_environment(
            {"PATH": os.pathsep.join([sys_bin(), proxy_folder(), os.environ.get("PATH", "")])}
        )
        self._environment.pop("PYTHONPATH", None)

    def _bind_ip(self) -> str:
        """Where the proxy listens."""
        return self._host.facts.address

    def _connect_ip(self) -> str:
        """Where containers reach the hub."""
        raise NotImplementedError

    def _placed(self, command: list[str]) -> list[str]:
        return self._host.placed(command, self.folder)

    def start(self) -> None:
        """Run the hub, which runs its proxy."""
        command = [str(Path(sys_bin(), "python")), "-m", "jupyterhub"]
        self._commands.append(Command(self._placed(command), self.folder, self._environment))

    def token(self, course: Address) -> str:
        """There is none: students come with browsers."""
        raise StackError(f"stock: {course.id} has no token")

    @property
    def entry(self) -> str:
        """The course."""
        return self.courses[0].url

    def stop(self) -> None:
        """Stop the hub, then remove the containers it leaves."""
        super().stop()
        self._host.reset()


class StockDocker(StockContainers):
    """With DockerSpawner: containers on Docker's own bridge, their ports published on the loopback interface."""

    spawner = """
c.JupyterHub.spawner_class = "docker"
"""

    def _connect_ip(self) -> str:
        return self._host.facts.address


class StockSwarm(StockContainers):
    """With SwarmSpawner: the hub is where a container on the servers' network is, as when it is a service."""

    spawner = """
c.JupyterHub.spawner_class = "docker-swarm"
c.SwarmSpawner.network_name = "stock"
c.SwarmSpawner.extra_endpoint_spec = {"mode": "dnsrr"}  # the kernel may lack IPVS
"""

    def __init__(self, host: Host, *, command: str, patient: bool) -> None:
        super().__init__(host, command=command, patient=patient)
        self.measured = self.folder / "measured"
        with self._configuration.open("a") as file:
            file.write(stock_configuration(self.measured))
        self._resolver, self._hosts = self.folder / "resolv.conf", self.folder / "hosts"
        self._resolver.write_text("nameserver 127.0.0.11\noptions ndots:0\n")
        machine = host.docker("info", "--format", "{{.Name}}")
        self._hosts.write_text(f"127.0.0.1 localhost {machine}\n")

    def _bind_ip(self) -> str:
        return "0.0.0.0"

    def _connect_ip(self) -> str:
        return "stock-hub"

    def start(self) -> None:
        """Make the network, hold a place on it, and run the hub there."""
        docker = self._host.docker
        docker("network", "create", "--driver", "overlay", "--attachable", "stock")
        place = ("--name", "stock-hub", "--network", "stock", "--publish", f"{self._port}:{self._port}", "--init")
        docker("run", "--detach", *place, self._host.facts.base, "sleep", "infinity")
        super().start()

    def _placed(self, command: list[str]) -> list[str]:
        key = self._host.docker("inspect", "--format", "{{.NetworkSettings.SandboxKey}}", "stock-hub")
        mounts = f'mount --bind "{self._resolver}" /etc/resolv.conf && mount --bind "{self._hosts}" /etc/hosts'
        named = f'{mounts} && exec "$@"'
        inside = ["nsenter", f"--net={key}", "unshare", "--mount", "sh", "-c", named, "sh", *command]
        return super()._placed(inside)
