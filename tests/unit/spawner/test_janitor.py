"""Servers that are nobody's: only after a while, and only for certain."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyterhub import orm

from coursewarehub.engine import Unreachable
from coursewarehub.engine.observe import GONE, Observation
from coursewarehub.engine.states import Condition
from coursewarespawner.janitor import Janitor, Nobodys, owned_names

RUNNING = Observation(Condition.RUNNING)


def test_what_is_nobodys_long_enough_is_due() -> None:
    nobodys = Nobodys(patience=100)
    seen = {"mine": RUNNING, "strange": RUNNING, "over": Observation(Condition.ENDED), "gone": GONE}
    assert nobodys.due(seen, {"mine"}, 1000) == []
    assert nobodys.due(seen, {"mine"}, 1099) == []
    assert nobodys.due(seen, {"mine"}, 1100) == ["over", "strange"]


def test_what_somebody_took_meanwhile_counts_anew() -> None:
    nobodys = Nobodys(patience=100)
    nobodys.due({"x": RUNNING}, set(), 1000)
    nobodys.due({"x": RUNNING}, {"x"}, 1050)
    assert nobodys.due({"x": RUNNING}, set(), 1100) == []
    assert nobodys.due({"x": RUNNING}, set(), 1200) == ["x"]


def test_what_is_not_verified_is_left_alone() -> None:
    nobodys = Nobodys(patience=100)
    stale = {"x": Observation(Condition.RUNNING, verified=False)}
    nobodys.due(stale, set(), 1000)
    assert nobodys.due(stale, set(), 2000) == []


def test_names_in_the_database() -> None:
    session = orm.new_session_factory("sqlite:///:memory:")()
    user = orm.User(name="sam")
    session.add(user)
    for name, active, state in (
        ("", True, {"object_name": "main"}),
        ("a", True, {}),
        ("b", True, None),
        ("c", False, {"object_name": "stopped"}),
    ):
        server = orm.Server(proto="http", ip="", port=0, base_url=f"/{name}", cookie_name="x") if active else None
        session.add(orm.Spawner(name=name, user=user, state=state, server=server))
    session.commit()
    assert owned_names(session) == {"main"}
    session.close()
    session.get_bind().dispose()


def test_one_janitor_for_each_hub() -> None:
    class Hub:
        pass

    one, other = Hub(), Hub()
    assert Janitor.of(one) is Janitor.of(one) is not Janitor.of(other)


def test_goes_on_when_the_engine_does_not_answer() -> None:
    asked: list[str] = []

    async def remove(name: str) -> None:
        asked.append(name)
        raise Unreachable("the engine does not answer")

    async def test() -> None:
        janitor = Janitor(Nobodys(0.0), every=0.01)
        work: Any = asyncio.ensure_future(janitor.run(lambda: {"x": RUNNING}, lambda: (), remove))
        await asyncio.sleep(0.2)
        assert not work.done()
        work.cancel()

    asyncio.run(test())
    assert len(asked) > 3
