"""What differs between what a site should be on a swarm and what runs there. Pure.

The engine adds much to what it is given; compared is only what the stack says. A digest of everything, on a label,
tells of what an earlier version set and this one does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from coursewarehub.deploy.stack import Secret, Service, Stack
from coursewarehub.wire import labels

_SHORTENED = (
    ("TaskTemplate.ContainerSpec.", ""),
    ("TaskTemplate.", ""),
    ("Mode.Replicated.", ""),
)
_IGNORED = frozenset(
    {
        "Labels.coursewarehub.deployed",
        "TaskTemplate.ContainerSpec.Labels.coursewarehub.deployed",
        "TaskTemplate.Networks[0].Target",  # the engine puts an id in place of the name
    }
)
_LONGEST_VALUE = 120


class Action(StrEnum):
    """What happens to an object."""

    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"


@dataclass(frozen=True)
class Running:
    """What the swarm has of a site, as the engine tells it: services, and secrets by their `Spec` and `ID`."""

    services: tuple[Mapping[str, Any], ...] = ()
    secrets: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Field:
    """One setting that differs; None is absent."""

    path: str
    old: str | None
    new: str | None


@dataclass(frozen=True)
class Change:
    """One object that differs. `wanted` is None when it is removed; `ids` are those of the objects that it is now."""

    action: Action
    kind: str
    name: str
    fields: tuple[Field, ...] = ()
    wanted: Service | Secret | None = None
    current: Mapping[str, Any] | None = field(default=None, repr=False)


def difference(stack: Stack, running: Running) -> tuple[Change, ...]:
    """Return what has to be done, in the order in which it is to be done; empty when nothing has to be."""
    return (
        *_secret_changes(stack.secrets, running.secrets),
        *_service_changes(stack.services, running.services),
        *_unwanted_services(stack.services, running.services),
        *_unwanted_secrets(stack.secrets, running.secrets),
    )


def described(changes: Sequence[Change]) -> Iterator[str]:
    """Yield the changes as lines for people; nothing of a secret's content is in them."""
    signs = {Action.CREATE: "+", Action.CHANGE: "~", Action.REMOVE: "-"}
    for change in changes:
        yield f"{signs[change.action]} {change.kind} {change.name}"
        for item in change.fields:
            yield f"    {item.path}: {_shown(item.old)} -> {_shown(item.new)}"


# --- secrets -----------------------------------------------------------------------------------


def _secret_changes(wanted: Iterable[Secret], running: Iterable[Mapping[str, Any]]) -> Iterator[Change]:
    """A secret never changes: one with new content is a new object, which replaces that of the same file."""
    names = {secret["Spec"]["Name"] for secret in running}
    files = {_label(secret, labels.FILE) for secret in running}
    for secret in wanted:
        if secret.name in names:
            continue
        known = secret.reference in files
        yield Change(
            Action.CHANGE if known else Action.CREATE,
            "secret",
            secret.reference,
            (Field("content", "another one", "the file's"),) if known else (),
            wanted=secret,
        )


def _unwanted_secrets(wanted: Iterable[Secret], running: Iterable[Mapping[str, Any]]) -> Iterator[Change]:
    names = {secret.name for secret in wanted}
    files = {secret.reference for secret in wanted}
    for secret in running:
        if secret["Spec"]["Name"] not in names:
            file = _label(secret, labels.FILE)
            name = f"{file} (earlier content)" if file in files else file
            yield Change(Action.REMOVE, "secret", name, current=secret)


# --- services ----------------------------------------------------------------------------------


def _service_changes(wanted: Iterable[Service], running: Iterable[Mapping[str, Any]]) -> Iterator[Change]:
    current = {service["Spec"]["Name"]: service for service in running}
    for service in wanted:
        if service.name not in current:
            yield Change(Action.CREATE, "service", service.kind, wanted=service)
            continue
        found = current[service.name]
        fields = tuple(_fields(service.spec, found["Spec"]))
        if not fields and _label(found, labels.DEPLOYED) != service.spec["Labels"][labels.DEPLOYED]:
            fields = (Field("settings of an earlier version", "set", None),)
        if fields:
            yield Change(Action.CHANGE, "service", service.kind, fields, wanted=service, current=found)


def _unwanted_services(wanted: Iterable[Service], running: Iterable[Mapping[str, Any]]) -> Iterator[Change]:
    names = {service.name for service in wanted}
    for service in running:
        if service["Spec"]["Name"] not in names:
            yield Change(Action.REMOVE, "service", service["Spec"]["Name"], current=service)


def _label(thing: Mapping[str, Any], name: str) -> str:
    return str((thing["Spec"].get("Labels") or {}).get(name, ""))


def _fields(wanted: Any, current: Any, path: str = "") -> Iterator[Field]:
    """Yield what of `wanted` is not so in `current`; what only `current` has is the engine's."""
    if isinstance(wanted, Mapping):
        inner = current if isinstance(current, Mapping) else {}
        for key, value in wanted.items():
            place = f"{path}.{key}" if path else str(key)
            if place not in _IGNORED:
                yield from _fields(value, inner.get(key), place)
    elif isinstance(wanted, Sequence) and not isinstance(wanted, str):
        yield from _items(wanted, current or [], path)
    elif wanted != current:
        yield Field(_short(path), _text(current), _text(wanted))


def _items(wanted: Sequence[Any], current: Sequence[Any], path: str) -> Iterator[Field]:
    """Yield how two lists differ: item by item when they are as long as each other, else as a whole."""
    if len(wanted) != len(current) or not all(isinstance(item, Mapping) for item in wanted):
        if list(wanted) != list(current):
            yield Field(_short(path), _text(current), _text(wanted))
        return
    for index, (new, old) in enumerate(zip(wanted, current, strict=True)):
        yield from _fields(new, old, f"{path}[{index}]")


def _short(path: str) -> str:
    for prefix, instead in _SHORTENED:
        path = instead + path.removeprefix(prefix) if path.startswith(prefix) else path
    return path


def _text(value: Any) -> str | None:
    if value is None or value in ([], {}):
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _shown(value: str | None) -> str:
    if value is None:
        return "(none)"
    return value if len(value) <= _LONGEST_VALUE else f"{value[: _LONGEST_VALUE - 1]}…"
