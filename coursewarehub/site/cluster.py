"""What the site does with the engine that runs learners' containers, and what it knows of it.

The engine may be down when the site starts, and later: then nothing is lost, `status` says "checking", and everything
is made up for when it answers again. Deciding is in `readiness` and `janitor`; how one Docker host and a swarm differ
is in `one_host` and `swarm`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

from coursewarehub.engine import Cause, EngineError, Unreachable
from coursewarehub.model.networks import CourseNetwork
from coursewarehub.site.janitor import Owned, networks_left, servers_left
from coursewarehub.site.readiness import BEING_CHECKED, NodeReport
from coursewarehub.state.files import replace_text

log = logging.getLogger("coursewarehub.site.cluster")

EVERY: Final = 3.0
"""Seconds between two looks."""

_SOON: Final = 0.5
"""Seconds until the next look while nothing may start: learners wait."""

_SETTLE_EVERY: Final = 0.1
_NOT_APART: Final = "The network rules that keep learners' servers apart are not in force yet."

_SILENCE: Final = 4.0
"""Seconds of silence after which an engine that was asked counts as not answering."""


class State(StrEnum):
    """How the engine is."""

    ANSWERING = "answering"
    CHECKING = "checking"
    DEGRADED = "degraded"


@dataclass(frozen=True)
class Wanted:
    """What the site needs of its engine now.

    `networks` are those of the courses that are served, by their ids; `images` those of their servers; `kept` are the
    ids of all courses whose servers and networks stay.
    """

    networks: Mapping[str, CourseNetwork] = field(default_factory=dict)
    images: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Server:
    """One learner's server that runs."""

    course: str
    user: str
    server: str
    node: str
    address: str
    port: int


@dataclass(frozen=True)
class Seen:
    """What one look at the engine found: nodes, servers that run, and the site's objects."""

    nodes: tuple[NodeReport, ...] = ()
    servers: tuple[Server, ...] = ()
    objects: tuple[Owned, ...] = ()
    networks: tuple[Owned, ...] = ()


class Side(Protocol):
    """What differs between one Docker host and a swarm."""

    async def look(self, wanted: Wanted, /) -> Seen:
        """Look at the engine, and whether its machines are ready for what is wanted. Raises EngineError."""
        ...

    async def tend(self, wanted: Wanted, seen: Seen) -> list[str]:
        """Make what is missing; what is wrong, in sentences. Raises EngineError."""
        ...

    async def end_server(self, server: Owned) -> None:
        """Stop and remove one server, with the time it has for that. Raises EngineError."""
        ...

    async def remove_network(self, network: Owned) -> bool:
        """Remove the network of a course without servers; False when it is still in use. Raises EngineError."""
        ...

    def isolation(self) -> str | None:
        """Why network rules between learners' containers are not in force; None when they are."""
        ...


@dataclass(frozen=True)
class Standing:
    """The engine's state, for people; `felt`: learners may notice it."""

    state: State
    message: str = ""
    felt: bool = False


def standing_without(error: EngineError) -> Standing:
    """How the engine is when it could not be asked, or would not do what was asked."""
    unknown = isinstance(error, Unreachable) and error.cause is not Cause.NO_LEADER
    return Standing(State.CHECKING if unknown else State.DEGRADED, str(error), felt=True)


def standing_with(nodes: Sequence[NodeReport], troubles: Sequence[str]) -> Standing:
    """How an engine is that answers, by its machines and by what else is wrong, in sentences.

    A machine that an operator took out of service is no trouble. Learners notice when one does not answer, or when
    none takes servers.
    """
    away = [f"{node.name} is {node.state}" for node in nodes if node.state != "ready"]
    lacking = [f"{node.name}: {lack}" for node in nodes for lack in node.lacks if not lack.startswith(BEING_CHECKED)]
    wrong = [*away, *lacking, *troubles]
    if not wrong:
        return Standing(State.ANSWERING)
    return Standing(State.DEGRADED, "; ".join(wrong), felt=bool(away) or not any(node.ready for node in nodes))


class Cluster:
    """Follows the engine until stopped, and has it as the site needs it.

    `wanted` is asked at each look; `occupied` is called after it with the ids of the courses that are kept or of which
    something is left at the engine; `file` is where the hubs read how the engine is. With `isolated`, they start no
    server while network rules are not in force. `tended` is set once everything that was missing has been made and
    servers may start.
    """

    def __init__(
        self,
        kind: str,
        side: Side,
        wanted: Callable[[], Wanted],
        occupied: Callable[[frozenset[str]], None],
        file: Path,
        *,
        isolated: bool,
    ) -> None:
        self.kind = kind
        self._side = side
        self._wanted = wanted
        self._occupied = occupied
        self._file = file
        self._isolated = isolated
        self._published = ""
        self.tended = asyncio.Event()
        self._wake = asyncio.Event()
        self._seen = Seen()
        self._networks: frozenset[str] = frozenset()
        """Names of those that were there, with the site in them, when they were last seen to."""
        self._standing = Standing(State.CHECKING, "the engine has not been asked yet")
        """Not `felt`: it is asked at once."""
        self._since = datetime.now().astimezone()
        self._cleaning: asyncio.Future[None] | None = None
        self._uncleaned: list[str] = []
        self._publish()

    # -- from outside ------------------------------------------------------------------------------------------

    def look_again(self) -> None:
        """Look at once: something that the site needs has changed."""
        self._wake.set()

    async def keep(self) -> None:
        """Follow the engine until cancelled."""
        try:
            while True:
                self._wake.clear()
                await self._once()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), EVERY if self._fenced() else _SOON)
        finally:
            if self._cleaning is not None:
                self._cleaning.cancel()

    async def settle(self, seconds: float) -> None:
        """Wait, so many seconds at most, until everything that is needed has been made and servers may start."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.tended.wait()
                while self._isolated and self._side.isolation() is not None:
                    await asyncio.sleep(_SETTLE_EVERY)
        self._publish()

    async def servers_on(self, node: str) -> tuple[Server, ...]:
        """The servers that run on a node now (by its name), as far as that can be found out."""
        with contextlib.suppress(EngineError):
            self._seen = await self._side.look(self._wanted())
        return tuple(server for server in self._seen.servers if server.node == node)

    def status(self) -> dict[str, Any]:
        """For `coursewarehub status`."""
        isolation = self._side.isolation()
        return {
            "kind": self.kind,
            "state": str(self._standing.state),
            "since": self._since.isoformat(timespec="seconds"),
            "message": self._standing.message,
            "isolation": {"on": isolation is None, "message": isolation or ""},
            "nodes": [
                {
                    "name": node.name,
                    "state": node.state,
                    "availability": node.availability,
                    "ready": node.ready,
                    "servers": node.servers,
                    "lacks": list(node.lacks),
                }
                for node in self._seen.nodes
            ],
        }

    # -- inside ------------------------------------------------------------------------------------------------

    async def _once(self) -> None:
        work = asyncio.ensure_future(self._look_and_tend())
        try:
            done, _ = await asyncio.wait([work], timeout=_SILENCE)
            if not done and self._standing.state is State.ANSWERING:
                self._note(Standing(State.CHECKING, "the engine has not answered for some seconds", felt=True))
            self._note(await work)
            self._publish()
        finally:
            work.cancel()

    async def _look_and_tend(self) -> Standing:
        try:
            wanted = self._wanted()
            seen = await self._side.look(wanted)
            troubles = await self._side.tend(wanted, seen)
        except EngineError as error:
            return standing_without(error)
        except Exception as error:  # whatever the engine says, it is looked at again
            log.exception("while looking after the engine")
            return Standing(State.DEGRADED, f"the engine cannot be looked after: {error!r}", felt=True)
        # Not before: what `status` calls ready takes servers.
        self._seen = seen
        self._networks = frozenset(network.name for network in wanted.networks.values())
        self._publish()
        if self._fenced():
            self.tended.set()
        self._clean(wanted, seen)
        return standing_with(seen.nodes, troubles)

    def _note(self, standing: Standing) -> None:
        if standing == self._standing:
            return
        if standing.state is not self._standing.state:
            self._since = datetime.now().astimezone()
        level = logging.INFO if standing.state is State.ANSWERING else logging.WARNING
        log.log(level, "engine: %s%s", standing.state, f" ({standing.message})" if standing.message else "")
        self._standing = standing
        self._publish()

    def _fenced(self) -> bool:
        """Whether servers may start: network rules are in force, or need not be."""
        return not self._isolated or self._side.isolation() is None

    def _publish(self) -> None:
        """Tell the hubs; their pages say it to learners."""
        told = {
            "state": str(self._standing.state),
            "since": self._since.isoformat(timespec="seconds"),
            "felt": self._standing.felt,
            "fenced": self._fenced(),
            "networks": sorted(self._networks),
        }
        text = json.dumps(told)
        if text != self._published:
            with contextlib.suppress(OSError):
                replace_text(self._file, text)
                self._published = text

    def _clean(self, wanted: Wanted, seen: Seen) -> None:
        """Begin to remove what is left of courses that are gone, unless that is going on."""
        if self._cleaning is not None and not self._cleaning.done():
            return
        # A course that has come since the look began is kept, too.
        kept = wanted.kept | self._wanted().kept
        servers = servers_left(seen.objects, kept)
        networks = networks_left(seen.networks, kept, {server.course for server in servers})
        left = {each.course for each in (*servers, *networks)}
        self._occupied(kept | left)
        if servers or networks:
            self._cleaning = asyncio.ensure_future(self._remove(servers, networks))

    async def _remove(self, servers: Sequence[Owned], networks: Sequence[Owned]) -> None:
        work = [self._side.end_server(server) for server in servers]
        results: list[Any] = await asyncio.gather(*work, return_exceptions=True)
        # Servers have their time to stop: a course may have come back meanwhile.
        kept = self._wanted().kept
        networks = [network for network in networks if network.course not in kept]
        results += await asyncio.gather(*map(self._remove_network, networks), return_exceptions=True)
        failed = sorted({str(result) for result in results if isinstance(result, Exception)})
        if failed != self._uncleaned:
            log.warning("of courses that are gone something is left: %s", "; ".join(failed) or "nothing any more")
        self._uncleaned = failed
        if not failed:
            log.info("removed what was left of courses: %d servers, %d networks", len(servers), len(networks))
            self._wake.set()

    async def _remove_network(self, network: Owned) -> None:
        if not await self._side.remove_network(network):
            raise EngineError(f"the network {network.name} is still in use")
