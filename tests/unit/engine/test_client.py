"""The client: against an engine that answers well, badly, slowly, or not at all."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fake_engine import Answer, Asked, FakeEngine

from coursewarehub.engine import Cause, Conflict, Engine, EngineError, Gone, Refused, Unreachable

Run = Callable[[Coroutine[Any, Any, Any]], Any]


def threads_of_streams() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "engine-stream"]


async def until(true: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


# --- calls -------------------------------------------------------------------------------------


def test_a_call_has_version_query_and_body(fake: FakeEngine, engine: Engine, run: Run) -> None:
    fake.on("POST", "/services/create", Answer(201, {"ID": "s1"}))
    body = {"Name": "a", "Nothing": None}
    found = run(engine.post("/services/create", body, filters={"label": ["x=y"]}, all=True, none=None, since=12))
    assert found == {"ID": "s1"}
    (asked,) = fake.asked_for("/services/create")
    assert asked.version == "1.41"
    assert asked.body == body
    assert asked.headers["Content-Type"] == "application/json"
    assert asked.query == {"filters": '{"label": ["x=y"]}', "all": "true", "since": "12"}


def test_names_are_quoted(fake: FakeEngine, engine: Engine, run: Run) -> None:
    fake.on("GET", "/containers/a b?c#d/json", {"Id": "x"})
    assert run(engine.get("/containers/a b?c#d/json")) == {"Id": "x"}


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (Answer(204), None),
        (Answer(304), None),
        (Answer(200, [1]), [1]),
        (Answer(200, b"OK", "text/plain"), b"OK"),
        (Answer(200, b"\1\0\0\0\0\0\0\2hi", "application/octet-stream"), b"\1\0\0\0\0\0\0\2hi"),
    ],
)
def test_what_an_answer_holds(fake: FakeEngine, engine: Engine, run: Run, answer: Answer, found: Any) -> None:
    fake.on("POST", "/containers/x/start", answer)
    assert run(engine.post("/containers/x/start")) == found


def test_info_and_version(fake: FakeEngine, engine: Engine, run: Run) -> None:
    fake.on("GET", "/info", {"Name": "n1"})
    assert run(engine.info()) == {"Name": "n1"}
    assert run(engine.version())["Version"] == "20.10.24"
    assert fake.asked_for("/version")[-1].version == ""


def test_something_else_in_place_of_info(fake: FakeEngine, engine: Engine, run: Run) -> None:
    fake.on("GET", "/info", ["no object"])
    with pytest.raises(Unreachable) as caught:
        run(engine.info())
    assert caught.value.cause is Cause.BROKEN


# --- versions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("theirs", "spoken"), [("1.41", "1.41"), ("1.47", "1.47"), ("1.99", "1.51"), ("2.0", "1.51")])
def test_the_newest_version_that_both_know(
    fake: FakeEngine, engine: Engine, run: Run, theirs: str, spoken: str
) -> None:
    fake.on("GET", "/version", {"ApiVersion": theirs})
    fake.on("GET", "/info", {})
    fake.on("GET", "/nodes", [])

    async def work() -> tuple[int, int]:
        await engine.info()
        await engine.get("/nodes")
        return await engine.api()

    assert ".".join(map(str, run(work()))) == spoken
    assert {fake.asked_for("/info")[0].version, fake.asked_for("/nodes")[0].version} == {spoken}
    assert len(fake.asked_for("/version")) == 1


def test_an_old_engine_is_refused_by_one_sentence(fake: FakeEngine, engine: Engine, run: Run) -> None:
    fake.on("GET", "/version", {"Version": "19.03.15", "ApiVersion": "1.40"})
    with pytest.raises(Refused) as caught:
        run(engine.info())
    assert str(caught.value) == (
        f"the Docker Engine at {fake.url} is too old: "
        "it is Docker 19.03.15 with API 1.40, and API 1.41 (Docker 20.10) is needed"
    )
    assert run(engine.version())["ApiVersion"] == "1.40"


@pytest.mark.parametrize("answer", [{}, [], {"ApiVersion": "latest"}, {"ApiVersion": 1.41}, "1.41"])
def test_a_version_that_is_none(fake: FakeEngine, engine: Engine, run: Run, answer: Any) -> None:
    fake.on("GET", "/version", answer)
    with pytest.raises((Unreachable, Refused)) as caught:
        run(engine.api())
    assert getattr(caught.value, "cause", None) is Cause.BROKEN


def test_an_engine_that_became_older_is_asked_again(fake: FakeEngine, engine: Engine, run: Run) -> None:
    fake.on("GET", "/version", {"ApiVersion": "1.47"})
    fake.on("GET", "/info", {})
    run(engine.info())
    fake.on("GET", "/version", {"ApiVersion": "1.43"})
    fake.fails("GET", "/info", 400, "client version 1.47 is too new. Maximum supported API version is 1.43")
    with pytest.raises(Refused):
        run(engine.info())
    fake.on("GET", "/info", {})
    run(engine.info())
    assert fake.asked_for("/info")[-1].version == "1.43"


# --- what goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "no command specified", Refused),
        (404, "No such container: x", Gone),
        (409, "already in use", Conflict),
        (500, "the swarm does not have a leader", Unreachable),
        (503, "This node is not a swarm manager.", Unreachable),
    ],
)
def test_an_error_that_the_engine_tells(
    fake: FakeEngine, engine: Engine, run: Run, status: int, message: str, kind: type[EngineError]
) -> None:
    fake.fails("DELETE", "/containers/x", status, message)
    with pytest.raises(EngineError) as caught:
        run(engine.delete("/containers/x"))
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"{not json"),
        Answer(200, b"\xff\xfe{}"),
        Answer(hang_up=True),
        Answer(parts=iter([b'{"a": ']), whole=False),
        Answer(200, {}, delay=30),
    ],
    ids=["no json", "no text", "no answer", "half an answer", "late"],
)
def test_nothing_is_known_after_a_broken_answer(fake: FakeEngine, run: Run, answer: Answer) -> None:
    fake.on("GET", "/info", answer)
    engine = Engine(fake.url, timeout=0.3)
    begun = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        run(engine.info())
    assert time.monotonic() - begun < 2
    assert caught.value.cause is (Cause.TIMEOUT if answer.delay else Cause.BROKEN)
    engine.close()


def test_a_line_that_is_no_http(tmp_path: Path, run: Run) -> None:
    with listening(tmp_path / "s") as server:
        threading.Thread(target=lambda: server.accept()[0].sendall(b"SSH-2.0-OpenSSH_9.2\r\n"), daemon=True).start()
        with pytest.raises(Unreachable) as caught:
            run(Engine(f"unix://{tmp_path}/s", timeout=1).info())
    assert caught.value.cause is Cause.BROKEN


def test_no_socket(tmp_path: Path, run: Run) -> None:
    with pytest.raises(Unreachable) as caught:
        run(Engine(f"unix://{tmp_path}/none").info())
    assert caught.value.cause is Cause.MISSING
    assert str(caught.value) == f"there is no Docker Engine at unix://{tmp_path}/none: the socket does not exist"


def test_nobody_listens_any_more(fake: FakeEngine, engine: Engine, run: Run) -> None:
    fake.on("GET", "/info", {})
    run(engine.info())
    fake.stop()
    time.sleep(0.05)
    with pytest.raises(Unreachable) as caught:
        run(engine.info())
    assert caught.value.cause in {Cause.REFUSED, Cause.BROKEN}
    with pytest.raises(Unreachable) as caught:
        run(Engine(fake.url).info())
    assert caught.value.cause is Cause.REFUSED


def test_no_permission(fake: FakeEngine, run: Run) -> None:
    fake.socket.chmod(0)
    with another_account(), pytest.raises(Unreachable) as caught:
        run(Engine(fake.url).info())
    assert caught.value.cause is Cause.FORBIDDEN
    assert str(caught.value) == f"this account may not use the Docker Engine at {fake.url}"


def test_a_frozen_engine_whose_queue_is_full(tmp_path: Path, run: Run) -> None:
    with listening(tmp_path / "s", backlog=0):
        waiting = socket.socket(socket.AF_UNIX)
        waiting.connect(str(tmp_path / "s"))
        engine = Engine(f"unix://{tmp_path}/s", timeout=0.3)
        with pytest.raises(Unreachable) as caught:
            run(engine.info())
        waiting.close()
    assert caught.value.cause is Cause.TIMEOUT


@pytest.mark.parametrize("url", ["ssh://host", "npipe://x", "host:2375", "", "unix", "tcp://host", "foo://x"])
def test_addresses_that_are_none(url: str, run: Run) -> None:
    engine = Engine(url)
    with pytest.raises(Unreachable) as caught:
        run(engine.info())
    assert caught.value.cause is Cause.ADDRESS


def test_making_one_asks_nothing_and_the_engine_may_come_later(tmp_path: Path, run: Run) -> None:
    engine = Engine(f"unix://{tmp_path}/engine.sock")
    with pytest.raises(Unreachable):
        run(engine.info())
    fake = FakeEngine(tmp_path / "engine.sock")
    fake.on("GET", "/info", {"Name": "late"})
    assert run(engine.info()) == {"Name": "late"}
    engine.close()
    fake.stop()


def test_an_engine_that_restarts_is_found_again(fake: FakeEngine, engine: Engine, run: Run) -> None:
    fake.on("GET", "/info", {"Name": "first"})
    run(engine.info())
    fake.stop()
    with pytest.raises(Unreachable):
        run(Engine(fake.url).info())
    again = FakeEngine(fake.socket)
    again.on("GET", "/info", {"Name": "second"})
    with contextlib.suppress(Unreachable):  # the connection that was kept
        run(engine.info())
    assert run(engine.info()) == {"Name": "second"}
    again.stop()


def test_secrets_are_not_told(fake: FakeEngine, engine: Engine, run: Run) -> None:
    def echo(asked: Asked) -> Answer:
        return Answer(400, {"message": f"cannot use {json.dumps(asked.body)}"})

    fake.on("POST", "/containers/create", echo)
    with pytest.raises(Refused) as caught:
        run(engine.post("/containers/create", {"Env": ["TOKEN=tell-nobody"]}))
    assert "tell-nobody" not in str(caught.value) + caught.value.reason
    assert "***" in str(caught.value)


# --- registries --------------------------------------------------------------------------------


@pytest.fixture
def docker_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = base64.b64encode(b"ann:pass word").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"registry.example:5000": {"auth": kept}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


def service(image: str) -> dict[str, Any]:
    return {"TaskTemplate": {"ContainerSpec": {"Image": image}}}


@pytest.mark.usefixtures("docker_login")
@pytest.mark.parametrize("image", ["registry.example:5000/a/b:c", "registry.example:5000/a@sha256:" + "0" * 64])
def test_what_docker_login_keeps_goes_to_that_registry(fake: FakeEngine, engine: Engine, run: Run, image: str) -> None:
    fake.on("POST", "/services/create", {"ID": "s"})
    run(engine.post("/services/create", service(image)))
    header = fake.asked_for("/services/create")[0].headers["X-Registry-Auth"]
    assert json.loads(base64.urlsafe_b64decode(header))["password"] == "pass word"


@pytest.mark.usefixtures("docker_login")
@pytest.mark.parametrize("image", ["other.example/a/b:c", "debian:bookworm", "coursewarehub/singleuser:1"])
def test_other_registries_get_no_credentials(fake: FakeEngine, engine: Engine, run: Run, image: str) -> None:
    fake.on("POST", "/services/create", {"ID": "s"})
    run(engine.post("/services/create", service(image)))
    assert "X-Registry-Auth" not in fake.asked_for("/services/create")[0].headers


@pytest.mark.usefixtures("docker_login")
def test_a_registry_that_is_asked_about_an_image_gets_its_credentials(
    fake: FakeEngine, engine: Engine, run: Run
) -> None:
    path = "/distribution/registry.example:5000/a/b:c/json"
    fake.on("GET", path, {"Descriptor": {}})
    run(engine.get(path))
    header = fake.asked_for(path)[0].headers["X-Registry-Auth"]
    assert json.loads(base64.urlsafe_b64decode(header))["password"] == "pass word"


def test_a_push_always_has_the_header(fake: FakeEngine, engine: Engine, run: Run) -> None:
    fake.on("POST", "/images/r.example/a/push", Answer(parts=iter([b'{"status": "pushed"}\n'])))

    async def push() -> list[dict[str, Any]]:
        return [line async for line in engine.stream("/images/r.example/a/push", tag="b")]

    assert run(push()) == [{"status": "pushed"}]
    header = fake.asked_for("/images/r.example/a/push")[0].headers["X-Registry-Auth"]
    assert json.loads(base64.urlsafe_b64decode(header)) == {}


# --- streams -----------------------------------------------------------------------------------


def trickle(*parts: bytes, end: threading.Event | None = None) -> Iterator[bytes]:
    """Parts, and then silence until the end."""
    yield from parts
    if end is not None:
        end.wait(20)


def test_objects_come_as_they_are_sent(fake: FakeEngine, engine: Engine, run: Run) -> None:
    end = threading.Event()
    parts = trickle(b'{"n": 1}\n{"n"', b": 2}\r\n", b'\n{"n": 3}\n', end=end)
    fake.on("GET", "/events", Answer(parts=parts))

    async def work() -> list[int]:
        found = []
        async with contextlib.aclosing(engine.stream("/events", filters={"type": ["container"]})) as events:
            async for event in events:
                found.append(event["n"])
                if len(found) == 3:
                    break
        await until(lambda: not threads_of_streams())
        return found

    assert run(work()) == [1, 2, 3]
    assert fake.asked_for("/events")[0].query == {"filters": '{"type": ["container"]}'}
    end.set()


def test_silence_is_no_time_out(fake: FakeEngine, run: Run) -> None:
    def slowly() -> Iterator[bytes]:
        time.sleep(0.8)
        yield b'{"n": 1}\n'

    fake.on("GET", "/events", Answer(parts=slowly()))
    engine = Engine(fake.url, timeout=0.2)

    async def work() -> list[Any]:
        return [event async for event in engine.stream("/events")]

    assert run(work()) == [{"n": 1}]
    engine.close()


def test_an_engine_that_does_not_begin_is_a_time_out(fake: FakeEngine, run: Run) -> None:
    fake.on("GET", "/events", Answer(delay=5))
    engine = Engine(fake.url, timeout=0.2)
    with pytest.raises(Unreachable) as caught:
        run(anext(engine.stream("/events")))
    assert caught.value.cause is Cause.TIMEOUT
    engine.close()


def test_a_lost_connection_ends_the_stream(fake: FakeEngine, engine: Engine, run: Run) -> None:
    fake.on("GET", "/events", Answer(parts=trickle(b'{"n": 1}\n'), whole=False))

    async def work() -> list[Any]:
        events = engine.stream("/events")
        found = [await anext(events)]
        with pytest.raises(Unreachable) as caught:
            await anext(events)
        assert caught.value.cause is Cause.BROKEN
        return found

    assert run(work()) == [{"n": 1}]


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ([b'{"status": "pulling"}\n', b'{"errorDetail": {}, "error": "manifest unknown"}\n'], Refused),
        ([b"garbage\n"], Unreachable),
        ([b"[1]\n"], Unreachable),
        ([b"x" * 70_000] * 20, Unreachable),
    ],
)
def test_a_stream_that_goes_wrong(
    fake: FakeEngine, engine: Engine, run: Run, parts: list[bytes], kind: type[EngineError]
) -> None:
    fake.on("POST", "/images/create", Answer(parts=iter(parts)))

    async def work() -> None:
        async for _ in engine.stream("/images/create", fromImage="a", tag="b"):
            pass

    with pytest.raises(EngineError) as caught:
        run(work())
    assert type(caught.value) is kind


def test_a_stream_that_is_refused(fake: FakeEngine, engine: Engine, run: Run) -> None:
    fake.fails("GET", "/events", 503, "This node is not a swarm manager.")
    with pytest.raises(Unreachable) as caught:
        run(anext(engine.stream("/events")))
    assert caught.value.cause is Cause.NOT_MANAGER


def test_cancelling_the_reader_closes_the_connection(fake: FakeEngine, engine: Engine, run: Run) -> None:
    end = threading.Event()
    fake.on("GET", "/events", Answer(parts=trickle(b'{"n": 1}\n', end=end)))

    async def read(seen: asyncio.Event) -> None:
        async for _ in engine.stream("/events"):
            seen.set()

    async def work() -> None:
        seen = asyncio.Event()
        task = asyncio.create_task(read(seen))
        await seen.wait()
        assert threads_of_streams()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not threads_of_streams())

    run(work())
    end.set()


def test_closing_the_engine_ends_its_streams(fake: FakeEngine, engine: Engine, run: Run) -> None:
    end = threading.Event()
    fake.on("GET", "/events", Answer(parts=trickle(b'{"n": 1}\n', end=end)))

    async def work() -> None:
        events = engine.stream("/events")
        await anext(events)
        engine.close()
        with pytest.raises(Unreachable):
            await anext(events)

    run(work())
    end.set()


def test_a_stream_whose_loop_has_closed_ends_by_itself(fake: FakeEngine, engine: Engine) -> None:
    end = threading.Event()

    def parts() -> Iterator[bytes]:
        yield b'{"n": 1}\n'
        end.wait(20)
        yield b'{"n": 2}\n'

    fake.on("GET", "/events", Answer(parts=parts()))
    loop = asyncio.new_event_loop()
    events = engine.stream("/events")
    assert loop.run_until_complete(anext(events)) == {"n": 1}
    loop.close()
    end.set()
    deadline = time.monotonic() + 5
    while threads_of_streams() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not threads_of_streams()


# --- lanes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("slow", ["changes", "reads", "both"])
def test_s15_a_hundred_slow_calls_do_not_delay_a_poll(fake: FakeEngine, run: Run, slow: str) -> None:
    fake.on("POST", "/containers/create", Answer(201, {"Id": "x"}, delay=0.4))
    fake.on("GET", "/containers/x/json", Answer(200, {}, delay=0.4))
    fake.on("GET", "/containers/json", [])
    engine = Engine(fake.url, timeout=10)

    async def work() -> list[float]:
        calls: list[Coroutine[Any, Any, Any]] = []
        if slow != "reads":
            calls += [engine.post("/containers/create", {}) for _ in range(100)]
        if slow != "changes":
            calls += [engine.get("/containers/x/json") for _ in range(100)]
        tasks = [asyncio.create_task(call) for call in calls]
        await asyncio.sleep(0.2)
        waited = []
        for _ in range(10):
            begun = time.monotonic()
            await engine.get("/containers/json")
            waited.append(time.monotonic() - begun)
        assert sum(task.done() for task in tasks) < len(tasks) / 2
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return waited

    assert sorted(run(work()))[8] < 0.1
    engine.close()


def test_changes_go_eight_at_a_time(fake: FakeEngine, engine: Engine, run: Run) -> None:
    lock, now, most = threading.Lock(), 0, 0

    def create(_asked: Asked) -> Answer:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with lock:
            now -= 1
        return Answer(201, {})

    fake.on("POST", "/containers/create", create)

    async def work() -> None:
        await asyncio.gather(*(engine.post("/containers/create", {}) for _ in range(40)))

    run(work())
    assert most == 8


def test_the_loop_goes_on_while_the_engine_is_slow(fake: FakeEngine, engine: Engine, run: Run) -> None:
    fake.on("GET", "/info", Answer(200, {}, delay=0.5))

    async def work() -> float:
        task = asyncio.create_task(engine.info())
        longest, last = 0.0, time.monotonic()
        while not task.done():
            await asyncio.sleep(0.005)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        return longest

    assert run(work()) < 0.25


def test_a_cancelled_call_that_waits_its_turn_is_dropped(fake: FakeEngine, run: Run) -> None:
    fake.on("POST", "/containers/create", Answer(201, {}, delay=0.3))
    engine = Engine(fake.url, threads=1)

    async def work() -> None:
        first = asyncio.create_task(engine.post("/containers/create", {"n": 1}))
        second = asyncio.create_task(engine.post("/containers/create", {"n": 2}))
        await until(lambda: len(fake.asked_for("/containers/create")) == 1)
        second.cancel()
        await first
        await asyncio.sleep(0.2)

    run(work())
    assert [asked.body for asked in fake.asked_for("/containers/create")] == [{"n": 1}]
    engine.close()


def test_one_client_serves_loop_after_loop(fake: FakeEngine, engine: Engine) -> None:
    fake.on("GET", "/info", Answer(200, {"Name": "x"}, delay=0.2))
    for _ in range(3):
        loop = asyncio.new_event_loop()
        task = loop.create_task(engine.info())
        loop.run_until_complete(asyncio.sleep(0.05))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()
    assert asyncio.run(engine.info()) == {"Name": "x"}


def test_a_time_out_of_its_own_for_a_long_change(fake: FakeEngine, run: Run) -> None:
    fake.on("POST", "/containers/x/wait", Answer(200, {"StatusCode": 0}, delay=0.6))
    engine = Engine(fake.url, timeout=0.2)
    assert run(engine.post("/containers/x/wait", timeout=5)) == {"StatusCode": 0}
    with pytest.raises(Unreachable, match=r"within 0\.2 s"):
        run(engine.post("/containers/x/wait"))
    engine.close()


# --- helpers -----------------------------------------------------------------------------------


@contextlib.contextmanager
def listening(path: Path, backlog: int = 5) -> Iterator[socket.socket]:
    """A socket at which somebody listens and nobody answers."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(backlog)
        yield server


@contextlib.contextmanager
def another_account() -> Iterator[None]:
    """Root, who may use everything, is somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
