"""Talking to one Docker Engine: calls, what its states mean, networks, and one shared view of what runs.

Runs in: site, hub, CLI, node agent.
"""

from coursewarehub.engine.client import Engine
from coursewarehub.engine.errors import Cause, Conflict, EngineError, Gone, Refused, Unreachable

__all__ = ["Cause", "Conflict", "Engine", "EngineError", "Gone", "Refused", "Unreachable"]
