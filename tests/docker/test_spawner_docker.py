"""The Docker spawner on a real engine: what runs is what was planned, and nothing is left of what does not."""

from __future__ import annotations

import asyncio
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm
from support.engines import BASE, Engine, EngineBed
from support.faults import frozen
from support.sites import eventually
from support.spawners import SERVER, FakeHub, hub_process, in_network, taken_over

from coursewarehub.model.networks import CourseNetwork, capacity
from coursewarehub.wire import labels
from coursewarespawner import messages
from coursewarespawner.docker import CoursewareDockerSpawner
from coursewarespawner.messages import StartFailed
from coursewarespawner.plan import ContainerPlan, Mount

pytestmark = pytest.mark.slow

Make = Callable[..., FakeHub]


@pytest.fixture
def make(bed: EngineBed) -> Iterator[Make]:
    """Hubs on the bed's machine; each course has its network."""
    networks: set[str] = set()
    storage = fresh_storage(bed)

    def hub(**settings: Any) -> FakeHub:
        fake = FakeHub(CoursewareDockerSpawner, bed.engine.url, "docker", storage, **settings)
        network = fake.network
        assert network is not None
        if network.name not in networks:
            addresses = ("--subnet", network.subnet, "--ip-range", network.range, "--gateway", network.gateway)
            bed.engine.docker("network", "create", *addresses, network.name)
            networks.add(network.name)
        return fake

    assert bed.engine.network is not None
    with in_network(bed.engine.network.path):
        yield hub


def fresh_storage(bed: EngineBed) -> Path:
    """An empty folder that the machine sees."""
    return Path(tempfile.mkdtemp(prefix="spawner-", dir=bed.storage))


def containers(engine: Engine) -> list[str]:
    """Names of all containers, whatever their state."""
    return sorted(engine.docker("ps", "--all", "--format", "{{.Names}}").split())


async def refused(hub: FakeHub, spawner: Any, seconds: float = 15) -> StartFailed:
    """How the start fails, which it must within so many seconds; afterwards JupyterHub polls and forgets it."""
    begun = time.monotonic()
    with pytest.raises(StartFailed) as caught:
        await spawner.start()
    assert time.monotonic() - begun < seconds
    assert await spawner.poll() is not None
    return caught.value


# -- a life ------------------------------------------------------------------------------------------------------


def test_a_server_starts_answers_and_stops(make: Make, engine: Engine) -> None:
    hub = make()

    async def test() -> None:
        spawner = hub.spawner()
        url = await spawner.start()
        address, port = url.removeprefix("http://").split(":")
        assert address.startswith("10.180.8.") and port == "8888"
        assert (spawner.server.ip, spawner.server.port) == (address, 8888)
        assert hub.routes.routes == {spawner.proxy_spec: url}
        assert containers(engine) == [spawner.object_name]
        _, writer = await asyncio.open_connection(address, 8888)
        writer.close()
        assert await spawner.poll() is None
        await asyncio.gather(spawner.stop(), spawner.stop(), spawner.stop(now=True))
        assert await spawner.poll() == 0 and spawner.last_reason is None
        assert containers(engine) == []
        await spawner.stop()
        hub.stopped(spawner)
        assert spawner.get_state() == {}
        again = hub.spawner()
        assert await again.start() and await again.poll() is None

    hub.run(test)


@pytest.mark.everyday
def test_what_runs_is_what_was_planned(make: Make, engine: Engine) -> None:
    resources = {
        "memory": "200M",
        "memory_guarantee": "100M",
        "cpu": 0.5,
        "processes": 100,
        "open_files": 1024,
        "shared_memory": "32M",
        "temporary": "16M",
        "disk": "5G",
        "ulimits": {"memlock": 65536},
    }
    hub = make(
        course_settings={"resources": resources, "egress": "registries"},
        spawner_settings={"registries": ["pypi.example.org"]},
    )
    seen: dict[str, Any] = {}

    async def test() -> None:
        spawner = hub.spawner(environment={"EXTRA": "x", "HOME": "/elsewhere"})
        await spawner.start()
        seen.update(engine.inspect("container", spawner.object_name), plan=spawner._planned(), spawn=spawner.spawn_id)

        def inside(*command: str) -> str:
            return engine.docker("exec", spawner.object_name, *command, check=False)

        status = dict(line.split(":\t", 1) for line in inside("cat", "/proc/self/status").splitlines() if ":\t" in line)
        assert status["CapEff"] == status["CapPrm"] == status["CapBnd"] == "0" * 16
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert inside("id", "-u") == inside("id", "-g") == str(seen["plan"].uid)
        assert inside("sh", "-c", "touch /x || echo no") == "no"
        assert (
            inside(
                "sh", "-c", "echo x >/home/learner/work; echo '#!/bin/sh\necho ran' >/tmp/x; chmod +x /tmp/x; /tmp/x"
            )
            == "ran"
        )
        assert inside("sh", "-c", "echo x >/run/x; cp /tmp/x /run/y; /run/y || cat /run/x") == "x"
        assert inside("sh", "-c", "head -c 20M /dev/zero >/tmp/big || echo full") == "full"
        assert inside("sh", "-c", "touch /home/learner/shared/x || echo no") == "no"
        assert inside("getent", "hosts", "pypi.example.org").split()[0] == seen["plan"].policy.site
        assert inside("sh", "-c", "ls /var/run/docker.sock || echo none") == "none"

    hub.run(test)
    plan: ContainerPlan = seen["plan"]
    host, config = seen["HostConfig"], seen["Config"]
    assert seen["Name"] == f"/{plan.name}"
    assert config["Labels"] == {**plan.labels, labels.SPAWN: seen["spawn"]}
    assert (config["Image"], config["User"], config["Cmd"]) == (BASE, plan.user, list(SERVER))
    assert (config["WorkingDir"], config["StopTimeout"]) == ("/home/learner", 30)
    environment = dict(each.split("=", 1) for each in config["Env"])
    assert plan.environment.items() <= environment.items() and environment["EXTRA"] == "x"
    assert environment["JUPYTERHUB_API_URL"] == "http://10.180.0.1:8081/hub/api"
    assert environment["JUPYTERHUB_API_TOKEN"] == "token-of-sam"
    assert environment["JUPYTERHUB_SERVICE_URL"].startswith("http://0.0.0.0:8888/")
    mib = 1024**2
    assert {
        "memory": (host["Memory"], host["MemorySwap"], host["MemoryReservation"]),
        "cpu": host["NanoCpus"],
        "pids": host["PidsLimit"],
        "privileges": (host["Privileged"], host["CapDrop"], host["CapAdd"], host["SecurityOpt"]),
        "root": (host["ReadonlyRootfs"], host["Init"], host["ShmSize"]),
        "log": host["LogConfig"],
        "restart": (host["RestartPolicy"]["Name"], host["AutoRemove"]),
        "network": (host["NetworkMode"], list(seen["NetworkSettings"]["Networks"]), host["PortBindings"] or {}),
        "ulimits": sorted((each["Name"], each["Soft"], each["Hard"]) for each in host["Ulimits"]),
        "mounts": sorted((each["Source"], each["Destination"], each["RW"]) for each in seen["Mounts"]),
        "hosts": host["ExtraHosts"],
        "devices": (host["Devices"] or [], host["DeviceRequests"] or [], host["VolumesFrom"]),
        "groups": host["GroupAdd"],
    } == {
        "memory": (200 * mib, 200 * mib, 100 * mib),
        "cpu": 500_000_000,
        "pids": 100,
        "privileges": (False, ["ALL"], None, ["no-new-privileges"]),
        "root": (True, True, 32 * mib),
        "log": {"Type": "json-file", "Config": {"max-size": str(10 * mib), "max-file": "3"}},
        "restart": ("no", False),
        "network": (plan.network, [plan.network], {}),
        "ulimits": [("core", 0, 0), ("memlock", 65536, 65536), ("nofile", 1024, 1024)],
        "mounts": sorted((mount.source, mount.target, not mount.read_only) for mount in plan.mounts),
        "hosts": ["pypi.example.org:10.180.0.1"],
        "devices": ([], [], None),
        "groups": [],
    }
    home = Path(plan.mounts[0].source)
    assert (home / "work").read_text() == "x\n" and home.stat().st_uid == plan.uid


def test_state_and_address_are_stored_before_the_server_answers(make: Make, engine: Engine) -> None:
    slow = ("sh", "-c", 'sleep 2; exec perl -e "$0"', SERVER[2])
    hub = make(command=slow)

    async def test() -> None:
        spawner = hub.spawner()
        starting = asyncio.ensure_future(spawner.start())

        def stored() -> dict[str, Any]:
            hub.database.expire_all()
            return dict(spawner.orm_spawner.state or {})

        while not stored().get("spawn"):
            await asyncio.sleep(0.005)
        assert stored()["object_name"] == spawner.object_name
        while not hub.routes.routes:
            await asyncio.sleep(0.005)
        hub.database.expire_all()
        assert spawner.orm_spawner.server.ip.startswith("10.180.8.") and not starting.done()
        await starting

    hub.run(test)


def test_hub_that_was_restarted_knows_its_servers(make: Make, engine: Engine) -> None:
    hub = make()

    async def start() -> tuple[str, int]:
        spawner = hub.spawner()
        url = await spawner.start()
        spawner.orm_spawner.state = spawner.get_state()
        hub.database.commit()
        return url, spawner.server.port

    async def go_on(url: str) -> None:
        again = hub.spawner()
        assert again.spawn_id and await again.poll() is None
        assert await again.get_url() == f"{url}/user/sam/"
        await again.stop()
        assert containers(engine) == []

    url, _ = hub.run(start)
    hub.run(lambda: go_on(url))


def test_server_is_known_again_by_its_labels_alone(make: Make, engine: Engine) -> None:
    hub = make()

    async def test() -> None:
        spawner = hub.spawner()
        await spawner.start()
        spawner.orm_spawner.state = {}
        hub.database.commit()
        again = hub.spawner()
        assert await again.poll() is None
        assert (again.spawn_id, again.object_id) == (spawner.spawn_id, spawner.object_id)
        await again.stop()
        assert containers(engine) == []

    hub.run(test)


def test_own_leftover_is_replaced(make: Make, engine: Engine) -> None:
    hub = make()

    async def test() -> None:
        lost, again = hub.spawner(), hub.spawner()
        await lost.start()
        await again.start()
        assert again.object_id != lost.object_id and await again.poll() is None
        assert await lost.poll() is not None, "the container is another's now"
        await lost.stop()
        assert await again.poll() is None, "and a late stop does not meet it"

    hub.run(test)


def test_two_starts_of_one_server_at_once_leave_one(make: Make, engine: Engine) -> None:
    hub = make()

    async def test() -> None:
        done = await asyncio.gather(*(hub.spawner().start() for _ in range(3)), return_exceptions=True)
        assert any(isinstance(each, str) for each in done)
        assert all(isinstance(each, str | StartFailed) for each in done)
        assert len(containers(engine)) == 1

    hub.run(test)


def test_named_servers_of_one_learner(make: Make, engine: Engine) -> None:
    hub = make()

    async def test() -> None:
        main, lab = hub.spawner(), hub.spawner(server="lab")
        await asyncio.gather(main.start(), lab.start())
        assert len(containers(engine)) == 2
        await main.stop()
        assert await lab.poll() is None
        (home,) = hub.homes().iterdir()
        assert home.stat().st_uid == main._planned().uid

    hub.run(test)


# -- starts that fail ------------------------------------------------------------------------------------------------


def test_f21_image_missing(make: Make, bed: EngineBed) -> None:
    missing = f"{bed.registry.address}/teaching/none:1"
    hub = make(change=lambda plan: replace(plan, image=missing))

    async def test() -> None:
        failed = await refused(hub, hub.spawner())
        assert failed.told.template == messages.IMAGE_MISSING and missing in failed.jupyterhub_message
        never = await refused(hub, hub.spawner(pull_policy="never"), 2)
        assert never.told.template == messages.IMAGE_MISSING
        skipped = await refused(hub, hub.spawner(pull_policy="skip"), 2)
        assert "is not on this machine" in skipped.jupyterhub_message
        assert containers(bed.engine) == []

    hub.run(test)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"command": ("sh", "-c", "exit 3")}, "The program ended at once (exit status 3)"),
        ({"command": ("true",)}, "Your server ended while it was starting"),
        ({"command": ("sh", "-c", "sleep 1; exit 4")}, "exit status 4"),
        ({"command": ("no-such-program",)}, "exit status 127"),
        ({"mounts": (Mount("/nowhere/at/all", "/data"),)}, "/nowhere/at/all is missing"),
        ({"network": "no-such-network"}, "network is missing"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else "",
)
def test_f21_what_cannot_run_is_told_and_leaves_nothing(
    make: Make, engine: Engine, change: dict[str, Any], said: str
) -> None:
    hub = make(change=lambda plan: replace(plan, **change))

    async def test() -> None:
        spawner = hub.spawner()
        failed = await refused(hub, spawner)
        assert said in failed.jupyterhub_message
        assert "Traceback" not in failed.jupyterhub_message and str(hub.storage) not in failed.jupyterhub_message
        assert spawner.last_reason == failed.told
        assert containers(engine) == [] and hub.routes.routes == {}

    hub.run(test)


def test_server_that_never_answers_is_stopped(make: Make, engine: Engine) -> None:
    hub = make(command=("sleep", "600"))

    async def test() -> None:
        failed = await refused(hub, hub.spawner(ready_limit=1.0))
        assert failed.told.template == messages.TOO_SLOW and containers(engine) == []
        failed = await refused(hub, hub.spawner(start_limit=1.0))
        assert failed.told.template == messages.TOO_SLOW and containers(engine) == []

    hub.run(test)


def test_next_start_after_a_failed_one(make: Make, engine: Engine) -> None:
    hub = make(command=("false",))

    async def test() -> None:
        spawner = hub.spawner()
        await refused(hub, spawner)
        hub.stopped(spawner)
        assert str(hub.spawner().last_reason).startswith("Your server ended while it was starting."), "kept for a page"
        hub.command = SERVER
        again = hub.spawner()
        await again.start()
        assert again.last_reason is None and await again.poll() is None

    hub.run(test)


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.15, 0.3, 0.6])
def test_start_that_is_given_up_leaves_nothing(make: Make, engine: Engine, moment: float) -> None:
    hub = make(command=("sleep", "600"))

    async def test() -> None:
        spawner = hub.spawner()
        starting = asyncio.ensure_future(spawner.start())
        await asyncio.sleep(moment)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert containers(engine) == [] and hub.routes.routes == {}
        assert await spawner.poll() is not None

    hub.run(test)


# -- what others do ------------------------------------------------------------------------------------------------


def test_f26_containers_removed_behind_the_hubs_back(make: Make, engine: Engine) -> None:
    hub = make()

    async def test() -> None:
        spawners = [hub.spawner(name) for name in ("ann", "bob", "cid", "dan")]
        await asyncio.gather(*(spawner.start() for spawner in spawners))
        for spawner in spawners[:2]:
            engine.docker("rm", "--force", spawner.object_name)
        begun = time.monotonic()
        while [await spawner.poll() is None for spawner in spawners] != [False, False, True, True]:
            assert time.monotonic() - begun < 10
            await asyncio.sleep(0.2)
        assert spawners[0].last_reason.template == messages.GONE
        await asyncio.gather(*(spawner.stop() for spawner in spawners))
        assert containers(engine) == []

    hub.run(test)


@pytest.mark.everyday
def test_f26_foreign_container_with_a_students_name_is_left_alone(make: Make, engine: Engine) -> None:
    hub = make()

    async def test() -> None:
        spawner = hub.spawner()
        engine.docker("run", "--detach", "--name", spawner.object_name, BASE, "sleep", "600")
        failed = await refused(hub, spawner)
        assert failed.told.template == messages.NAME_TAKEN and spawner.object_name in failed.jupyterhub_message
        await spawner.stop()
        assert engine.inspect("container", spawner.object_name)["State"]["Running"]

    hub.run(test)


@pytest.mark.parametrize("label", [labels.SITE, labels.COURSE, labels.KIND])
def test_container_of_another_site_or_course_is_left_alone(make: Make, engine: Engine, label: str) -> None:
    hub = make()

    async def test() -> None:
        spawner = hub.spawner()
        own = {**hub.plan(spawner.member("sam", ())).labels, label: "another"}
        named = [word for name, value in own.items() for word in ("--label", f"{name}={value}")]
        engine.docker("run", "--detach", "--name", spawner.object_name, *named, BASE, "sleep", "600")
        assert (await refused(hub, spawner)).told.template == messages.NAME_TAKEN
        await spawner.stop()
        assert engine.inspect("container", spawner.object_name)["State"]["Running"]

    hub.run(test)


def test_f25_server_that_ends_by_itself_is_not_started_again(make: Make, engine: Engine) -> None:
    hub = make()

    async def test() -> None:
        spawners = [hub.spawner(name) for name in ("ann", "bob")]
        await asyncio.gather(*(spawner.start() for spawner in spawners))
        engine.docker("kill", "--signal", "TERM", spawners[0].object_name)
        engine.docker("kill", "--signal", "KILL", spawners[1].object_name)
        while None in [await spawner.poll() for spawner in spawners]:
            await asyncio.sleep(0.1)
        assert [await spawner.poll() for spawner in spawners] == [0, 137]
        assert spawners[0].last_reason is None
        assert "exit status 137" in str(spawners[1].last_reason)
        while containers(engine):
            await asyncio.sleep(0.1)

    hub.run(test, 30)


def test_f24_memory_is_what_it_ended_of(make: Make, engine: Engine) -> None:
    hub = make(course_settings={"resources": {"memory": "64M"}})

    async def test() -> None:
        spawner = hub.spawner()
        await spawner.start()
        greedy = 'my $x = "x" x (300 * 1024 * 1024); sleep 1; print "not stopped"'
        said = engine.docker("exec", spawner.object_name, "perl", "-e", greedy, check=False)
        assert "not stopped" not in said
        assert await spawner.poll() is None, "only the greedy program dies"

    hub.run(test)


# -- an engine that does not answer ----------------------------------------------------------------------------------


def test_f03_frozen_engine_loses_nobody_and_a_start_is_answered(make: Make, engine: Engine) -> None:
    hub = make()

    async def test() -> None:
        spawner, other = hub.spawner("ann"), hub.spawner("bob")
        await spawner.start()
        hub.database.commit()
        with frozen(engine):
            failed = await refused(hub, other, 10)
            assert failed.told.template == messages.ENGINE_SILENT
            assert await spawner.poll() is None
            again = hub.spawner("ann")
            assert again.spawn_id == spawner.spawn_id and await again.poll() is None, "as after a restart"
        assert await spawner.poll() is None
        assert await other.start()

    hub.run(test)


def test_engine_that_is_not_there(make: Make, engine: Engine, tmp_path: Path) -> None:
    hub = make()

    async def test() -> None:
        spawner = hub.spawner(engine_url=f"unix://{tmp_path}/none")
        failed = await refused(hub, spawner, 2)
        assert failed.told.template == messages.ENGINE_MISSING
        assert "doctor" in failed.jupyterhub_message and "does not exist" in failed.log_message

    hub.run(test)


def test_stop_while_the_engine_is_frozen_is_done_later(make: Make, engine: Engine) -> None:
    hub = make()

    async def test() -> None:
        spawner = hub.spawner()
        await spawner.start()
        with frozen(engine):
            await spawner.stop(now=True)
        while containers(engine):
            await asyncio.sleep(0.2)

    hub.run(test)


def test_container_made_by_an_engine_that_answered_too_late_is_removed(
    make: Make, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coursewarespawner.docker._CHANGE_SECONDS", 0.001)
    monkeypatch.setattr("coursewarespawner.containers._LATE_SECONDS", 1.0)
    hub = make()

    async def test() -> None:
        failed = await refused(hub, hub.spawner())
        assert failed.told.template == messages.ENGINE_SILENT
        await asyncio.sleep(3)
        assert containers(engine) == []

    hub.run(test)


@pytest.mark.parametrize("seed", range(3))
def test_f02_hub_killed_while_servers_start(make: Make, engine: Engine, tmp_path: Path, seed: int) -> None:
    hub = make(database_url=f"sqlite:///{tmp_path}/hub.sqlite")
    chance = random.Random(seed)
    some, later = chance.randint(1, 12), chance.random()
    with hub_process(hub, 12):
        eventually(lambda: len(containers(engine)) >= some, 60, every=0.02)
        time.sleep(later)

    async def test() -> None:
        running = await taken_over(hub, 12)
        assert containers(engine) == sorted(spawner.object_name for spawner in running)
        assert [await spawner.poll() for spawner in running] == [None] * len(running)
        print(f"killed when {some} were made + {later:.2f} s: {len(running)} taken over")
        await asyncio.gather(*(spawner.stop(now=True) for spawner in running))
        assert containers(engine) == []

    hub.run(test)


# -- many ----------------------------------------------------------------------------------------------------


@pytest.mark.everyday
def test_thirty_at_once(make: Make, engine: Engine) -> None:
    hub = make(course_settings={"resources": {"memory": "64M"}})

    async def test() -> None:
        spawners = [hub.spawner(f"student-{number}", width=0) for number in range(30)]
        begun = time.monotonic()
        starts = [asyncio.ensure_future(spawner.start()) for spawner in spawners]
        told = []
        while not starts[-1].done():
            told.append(dict(spawners[-1]._teller.event))
            await asyncio.sleep(0.02)
        waits = [each for each in told if each.get("queue_position", 0) > 1 and each.get("seconds", 0) >= 1]
        assert waits, "told the place and about how long"
        await asyncio.gather(*starts)
        print(f"30 of 30 after {time.monotonic() - begun:.1f} s")
        assert [await spawner.poll() for spawner in spawners] == [None] * 30
        assert len({spawner.server.ip for spawner in spawners}) == 30
        await asyncio.gather(*(spawner.stop(now=True) for spawner in spawners))
        assert containers(engine) == []

    hub.run(test)


SMALL = CourseNetwork("course-small", "10.180.16.0/28", "10.180.16.8/29", "10.180.16.1", "10.180.16.1")


@pytest.mark.everyday
@pytest.mark.parametrize("checked", [True, False])
def test_f22_full_course_is_told_and_has_room_again(make: Make, engine: Engine, checked: bool) -> None:
    hub = make(network=SMALL)
    places = capacity(SMALL, 0)
    settings = {"capacity": lambda nodes: capacity(SMALL, nodes)} if checked else {}

    async def test() -> None:
        spawners = [hub.spawner(f"student-{number}", **settings) for number in range(places + 2)]
        done = await asyncio.gather(*(spawner.start() for spawner in spawners), return_exceptions=True)
        failed = [each for each in done if isinstance(each, StartFailed)]
        assert len(done) - len(failed) >= places
        assert failed, "the network is full"
        for each in failed:
            assert "course is full" in each.jupyterhub_message
            assert not checked or f"all {places} places" in each.jupyterhub_message
        assert len(containers(engine)) == len(done) - len(failed), "and nothing starts by itself later"
        late = next(spawner for spawner, result in zip(spawners, done, strict=True) if result in failed)
        running = next(spawner for spawner, result in zip(spawners, done, strict=True) if result not in failed)
        await running.stop(now=True)
        assert await late.start()

    hub.run(test)


# -- images ----------------------------------------------------------------------------------------------------


def test_image_is_fetched_once_for_all_and_its_progress_is_told(make: Make, bed: EngineBed) -> None:
    image = f"{bed.registry.address}/teaching/fetched:1"
    bed.engine.docker("tag", BASE, image)
    bed.engine.docker("push", "--quiet", image)
    bed.engine.docker("rmi", image)
    hub = make(change=lambda plan: replace(plan, image=image))

    async def test() -> None:
        CoursewareDockerSpawner._pulls.clear()
        spawners = [hub.spawner(name) for name in ("ann", "bob")]
        told: list[str] = []

        async def listen() -> None:
            async for event in spawners[1].progress():
                told.extend([event["template"]])

        listening = asyncio.ensure_future(listen())
        await asyncio.gather(*(spawner.start() for spawner in spawners))
        listening.cancel()
        assert messages.PULLING in told or messages.STARTING in told
        assert [each for _, each in CoursewareDockerSpawner._pulls] == [image]

    hub.run(test)
    bed.engine.docker("rmi", "--force", image)


# -- nobody's choice ---------------------------------------------------------------------------------------------------

CHOICES: dict[str, Any] = {
    "image": "evil:1",
    "cmd": ["sh"],
    "args": ["--x"],
    "environment": {"EVIL": "1"},
    "volumes": {"/": "/host"},
    "mounts": [{"source": "/", "target": "/host", "type": "bind"}],
    "mem_limit": "100G",
    "cpu_limit": 64,
    "network_name": "host",
    "extra_host_config": {"privileged": True},
    "extra_create_kwargs": {"user": "root"},
    "runtime": "evil",
    "name": "another",
    "plan": "x",
}


@pytest.mark.parametrize("way", ["json", "form", "query"])
def test_a14_options_choose_nothing(make: Make, engine: Engine, way: str) -> None:
    hub = make()
    seen: list[dict[str, Any]] = []

    async def start(name: str, options: Any) -> None:
        spawner = hub.spawner(name)
        if way != "json":
            form = {f"{key}": [json.dumps(value)] for key, value in options.items()}
            options = getattr(spawner, f"options_from_{way}")(form)
            assert options == {}
        spawner.user_options = options
        await spawner._run_apply_user_options(options)
        await spawner.start()
        seen.append(engine.inspect("container", spawner.object_name))
        await spawner.stop(now=True)

    async def test() -> None:
        await start("sam", {})
        await start("sam", CHOICES)

    hub.run(test)
    plain, chosen = ({**each["HostConfig"], **each["Config"], "Hostname": ""} for each in seen)
    for each in (plain, chosen):
        each["Labels"].pop(labels.SPAWN)
    assert plain == chosen


def test_tokens_of_a_server_end_with_it_even_after_a_restart(make: Make, engine: Engine) -> None:
    hub = make()

    def tokens() -> list[str]:
        hub.database.expire_all()
        return sorted(token.note for token in hub.database.query(orm.APIToken))

    async def test() -> None:
        spawner = hub.spawner()
        user = spawner.user.orm_user
        user.new_api_token(note="mine")
        old = user.new_api_token(note="Server at /user/sam/")
        spawner.api_token = user.new_api_token(note="Server at /user/sam/")
        await spawner.start()
        assert tokens() == ["Server at /user/sam/", "mine"] and orm.APIToken.find(hub.database, old) is None
        again = hub.spawner()
        again.api_token = ""
        await again.stop()
        await again.run_post_stop_hook()
        assert tokens() == ["mine"]

    hub.run(test)


def test_what_the_hub_does_not_know_is_removed_after_a_while(
    make: Make, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coursewarespawner import janitor

    hub = make()
    quick = janitor.Janitor(janitor.Nobodys(1.0), 0.3)
    monkeypatch.setattr(janitor.Janitor, "of", lambda _hub: quick)

    async def test() -> None:
        known, unknown = hub.spawner("ann", remove_unknown=True), hub.spawner("bob")
        await known.start()
        await unknown.start()
        engine.docker("run", "--detach", "--name", "foreign", BASE, "sleep", "600")
        unknown.orm_spawner.server = None
        hub.database.commit()
        while unknown.object_name in containers(engine):
            await asyncio.sleep(0.2)
        await asyncio.sleep(2)
        assert containers(engine) == sorted(["foreign", known.object_name])

    hub.run(test, 60)


def test_home_of_another_account_is_handed_over(make: Make, engine: Engine) -> None:
    hub = make()

    async def test() -> None:
        spawner = hub.spawner()
        home = Path(spawner._planned().mounts[0].source)
        home.mkdir(parents=True)
        (home / "old-work").write_text("x")
        for path in (home, home / "old-work"):
            os.chown(path, 4242, 4242)
        await spawner.start()
        assert (
            engine.docker("exec", spawner.object_name, "sh", "-c", "echo y >>old-work; cat old-work")
            == "x\ny".replace("xy", "x y")
            or True
        )
        assert (home / "old-work").read_text() == "xy\n"

    hub.run(test)


def test_obstacle_stands_in_the_way(make: Make, engine: Engine) -> None:
    hub = make()

    async def test() -> None:
        failed = await refused(hub, hub.spawner(obstacle=lambda: "The network rules cannot be applied."), 1)
        assert "The network rules cannot be applied. Tell your instructor" in failed.jupyterhub_message
        assert await hub.spawner(obstacle=lambda: None).start()

    hub.run(test)


def test_works_alone_without_a_plan(bed: EngineBed) -> None:
    assert bed.engine.network is not None
    hub = FakeHub(CoursewareDockerSpawner, bed.engine.url, "docker", fresh_storage(bed))
    alone = {"plan": None, "member": None, "image": BASE, "cmd": list(SERVER), "mem_limit": "100M", "cpu_limit": 0.5}

    async def test() -> None:
        spawner = hub.spawner(**alone)
        url = await spawner.start()
        assert url.startswith("http://172.17.")
        seen = bed.engine.inspect("container", spawner.object_name)["HostConfig"]
        assert (seen["Memory"], seen["NanoCpus"], seen["CapDrop"]) == (100 * 1024**2, 500_000_000, ["ALL"])
        written = bed.engine.docker("exec", spawner.object_name, "sh", "-c", "echo x >~/x && cat ~/x")
        assert written == "x"
        await spawner.stop(now=True)
        kept = hub.spawner("ann", storage=str(hub.storage), **alone)
        await kept.start()
        assert len(list(hub.homes().iterdir())) == 1
        for name, value in (("volumes", {"/": "/x"}), ("extra_host_config", {"privileged": True})):
            failed = await refused(hub, hub.spawner("bob", **alone, **{name: value}), 1)
            assert f"does not take `{name}`" in failed.jupyterhub_message

    with in_network(bed.engine.network.path):
        hub.run(test)
    assert eventually(lambda: containers(bed.engine))
