"""The test bed with a Swarm is what the other tests take it for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from support.engines import BASE
from support.faults import cut, frozen, parted
from support.netns import namespaces
from support.sites import eventually
from support.swarm import NAMES, SwarmBed

pytestmark = pytest.mark.slow


GREET = (
    "use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => 80, Listen => 9);"
    "while ($c = $s->accept) { print $c $c->sockhost, ' here'; close $c }"
)


def create(swarm: SwarmBed, name: str, *options: str, command: tuple[str, ...] = ("sleep", "1000")) -> None:
    common = ("--quiet", "--detach", "--name", name, "--endpoint-mode", "dnsrr", "--init")
    swarm.docker("service", "create", *common, *options, f"{swarm.registry.address}/{BASE}", *command)


def test_three_nodes_one_manager(swarm: SwarmBed) -> None:
    nodes = swarm.nodes()
    assert sorted(nodes) == list(NAMES)
    assert {name: node["Status"]["Addr"] for name, node in nodes.items()} == {n: swarm[n].address for n in NAMES}
    assert [name for name in NAMES if nodes[name]["Spec"]["Role"] == "manager"] == ["n1"]


def test_a_service_spreads_and_its_containers_reach_each_other(swarm: SwarmBed) -> None:
    swarm.docker("network", "create", "--driver", "overlay", "--attachable", "--subnet", "10.180.16.0/24", "course")
    create(swarm, "spread", "--replicas", "3", "--network", "course", command=("perl", "-e", GREET))
    eventually(lambda: swarm.running_on("spread") == list(NAMES), 30)
    for name in NAMES:
        container = swarm[name].docker("ps", "--quiet", "--filter", "label=com.docker.swarm.service.name=spread")
        eventually(lambda name=name, it=container: len(_addresses(swarm, name, it)) == 3)
        for address in _addresses(swarm, name, container):
            said = swarm[name].docker("exec", container, "bash", "-c", f"cat </dev/tcp/{address}/80")
            assert said == f"{address} here"


def _addresses(swarm: SwarmBed, name: str, container: str) -> set[str]:
    found = swarm[name].docker("exec", container, "getent", "ahostsv4", "tasks.spread", check=False)
    return {line.split()[0] for line in found.splitlines() if line}


def test_storage_is_the_same_everywhere(swarm: SwarmBed) -> None:
    script = "hostname >/s/$(cat /etc/hostname); sleep 1000"
    create(swarm, "writer", "--mode", "global", "--mount", f"type=bind,source={swarm.storage},target=/s",
           command=("sh", "-c", script))  # fmt: skip
    eventually(lambda: len(list(swarm.storage.iterdir())) == 3, 30)


def test_a_cut_is_noticed_and_healing_recovers(swarm: SwarmBed) -> None:
    create(swarm, "pinned", "--constraint", "node.hostname==n3")
    eventually(lambda: swarm.running_on("pinned") == ["n3"], 30)
    with cut(swarm, "n3"):
        eventually(lambda: swarm.state("n3") == "down", 40, every=0.2)
        assert swarm.state("n2") == "ready"
        assert swarm["n3"].docker("ps", "--quiet")  # it goes on behind the cut
    eventually(lambda: swarm.state("n3") == "ready", 40, every=0.2)
    eventually(lambda: swarm.running_on("pinned") == ["n3"], 40, every=0.2)


def test_without_two_of_three_managers_there_is_no_leader_until_they_are_back(swarm: SwarmBed) -> None:
    swarm.managers(3)

    def refusal() -> str:
        try:
            swarm.nodes()
        except RuntimeError as error:
            return str(error)
        except OSError:
            pass
        return ""

    with cut(swarm, "n2", "n3"):
        eventually(lambda: "does not have a leader" in refusal(), 60, every=0.2)
    eventually(lambda: not refusal(), 40, every=0.2)


def test_two_parted_nodes_still_hear_the_manager(swarm: SwarmBed) -> None:
    def heard(name: str) -> bool:
        call = f"exec 3<>/dev/tcp/{swarm[name].address}/7946"  # Swarm's gossip
        command = swarm["n2"].inside("timeout", "1", "bash", "-c", call)
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    assert heard("n3")
    with parted(swarm, "n2", "n3"):
        assert not heard("n3") and heard("n1")
    assert heard("n3")


def test_a_frozen_engine_is_a_node_that_is_down(swarm: SwarmBed) -> None:
    with frozen(swarm["n2"]):
        eventually(lambda: swarm.state("n2") == "down", 40, every=0.2)
    eventually(lambda: swarm.state("n2") == "ready", 40, every=0.2)


def test_a_reset_leaves_nothing_but_images(swarm: SwarmBed) -> None:
    swarm.docker("network", "create", "--driver", "overlay", "--attachable", "left")
    create(swarm, "left", "--replicas", "3", "--network", "left", command=("sh", "-c", "trap : TERM; sleep 1000"))
    eventually(lambda: swarm.running_on("left") == list(NAMES), 30)
    swarm.docker("secret", "create", "left", "-", given="secret")
    swarm.docker("node", "update", "--label-add", "zone=left", "--availability", "drain", "n2")
    swarm["n3"].docker("run", "--detach", BASE, "sleep", "1000")
    swarm.cut("n3")
    swarm["n2"].kill()
    swarm.reset()
    assert swarm.docker("service", "ls", "--quiet") + swarm.docker("secret", "ls", "--quiet") == ""
    assert swarm.each(lambda engine: engine.docker("ps", "--all", "--quiet")) == ["", "", ""]
    assert "left" not in swarm.docker("network", "ls", "--format", "{{.Name}}").split()
    assert swarm.nodes()["n2"]["Spec"].get("Labels") == {}


def test_make_swarm_has_a_site_to_enter_and_takes_it_down(images: dict[str, str], tmp_path: Path) -> None:
    """Beside the bed of the other tests, as a newcomer's own."""
    program = Path(__file__).parents[2] / "tools" / "swarm"
    key = images["hub"].rpartition(":")[2]
    with (tmp_path / "output").open("w") as output:
        opened = subprocess.Popen(
            [sys.executable, program, "--port", "8123"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "COURSEWARE_TEST_IMAGES": key},
        )
    try:
        said = eventually(lambda: opened.poll() is not None or _ready(tmp_path / "output"), 240, every=0.2)
        assert said is not True, (tmp_path / "output").read_text()
        url = said.split()[0]
        assert "Python basics" in requests.get(url, timeout=30).text
        name = said.split("/courseware-test/")[1].split("/")[0]
        assert namespaces(f"{name}-")
    finally:
        opened.send_signal(signal.SIGINT)
        assert opened.wait(60) == 0
    assert not namespaces(f"{name}-")


def _ready(output: Path) -> str:
    """What it prints from the URL on, when it is all there."""
    _, url, rest = output.read_text().partition("\nhttp://")
    return url.lstrip() + rest if "Ctrl-C" in rest else ""
