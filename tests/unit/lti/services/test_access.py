"""Tokens and requests over real sockets: shared, renewed, bounded, and nowhere but where they belong."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import jwt
import pytest
from support.lti_services import ALL, CLIENT, FakePlatform, fake_platform, tool, tool_key

from coursewareauthenticator.lti.keys import KeysUnusable, ToolKeys
from coursewareauthenticator.lti.services.assertions import LIFETIME, read_token, token_request
from coursewareauthenticator.lti.services.grades import Grade
from coursewareauthenticator.lti.services.http import Call, ServiceHttp, same_origin
from coursewareauthenticator.lti.services.reasons import Kind, Reason, ServiceFailure
from coursewareauthenticator.lti.services.targets import RESULT_READ

Run = Callable[[Coroutine[Any, Any, Any]], Any]
STAMP = 1_800_000_000_000


async def failing(work: Coroutine[Any, Any, Any]) -> tuple[Kind, Reason]:
    with pytest.raises(ServiceFailure) as caught:
        await work
    assert str(caught.value).endswith(".")
    return caught.value.kind, caught.value.reason


def stamps() -> Callable[[], int]:
    """Times of scores, each a second later."""
    numbers = iter(range(STAMP, STAMP + 10_000_000, 1000))
    return lambda: next(numbers)


def test_ags_12_the_assertion_is_what_strict_platforms_ask_for() -> None:
    registration = FakePlatform().registration
    form = token_request(registration, tool_key(), {RESULT_READ}, 1_800_000_000.7).decode()
    assertion = dict(pair.split("=") for pair in form.split("&"))["client_assertion"]
    claims = jwt.decode(assertion, options={"verify_signature": False})
    assert (claims["iss"], claims["sub"], claims["aud"]) == (CLIENT, CLIENT, registration.token_audience)
    assert type(claims["iat"]) is int and type(claims["exp"]) is int
    assert claims["exp"] - claims["iat"] == LIFETIME and claims["iat"] <= 1_800_000_000 < claims["exp"]
    assert jwt.get_unverified_header(assertion)["kid"] == tool_key().kid
    again = token_request(registration, tool_key(), {RESULT_READ}, 1_800_000_000.7)
    assert again.decode() != form


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b'{"error": "invalid_client"}'), (401, b""), (404, b"<html>"), (200, b""), (200, b"[]"), (200, b"{}"),
        (200, b'{"access_token": ""}'), (200, b'{"access_token": "a b"}'), (200, b'{"access_token": 7}'),
        (200, b'{"access_token": "x\\r\\ny"}'), (200, b'{"access_token": "a", "token_type": "mac"}'),
        (302, b""), (200, b"[" * 10_000),
    ],
)  # fmt: skip
def test_ags_12_b03_an_answer_without_a_token_is_a_sentence(status: int, body: bytes) -> None:
    with pytest.raises(ServiceFailure) as caught:
        read_token(status, body, 0)
    assert caught.value.reason is Reason.NO_TOKEN and caught.value.everything


@pytest.mark.parametrize(
    ("said", "until"),
    [
        ("3600", 3540), ('"3600"', 3540), ("100", 50), ("null", 3540), ("-5", 3540), ('"x"', 3540), ("1e300", 86340),
        ("true", 0.5), ("[]", 3540),
    ],
)  # fmt: skip
def test_a_token_is_used_until_shortly_before_its_end(said: str, until: float) -> None:
    body = b'{"access_token": "a", "token_type": "Bearer", "expires_in": %s}' % said.encode()
    assert read_token(200, body, 0).until == until
    assert "'a'" not in repr(read_token(200, body, 0))


def test_one_token_for_many_scores_and_a_new_one_before_its_end(run: Run) -> None:
    async def steps() -> None:
        now, stamp = [time.time()], stamps()
        async with fake_platform(lives=200, leeway=1000) as platform, tool(platform, clock=lambda: now[0]) as our:
            await asyncio.gather(*(our.books.send(platform.target(u), Grade(1, 1), stamp()) for u in ("42", "43")))
            await our.books.send(platform.target(), Grade(1, 1), stamp())
            assert platform.token_requests == 1 and len(platform.scores) == 3
            now[0] += 139
            await our.books.send(platform.target(), Grade(1, 1), stamp())
            assert platform.token_requests == 1
            now[0] += 2
            await our.books.send(platform.target(), Grade(1, 1), stamp())
            assert platform.token_requests == 2

    run(steps())


def test_rights_have_tokens_of_their_own(run: Run) -> None:
    async def steps() -> None:
        async with fake_platform() as platform, tool(platform) as our:
            await our.books.send(platform.target(), Grade(1, 1), STAMP)
            await our.books.result(platform.target())
            assert {scopes for _, scopes in platform.tokens.values()} == {
                frozenset({scope})
                for scope in (ALL - {RESULT_READ}) | {RESULT_READ}
                if scope.endswith(("score", "result.readonly"))
            }

    run(steps())


def test_ags_12_a_token_that_is_refused_is_fetched_anew_once(run: Run) -> None:
    async def steps() -> None:
        stamp = stamps()
        async with fake_platform() as platform, tool(platform) as our:
            await our.books.send(platform.target(), Grade(1, 1), stamp())
            platform.tokens.clear()
            await asyncio.gather(*(our.books.send(platform.target(u), Grade(1, 1), stamp()) for u in ("42", "43")))
            assert platform.token_requests == 2 and len(platform.scores) == 3
            platform.faults["scores"].extend(["401", "401"])
            assert await failing(our.books.send(platform.target(), Grade(1, 1), stamp())) == (
                Kind.RETRY,
                Reason.TOKEN_REFUSED,
            )
            assert platform.token_requests == 3

    run(steps())


@pytest.mark.parametrize("wrong", ["key", "client", "scope", "token address", "key file"])
def test_ags_12_what_is_wrong_with_the_registration_is_said(run: Run, wrong: str) -> None:
    async def steps() -> None:
        async with fake_platform() as platform:
            how: dict[str, Any] = {}
            if wrong == "key":
                how["key"] = lambda _: tool_key("another")
            elif wrong == "client":
                platform.keys.clear()
            elif wrong == "scope":
                platform.allowed = frozenset()
            elif wrong == "token address":
                how["key"] = lambda registration: object.__setattr__(registration, "token_url", None) or tool_key()
            else:

                def broken(_: Any) -> Any:
                    raise KeysUnusable("/srv/keys/1.pem can be read by others")

                how["key"] = broken
            async with tool(platform, **how) as our:
                work = [our.books.send(platform.target(), Grade(1, 1), STAMP) for _ in range(3)]
                for one in work:
                    assert await failing(one) == (Kind.RETRY, Reason.NO_TOKEN)
                # Not asked again for every grade.
                assert platform.token_requests <= 1

    run(steps())


def test_the_tool_s_key_is_read_in_a_thread(run: Run, tmp_path: Path) -> None:
    """A key is made in half a second, in which others go on."""
    keys = ToolKeys(tmp_path / "keys")

    async def steps() -> float:
        async with fake_platform() as platform, tool(platform, key=lambda _: keys.signing(time.time())) as our:
            sending = asyncio.ensure_future(failing(our.books.send(platform.target(), Grade(1, 1), STAMP)))
            late = 0.0
            while not sending.done():
                start = time.monotonic()
                await asyncio.sleep(0.001)
                late = max(late, time.monotonic() - start - 0.001)
            assert await sending == (Kind.RETRY, Reason.NO_TOKEN)
            return late

    assert run(steps()) < 0.25


@pytest.mark.parametrize("fault", ["429", "503", "500"])
def test_a_token_service_that_is_busy_is_waited_for(run: Run, fault: str) -> None:
    async def steps() -> None:
        async with fake_platform(retry_after="17") as platform, tool(platform) as our:
            platform.faults["token"].append(fault)
            with pytest.raises(ServiceFailure) as caught:
                await our.books.send(platform.target(), Grade(1, 1), STAMP)
            assert caught.value.reason is (Reason.BROKEN if fault == "500" else Reason.BUSY)
            assert caught.value.retry_after == 17 and caught.value.everything

    run(steps())


def test_a_platform_that_is_not_registered_any_more(run: Run) -> None:
    async def steps() -> None:
        async with fake_platform() as platform, tool() as our:
            assert await failing(our.books.send(platform.target(), Grade(1, 1), STAMP)) == (
                Kind.RETRY,
                Reason.UNKNOWN_PLATFORM,
            )
            assert platform.requests == []

    run(steps())


# --- requests ----------------------------------------------------------------------------------


def test_a32_a_token_follows_no_redirect_to_another_host(run: Run) -> None:
    async def steps() -> None:
        async with fake_platform() as platform, fake_platform() as other, tool(platform) as our:
            platform.elsewhere = f"{other.url}/lineitem/1/results?type_id=1"
            platform.faults["results"].append("redirect-elsewhere")
            assert await failing(our.books.result(platform.target())) == (Kind.PERMANENT, Reason.MOVED)
            platform.faults["scores"].append("redirect")
            assert await failing(our.books.send(platform.target(), Grade(1, 1), STAMP)) == (
                Kind.PERMANENT,
                Reason.MOVED,
            )
            assert other.requests == [] and platform.scores == []

    run(steps())


def test_a_reading_is_sent_on_within_its_origin_and_not_for_ever(run: Run) -> None:
    async def steps() -> None:
        async with fake_platform() as platform, tool(platform) as our:
            platform.faults["results"].extend(["redirect", "redirect"])
            assert await our.books.result(platform.target()) is None
            platform.faults["results"].extend(["redirect"] * 20)
            assert await failing(our.books.result(platform.target())) == (Kind.PERMANENT, Reason.MOVED)
            assert len(platform.faults["results"]) == 17

    run(steps())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.example/x", "https://a.example/y?z", True),
        ("https://a.example:443/x", "https://A.example/", True),
        ("https://a.example/x", "http://a.example/x", True),
        ("http://a.example/x", "https://a.example/x", False),
        ("https://a.example:444/x", "https://a.example/x", False),
        ("https://b.example/x", "https://a.example/x", False),
        ("https://a.example.evil/x", "https://a.example/x", False),
        ("https://a.example@evil.example/x", "https://a.example/x", False),
        ("javascript:x", "https://a.example/x", False),
        ("/x", "/x", False),
    ],
)
def test_a32_what_is_the_same_place(one: str, other: str, same: bool) -> None:
    assert same_origin(one, other) is same


@pytest.mark.parametrize(
    "url",
    ["http://lms.example.org/x", "file:///etc/passwd", "http://127.0.0.1.example.org/x", "", "https://a@b.example/"],
)
def test_a32_only_https_or_a_host_that_is_allowed_without(run: Run, url: str) -> None:
    async def steps() -> None:
        http = ServiceHttp(frozenset({"127.0.0.1"}))
        assert await failing(http.send(Call("GET", url))) == (Kind.PERMANENT, Reason.NOT_ASKED)
        http.close()

    run(steps())


@pytest.mark.parametrize("fault", ["silent", "cut", "cut-before", "endless"])
def test_an_answer_that_does_not_come_is_tried_again(run: Run, fault: str) -> None:
    async def steps() -> None:
        async with fake_platform(silence=0.6) as platform, tool(platform, timeout=0.3) as our:
            platform.faults["scores"].append(fault)
            assert await failing(our.books.send(platform.target(), Grade(1, 1), STAMP)) == (
                Kind.RETRY,
                Reason.NO_ANSWER,
            )
            assert len(platform.scores) == (1 if fault == "cut" else 0)
            await asyncio.sleep(0.5 if fault == "silent" else 0)

    run(steps())


def test_nobody_listens(run: Run) -> None:
    async def steps() -> None:
        http = ServiceHttp(frozenset({"127.0.0.1"}), timeout=1)
        assert await failing(http.send(Call("GET", "http://127.0.0.1:1/"))) == (Kind.RETRY, Reason.NO_ANSWER)
        http.close()

    run(steps())


def test_i8_a_silent_platform_delays_nobody_else(run: Run) -> None:
    """Another coroutine that wants to run every millisecond is not 50 ms late, but for what the machine itself does.

    A client that waits in the loop would be late once for each of the twenty.
    """

    async def steps() -> list[float]:
        async with fake_platform(silence=0.8) as platform, tool(platform, timeout=0.4) as our:
            await our.books.result(platform.target())
            platform.faults["scores"].extend(["silent"] * 20)
            targets = [platform.target(str(user)) for user in range(20)]
            sending = [asyncio.ensure_future(failing(our.books.send(one, Grade(1, 1), STAMP))) for one in targets]
            late = []
            while not all(task.done() for task in sending):
                start = time.monotonic()
                await asyncio.sleep(0.001)
                late.append(time.monotonic() - start - 0.001)
            assert {task.result() for task in sending} == {(Kind.RETRY, Reason.NO_ANSWER)}
            await asyncio.sleep(0.5)
            return late

    late = run(steps())
    assert sum(seconds > 0.05 for seconds in late) < 3, sorted(late)[-5:]


def test_a29_no_token_is_in_a_log_a_message_or_a_name(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def steps() -> None:
        async with fake_platform() as platform, tool(platform) as our:
            said = []
            for fault in ("", "401", "403", "500", "cut"):
                platform.faults["scores"].extend([fault, fault] if fault == "401" else [fault])
                try:
                    await our.books.send(platform.target(), Grade(1, 1), STAMP)
                except ServiceFailure as failed:
                    said += [repr(failed), failed.said, str(failed)]
            # A platform that repeats the token which it refuses.
            token = next(iter(platform.tokens))
            platform.tokens[token] = (time.time() + 99, frozenset())
            for value in list(platform.tokens):
                platform.tokens[value] = (time.time() + 99, frozenset())
            with pytest.raises(ServiceFailure) as caught:
                await our.books.send(platform.target(), Grade(1, 1), STAMP)
            said += [caught.value.said, str(caught.value)]
            assert caught.value.reason is Reason.NOT_ALLOWED and "insufficient_scope" in caught.value.said
            said += [repr(Call("POST", platform.url, {"Authorization": token}, b"x")), repr(our)]
            text = caplog.text + "".join(said)
            assert len(said) > 8
            for value in platform.tokens:
                assert value[:30] not in text

    run(steps())
