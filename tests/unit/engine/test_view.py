"""The shared view, over an engine that tells of containers, services, events and failures as a test wants."""

from __future__ import annotations

import asyncio
import json
import queue
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from support.fake_engine import Answer, Asked, FakeEngine

from coursewarehub.engine import Engine
from coursewarehub.engine.observe import Observation
from coursewarehub.engine.states import Condition
from coursewarehub.engine.view import EngineView
from coursewarehub.wire import labels

Run = Callable[[Coroutine[Any, Any, Any]], Any]
STARTING, RUNNING, ENDED, FAILED = Condition.STARTING, Condition.RUNNING, Condition.ENDED, Condition.FAILED
LOST, UNKNOWN, GONE = Condition.LOST, Condition.UNKNOWN, Condition.GONE
OURS = {labels.SITE: "site-1", labels.COURSE: "stats"}
MADE = "2026-11-25T12:00:00.5Z"


class Swarm:
    """Services by name, each with the state of its task, as the engine lists them."""

    def __init__(self, fake: FakeEngine) -> None:
        self.fake = fake
        self.states: dict[str, str] = {}
        self.ids: dict[str, int] = {}
        self.nodes = {"i1": "ready", "i2": "ready"}
        fake.on("GET", "/services", lambda asked: Answer(body=[self.service(name) for name in self.ours()]))
        fake.on("GET", "/tasks", self.tasks)
        fake.on("GET", "/nodes", lambda asked: Answer(body=list(map(self.node, self.nodes))))

    def put(self, name: str, state: str, *, foreign: bool = False) -> None:
        if name not in self.states:
            self.ids[name] = max(self.ids.values(), default=0) + 1
            self.fake.on("GET", f"/services/{name}", lambda asked: Answer(body=self.service(name, foreign)))
        self.states[name] = "" if foreign else state

    def remove(self, name: str) -> None:
        del self.states[name]
        self.fake.fails("GET", f"/services/{name}", 404, f"service {name} not found")

    def ours(self) -> list[str]:
        return [name for name, state in self.states.items() if state]

    def node(self, number: str) -> dict[str, Any]:
        return {"ID": number, "Description": {"Hostname": f"n{number[1]}"}, "Status": {"State": self.nodes[number]}}

    def service(self, name: str, foreign: bool = False) -> dict[str, Any]:
        held = {} if foreign else {**OURS, labels.SPAWN: f"start-{self.ids[name]}"}
        return {"ID": f"id{self.ids[name]}", "CreatedAt": MADE, "Spec": {"Name": name, "Labels": held}}

    def tasks(self, asked: Asked) -> Answer:
        wanted = json.loads(asked.query.get("filters", "{}")).get("service")
        names = {f"id{self.ids[name]}": name for name in self.ours()}
        if wanted and not set(wanted) <= names.keys():
            return Answer(404, {"message": f"service {min(set(wanted) - names.keys())} not found"})
        return Answer(
            body=[self.task(number, name) for number, name in names.items() if not wanted or number in wanted]
        )

    def task(self, number: str, name: str) -> dict[str, Any]:
        task = {"ID": f"t{number}", "ServiceID": number, "CreatedAt": MADE, "DesiredState": "running", "NodeID": "i2"}
        return {**task, "Status": {"State": self.states[name]}}


class Docker:
    """Containers by name with their state, and the events that tell of them."""

    def __init__(self, fake: FakeEngine) -> None:
        self.fake = fake
        self.states: dict[str, str] = {}
        self.events: queue.Queue[bytes | None] = queue.Queue()
        fake.on("GET", "/containers/json", lambda asked: Answer(body=list(map(self.entry, self.states))))
        fake.on("GET", "/events", lambda asked: Answer(parts=self.told(), whole=False))

    def told(self) -> Iterator[bytes]:
        yield b"\n"
        while (event := self.events.get()) is not None:
            yield event

    def put(self, name: str, state: str, *, tell: bool = True) -> None:
        self.states[name] = state
        self.fake.on("GET", f"/containers/{name}/json", self.inspected(name))
        self.fake.on("GET", f"/containers/id-{name}/json", self.inspected(name))
        if tell:
            self.events.put(b'{"Type": "container", "Action": "any"}\n')

    def remove(self, name: str, *, tell: bool = True) -> None:
        del self.states[name]
        self.fake.fails("GET", f"/containers/{name}/json", 404, f"No such container: {name}")
        if tell:
            self.events.put(b'{"Type": "container", "Action": "destroy"}\n')

    def entry(self, name: str) -> dict[str, Any]:
        state = self.states[name]
        status = "Exited (3) 1 second ago" if state == "exited" else ""
        made = int(time.time())
        held = {"Id": f"id-{name}", "Names": [f"/{name}"], "Labels": {**OURS, labels.SPAWN: "start-1"}, "Created": made}
        return {**held, "State": state, "Status": status}

    def inspected(self, name: str) -> dict[str, Any]:
        state = {"Status": self.states[name], "ExitCode": 3 if self.states[name] == "exited" else 0}
        return {"Name": f"/{name}", "Config": {"Image": "lab:1", "Labels": OURS}, "State": state, "HostConfig": {}}


@pytest.fixture
def swarm(fake: FakeEngine) -> Swarm:
    return Swarm(fake)


@pytest.fixture
def docker(fake: FakeEngine) -> Iterator[Docker]:
    docker = Docker(fake)
    yield docker
    docker.events.put(None)


@pytest.fixture
def view(engine: Engine, request: pytest.FixtureRequest) -> EngineView:
    """Of a swarm when the test has one, else of a Docker host."""
    return EngineView(engine, OURS, swarm="swarm" in request.fixturenames, interval=0.1, fast=0.02)


def lists(fake: FakeEngine) -> int:
    return len(fake.asked_for("/services")) + len(fake.asked_for("/containers/json"))


async def until(true: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)


# --- swarm -------------------------------------------------------------------------------------


def test_a_look_at_a_service(swarm: Swarm, fake: FakeEngine, view: EngineView, run: Run) -> None:
    swarm.put("ann", "running")
    begun = time.time()
    found = run(view.look("ann"))
    assert begun <= found.since <= time.time()
    assert found == Observation(
        RUNNING, since=found.since, node_id="i2", node_name="n2", object_id="id1", spawn="start-1"
    )
    assert view.seen_at is not None
    assert begun <= view.seen_at <= time.time()
    assert (view.error, view.degraded()) == (None, None)
    wanted = {"label": [f"{name}={value}" for name, value in OURS.items()]}
    assert json.loads(fake.asked_for("/services")[0].query["filters"]) == wanted
    assert json.loads(fake.asked_for("/tasks")[0].query["filters"]) == wanted


def test_s16_many_questions_are_one_list(swarm: Swarm, fake: FakeEngine, view: EngineView, run: Run) -> None:
    for number in range(50):
        swarm.put(f"s{number}", "running")

    async def work() -> list[Observation]:
        return await asyncio.gather(*(view.look(f"s{number}") for number in range(50)))

    assert {found.condition for found in run(work())} == {RUNNING}
    assert lists(fake) <= 2


def test_a_look_that_may_be_old_asks_nothing(swarm: Swarm, fake: FakeEngine, view: EngineView, run: Run) -> None:
    swarm.put("ann", "shutdown")

    async def work() -> None:
        await view.look("ann")
        before = lists(fake)
        await view.look("ann", max_age=60)
        assert lists(fake) == before
        await view.look("ann", max_age=0)
        assert lists(fake) == before + 1

    run(work())


def test_nothing_is_asked_while_nothing_is_alive(swarm: Swarm, fake: FakeEngine, view: EngineView, run: Run) -> None:
    swarm.put("ann", "failed")

    async def work() -> None:
        await view.look("ann")
        await asyncio.sleep(0.05)
        before = len(fake.asked)
        await asyncio.sleep(0.5)
        assert len(fake.asked) == before
        swarm.put("bob", "running")
        assert (await view.look("bob", max_age=0)).condition is RUNNING
        await asyncio.sleep(0.5)
        assert len(fake.asked) > before + 5

    run(work())


def test_each_step_of_a_start_is_seen_at_once(swarm: Swarm, view: EngineView, run: Run) -> None:
    swarm.put("ann", "new")
    late: list[float] = []

    async def step(state: str, condition: Condition) -> None:
        waiting = asyncio.create_task(view.wait_for("ann", lambda seen: seen.condition is condition, 5))
        await asyncio.sleep(0.1)
        swarm.put("ann", state)
        begun = time.monotonic()
        assert (await waiting).condition is condition
        late.append(time.monotonic() - begun)

    async def work() -> None:
        for _ in range(8):
            await step("running", RUNNING)
            await step("preparing", STARTING)

    run(work())
    assert sorted(late)[len(late) // 2] < 0.06


def test_s5_a_slow_survey_does_not_undo_what_is_newer(
    swarm: Swarm, fake: FakeEngine, view: EngineView, run: Run
) -> None:
    swarm.put("ann", "running")

    async def work() -> None:
        await view.look("ann")
        live = dict(fake.answers)
        fake.on("GET", "/services", Answer(body=[swarm.service("ann")], delay=0.5))
        fake.on("GET", "/tasks", Answer(body=[swarm.task("id1", "ann")], delay=0.5))
        survey = asyncio.create_task(view.look("ann", max_age=0))
        await until(lambda: len(fake.asked_for("/services")) == 2 and len(fake.asked_for("/tasks")) == 2)
        fake.answers.update(live)
        swarm.ids["ann"] = 9
        swarm.put("ann", "preparing")
        await view.wait_for("ann", lambda seen: seen.condition is STARTING, 5)
        spawns = set()
        while not survey.done() or len(spawns) == 0:
            await asyncio.sleep(0)
            spawns.add(view.observations["ann"].spawn)
        assert spawns == {"start-9"}

    run(work())


def test_a_new_service_in_place_of_one_that_is_waited_for(swarm: Swarm, view: EngineView, run: Run) -> None:
    swarm.put("ann", "preparing")

    async def work() -> Observation:
        waiting = asyncio.create_task(view.wait_for("ann", lambda seen: seen.spawn == "start-9", 5))
        await asyncio.sleep(0.2)
        swarm.ids["ann"] = 9
        return await waiting

    assert run(work()).condition is STARTING


def test_f26_what_was_removed_behind_our_back_is_gone(
    swarm: Swarm, fake: FakeEngine, view: EngineView, run: Run
) -> None:
    swarm.put("ann", "running")
    swarm.put("bob", "running")

    async def work() -> None:
        await view.look("ann")
        swarm.remove("ann")
        await until(lambda: view.observations["ann"].condition is GONE)
        assert view.observations["bob"].condition is RUNNING

    run(work())
    assert fake.asked_for("/services/ann")


def test_s1_missing_from_a_list_is_not_gone_while_the_object_answers(
    swarm: Swarm, fake: FakeEngine, view: EngineView, run: Run
) -> None:
    swarm.put("ann", "running")

    async def work() -> None:
        await view.look("ann")
        fake.on("GET", "/services", [])
        await view.look("ann", max_age=0)
        assert view.observations["ann"].condition is RUNNING
        fake.fails("GET", "/services/ann", 500, "the swarm does not have a leader")
        found = await view.look("ann", max_age=0)
        assert (found.condition, found.verified) == (RUNNING, False)

    run(work())


def test_f26_a_foreign_service_of_that_name_is_not_ours(swarm: Swarm, view: EngineView, run: Run) -> None:
    swarm.put("ann", "running", foreign=True)
    assert run(view.look("ann")).condition is GONE
    assert run(view.wait_for("ann", lambda seen: True, 5)).condition is GONE


def test_a_name_that_begins_another_id_is_not_that_object(
    fake: FakeEngine, swarm: Swarm, view: EngineView, run: Run
) -> None:
    swarm.put("other", "running")
    fake.on("GET", "/services/id1", swarm.service("other"))
    assert run(view.look("id1")).condition is GONE


def test_a_name_that_never_was_is_gone(swarm: Swarm, fake: FakeEngine, view: EngineView, run: Run) -> None:
    fake.fails("GET", "/services/ann", 404, "service ann not found")
    assert run(view.look("ann")).condition is GONE
    assert run(view.wait_for("ann", lambda seen: True, 5)).condition is GONE


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (500, "rpc error: code = Unknown desc = The swarm does not have a leader."),
        (503, "This node is not a swarm manager."),
        (500, "context deadline exceeded"),
    ],
)
def test_s1_f04_trouble_of_the_engine_leaves_what_was_known(
    swarm: Swarm, fake: FakeEngine, view: EngineView, run: Run, status: int, message: str
) -> None:
    swarm.put("ann", "running")

    async def work() -> None:
        known = await view.look("ann")
        assert known.verified
        for path in ("/services", "/tasks", "/nodes", "/services/ann", "/services/bob"):
            fake.fails("GET", path, status, message)
        found = await view.look("ann", max_age=0)
        assert (found.condition, found.since, found.verified) == (RUNNING, known.since, False)
        assert (await view.look("bob", max_age=0)).condition is UNKNOWN
        assert view.error == view.degraded()
        assert view.error is not None
        assert "(since " in view.error
        Swarm.__init__(swarm, fake)
        swarm.put("ann", "running")
        await until(lambda: view.error is None)
        found = await view.look("ann")
        assert (found.condition, found.verified) == (RUNNING, True)

    run(work())


def test_f03_a_frozen_engine_leaves_what_was_known(swarm: Swarm, fake: FakeEngine, run: Run) -> None:
    swarm.put("ann", "running")
    view = EngineView(Engine(fake.url, timeout=0.3), OURS, swarm=True, interval=0.1)

    async def work() -> None:
        await view.look("ann")
        for path in ("/services", "/tasks", "/nodes"):
            fake.on("GET", path, Answer(body=[], delay=5))
        begun = time.monotonic()
        found = await asyncio.gather(*(view.look("ann", max_age=0) for _ in range(20)))
        assert time.monotonic() - begun < 2
        assert {(each.condition, each.verified) for each in found} == {(RUNNING, False)}
        assert "did not answer" in str(view.error)

    run(work())


def test_an_engine_that_never_answered(engine: Engine, fake: FakeEngine, run: Run) -> None:
    fake.stop()
    view = EngineView(engine, OURS, swarm=True)
    found = run(view.look("ann"))
    assert (found.condition, found.verified) == (UNKNOWN, False)
    assert "no Docker Engine runs" in str(view.error)
    assert view.seen_at is None


def test_objects_that_are_not_understood(swarm: Swarm, fake: FakeEngine, view: EngineView, run: Run) -> None:
    swarm.put("ann", "running")

    async def work() -> None:
        await view.look("ann")
        fake.on("GET", "/services", [{"no": "service"}])
        assert (await view.look("ann", max_age=0)).verified is False

    run(work())
    assert "not understood" in str(view.error)


def test_waiting_has_an_end(swarm: Swarm, view: EngineView, run: Run) -> None:
    swarm.put("ann", "preparing")
    with pytest.raises(TimeoutError, match=r"ann did not get there within 0\.3 seconds"):
        run(view.wait_for("ann", lambda seen: seen.condition is RUNNING, 0.3))


def test_waiting_in_vain_says_what_is_wrong_with_the_engine(
    swarm: Swarm, fake: FakeEngine, view: EngineView, run: Run
) -> None:
    for path in ("/services", "/tasks", "/nodes", "/services/ann"):
        fake.fails("GET", path, 500, "The swarm does not have a leader.")
    with pytest.raises(TimeoutError, match="the swarm has no leader"):
        run(view.wait_for("ann", lambda seen: True, 0.5))


def test_those_who_wait_are_not_in_each_others_way(swarm: Swarm, view: EngineView, run: Run) -> None:
    for name in ("ann", "bob", "eve"):
        swarm.put(name, "preparing")

    async def work() -> None:
        waiting = {
            name: asyncio.create_task(view.wait_for(name, lambda seen: seen.condition is RUNNING, 5))
            for name in ("ann", "bob", "eve")
        }
        await asyncio.sleep(0.1)
        swarm.put("bob", "running")
        assert (await waiting["bob"]).object_id == "id2"
        waiting["eve"].cancel()
        swarm.remove("eve")
        swarm.put("ann", "running")
        assert (await waiting["ann"]).object_id == "id1"

    run(work())


def test_f06_a_machine_that_goes_down_is_seen(swarm: Swarm, view: EngineView, run: Run) -> None:
    swarm.put("ann", "running")

    async def work() -> None:
        before = await view.look("ann")
        swarm.nodes["i2"] = "down"
        await until(lambda: view.observations["ann"].condition is LOST)
        lost = view.observations["ann"]
        assert lost.since > before.since
        assert lost.reason == "The machine n2 does not answer."
        assert view.degraded() == "n2 of 2 machines does not answer"
        await asyncio.sleep(0.3)
        assert view.observations["ann"].since == lost.since
        swarm.nodes["i2"] = "ready"
        await until(lambda: view.observations["ann"].condition is RUNNING)
        assert view.degraded() is None

    run(work())


def test_a_machine_that_came_after_the_last_survey_is_not_lost(
    swarm: Swarm, fake: FakeEngine, engine: Engine, run: Run
) -> None:
    view = EngineView(engine, OURS, swarm=True, interval=30)
    del swarm.nodes["i2"]
    swarm.put("ann", "pending")
    seen: list[Condition] = []

    async def work() -> None:
        await view.look("ann")
        fake.on("GET", "/services", Answer(body=[], delay=1))
        swarm.nodes["i2"] = "ready"
        swarm.put("ann", "running")
        await view.wait_for("ann", lambda found: seen.append(found.condition) or found.condition is RUNNING, 5)

    run(work())
    assert LOST not in seen


# --- one docker host ---------------------------------------------------------------------------


def test_an_event_is_seen_at_once(docker: Docker, engine: Engine, run: Run) -> None:
    view = EngineView(engine, OURS, swarm=False, interval=20)
    docker.put("ann", "created")
    late: list[float] = []

    async def work() -> None:
        await view.look("ann")
        await asyncio.sleep(0.2)
        for number in range(10):
            state, condition = ("running", RUNNING) if number % 2 == 0 else ("created", STARTING)
            docker.put("ann", state)
            begun = time.monotonic()
            await until(lambda wanted=condition: view.observations["ann"].condition is wanted)
            late.append(time.monotonic() - begun)

    run(work())
    assert sorted(late)[len(late) // 2] < 0.05


def test_what_ended_is_inspected_once(docker: Docker, fake: FakeEngine, view: EngineView, run: Run) -> None:
    docker.put("ann", "exited")

    async def work() -> Observation:
        for _ in range(5):
            await view.look("ann", max_age=0)
        return await view.look("ann")

    found = run(work())
    assert (found.condition, found.exit_code) == (FAILED, 3)
    assert found.reason == "The program ended (exit status 3)."
    assert len(fake.asked_for("/containers/id-ann/json")) == 1


def test_what_ended_again_is_inspected_again(docker: Docker, fake: FakeEngine, view: EngineView, run: Run) -> None:
    async def work() -> None:
        for state in ("exited", "running", "exited"):
            docker.put("ann", state, tell=False)
            await view.look("ann", max_age=0)

    run(work())
    assert len(fake.asked_for("/containers/id-ann/json")) == 2


def test_a_container_that_is_destroyed_is_gone(docker: Docker, view: EngineView, run: Run) -> None:
    docker.put("ann", "running")

    async def work() -> None:
        await view.look("ann")
        await asyncio.sleep(0.1)
        docker.remove("ann")
        await until(lambda: view.observations["ann"].condition is GONE)

    run(work())


def test_waiting_for_a_container(docker: Docker, view: EngineView, run: Run) -> None:
    docker.put("ann", "created")

    async def work() -> None:
        waiting = asyncio.create_task(view.wait_for("ann", lambda seen: seen.condition is not STARTING, 5))
        await asyncio.sleep(0.1)
        docker.put("ann", "running")
        assert (await waiting).condition is RUNNING
        docker.remove("ann")
        assert (await view.wait_for("ann", lambda seen: seen.condition is GONE, 5)).condition is GONE

    run(work())


def test_s5_waiting_begins_now(docker: Docker, fake: FakeEngine, view: EngineView, run: Run) -> None:
    """What was seen of an earlier container of that name is no answer."""
    docker.put("ann", "running", tell=False)

    async def work() -> None:
        await view.look("ann")
        listing = fake.answers["GET", "/containers/json"]
        fake.on("GET", "/containers/json", Answer(body=[docker.entry("ann")], delay=0.3))
        survey = asyncio.create_task(view.look("ann", max_age=0))
        await until(lambda: len(fake.asked_for("/containers/json")) == 2)
        fake.on("GET", "/containers/json", listing)
        docker.put("ann", "exited", tell=False)
        found = await view.wait_for("ann", lambda seen: True, 5)
        assert found.condition is FAILED
        await survey

    run(work())


def test_events_that_are_not_heard_are_made_up_for(
    docker: Docker, fake: FakeEngine, view: EngineView, run: Run
) -> None:
    fake.fails("GET", "/events", 500, "out of events")
    docker.put("ann", "running", tell=False)

    async def work() -> None:
        await view.look("ann")
        docker.put("ann", "exited", tell=False)
        await until(lambda: view.observations["ann"].condition is FAILED, 2)

    run(work())


def test_after_a_lost_connection_events_are_heard_again(
    docker: Docker, fake: FakeEngine, view: EngineView, run: Run
) -> None:
    docker.put("ann", "running")

    async def work() -> None:
        await view.look("ann")
        await until(lambda: len(fake.asked_for("/events")) == 1)
        docker.events.put(None)
        await until(lambda: len(fake.asked_for("/events")) == 2)
        docker.put("ann", "exited")
        await until(lambda: view.observations["ann"].condition is FAILED, 2)

    run(work())
    first, second = (int(asked.query["since"]) for asked in fake.asked_for("/events"))
    assert time.time() - 10 < first <= second <= time.time()


# --- life --------------------------------------------------------------------------------------


def test_one_view_for_loop_after_loop(swarm: Swarm, view: EngineView) -> None:
    swarm.put("ann", "running")
    for _ in range(3):
        assert asyncio.run(view.look("ann", max_age=0)).condition is RUNNING


def test_a_closed_view_asks_no_more(swarm: Swarm, fake: FakeEngine, view: EngineView, run: Run) -> None:
    swarm.put("ann", "running")

    async def work() -> None:
        await view.look("ann")
        view.close()
        await asyncio.sleep(0.05)
        before = len(fake.asked)
        await asyncio.sleep(0.4)
        assert len(fake.asked) == before
        assert (await view.look("ann", max_age=0)).condition is RUNNING

    run(work())


def test_one_view_of_a_process(fake: FakeEngine) -> None:
    first = EngineView.shared(fake.url, OURS, swarm=True)
    assert EngineView.shared(fake.url, dict(reversed(OURS.items())), swarm=True) is first
    assert EngineView.shared(fake.url, {**OURS, labels.COURSE: "other"}, swarm=True) is not first
    assert EngineView.shared(fake.url, OURS, swarm=False) is not first
