"""What the spawners for one Docker host and for a swarm have in common: the life of a learner's container.

A start goes through these, and says at each why it goes no further: the engine answers; nothing of an earlier start is
left; an earlier server that got lost has stopped for certain; the image is there; it is one's turn; the home is there;
the course's network has a place; the engine runs it; it answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar
from weakref import WeakValueDictionary

from jupyterhub.utils import maybe_future, url_escape_path, url_path_join
from sqlalchemy.orm import object_session
from traitlets import Instance

from coursewarehub.engine import Cause, Conflict, Engine, EngineError, Unreachable
from coursewarehub.engine.images import OUR_COMMAND
from coursewarehub.engine.observe import Observation
from coursewarehub.engine.states import Condition, Facts, reason_of_words
from coursewarehub.engine.view import EngineView
from coursewarehub.wire import labels
from coursewarespawner import homes, messages
from coursewarespawner.defaults import refuse_what_is_not_taken
from coursewarespawner.fence import Lost
from coursewarespawner.janitor import Janitor, owned_names
from coursewarespawner.lease import keeps_lease
from coursewarespawner.line import Line
from coursewarespawner.messages import StartFailed, Told
from coursewarespawner.plan import HOME, SHARED, ContainerPlan, course_group
from coursewarespawner.planned import PlannedSpawner
from coursewarespawner.routes import EarlyRoutes
from coursewarespawner.telling import Teller
from coursewarespawner.watch import NO_ADDRESS, OTHER, Watch, failure, until_failed, until_it_answers, until_placed

_ANSWER_SECONDS: Final = 8.0
"""Within which the engine must answer before a learner is told that it does not."""
_STORAGE_SECONDS: Final = 20.0
_CLEAN_SECONDS: Final = 20.0
_LATE_SECONDS: Final = 10.0
"""After which an engine has done what it was asked although it did not answer in time."""
_LOST_SECONDS: Final = 15.0
"""What a server that has lost its lease needs, at most, to stop its processes."""
_ADOPT_SECONDS: Final = 30.0
"""In which a server whose start was interrupted must have an address."""
_KNOWN_SECONDS: Final = 30.0
"""For which the number of cores and machines is not asked again."""

_storage_threads = ThreadPoolExecutor(8, thread_name_prefix="homes")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Found:
    """An object of the engine: its id and its labels."""

    object_id: str
    labels: Mapping[str, str]


class ContainerSpawner(EarlyRoutes, PlannedSpawner):
    """A learner's server in a container that is what its plan says, and nothing that its learner says."""

    last_reason: Told | None = None
    """Why the last server ended, for the next page; None when it was stopped."""
    node_name: str = ""

    _node_id: str = ""
    _over: int | None = None
    _lost: Lost | None = None
    _just_lost: bool = False
    _leased: bool = False
    _teller = Instance(Teller, ())

    _locks: ClassVar[WeakValueDictionary[tuple[str, str], asyncio.Lock]] = WeakValueDictionary()
    _taking: ClassVar[dict[tuple[str, str, str], set[str]]] = {}
    _background: ClassVar[set[asyncio.Task[Any]]] = set()
    _known: ClassVar[dict[tuple[str, str], tuple[float, Any]]] = {}

    # -- state --------------------------------------------------------------------------------------------------

    def load_state(self, state: dict[str, Any]) -> None:
        """Know the container again after a hub restart, and how the last one ended."""
        super().load_state(state)
        self.spawn_id = state.get("spawn", "")
        self.node_name = state.get("node", "")
        self._network = state.get("network", "")
        self._leased = state.get("leased") is True
        self._lost = Lost.from_state(state.get("lost"))
        self.last_reason = Told.from_state(state.get("reason"))

    def get_state(self) -> dict[str, Any]:
        """What a restarted hub needs: name and id of the container, id of the start; and how the last one ended."""
        state: dict[str, Any] = super().get_state()
        if self.spawn_id:
            state |= {
                "object_name": self.object_name,
                "spawn": self.spawn_id,
                "node": self.node_name,
                "network": self._network,
                "leased": self._leased,
            }
        if self._lost is not None:
            state["lost"] = self._lost.to_state()
        if self.last_reason is not None:
            state["reason"] = self.last_reason.to_state()
        return state

    def clear_state(self) -> None:
        """Forget the container, not how it ended."""
        super().clear_state()
        self.object_id = ""
        self.spawn_id = ""
        self.node_name, self._node_id = "", ""
        self._leased = False
        self._over = None

    def _commit(self) -> None:
        """Store the state at once: a hub that is killed from now on knows this server again."""
        self.orm_spawner.state = self.get_state()
        session = object_session(self.orm_spawner)
        if session is not None:
            session.commit()

    def run_post_stop_hook(self) -> Any:
        """After the operator's hook: the server's token is worth nothing any more, also one given before a restart."""
        return self._after_stop(super().run_post_stop_hook())

    async def _after_stop(self, hook: Any) -> None:
        await maybe_future(hook)
        self._revoke_tokens(but="")
        if self._lost is not None and self._just_lost:
            self._lost, self._just_lost = self._lost.from_now(time.time()), False

    def _revoke_tokens(self, but: str) -> None:
        """End all tokens of this server but one; after a restart JupyterHub does not know which they are."""
        session = object_session(self.orm_spawner)
        if session is None:
            return
        note = f"Server at {url_path_join(self.user.base_url, url_escape_path(self.name), '/')}"
        for token in list(self.user.orm_user.api_tokens):
            if token.note == note and not (but and token.match(but)):
                session.delete(token)
        session.commit()

    # -- the engine ---------------------------------------------------------------------------------------------

    @property
    def _view(self) -> EngineView:
        """What is known of all servers of this course, shared by all spawners of the hub."""
        ours = {labels.SITE: self.site_id, labels.COURSE: self.course_id, labels.KIND: labels.KIND_SERVER}
        network = self._network or self._planned().network
        return EngineView.shared(self.engine_url, ours, swarm=self.swarm, network=network)

    @property
    def engine(self) -> Engine:
        """The Docker Engine."""
        return self._view.engine

    @property
    def _lock(self) -> asyncio.Lock:
        """Held by whoever makes or removes this server's container, whichever spawner object it is."""
        return self._locks.setdefault((self.engine_url, self.object_name), asyncio.Lock())

    async def _find(self, name: str) -> Found | None:
        """The object of exactly this name, whoever's it is. Raises EngineError."""
        raise NotImplementedError

    async def _make(self, plan: ContainerPlan) -> str:
        """Make and start the container; its id. Raises EngineError."""
        raise NotImplementedError

    async def _end(self, found: Found, grace: int) -> Lost | None:
        """Stop and remove an object, and wait until it is gone; what cannot be known to have ended is lost.

        Raises EngineError.
        """
        raise NotImplementedError

    async def _fetch_image(self, plan: ContainerPlan) -> None:
        """Have the image where the container will run. Raises StartFailed."""

    async def _ended_for_certain(self, lost: Lost) -> bool:
        """Whether what was lost has been found to have ended. Raises EngineError."""
        raise NotImplementedError

    async def _cores(self) -> int:
        """Processor cores of the machines that take servers. Raises EngineError."""
        raise NotImplementedError

    async def _machines(self) -> int:
        """Machines that take an address of the course's network; 0 for one Docker host. Raises EngineError."""
        raise NotImplementedError

    def _is_ours(self, found: Found) -> bool:
        """Whether an object is of this hub, by its labels."""
        wanted = {labels.SITE: self.site_id, labels.COURSE: self.course_id, labels.KIND: labels.KIND_SERVER}
        return wanted.items() <= found.labels.items()

    async def _remove(self, name: str, *, grace: int, spawn: str = "") -> None:
        """Remove this server's container if there is one; with `spawn`, only that of this start.

        What gets lost on the way is remembered. Raises EngineError.
        """
        found = await self._find(name)
        if found is None or not self._is_ours(found):
            return
        if spawn and found.labels.get(labels.SPAWN) != spawn:
            return
        lost = await self._end(found, grace)
        if lost is not None:
            self._note_lost(lost)

    def _note_lost(self, lost: Lost) -> None:
        self._lost, self._just_lost = replace(lost, leased=self._leased), True

    def _remove_later(self, name: str, *, grace: int, spawn: str, after: float = 0.0) -> asyncio.Task[None]:
        """Remove it in the background, after so many seconds, and as soon as the engine answers."""

        async def remove() -> None:
            await asyncio.sleep(after)
            pause = 1.0
            while True:
                try:
                    async with self._lock:
                        return await self._remove(name, grace=grace, spawn=spawn)
                except EngineError as error:
                    self.log.warning("Removing %s later: %s", name, error)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, 30.0)

        return self._in_background(remove())

    @classmethod
    def _in_background(cls, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.ensure_future(work)
        cls._background.add(task)
        task.add_done_callback(cls._background.discard)
        return task

    def _employ_janitor(self) -> None:
        """Have what this hub does not know removed, as long as it runs."""
        janitor, session, view = Janitor.of(self.hub), object_session(self.orm_spawner), self._view
        if not self.remove_unknown or session is None or (janitor.task is not None and not janitor.task.done()):
            return
        work = janitor.run(
            lambda: view.observations,
            lambda: owned_names(session),
            lambda name: self._remove(name, grace=_GRACE),
        )
        janitor.task = self._in_background(work)

    # -- start --------------------------------------------------------------------------------------------------

    async def start(self) -> str:
        """Start the server; returns its URL once it answers.

        StartFailed with a sentence for the learner when it does not come up; nothing is left of it then.
        """
        self.last_reason, self._over = None, None
        try:
            return await self._start()
        except EngineError as error:
            raise self._given_up(self._failure(error)) from error
        except StartFailed as error:
            self._given_up(error)
            raise
        except BaseException:
            self._over = 1
            raise

    def _given_up(self, error: StartFailed) -> StartFailed:
        """Nothing runs, and the next page says why; what cleaning up could not remove at once goes later."""
        self._over, self.last_reason = 1, error.told
        return error

    async def _start(self) -> str:
        await self._check_obstacle()
        refuse_what_is_not_taken(self)
        self.spawn_id = secrets.token_hex(8)
        plan = self._complete(self._planned())
        self._employ_janitor()
        self._revoke_tokens(but=self.api_token)
        self._commit()
        await self._make_way(plan)
        await self._wait_for_the_lost()
        await self._fetch_image(plan)
        line = Line.of(self.hub, self.width or 1 + await self._known_for(self._cores, "cores"))
        async with line.turn(lambda place: self._set_position(line, place)):
            self._teller.show(20, messages.PREPARING)
            await self._prepare_home(plan)
            await self._view.look(plan.name, max_age=0.5)
            async with self._lock:
                with self._place(await self._places()) as places:
                    return await self._launch(plan, places)

    async def _check_obstacle(self) -> None:
        reason = await maybe_future(self.obstacle()) if self.obstacle is not None else None
        if reason:
            raise StartFailed(messages.OBSTACLE, reason=reason)

    async def _make_way(self, plan: ContainerPlan) -> None:
        """Find the engine answering and the name free; an own leftover is removed, a foreign object never touched."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                found = await self._find(plan.name)
        except TimeoutError:
            raise StartFailed(messages.ENGINE_SILENT, detail=f"{self.engine_url} took too long") from None
        if found is None:
            return
        if not self._is_ours(found):
            raise StartFailed(messages.NAME_TAKEN, name=plan.name)
        self.log.warning("Removing %s, which an earlier start has left", plan.name)
        async with self._lock:
            await self._remove(plan.name, grace=plan.stop_grace)
        if await self._find(plan.name) is not None:
            raise StartFailed(messages.STOPPING)

    async def _wait_for_the_lost(self) -> None:
        """Wait until an earlier server on a machine that does not answer has stopped: there are never two writers."""
        while self._lost is not None:
            left = self._lost.seconds_left(time.time(), self._fence) if self._fence else 0.0
            if left <= 0 or await self._has_ended(self._lost):
                self._lost = None
                self._commit()
            elif math.isinf(left):
                self._teller.show(5, messages.FENCED_WITHOUT_LEASE, node=self._lost.node or "?")
                await asyncio.sleep(1.0)
            else:
                self._teller.show(5, messages.FENCED, seconds=math.ceil(left), node=self._lost.node)
                await asyncio.sleep(min(left, 1.0))

    @property
    def _fence(self) -> float:
        """Seconds after which a server whose token was revoked has stopped writing wherever it is."""
        return self.lease_seconds + _LOST_SECONDS if self.lease_seconds else 0.0

    async def _has_ended(self, lost: Lost) -> bool:
        try:
            return await self._ended_for_certain(lost)
        except EngineError:
            return False

    async def _prepare_home(self, plan: ContainerPlan) -> None:
        by_target = {mount.target: Path(mount.source) for mount in plan.mounts}
        home = by_target.get(HOME)
        if home is None:
            return
        points = [target.removeprefix(f"{HOME}/") for target in by_target if target.startswith(f"{HOME}/")]
        group = course_group(self.site_id, self.course_id)
        order = homes.HomeOrder(home, plan.uid, group, by_target.get(SHARED), tuple(points))
        try:
            async with asyncio.timeout(_STORAGE_SECONDS):
                await asyncio.get_running_loop().run_in_executor(_storage_threads, homes.prepare, order)
        except TimeoutError:
            raise StartFailed(messages.STORAGE_SILENT, detail=str(home)) from None

    # -- places -------------------------------------------------------------------------------------------------

    async def _places(self) -> int | None:
        """How many servers the course's network holds; None: not known."""
        if self.capacity is None:
            return None
        places: int = self.capacity(await self._known_for(self._machines, "machines"))
        return places

    @contextlib.contextmanager
    def _place(self, places: int | None) -> Iterator[int | None]:
        """Hold one of so many places. StartFailed when all are taken."""
        taking = self._taking.setdefault((self.engine_url, self.site_id, self.course_id), set())
        over = {Condition.GONE, Condition.ENDED, Condition.FAILED}
        seen = {name for name, found in self._view.observations.items() if found.condition not in over}
        if places is not None and len((seen | taking) - {self.object_name}) >= places:
            raise StartFailed(messages.COURSE_FULL, places=places)
        taking.add(self.object_name)
        try:
            yield places
        finally:
            taking.discard(self.object_name)

    async def _known_for(self, ask: Any, what: str) -> int:
        """What `ask` answers, not asked again for a while."""
        key = (self.engine_url, what)
        asked, answer = self._known.get(key, (-math.inf, 0))
        if time.monotonic() - asked > _KNOWN_SECONDS:
            answer = max(1 if what == "cores" else 0, await ask())
            self._known[key] = (time.monotonic(), answer)
        return int(answer)

    # -- launch -------------------------------------------------------------------------------------------------

    async def _launch(self, plan: ContainerPlan, places: int | None) -> str:
        self._teller.show(50, messages.STARTING)
        try:
            async with asyncio.timeout(self.start_limit):
                self.object_id = await self._to_its_end(self._make(plan))
                self._commit()
                url = await self._until_ready(plan, places)
                self._learn_of_lease(plan, url)
                return url
        except TimeoutError:
            await self._clean_up(plan)
            raise StartFailed(messages.TOO_SLOW, seconds=round(self.start_limit)) from None
        except Conflict as error:
            await self._clean_up(plan)
            raise StartFailed(messages.NAME_TAKEN, name=plan.name, detail=str(error)) from error
        except BaseException as error:
            await self._clean_up(plan, known=not isinstance(error, Unreachable | asyncio.CancelledError))
            raise

    def _begin_again(self, plan: ContainerPlan) -> ContainerPlan:
        """The plan of another start: what is known of the first is not of this one."""
        self.spawn_id = secrets.token_hex(8)
        self._commit()
        return replace(plan, labels={**plan.labels, labels.SPAWN: self.spawn_id})

    def _learn_of_lease(self, plan: ContainerPlan, url: str) -> None:
        """Know, for the day on which its machine is lost, whether this server then stops writing by itself."""
        self._leased = plan.command == OUR_COMMAND
        if self.lease_seconds and not self._leased:
            self._in_background(self._ask_for_lease(self.spawn_id, url_path_join(url, self.server.base_url)))

    async def _ask_for_lease(self, spawn: str, url: str) -> None:
        leased = await keeps_lease(url, self.api_token)
        if leased and self.spawn_id == spawn:
            self._leased = True
            self._commit()

    @staticmethod
    async def _to_its_end(work: Coroutine[Any, Any, _T]) -> _T:
        """Do it, and when we are cancelled meanwhile, go only when it is done: the engine would do it unheard."""
        task = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task}, timeout=_CLEAN_SECONDS)
            raise

    async def _until_ready(self, plan: ContainerPlan, places: int | None) -> str:
        watch = Watch(self.spawn_id, self._see, self.patience)
        failing = asyncio.ensure_future(until_failed(self._view, plan.name, watch))
        answering = asyncio.ensure_future(self._until_it_answers(plan, watch))
        try:
            while not (failing.done() or answering.done()):
                await asyncio.wait({failing, answering}, timeout=1, return_when=asyncio.FIRST_COMPLETED)
                if watch.runs_for() > self.ready_limit:
                    raise StartFailed(messages.TOO_SLOW, seconds=round(self.ready_limit))
            if answering.done():
                return answering.result()
            raise failure(failing.result(), places)
        finally:
            for task in (failing, answering):
                task.cancel()
            await asyncio.wait({failing, answering})

    async def _until_it_answers(self, plan: ContainerPlan, watch: Watch) -> str:
        address = await until_placed(self._view, plan.name, watch)
        url = f"http://{address}:{plan.port}"
        self.server.ip, self.server.port = address, plan.port
        self._commit()
        route = asyncio.ensure_future(self._add_route_early(url))
        try:
            await until_it_answers(address, plan.port, url_path_join(self.server.base_url, "api"))
            await route
        finally:
            route.cancel()
        return url

    async def _clean_up(self, plan: ContainerPlan, known: bool = True) -> None:
        """Leave nothing of a failed start; what takes long goes on in the background.

        Not `known`: the engine did not tell whether it has made the container, and may do so later.
        """
        spawn, self.object_id = self.spawn_id, ""
        try:
            async with asyncio.timeout(_CLEAN_SECONDS):
                await self._remove_route()
                await self._to_its_end(self._remove(plan.name, grace=0, spawn=spawn))
        except (EngineError, TimeoutError):
            known = False
        finally:
            if not known:
                self._remove_later(plan.name, grace=0, spawn=spawn, after=_LATE_SECONDS)

    def _failure(self, error: EngineError) -> StartFailed:
        """What the learner is told when the engine did not do what was asked."""
        reason = reason_of_words(getattr(error, "reason", "") or str(error), Facts(image=self.image))
        if reason.template == NO_ADDRESS and self.capacity is not None:
            places = self.capacity(self._known.get((self.engine_url, "machines"), (0, 0))[1])
            return StartFailed(messages.COURSE_FULL, places=places, detail=str(error))
        # Engines report much as an error of their own that they could have refused.
        if isinstance(error, Unreachable) and (error.cause is not Cause.FAILED or reason.template == OTHER):
            return StartFailed(_UNREACHABLE.get(error.cause, messages.ENGINE_MISSING), detail=str(error))
        return StartFailed(messages.NOT_STARTED, reason=reason, detail=str(error))

    # -- poll and stop ------------------------------------------------------------------------------------------

    async def poll(self) -> int | None:
        """None while the server is alive or nothing is known of it, else how it ended; `last_reason` says why.

        Never raises.
        """
        if self._over is not None:
            return self._over
        if not self.spawn_id and self.server is None:
            return 0
        seen = await self._view.look(self.object_name)
        if seen.spawn and self.spawn_id and seen.spawn != self.spawn_id:
            seen = Observation(Condition.GONE, verified=seen.verified)
        self._adopt(seen)
        if not seen.verified or seen.condition in {Condition.STARTING, Condition.RUNNING, Condition.UNKNOWN}:
            return None
        return self._note_end(seen)

    def _adopt(self, seen: Observation) -> None:
        """Remember what was found, which a hub that was killed in the middle of a start did not know."""
        self._employ_janitor()
        self.node_name = seen.node_name or self.node_name
        self._node_id = seen.node_id or self._node_id
        self.object_id = self.object_id or seen.object_id
        self.spawn_id = self.spawn_id or seen.spawn

    def _note_end(self, seen: Observation) -> int:
        self._over = seen.exit_code or (0 if seen.condition in {Condition.ENDED, Condition.GONE} else 1)
        self.last_reason = _reason_of_end(seen, made=bool(self.object_id))
        if seen.condition is Condition.LOST:
            self._note_lost(Lost(time.time(), seen.node_name, seen.node_id, seen.spawn))
        self.log.warning("%s has ended: %s", self.object_name, self.last_reason or seen.condition)
        if seen.condition is not Condition.GONE:
            self._remove_later(self.object_name, grace=_GRACE, spawn=seen.spawn)
        return self._over

    async def get_url(self) -> str:
        """Where the server answers; asked after a hub restart, perhaps in the middle of its start."""
        if self.server.ip and self.server.port:
            return str(self.server.url)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ADOPT_SECONDS):
                watch = Watch(self.spawn_id, self._see, self.patience)
                address = await until_placed(self._view, self.object_name, watch)
                self.server.ip, self.server.port = address, self.port
                self._commit()
        return str(self.server.url)

    async def stop(self, now: bool = False) -> None:
        """End the server and wait until it is gone; one that is gone already is no error.

        When the engine does not answer, it is removed as soon as it does.
        """
        name, spawn = self.object_name, self.spawn_id
        try:
            async with self._lock:
                await self._remove(name, grace=0 if now else _GRACE, spawn=spawn)
        except EngineError as error:
            self.log.warning("%s is stopped as soon as the engine answers: %s", name, error)
            self._note_lost(self._lost or Lost(time.time(), self.node_name, self._node_id, spawn))
            self._remove_later(name, grace=0 if now else _GRACE, spawn=spawn)
        self._over = 0

    # -- what is shown ---------------------------------------------------------------------------------------

    def _set_position(self, line: Line, place: int) -> None:
        if place:
            self._teller.waits(place, line.seconds(place))

    def _see(self, seen: Observation) -> None:
        self.node_name = seen.node_name or self.node_name
        self._node_id = seen.node_id or self._node_id
        self._teller.sees(seen)

    def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What the waiting learner is told, whenever it changes."""
        events: AsyncIterator[dict[str, Any]] = self._teller.progress()
        return events


_GRACE: Final = 30
_UNREACHABLE: Final = {
    Cause.TIMEOUT: messages.ENGINE_SILENT,
    Cause.BROKEN: messages.ENGINE_SILENT,
    Cause.NO_LEADER: messages.ENGINE_NO_LEADER,
    Cause.FAILED: messages.ENGINE_FAILED,
}


def _reason_of_end(seen: Observation, made: bool) -> Told | None:
    """Why a server has ended; not `made`: the hub was interrupted before it knew that there was one."""
    if seen.condition is Condition.LOST:
        return Told(messages.LOST)
    if seen.condition is Condition.GONE:
        return Told(messages.GONE if made else messages.INTERRUPTED)
    return Told(messages.STOPPED, {"reason": seen.reason}) if seen.reason else None
