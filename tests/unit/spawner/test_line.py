"""The line in front of starting servers: order, places, and people who leave it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest

from coursewarespawner.line import Line


class Person:
    """Somebody in a line: what they were told, whether they are being served, and how to let them finish."""

    def __init__(self, line: Line, name: str, log: list[str]) -> None:
        self.told: list[int] = []
        self.served = False
        self._done = asyncio.Event()
        self.task = asyncio.create_task(self._go(line, name, log))

    async def _go(self, line: Line, name: str, log: list[str]) -> None:
        async with line.turn(self.told.append):
            self.served = True
            log.append(name)
            try:
                await self._done.wait()
            finally:
                self.served = False

    def finish(self) -> None:
        self._done.set()


def run(width: int, test: Callable[[Line, Callable[..., Awaitable[list[Person]]], list[str]], Awaitable[None]]) -> None:
    async def main() -> None:
        line, log = Line(width), list[str]()

        async def queue(names: str) -> list[Person]:
            people = [Person(line, name, log) for name in names]
            await settle()
            return people

        await asyncio.wait_for(test(line, queue, log), 5)

    asyncio.run(main())


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_so_many_at_a_time_in_order_of_coming() -> None:
    async def test(_line: Line, queue: Callable[..., Awaitable[list[Person]]], log: list[str]) -> None:
        people = await queue("abcde")
        assert log == ["a", "b"]
        for number, person in enumerate(people):
            assert sum(p.served for p in people) == min(2, 5 - number)
            person.finish()
            await settle()
        assert log == list("abcde")

    run(2, test)


def test_everybody_is_told_their_place_and_every_change_of_it() -> None:
    async def test(_line: Line, queue: Callable[..., Awaitable[list[Person]]], _log: list[str]) -> None:
        a, b, c, d = await queue("abcd")
        assert [p.told for p in (a, b, c, d)] == [[0], [1], [2], [3]]
        a.finish()
        await settle()
        assert [p.told for p in (b, c, d)] == [[1, 0], [2, 1], [3, 2]]
        b.finish()
        c.finish()
        await settle()
        assert [p.told for p in (c, d)] == [[2, 1, 0], [3, 2, 1, 0]]

    run(1, test)


def test_who_leaves_the_line_lets_the_others_move_up() -> None:
    async def test(_line: Line, queue: Callable[..., Awaitable[list[Person]]], log: list[str]) -> None:
        a, b, c, d = await queue("abcd")
        c.task.cancel()
        await settle()
        assert d.told == [3, 2] and b.told == [1, 1]
        a.finish()
        b.finish()
        await settle()
        assert log == ["a", "b", "d"] and d.served

    run(1, test)


def test_who_leaves_at_the_moment_of_being_called_gives_the_turn_on() -> None:
    async def test(line: Line, queue: Callable[..., Awaitable[list[Person]]], log: list[str]) -> None:
        a, b, c = await queue("abc")
        a.finish()
        # One step: a's turn ends and b is called, but b has not run yet.
        while (
            not any(called.done() for called, _ in line._waiting)
            and line._waiting
            and line._waiting[0][1] == b.told.append
        ):
            await asyncio.sleep(0)
        assert not b.served
        b.task.cancel()
        await settle()
        assert b.task.cancelled() and c.served and log == ["a", "c"]
        c.finish()
        await settle()
        assert (await queue("d"))[0].served

    run(1, test)


def test_who_is_cancelled_while_being_served_gives_the_turn_on() -> None:
    async def test(_line: Line, queue: Callable[..., Awaitable[list[Person]]], _log: list[str]) -> None:
        a, b = await queue("ab")
        a.task.cancel()
        await settle()
        assert b.served

    run(1, test)


def test_whose_start_fails_gives_the_turn_on() -> None:
    async def main() -> None:
        line = Line(1)
        for _ in range(3):
            with pytest.raises(RuntimeError):
                async with line.turn(lambda _: None):
                    raise RuntimeError("did not come up")
        async with asyncio.timeout(1), line.turn(lambda _: None):
            pass

    asyncio.run(main())


def test_everybody_leaves_and_the_line_is_as_new() -> None:
    async def test(line: Line, queue: Callable[..., Awaitable[list[Person]]], _log: list[str]) -> None:
        people = await queue("abcdef")
        for person in people:
            person.task.cancel()
        await settle()
        assert not line._waiting and line._served == 0
        again = await queue("xy")
        assert [p.served for p in again] == [True, True]

    run(2, test)


def test_nobody_is_overtaken_by_who_comes_later() -> None:
    async def test(_line: Line, queue: Callable[..., Awaitable[list[Person]]], log: list[str]) -> None:
        a, _ = await queue("ab")
        a.finish()
        c = Person(_line, "c", log)
        await settle()
        assert log == ["a", "b"] and not c.served

    run(1, test)


@pytest.mark.parametrize(("before", "after", "served"), [(1, 3, 3), (3, 1, 1)])
def test_changed_width_counts_from_the_next_turn_on(before: int, after: int, served: int) -> None:
    async def test(line: Line, queue: Callable[..., Awaitable[list[Person]]], _log: list[str]) -> None:
        people = await queue("abcdef")
        line.width = after
        for person in people[:before]:
            person.finish()
        await settle()
        assert sum(p.served for p in people) == served

    run(before, test)


def test_how_long_it_takes_is_known_from_the_last_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("coursewarespawner.line.time.monotonic", lambda: now[0])

    async def main() -> None:
        line = Line(2)
        assert line.seconds(3) is None
        for took in (4.0, 6.0, 50.0):
            async with line.turn(lambda _: None):
                now[0] += took
        with pytest.raises(RuntimeError):
            async with line.turn(lambda _: None):
                now[0] += 1000
                raise RuntimeError("a start that fails tells nothing about those that do not")
        assert [line.seconds(place) for place in (0, 1, 2, 4)] == [6.0, 9.0, 12.0, 18.0]
        for _ in range(20):
            async with line.turn(lambda _: None):
                now[0] += 1
        assert line.seconds(0) == 1.0, "what was long ago is forgotten"

    asyncio.run(main())


def test_one_line_for_each_hub() -> None:
    class Owner:
        pass

    one, other = Owner(), Owner()
    assert Line.of(one, 2) is Line.of(one, 5) is not Line.of(other, 2)
    assert Line.of(one, 7).width == 7
    known = len(Line._lines)
    del one, other
    gc.collect()
    assert len(Line._lines) == known - 2
