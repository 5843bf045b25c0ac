"""The site process: brings edge, parents, hubs and portal up, keeps them so, takes them down."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Container, Coroutine, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from tornado.httpserver import HTTPServer

from coursewarehub.model import (
    ConfigurationError,
    Course,
    CourseState,
    LoadedSite,
    Problem,
    SecretRef,
    Site,
    load_site,
    usable,
)
from coursewarehub.model.addresses import public_url
from coursewarehub.model.checks import login_problems, site_problems
from coursewarehub.model.login import used_providers, used_secrets
from coursewarehub.model.networks import CourseNetwork
from coursewarehub.model.platforms import FOLDER as PLATFORMS
from coursewarehub.model.platforms import platform_file
from coursewarehub.model.spawner import ContainerSpawner, Spawner
from coursewarehub.prefork.client import clean_environment
from coursewarehub.site import status as status_socket
from coursewarehub.site.containers import Containers
from coursewarehub.site.content import ContentError, publish, stop_fetching
from coursewarehub.site.edge import CourseDoor, Edge, EdgePorts, PortTaken, record_file, site_routes
from coursewarehub.site.hubs import HubRunner, HubState
from coursewarehub.site.lti.claims import Claims
from coursewarehub.site.lti.endpoints import Lti
from coursewarehub.site.lti.handlers import handlers as lti_handlers
from coursewarehub.site.parents import KIND_OF_HUBS, Parents, again
from coursewarehub.site.portal import Catalogue, Rule, application, failed_application, prepare_portal
from coursewarehub.site.registries import registry_routes
from coursewarehub.site.watch import Signature, changes, signature
from coursewarehub.state import processes
from coursewarehub.state.databases import hub_database, passed_on
from coursewarehub.state.files import create_text, replace_text, rotate
from coursewarehub.state.folders import SiteFolders, extra_files
from coursewarehub.state.lti_links import Links
from coursewarehub.state.networks import PoolExhausted
from coursewarehub.state.ports import PortBook
from coursewarehub.state.secrets import generated_once
from coursewarehub.wire import environment as names
from coursewarehub.wire import paths
from coursewarehub.wire.policy import REGISTRIES
from coursewarehub.wire.prefork import ProcessRecord, StartRequest

log = logging.getLogger("coursewarehub.site")

_SETTLE_SECONDS: Final = 15.0
"""For which the first ready line waits for an engine that does not answer."""


class AlreadyRunning(Exception):
    """Another site process holds this folder."""


@dataclass(frozen=True)
class Listen:
    """Where to listen, when the command line overrides `site.yaml`."""

    host: str | None = None
    port: int | None = None

    def applied_to(self, site: Site) -> Site:
        """The site with these settings."""
        changed = {k: v for k, v in (("host", self.host), ("port", self.port)) if v is not None}
        return site.model_copy(update={"edge": site.edge.model_copy(update=changed)}) if changed else site


def site_of(site: Site, course: Course) -> Site:
    """The site as the hub of a course has to know it: with those ways to log in that the course uses."""
    return site.model_copy(update={"login": used_providers(site.login, course.logins)})


def fingerprint(site: Site, course: Course, extras: str) -> str:
    """Changes when the course's hub must be started anew; `site` is `site_of` the course."""
    return json.dumps([site.model_dump(mode="json"), course.model_dump(mode="json"), extras], sort_keys=True)


class SiteProcess:
    """One running site. `run` returns when `stop` is called or raises when it cannot start."""

    def __init__(self, root: Path, listen: Listen | None = None) -> None:
        self.folders = SiteFolders(root)
        self.listen = listen or Listen()
        self.ready = asyncio.Event()
        self._stopped = asyncio.Event()
        self._signature = signature(root)
        self._loaded = self._load()
        self.folders = SiteFolders.of(root, self.site)
        self._signature = self._look()
        self._ports = PortBook(self.folders.state / "ports.json")
        self._runners: dict[str, HubRunner] = {}
        self._fingerprints: dict[str, str] = {}
        self._content_problems: dict[str, Problem] = {}
        self._network_problems: dict[str, Problem] = {}
        self._containers: Containers | None = None
        self._parents = Parents(self.folders, KIND_OF_HUBS[self.site.spawner.kind], servers=not self._in_containers)
        self._tasks: list[asyncio.Task[None]] = []
        self._file_times: dict[str, int] = {}
        self._fetches: set[asyncio.Future[None]] = set()
        self._servers: list[HTTPServer] = []
        self._edge_api_password: SecretStr | None = None

    # -- life --------------------------------------------------------------------------------------------------

    async def run(self, on_ready: Callable[[SiteProcess], None]) -> None:
        """Serve until told to stop.

        AlreadyRunning, ConfigurationError, OSError or RuntimeError (one sentence each) when it cannot start.
        """
        lock = self._take_lock()
        try:
            self._refuse_open_doors()
            self._prepare_containers()
            self._prepare_edge()
            try:
                if await self._unless_stopped(self._start()):
                    self.ready.set()
                    on_ready(self)
                    await self._stopped.wait()
            finally:
                await self._shut_down()
        finally:
            os.close(lock)

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do the work unless told to stop meanwhile; whether it was done."""
        task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(self._stopped.wait())
        await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return False
        task.result()
        return True

    def stop(self) -> None:
        """Make `run` take everything down and return."""
        self._stopped.set()

    def _take_lock(self) -> int:
        for folder in (self.folders.state, self.folders.run, self.folders.logs, self.folders.routes):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folders.state.chmod(0o700)
        descriptor = os.open(self.folders.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AlreadyRunning(f"the site {self.folders.root} is running already") from None
        os.truncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        return descriptor

    @property
    def _in_containers(self) -> bool:
        return isinstance(self.site.spawner, ContainerSpawner)

    def _prepare_containers(self) -> None:
        if self._in_containers:
            self._containers = Containers(self.site, self._loaded.sources[""], self.folders, self._served, self._kept)

    def _kept(self) -> frozenset[str]:
        """Courses of which nothing is removed: those with a hub, and all whose file, broken or not, is not archived."""
        written = {file.stem for file in (self.folders.root / "courses.d").glob("*.y*ml")}
        archived = {i for i, course in self._loaded.courses.items() if course.state is CourseState.ARCHIVED}
        return frozenset((written - archived) | set(self._runners))

    def _served(self) -> dict[str, Course]:
        """The courses that have a hub."""
        return {i: self._loaded.courses[i] for i in self._runners if i in self._loaded.courses}

    def _prepare_edge(self) -> None:
        """Everything that can be refused before anything is started, or taken over from an earlier site process."""
        self._edge_api_password = generated_once(self.folders.secrets / "edge-api")
        api = self._port_of_edge_api()
        self._portal = self._ports.listen("portal")
        self.ports = EdgePorts(api=api, portal=self._portal.getsockname()[1])
        self.edge = Edge(self.site, self.folders, self.ports)
        try:
            self.edge.check()
        except PortTaken as error:
            raise ConfigurationError([self._port_problem(error)]) from error

    async def _start(self) -> None:
        prepare_portal(self.catalogue())
        server = HTTPServer(application(self.catalogue, self._lti_handlers()), xheaders=True)
        server.add_socket(self._portal)
        self._servers.append(server)
        await self._parents.start()
        adopted = {record.name: record for record in await self._parents.hub.processes()}
        for course in self._runnable():
            await self._add(course, adopted.pop(_hub_name(course.id), None))
        for record in adopted.values():
            await processes.stop_tree(record, patience=10)
        self._write_routes()
        self._remove_stale_routes()
        await self.edge.start()
        notify = self._containers.notify if self._containers else None
        self._servers.append(status_socket.serve(self.folders.control_socket, self.status, notify))
        for work in (self._keep_edge(), self._parents.keep_hub(), self._follow_files(), *self._keep_servers()):
            self._tasks.append(asyncio.create_task(work))
        if self._containers is not None:
            await self._containers.settle(_SETTLE_SECONDS)

    def _lti_handlers(self) -> list[Rule]:
        """What learning platforms ask for and send."""
        lti = Lti(
            catalogue=self.catalogue,
            address=lambda: public_url(self.site),
            wake=self._wake,
            keys_folder=self.folders.lti_keys,
            links=Links(self.folders.lti_links),
            claims=Claims(lambda i: hub_database(self.folders, self.site, i, os.environ).lti_contexts()),
            add_platform=self._add_platform,
        )
        return lti_handlers(lti)

    def _wake(self, course_id: str) -> None:
        """Start the hub of a course if it sleeps: a request is on its way to it."""
        if (runner := self._runners.get(course_id)) is not None:
            runner.wake()

    def _add_platform(self, name: str, text: str) -> None:
        """Store a platform that has registered itself. Raises FileExistsError when there is one of that name."""
        create_text(platform_file(self.folders.root, name), text)

    def _keep_servers(self) -> list[Coroutine[Any, Any, None]]:
        """What learners' servers need to be kept up."""
        if self._containers is not None:
            return self._containers.works()
        return [self._parents.keep_server(self._somebody_is_awake, lambda: self.site.hubs.sleep_after or 0)]

    def _port_problem(self, error: PortTaken) -> Problem:
        hint = "end what listens there, or choose another port"
        overridden = self.listen.host is not None or self.listen.port is not None
        if overridden and error.setting[0] == "edge":
            return Problem("--host, --port", None, str(error), hint)
        return self._loaded.sources[""].problem(error.setting, str(error), hint)

    def _port_of_edge_api(self) -> int:
        """The port that a Traefik left running uses, else a free one."""
        known = self._ports.get("edge-api")
        left = processes.recorded(record_file(self.folders))
        return known if known and left else self._ports.reserve("edge-api")

    async def _shut_down(self) -> None:
        log.info("stopping")
        stop_fetching()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await _all_of([runner.stop() for runner in self._runners.values()])
        await _all_of([self._parents.end()])
        await _all_of([self.edge.stop(), *([self._containers.stop()] if self._containers else [])])
        for server in self._servers:
            server.stop()
        self.folders.control_socket.unlink(missing_ok=True)

    # -- supervision -------------------------------------------------------------------------------------------

    async def _keep_edge(self) -> None:
        while True:
            await self.edge.ended()
            log.error("the front door (Traefik) ended; starting it again")
            await again(self.edge.start)

    def _somebody_is_awake(self) -> bool:
        return any(runner.state is not HubState.SLEEPING for runner in self._runners.values())

    async def _follow_files(self) -> None:
        async for _ in changes(self._look, self._signature, again=lambda: bool(self._loaded.problems)):
            try:
                await self._reload()
            except ConfigurationError as error:
                log.error("kept as it was: %s", error)
                self._site_problems = error.problems
            except Exception as error:  # whatever it is, the next change must be seen
                log.exception("a change could not be taken over")
                self._site_problems = (Problem("site.yaml", None, f"a change could not be taken over: {error}"),)

    # -- courses -----------------------------------------------------------------------------------------------

    _site_problems: tuple[Problem, ...] = ()

    @property
    def site(self) -> Site:
        """The site as it is served."""
        return self._loaded.site

    def _load(self) -> LoadedSite:
        loaded = load_site(self.folders.root)
        site = self.listen.applied_to(loaded.site)
        if wrong := list(site_problems(loaded.root, site, loaded.sources[""], tuple(loaded.courses.values()))):
            raise ConfigurationError(wrong)
        return usable(_with_site(loaded, site))

    def _refuse_open_doors(self) -> None:
        """Nothing is started while a course would let in whom the site's mode or its spawner must not.

        A course that comes to that while the site runs is put out of order instead.
        """
        loaded = _with_site(load_site(self.folders.root), self.site)
        broken = _broken_platforms(self._loaded.problems)
        courses = [
            course
            for course in loaded.courses.values()
            if course.state is not CourseState.ARCHIVED and broken.isdisjoint(login.name for login in course.logins)
        ]
        if wrong := [p for c in courses for p in login_problems(loaded.site, c, loaded.sources[c.id])]:
            raise ConfigurationError(wrong)

    def _look(self) -> Signature:
        """What the configuration's files look like now, secrets included."""
        references = [
            reference
            for course in self._loaded.courses.values()
            for reference in used_secrets(self.site.login, course.logins)
        ]
        secrets = [
            self.folders.root / reference.name
            for reference in (*references, self.site.database.url)
            if isinstance(reference, SecretRef) and reference.kind == "file"
        ]
        return signature(self.folders.root, secrets)

    def _runnable(self) -> list[Course]:
        return [course for course in self._loaded.courses.values() if course.state is not CourseState.ARCHIVED]

    async def _reload(self) -> None:
        """Take changed files over, course by course; a broken file leaves its course as it was."""
        self._check_courses_folder()
        before, now = self._loaded, self._load()
        self._site_problems = ()
        if now.site.edge != before.site.edge:
            log.warning("changes of `edge` in site.yaml take effect when the site is started again")
            now = _with_site(now, now.site.model_copy(update={"edge": before.site.edge}))
        if _other_engine(now.site.spawner, before.site.spawner):
            log.warning("this change of `spawner` in site.yaml takes effect when the site is started again")
            now = _with_site(now, now.site.model_copy(update={"spawner": before.site.spawner}))
        login = {n: p for n, p in before.site.login.items() if n in _broken_platforms(now.problems)}
        if login:
            now = _with_site(now, now.site.model_copy(update={"login": {**login, **now.site.login}}))
        broken = {_course_of(problem) for problem in now.problems}
        kept = {i: c for i, c in before.courses.items() if i in broken and i not in now.courses}
        self._loaded = LoadedSite(
            now.root, now.site, {**now.courses, **kept}, now.problems, {**before.sources, **now.sources}, now.platforms
        )
        wanted = {course.id: course for course in self._runnable()}
        self._write_routes(wanted)
        for course_id in set(self._runners) - set(wanted):
            await self._remove(course_id)
        for course in wanted.values():
            if course.id not in self._runners:
                await self._add(course, None)
            elif self._fingerprints[course.id] != self._fingerprint(course):
                await self._change(course)
            elif before.courses.get(course.id) is None or self._touched(course):
                await self._bring_content(course)
        self._write_routes()
        if self._containers is not None:
            self._containers.cluster.look_again()

    def _check_courses_folder(self) -> None:
        """A folder that cannot be listed says nothing about courses: it must not end them."""
        folder = self.folders.root / "courses.d"
        try:
            os.listdir(folder)
        except OSError as error:
            raise ConfigurationError([Problem("courses.d", None, f"cannot be read: {error.strerror}")]) from error

    async def _add(self, course: Course, adopted: ProcessRecord | None) -> None:
        # Held by the parent also when the hub has gone: its servers know it by this port.
        listening = await self._parents.hub.held_socket(_hub_name(course.id))
        if listening is None:
            if adopted is not None:
                await processes.stop_tree(adopted, patience=10)
                adopted = None
            listening = self._ports.listen(f"course-{course.id}")
        changed = self._prepare(course)
        self._touched(course)
        await self._bring_content(course)
        runner = HubRunner(
            folders=self.folders.course(course.id),
            parent=self._parents.hub,
            listening=listening,
            request=lambda: self._start_request(course.id, listening.getsockname()[1]),
            database=lambda: hub_database(self.folders, self.site, course.id, os.environ),
            failed_page=failed_application(self.catalogue),
            woken=self._parents.wake,
        )
        self._runners[course.id] = runner
        runner.begin(adopted, awake=self.site.hubs.sleep_after is None)
        if changed and adopted is not None:
            await runner.reload()

    async def _change(self, course: Course) -> None:
        log.info("course %s has changed", course.id)
        self._prepare(course)
        await self._bring_content(course)
        await self._runners[course.id].reload()

    async def _remove(self, course_id: str) -> None:
        """Stop a course that was archived or whose file has gone: its hub and its servers; all data stays."""
        log.info("course %s is no longer served", course_id)
        self.folders.course(course_id).routes.unlink(missing_ok=True)
        await self._runners.pop(course_id).stop()
        await self._parents.hub.release_socket(_hub_name(course_id))
        self._fingerprints.pop(course_id, None)
        # The hub may have written its routes once more while it ended.
        self.folders.course(course_id).routes.unlink(missing_ok=True)
        await self._stop_servers(course_id)

    async def _stop_servers(self, course_id: str) -> None:
        """End what runs for learners of a course; containers are removed by the cluster at its next look."""
        if self._containers is not None:
            return
        homes = self.folders.course(course_id).homes.resolve()
        ours = [r for r in await self._parents.server.processes() if _works_in(r.pid, homes)]
        await asyncio.gather(*(processes.stop_tree(record, patience=10) for record in ours))

    def _touched(self, course: Course) -> bool:
        """Whether the course's file was written again, which also brings changed material."""
        time = (self.folders.root / "courses.d" / f"{course.id}.yaml").stat().st_mtime_ns
        earlier, self._file_times[course.id] = self._file_times.get(course.id, time), time
        return time != earlier

    def _fingerprint(self, course: Course) -> str:
        files = extra_files(self.folders.root)
        for secret in (*used_secrets(self.site.login, course.logins), self.site.database.url):
            if isinstance(secret, SecretRef) and secret.kind == "file":
                files.append(self.folders.root / secret.name)
        network = self._network_of(course)
        extras = [json.dumps(asdict(network))] if network is not None else []
        site = site_of(self.site, course)
        return fingerprint(site, course, "".join([*extras, *(_state_of(file) for file in files)]))

    def _network_of(self, course: Course) -> CourseNetwork | None:
        """The network of a course's containers; None for local processes, or when there is none left."""
        if self._containers is None:
            return None
        try:
            network = self._containers.network(course.id)
        except PoolExhausted as error:
            self._network_problems[course.id] = self._loaded.sources[course.id].problem(("id",), str(error))
            return None
        self._network_problems.pop(course.id, None)
        return network

    def _prepare(self, course: Course) -> bool:
        """Write what the hub will read; whether it differs from what an earlier hub read."""
        folders = self.folders.course(course.id)
        self._fingerprints[course.id] = new = self._fingerprint(course)
        mark = folders.state / "fingerprint"
        changed = not mark.exists() or mark.read_text() != new
        network = self._network_of(course)
        effective = {
            "site": _plain(site_of(self.site, course)),
            "course": _plain(course),
            "network": asdict(network) if network is not None else None,
        }
        replace_text(folders.effective, json.dumps(effective))
        replace_text(mark, new)
        return changed

    async def _bring_content(self, course: Course) -> None:
        """Publish the material: a folder's before the hub goes on, a repository's meanwhile, however long it takes."""
        work = asyncio.ensure_future(in_daemon_thread(lambda: self._publish(course)))
        self._fetches.add(work)
        work.add_done_callback(self._fetches.discard)
        if course.content is not None and course.content.folder is not None:
            await work

    def _publish(self, course: Course) -> None:
        try:
            publish(self.folders.root, course, self.folders.course(course.id))
            self._content_problems.pop(course.id, None)
        except (ContentError, OSError) as error:
            log.error("content of %s: %s", course.id, error)
            source = self._loaded.sources[course.id]
            self._content_problems[course.id] = source.problem(("content",), str(error))

    def _start_request(self, course_id: str, port: int) -> StartRequest:
        folders = self.folders.course(course_id)
        folders.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        rotate(folders.log)
        environment = {
            **clean_environment(),
            names.SITE: str(self.folders.root),
            names.COURSE: course_id,
            names.HUB_PORT: str(port),
            names.EDGE_API: f"http://127.0.0.1:{self.ports.api}",
            "HOME": str(folders.state),
            **passed_on(self.site),
        }
        for secret in used_secrets(self.site.login, self._loaded.courses[course_id].logins):
            if secret.kind == "env":
                environment[secret.name] = os.environ.get(secret.name, "")
        return StartRequest(
            name=_hub_name(course_id),
            environment=environment,
            directory=str(folders.state),
            log_file=str(folders.log),
        )

    # -- routes ------------------------------------------------------------------------------------------------

    def _write_routes(self, only: Container[str] | None = None) -> None:
        """Routes to the hubs that there are, or to those of them in `only`."""
        assert self._edge_api_password is not None
        served = [i for i in self._runners if only is None or i in only]
        courses = {i: self._loaded.courses[i] for i in served if i in self._loaded.courses}
        networks = {i: self._network_of(course) for i, course in courses.items()}
        doors = {i: CourseDoor(self._ports.get(f"course-{i}") or 0, networks.get(i)) for i in served}
        routes = site_routes(
            self.site, self.folders.root, self.ports, doors, self._edge_api_password.get_secret_value()
        )
        if isinstance(self.site.spawner, ContainerSpawner):
            asking = [n.subnet for i, n in networks.items() if n is not None and courses[i].egress == REGISTRIES]
            routes |= registry_routes(self.site.spawner.registries, asking)
        text = json.dumps(routes, indent=1)
        file = self.folders.routes / "site.yaml"
        if not file.exists() or file.read_text() != text:
            replace_text(file, text)

    def _remove_stale_routes(self) -> None:
        for file in self.folders.routes.glob("course-*.yaml"):
            if file.stem.removeprefix("course-") not in self._runners:
                file.unlink()

    # -- what others ask ---------------------------------------------------------------------------------------

    def catalogue(self) -> Catalogue:
        """For the portal."""
        broken = frozenset(_course_of(problem) for problem in self._loaded.problems)
        return Catalogue(self.site, self._loaded.courses, broken)

    def status(self) -> dict[str, Any]:
        """For `coursewarehub status`."""
        url = public_url(self.site)
        problems = (
            *self._site_problems,
            *self._loaded.problems,
            *self._content_problems.values(),
            *self._network_problems.values(),
        )
        return {
            "ready": self.ready.is_set() and self.edge.running(),
            "url": url,
            "processes": {
                "site": _process(os.getpid()),
                "edge": _process(self.edge.record.pid if self.edge.record else None),
                **{f"{kind}_parent": _process(pid) for kind, pid in self._parents.pids().items()},
                **({"agent": _process(pid)} if self._containers and (pid := self._containers.agent_pid()) else {}),
            },
            **({"engine": self._containers.cluster.status()} if self._containers else {}),
            "courses": [self._course_status(course, url) for course in self._loaded.courses.values()],
            "problems": [str(problem) for problem in problems],
        }

    def _course_status(self, course: Course, url: str) -> dict[str, Any]:
        runner = self._runners.get(course.id)
        return {
            "id": course.id,
            "title": course.title.text(self.site.language),
            "url": url.rstrip("/") + paths.course_prefix(course.id),
            "state": str(course.state),
            "hub": {
                "state": str(runner.state) if runner else "stopped",
                **_process(runner.pid if runner else None),
                "reason": runner.reason if runner else "",
            },
        }


async def in_daemon_thread(work: Callable[[], None]) -> None:
    """Run blocking work in a thread that nobody waits for at the end of the process."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def run() -> None:
        try:
            work()
        finally:
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, daemon=True).start()
    await done.wait()


def _state_of(file: Path) -> str:
    """Changes with a file's content; a file that cannot be read counts as empty."""
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        digest = ""
    return f"{file.name} {digest}\n"


async def _all_of(work: Sequence[Coroutine[Any, Any, Any]]) -> None:
    """Do all of it, whatever becomes of each part."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            log.error("while stopping: %r", result)


def _hub_name(course_id: str) -> str:
    return f"hub-{course_id}"


def _plain(model: Site | Course) -> Mapping[str, Any]:
    plain: Mapping[str, Any] = model.model_dump(mode="json")
    return plain


def _course_of(problem: Problem) -> str:
    """Id of the course whose file a problem is in, empty for another file."""
    path = Path(problem.file)
    return path.stem if path.parent.name == "courses.d" else ""


def _broken_platforms(problems: Sequence[Problem]) -> set[str]:
    """Names of platforms whose files cannot be used."""
    files = [Path(problem.file) for problem in problems]
    return {file.stem for file in files if file.parent.name == PLATFORMS}


_NEED_A_RESTART: Final = (
    "kind",
    "engine",
    "engine_folder",
    "storage",
    "addresses",
    "course_network",
    "port",
    "isolation",
    "placement",
)


def _other_engine(now: Spawner, before: Spawner) -> bool:
    """Whether a change of the spawner is one that the running site cannot take over."""
    return any(getattr(now, name, None) != getattr(before, name, None) for name in _NEED_A_RESTART)


def _with_site(loaded: LoadedSite, site: Site) -> LoadedSite:
    return replace(loaded, site=site)


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(folder)
    except OSError:
        return False


def _process(pid: int | None) -> dict[str, int | None]:
    return {"pid": pid, "rss_bytes": processes.rss_bytes(pid) if pid else 0}
