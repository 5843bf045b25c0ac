"""What is left at the engine of courses that are gone. Pure.

Only objects with the label of this site are looked at, so that nothing of others is ever touched. Servers of courses
that are served are their hub's business.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from coursewarehub.wire import labels


@dataclass(frozen=True)
class Owned:
    """One object of the site at the engine; `kind` as its label says, `course` empty for what belongs to none."""

    id: str
    name: str
    kind: str
    course: str = ""


def owned(found: Mapping[str, Any]) -> Owned:
    """A container (from a list), service or network as the engine tells it."""
    spec = found.get("Spec") or {}
    own = (spec or found).get("Labels") or {}
    names = found.get("Names") or [""]
    name = spec.get("Name") or found.get("Name") or names[0].removeprefix("/")
    identity = found.get("ID") or found.get("Id") or ""
    return Owned(str(identity), str(name), own.get(labels.KIND, ""), own.get(labels.COURSE, ""))


def servers_left(objects: Iterable[Owned], courses: Collection[str]) -> tuple[Owned, ...]:
    """Learners' servers of courses that are not among `courses`."""
    return tuple(each for each in objects if each.kind == labels.KIND_SERVER and each.course not in courses)


def networks_left(networks: Iterable[Owned], courses: Collection[str], busy: Collection[str]) -> tuple[Owned, ...]:
    """Networks of courses that are not among `courses`, but for those of which a server is left (`busy`)."""
    ours = (each for each in networks if each.kind == labels.KIND_NETWORK)
    return tuple(each for each in ours if each.course not in courses and each.course not in busy)
