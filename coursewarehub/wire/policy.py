"""What a learner's container may reach: a label on the container, read by the agent of its node."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from ipaddress import IPv4Address, IPv4Network
from typing import Final, NoReturn

NONE: Final = "none"
REGISTRIES: Final = "registries"
OPEN: Final = "open"
EGRESS: Final = (NONE, REGISTRIES, OPEN)


@dataclass(frozen=True)
class NetworkPolicy:
    """What one container may reach and be reached by.

    `site` is the address at which the site answers in the container's network, at `port` for itself and at
    `registries_port` for package registries. `egress` is one of `EGRESS`. The site reaches the container at
    `server_port`; `others` are further addresses or networks, `10.0.0.5` or `10.0.0.0/8`, that it may reach.
    """

    site: str
    port: int
    registries_port: int
    egress: str
    server_port: int = 8888
    others: tuple[str, ...] = ()

    def encode(self) -> str:
        """The value of the label."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    @classmethod
    def decode(cls, text: str) -> NetworkPolicy:
        """The policy in a label; ValueError when it is none."""
        try:
            data = json.loads(text)
            if not isinstance(data, dict) or not data.keys() <= {field.name for field in fields(cls)}:
                raise ValueError("it is not an object with the known keys")
            policy = cls(
                site=_address(data["site"]),
                port=_port(data["port"]),
                registries_port=_port(data["registries_port"]),
                egress=data["egress"],
                server_port=_port(data.get("server_port", cls.server_port)),
                others=tuple(map(_network, data.get("others", ()))),
            )
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"not a network policy: {error}") from error
        if policy.egress not in EGRESS:
            raise ValueError("not a network policy: `egress` is unknown")
        return policy


def _address(value: object) -> str:
    return str(IPv4Address(value)) if isinstance(value, str) else _fail("an address is not text")


def _network(value: object) -> str:
    if not isinstance(value, str):
        _fail("an address is not text")
    IPv4Network(value)
    _, slash, length = value.partition("/")
    if slash and not length.isdigit():
        _fail("a network has no prefix length")
    return value


def _port(value: object) -> int:
    if type(value) is not int or not 1 <= value <= 65535:
        _fail("a port is not a number from 1 to 65535")
    return value


def _fail(reason: str) -> NoReturn:
    raise ValueError(reason)
