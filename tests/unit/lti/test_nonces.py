"""A nonce counts once: for every thread, process and restart, and whatever else is sent."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, func, select
from sqlalchemy.exc import DBAPIError
from support.lti import NOW, form, signed
from support.postgres import Postgres, postgres

from coursewareauthenticator.lti.launch import LaunchRefused, Once
from coursewareauthenticator.lti.lti11 import Consumer, Request, verify
from coursewareauthenticator.lti.nonces import SWEEP_EVERY, TABLE, NonceStore
from coursewarehub.hub.database import use_write_ahead_log

Store = Callable[..., NonceStore]
CONSUMERS = {key: Consumer(key, (secret,)) for key, secret in (("moodle", "s3cret & more"), ("other", "another"))}
URL = "https://hub.example.org/courses/python/hub/lti/launch"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres("courses") as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'hub.sqlite'}"
    url: str = request.getfixturevalue("server").url()
    with create_engine(url).begin() as connection:
        TABLE.drop(connection, checkfirst=True)
    return url


@pytest.fixture
def opened(url: str) -> Iterator[Store]:
    """Opens a store as a process does when it starts."""
    made = []

    def opened(**how: int) -> NonceStore:
        use_write_ahead_log()
        engine = create_engine(url)
        made.append(engine)
        store = NonceStore(engine, **how)
        store.create()
        return store

    yield opened
    for engine in made:
        engine.dispose()


def once(value: str = "n", owner: str = "lti11:moodle", expires: int = NOW + 5700) -> Once:
    return Once(owner, value, expires)


def used(store: NonceStore, one: Once, now: float = NOW) -> bool:
    """Whether it had been used before."""
    try:
        store.use(one, now)
    except LaunchRefused as refusal:
        assert (refusal.status, refusal.field) == (401, "nonce")
        return True
    return False


def rows(store: NonceStore) -> int:
    with store._engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(TABLE)).scalar_one())


def test_a02_a_replay_at_once(opened: Store) -> None:
    store = opened()
    assert [used(store, once()) for _ in range(3)] == [False, True, True]


def test_a02_a_replay_after_a_restart_and_at_another_worker(opened: Store) -> None:
    assert not used(opened(), once())
    assert used(opened(), once())


@pytest.mark.parametrize("later", [37, 58, 299, 300, 328, 5699])
def test_a02_a_replay_while_the_launch_would_still_be_accepted(opened: Store, later: int) -> None:
    store = opened()
    assert not used(store, once())
    assert used(store, once(), NOW + later)


def test_a02_another_consumers_nonce_is_another_nonce(opened: Store) -> None:
    store = opened()
    pairs = [("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", ""), ("A", "bc"), ("a", "b\0c"), ("a", "\ud800")]
    assert [used(store, once(value, owner)) for owner, value in pairs] == [False] * len(pairs)
    assert [used(store, once(value, owner)) for owner, value in pairs] == [True] * len(pairs)


def test_a02_of_many_threads_one_wins(opened: Store) -> None:
    stores = [opened() for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: used(stores[number % 4], once()), range(40)))
    assert answers.count(False) == 1


def _race(url: str, start: float, answers: multiprocessing.Queue[int]) -> None:
    use_write_ahead_log()
    store = NonceStore(create_engine(url))
    answers.put(sum(not used(store, once(f"n{number}")) for number in range(int(start), int(start) + 50)))


@pytest.mark.slow
def test_a02_of_many_processes_one_wins(opened: Store, url: str) -> None:
    opened()
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    processes = [context.Process(target=_race, args=(url, 0, answers)) for _ in range(3)]
    for process in processes:
        process.start()
    won = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(timeout=30)
    assert sum(won) == 50


def _launch(store: NonceStore, body: bytes, now: float = NOW) -> str:
    """What a handler does: verify first, then use the nonce up."""
    launch = verify(Request("POST", URL, body=body), CONSUMERS, now, 300)
    store.use(launch.once, now)
    return str(launch.subject)


@pytest.mark.parametrize("junk", [300, pytest.param(100_000, marks=pytest.mark.long)])
def test_a02_l11_06_junk_burns_no_nonce_and_fills_no_table(opened: Store, junk: int) -> None:
    store = opened()
    real = signed(form(), nonce="the-real-one")
    forged = signed(form(), secret="guessed", nonce="the-real-one")
    for number in range(junk):
        with pytest.raises(LaunchRefused):
            _launch(store, forged.replace(b"user_id=42", f"user_id={number}".encode()))
    assert rows(store) == 0
    assert _launch(store, real) == "42"
    for _ in range(2):
        with pytest.raises(LaunchRefused, match="used before"):
            _launch(store, real)


@pytest.mark.parametrize(("ahead", "later"), [(0, 58), (28, 37), (300, 600), (-300, 0), (300, 599)])
def test_a02_l11_05_a_launch_is_remembered_for_as_long_as_it_is_accepted(opened: Store, ahead: int, later: int) -> None:
    store = opened()
    body = signed(form(), timestamp=str(NOW + ahead))
    assert _launch(store, body) == "42"
    store.use(once("another"), NOW + later)
    with pytest.raises(LaunchRefused, match="used before"):
        _launch(store, body, NOW + later)


def test_f28_a_clock_set_back_by_an_hour_opens_no_replay(opened: Store) -> None:
    store = opened()
    body = signed(form())
    assert _launch(store, body) == "42"
    store.use(once("an hour later", expires=NOW + 9000), NOW + 3600)
    with pytest.raises(LaunchRefused, match="used before"):
        _launch(store, body, NOW)


def test_f12_a_database_that_does_not_answer_is_said(opened: Store) -> None:
    store = opened()
    TABLE.drop(store._engine)
    with pytest.raises(LaunchRefused, match="database does not answer") as caught:
        store.use(once(), NOW)
    assert (caught.value.status, caught.value.field) == (503, "nonce")
    assert isinstance(caught.value.__cause__, DBAPIError)
    store.create()
    assert not used(store, once())


def test_a02_the_table_is_made_by_many_at_the_same_time(opened: Store) -> None:
    stores = [opened() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            TABLE.drop(stores[0]._engine)
            list(pool.map(NonceStore.create, stores))
    assert rows(stores[0]) == 0


def test_what_has_expired_is_removed(opened: Store) -> None:
    store = opened()
    for number in range(5):
        store.use(once(str(number), expires=NOW + 100 + number), NOW)
    store.use(once("later", expires=NOW + 900), NOW + 103)
    assert rows(store) == 3
    assert not used(store, once("0"), NOW + 103 + SWEEP_EVERY)


def test_a30_the_table_is_bounded_and_says_so(opened: Store) -> None:
    store = opened(most=3)
    for number in range(3):
        store.use(once(str(number), expires=NOW + 100), NOW)
    with pytest.raises(LaunchRefused, match="few minutes") as caught:
        store.use(once("one too many"), NOW)
    assert caught.value.status == 503
    assert rows(store) == 3
    store.use(once("one too many"), NOW + 101)
    assert rows(store) == 1


def test_a30_a_row_has_one_size(opened: Store) -> None:
    store = opened()
    store.use(once("x" * 100_000, "y" * 100_000), NOW)
    with store._engine.connect() as connection:
        (digest,) = connection.execute(select(TABLE.c.digest)).scalars()
    assert len(digest) == 64
