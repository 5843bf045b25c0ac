"""How the agent is, in a file that it writes every few seconds. Standard library only: asked every few seconds, too."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

DEFAULT: Final = Path("/run/coursewarehub-nodes.json")
EVERY: Final = 5.0
"""Seconds between two writings."""

_STALE: Final = 30.0


@dataclass(frozen=True)
class Health:
    """What the agent looks after: containers with rules in force, and names of those for which that failed."""

    containers: int
    failed: tuple[str, ...] = ()

    def write(self, file: Path) -> None:
        """Write it to the file, whole. Raises OSError."""
        partial = file.with_name(f".{file.name}.{os.getpid()}")
        partial.write_text(json.dumps(asdict(self)), encoding="utf-8")
        os.replace(partial, file)


def check(file: Path) -> tuple[bool, str]:
    """Return whether the agent that writes this file is well, and a sentence about it."""
    try:
        age = time.time() - file.stat().st_mtime
        said = json.loads(file.read_text(encoding="utf-8"))
        containers, failed = int(said["containers"]), list(said["failed"])
    except FileNotFoundError:
        return False, f"no agent has written {file}: it does not run, or its engine does not answer"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return False, f"{file} cannot be read: {error}"
    if age > _STALE:
        return False, f"the agent has been silent for {age:.0f} s: it does not run, or its engine does not answer"
    if failed:
        return False, f"the rules of {', '.join(failed)} cannot be applied; its log says why"
    return True, f"rules are in force in {containers} container{'' if containers == 1 else 's'}"
