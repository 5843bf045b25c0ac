"""Talking to one Docker Engine: calls, what its states mean, networks, and one shared view of what runs.

Runs in: site, hub, CLI, node agent. Names are imported on first use, so that what is pure here (`states`, `observe`,
`images`) costs no import of docker-py.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coursewarehub.engine.client import Engine
    from coursewarehub.engine.errors import Cause, Conflict, EngineError, Gone, Refused, Unreachable

__all__ = ["Cause", "Conflict", "Engine", "EngineError", "Gone", "Refused", "Unreachable"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{'client' if name == 'Engine' else 'errors'}"), name)
    globals()[name] = value
    return value
