"""What the site does with an engine that answers, fails, is silent, and comes back; the engine is a value here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from coursewarehub.engine import Cause, EngineError, Refused, Unreachable
from coursewarehub.hub.engine_state import EngineState
from coursewarehub.model.networks import CourseNetwork
from coursewarehub.site import cluster as module
from coursewarehub.site.cluster import Cluster, Seen, Server, Standing, State, Wanted, standing_with, standing_without
from coursewarehub.site.janitor import Owned
from coursewarehub.site.readiness import BEING_CHECKED, NodeReport
from coursewarehub.wire import labels

SILENT = Unreachable("the engine does not answer")
N1 = NodeReport("1", "n1", "ready", "active")
STATS = CourseNetwork("cw-stats", "10.180.0.0/20", "10.180.8.0/21", "10.180.0.1", "10.180.0.1")


def server(course: str) -> Owned:
    return Owned(f"s-{course}", f"server-{course}", labels.KIND_SERVER, course)


def network(course: str) -> Owned:
    return Owned(f"n-{course}", f"network-{course}", labels.KIND_NETWORK, course)


@dataclass
class FakeSide:
    """An engine as the cluster sees it: what it answers, and what was done to it."""

    seen: Seen = field(default_factory=lambda: Seen((N1,)))
    error: Exception | None = None
    tend_error: Exception | None = None
    during_tend: Awaitable[Any] | None = None
    troubles: list[str] = field(default_factory=list)
    not_apart: str | None = None
    busy: set[str] = field(default_factory=set)
    looks: int = 0
    tended: list[Wanted] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    during_look: Callable[[], Awaitable[None] | None] | None = None
    during_end: Callable[[], None] | None = None

    async def look(self, wanted: Wanted) -> Seen:
        self.looks += 1
        if self.during_look is not None:
            waiting = self.during_look()
            if waiting is not None:
                await waiting
        if self.error is not None:
            raise self.error
        return self.seen

    async def tend(self, wanted: Wanted, seen: Seen) -> list[str]:
        self.tended.append(wanted)
        if self.during_tend is not None:
            await self.during_tend
        if self.tend_error is not None:
            raise self.tend_error
        return self.troubles

    async def end_server(self, server: Owned) -> None:
        if self.during_end is not None:
            self.during_end()
        self.ended.append(server.name)
        left = tuple(each for each in self.seen.objects if each != server)
        self.seen = replace(self.seen, objects=left)

    async def remove_network(self, network: Owned) -> bool:
        if network.course in self.busy:
            return False
        self.removed.append(network.name)
        left = tuple(each for each in self.seen.networks if each != network)
        self.seen = replace(self.seen, networks=left)
        return True

    def isolation(self) -> str | None:
        return self.not_apart


class Bed:
    """A cluster with a fake engine; `kept` are the courses that stay, `occupied` what it told of them last."""

    def __init__(self, folder: Path, side: FakeSide, *kept: str, isolated: bool = True) -> None:
        self.side = side
        self.file = folder / "engine.json"
        self.kept = frozenset(kept)
        self.occupied: list[frozenset[str]] = []
        self.cluster = Cluster(
            "docker",
            side,
            lambda: Wanted({"stats": STATS}, frozenset({"image:1"}), self.kept),
            self.occupied.append,
            self.file,
            isolated=isolated,
        )

    def told(self) -> dict[str, Any]:
        """What the hubs read."""
        return dict(json.loads(self.file.read_text()))

    def state(self) -> str:
        return str(self.cluster.status()["state"])


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("EVERY", 0.02), ("_SOON", 0.01), ("_SETTLE_EVERY", 0.01), ("_SILENCE", 0.1)):
        monkeypatch.setattr(module, name, seconds)


def during(cluster: Cluster, work: Coroutine[Any, Any, None]) -> None:
    """Do something while the cluster follows its engine; for at most ten seconds."""

    async def both() -> None:
        following = asyncio.create_task(cluster.keep())
        try:
            await asyncio.wait_for(work, 10)
            assert not following.done(), following
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    asyncio.run(both())


async def until(check: Callable[[], Any]) -> None:
    while not check():
        await asyncio.sleep(0.005)


# --- how it is ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Unreachable("no connection"), State.CHECKING),
        (Unreachable("broken", Cause.FAILED), State.CHECKING),
        (Unreachable("no leader", Cause.NO_LEADER), State.DEGRADED),
        (Refused("it will not"), State.DEGRADED),
        (EngineError("whatever"), State.DEGRADED),
    ],
)
def test_an_engine_that_cannot_be_asked_is_not_known_to_be_broken(error: EngineError, state: State) -> None:
    assert standing_without(error) == Standing(state, str(error), felt=True)


DRAINED = NodeReport("2", "n2", "ready", "drain")
DOWN = NodeReport("3", "n3", "down", "active")
LACKING = NodeReport("4", "n4", "ready", "active", ("the storage is not there",))
CHECKED = NodeReport("5", "n5", "ready", "active", (f"{BEING_CHECKED} image:1",))


@pytest.mark.parametrize(
    ("nodes", "troubles", "standing"),
    [
        ((N1,), (), Standing(State.ANSWERING)),
        ((), (), Standing(State.ANSWERING)),
        ((N1, DRAINED), (), Standing(State.ANSWERING)),
        ((N1, CHECKED), (), Standing(State.ANSWERING)),
        ((N1, DOWN), (), Standing(State.DEGRADED, "n3 is down", felt=True)),
        ((N1, LACKING), (), Standing(State.DEGRADED, "n4: the storage is not there", felt=False)),
        ((DRAINED, LACKING), (), Standing(State.DEGRADED, "n4: the storage is not there", felt=True)),
        ((N1,), ("no network",), Standing(State.DEGRADED, "no network", felt=False)),
        (
            (DOWN, LACKING, CHECKED),
            ("no network",),
            Standing(State.DEGRADED, "n3 is down; n4: the storage is not there; no network", felt=True),
        ),
    ],
)
def test_standing(nodes: tuple[NodeReport, ...], troubles: tuple[str, ...], standing: Standing) -> None:
    assert standing_with(nodes, troubles) == standing


# --- an engine that is down --------------------------------------------------------------------


def test_before_anything_was_asked_it_is_being_checked_and_nothing_may_start(tmp_path: Path) -> None:
    bed = Bed(tmp_path, FakeSide(not_apart="no agent"))
    assert bed.state() == "checking" and bed.cluster.status()["nodes"] == []
    known = EngineState(bed.file)
    assert (known.state, known.felt, known.fenced) == ("checking", False, False)


def test_engine_down_at_the_start_is_made_up_for_and_nothing_is_lost(tmp_path: Path) -> None:
    left = (server("kept"), server("gone"))
    side = FakeSide(Seen((N1,), objects=left, networks=(network("kept"), network("gone"))), error=SILENT)
    bed = Bed(tmp_path, side, "kept")

    async def work() -> None:
        await until(lambda: side.looks >= 3)
        assert bed.state() == "checking" and bed.told()["felt"] is True
        assert bed.cluster.status()["message"] == str(SILENT)
        assert not bed.cluster.tended.is_set()
        # Of what cannot be seen nothing is forgotten, and nothing is ended.
        assert (side.tended, side.ended, side.removed, bed.occupied) == ([], [], [], [])
        side.error = None
        await until(bed.cluster.tended.is_set)
        assert bed.state() == "answering"
        await until(lambda: side.removed)

    during(bed.cluster, work())
    assert side.tended[0].networks == {"stats": STATS}
    assert (side.ended, side.removed) == (["server-gone"], ["network-gone"])


def test_what_was_seen_last_is_still_told_while_the_engine_is_away(tmp_path: Path) -> None:
    side = FakeSide()
    bed = Bed(tmp_path, side)

    async def work() -> None:
        await until(lambda: bed.state() == "answering")
        side.error = SILENT
        await until(lambda: bed.state() == "checking")
        assert [node["name"] for node in bed.cluster.status()["nodes"]] == ["n1"]

    during(bed.cluster, work())


def test_an_engine_that_falls_silent_is_being_checked_before_the_answer_fails(tmp_path: Path) -> None:
    side = FakeSide()
    bed = Bed(tmp_path, side)

    async def work() -> None:
        await until(lambda: bed.state() == "answering")
        frozen = asyncio.Event()
        side.during_look = frozen.wait  # type: ignore[assignment]
        await until(lambda: bed.state() == "checking")
        assert bed.told()["felt"] is True
        frozen.set()
        side.during_look = None
        await until(lambda: bed.state() == "answering")

    during(bed.cluster, work())


def test_an_engine_that_talks_nonsense_does_not_end_the_following(tmp_path: Path) -> None:
    side = FakeSide(error=KeyError("Spec"))
    bed = Bed(tmp_path, side)

    async def work() -> None:
        await until(lambda: bed.state() == "degraded")
        assert "KeyError" in bed.cluster.status()["message"]
        side.error = None
        await until(lambda: bed.state() == "answering")

    during(bed.cluster, work())


def test_what_could_not_be_made_is_told_and_tried_again(tmp_path: Path) -> None:
    side = FakeSide(tend_error=Refused("no such driver"))
    bed = Bed(tmp_path, side)

    async def work() -> None:
        await until(lambda: len(side.tended) >= 2)
        assert (bed.state(), bed.cluster.status()["message"]) == ("degraded", "no such driver")
        assert not bed.cluster.tended.is_set()
        side.tend_error = None
        await until(bed.cluster.tended.is_set)

    during(bed.cluster, work())


def test_since_changes_with_the_state_and_not_with_the_message(tmp_path: Path) -> None:
    bed = Bed(tmp_path, FakeSide())
    bed.cluster._since = bed.cluster._since.replace(year=2001)
    bed.cluster._note(Standing(State.CHECKING, "still nothing", felt=True))
    assert bed.told()["since"].startswith("2001-")
    bed.cluster._note(Standing(State.ANSWERING))
    assert not bed.told()["since"].startswith("2001-")


def test_hubs_are_told_as_soon_as_the_file_can_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "run"
    blocked.write_text("not a folder")
    bed = Bed(blocked, FakeSide())

    async def work() -> None:
        await until(lambda: bed.state() == "answering")
        blocked.unlink()
        await until(bed.file.exists)
        assert bed.told()["state"] == "answering"

    during(bed.cluster, work())


# --- rules that are not in force ---------------------------------------------------------------


@pytest.mark.parametrize("isolated", [True, False])
def test_hubs_are_told_whether_servers_may_start(tmp_path: Path, isolated: bool) -> None:
    side = FakeSide(not_apart="no agent")
    bed = Bed(tmp_path, side, isolated=isolated)

    async def work() -> None:
        await until(lambda: side.looks >= 2)
        assert bed.told()["fenced"] is not isolated
        assert bed.cluster.tended.is_set() is not isolated
        assert bed.cluster.status()["isolation"] == {"on": False, "message": "no agent"}
        side.not_apart = None
        await until(lambda: bed.told()["fenced"] and bed.cluster.tended.is_set())

    during(bed.cluster, work())


def test_what_is_told_to_be_ready_takes_servers(tmp_path: Path) -> None:
    side = FakeSide()
    bed = Bed(tmp_path, side)

    async def work() -> None:
        made = side.during_tend = asyncio.get_running_loop().create_future()
        await until(lambda: side.tended)
        await asyncio.sleep(0.05)
        assert bed.cluster.status()["nodes"] == [], "its labels are not there yet"
        made.set_result(None)
        await until(lambda: bed.cluster.status()["nodes"])
        assert bed.told()["fenced"] is True

    during(bed.cluster, work())


def test_settle_waits_until_everything_is_made_and_rules_are_in_force(tmp_path: Path) -> None:
    side = FakeSide(error=SILENT, not_apart="no agent")
    bed = Bed(tmp_path, side)

    async def work() -> None:
        settled = asyncio.create_task(bed.cluster.settle(9))
        await until(lambda: side.looks >= 2)
        side.error = None
        await until(lambda: side.tended)
        await asyncio.sleep(0.05)
        assert not settled.done()
        side.not_apart = None
        await settled
        assert bed.told()["fenced"] is True

    during(bed.cluster, work())


def test_hubs_are_told_which_networks_they_have(tmp_path: Path) -> None:
    side = FakeSide(tend_error=SILENT)
    bed = Bed(tmp_path, side)
    known = EngineState(bed.file)

    async def work() -> None:
        await until(lambda: len(side.tended) >= 2)
        assert not known.has(STATS.name)
        side.tend_error = None
        await until(lambda: known.has(STATS.name))
        side.error = SILENT
        await until(lambda: bed.state() == "checking")
        assert known.has(STATS.name), "what was made stays when the engine is away"
        assert not known.has("another")

    during(bed.cluster, work())


def test_settle_does_not_wait_for_ever(tmp_path: Path) -> None:
    bed = Bed(tmp_path, FakeSide(error=SILENT))

    async def work() -> None:
        await asyncio.wait_for(bed.cluster.settle(0.05), 5)
        assert not bed.cluster.tended.is_set()

    during(bed.cluster, work())


def test_settle_does_not_wait_for_rules_that_need_not_be(tmp_path: Path) -> None:
    bed = Bed(tmp_path, FakeSide(not_apart="accepted"), isolated=False)

    async def work() -> None:
        await asyncio.wait_for(bed.cluster.settle(9), 5)

    during(bed.cluster, work())


def test_looks_at_once_when_something_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", 3600.0)
    side = FakeSide()
    bed = Bed(tmp_path, side)

    async def work() -> None:
        await until(lambda: side.looks == 1)
        bed.cluster.look_again()
        await until(lambda: side.looks == 2)

    during(bed.cluster, work())


def test_servers_on_a_node(tmp_path: Path) -> None:
    there = Server("stats", "ada", "", "n1", "10.180.8.2", 8888)
    side = FakeSide(Seen((N1,), servers=(there, replace(there, node="n2"))))
    bed = Bed(tmp_path, side)
    assert asyncio.run(bed.cluster.servers_on("n1")) == (there,)
    side.error = SILENT  # then those that were known last
    assert asyncio.run(bed.cluster.servers_on("n1")) == (there,)


# --- courses that are gone ---------------------------------------------------------------------


def test_what_is_left_of_courses_that_are_gone_is_removed_servers_first(tmp_path: Path) -> None:
    objects = (server("kept"), server("gone"), Owned("a", "agent", labels.KIND_AGENT))
    side = FakeSide(Seen((N1,), objects=objects, networks=(network("kept"), network("gone"))))
    bed = Bed(tmp_path, side, "kept")

    async def work() -> None:
        await until(lambda: side.removed)
        await until(lambda: bed.occupied[-1] == {"kept"})

    during(bed.cluster, work())
    assert (side.ended, side.removed) == (["server-gone"], ["network-gone"])
    assert bed.occupied[0] == {"kept", "gone"}, "its number is given to nobody while something of it is left"


def test_a_course_that_comes_while_the_engine_is_looked_at_is_kept(tmp_path: Path) -> None:
    """Its file may have been away for a moment, and its network's number is not to be forgotten."""
    side = FakeSide(Seen((N1,), objects=(server("late"),), networks=(network("late"),)))
    bed = Bed(tmp_path, side, "kept")

    def comes() -> None:
        bed.kept = frozenset({"kept", "late"})

    side.during_look = comes

    async def work() -> None:
        await until(lambda: side.looks >= 3)

    during(bed.cluster, work())
    assert (side.ended, side.removed) == ([], [])
    assert all("late" in occupied for occupied in bed.occupied)


def test_a_course_that_comes_back_while_its_servers_stop_keeps_its_network(tmp_path: Path) -> None:
    side = FakeSide(Seen((N1,), objects=(server("late"),), networks=(network("old"), network("idle"))))
    bed = Bed(tmp_path, side)

    def comes_back() -> None:
        bed.kept = frozenset({"idle"})

    side.during_end = comes_back

    async def work() -> None:
        await until(lambda: side.removed)
        await until(lambda: side.looks >= 4)

    during(bed.cluster, work())
    assert side.removed == ["network-old"]


def test_a_network_that_stays_in_use_is_told_once_and_not_hurried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody else's container may hang on it for days."""
    monkeypatch.setattr(module, "EVERY", 0.1)
    side = FakeSide(Seen((N1,), networks=(network("gone"),)), busy={"gone"})
    bed = Bed(tmp_path, side)

    async def work() -> None:
        await asyncio.sleep(0.45)
        looks = side.looks
        side.busy = set()
        await until(lambda: side.removed)
        assert looks <= 6, f"{looks} looks in 0.45 s"

    with caplog.at_level("INFO"):
        during(bed.cluster, work())
    told = [record.message for record in caplog.records if "left" in record.message]
    assert told[0] == "of courses that are gone something is left: the network network-gone is still in use"
    assert len([text for text in told if "still in use" in text]) == 1
