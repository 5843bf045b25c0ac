"""How the engine that runs the containers is, as the site process last found it and wrote it down for the hubs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

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
    def obstacle(self) -> str:
        """Why no server may start now, as a sentence; empty when they may."""
        return self._value("obstacle")

    def _value(self, name: str) -> str:
        try:
            told = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return ""
        return str(told.get(name, "")) if isinstance(told, dict) else ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EngineState) and other._file == self._file

    def __hash__(self) -> int:
        return hash(self._file)

    def __repr__(self) -> str:
        return f"EngineState({str(self._file)!r})"
