"""Container spawners as a hub makes them, with a real database and nothing else of a hub; for tests with an engine."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyterhub import orm
from jupyterhub.objects import Hub, Server
from jupyterhub.user import User

from coursewarehub.engine.view import EngineView
from coursewarehub.model.networks import CourseNetwork, course_network
from coursewarespawner.containers import ContainerSpawner
from coursewarespawner.plan import ContainerPlan, Member, Surroundings, homes_folder, plan_container
from coursewarespawner.watch import until_it_answers
from support.engines import BASE
from support.models import a_course, a_site

_NEW_NETWORK = 0x40000000
_HOST = os.open("/proc/self/ns/net", os.O_RDONLY)

PERL = (
    "use IO::Socket::INET; $SIG{TERM} = sub { exit 0 }; "
    "my $s = IO::Socket::INET->new(LocalPort => 8888, Listen => 5, ReuseAddr => 1) or die; "
    "while (my $c = $s->accept) { sysread $c, my $asked, 65536; "
    "print $c qq(HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok); close $c }"
)
SERVER = ("perl", "-e", PERL)
"""A server in the small Debian: answers everything with 200 at port 8888."""


@contextmanager
def in_network(namespace: Path) -> Iterator[None]:
    """This thread, and what it starts, is in a network namespace; others are not."""
    library = ctypes.CDLL(None, use_errno=True)

    def enter(place: str) -> None:
        descriptor = os.open(place, os.O_RDONLY)
        try:
            if library.setns(descriptor, _NEW_NETWORK):
                raise OSError(ctypes.get_errno(), f"cannot enter {place}")
        finally:
            os.close(descriptor)

    home = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
    try:
        enter(str(namespace))
        yield
    finally:
        library.setns(home, _NEW_NETWORK)
        os.close(home)


@contextmanager
def outside() -> Iterator[None]:
    """This thread is in the host's network again."""
    with in_network(Path(f"/proc/self/fd/{_HOST}")):
        yield


@contextmanager
def from_outside(fault: AbstractContextManager[Any]) -> Iterator[None]:
    """A fault of machines or cables, made and mended from the host's network."""
    with outside():
        fault.__enter__()
    try:
        yield
    finally:
        with outside():
            fault.__exit__(None, None, None)


class Routes:
    """A proxy that notes what it is asked."""

    def __init__(self) -> None:
        self.routes: dict[str, str] = {}
        self.asked: list[str] = []

    async def add_route(self, spec: str, target: str, data: dict[str, str]) -> None:
        self.asked.append(f"add {spec} {data['user']} {target}")
        self.routes[spec] = target

    async def delete_route(self, spec: str) -> None:
        self.asked.append(f"delete {spec}")
        self.routes.pop(spec, None)


@dataclass
class FakeHub:
    """The hub of course `alpha` of a site, as far as spawners see it."""

    spawner_class: type[ContainerSpawner]
    engine_url: str
    kind: str
    storage: Path
    network: CourseNetwork | None = None
    site_id: str = "site-1"
    spawner_settings: dict[str, Any] = field(default_factory=dict)
    course_settings: dict[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = SERVER
    change: Callable[[ContainerPlan], ContainerPlan] = lambda plan: plan
    database_url: str = "sqlite:///:memory:"
    hub: Hub = field(default_factory=lambda: Hub(base_url="/hub/"))
    routes: Routes = field(default_factory=Routes)
    database: Any = None

    def __post_init__(self) -> None:
        self.database = orm.new_session_factory(self.database_url)()
        if not self.database.query(orm.OAuthClient).count():
            self.database.add(orm.OAuthClient(identifier="jupyterhub"))
            self.database.commit()
        self.site = a_site(
            spawner={"kind": self.kind, "storage": str(self.storage), "image": BASE, **self.spawner_settings}
        )
        self.course = a_course("alpha", **self.course_settings)
        assert self.site.spawner.kind != "local"
        self.network = self.network or course_network(self.site_id, "alpha", self.site.spawner, 0)

    def plan(self, member: Member) -> ContainerPlan:
        """As the site's plan, with the test's image and command."""
        assert self.network is not None
        surroundings = Surroundings(self.site_id, self.storage, self.network)
        plan = replace(plan_container(self.site, self.course, member, surroundings), command=self.command)
        # No site looks after these machines, so none of them says that it is ready.
        return self.change(replace(plan, ready=None))

    def spawner(self, name: str = "sam", server: str = "", **settings: Any) -> Any:
        """A spawner as JupyterHub makes it right before `start`; a second of the same server knows its state."""
        user = self.database.query(orm.User).filter_by(name=name).first()
        if user is None:
            user = orm.User(name=name)
            self.database.add(user)
            self.database.commit()
        if server not in user.orm_spawners:
            self.database.add(orm.Spawner(name=server, user=user))
            self.database.commit()
        made = User(user, {"proxy": self.routes})._new_spawner(
            server,
            spawner_class=self.spawner_class,
            hub=self.hub,
            oauth_client_id="x",
            **{**self._settings(), **settings},
        )
        if made.orm_spawner.server is None:
            base = f"/user/{name}/"
            made.orm_spawner.server = orm.Server(proto="http", ip="", port=0, base_url=base, cookie_name="x")
            self.database.commit()
        made.server = Server(orm_server=made.orm_spawner.server)
        made.api_token = f"token-of-{name}"
        return made

    def _settings(self) -> dict[str, Any]:
        return {
            "engine_url": self.engine_url,
            "site_id": self.site_id,
            "course_id": "alpha",
            "plan": self.plan,
            "member": lambda name, groups: Member(name, None, tuple(groups)),
            "width": 2,
        }

    def stopped(self, spawner: Any) -> None:
        """What JupyterHub does when a server has ended."""
        spawner.orm_spawner.server = None
        spawner.clear_state()
        spawner.orm_spawner.state = spawner.get_state()
        self.database.commit()

    def homes(self) -> Path:
        return homes_folder(self.storage, "alpha")

    def run(self, test: Callable[[], Awaitable[Any]], seconds: float = 120) -> Any:
        """Run a test in an event loop of its own; nothing of it goes on afterwards."""

        async def main() -> Any:
            async with no_views_left(), asyncio.timeout(seconds):
                return await test()

        return asyncio.run(main())


@asynccontextmanager
async def no_views_left() -> AsyncIterator[None]:
    """What was learnt of engines is forgotten, and background work ends."""
    try:
        yield
    finally:
        for task in list(ContainerSpawner._background):
            task.cancel()
        for view in EngineView._shared.values():
            view.close()
            view.engine.close()
        EngineView._shared.clear()
        ContainerSpawner._known.clear()
        ContainerSpawner._taking.clear()


@contextmanager
def hub_process(hub: FakeHub, count: int) -> Iterator[subprocess.Popen[bytes]]:
    """A hub in a process of its own that starts so many servers and whose end nobody prepares; in this network."""
    here = Path(__file__).parents[1]
    path = os.pathsep.join([str(here), str(here.parent)])
    network = json.dumps(asdict(hub.network))  # type: ignore[arg-type]
    arguments = [hub.kind, hub.engine_url, str(hub.storage), hub.database_url, network, str(count)]
    process = subprocess.Popen(
        [sys.executable, "-m", "support.killed_hub", *arguments], env={**os.environ, "PYTHONPATH": path}
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def taken_over(hub: FakeHub, count: int, patience: float = 10) -> list[Any]:
    """The servers that a restarted hub has as running; what it finds without an answer it stops, as JupyterHub does."""

    async def take(spawner: Any) -> Any:
        if await spawner.poll() is not None:
            return None
        url = urlsplit(await spawner.get_url())
        try:
            async with asyncio.timeout(patience):
                await until_it_answers(str(url.hostname), url.port or 0, "/")
        except TimeoutError:
            await spawner.stop()
            return None
        return spawner

    found = await asyncio.gather(*(take(hub.spawner(f"student-{number}")) for number in range(count)))
    return [spawner for spawner in found if spawner is not None]
