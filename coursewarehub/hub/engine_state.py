"""How the engine that runs the containers is, as the site process last found it and wrote it down for the hubs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

ANSWERING: Final = "answering"


class EngineState:
    """Read anew from its file at each question; where nothing is written, all is taken to be well."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @property
    def state(self) -> str:
        """`answering`, `checking` or `degraded`."""
        return self._value("state") or ANSWERING

    @property
    def since(self) -> str:
        """Since when, in ISO 8601; empty when it is not known."""
        return self._value("since")

    @property
    def felt(self) -> bool:
        """Whether learners may notice that it is not well."""
        return bool(self._told().get("felt"))

    @property
    def fenced(self) -> bool:
        """Whether servers may start: network rules keep them apart, or need not."""
        return bool(self._told().get("fenced", True))

    def has(self, network: str) -> bool:
        """Whether a course's network stands, with the site in it: a course that is new has to wait for that."""
        told = self._told().get("networks")
        return network in told if isinstance(told, list) else True

    def _value(self, name: str) -> str:
        return str(self._told().get(name, ""))

    def _told(self) -> dict[str, Any]:
        try:
            told = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EngineState) and other._file == self._file

    def __hash__(self) -> int:
        return hash(self._file)

    def __repr__(self) -> str:
        return f"EngineState({str(self._file)!r})"
