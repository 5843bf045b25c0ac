"""Platforms' key sets over a real socket: kept, fetched anew, and never waited for by anybody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.lti import claims, jwk, key_set, rsa_key, token

from coursewareauthenticator.lti.jwks import AGAIN, FRESH, GRACE, PlatformKeys
from coursewareauthenticator.lti.launch import BadSignature, LaunchRefused, UnknownKey
from coursewareauthenticator.lti.tokens import KeySet, verified_claims

Run = Callable[[Coroutine[Any, Any, Any]], Any]
OLD = key_set(jwk(rsa_key(), "k1"))
NEW = key_set(jwk(rsa_key("second"), "k2"))
WRONG = key_set(jwk(rsa_key("attacker"), "k1"))


class Platform:
    """An endpoint whose answer can be changed: a body, a status, or how it is silent."""

    def __init__(self) -> None:
        self.answer: bytes | int | str = OLD
        self.asked = 0
        self.port = 0
        self.sent = 0
        self.location = "http://127.0.0.1:1/"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/jwks"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            await self.reply(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def reply(self, writer: asyncio.StreamWriter) -> None:
        answer = self.answer
        if answer == "silent":
            await asyncio.sleep(30)
        elif answer == "slow":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(300):
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.1)
        elif answer == "endless":
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(2000):
                writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n")
                self.sent += 4096
                await writer.drain()
        elif answer == "nonsense":
            writer.write(b"\x15\x03\x01\x00\x02")
        elif answer == "gone":
            return
        elif isinstance(answer, int):
            writer.write(f"HTTP/1.1 {answer} X\r\nLocation: {self.location}\r\nContent-Length: 0\r\n\r\n".encode())
        elif isinstance(answer, bytes):
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n".encode() + answer)
        await writer.drain()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def platform(**how: Any) -> AsyncIterator[tuple[Platform, PlatformKeys, Clock]]:
    endpoint, clock = Platform(), Clock()
    server = await asyncio.start_server(endpoint.handle, "127.0.0.1", 0)
    endpoint.port = server.sockets[0].getsockname()[1]
    keys = PlatformKeys(frozenset({"127.0.0.1"}), **{"timeout": 0.4, "clock": clock} | how)
    try:
        yield endpoint, keys, clock
    finally:
        keys.close()
        server.close()


def by(kid: str = "k1", key: str = "platform") -> Callable[[KeySet], str]:
    """A check of a token signed with that key."""
    id_token = token(claims(), kid=kid, key=rsa_key(key))
    return lambda keys: str(verified_claims(id_token, keys)["sub"])


async def refused(work: Coroutine[Any, Any, Any]) -> tuple[int, str]:
    with pytest.raises(LaunchRefused) as caught:
        await work
    assert caught.value.sentence.endswith(".")
    return caught.value.status, caught.value.field


def test_l13_09_keys_are_fetched_once(run: Run) -> None:
    async def steps() -> None:
        async with platform() as (endpoint, keys, clock):
            for _ in range(5):
                assert await keys.check(endpoint.url, by()) == "42"
            clock.now += FRESH - 1
            assert await keys.check(endpoint.url, by()) == "42"
            assert endpoint.asked == 1

    run(steps())


def test_l13_09_launches_at_the_same_time_share_one_request(run: Run) -> None:
    async def steps() -> None:
        async with platform() as (endpoint, keys, clock):
            assert await asyncio.gather(*(keys.check(endpoint.url, by()) for _ in range(20))) == ["42"] * 20
            assert endpoint.asked == 1
            endpoint.answer = NEW
            clock.now += AGAIN
            new = by("k2", "second")
            assert await asyncio.gather(*(keys.check(endpoint.url, new) for _ in range(20))) == ["42"] * 20
            assert endpoint.asked == 2

    run(steps())


def test_l13_09_f20_rotation_works_without_a_restart(run: Run) -> None:
    async def steps() -> None:
        async with platform() as (endpoint, keys, clock):
            await keys.check(endpoint.url, by())
            endpoint.answer = NEW
            clock.now += AGAIN
            assert await keys.check(endpoint.url, by("k2", "second")) == "42"
            with pytest.raises(UnknownKey):
                await keys.check(endpoint.url, by())

    run(steps())


def test_l13_09_unknown_keys_cause_no_flood(run: Run) -> None:
    async def steps() -> None:
        async with platform() as (endpoint, keys, clock):
            await keys.check(endpoint.url, by())
            for number in range(50):
                with pytest.raises(UnknownKey):
                    await keys.check(endpoint.url, by(f"junk-{number}"))
            assert endpoint.asked == 1
            clock.now += AGAIN
            for number in range(50):
                with pytest.raises(UnknownKey):
                    await keys.check(endpoint.url, by(f"junk-{number}"))
            assert endpoint.asked == 2
            assert await keys.check(endpoint.url, by()) == "42"

    run(steps())


def test_f20_a_wrong_key_then_the_right_one(run: Run) -> None:
    async def steps() -> None:
        async with platform() as (endpoint, keys, clock):
            endpoint.answer = WRONG
            with pytest.raises(BadSignature):
                await keys.check(endpoint.url, by())
            endpoint.answer = OLD
            with pytest.raises(BadSignature):
                await keys.check(endpoint.url, by())
            clock.now += AGAIN
            assert await keys.check(endpoint.url, by()) == "42"
            assert endpoint.asked == 2

    run(steps())


FAILURES = [
    "silent",
    "slow",
    "endless",
    "nonsense",
    "gone",
    500,
    404,
    302,
    b"no key set",
    b'{"keys": []}',
    b" " * 300_000,
]


@pytest.mark.slow
@pytest.mark.parametrize("answer", FAILURES, ids=[str(answer)[:20] for answer in FAILURES])
def test_f20_known_keys_work_ten_minutes_longer(run: Run, answer: Any) -> None:
    async def steps() -> None:
        async with platform() as (endpoint, keys, clock):
            await keys.check(endpoint.url, by())
            endpoint.answer = answer
            for age in (FRESH, FRESH + GRACE / 2, FRESH + GRACE - 1):
                clock.now = 1000 + age
                start = time.monotonic()
                assert await keys.check(endpoint.url, by()) == "42"
                assert time.monotonic() - start < 0.1  # it is asked in the background
                await asyncio.sleep(0.5)
            assert endpoint.asked == 4
            clock.now = 1000 + FRESH + GRACE + AGAIN
            assert (await refused(keys.check(endpoint.url, by())))[0] in {502, 503}
            endpoint.answer = OLD
            clock.now += AGAIN
            assert await keys.check(endpoint.url, by()) == "42"

    run(steps())


@pytest.mark.slow
@pytest.mark.parametrize("answer", FAILURES, ids=[str(answer)[:20] for answer in FAILURES])
def test_l13_09_f20_a_failure_is_told_soon_and_remembered_for_a_moment(run: Run, answer: Any) -> None:
    async def steps() -> None:
        async with platform() as (endpoint, keys, clock):
            endpoint.answer = answer
            start = time.monotonic()
            status, field = await refused(keys.check(endpoint.url, by()))
            assert time.monotonic() - start < 1.6
            assert (status, field) in {(503, "jwks_url"), (502, "jwks")}
            for _ in range(10):
                start = time.monotonic()
                assert await refused(keys.check(endpoint.url, by())) == (status, field)
                assert time.monotonic() - start < 0.1
            assert endpoint.asked == 1
            endpoint.answer = OLD
            clock.now += AGAIN
            assert await keys.check(endpoint.url, by()) == "42"

    run(steps())


def test_a32_a_redirect_is_not_followed(run: Run) -> None:
    async def steps() -> None:
        async with platform() as (endpoint, keys, _), platform() as (other, _keys, _clock):
            endpoint.answer, endpoint.location = 302, other.url
            assert await refused(keys.check(endpoint.url, by())) == (503, "jwks_url")
            assert (endpoint.asked, other.asked) == (1, 0)

    run(steps())


def test_f20_an_endless_answer_is_not_read_to_its_end(run: Run) -> None:
    async def steps() -> None:
        async with platform(timeout=5) as (endpoint, keys, _):
            endpoint.answer = "endless"
            assert await refused(keys.check(endpoint.url, by())) == (503, "jwks_url")
            assert endpoint.sent < 6 * 2**20

    run(steps())


def test_f20_nobody_listens(run: Run) -> None:
    async def steps() -> None:
        async with platform() as (_, keys, _clock):
            assert await refused(keys.check("http://127.0.0.1:1/jwks", by())) == (503, "jwks_url")

    run(steps())


@pytest.mark.parametrize("answer", ["silent", "slow", "endless"])
def test_f20_i8_a_silent_platform_delays_nobody_else(run: Run, answer: str) -> None:
    """Another coroutine that wants to run every millisecond is never more than 50 ms late."""

    async def steps() -> float:
        async with platform(timeout=0.5) as (endpoint, keys, _):
            by_k1, late = by(), 0.0
            endpoint.answer = answer
            waiting = [asyncio.create_task(refused(keys.check(endpoint.url, by_k1))) for _ in range(20)]
            while not all(task.done() for task in waiting):
                start = time.monotonic()
                await asyncio.sleep(0.001)
                late = max(late, time.monotonic() - start - 0.001)
            assert {task.result() for task in waiting} == {(503, "jwks_url")}
            return late

    assert run(steps()) < 0.05


def test_f20_a_silent_platform_delays_no_other_platform(run: Run) -> None:
    async def steps() -> None:
        async with platform(timeout=2) as (endpoint, keys, _), platform() as (other, _keys, _clock):
            endpoint.answer = "silent"
            waiting = asyncio.create_task(refused(keys.check(endpoint.url, by())))
            await asyncio.sleep(0.05)
            start = time.monotonic()
            assert await keys.check(other.url, by()) == "42"
            assert time.monotonic() - start < 0.5
            assert not waiting.done()
            waiting.cancel()

    run(steps())


def test_one_who_leaves_does_not_end_the_request_of_the_others(run: Run) -> None:
    async def steps() -> None:
        async with platform() as (endpoint, keys, _):
            first = asyncio.create_task(keys.check(endpoint.url, by()))
            second = asyncio.create_task(keys.check(endpoint.url, by()))
            await asyncio.sleep(0)
            first.cancel()
            assert await second == "42"
            assert endpoint.asked == 1

    run(steps())


@pytest.mark.parametrize(
    "url",
    [
        "http://lms.example.org/jwks",
        "http://127.0.0.1.example.org/jwks",
        "http://127.0.0.1@lms.example.org/jwks",
        "file:///etc/passwd",
        "ftp://127.0.0.1/jwks",
        "//127.0.0.1/jwks",
        "",
    ],
)
def test_a32_only_https_or_a_host_that_is_allowed_without(run: Run, url: str) -> None:
    async def steps() -> None:
        async with platform() as (endpoint, keys, _):
            assert await refused(keys.check(url, by())) == (502, "jwks_url")
            assert endpoint.asked == 0

    run(steps())


def test_a32_a_host_may_be_allowed_with_its_port_only(run: Run) -> None:
    async def steps() -> None:
        async with platform() as (endpoint, _, _clock):
            for hosts, allowed in ((f"127.0.0.1:{endpoint.port}", True), ("127.0.0.1:1", False)):
                keys = PlatformKeys(frozenset({hosts}))
                if allowed:
                    assert await keys.check(endpoint.url, by()) == "42"
                else:
                    assert await refused(keys.check(endpoint.url, by())) == (502, "jwks_url")
                keys.close()

    run(steps())
