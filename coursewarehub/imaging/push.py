"""Bringing an image into a registry."""

from __future__ import annotations

import re

from coursewarehub.imaging.client import Docker
from coursewarehub.imaging.errors import ImagingError

_DIGEST = re.compile(r"digest: (sha256:[0-9a-f]{64})")


def push(docker: Docker, reference: str, destination: str) -> str:
    """Tag and push, with Docker's progress on standard output; the image's name there with its digest.

    ImagingError with one sentence.
    """
    target = target_of(reference, destination)
    docker.labels(reference)
    docker.output(["tag", reference, target], subject=target)
    done = docker.stream(["push", target], subject=target)
    found = _DIGEST.search(done.output)
    if found is None:
        raise ImagingError(f"`{target}` was pushed, but docker did not say its digest")
    return f"{repository_of(target)}@{found[1]}"


def target_of(reference: str, destination: str) -> str:
    """Name under which an image goes to a registry.

    `destination` is a whole name with a tag (`registry.example/course:2026`), or a registry with or without a path,
    below which the image keeps its own name (`registry.example:5000`, `registry.example/teaching/`). ImagingError when
    it names no registry.
    """
    parts = destination.rstrip("/").split("/")
    if not re.search(r"[.:]", parts[0]) and parts[0] != "localhost":
        raise ImagingError(f"`{destination}` names no registry: write its host name, such as registry.example:5000")
    if len(parts) > 1 and ":" in parts[-1]:
        return destination
    return f"{destination.rstrip('/')}/{_without_registry(reference)}"


def repository_of(reference: str) -> str:
    """An image's name without tag and digest."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _without_registry(reference: str) -> str:
    name = reference.partition("@")[0]
    first, slash, rest = name.partition("/")
    return rest if slash and (re.search(r"[.:]", first) or first == "localhost") else name
