"""The Swarm spawner on three real machines: what runs is what was planned, reasons are told, no two write at once."""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.engines import BASE
from support.faults import cut, missing
from support.sites import eventually
from support.spawners import SERVER, FakeHub, from_outside, hub_process, in_network, taken_over
from support.swarm import SwarmBed

from coursewarehub.model.networks import CourseNetwork, capacity
from coursewarehub.wire import labels
from coursewarespawner import messages
from coursewarespawner.messages import StartFailed
from coursewarespawner.payloads import service_payload
from coursewarespawner.plan import ContainerPlan, Mount
from coursewarespawner.swarm import CoursewareSwarmSpawner

pytestmark = pytest.mark.slow

Make = Callable[..., FakeHub]
SMALL = CourseNetwork("course-small", "10.180.16.0/28", "10.180.16.8/29", "10.180.16.1", "10.180.16.2")
LIGHT = {"resources": {"memory": "64M"}}


@pytest.fixture
def make(swarm: SwarmBed) -> Iterator[Make]:
    """Hubs of one course, in its network on the manager."""
    storage = Path(tempfile.mkdtemp(prefix="spawner-", dir=swarm.storage))
    hubs: list[FakeHub] = []

    def hub(**settings: Any) -> FakeHub:
        fake = FakeHub(CoursewareSwarmSpawner, swarm.manager.url, "swarm", storage, **settings)
        network = fake.network
        assert network is not None
        if not hubs:
            addresses = ("--subnet", network.subnet, "--ip-range", network.range, "--gateway", network.gateway)
            swarm.docker("network", "create", "--driver", "overlay", "--attachable", *addresses, network.name)
            # As the site does: an address of its own, outside the learners' range.
            outside = ("--network", network.name, "--ip", network.site_address)
            helper = swarm.docker("run", "--detach", "--name", "site", *outside, BASE, "sleep", "infinity")
            key = Path(swarm.docker("inspect", "--format", "{{.NetworkSettings.SandboxKey}}", helper))
            inside.enter_context(in_network(swarm.manager.netns / key.name))
        hubs.append(fake)
        return fake

    with ExitStack() as inside:
        yield hub


def services(swarm: SwarmBed) -> list[str]:
    """Names of all services."""
    return sorted(swarm.docker("service", "ls", "--format", "{{.Name}}").split())


def on(node: str) -> Callable[[ContainerPlan], ContainerPlan]:
    """Plans for one machine."""
    return lambda plan: replace(plan, constraints=(*plan.constraints, f"node.hostname=={node}"))


async def refused(spawner: Any, seconds: float = 15) -> StartFailed:
    """How the start fails, which it must within so many seconds."""
    begun = time.monotonic()
    with pytest.raises(StartFailed) as caught:
        await spawner.start()
    assert time.monotonic() - begun < seconds
    assert await spawner.poll() is not None
    return caught.value


def test_a_server_starts_answers_and_stops(make: Make, swarm: SwarmBed) -> None:
    hub = make()

    async def test() -> None:
        spawner = hub.spawner()
        begun = time.monotonic()
        url = await spawner.start()
        print(f"started in {time.monotonic() - begun:.2f} s on {spawner.node_name}")
        assert url.startswith("http://10.180.8.") and hub.routes.routes == {spawner.proxy_spec: url}
        assert spawner.node_name in {"n1", "n2", "n3"} and await spawner.poll() is None
        assert services(swarm) == [spawner.object_name]
        begun = time.monotonic()
        await asyncio.gather(spawner.stop(), spawner.stop(), spawner.stop(now=True))
        print(f"stopped in {time.monotonic() - begun:.2f} s")
        assert await spawner.poll() == 0 and services(swarm) == []
        running = swarm.each(lambda engine: engine.docker("ps", "--quiet", "--filter", "name=jupyter"))
        assert running == ["", "", ""], "it has ended on its machine as well"
        await spawner.stop()

    hub.run(test)


def test_what_runs_is_what_was_planned(make: Make, swarm: SwarmBed) -> None:
    resources = {"memory": "200M", "memory_guarantee": "100M", "cpu": 0.5, "cpu_guarantee": 0.1, "processes": 100}
    hub = make(
        course_settings={
            "resources": {**resources, "temporary": "16M", "shared_memory": "32M"},
            "egress": "registries",
        },
        spawner_settings={"registries": ["pypi.example.org"]},
        change=on("n1"),
    )

    async def test() -> None:
        spawner = hub.spawner()
        await spawner.start()
        plan = spawner._planned()
        seen = swarm.manager.api("GET", f"/services/{spawner.object_name}")["Spec"]
        wanted = service_payload(replace(plan, labels={**plan.labels, labels.SPAWN: spawner.spawn_id}))
        seen_container, wanted_container = (each["TaskTemplate"]["ContainerSpec"] for each in (seen, wanted))
        environment = dict(each.split("=", 1) for each in seen_container.pop("Env"))
        assert dict(each.split("=", 1) for each in wanted_container.pop("Env")).items() <= environment.items()
        for name in (
            "Image",
            "Args",
            "User",
            "Dir",
            "Labels",
            "Init",
            "ReadOnly",
            "CapabilityDrop",
            "Ulimits",
            "Hosts",
        ):
            assert seen_container[name] == wanted_container[name], name
        assert seen_container["StopGracePeriod"] == 30_000_000_000
        assert {each["Target"] for each in seen_container["Mounts"]} == {
            each["Target"] for each in wanted_container["Mounts"]
        }
        assert seen["TaskTemplate"]["Resources"] == wanted["TaskTemplate"]["Resources"]
        assert seen["TaskTemplate"]["RestartPolicy"]["Condition"] == "none"
        assert seen["TaskTemplate"]["LogDriver"] == wanted["TaskTemplate"]["LogDriver"]
        assert seen["EndpointSpec"]["Mode"] == "dnsrr" and seen["Labels"] == wanted["Labels"]

        task = swarm.tasks(spawner.object_name)[0]
        container = task["Status"]["ContainerStatus"]["ContainerID"]

        def inside(*command: str) -> str:
            return swarm.manager.docker("exec", container, *command, check=False)

        status = dict(line.split(":\t", 1) for line in inside("cat", "/proc/self/status").splitlines() if ":\t" in line)
        assert status["CapEff"] == status["CapPrm"] == status["CapBnd"] == "0" * 16
        assert status["NoNewPrivs"] == "1", "the engines of the bed say so for all their containers"
        assert inside("id", "-u") == str(plan.uid)
        assert inside("sh", "-c", "touch /x || echo no") == "no"
        assert inside("sh", "-c", "echo x >/home/learner/work && cat /home/learner/work") == "x"
        run_it = "printf '#!/bin/sh\\necho ran\\n' >{0}/x; chmod +x {0}/x; {0}/x || echo no"
        assert inside("sh", "-c", run_it.format("/tmp")) == "ran"
        assert inside("sh", "-c", run_it.format("/run")) == "no"
        assert inside("sh", "-c", "head -c 20M /dev/zero >/tmp/big || echo full") == "full"
        assert inside("sh", "-c", "head -c 40M /dev/zero >/dev/shm/big || echo full") == "full"
        assert inside("getent", "hosts", "pypi.example.org").split()[0] == plan.policy.site
        host = swarm.manager.inspect("container", container)["HostConfig"]
        assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (200 * 1024**2, 500_000_000, 100)
        await spawner.stop()
        volumes = swarm.manager.docker("volume", "ls", "--quiet").split()
        assert [each for each in volumes if each.startswith("jupyter-")] == [f"{spawner.object_name}-{16 * 1024**2}"]
        assert await spawner.poll() == 0
        hub.stopped(spawner)
        again = hub.spawner()
        await again.start()
        container = swarm.tasks(again.object_name)[0]["Status"]["ContainerStatus"]["ContainerID"]
        assert inside("ls", "/tmp") == "", "nothing of the last server"
        assert swarm.manager.docker("volume", "ls", "--quiet").split() == volumes

    hub.run(test)


def test_files_are_there_on_another_machine(make: Make, swarm: SwarmBed) -> None:
    hub = make()

    async def test() -> None:
        for node in ("n2", "n3"):
            hub.change = on(node)
            spawner = hub.spawner()
            await spawner.start()
            assert spawner.node_name == node
            container = swarm.tasks(spawner.object_name)[0]["Status"]["ContainerStatus"]["ContainerID"]
            swarm[node].docker("exec", container, "sh", "-c", f"echo {node} >>/home/learner/seen")
            await spawner.stop()
            hub.stopped(spawner)
        (home,) = hub.homes().iterdir()
        assert (home / "seen").read_text().split() == ["n2", "n3"]

    hub.run(test)


# -- starts that fail --------------------------------------------------------------------------------------------


def test_f21_image_missing_everywhere_and_on_one_machine(make: Make, swarm: SwarmBed) -> None:
    image = f"{swarm.place.bridge.address}:5/teaching/none:1"
    hub = make(change=lambda plan: replace(plan, image=image))

    async def test() -> None:
        failed = await refused(hub.spawner())
        assert image in failed.jupyterhub_message and "is not on the machine" in failed.jupyterhub_message
        swarm["n2"].docker("tag", BASE, image)
        hub.change = lambda plan: replace(on("n3")(plan), image=image)
        assert "is not on the machine n3" in (await refused(hub.spawner())).jupyterhub_message
        hub.change = lambda plan: replace(on("n2")(plan), image=image)
        assert await hub.spawner().start()
        assert len(services(swarm)) == 1

    hub.run(test)
    swarm["n2"].docker("rmi", "--force", image)


def test_f21_home_missing_on_one_machine(make: Make, swarm: SwarmBed) -> None:
    hub = make(change=on("n3"))

    async def test() -> None:
        with missing(swarm["n3"], hub.storage):
            failed = await refused(hub.spawner())
            assert "is missing on the machine n3" in failed.jupyterhub_message
            assert services(swarm) == []
        assert await hub.spawner().start()

    hub.run(test)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"command": ("sh", "-c", "exit 3")}, "exit status 3"),
        ({"command": ("true",)}, "ended while it was starting"),
        ({"mounts": (Mount("/nowhere/at/all", "/data"),)}, "/nowhere/at/all is missing"),
        ({"network": "no-such-network"}, "network"),
        ({"runtime": "runsc"}, "cannot choose the runtime"),
    ],
    ids=["exit-3", "exit-0", "mount", "network", "runtime"],
)
def test_f21_what_cannot_run_is_told_and_leaves_nothing(
    make: Make, swarm: SwarmBed, change: dict[str, Any], said: str
) -> None:
    hub = make(change=lambda plan: replace(plan, **change))

    async def test() -> None:
        failed = await refused(hub.spawner())
        assert said in failed.jupyterhub_message
        await asyncio.sleep(1)
        assert services(swarm) == [] and hub.routes.routes == {}

    hub.run(test)


def test_f22_full_course_is_told_and_nothing_starts_later(make: Make, swarm: SwarmBed) -> None:
    hub = make(network=SMALL, course_settings=LIGHT)
    places = capacity(SMALL, 3)
    settings = {"capacity": lambda nodes: capacity(SMALL, nodes)}

    async def test() -> None:
        spawners = [hub.spawner(f"student-{number}", **settings) for number in range(places)]
        await asyncio.gather(*(spawner.start() for spawner in spawners))
        late = hub.spawner("late", **settings)
        failed = await refused(late, 10)
        assert f"all {places} places" in failed.jupyterhub_message
        assert len(services(swarm)) == places
        await spawners[0].stop(now=True)
        assert await late.start()

    hub.run(test)


def test_f22_network_that_is_full_without_the_hub_knowing(make: Make, swarm: SwarmBed) -> None:
    hub = make(network=SMALL, course_settings=LIGHT)

    async def test() -> None:
        spawners = [hub.spawner(f"student-{number}", width=4) for number in range(9)]
        done = await asyncio.gather(*(spawner.start() for spawner in spawners), return_exceptions=True)
        failed = [each for each in done if isinstance(each, StartFailed)]
        assert failed and all("the course is full" in each.jupyterhub_message for each in failed)
        running = len(done) - len(failed)
        assert len(services(swarm)) == running
        await asyncio.sleep(5)
        assert len(services(swarm)) == running, "and nothing starts by itself later"

    hub.run(test)


def test_f23_no_room_is_told(make: Make, swarm: SwarmBed) -> None:
    hub = make(course_settings={"resources": {"memory": "2T", "memory_guarantee": "1T"}})

    async def test() -> None:
        failed = await refused(hub.spawner())
        assert "No machine has room: 1.0 TB of memory" in failed.jupyterhub_message
        assert services(swarm) == []
        for name in ("n1", "n2", "n3"):
            swarm.docker("node", "update", "--availability", "drain", name)
        hub.change = lambda plan: replace(plan, memory_guarantee=0)
        failed = await refused(hub.spawner())
        assert "No machine is in service" in failed.jupyterhub_message and services(swarm) == []
        hub.change = lambda plan: replace(plan, memory_guarantee=0, constraints=("node.labels.none==true",))
        swarm.docker("node", "update", "--availability", "active", "n1")
        failed = await refused(hub.spawner())
        assert "No machine is ready for this course" in failed.jupyterhub_message and services(swarm) == []

    hub.run(test)


@pytest.mark.parametrize("moment", [0.0, 0.1, 0.5, 1.0])
def test_start_that_is_given_up_leaves_nothing(make: Make, swarm: SwarmBed, moment: float) -> None:
    hub = make(command=("sleep", "600"))

    async def test() -> None:
        spawner = hub.spawner()
        starting = asyncio.ensure_future(spawner.start())
        await asyncio.sleep(moment)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert services(swarm) == [] and hub.routes.routes == {}

    hub.run(test)


# -- what others do ----------------------------------------------------------------------------------------------


def test_f26_services_removed_behind_the_hubs_back(make: Make, swarm: SwarmBed) -> None:
    hub = make(course_settings=LIGHT)

    async def test() -> None:
        spawners = [hub.spawner(f"student-{number}") for number in range(6)]
        await asyncio.gather(*(spawner.start() for spawner in spawners))
        foreign = hub.spawner("foreign")
        swarm.docker(
            "service",
            "create",
            "--detach",
            "--name",
            foreign.object_name,
            "--endpoint-mode",
            "dnsrr",
            BASE,
            "sleep",
            "600",
        )
        assert (await refused(foreign)).told.template == messages.NAME_TAKEN
        await foreign.stop()
        swarm.docker("service", "rm", *(spawner.object_name for spawner in spawners[:3]))
        begun = time.monotonic()
        while [await spawner.poll() is None for spawner in spawners] != [False] * 3 + [True] * 3:
            assert time.monotonic() - begun < 10
            await asyncio.sleep(0.2)
        assert all(spawner.last_reason.template == messages.GONE for spawner in spawners[:3])
        assert services(swarm) == sorted(spawner.object_name for spawner in (*spawners[3:], foreign))

    hub.run(test)


def test_f25_server_that_ends_by_itself_is_not_started_again(make: Make, swarm: SwarmBed) -> None:
    hub = make(change=on("n2"))

    async def test() -> None:
        spawner = hub.spawner()
        await spawner.start()
        container = swarm.tasks(spawner.object_name)[0]["Status"]["ContainerStatus"]["ContainerID"]
        swarm["n2"].docker("kill", "--signal", "KILL", container)
        while await spawner.poll() is None:
            await asyncio.sleep(0.1)
        assert await spawner.poll() == 137 and "exit status 137" in str(spawner.last_reason)
        while services(swarm):
            await asyncio.sleep(0.1)

    hub.run(test, 30)


@pytest.mark.parametrize("seed", range(2))
def test_f02_hub_killed_while_servers_start(make: Make, swarm: SwarmBed, tmp_path: Path, seed: int) -> None:
    hub = make(database_url=f"sqlite:///{tmp_path}/hub.sqlite")
    chance = random.Random(seed)
    some, later = chance.randint(1, 12), chance.random()
    with hub_process(hub, 12):
        eventually(lambda: len(services(swarm)) >= some, 60, every=0.02)
        time.sleep(later)

    async def test() -> None:
        running = await taken_over(hub, 12)
        assert services(swarm) == sorted(spawner.object_name for spawner in running)
        print(f"killed when {some} were made + {later:.2f} s: {len(running)} taken over")
        await asyncio.gather(*(spawner.stop(now=True) for spawner in running))
        assert services(swarm) == []

    hub.run(test)


# -- machines that are lost --------------------------------------------------------------------------------------


def test_f04_swarm_without_a_leader_loses_nobody(make: Make, swarm: SwarmBed) -> None:
    swarm.managers(3)
    hub = make(course_settings=LIGHT)

    async def test() -> None:
        spawners = [hub.spawner(f"student-{number}") for number in range(6)]
        await asyncio.gather(*(spawner.start() for spawner in spawners))
        with from_outside(cut(swarm, "n2", "n3")):
            begun = time.monotonic()
            while time.monotonic() - begun < 30:
                assert [await spawner.poll() for spawner in spawners] == [None] * 6
                await asyncio.sleep(0.5)
            late = hub.spawner("late")
            failed = await refused(late, 10)
            assert failed.told.template in {messages.ENGINE_NO_LEADER, messages.ENGINE_SILENT, messages.ENGINE_FAILED}
            print("told:", failed.jupyterhub_message)

        def led() -> bool:
            return len(swarm.docker("service", "ls", "--quiet", check=False).split()) == 6

        eventually(led, 60, every=0.5)
        assert [await spawner.poll() for spawner in spawners] == [None] * 6
        await asyncio.gather(*(spawner.stop(now=True) for spawner in spawners))
        assert services(swarm) == []

    hub.run(test, 200)


def test_f06_lost_server_has_no_second_writer_before_its_lease_is_over(make: Make, swarm: SwarmBed) -> None:
    hub = make(change=on("n2"))

    async def test() -> None:
        spawner = hub.spawner(lease_seconds=15)
        await spawner.start()
        spawner._leased = True  # as of our own image
        with from_outside(cut(swarm, "n2")):
            begun = time.monotonic()
            while await spawner.poll() is None:
                assert time.monotonic() - begun < 30
                await asyncio.sleep(0.2)
            print(f"lost after {time.monotonic() - begun:.1f} s")
            assert spawner.last_reason.template == messages.LOST
            await spawner.run_post_stop_hook()
            hub.stopped(spawner)
            stopped = time.monotonic()
            hub.change = on("n3")
            again = hub.spawner(lease_seconds=15)
            assert str(again.last_reason) == messages.LOST
            starting = asyncio.ensure_future(again.start())
            await asyncio.sleep(3)
            event = again._teller.event
            assert event["template"] == messages.FENCED and 20 <= event["seconds"] <= 30 and event["node"] == "n2"
            url = await starting
            assert 29 <= time.monotonic() - stopped < 45 and again.node_name == "n3" and url
        assert await again.poll() is None
        eventually(lambda: swarm["n2"].docker("ps", "--quiet") == "", 60)
        assert services(swarm) == [again.object_name]

    hub.run(test, 200)


def test_f06_lost_server_that_is_found_to_have_ended_is_waited_for_no_longer(make: Make, swarm: SwarmBed) -> None:
    hub = make(change=on("n2"))

    async def test() -> None:
        spawner = hub.spawner(lease_seconds=1)
        await spawner.start()
        assert not spawner._leased, "a Perl server keeps no lease"
        with from_outside(cut(swarm, "n2")):
            eventually(lambda: swarm.state("n2") == "down", 60)
            await spawner.stop()
            await spawner.run_post_stop_hook()
            hub.stopped(spawner)
            hub.change = on("n3")
            again = hub.spawner(lease_seconds=1)
            starting = asyncio.ensure_future(again.start())
            await asyncio.sleep(20)
            assert again._teller.event["template"] == messages.FENCED_WITHOUT_LEASE and not starting.done()
        await asyncio.wait_for(starting, 60)
        assert swarm["n2"].docker("ps", "--quiet") == ""

    hub.run(test, 200)


def test_twenty_at_once(make: Make, swarm: SwarmBed) -> None:
    hub = make(course_settings=LIGHT)

    async def test() -> None:
        spawners = [hub.spawner(f"student-{number}", width=0) for number in range(20)]
        begun = time.monotonic()
        await asyncio.gather(*(spawner.start() for spawner in spawners))
        print(f"20 of 20 after {time.monotonic() - begun:.1f} s")
        assert {spawner.node_name for spawner in spawners} == {"n1", "n2", "n3"}
        assert [await spawner.poll() for spawner in spawners] == [None] * 20
        await asyncio.gather(*(spawner.stop(now=True) for spawner in spawners))
        assert services(swarm) == []

    hub.run(test)


def test_server_is_what_the_json_of_its_service_says(make: Make, swarm: SwarmBed) -> None:
    """A14: options in every way change nothing of the service."""
    hub = make(course_settings=LIGHT)
    choices = {"image": "evil:1", "cmd": ["sh"], "mounts": [{"source": "/", "target": "/host"}], "runtime": "evil"}
    seen: list[str] = []

    async def test() -> None:
        for options in ({}, choices):
            spawner = hub.spawner()
            spawner.user_options = options
            await spawner._run_apply_user_options(options)
            await spawner.start()
            spec = swarm.manager.api("GET", f"/services/{spawner.object_name}")["Spec"]
            for place in (spec, spec["TaskTemplate"]["ContainerSpec"]):
                place["Labels"].pop(labels.SPAWN)
            seen.append(json.dumps(spec, sort_keys=True))
            await spawner.stop(now=True)
            hub.stopped(spawner)

    hub.run(test)
    assert seen[0] == seen[1] and SERVER[0] in seen[0]
