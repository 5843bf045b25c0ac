"""All services together, as a hub has them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from sqlalchemy import Engine, update
from support.lti_services import KEY, SECRET, fake_platform, tool_key

from coursewareauthenticator.lti.lti11 import Consumer
from coursewareauthenticator.lti.services.columns import Column
from coursewareauthenticator.lti.services.grades import Grade
from coursewareauthenticator.lti.services.hub_services import HubServices, Known
from coursewareauthenticator.lti.services.outbox import TABLE, State

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_a_hub_makes_a_column_sends_grades_and_reads_the_roster(run: Run, engine: Engine) -> None:
    async def steps() -> None:
        members = [{"user_id": "42", "roles": ["Learner"]}, {"user_id": "7", "roles": ["Instructor"]}]
        async with fake_platform("canvas", members=members) as platform:
            registrations = {platform.registration.registration: platform.registration}
            known = Known(
                registrations.get,
                {KEY: Consumer(KEY, (SECRET,))}.get,
                lambda _: tool_key(),
                http_hosts=frozenset({"127.0.0.1"}),
            )
            services = HubServices(engine, known, timeout=2)
            await services.open()
            column = await services.gradebooks.ensure(platform.book, Column("Week 1", 100, resource_id="a-1"))
            assert column.url == platform.column_url(1)
            await services.grades.send("lti-ada", platform.target(), Grade(1, 2))
            await services.grades.send("lti-ada", platform.outcome(), Grade(1, 2))
            async with asyncio.timeout(10):
                while await asyncio.to_thread(services.outbox.waiting):
                    await asyncio.sleep(0.02)
            assert platform.given() == 50 and platform.outcomes == {"sid-42": "0.5"}
            assert len((await services.roster_sync.run(platform.roster())).added) == 2
            # A platform that is taken out of the course is known no more from the next request on.
            registrations.clear()
            await services.grades.send("lti-ada", platform.target(), Grade(2, 2))
            async with asyncio.timeout(10):
                while not [one for one in await asyncio.to_thread(services.outbox.entries) if one.failures]:
                    await asyncio.sleep(0.02)
            await services.close()
            (waiting,) = services.outbox.entries(state=State.WAITING)
            assert "registration" in (waiting.sentence() or "")

    run(steps())


def test_f30_a_reason_of_a_later_version_is_none(run: Run, engine: Engine) -> None:
    async def steps() -> None:
        async with fake_platform() as platform:
            known = Known(lambda _: None, lambda _: None, lambda _: tool_key())
            services = HubServices(engine, known)
            await services.open()
            await services.close()
            services.outbox.put("lti-ada", platform.target(), Grade(1, 2))
            with engine.begin() as connection:
                connection.execute(update(TABLE).values(reason="of-tomorrow"))
            (entry,) = services.outbox.entries()
            assert entry.reason is None and entry.sentence() is None

    run(steps())
