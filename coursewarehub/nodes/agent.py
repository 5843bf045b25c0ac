"""Follows one engine and keeps the rules of its learners' containers in force.

A container that appears is locked as soon as it has an address of the site's pool, which is before its program starts;
it gets its own rules when the engine tells that it has started. A container for which that fails again and again is
ended: none goes on without rules.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from typing import Any, Final, TypeVar

from coursewarehub.engine import Conflict, Engine, EngineError, Gone
from coursewarehub.nodes import health, host, iptables, namespaces, tables
from coursewarehub.nodes.health import Health
from coursewarehub.nodes.iptables import IptablesError
from coursewarehub.nodes.namespaces import Arrivals, NamespaceGone, NotAContainers
from coursewarehub.nodes.rules import Family, Node, Rule, locked, rules_for
from coursewarehub.wire import labels
from coursewarehub.wire.policy import NetworkPolicy

log = logging.getLogger("coursewarehub.nodes")

ROUND: Final = 60.0
"""Seconds between two looks at all containers."""

_THREADS: Final = 8
_RETRIES: Final = (0.1, 0.3, 1.0, 2.0)
_BACK_OFF: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_ARRIVAL: Final = 5.0  # seconds for which a namespace that appeared is looked at
_GLANCE: Final = 0.002  # seconds between two looks at it
_T = TypeVar("_T")


@dataclass(frozen=True)
class Settings:
    """What the agent is told: where namespaces are, the site's addresses and ports, the file that says how it is.

    Without a `pool` the node itself gets no rules, and containers are not locked before they start.
    """

    folder: Path
    pool: IPv4Network | None = None
    ports: tuple[int, ...] = ()
    health: Path = health.DEFAULT
    round: float = ROUND


@dataclass(frozen=True)
class Container:
    """A container as an event or a list tells of it. `began`: when it started, by the clock, as far as it is known."""

    id: str
    name: str
    policy: str
    began: float | None = None


@dataclass
class _Kept:
    """A container whose rules are in force."""

    name: str
    namespace: Path
    policy: NetworkPolicy | None
    rules: tuple[Rule, ...]


@dataclass
class _Namespace:
    """What is known of a namespace that appeared: whether it is locked, and whether it has got its rules."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    locked: bool = False
    settled: bool = False


class Unprotected(Exception):
    """A container's rules cannot be applied; its text says why."""


class Agent:
    """Keeps the rules for the containers of one engine; `run` it once."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="rules")
        self._families: tuple[Family, ...] = ()
        self._node = Node()
        self._kept: dict[str, _Kept] = {}
        self._failed: dict[str, str] = {}
        self._busy: set[str] = set()
        self._seen: dict[str, _Namespace] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looked = asyncio.Event()

    async def run(self) -> None:
        """Go on until cancelled. Raises IptablesError when this machine cannot do what is needed."""
        self._families = iptables.families()
        self._node = await self._in_thread(lambda: iptables.abilities(Node()))
        self._tell_abilities()
        arrivals = Arrivals()
        try:
            async with asyncio.TaskGroup() as group:
                if self._settings.pool is not None:
                    arrivals.watch(self._settings.folder)
                    asyncio.get_running_loop().add_reader(arrivals.fileno(), self._arrived, arrivals)
                group.create_task(self._follow())
                group.create_task(self._rounds())
                group.create_task(self._beat(arrivals))
        finally:
            asyncio.get_running_loop().remove_reader(arrivals.fileno())
            arrivals.close()
            for task in self._tasks:
                task.cancel()
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _tell_abilities(self) -> None:
        if not self._node.owner:
            log.warning("this kernel cannot tell who sends packets: learners may ask name servers in private networks")
        if not self._node.strings:
            log.warning("this kernel cannot search packets: learners may ask Docker's name server for others' names")
        log.info("rules can be applied on this node")

    # --- the engine ---------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Listen to the engine for ever, whatever happens to it."""
        failures = 0
        while True:
            since = time.time()
            try:
                await self._learn_node()
                await self._look_at_all()
                if failures:
                    log.info("the engine answers again")
                failures = 0
                await self._listen(since)
            except EngineError as error:
                if not failures:
                    log.warning("%s; trying again", error)
            failures += 1
            await asyncio.sleep(_BACK_OFF[min(failures, len(_BACK_OFF)) - 1])

    async def _listen(self, since: float) -> None:
        """Hear of every start since a time, and of every end; returns or raises when the engine hangs up."""
        filters = {"type": ["container"], "event": ["start", "die"]}
        events = self._engine.stream("/events", since=f"{since:.9f}", filters=filters)
        async with contextlib.aclosing(events):
            async for event in events:
                self._heard(event)

    def _heard(self, event: Mapping[str, Any]) -> None:
        actor = event.get("Actor", {})
        container, attributes = str(actor.get("ID", "")), actor.get("Attributes", {})
        if event.get("Action") == "die":
            self._forget(container)
        elif labels.POLICY in attributes:
            began = event.get("timeNano", 0) / 1e9
            name = attributes.get("name", container[:12])
            self._start(self._protect(Container(container, name, attributes[labels.POLICY], began)))
        elif any(not seen.settled for seen in self._seen.values()):
            self._start(self._release(container))

    async def _look_at_all(self) -> None:
        """Begin to apply the rules of all that run. Raises EngineError."""
        found = [container for container in await self._running() if container.id not in self._kept]
        begun = [self._start(self._protect(container)) for container in found]

        async def looked() -> None:
            if begun:
                await asyncio.wait(begun)
            self._looked.set()

        self._start(looked())

    async def _running(self) -> list[Container]:
        found = await self._engine.get("/containers/json", filters={"label": [labels.POLICY]})
        return [
            Container(item["Id"], item["Names"][0].lstrip("/") if item["Names"] else item["Id"][:12], policy)
            for item in found
            if (policy := item["Labels"].get(labels.POLICY)) is not None
        ]

    def _forget(self, container: str) -> None:
        kept = self._kept.pop(container, None)
        self._failed.pop(container, None)
        if kept is not None:
            self._seen.pop(kept.namespace.name, None)

    # --- one container ------------------------------------------------------------------------

    async def _protect(self, container: Container) -> None:
        """Put a container's rules in force; end it when that fails again and again."""
        self._busy.add(container.id)
        try:
            await self._apply_or_end(container)
        finally:
            self._busy.discard(container.id)

    async def _apply_or_end(self, container: Container) -> None:
        for pause in (*_RETRIES, None):
            try:
                await self._apply(container)
            except (Gone, NamespaceGone):
                self._forget(container.id)
                return
            except (EngineError, IptablesError, NotAContainers, Unprotected, OSError) as error:
                reason = str(error)
            except Exception as error:  # whatever it is: none goes on without rules
                log.exception("an error that nobody expected")
                reason = repr(error)
            else:
                self._failed.pop(container.id, None)
                return
            self._failed[container.id] = container.name
            if pause is not None:
                await asyncio.sleep(pause)
        log.error("the rules of %s cannot be applied, so it is ended: %s", container.name, reason)
        with contextlib.suppress(Conflict, Gone):
            await self._engine.post(f"/containers/{container.id}/kill")

    async def _apply(self, container: Container) -> None:
        namespace = await self._namespace(container.id)
        policy = _policy(container)
        rules = locked() if policy is None else rules_for(policy, self._node)
        seen = self._seen.setdefault(namespace.name, _Namespace())
        seen.settled = True
        async with seen.turn:
            await asyncio.gather(*(self._restore(namespace, family, rules) for family in self._families))
            seen.locked = False
        self._kept[container.id] = _Kept(container.name, namespace, policy, rules)
        took = (
            "" if container.began is None else f" {max(0.0, time.time() - container.began) * 1000:.0f} ms after start"
        )
        log.info("rules of %s in force%s (%s)", container.name, took, policy.egress if policy else "locked")
        if policy is not None and policy.others:
            await self._keep_host()

    async def _namespace(self, container: str) -> Path:
        """The namespace of a running container. Raises Gone, NamespaceGone, Unprotected, EngineError."""
        found = await self._engine.get(f"/containers/{container}/json")
        if not found["State"]["Running"]:
            raise NamespaceGone(container)
        name = Path(found["NetworkSettings"]["SandboxKey"]).name
        if not namespaces.is_containers(name):
            raise Unprotected("it has no network namespace of its own")
        return self._settings.folder / name

    async def _restore(self, namespace: Path, family: Family, rules: tuple[Rule, ...]) -> None:
        shared = any(rule.table != "filter" and rule.family == family for rule in rules)

        def work() -> None:
            with namespaces.inside(namespace):
                saved = iptables.save(family) if shared else tables.NOTHING
                iptables.restore(family, tables.in_container(rules, family, saved))

        await self._in_thread(work)

    # --- before a container starts ------------------------------------------------------------

    def _arrived(self, arrivals: Arrivals) -> None:
        for name in filter(namespaces.is_containers, arrivals.read()):
            if name not in self._seen:
                self._seen[name] = _Namespace()
                self._start(self._receive(name))

    async def _receive(self, name: str) -> None:
        """Lock a namespace as soon as it has an address of the pool; forget it if it gets none."""
        seen = self._seen[name]
        try:
            await self._lock_in_time(name, seen, time.monotonic() + _ARRIVAL)
        except (NamespaceGone, NotAContainers):
            pass
        except (OSError, IptablesError) as error:
            log.warning("a namespace could not be locked before its container starts: %s", error)
        if not seen.locked and not seen.settled:
            self._seen.pop(name, None)

    async def _lock_in_time(self, name: str, seen: _Namespace, deadline: float) -> None:
        pool = self._settings.pool
        assert pool is not None
        with await self._watcher(name, deadline) as asked:
            while time.monotonic() < deadline and not seen.settled:
                if namespaces.any_in(namespaces.addresses(asked), pool):
                    await self._lock(name, seen)
                    return
                await asyncio.sleep(_GLANCE)

    async def _watcher(self, name: str, deadline: float) -> Any:
        """A socket of the namespace, as soon as it is one. Raises NamespaceGone when it never is."""
        while True:
            try:
                return await self._in_thread(lambda: namespaces.watcher(self._settings.folder / name))
            except NamespaceGone:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_GLANCE)

    async def _lock(self, name: str, seen: _Namespace) -> None:
        async with seen.turn:
            if not seen.settled:
                work = (self._restore(self._settings.folder / name, family, locked()) for family in self._families)
                seen.locked = True
                await asyncio.gather(*work)

    async def _release(self, container: str) -> None:
        """Unlock the namespace of a container that is no learner's."""
        try:
            namespace = await self._namespace(container)
            seen = self._seen.get(namespace.name)
            if seen is None or seen.settled:
                return
            seen.settled = True
            async with seen.turn:
                if seen.locked:
                    await self._open(namespace)
            self._seen.pop(namespace.name, None)
        except (EngineError, NamespaceGone, Unprotected):
            return
        except (IptablesError, OSError) as error:
            log.warning("the container %s cannot be unlocked: %s", container[:12], error)

    async def _open(self, namespace: Path) -> None:
        def work() -> None:
            with namespaces.inside(namespace):
                for family in self._families:
                    iptables.restore(family, tables.opened())

        await self._in_thread(work)

    # --- rounds -------------------------------------------------------------------------------

    async def _rounds(self) -> None:
        """Look at the node and at every container now and then, and mend what is not as it should be."""
        while True:
            await self._keep_host()
            if self._looked.is_set():  # until then `_follow` sees to all
                with contextlib.suppress(EngineError):  # `_follow` tells
                    await self._round()
            await asyncio.sleep(self._settings.round)

    async def _round(self) -> None:
        await self._learn_node()
        known = set(self._kept)
        running = {container.id: container for container in await self._running()}
        for gone in known - running.keys():
            self._forget(gone)
        for container in running.values():
            kept = self._kept.get(container.id)
            if kept is None:
                if container.id not in self._busy:
                    self._start(self._protect(container))
            elif kept.policy is not None and kept.rules != rules_for(kept.policy, self._node):
                await self._protect(container)
            elif not await self._in_force(kept):
                log.warning("the rules of %s were not in force any more", kept.name)
                await self._protect(container)
        await self._release_strangers(running.keys())

    async def _in_force(self, kept: _Kept) -> bool:
        def work() -> bool:
            with namespaces.inside(kept.namespace):
                return all(tables.in_place(kept.rules, family, iptables.save(family)) for family in self._families)

        try:
            return await self._in_thread(work)
        except NamespaceGone:  # it runs, so it has been started again, in another
            return False
        except (IptablesError, OSError) as error:
            log.warning("the rules of %s cannot be read: %s", kept.name, error)
            return True

    async def _release_strangers(self, ours: Iterable[str]) -> None:
        """Unlock what was locked and turned out to be nobody's of ours while the engine was not heard."""
        for name in [name for name, seen in self._seen.items() if not (self._settings.folder / name).exists()]:
            del self._seen[name]
        if any(seen.locked for seen in self._seen.values()):
            for item in await self._engine.get("/containers/json"):
                if item["Id"] not in ours:
                    await self._release(item["Id"])

    async def _learn_node(self) -> None:
        """Learn the public addresses of the swarm's nodes, and whether the engine remaps users. Raises EngineError."""
        info = await self._engine.info()
        found = {*namespaces.public_addresses(), *filter(_is_public, _swarm_addresses(info))}
        remapped = any("name=userns" in option for option in info.get("SecurityOptions") or ())
        self._node = replace(self._node, addresses=tuple(sorted(found)), owner=self._node.owner and not remapped)

    async def _keep_host(self) -> None:
        pool = self._settings.pool
        if pool is None:
            return
        others = sorted({other for kept in self._kept.values() if kept.policy for other in kept.policy.others})
        try:
            if await self._in_thread(lambda: host.keep(str(pool), self._settings.ports, others)):
                log.info("rules of the node in force for %s", pool)
        except IptablesError as error:
            log.error("the node's own rules cannot be applied: %s", error)

    async def _beat(self, arrivals: Arrivals) -> None:
        """Say every few seconds that all is well, as long as the engine answers."""
        await self._looked.wait()
        while True:
            try:
                await self._engine.get("/_ping")
                Health(len(self._kept), tuple(sorted(self._failed.values()))).write(self._settings.health)
            except EngineError:
                pass  # `_follow` tells
            except OSError as error:
                log.error("%s cannot be written: %s", self._settings.health, error.strerror)
            if self._settings.pool is not None:
                arrivals.watch(self._settings.folder)
            await asyncio.sleep(health.EVERY)

    # --- tools --------------------------------------------------------------------------------

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._alone(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _alone(self, work: Coroutine[Any, Any, None]) -> None:
        """What goes wrong with one container stops no other."""
        try:
            await work
        except EngineError as error:
            log.warning("%s", error)
        except Exception:
            log.exception("an error that nobody expected")


def _policy(container: Container) -> NetworkPolicy | None:
    """The container's policy; None, which locks it, when its label cannot be read."""
    try:
        return NetworkPolicy.decode(container.policy)
    except ValueError as error:
        log.error("the container %s reaches nothing: its label is %s", container.name, error)
        return None


def _swarm_addresses(info: Mapping[str, Any]) -> list[str]:
    """Addresses of this node and of the swarm's managers, as an engine tells of itself."""
    swarm = info.get("Swarm") or {}
    managers = [str(manager["Addr"]).rpartition(":")[0].strip("[]") for manager in swarm.get("RemoteManagers") or ()]
    return [str(swarm.get("NodeAddr", "")), *managers]


def _is_public(address: str) -> bool:
    try:
        return ip_address(address).is_global
    except ValueError:
        return False
