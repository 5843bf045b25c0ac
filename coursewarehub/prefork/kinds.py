"""The programs a parent can be made for: what to import beforehand and what to call in the child."""

from __future__ import annotations

import importlib
import importlib.util
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

Signal = Callable[[str], None]
"""Tells the parent one of `wire.prefork.Event`: ready or sleeping."""


class Program(Protocol):
    """What a child runs: the environment is set, the socket listens already; returns the exit status."""

    def __call__(self, environment: Mapping[str, str], listening: socket.socket | None, tell: Signal) -> int:
        """Run until the end."""
        ...


ENTRY: Final = {
    "hub": "coursewarehub.hub.main",
    "container-hub": "coursewarehub.hub.main",
    "server": "coursewarehub.singleuser.main",
}

WARM: Final[dict[str, tuple[str, ...]]] = {
    "hub": ("coursewarehub.hub.warm",),
    "container-hub": ("coursewarehub.hub.warm", "coursewarehub.hub.warm_containers"),
    "server": ("coursewarehub.singleuser.warm",),
}


def leave_out_slow_imports() -> None:
    """Keep `rfc3987_syntax` from being imported: half of a Jupyter start, for a format no schema uses.

    jsonschema treats the package as optional (its `_format` module suppresses the ImportError); importing it
    compiles an Earley grammar for 0.9 s and 15 MiB.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]


def warm_up(kind: str) -> None:
    """Import what the program of this kind will need."""
    leave_out_slow_imports()
    if kind != "server":
        # Optional in mako, which alembic imports and no hub uses: colours for its error pages, 4.6 MiB of pygments.
        sys.modules.setdefault("mako.ext.pygmentplugin", None)  # type: ignore[arg-type]
    for name in (*WARM[kind], ENTRY[kind]):
        importlib.import_module(name)


def import_available(names: Iterable[str]) -> None:
    """Import the modules that are installed; one that is absent or fails is left to the child."""
    for name in names:
        try:
            if importlib.util.find_spec(name) is not None:
                importlib.import_module(name)
        except Exception:  # noqa: BLE001, S112 - an optional module must not keep the parent from starting
            continue


def program(kind: str) -> Program:
    """The callable of a kind."""
    entry: Program = importlib.import_module(ENTRY[kind]).main
    return entry
