"""Making a swarm have what a stack says, and waiting until the site answers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import http.client
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from coursewarehub.deploy.difference import Action, Change, Running, difference
from coursewarehub.deploy.stack import Secret, Service, Stack
from coursewarehub.engine import Conflict, Engine, EngineError, Gone
from coursewarehub.model.secret import SecretRef
from coursewarehub.wire import labels

_ATTEMPTS: Final = 3
_LOOK_EVERY: Final = 0.25  # seconds
_FAILURES: Final = 3
"""So many tasks that end at once are no accident."""
_HEADER: Final = 8
_LAST_LINES: Final = 5
_OVER: Final = frozenset({"failed", "rejected", "complete", "shutdown", "orphaned"})


class DeployError(Exception):
    """It cannot be deployed, or what was deployed does not come up; the text is one sentence."""


@dataclass(frozen=True)
class Manager:
    """What is known of the engine that is asked: the id of its node, and its address in the swarm."""

    node: str
    address: str


async def manager(engine: Engine) -> Manager:
    """Return who is asked. Raises DeployError when that is no manager of a swarm, EngineError when nobody answers."""
    swarm = (await engine.info()).get("Swarm") or {}
    if swarm.get("LocalNodeState") != "active":
        raise DeployError(f"the engine at {engine.url} is in no swarm; make one with `docker swarm init`")
    if not swarm.get("ControlAvailable"):
        raise DeployError(f"the engine at {engine.url} is a worker; run this on a manager of the swarm")
    return Manager(str(swarm["NodeID"]), str(swarm.get("NodeAddr", "")))


async def pinned(engine: Engine, image: str) -> str:
    """Return an image's name with the digest that its registry has for it, or as it is when no registry knows it."""
    if "@" in image:
        return image
    with contextlib.suppress(EngineError):
        found = await engine.get(f"/distribution/{image}/json")
        return f"{image}@{found['Descriptor']['digest']}"
    return image


async def look(engine: Engine, site_id: str) -> Running:
    """Return what the swarm has of the site. Raises EngineError."""
    kinds = (labels.KIND_SITE, labels.KIND_AGENT)
    mine = f"{labels.SITE}={site_id}"
    services = await engine.get("/services", filters={"label": [mine]})
    secrets = await engine.get("/secrets", filters={"label": [mine]})
    ours = tuple(service for service in services if service["Spec"]["Labels"].get(labels.KIND) in kinds)
    return Running(ours, tuple(secrets))


async def apply(engine: Engine, stack: Stack, site_id: str, root: Path, tell: Callable[[str], None]) -> None:
    """Do what the difference asks for, and again when somebody else changed something meanwhile.

    `root` is where the files of secrets are. Raises EngineError, or ConfigurationError for a secret's file.
    """
    for attempt in range(_ATTEMPTS):
        try:
            for change in difference(stack, await look(engine, site_id)):
                await _do(engine, change, root)
                tell(f"{change.kind} {change.name}: {_DONE[change.action]}")
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return


_DONE: Final = {Action.CREATE: "created", Action.CHANGE: "changed", Action.REMOVE: "removed"}


async def _do(engine: Engine, change: Change, root: Path) -> None:
    if isinstance(change.wanted, Secret):
        await engine.post("/secrets/create", _secret_body(change.wanted, root))
    elif isinstance(change.wanted, Service):
        await _put(engine, change.wanted, change.current)
    elif change.current is not None:
        kind = "secrets" if change.kind == "secret" else "services"
        with contextlib.suppress(Gone):
            await engine.delete(f"/{kind}/{change.current['ID']}")


def _secret_body(secret: Secret, root: Path) -> dict[str, Any]:
    value = SecretRef.parse(secret.reference).resolve(root, {}).get_secret_value()
    data = base64.b64encode(value.encode()).decode()
    return {"Name": secret.name, "Labels": dict(secret.labels), "Data": data}


async def _put(engine: Engine, service: Service, current: Mapping[str, Any] | None) -> None:
    spec = copy.deepcopy(dict(service.spec))
    mounted = spec["TaskTemplate"]["ContainerSpec"].get("Secrets") or []
    if mounted:
        found = {secret["Spec"]["Name"]: secret["ID"] for secret in await engine.get("/secrets")}
        for item in mounted:
            item["SecretID"] = found.get(item["SecretName"], "")
    if current is None:
        await engine.post("/services/create", spec)
    else:
        await engine.post(f"/services/{current['ID']}/update", spec, version=current["Version"]["Index"])


# --- waiting -----------------------------------------------------------------------------------


async def comes_up(engine: Engine, service: Service, port: int, *, tls: bool) -> str:
    """Wait until the site's task with its newest settings answers HTTP; return the address of its node.

    Raises DeployError with the reason when it does not come up, EngineError when the engine cannot be asked.
    """
    earlier = {task["ID"] for task in await _newest(engine, service) if task["Status"]["State"] in _OVER}
    while True:
        tasks = [task for task in await _newest(engine, service) if task["ID"] not in earlier]
        for task in tasks:
            if task["Status"]["State"] == "running" and task["DesiredState"] == "running":
                address = await address_of(engine, task)
                if await asyncio.to_thread(_answers, address, port, tls):
                    return address
        try:
            refuse_failure(tasks)
        except DeployError as error:
            said = await last_words(engine, service)
            raise DeployError(f"{error} ({said})" if said else str(error)) from None
        await asyncio.sleep(_LOOK_EVERY)


async def _newest(engine: Engine, service: Service) -> list[Mapping[str, Any]]:
    """The tasks of a service that have its newest settings."""
    digest = service.spec["Labels"][labels.DEPLOYED]
    tasks = await engine.get("/tasks", filters={"service": [service.name]})
    return [task for task in tasks if task["Spec"]["ContainerSpec"].get("Labels", {}).get(labels.DEPLOYED) == digest]


async def last_words(engine: Engine, service: Service) -> str:
    """Return the last line that a service has logged, empty when it cannot be had."""
    with contextlib.suppress(EngineError):
        found = await engine.get(f"/services/{service.name}/logs", stdout=True, stderr=True, tail=_LAST_LINES)
        if isinstance(found, bytes):
            return next(reversed(log_lines(found)), "")
    return ""


def log_lines(frames: bytes) -> list[str]:
    """Return the lines of a log as the engine sends it: frames with a header of 8 bytes, the last 4 the length."""
    text = b""
    while len(frames) >= _HEADER:
        length = int.from_bytes(frames[4:_HEADER], "big")
        text += frames[_HEADER : _HEADER + length]
        frames = frames[_HEADER + length :]
    return [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]


def refuse_failure(tasks: Sequence[Mapping[str, Any]]) -> None:
    """Raise DeployError when the tasks show that the site does not come up: one after the other ended."""
    ended = sorted((task for task in tasks if task["Status"]["State"] in _OVER), key=lambda task: task["CreatedAt"])
    if len(ended) >= _FAILURES:
        raise DeployError(f"the site does not come up: {reason(ended[-1])}")


def reason(task: Mapping[str, Any]) -> str:
    """Return why a task is not running, in the engine's words."""
    status = task["Status"]
    said = " ".join(str(status.get("Err") or status.get("Message") or status["State"]).split())
    return said.rstrip(".")


def pending(tasks: Sequence[Mapping[str, Any]]) -> str | None:
    """Return why the newest task has no node yet, if that is so."""
    newest = max(tasks, key=lambda task: str(task["CreatedAt"]), default=None)
    if newest is None or newest["Status"]["State"] != "pending":
        return None
    return reason(newest) if newest["Status"].get("Err") else None


async def why_waiting(engine: Engine, service: Service) -> str | None:
    """Return why a service has no running task, as far as the swarm says it."""
    with contextlib.suppress(EngineError):
        return pending(await engine.get("/tasks", filters={"service": [service.name]}))
    return None


async def address_of(engine: Engine, task: Mapping[str, Any]) -> str:
    """Return the address of the node on which a task runs."""
    node = await engine.get(f"/nodes/{task['NodeID']}")
    address = str(node["Status"].get("Addr", ""))
    return "127.0.0.1" if address in {"", "0.0.0.0"} else address  # noqa: S104 - how a lone manager calls itself


async def site_address(engine: Engine, site_id: str) -> str | None:
    """Return the address of the node on which the site runs, None when it runs nowhere. Raises EngineError."""
    wanted = [f"{labels.SITE}={site_id}", f"{labels.KIND}={labels.KIND_SITE}"]
    services = await engine.get("/services", filters={"label": wanted})
    if not services:
        return None
    ids = [service["ID"] for service in services]
    tasks = await engine.get("/tasks", filters={"service": ids, "desired-state": ["running"]})
    running = [task for task in tasks if task["Status"]["State"] == "running"]
    return await address_of(engine, running[0]) if running else None


def _answers(address: str, port: int, tls: bool) -> bool:
    connection: http.client.HTTPConnection
    if tls:
        # Only whether it answers is asked; the certificate is for another name than this address.
        context = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(address, port, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Engine]:
    """One engine, let go of at the end."""
    engine = Engine(url)
    try:
        yield engine
    finally:
        engine.close()
