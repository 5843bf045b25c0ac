"""The worker with a platform over HTTP: retries, order, concurrency, and a hub that does not wait."""

from __future__ import annotations

import asyncio
import logging
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import OperationalError
from support.lti import rsa_key
from support.lti_services import FakePlatform, fake_platform, tool, tool_key
from support.postgres import Postgres

from coursewareauthenticator.lti.services import access
from coursewareauthenticator.lti.services import sender as sender_module
from coursewareauthenticator.lti.services.grades import Grade
from coursewareauthenticator.lti.services.outbox import Outbox, Parcel, State
from coursewareauthenticator.lti.services.platforms import Check
from coursewareauthenticator.lti.services.reasons import Reason
from coursewareauthenticator.lti.services.sender import PER_PLATFORM, GradeSender
from coursewarehub.hub.database import use_write_ahead_log

Run = Callable[[Coroutine[Any, Any, Any]], Any]
START = time.time()
FASTER = 20


def fast() -> float:
    """A clock that runs twenty times as fast, the same in every process: a second between two scores is 50 ms."""
    return START + (time.time() - START) * FASTER


def soon(_failures: int, _chance: float, retry_after: float | None) -> float:
    """Pauses in seconds of the clock that they are used with: short, and as asked for."""
    return 0.05 if retry_after is None else retry_after


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    use_write_ahead_log()
    engine = create_engine(f"sqlite:///{tmp_path / 'hub.sqlite'}")
    yield made(engine)
    engine.dispose()


def made(engine: Engine, clock: Callable[[], float] = fast) -> Outbox:
    outbox = Outbox(engine, clock=clock)
    outbox.create()
    return outbox


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a token service refuses is the answer to all for some seconds, which need not be waited for here."""
    monkeypatch.setattr(access, "AGAIN", 0.0)


@asynccontextmanager
async def running(outbox: Outbox, deliver: Any, **how: Any) -> AsyncIterator[GradeSender]:
    sender = GradeSender(outbox, deliver, **{"poll": 0.1, "pause": soon} | how)
    sender.start()
    sender.start()
    try:
        yield sender
    finally:
        await sender.stop(grace=0.5)


async def settled(outbox: Outbox, state: State = State.SENT, seconds: float = 10) -> None:
    """Wait until every row has that state."""
    async with asyncio.timeout(seconds):
        while any(entry.state is not state for entry in await asyncio.to_thread(outbox.entries)):
            await asyncio.sleep(0.02)


def entries(outbox: Outbox) -> dict[str, Any]:
    return {entry.student: entry for entry in outbox.entries()}


@pytest.mark.parametrize("family", ["moodle", "canvas", "openedx", "sakai"])
def test_ags_15_grades_arrive_by_themselves(run: Run, engine: Engine, family: str) -> None:
    async def steps() -> None:
        outbox = made(engine)
        async with fake_platform(family) as platform, tool(platform) as our, running(outbox, our.deliver) as sender:
            assert await sender.send("lti-ada", platform.target("42"), Grade(7, 8))
            assert await sender.send("lti-bob", platform.target("43"), Grade(1, 8))
            await settled(outbox)
            assert (platform.given("42"), platform.given("43")) == (87.5, 12.5)
            assert not await sender.send("lti-ada", platform.target("42"), Grade(7, 8))
            assert await sender.send("lti-ada", platform.target("42"), Grade(8, 8))
            await settled(outbox)
            assert platform.given("42") == 100 and len(platform.scores) == 3

    run(steps())


def test_bo_01_grades_of_lti_11_arrive_by_themselves(run: Run, outbox: Outbox) -> None:
    async def steps() -> None:
        async with fake_platform("openedx") as platform, tool(platform) as our, running(outbox, our.deliver) as sender:
            await sender.send("lti-ada", platform.outcome(), Grade(7, 8))
            await settled(outbox)
            assert platform.outcomes == {"sid-42": "0.875"}

    run(steps())


@pytest.mark.parametrize("service", ["scores", "outcomes", "token"])
@pytest.mark.parametrize("fault", ["500", "429", "cut", "cut-before", "500-after", "duplicate", "401", "late"])
def test_a_fault_and_then_none(run: Run, outbox: Outbox, service: str, fault: str) -> None:
    async def steps() -> None:
        async with (
            fake_platform("moodle", silence=0.3, retry_after="0") as platform,
            tool(platform, timeout=0.15) as our,
            running(outbox, our.deliver) as sender,
        ):
            platform.faults[service].extend([fault, fault])
            target = platform.outcome() if service == "outcomes" else platform.target()
            await sender.send("lti-ada", target, Grade(1, 2))
            await settled(outbox)
            assert (platform.outcomes.get("sid-42") == "0.5") if service == "outcomes" else platform.given() == 50
            assert platform.same_at_once <= (2 if fault in {"late", "silent"} else 1)
            await asyncio.sleep(0.3 if fault in {"late", "silent"} else 0)
            assert (platform.outcomes.get("sid-42") == "0.5") if service == "outcomes" else platform.given() == 50

    run(steps())


FAULTS = st.sampled_from(
    ["500", "429", "cut", "cut-before", "500-after", "duplicate", "401", "403", "409", "rate", "late"]
)


# Without shrinking, which would take minutes against the clock.
@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    family=st.sampled_from(["moodle", "canvas", "openedx", "sakai"]),
    faults=st.lists(FAULTS, max_size=5),
    tokens=st.lists(st.sampled_from(["500", "cut", "429"]), max_size=2),
    grades=st.lists(st.integers(1, 100), min_size=1, max_size=3),
)
def test_any_faults_over_http_end_with_the_newest_grade(
    run: Run,
    tmp_path_factory: pytest.TempPathFactory,
    family: str,
    faults: list[str],
    tokens: list[str],
    grades: list[int],
) -> None:
    async def steps() -> None:
        engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('box') / 'hub.sqlite'}")
        outbox = Outbox(engine, clock=fast)
        outbox.create()
        async with (
            fake_platform(family, silence=0.3, retry_after="0") as platform,
            tool(platform, timeout=0.2) as our,
            running(outbox, our.deliver) as sender,
        ):
            platform.faults["scores"].extend(faults)
            platform.faults["token"].extend(tokens)
            for score in grades:
                await sender.send("lti-ada", platform.target(), Grade(score, 100))
                await asyncio.sleep(0.03)
            for _ in range(10):
                await asyncio.sleep(0.05)
                for entry in await asyncio.to_thread(outbox.entries, state=State.REFUSED):
                    await sender.try_again(entry.id)
                if not platform.faults["scores"] and not await asyncio.to_thread(outbox.waiting):
                    break
            while (entry := (await asyncio.to_thread(outbox.entries))[0]).state is not State.SENT:
                if entry.state is State.REFUSED:
                    await sender.try_again(entry.id)
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.25)
            assert platform.given() == pytest.approx(grades[-1])
            stamps = [score["timestamp"] for score in platform.scores]
            assert stamps == sorted(stamps)
        engine.dispose()

    run(steps())


def test_many_grades_a_few_at_once_and_never_two_of_one_person(run: Run, outbox: Outbox) -> None:
    async def steps() -> None:
        students = [str(number) for number in range(40)]
        async with fake_platform("canvas", students=set(students), delay=0.02) as platform, tool(platform) as our:
            async with running(outbox, our.deliver) as sender:
                sending = [sender.send(f"lti-{one}", platform.target(one), Grade(1, 1)) for one in students]
                sending += [sender.send(f"lti-{one}", platform.target(one), Grade(2, 2)) for one in students]
                await asyncio.gather(*sending)
                await settled(outbox)
            assert {user for _, user in platform.results} == set(students)
            assert 1 < platform.most_at_once <= PER_PLATFORM + 1 and platform.same_at_once == 1

    run(steps())


def test_a_platform_that_is_silent_holds_up_no_other(run: Run, outbox: Outbox) -> None:
    async def steps() -> None:
        async with (
            fake_platform(silence=3) as silent,
            fake_platform() as other,
            tool(silent, other, timeout=2.5) as our,
            running(outbox, our.deliver, at_once=6) as sender,
        ):
            students = {str(number) for number in range(30)}
            silent.students |= students
            silent.faults["scores"].extend(["silent"] * 50)
            for student in students:
                await asyncio.to_thread(outbox.put, student, silent.target(student), Grade(1, 1))
            sender.wake()
            await asyncio.sleep(0.2)
            start = time.monotonic()
            await sender.send("lti-ada", other.target(), Grade(1, 1))
            while other.given() is None:
                await asyncio.sleep(0.02)
            assert time.monotonic() - start < 1.5
            assert silent.most_at_once <= PER_PLATFORM + 1

    run(steps())


def test_a_platform_that_asks_for_a_pause_gets_it_for_all_its_grades(run: Run, outbox: Outbox) -> None:
    async def steps() -> None:
        students = {str(number) for number in range(12)}
        async with (
            fake_platform("canvas", students=students, retry_after="1", delay=0.05) as platform,
            tool(platform) as our,
            running(outbox, our.deliver, per_platform=2) as sender,
        ):
            platform.faults["scores"].extend(["429"] * 2)
            for student in students:
                await asyncio.to_thread(outbox.put, student, platform.target(student), Grade(1, 1))
            sender.wake()
            await asyncio.sleep(0.6)
            scores = [uri for _, uri, _ in platform.requests if "scores" in uri]
            assert 1 <= len(scores) <= 2
            await settled(outbox)

    run(steps())


def test_a_refusal_is_seen_told_and_tried_again_by_hand(
    run: Run, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    async def steps() -> None:
        async with fake_platform() as platform, tool(platform) as our, running(outbox, our.deliver) as sender:
            await sender.send("lti-eve", platform.target("eve"), Grade(1, 1))
            await sender.send("lti-ada", platform.target("42"), Grade(1, 1))
            async with asyncio.timeout(10):
                while entries(outbox)["lti-eve"].state is not State.REFUSED:
                    await asyncio.sleep(0.02)
            assert entries(outbox)["lti-eve"].reason is Reason.NOT_A_STUDENT
            platform.students.add("eve")
            assert await sender.try_again(entries(outbox)["lti-eve"].id)
            await settled(outbox)
            assert platform.given("eve") == 100

    run(steps())
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert any("lti-eve" in line and "not tried again by itself" in line for line in lines)
    assert all("token-" not in line and len(line) < 1000 for line in lines)


def test_ags_06_a_conflict_with_one_s_own_grade_is_no_conflict(run: Run, outbox: Outbox) -> None:
    """The platform has it, and the answer was lost before a crash."""

    async def steps() -> None:
        async with fake_platform() as platform, tool(platform) as our:
            target = platform.target()
            far = int((time.time() + 10**6) * 1000)
            await our.books.send(target, Grade(1, 2), far)
            async with running(outbox, our.deliver) as sender:
                await sender.send("lti-ada", target, Grade(1, 2))
                await settled(outbox)
                await sender.send("lti-ada", target, Grade(2, 2))
                await settled(outbox, State.REFUSED)
                assert entries(outbox)["lti-ada"].reason is Reason.NEWER
                assert platform.given() == 50

    run(steps())


def test_ags_08_a_zero_that_is_not_shown_is_said(run: Run, outbox: Outbox) -> None:
    async def steps() -> None:
        async with fake_platform("openedx") as platform:
            async with tool(platform) as our, running(outbox, our.deliver) as sender:
                await sender.send("lti-ada", platform.target(), Grade(0, 10))
                await settled(outbox)
                assert entries(outbox)["lti-ada"].reason is Reason.ZERO_HIDDEN
            async with tool(platform, lift_zero=True) as our, running(outbox, our.deliver) as sender:
                assert await sender.try_again(entries(outbox)["lti-ada"].id)
                async with asyncio.timeout(10):
                    while entries(outbox)["lti-ada"].reason is not None:
                        await asyncio.sleep(0.02)
                assert platform.given() == pytest.approx(0.01)

    run(steps())


def test_f29_a_new_key_of_the_tool_is_used_without_a_restart(run: Run, outbox: Outbox) -> None:
    async def steps() -> None:
        name = ["tool"]
        async with (
            fake_platform(lives=1) as platform,
            tool(platform, key=lambda _: tool_key(name[0])) as our,
            running(outbox, our.deliver) as sender,
        ):
            await sender.send("lti-ada", platform.target(), Grade(1, 2))
            await settled(outbox)
            name[0] = "second"
            platform.keys = {tool_key("second").kid: rsa_key("second").public_key()}
            await asyncio.sleep(0.6)
            await sender.send("lti-ada", platform.target(), Grade(2, 2))
            await settled(outbox)
            assert platform.given() == 100 and platform.token_requests == 2

    run(steps())


def test_several_senders_on_one_database_send_each_grade_once(run: Run, engine: Engine, url: str) -> None:
    async def steps() -> None:
        outbox = made(engine)
        students = [str(number) for number in range(30)]
        others = [create_engine(url) for _ in range(2)]
        boxes = [outbox, *(Outbox(other, clock=fast) for other in others)]
        async with fake_platform("canvas", students=set(students)) as platform, tool(platform) as our:
            async with running(boxes[0], our.deliver), running(boxes[1], our.deliver), running(boxes[2], our.deliver):
                for student in students:
                    await asyncio.to_thread(outbox.put, student, platform.target(student), Grade(1, 1))
                await settled(outbox)
            assert len(platform.scores) == 30 and platform.same_at_once == 1
        for other in others:
            other.dispose()

    run(steps())


# --- the hub around it -------------------------------------------------------------------------


class Broken(Outbox):
    """An outbox whose database is away now and then, or slow."""

    away = False
    slow = 0.0

    def _look(self) -> None:
        time.sleep(self.slow)
        if self.away:
            raise OperationalError("SELECT secret", {}, Exception("password=s3cret"))

    def due(self, *how: Any) -> Any:
        self._look()
        return super().due(*how)

    def confirm(self, *how: Any) -> None:
        self._look()
        super().confirm(*how)


@pytest.fixture
def broken(outbox: Outbox) -> Broken:
    return Broken(outbox._engine, clock=fast)


def test_f12_a_database_that_is_away_ends_nothing(run: Run, broken: Broken, caplog: pytest.LogCaptureFixture) -> None:
    async def steps() -> None:
        async with fake_platform() as platform, tool(platform) as our, running(broken, our.deliver) as sender:
            broken.away = True
            await sender.send("lti-ada", platform.target(), Grade(1, 1))
            await asyncio.sleep(0.3)
            assert platform.scores == []
            broken.away = False
            while not platform.scores:
                await asyncio.sleep(0.001)
            # It comes back before the claim is over: what was taken is written down then.
            broken.away = True
            await asyncio.sleep(0.3)
            broken.away = False
            await settled(broken)
            assert platform.given() == 100

    run(steps())
    assert "database does not answer (OperationalError)" in caplog.text and "s3cret" not in caplog.text


def test_i8_a_slow_database_does_not_block_the_hub(run: Run, broken: Broken) -> None:
    async def steps() -> float:
        broken.slow = 0.3
        async with fake_platform() as platform, tool(platform) as our, running(broken, our.deliver) as sender:
            await sender.send("lti-ada", platform.target(), Grade(1, 1))
            late = 0.0
            for _ in range(800):
                start = time.monotonic()
                await asyncio.sleep(0.001)
                late = max(late, time.monotonic() - start - 0.001)
            return late

    assert run(steps()) < 0.1


def test_a_mistake_in_one_delivery_is_not_the_end_of_the_others(
    run: Run, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    async def steps() -> None:
        async with fake_platform() as platform, tool(platform) as our:

            async def deliver(parcel: Parcel, check: Check) -> Reason | None:
                if parcel.student == "lti-eve":
                    raise KeyError("a mistake")
                return await our.deliver(parcel, check)

            async with running(outbox, deliver) as sender:
                await sender.send("lti-eve", platform.target("43"), Grade(1, 1))
                await sender.send("lti-ada", platform.target("42"), Grade(1, 1))
                while platform.given() is None:
                    await asyncio.sleep(0.02)
                assert entries(outbox)["lti-eve"].state is State.WAITING

    run(steps())
    assert "mistake in this hub" in caplog.text


def test_a_process_that_stood_still_sends_nothing_too_late(
    run: Run, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps() -> None:
        monkeypatch.setattr(sender_module, "LATEST_START", -1.0)
        async with fake_platform() as platform, tool(platform) as our, running(outbox, our.deliver) as sender:
            await sender.send("lti-ada", platform.target(), Grade(1, 1))
            await asyncio.sleep(0.4)
            assert platform.scores == [] and entries(outbox)["lti-ada"].state is State.WAITING

    run(steps())


def test_a_delivery_without_an_end_is_ended(run: Run, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        monkeypatch.setattr(sender_module, "LONGEST", 0.2)
        tries = []

        async def deliver(parcel: Parcel, check: Check) -> Reason | None:
            tries.append(parcel)
            if len(tries) == 1:
                await asyncio.sleep(60)
            return None

        async with running(outbox, deliver) as sender:
            await sender.send("lti-ada", FakePlatform().target(), Grade(1, 1))
            await settled(outbox)
            assert len(tries) == 2

    run(steps())


def test_stopping_leaves_what_is_under_way_to_the_next_process(run: Run, outbox: Outbox) -> None:
    async def steps() -> None:
        started = asyncio.Event()

        async def deliver(parcel: Parcel, check: Check) -> Reason | None:
            started.set()
            await asyncio.sleep(60)
            return None

        faster = made(create_engine(outbox._engine.url), lambda: START + (time.time() - START) * 200)
        sender = GradeSender(faster, deliver, poll=0.1, pause=soon)
        sender.start()
        await sender.send("lti-ada", FakePlatform().target(), Grade(1, 1))
        await started.wait()
        start = time.monotonic()
        await sender.stop(grace=0.2)
        assert time.monotonic() - start < 2
        assert entries(outbox)["lti-ada"].state is State.WAITING and faster.due() == []

        async def other(parcel: Parcel, check: Check) -> Reason | None:
            return None

        # The claim is over after three minutes, which is a second of this clock.
        async with running(faster, other):
            await settled(faster)

    run(steps())


@pytest.mark.slow
def test_f12_postgresql_stops_and_comes_back(run: Run, server: Postgres) -> None:
    async def steps() -> None:
        engine = create_engine(server.url(), pool_pre_ping=True)
        outbox = Outbox(engine, clock=fast)
        await asyncio.to_thread(outbox.create)
        async with fake_platform() as platform, tool(platform) as our, running(outbox, our.deliver) as sender:
            await asyncio.to_thread(outbox.forget, "lti-f12")
            await sender.send("lti-f12", platform.target(), Grade(1, 2))
            while platform.given() is None:
                await asyncio.sleep(0.02)
            await asyncio.to_thread(server.stop)
            with pytest.raises(OperationalError):
                await sender.send("lti-f12", platform.target(), Grade(2, 2))
            await asyncio.to_thread(server.start)
            await sender.send("lti-f12", platform.target(), Grade(2, 2))
            async with asyncio.timeout(10):
                while platform.given() != 100:
                    await asyncio.sleep(0.02)
            await asyncio.to_thread(outbox.forget, "lti-f12")
        engine.dispose()

    run(steps())


WORKER = """
import asyncio, sys, time
from support.lti_services import FakePlatform, tool
from coursewareauthenticator.lti.services.outbox import Outbox
from coursewareauthenticator.lti.services.sender import GradeSender
from coursewareauthenticator.lti.keys import ToolKey
from coursewarehub.hub.database import use_write_ahead_log
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from sqlalchemy import create_engine

url, port, start = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
key = ToolKey("kid-tool", 1, load_pem_private_key(sys.argv[4].encode(), None))

async def main():
    use_write_ahead_log()
    outbox = Outbox(create_engine(url), clock=lambda: start + (time.time() - start) * 60)
    platform = FakePlatform("canvas", port)
    async with tool(platform, key=lambda _: key) as our:
        sender = GradeSender(outbox, our.deliver, poll=0.05, pause=lambda *_: 0.05)
        sender.start()
        print("ready", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [4, pytest.param(60, marks=pytest.mark.long)])
def test_f01_killed_at_any_moment_no_grade_is_lost_or_overtaken(rounds: int, engine: Engine, url: str) -> None:
    """Two hubs on one database are killed again and again while grades change."""
    chance = random.Random(rounds)
    start = time.time()
    use_write_ahead_log()
    outbox = Outbox(engine, clock=lambda: start + (time.time() - start) * 60)
    outbox.create()
    students = [str(number) for number in range(8)]
    newest: dict[str, int] = {}
    pem = rsa_key("tool").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    async def worker(port: int) -> asyncio.subprocess.Process:
        path = ":".join(part for part in sys.path if part)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, url, str(port), str(start), pem,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env={"PYTHONPATH": path},
        )  # fmt: skip
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), 60) == b"ready\n"
        return process

    async def steps() -> None:
        async with fake_platform("canvas", students=set(students)) as platform:
            platform.faults["scores"].extend(
                chance.choices(["", "cut", "500-after", "500", "cut-before"], k=15 * rounds)
            )
            workers = list(await asyncio.gather(worker(platform.port), worker(platform.port)))
            try:
                for number in range(1, rounds + 1):
                    for student in students:
                        newest[student] = number
                        await asyncio.to_thread(
                            outbox.put, student, platform.target(student), Grade(number, 100, version=number)
                        )
                        await asyncio.sleep(chance.random() * 0.02)
                    if number % 2 == 0:
                        victim = workers.pop(0)
                        victim.kill()
                        await victim.wait()
                        workers.append(await worker(platform.port))
                await settled(outbox, seconds=40)
            finally:
                for process in workers:
                    process.kill()
                    await process.wait()
            for student in students:
                assert platform.given(student) == newest[student]
                given = [score["scoreGiven"] for score in platform.scores if score["userId"] == student]
                assert given == sorted(given)

    asyncio.run(asyncio.wait_for(steps(), 250))
