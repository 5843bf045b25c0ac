"""The test bed with one engine is what the other tests take it for."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.beds import Slot, clean, mounts_below
from support.engines import BASE, Engine, EngineBed
from support.faults import frozen, full, missing, small_disk
from support.netns import namespaces, processes_below, run
from support.sites import alive, eventually

pytestmark = pytest.mark.slow


def test_the_base_is_the_registrys(engine: Engine) -> None:
    digests = engine.inspect("image", BASE)["RepoDigests"]
    assert any(digest.startswith(f"{engine.registry.address}/debian@sha256:") for digest in digests)


def test_the_engine_gives_no_new_privileges(engine: Engine) -> None:
    said = engine.docker("run", "--rm", BASE, "grep", "-E", "^(NoNewPrivs|Seccomp):", "/proc/self/status")
    assert said.split() == ["NoNewPrivs:", "1", "Seccomp:", "2"]


def test_inside_all_is_where_it_is_on_any_host(engine: Engine) -> None:
    container = engine.docker("run", "--detach", BASE, "sleep", "100")
    key = engine.docker("inspect", "--format", "{{.NetworkSettings.SandboxKey}}", container)
    script = (
        f"hostname; docker ps --quiet --no-trunc; nsenter --net={key} ip -o -4 addr show eth0; ip -o -4 addr show eth0"
    )
    said = run(*engine.inside("sh", "-c", script)).splitlines()
    assert said[:2] == [engine.name, container]
    assert "172.17.0." in said[2]
    assert engine.address in said[3]


def test_the_host_sees_a_containers_network(engine: Engine) -> None:
    container = engine.docker("run", "--detach", BASE, "sleep", "100")
    assert "172.17.0." in engine.within(container, "ip", "-o", "-4", "addr", "show", "eth0")


def test_the_engine_does_not_touch_the_hosts_network(engine: Engine) -> None:
    engine.docker("run", "--detach", "--publish", "8099:80", BASE, "sleep", "100")
    assert "8099" in run(*engine.inside("iptables-save"))
    assert "8099" not in run("iptables-save")


def test_containers_reach_the_registry_and_the_host_a_published_port(bed: EngineBed) -> None:
    call = f"exec 3<>/dev/tcp/{bed.registry.network.address}/5000; echo in"
    assert bed.engine.docker("run", "--rm", BASE, "bash", "-c", call) == "in"
    perl = (
        "use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => 80, Listen => 1); $s->accept->print('it is me')"
    )
    bed.engine.docker("run", "--detach", "--publish", "8099:80", BASE, "perl", "-e", perl)

    def answer() -> bytes:
        with contextlib.suppress(OSError), socket.create_connection((bed.engine.address, 8099), 1) as connection:
            return connection.recv(100)
        return b""

    assert eventually(answer) == b"it is me"


def test_an_api_answer_and_a_refusal(engine: Engine) -> None:
    assert engine.api("GET", "/version")["ApiVersion"]
    with pytest.raises(RuntimeError, match=r"404 .*No such container"):
        engine.api("GET", "/containers/nobody/json")


def test_a_frozen_engine_does_not_answer_and_its_containers_go_on(engine: Engine, tmp_path: Path) -> None:
    script = "while :; do date +%s%N >/out/now; sleep 0.05; done"
    engine.docker("run", "--detach", "--volume", f"{tmp_path}:/out", BASE, "sh", "-c", script)
    eventually((tmp_path / "now").exists)
    with frozen(engine):
        with pytest.raises(OSError):
            engine.api("GET", "/info", timeout=0.5)
        before = (tmp_path / "now").read_text()
        eventually(lambda: (tmp_path / "now").read_text() not in ("", before))
    assert engine.api("GET", "/info")["ContainersRunning"] == 1


def test_a_restarted_engine_has_stopped_its_containers_and_knows_them(engine: Engine) -> None:
    container = engine.docker("run", "--detach", "--init", BASE, "sleep", "100")
    engine.restart()
    assert engine.inspect("container", container)["State"]["Status"] == "exited"


def test_a_killed_engine_leaves_its_containers_running(bed: EngineBed) -> None:
    container = bed.engine.docker("run", "--detach", "--init", BASE, "sleep", "100")
    pid = bed.engine.inspect("container", container)["State"]["Pid"]
    bed.engine.kill()
    assert alive(pid)
    bed.reset()
    assert bed.engine.docker("ps", "-aq") == ""
    eventually(lambda: not alive(pid))


def test_a_small_disk_in_the_storage_fills_up_for_containers(bed: EngineBed) -> None:
    write = ("run", "--rm", "--volume", f"{bed.storage}:{bed.storage}", BASE, "sh", "-c")
    with small_disk(bed.storage / "homes", 2) as homes:
        command = f"echo text >{homes}/new && cat {homes}/new && rm {homes}/new"
        assert bed.engine.docker(*write, command) == "text"
        with full(homes), pytest.raises(AssertionError, match=r"I/O error|No space left"):
            bed.engine.docker(*write, command)
        assert bed.engine.docker(*write, command) == "text"
    assert list((bed.storage / "homes").iterdir()) == []


def test_a_missing_folder_is_missing_for_the_engine_alone(bed: EngineBed) -> None:
    mount = ("run", "--rm", "--mount", f"type=bind,source={bed.storage},target=/s", BASE, "true")
    with missing(bed.engine, bed.storage):
        with pytest.raises(AssertionError, match="bind source path does not exist"):
            bed.engine.docker(*mount)
        assert bed.storage.is_dir()
    bed.engine.docker(*mount)


# A bed whose process dies. Its lock lives on in a `cat` for as long as the test wants, so that nobody else cleans up.
CRASH = """
import os, subprocess, sys
sys.path[:0] = [{tests!r}]
from support.engines import BASE, engine_bed
with engine_bed() as bed:
    bed.engine.docker("run", "--detach", BASE, "sleep", "1000")
    descriptors = map(int, os.listdir("/proc/self/fd"))
    lock = next(fd for fd in descriptors if os.path.realpath(f"/proc/self/fd/{{fd}}") == str(bed.place.lock))
    subprocess.Popen(["cat"], stdout=subprocess.DEVNULL, pass_fds=[lock])
    print(bed.place.number, bed.engine.pid, flush=True)
    os.kill(os.getpid(), 9)
"""


def test_what_a_crashed_bed_leaves_is_removed(bed: EngineBed) -> None:
    code = CRASH.format(tests=str(Path(__file__).parents[1]))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as crashing:
        number, pid = map(int, crashing.stdout.readline().split())
        assert crashing.wait(60) == -9
        place = Slot("engine", number)
        assert place != bed.place
        assert alive(pid) and left_of(place) == ["namespaces", "mounts", "processes", "links"]
        clean(place)
        assert not alive(pid) and left_of(place) == []


def left_of(place: Slot) -> list[str]:
    left = {
        "namespaces": namespaces(f"{place.name}-"),
        "mounts": mounts_below(place.folder),
        "processes": processes_below(place.cgroup),
        "links": place.name in run("ip", "-o", "link") + run("iptables-save"),
    }
    return [what for what, found in left.items() if found]
