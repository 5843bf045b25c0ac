"""A launch from its first request to the page where it ends, as a handler will do it; and the same once more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import create_engine
from support.lti import CLIENT, ISSUER, KEY, LAUNCH_URL, NOW, SECRET, claims, form, key_set, signed, token

from coursewareauthenticator.lti import lti11, lti13
from coursewareauthenticator.lti.identity import account
from coursewareauthenticator.lti.jwks import PlatformKeys
from coursewareauthenticator.lti.launch import Launch, LaunchRefused
from coursewareauthenticator.lti.login import Pending, begin_login, read_callback, unseal
from coursewareauthenticator.lti.nonces import NonceStore
from coursewareauthenticator.lti.registrations import Registration, Registrations
from coursewareauthenticator.lti.roles import role_of
from coursewareauthenticator.lti.target import Host, resolve
from coursewarehub.model.roles import Role

Run = Callable[[Coroutine[Any, Any, Any]], Any]
HOST = Host(frozenset({"https://hub.example.org"}), "/courses/python/")
STATE_SECRET = b"a secret of the hub's"


@pytest.fixture
def store(tmp_path: Path) -> NonceStore:
    store = NonceStore(create_engine(f"sqlite:///{tmp_path / 'hub.sqlite'}"))
    store.create()
    return store


def arrives(launch: Launch, store: NonceStore) -> tuple[Role | None, str]:
    """What is left to do when a launch is verified."""
    store.use(launch.once, NOW)
    return role_of(launch.roles), resolve(launch, HOST, account(launch).name).path


def test_l11_01_a02_a_launch_of_lti_1_1_and_its_replay(store: NonceStore) -> None:
    consumers = {KEY: lti11.Consumer(KEY, (SECRET,))}
    request = lti11.Request("POST", LAUNCH_URL, body=signed(form()))
    where = "/courses/python/hub/user-redirect/lab/tree/week3/%E6%BC%94%E7%BF%92%201.ipynb"
    assert arrives(lti11.verify(request, consumers, NOW, 300), store) == (Role.INSTRUCTOR, where)
    with pytest.raises(LaunchRefused, match="used before"):
        arrives(lti11.verify(request, consumers, NOW + 60, 300), store)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    body = key_set()
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    writer.close()


def test_l13_08_a02_a_launch_of_lti_1_3_and_its_replay(store: NonceStore, run: Run) -> None:
    async def steps() -> None:
        server = await asyncio.start_server(_serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"
        registrations = Registrations([Registration(ISSUER, CLIENT, f"{ISSUER}/auth", url)])
        keys = PlatformKeys(frozenset({"127.0.0.1"}))
        start = {"iss": [ISSUER], "login_hint": ["42"], "target_link_uri": [LAUNCH_URL]}
        login = begin_login(start, registrations, LAUNCH_URL, STATE_SECRET, "cookie", NOW)
        query = parse_qs(urlsplit(login.url).query)
        posted = {"state": query["state"], "id_token": [token(claims(query["nonce"][0]))]}

        async def ends(now: float) -> tuple[Role | None, str]:
            callback = read_callback(posted)
            pending = unseal(callback.state, STATE_SECRET, now)
            pending.check_browser("cookie")
            registration = registrations.find(pending.issuer, pending.client_id)
            check = partial(_verify, callback.id_token, pending, registrations, now)
            return arrives(await keys.check(registration.jwks_url, check), store)

        where = "/courses/python/hub/user-redirect/lab/tree/week3/a.ipynb"
        assert await ends(NOW + 1) == (Role.STUDENT, where)
        with pytest.raises(LaunchRefused, match="used before"):
            await ends(NOW + 2)
        keys.close()
        server.close()

    run(steps())


def _verify(id_token: str, pending: Pending, registrations: Registrations, now: float, keys: Any) -> Launch:
    return lti13.verify(id_token, pending, registrations, keys, lti13.Rules(now))
