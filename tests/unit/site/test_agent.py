"""The agent of one Docker host as a child of the site: kept running, taken over, told apart, ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from support.models import a_site

from coursewarehub.model.spawner import ContainerSpawner
from coursewarehub.nodes import __main__ as nodes
from coursewarehub.nodes.health import Health
from coursewarehub.site import agent as module
from coursewarehub.site.agent import Agent, command, health_file, obstacle
from coursewarehub.state import processes
from coursewarehub.state.folders import SiteFolders

SLEEPS = (sys.executable, "-c", "import time; time.sleep(60)")
OTHERWISE = (sys.executable, "-c", "import time; time.sleep(61)")
ENDS = (sys.executable, "-c", "print('it is broken')")


def spawner(**settings: object) -> ContainerSpawner:
    made = a_site(spawner={"kind": "docker", **settings}).spawner
    assert isinstance(made, ContainerSpawner)
    return made


@pytest.fixture
def folders(tmp_path: Path) -> SiteFolders:
    made = SiteFolders(tmp_path)
    made.run.mkdir(parents=True)
    made.logs.mkdir(parents=True)
    return made


def following(agent: Agent, work: Callable[[], Awaitable[None]]) -> None:
    """Do something while the agent is kept running; it is ended afterwards."""

    async def both() -> None:
        keeping = asyncio.create_task(agent.keep())
        try:
            await asyncio.wait_for(work(), 10)
            assert not keeping.done(), keeping
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await agent.stop()

    asyncio.run(both())


async def until(check: Callable[[], object]) -> None:
    while not check():
        await asyncio.sleep(0.01)


# --- whether there can be one ------------------------------------------------------------------


def test_nothing_stands_in_the_way_of_root_at_the_machines_own_engine() -> None:
    assert obstacle(spawner(), 0) is None


@pytest.mark.parametrize(
    ("engine", "uid", "telling"),
    [
        ("unix:///var/run/docker.sock", 1000, "run the site as root"),
        ("tcp://127.0.0.1:2375", 0, "use its socket"),
        ("tcp://10.0.0.1:2375", 1000, "use its socket"),
    ],
)
def test_obstacles_are_told_with_the_mend(engine: str, uid: int, telling: str) -> None:
    assert telling in str(obstacle(spawner(engine=engine), uid))


def test_the_command_line_is_one_that_the_agent_understands(folders: SiteFolders) -> None:
    made = command(spawner(port=9001, addresses="10.9.0.0/16", engine_folder="/run/docker"), folders)
    assert made[:3] == (sys.executable, "-m", "coursewarehub.nodes")
    told = nodes.parser().parse_args(made[3:])
    assert (str(told.host_rules), told.ports) == ("10.9.0.0/16", [9001, 9002])
    assert (told.netns_folder, told.health) == (Path("/run/docker/netns"), health_file(folders))
    assert told.engine == "unix:///var/run/docker.sock" and not told.check and not told.remove


# --- how it is ---------------------------------------------------------------------------------


def test_an_agent_that_does_not_run_applies_nothing(folders: SiteFolders) -> None:
    Health(3).write(health_file(folders))  # what an earlier one wrote is no news of this one
    assert "does not run; its log is" in str(Agent(SLEEPS, folders).trouble())


def test_an_agent_that_runs_is_believed_what_it_says(folders: SiteFolders) -> None:
    agent = Agent(SLEEPS, folders)

    async def work() -> None:
        await until(lambda: agent.record)
        assert "no agent has written" in str(agent.trouble())
        Health(2, ("ada",)).write(health_file(folders))
        assert agent.trouble() == "network rules: the rules of ada cannot be applied; its log says why"
        Health(2).write(health_file(folders))
        assert agent.trouble() is None

    following(agent, work)


# --- kept running ------------------------------------------------------------------------------


def test_one_that_is_killed_is_started_again(folders: SiteFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SETTLED", 0.0)
    agent = Agent(SLEEPS, folders)

    async def work() -> None:
        await until(lambda: agent.record)
        assert agent.record is not None
        first = agent.record.pid
        Health(2).write(health_file(folders))
        os.kill(first, signal.SIGKILL)
        await until(lambda: agent.record is None)
        assert "does not run" in str(agent.trouble())
        await until(lambda: agent.record)
        assert agent.record.pid != first
        assert not health_file(folders).exists(), "the new one has said nothing yet"

    following(agent, work)


def test_one_that_ends_at_once_is_started_again_less_and_less_often(
    folders: SiteFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    here = threading.get_ident()

    async def hurry(seconds: float) -> None:
        # Other tests' servers may still be running in threads of their own.
        if seconds >= 0.5 and threading.get_ident() == here:
            pauses.append(seconds)
            seconds = 0
        await sleep(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", hurry)

    async def work() -> None:
        while len(pauses) < 8:
            await sleep(0.01)

    following(Agent(ENDS, folders), work)
    assert pauses[:8] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert (folders.logs / "agent.log").read_text().count("it is broken") >= 8


# --- taken over --------------------------------------------------------------------------------


def left_running(folders: SiteFolders, arguments: tuple[str, ...]) -> int:
    """An agent of a site process that was killed; its pid."""
    agent = Agent(arguments, folders)
    agent._launch()
    assert agent.record is not None
    # Its command line is another's until it has been executed.
    while module._arguments_of(agent.record.pid) != arguments:
        pass
    return agent.record.pid


def test_one_that_an_earlier_site_process_left_is_taken_over(folders: SiteFolders) -> None:
    pid = left_running(folders, SLEEPS)
    agent = Agent(SLEEPS, folders)

    async def work() -> None:
        await until(lambda: agent.record)
        assert agent.record is not None and agent.record.pid == pid

    following(agent, work)
    assert not processes.recorded(folders.run / "agent.json")


def test_one_with_other_settings_is_replaced(folders: SiteFolders) -> None:
    pid = left_running(folders, OTHERWISE)
    agent = Agent(SLEEPS, folders)

    async def work() -> None:
        await until(lambda: agent.record)
        assert agent.record is not None and agent.record.pid != pid
        assert module._arguments_of(pid) == ()

    following(agent, work)


@pytest.mark.parametrize("text", ["", "{", "null", json.dumps({"name": "agent", "pid": 1, "start_time": 0, "port": 0})])
def test_a_record_that_is_wrong_ends_nobody(folders: SiteFolders, text: str) -> None:
    """A process id may long be somebody else's."""
    (folders.run / "agent.json").write_text(text)
    agent = Agent(SLEEPS, folders)

    async def work() -> None:
        await until(lambda: agent.record)
        assert agent.record is not None and agent.record.pid != 1

    following(agent, work)


def test_stopping_what_never_ran_is_nothing(folders: SiteFolders) -> None:
    asyncio.run(Agent(SLEEPS, folders).stop())
