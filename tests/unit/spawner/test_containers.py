"""What container spawners do by what is known of the engine, without one."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.spawners import FakeHub

from coursewarehub.engine import Cause, Conflict, EngineError, Gone, Refused, Unreachable
from coursewarehub.engine.observe import GONE, Observation
from coursewarehub.engine.states import Condition, Facts, reason_of_words
from coursewarehub.wire import labels
from coursewarespawner import messages
from coursewarespawner.containers import ContainerSpawner, Found
from coursewarespawner.defaults import NOT_TAKEN
from coursewarespawner.docker import CoursewareDockerSpawner
from coursewarespawner.fence import Lost
from coursewarespawner.messages import StartFailed, Told
from coursewarespawner.swarm import CoursewareSwarmSpawner


class View:
    """An engine of which only this is known."""

    def __init__(self, seen: Observation | None = None) -> None:
        self.seen = seen
        self.asked: list[str] = []

    @property
    def observations(self) -> dict[str, Observation]:
        return {} if self.seen is None else {"x": self.seen}

    async def look(self, name: str, *, max_age: float = 2.0) -> Observation:
        self.asked.append(name)
        assert self.seen is not None, "nobody was to ask"
        return self.seen


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    made = FakeHub(CoursewareDockerSpawner, "unix:///nowhere", "docker", tmp_path)
    yield made
    made.database.close()
    made.database.get_bind().dispose()


def known(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, seen: Observation | None, **state: Any) -> Any:
    """A spawner after a restart, of whose server this is known; what it removes is noted in `removed`."""
    view, removed = View(seen), list[str]()
    monkeypatch.setattr(ContainerSpawner, "_view", property(lambda _: view))

    def later(self: Any, name: str, *, grace: int, spawn: str, after: float = 0.0) -> None:
        removed.append(f"{name} {spawn}")

    monkeypatch.setattr(ContainerSpawner, "_remove_later", later)
    spawner = hub.spawner()
    spawner.load_state({"spawn": "mine", "object_name": "the-name", "object_id": "id", "network": "net", **state})
    spawner.view, spawner.removed = view, removed
    return spawner


REASON = reason_of_words("No such image: teaching/base:1", Facts(image="teaching/base:1"))
ALIVE = [
    Observation(Condition.STARTING, spawn="mine"),
    Observation(Condition.RUNNING, spawn="mine"),
    Observation(Condition.UNKNOWN, verified=False),
    Observation(Condition.UNKNOWN, spawn="mine"),
    Observation(Condition.RUNNING, spawn="mine", verified=False),
    Observation(Condition.FAILED, spawn="mine", verified=False),
    Observation(Condition.GONE, verified=False),
    Observation(Condition.LOST, spawn="mine", verified=False),
]


@pytest.mark.parametrize("seen", ALIVE, ids=lambda seen: f"{seen.condition}-{seen.verified}")
def test_alive_and_unknown_are_alive(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, seen: Observation) -> None:
    spawner = known(hub, monkeypatch, seen)
    for _ in range(3):
        assert asyncio.run(spawner.poll()) is None
    assert spawner.last_reason is None and spawner.removed == []


@pytest.mark.parametrize(
    ("seen", "status", "told", "removed"),
    [
        (Observation(Condition.ENDED, spawn="mine", exit_code=0), 0, None, True),
        (
            Observation(Condition.FAILED, spawn="mine", exit_code=137, reason=REASON),
            137,
            Told(messages.STOPPED, {"reason": REASON}),
            True,
        ),
        (
            Observation(Condition.FAILED, spawn="mine", reason=REASON),
            1,
            Told(messages.STOPPED, {"reason": REASON}),
            True,
        ),
        (Observation(Condition.LOST, spawn="mine", node_name="n2"), 1, Told(messages.LOST), True),
        (GONE, 0, Told(messages.GONE), False),
        (Observation(Condition.RUNNING, spawn="another"), 0, Told(messages.GONE), False),
    ],
    ids=lambda value: str(value.condition) if isinstance(value, Observation) else "",
)
def test_what_has_ended(
    hub: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
    seen: Observation,
    status: int,
    told: Told | None,
    removed: bool,
) -> None:
    spawner = known(hub, monkeypatch, seen)
    assert [asyncio.run(spawner.poll()) for _ in range(3)] == [status] * 3
    assert spawner.last_reason == told
    assert spawner.removed == (["the-name mine"] if removed else [])
    assert len(spawner.view.asked) == 1
    hub.stopped(spawner)
    again = hub.spawner()
    assert str(again.last_reason) == str(told), "the next page can say it, also after a restart"
    assert again.spawn_id == "" and again.object_id == ""


def test_start_that_was_interrupted_before_anything_was_made(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    spawner = known(hub, monkeypatch, GONE, object_id="")
    assert asyncio.run(spawner.poll()) == 0
    assert spawner.last_reason == Told(messages.INTERRUPTED)


def test_who_never_started_is_not_asked_for(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    spawner = known(hub, monkeypatch, None, spawn="")
    spawner.server = None
    assert asyncio.run(spawner.poll()) == 0


def test_lost_server_is_remembered_until_its_token_was_revoked(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Observation(Condition.LOST, spawn="mine", node_name="n2", node_id="node-id")
    spawner = known(hub, monkeypatch, seen)
    asyncio.run(spawner.poll())
    monkeypatch.setattr(time, "time", lambda: 5000.0)
    asyncio.run(spawner.run_post_stop_hook())
    hub.stopped(spawner)
    assert hub.spawner()._lost == Lost(5000.0, "n2", "node-id", "mine")
    monkeypatch.setattr(time, "time", lambda: 9000.0)
    again = hub.spawner()
    asyncio.run(again.run_post_stop_hook())
    assert again._lost == Lost(5000.0, "n2", "node-id", "mine"), "a start that fails meanwhile makes it no longer"


def test_state_is_what_a_restarted_hub_needs(hub: FakeHub) -> None:
    spawner = hub.spawner()
    assert spawner.get_state() == {}
    kept = {"object_name": "n", "object_id": "i", "spawn": "s", "node": "n2", "network": "net", "leased": True}
    spawner.load_state(kept)
    assert json.loads(json.dumps(spawner.get_state())) == kept
    spawner.clear_state()
    assert spawner.get_state() == {} and spawner.api_token == ""


# -- what the engine's errors mean -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "template"),
    [
        (Unreachable("x", Cause.TIMEOUT), messages.ENGINE_SILENT),
        (Unreachable("x", Cause.BROKEN), messages.ENGINE_SILENT),
        (Unreachable("x", Cause.NO_LEADER), messages.ENGINE_NO_LEADER),
        (Unreachable("x", Cause.MISSING), messages.ENGINE_MISSING),
        (Unreachable("x", Cause.FORBIDDEN), messages.ENGINE_MISSING),
        (Unreachable("x", Cause.REFUSED), messages.ENGINE_MISSING),
        (Unreachable("x", Cause.NOT_MANAGER), messages.ENGINE_MISSING),
        (Unreachable("x", Cause.ADDRESS), messages.ENGINE_MISSING),
        (Unreachable("it broke", Cause.FAILED), messages.ENGINE_FAILED),
        (Unreachable("network net not found", Cause.FAILED), messages.NOT_STARTED),
        (Refused("x", "No such image: a"), messages.NOT_STARTED),
        (Refused("x", "no available IPv4 addresses on this network's address pools"), messages.COURSE_FULL),
        (Unreachable("no available IPv4 addresses on this network", Cause.FAILED), messages.COURSE_FULL),
        (Gone("the engine has no container `x`"), messages.NOT_STARTED),
        (Conflict("in the middle of another change"), messages.NOT_STARTED),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_a_learner_is_told(hub: FakeHub, error: EngineError, template: str) -> None:
    failed = hub.spawner(capacity=lambda nodes: 11)._failure(error)
    assert failed.told.template == template
    assert str(error) in failed.log_message or str(error) in failed.jupyterhub_message


# -- nobody's choice -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spawner_class", [CoursewareDockerSpawner, CoursewareSwarmSpawner])
def test_a14_no_option_of_a_learner_reaches_a_trait(hub: FakeHub, spawner_class: Any) -> None:
    hub.spawner_class = spawner_class
    spawner = hub.spawner(allowed_images=["evil:1", "other:1"])
    assert not spawner.options_form
    sent = {name: ["evil"] for name in spawner.trait_names()}
    assert spawner.options_from_form(sent) == spawner.options_from_query(sent) == {}
    spawner.user_options = dict.fromkeys(spawner.trait_names(), "evil")
    asyncio.run(spawner._run_apply_user_options(spawner.user_options))
    plain = spawner._complete(spawner._planned())
    values = {name: getattr(spawner, name) for name in spawner.trait_names() if name != "user_options"}
    spawner.user_options = {}
    assert spawner._complete(spawner._planned()) == plain
    assert "evil" not in {value for value in values.values() if isinstance(value, str)}
    assert (spawner.image, spawner.network_name, tuple(spawner.cmd)) == (plain.image, plain.network, plain.command)
    assert (int(spawner.mem_limit), spawner.cpu_limit) == (plain.memory, plain.cpu)


@pytest.mark.parametrize("spawner_class", [CoursewareDockerSpawner, CoursewareSwarmSpawner])
def test_a14_a_learner_chooses_one_of_the_courses_images_and_no_other(hub: FakeHub, spawner_class: Any) -> None:
    hub.spawner_class = spawner_class
    images = ["teaching/base:1", "teaching/r:1"]
    spawner = hub.spawner(images=images)
    assert [image in asyncio.run(spawner.get_options_form()) for image in images] == [True, True]
    for read in (spawner.options_from_form, spawner.options_from_query):
        assert read({"image": ["teaching/r:1"], "cmd": ["evil"]}) == {"image": "teaching/r:1"}
        assert read({}) == read({"image": [""]}) == {}
        for evil in ("evil:1", "teaching/r", "teaching/r:1 ", "x" * 999, "\x1b[31m"):
            with pytest.raises(StartFailed) as refused:
                read({"image": [evil]})
            assert str(refused.value).endswith(": choose one of the list.") and len(str(refused.value)) < 200
    # What comes as JSON, or was stored before the course changed, counts only when it is one of them.
    for stored, chosen in (
        ("teaching/r:1", "teaching/r:1"),
        ("evil:1", ""),
        (["teaching/r:1"], ""),
        (None, ""),
        (7, ""),
    ):
        spawner.user_options = {"image": stored}
        assert spawner.chosen_image == chosen
    alone = hub.spawner(images=images[:1])
    alone.user_options = {"image": "teaching/r:1"}
    assert alone.chosen_image == "" and alone.options_form == ""


def test_a14_what_a_server_is_called_chooses_nothing_else(hub: FakeHub) -> None:
    plans = [hub.spawner(server=server)._planned() for server in ("", "x", "../../etc", "--privileged", "a/b")]
    assert len({plan.name for plan in plans}) == len(plans)
    assert all(plan.mounts == plans[0].mounts and plan.user == plans[0].user for plan in plans)
    assert all(len(plan.name) <= 63 and plan.name.replace("-", "").isalnum() for plan in plans)


def test_environment_is_the_plans_before_the_operators_before_jupyterhubs(hub: FakeHub) -> None:
    spawner = hub.spawner(environment={"HOME": "/elsewhere", "EXTRA": "x"}, env_keep=[])
    spawner.spawn_id = "the-start"
    plan = spawner._complete(spawner._planned())
    assert plan.environment["HOME"] == "/home/learner" and plan.environment["EXTRA"] == "x"
    assert plan.environment["JUPYTERHUB_API_URL"] == "http://10.180.0.1:8081/hub/api"
    assert plan.environment["JUPYTERHUB_SERVICE_URL"].startswith("http://0.0.0.0:8888/")
    assert plan.labels[labels.SPAWN] == "the-start"
    assert all(isinstance(value, str) for value in plan.environment.values())


def test_nothing_of_the_hubs_own_environment(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "planted")
    monkeypatch.setenv("PATH", "/planted")
    environment = hub.spawner()._complete(hub.spawner()._planned()).environment
    assert not [name for name, value in environment.items() if "planted" in value]


@pytest.mark.parametrize("setting", sorted(set(NOT_TAKEN) & set(CoursewareSwarmSpawner.class_trait_names())))
def test_settings_that_would_go_round_the_plan_are_refused(hub: FakeHub, setting: str) -> None:
    hub.spawner_class = CoursewareSwarmSpawner
    trait = CoursewareSwarmSpawner.class_traits()[setting]
    value: Any = {"/": "/host"} if "Dict" in type(trait).__name__ or "Union" in type(trait).__name__ else "x"
    spawner = hub.spawner(**{setting: value})
    with pytest.raises(StartFailed, match=f"does not take `{setting}`") as caught:
        asyncio.run(spawner.start())
    assert caught.value.told.template == messages.NOT_CONFIGURED


def test_a_start_may_wait_in_line_for_a_day(hub: FakeHub) -> None:
    assert hub.spawner().start_timeout == 24 * 3600
    assert hub.spawner().will_resume is False


@pytest.mark.parametrize(
    ("changes", "ours"),
    [
        ({}, True),
        ({labels.SITE: "another"}, False),
        ({labels.COURSE: "beta"}, False),
        ({labels.KIND: "site"}, False),
    ],
)
def test_only_what_has_all_our_labels_is_ours(hub: FakeHub, changes: dict[str, str], ours: bool) -> None:
    own = {labels.SITE: "site-1", labels.COURSE: "alpha", labels.KIND: "server", "more": "x"}
    assert hub.spawner()._is_ours(Found("id", {**own, **changes})) is ours
    assert not hub.spawner()._is_ours(Found("id", {}))


def test_swarm_without_a_network_is_a_sentence(hub: FakeHub) -> None:
    hub.spawner_class = CoursewareSwarmSpawner
    spawner = hub.spawner(plan=None, member=None)
    with pytest.raises(StartFailed, match=r"`CoursewareSwarmSpawner\.network_name` must name a network"):
        asyncio.run(spawner.start())
