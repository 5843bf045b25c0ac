"""What the site does for container spawners, put together, with an engine that answers as it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from support.fake_engine import FakeEngine
from support.models import a_course, a_site

from coursewarehub.model import ConfigurationError, Course
from coursewarehub.model.yaml_source import parse
from coursewarehub.site import containers as module
from coursewarehub.site.cluster import Wanted
from coursewarehub.site.containers import Containers
from coursewarehub.site.notices import Target
from coursewarehub.state.folders import SiteFolders
from coursewarehub.state.networks import PoolExhausted
from coursewarehub.wire.control import NodeNotice

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def folders(tmp_path: Path) -> SiteFolders:
    made = SiteFolders(tmp_path / "site")
    for folder in (made.state, made.run, made.logs, made.secrets):
        folder.mkdir(parents=True, exist_ok=True)
    return made


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "geteuid", lambda: 0)


class Courses:
    """The courses of a site: `served` have a hub, `kept` are those of which nothing is removed."""

    def __init__(self, *served: Course, kept: tuple[str, ...] = ()) -> None:
        self.served = {course.id: course for course in served}
        self.kept = frozenset(self.served) | set(kept)


def make(
    folders: SiteFolders, courses: Courses, engine: str = "unix:///nowhere/docker.sock", **more: Any
) -> Containers:
    spawner = {"kind": "docker", "engine": engine, "addresses": "10.9.0.0/27", "course_network": 28, **more}
    source = parse("spawner:\n  kind: docker\n", "site.yaml")
    return Containers(a_site(spawner=spawner), source, folders, lambda: courses.served, lambda: courses.kept)


def wanted(containers: Containers) -> Wanted:
    return containers._wanted()


# --- what stands in the way --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uid", "engine", "telling"),
    [
        (1000, "unix:///nowhere/docker.sock", "only root may apply rules between containers: run the site as root"),
        (0, "tcp://10.0.0.1:2375", "may be another machine, on which the site cannot apply rules"),
    ],
)
def test_containers_that_cannot_be_kept_apart_are_refused_or_accepted(
    folders: SiteFolders, monkeypatch: pytest.MonkeyPatch, uid: int, engine: str, telling: str
) -> None:
    monkeypatch.setattr(module.os, "geteuid", lambda: uid)
    with pytest.raises(ConfigurationError) as refused:
        make(folders, Courses(), engine)
    (problem,) = refused.value.problems
    assert telling in str(problem) and str(problem).startswith("site.yaml:2: ")
    assert "isolation: accepted_off" in str(problem)
    accepted = make(folders, Courses(), engine, isolation="accepted_off")
    isolation = accepted.cluster.status()["isolation"]
    assert isolation["on"] is False and telling in isolation["message"]
    assert json.loads(folders.engine_state.read_text())["fenced"] is True, "servers start all the same"
    works = accepted.works()
    for work in works:
        work.close()
    assert len(works) == 1 and accepted.agent_pid() is None


def test_until_the_agent_is_well_no_server_starts(folders: SiteFolders) -> None:
    made = make(folders, Courses())
    assert json.loads(folders.engine_state.read_text())["fenced"] is False
    assert "the agent that applies the network rules does not run" in made.cluster.status()["isolation"]["message"]


def test_an_engine_that_is_not_there_refuses_nothing(folders: SiteFolders) -> None:
    assert make(folders, Courses(a_course())).cluster.status()["state"] == "checking"


# --- what the engine is to have ----------------------------------------------------------------


def test_networks_of_courses_that_have_a_number_and_images_of_all(folders: SiteFolders) -> None:
    made = make(folders, Courses(a_course("alpha"), a_course("beta", image="special:1"), kept=("archived",)))
    alpha = made.network("alpha")
    found = wanted(made)
    assert found.networks == {"alpha": alpha}
    assert {"special:1"} < found.images and len(found.images) == 2
    assert found.kept == {"alpha", "beta", "archived"}


def test_a_course_keeps_its_network_over_restarts(folders: SiteFolders) -> None:
    first = make(folders, Courses()).network("beta")
    again = make(folders, Courses())
    assert again.network("alpha") != first == again.network("beta")


def test_a_pool_that_became_too_small_is_the_problem_of_the_courses_beyond_it(folders: SiteFolders) -> None:
    """The others go on; before, nothing did."""
    folders.networks.write_text(json.dumps({"alpha": 0, "beta": 1, "gamma": 5}))
    made = make(folders, Courses(a_course("alpha"), a_course("beta"), a_course("gamma")))
    with pytest.raises(PoolExhausted):
        made.network("gamma")
    assert wanted(made).networks.keys() == {"alpha", "beta"}


def test_numbers_are_given_to_others_only_when_nothing_is_left(folders: SiteFolders) -> None:
    made = make(folders, Courses())
    alpha, _ = made.network("alpha"), made.network("beta")
    made._occupied({"alpha", "beta"})
    with pytest.raises(PoolExhausted):
        made.network("gamma")
    made._occupied({"beta"})
    assert made.network("gamma").subnet == alpha.subnet


# --- notices -----------------------------------------------------------------------------------


def test_notices_go_to_servers_of_courses_that_are_served(
    folders: SiteFolders, fake: FakeEngine, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def server(course: str, number: int) -> dict[str, Any]:
        own = {"kind": "server", "course": course, "user": "ada", "server": ""}
        return {
            "Id": f"id{number}",
            "Names": [f"/c{number}"],
            "State": "running",
            "Created": 1,
            "Labels": {f"coursewarehub.{name}": value for name, value in own.items()},
            "NetworkSettings": {"Networks": {"n": {"IPAddress": f"10.9.0.{number}"}}},
        }

    fake.on("GET", "/info", {"Name": "machine", "ID": "1"})
    fake.on("GET", "/containers/json", [server("alpha", 9), server("gone", 10)])
    fake.on("GET", "/networks", [])
    asked: list[Target] = []

    async def show(_notice: Any, targets: list[Target]) -> int:
        asked.extend(targets)
        return len(targets)

    monkeypatch.setattr(module, "show", show)
    made = make(folders, Courses(a_course("alpha")), fake.url)

    async def notify() -> tuple[int, int]:
        there = await made.notify(NodeNotice("machine", {"en": "Soon."}, 60))
        return there, await made.notify(NodeNotice("another", {"en": "Soon."}, 60))

    assert run(notify()) == (1, 0)
    assert [(target.course, target.address, target.port) for target in asked] == [("alpha", "10.9.0.9", 8888)]


def test_stopping_without_an_agent_is_nothing(folders: SiteFolders, tmp_path: Path) -> None:
    made = make(folders, Courses(), "tcp://10.0.0.1:2375", isolation="accepted_off")
    asyncio.run(made.stop())
