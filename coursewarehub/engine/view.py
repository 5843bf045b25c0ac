"""One shared observation of all objects with certain labels, in place of a poll for every user."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from coursewarehub.engine import observe
from coursewarehub.engine.client import Engine
from coursewarehub.engine.errors import EngineError, Gone, Refused
from coursewarehub.engine.observe import GONE, Node, Observation
from coursewarehub.engine.states import Condition

Predicate = Callable[[Observation], bool]

_EVENTS: Final = ("create", "start", "die", "destroy", "pause", "unpause")
_QUIET: Final = 10.0  # seconds between two looks at a Docker host whose events are heard
_LONGEST_REST: Final = 0.5  # seconds; looking at a busy engine may take a tenth of the time
_LONGEST_BREATH: Final = 0.1  # seconds, as often as a Swarm's manager writes down what nodes tell
_BACK: Final = 5  # seconds of events that are heard again after a new connection
_REMEMBERED: Final = 600.0  # seconds for which something that is gone is remembered

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Waiter:
    """Somebody waits for what a look that begins after `since` says of `name`."""

    name: str
    predicate: Predicate
    since: float
    found: asyncio.Future[Observation]


class EngineView:
    """What is known of every object that has all of `labels` (name to value), by its name.

    On one Docker host the list is read when the engine tells of an event; on a swarm every `interval` seconds while
    anything is alive, and every `fast` seconds for those that somebody waits for. While nothing is alive and nobody
    asks, nothing is done. A look that fails leaves what was known, no longer `verified`.

    `network` is the name of the network whose addresses are told; None: the first. Looking begins with the first
    question; ask from within one event loop at a time.
    """

    _shared: ClassVar[dict[Any, EngineView]] = {}

    def __init__(
        self,
        engine: Engine,
        labels: Mapping[str, str],
        *,
        swarm: bool,
        network: str | None = None,
        interval: float = 1.0,
        fast: float = 0.02,
    ) -> None:
        self.engine = engine
        self.labels = dict(labels)
        self.swarm = swarm
        self.network = network
        self.interval = interval
        self.fast = fast
        self.nodes: dict[str, Node] = {}
        self.seen_at: float | None = None
        self._error: str | None = None
        self._error_since = 0.0
        self._observed: dict[str, Observation] = {}
        self._begun: dict[str, float] = {}
        self._tried_at = float("-inf")
        self._services: dict[str, Mapping[str, Any]] = {}
        self._inspected: dict[str, Mapping[str, Any]] = {}
        self._heard = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def shared(
        cls, engine_url: str, labels: Mapping[str, str], *, swarm: bool, network: str | None = None
    ) -> EngineView:
        """The one view of this process with these labels at this engine."""
        key = (engine_url, swarm, network, *sorted(labels.items()))
        if key not in cls._shared:
            cls._shared[key] = cls(Engine(engine_url), labels, swarm=swarm, network=network)
        return cls._shared[key]

    # --- questions ----------------------------------------------------------------------------

    @property
    def observations(self) -> Mapping[str, Observation]:
        """What is known now, without asking the engine."""
        return {name: self._told(found) for name, found in self._observed.items()}

    @property
    def error(self) -> str | None:
        """Why nothing newer is known, and since when; None when the last look succeeded."""
        if self._error is None:
            return None
        return f"{self._error} (since {datetime.fromtimestamp(self._error_since):%H:%M:%S})"

    def degraded(self) -> str | None:
        """What is wrong with the engine or the swarm, in one sentence; None when nothing is."""
        return self.error or observe.trouble_of(self.nodes.values())

    async def look(self, name: str, *, max_age: float = 2.0) -> Observation:
        """What is known of `name`, at most `max_age` seconds old if the engine answers.

        GONE only when the engine said so of this object; UNKNOWN when it has never said anything.
        """
        self._begin()
        await self._survey(time.monotonic() - max_age)
        if name not in self._observed and self._error is None:
            await self._ask_for(name)
        found = self._observed.get(name, Observation(Condition.UNKNOWN, verified=False))
        return self._told(found)

    async def wait_for(self, name: str, predicate: Predicate, timeout: float) -> Observation:
        """The first observation of `name`, made from now on, for which `predicate` holds.

        An object that does not exist is observed as GONE: begin to wait when it has been made. Raises TimeoutError
        with a sentence after `timeout` seconds.
        """
        loop = self._begin()
        waiter = _Waiter(name, predicate, time.monotonic(), loop.create_future())
        self._waiters.append(waiter)
        self._forget_service(name)
        self._wake.set()
        self._adapt()
        try:
            return await asyncio.wait_for(waiter.found, timeout)
        except TimeoutError:
            raise TimeoutError(self.error or f"{name} did not get there within {timeout:g} seconds") from None
        finally:
            self._waiters.remove(waiter)
            self._adapt()

    def close(self) -> None:
        """Stop looking."""
        if self._loop is not None and not self._loop.is_closed():
            for task in self._tasks:
                task.cancel()
        self._loop = None

    def _told(self, found: Observation) -> Observation:
        return found if self._error is None else replace(found, verified=False)

    # --- looking ------------------------------------------------------------------------------

    def _begin(self) -> asyncio.AbstractEventLoop:
        """Look for the running event loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._heard = False
            self._waiters: list[_Waiter] = []
            self._surveying = asyncio.Lock()
            self._wake, self._needed, self._followed = asyncio.Event(), asyncio.Event(), asyncio.Event()
            work = [self._watch(), self._follow() if self.swarm else self._listen()]
            self._tasks = [loop.create_task(each) for each in work]
            for task in self._tasks:
                task.add_done_callback(_tell_of_a_bug)
            self._adapt()
        return loop

    async def _watch(self) -> None:
        """Survey again and again while there is a reason to."""
        while True:
            await self._needed.wait()
            self._wake.clear()
            begun = time.monotonic()
            await self._survey(begun)
            took = min(time.monotonic() - begun, _LONGEST_REST)
            await asyncio.sleep(took)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(self._pause(), 9 * took))

    def _pause(self) -> float:
        if self._error is None and not self.swarm and self._heard:
            return _QUIET
        return self.fast if self._waiters and not self.swarm else self.interval

    async def _follow(self) -> None:
        """Look quickly at the services that somebody waits for.

        A manager is busy with it for a quarter of the time; what one slow look takes says little of the next.
        """
        while True:
            await self._followed.wait()
            begun = time.monotonic()
            with self._understood():
                await self._look_at({waiter.name for waiter in self._waiters})
            await asyncio.sleep(max(self.fast, min(3 * (time.monotonic() - begun), _LONGEST_BREATH)))

    async def _listen(self) -> None:
        """Survey at once when the engine tells of an event."""
        filters = self._filters(type=["container"], event=list(_EVENTS))
        while True:
            try:
                self._heard = True
                events = self.engine.stream("/events", filters=filters, since=int(time.time()) - _BACK)
                async with contextlib.aclosing(events) as told:
                    async for _ in told:
                        self._needed.set()
                        self._wake.set()
            except EngineError:
                pass
            self._heard = False
            self._wake.set()
            await asyncio.sleep(self.interval)

    async def _survey(self, not_before: float) -> None:
        """Look at everything, unless somebody did so after `not_before` (time.monotonic())."""
        async with self._surveying:
            if self._tried_at >= not_before:
                return
            begun = time.monotonic()
            with self._understood():
                found = await (self._services_now() if self.swarm else self._containers_now())
                self.seen_at = time.time()
                self._error = None
                self._apply(found, begun)
                await asyncio.gather(*map(self._ask_for, self._missing(found, begun)))
                self._forget_the_gone()
            self._tried_at = begun if self._error is None else time.monotonic()
            self._adapt()

    async def _services_now(self) -> dict[str, Observation]:
        services, tasks, nodes = await asyncio.gather(
            self.engine.get("/services", filters=self._filters()),
            self.engine.get("/tasks", filters=self._filters()),
            self.engine.get("/nodes"),
        )
        self.nodes = observe.nodes_of(nodes)
        self._services = {service["Spec"]["Name"]: service for service in services}
        return self._observe(self._services.values(), tasks)

    async def _containers_now(self) -> dict[str, Observation]:
        entries = await self.engine.get("/containers/json", all=True, filters=self._filters())
        now = datetime.now(UTC)
        over = {entry["Id"] for entry in entries if observe.needs_inspection(entry, now)}
        self._inspected = {key: value for key, value in self._inspected.items() if key in over}
        await asyncio.gather(*map(self._inspect, over - self._inspected.keys()))
        return {
            observe.name_of_container(entry): observe.of_entry(
                entry, self._inspected.get(entry["Id"]), self.network, now
            )
            for entry in entries
        }

    async def _inspect(self, container: str) -> None:
        with contextlib.suppress(Gone):
            self._inspected[container] = await self.engine.get(f"/containers/{container}/json")

    async def _look_at(self, names: set[str]) -> None:
        """Look at some services by name."""
        begun = time.monotonic()
        await asyncio.gather(*map(self._find, names - self._services.keys()))
        services = [self._services[name] for name in names & self._services.keys()]
        if not services:
            return
        try:
            tasks = await self.engine.get("/tasks", filters={"service": [service["ID"] for service in services]})
        except Refused:  # one of them is gone
            for name in names:
                self._forget_service(name)
            return
        if any(task.get("NodeID") and task["NodeID"] not in self.nodes for task in tasks):
            self.nodes = observe.nodes_of(await self.engine.get("/nodes"))
        self._apply(self._observe(services, tasks), begun)

    async def _find(self, name: str) -> None:
        found = await self._ask_for(name)
        if found is not None:
            self._services[name] = found

    async def _ask_for(self, name: str) -> Mapping[str, Any] | None:
        """The object of this name if it is one of ours; otherwise it is known to be gone."""
        begun = time.monotonic()
        try:
            found = await self.engine.get(f"/services/{name}" if self.swarm else f"/containers/{name}/json")
        except Gone:
            found = None
        if found is not None and self._is_ours(name, found):
            self._wake.set()
            return dict(found)
        self._apply({name: GONE}, begun)
        return None

    def _is_ours(self, name: str, found: Mapping[str, Any]) -> bool:
        """Whether an object has our labels, and the name that was asked for, which may be the beginning of an id."""
        inner = found["Spec"] if self.swarm else found["Config"]
        known = inner["Name"] if self.swarm else found["Name"].removeprefix("/")
        return bool(known == name and self.labels.items() <= (inner.get("Labels") or {}).items())

    # --- what was seen ------------------------------------------------------------------------

    def _observe(self, services: Iterable[Mapping[str, Any]], tasks: Any) -> dict[str, Observation]:
        by_service: dict[str, list[Any]] = {}
        for task in tasks:
            by_service.setdefault(task["ServiceID"], []).append(task)
        now = datetime.now(UTC)
        return {
            service["Spec"]["Name"]: observe.of_service(
                service, by_service.get(service["ID"], []), self.nodes, self.network, now
            )
            for service in services
        }

    def _apply(self, found: Mapping[str, Observation], begun: float) -> None:
        """Remember what a look that began at `begun` saw, and tell those who wait."""
        now = time.time()
        for name, seen in found.items():
            if begun < self._begun.get(name, begun):
                continue
            self._begun[name] = begun
            known = self._observed.get(name)
            same = known is not None and (known.condition, known.object_id) == (seen.condition, seen.object_id)
            self._observed[name] = replace(seen, since=known.since if known is not None and same else now)
        self._settle()

    def _settle(self) -> None:
        for waiter in self._waiters:
            found = self._observed.get(waiter.name)
            if found is None or waiter.found.done() or self._begun[waiter.name] < waiter.since:
                continue
            if waiter.predicate(found):
                waiter.found.set_result(found)

    def _missing(self, found: Mapping[str, Observation], begun: float) -> set[str]:
        """What is not in this look although it was known before, or somebody waits for it."""
        known = {
            name
            for name, seen in self._observed.items()
            if self._begun[name] < begun and seen.condition is not Condition.GONE
        }
        wanted = {waiter.name for waiter in self._waiters if waiter.since <= begun}
        return (known | wanted) - found.keys()

    def _forget_the_gone(self) -> None:
        latest = time.time() - _REMEMBERED
        for name in [name for name, known in self._observed.items() if known.condition is Condition.GONE]:
            if self._observed[name].since < latest:
                del self._observed[name], self._begun[name]

    def _forget_service(self, name: str) -> None:
        self._services.pop(name, None)

    @contextlib.contextmanager
    def _understood(self) -> Any:
        """Remember why a look failed."""
        try:
            yield
        except EngineError as error:
            self._fail(str(error))
        except (KeyError, TypeError, AttributeError, IndexError):
            _log.exception("unexpected objects from the engine at %s", self.engine.url)
            self._fail(f"the engine at {self.engine.url} tells of objects that are not understood")

    def _fail(self, text: str) -> None:
        if self._error is None:
            self._error_since = time.time()
            _log.warning("%s", text)
        self._error = text

    def _adapt(self) -> None:
        """Decide what is to be done from now on."""
        alive = any(not found.condition.is_over for found in self._observed.values())
        _switch(self._needed, alive or bool(self._waiters) or self._error is not None)
        _switch(self._followed, bool(self._waiters))

    def _filters(self, **more: list[str]) -> dict[str, list[str]]:
        return {"label": [f"{name}={value}" for name, value in self.labels.items()], **more}


def _switch(event: asyncio.Event, on: bool) -> None:
    if on:
        event.set()
    else:
        event.clear()


def _tell_of_a_bug(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.critical("the view of the engine has stopped", exc_info=task.exception())
