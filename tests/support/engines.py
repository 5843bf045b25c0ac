"""A real Docker Engine for tests, with mounts, a name and (but for builds) a network of its own.

Inside, everything is where it is on any host: `/var/run/docker.sock`, `/var/run/docker/netns`. Outside, the same are
`engine.socket` and `engine.netns`. `engine.inside(...)` runs a command as on that machine.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from support.beds import CACHE, NETWORKS, Slot, slot
from support.netns import Namespace, run
from support.registry import Registry
from support.sites import alive, eventually

BASE = "debian:bookworm-slim"
_EQUALS = 16  # how many services a bed weighs as much as, beside the processes outside of it

# Arguments: name of the machine, the engine's run folder on the host.
# All mounts made here stay here, but those in the run folder, which are seen on both sides.
# /run is empty as after a boot; resolv.conf may be a link into it.
BOOT = r"""
set -eu
hostname "$1"
findmnt -rno TARGET,PROPAGATION | while read -r target kind; do
    case "$target $kind" in "$2 "*) ;; *shared*) mount --make-slave "$target" ;; esac
done
resolv=$(readlink -f /etc/resolv.conf || true); servers=$(cat /etc/resolv.conf 2>/dev/null || true)
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/docker /run/lock
mount --bind "$2" /run/docker
[ -e "$resolv" ] || { mkdir -p "$(dirname "$resolv")"; echo "$servers" >"$resolv"; }
echo up
exec sleep infinity
"""


class Engine:
    """One dockerd. `network` None: the host's own network, for builds."""

    def __init__(self, place: Slot, name: str, network: Namespace | None, registry: Registry, **settings: Any) -> None:
        self.place = place
        self.name = name
        self.network = network
        self.registry = registry
        self.settings = settings
        self.folder = place.folder / name
        self.run_folder = self.folder / "run"
        self.machine: subprocess.Popen[bytes] | None = None  # holds the namespaces while no engine runs
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return self.network.address if self.network else self.place.bridge.address

    @property
    def socket(self) -> Path:
        """The engine's socket as the host sees it."""
        return self.folder / "sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def netns(self) -> Path:
        """The network namespaces of its containers, as the host sees them."""
        return self.run_folder / "netns"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def running(self) -> bool:
        return self.process is not None and alive(self.process.pid)

    # Life

    def open(self) -> None:
        """Start it, with the images of earlier runs and nothing else of them."""
        self.launch()
        self.wait()
        self.remove_all()

    def launch(self) -> None:
        """Boot the machine if need be, and start dockerd, without waiting."""
        if self.machine is None:
            self._boot()
        start = ("sh", "-c", f'{self.join("engine")}exec dockerd --config-file "{self.folder / "daemon.json"}"')
        with self.log.open("ab") as log:
            command = self.inside(*start, folder=Path("/"))
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def _boot(self) -> None:
        for stale in ("swarm", "network"):
            shutil.rmtree(self.folder / "data" / stale, ignore_errors=True)
        shutil.rmtree(self.run_folder, ignore_errors=True)
        (self.folder / "pid").unlink(missing_ok=True)
        self.run_folder.mkdir(parents=True)
        (self.folder / "daemon.json").write_text(json.dumps(self.configuration(), indent=1))
        run("mount", "--bind", self.run_folder, self.run_folder)
        run("mount", "--make-shared", self.run_folder)
        enter = ["nsenter", f"--net={self.network.path}"] if self.network else []
        unshare = ["unshare", "--mount", "--uts", "--propagation", "unchanged"]
        script = self.join("engine") + BOOT
        command = [*enter, *unshare, "sh", "-c", script, "boot", self.name, str(self.run_folder)]
        with self.log.open("wb") as log:
            self.machine = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
        assert self.machine.stdout is not None
        assert self.machine.stdout.readline() == b"up\n", f"{self.name} did not boot; {self.log.read_text()}"

    @property
    def cgroup(self) -> str:
        """The control group of its containers; each has one of its id in it."""
        return f"{self.place.cgroup}/{self.name}"

    def configuration(self) -> dict[str, Any]:
        """What is in its daemon.json."""
        return {
            "data-root": str(self.folder / "data"),
            "exec-root": "/run/docker",
            "pidfile": str(self.folder / "pid"),
            "hosts": [self.url, "unix:///var/run/docker.sock"],
            "cgroup-parent": self.cgroup,
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "no-new-privileges": True,
            "insecure-registries": [NETWORKS],
            "shutdown-timeout": 2,
            **({} if self.network else {"bridge": "none", "iptables": False, "ip6tables": False}),
            **self.settings,
        }

    def join(self, part: str) -> str:
        """Shell commands that put a process into a control group of the machine.

        Systemd gives each service of a machine a group, beside those of containers, so that they share processor time
        as equals. So does this; without it, one thread of an engine weighs as much as all containers.
        """
        root = Path("/sys/fs/cgroup")
        unified = (root / "cgroup.procs").exists()
        lines = []
        for hierarchy in (root,) if unified else (root / "pids", root / "cpu"):
            bed = hierarchy / self.place.name
            group = bed / f"{self.name}-{part}"
            group.mkdir(parents=True, exist_ok=True)
            weight = bed / ("cpu.weight" if unified else "cpu.shares")
            if weight.exists():
                weight.write_text(f"{(100 if unified else 1024) * _EQUALS}")
            lines.append(f'echo $$ >"{group / "cgroup.procs"}"\n')
        return "".join(lines)

    def wait(self) -> None:
        """Until it answers."""
        eventually(self._answers, 60)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"dockerd ended; {self.log.read_text()[-2000:]}"
        try:
            return bool(self.api("GET", "/_ping", timeout=2) == "OK")
        except OSError:
            return False

    def remove_all(self) -> None:
        """Remove its containers and unused networks and volumes."""
        self.remove_containers()
        self.docker("network", "prune", "--force")
        self.docker("volume", "prune", "--force")

    def remove_containers(self) -> None:
        """Remove its containers, also while Swarm stops them."""

        def none_left() -> bool:
            containers = self.docker("ps", "-aq", "--no-trunc").split()
            if containers:
                self.docker("rm", "--force", "--volumes", *containers, check=False)
            return not containers

        eventually(none_left, 60)

    def stop(self) -> None:
        """SIGTERM, as `systemctl stop docker`: it stops its containers and ends."""
        if self.process is not None and self.process.poll() is None:
            self.thaw()
            self.process.terminate()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.kill()

    def close(self) -> None:
        """Stop it and switch the machine off."""
        self.stop()
        if self.machine is not None:
            self.machine.kill()
            self.machine.wait(timeout=10)
            self.machine = None

    def kill(self) -> None:
        """SIGKILL to dockerd alone: its containers go on, nobody looks after them."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=10)

    def freeze(self) -> None:
        """SIGSTOP to dockerd: its socket takes connections and nobody answers; its containers go on."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if self.running():
            os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """As `systemctl restart docker`: its containers are stopped."""
        self.stop()
        self.start()

    def start(self) -> None:
        """Start it again after `stop` or `kill`; it knows what it knew."""
        containerd = self.run_folder / "containerd" / "containerd.pid"
        if containerd.exists() and not alive(int(containerd.read_text())):
            containerd.unlink()  # dockerd would take a process that nobody reaped for a running one
        self.launch()
        self.wait()

    # Use

    def docker(self, *arguments: str, check: bool = True, timeout: float = 120, given: str | None = None) -> str:
        """What `docker ARGUMENTS` prints."""
        return run("docker", "-H", self.url, *arguments, check=check, timeout=timeout, given=given)

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """`docker inspect` of a container, service, node, network, ..."""
        found: list[dict[str, Any]] = json.loads(self.docker("inspect", "--type", kind, name))
        return found[0]

    def api(self, method: str, path: str, body: Any = None, timeout: float = 30, **query: Any) -> Any:
        """One request to its API; RuntimeError with status and words when refused, OSError without an answer."""
        words = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in query.items()}
        connection = _UnixConnection(self.socket, timeout)
        try:
            text = None if body is None else json.dumps(body)
            target = f"{path}?{urlencode(words)}" if words else path
            connection.request(method, target, text, {"Content-Type": "application/json"} if text else {})
            answer = connection.getresponse()
            said = answer.read().decode()
        finally:
            connection.close()
        if answer.status >= 400:
            raise RuntimeError(f"{answer.status} {said.strip()}")
        return (
            json.loads(said) if answer.getheader("Content-Type", "").startswith("application/json") and said else said
        )

    def inside(self, *command: str, folder: Path | None = None) -> list[str]:
        """The command line that runs `command` as on this machine: its network, mounts and name."""
        assert self.machine is not None
        enter = ["nsenter", "--target", str(self.machine.pid), "--mount", "--uts", "--net"]
        return [*enter, f"--wd={folder or Path.cwd()}", *command]

    def into(self, container: str) -> list[str]:
        """The beginning of a command line that runs a host's command in the network of a container."""
        key = self.docker("inspect", "--format", "{{.NetworkSettings.SandboxKey}}", container)
        return ["nsenter", f"--net={self.netns / Path(key).name}"]

    def within(self, container: str, *command: str, check: bool = True, given: str | None = None) -> str:
        """Run a host's command in the network of a container."""
        return run(*self.into(container), *command, check=check, given=given)

    def group(self, container: str, controller: str) -> Path:
        """Folder with a container's numbers of one controller: in a hierarchy of its own, or in the one there is."""
        root = Path("/sys/fs/cgroup")
        identifier = self.docker("inspect", "--format", "{{.Id}}", container)
        folder = f"{self.place.name}/{self.name}/{identifier}"
        return root / folder if (root / "cgroup.procs").exists() else root / controller / folder

    def memory(self, container: str) -> tuple[int, int]:
        """The most that a container ever had, and its limit, in bytes."""
        group = self.group(container, "memory")
        old = group / "memory.limit_in_bytes"
        files = ("memory.max_usage_in_bytes", old.name) if old.exists() else ("memory.peak", "memory.max")
        most, limit = (int((group / file).read_text()) for file in files)
        return most, limit

    def logs(self, container: str) -> list[Path]:
        """Files in which the engine keeps what a container said."""
        identifier = self.docker("inspect", "--format", "{{.Id}}", container)
        return sorted((self.folder / "data" / "containers" / identifier).glob("*-json.log*"))

    def provide(self, image: str) -> str:
        """Have an image of the bed's registry here, under its short name too; its name with the registry."""
        full = f"{self.registry.address}/{image}"
        if not self.docker("images", "--quiet", full):
            self.docker("pull", "--quiet", full, timeout=600)
        self.docker("tag", full, image)
        return full

    def publish(self, image: str) -> str:
        """Push a local image to the bed's registry; its name there."""
        full = f"{self.registry.address}/{image}"
        self.docker("tag", image, full)
        self.docker("push", "--quiet", full, timeout=600)
        return full


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def base_archive() -> Path:
    """The files of a small Debian, made once with debootstrap."""
    archive = CACHE / "debian.tar"
    if not archive.exists():
        root = CACHE / f"debian-{os.getpid()}"
        partial = CACHE / f"debian-{os.getpid()}.tar"
        run("debootstrap", "--variant=minbase", "bookworm", root, timeout=1800)
        leave_out = (
            "./var/cache/apt",
            "./var/lib/apt/lists",
            "./usr/share/doc",
            "./usr/share/man",
            "./usr/share/locale",
        )
        run("tar", "-C", root, *(f"--exclude={path}/*" for path in leave_out), "-cf", partial, ".", timeout=600)
        shutil.rmtree(root)
        partial.rename(archive)
    return archive


def provide_base(engine: Engine) -> str:
    """Have the small Debian on this engine (and in its registry) as `debian:bookworm-slim`."""
    if not engine.registry.holds(BASE):
        engine.docker("import", "--change", 'CMD ["bash"]', str(base_archive()), BASE, timeout=600)
        return engine.publish(BASE)
    return engine.provide(BASE)


class EngineBed:
    """One machine with Docker, and a registry beside it."""

    def __init__(self, place: Slot, registry: Registry, engine: Engine) -> None:
        self.place = place
        self.registry = registry
        self.engine = engine
        self.storage = place.storage

    def reset(self) -> None:
        """Nothing but images is left on it, whatever a test did."""
        self.engine.thaw()
        if not self.engine.running():
            self.engine.start()
        self.engine.remove_all()


@contextmanager
def engine_bed(name: str = "host", **settings: Any) -> Iterator[EngineBed]:
    """One machine with a real Docker Engine; settings of its daemon.json may be changed by name."""
    with slot("engine") as place, Registry.running(place) as registry:
        network = place.machine(name, 11)
        network.open()
        engine = Engine(place, name, network, registry, **settings)
        try:
            engine.open()
            provide_base(engine)
            yield EngineBed(place, registry, engine)
        finally:
            engine.close()


@contextmanager
def builder(place: Slot, registry: Registry) -> Iterator[Engine]:
    """An engine in the host's own network, for builds that need the outside."""
    engine = Engine(place, "builder", None, registry)
    try:
        engine.open()
        provide_base(engine)
        yield engine
    finally:
        engine.close()
