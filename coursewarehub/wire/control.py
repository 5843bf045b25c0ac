"""What is asked on the site's own socket besides its status: `POST /notices`, to the servers on one node.

The body is one `NodeNotice.encode()` as JSON, the answer `{"servers": N}`: how many servers showed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

NOTICES: Final = "/notices"
SERVERS: Final = "servers"
MAX_SECONDS: Final = 24 * 3600
_KEYS: Final = frozenset({"node", "text", "seconds"})


@dataclass(frozen=True)
class NodeNotice:
    """A notice to everybody whose server runs on a node: its name, one text for each language, seconds left."""

    node: str
    text: Mapping[str, str]
    seconds: int

    def encode(self) -> dict[str, Any]:
        """The notice as JSON has it."""
        return {"node": self.node, "text": dict(self.text), "seconds": self.seconds}

    @classmethod
    def decode(cls, message: object) -> NodeNotice:
        """The notice in a decoded JSON value; ValueError with a sentence when it is none."""
        if not isinstance(message, dict) or message.keys() != _KEYS:
            raise ValueError("a notice to a node is one object with `node`, `text` and `seconds`")
        node, text, seconds = message["node"], message["text"], message["seconds"]
        if not isinstance(node, str) or not node:
            raise ValueError("`node` is the name of a node")
        if not isinstance(text, dict) or not text or not all(isinstance(word, str) for word in text.values()):
            raise ValueError("`text` is one text for each language")
        if type(seconds) is not int or not 0 <= seconds <= MAX_SECONDS:
            raise ValueError(f"`seconds` is a whole number from 0 to {MAX_SECONDS}")
        return cls(node, text, seconds)
