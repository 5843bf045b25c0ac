"""From events to JupyterHub's event log: whose course, what address may be kept, and floods told once a minute."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from coursewarehub.wire.audit import SCHEMAS, Event, role_changed

WINDOW: Final = 60.0
"""Seconds in which the same failure is told once."""

MOST_DIFFERENT: Final = 60
"""Different failures in one window that are told apart; all further ones are told together."""

Addresses = Literal["whole", "network", "none"]


@dataclass(frozen=True)
class AuditSettings:
    """What a hub is told of its audit: `url` of its database, how much to keep, and where lines go besides.

    `lines` is empty, `log`, or a file.
    """

    course: str
    state: str
    url: str = field(repr=False)
    keep_days: int
    most_events: int
    addresses: Addresses
    lines: str = ""


def register_schemas(eventlog: Any) -> None:
    """Make our schemas known to a `jupyter_events.EventLogger`."""
    for file in sorted(SCHEMAS.glob("*/v1.yaml")):
        eventlog.register_event_schema(file)


def shortened(address: str, addresses: Addresses) -> str:
    """What may be kept of an address: all, its network (24 bits of IPv4, 48 of IPv6), or nothing.

    Nothing of what is no address.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    if addresses == "none":
        return ""
    if addresses == "whole":
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 24 if parsed.version == 4 else 48), strict=False))


_Key = tuple[str, tuple[tuple[str, str | int], ...]]


def _key(event: Event) -> _Key:
    return event.schema, tuple(sorted(event.data.items()))


@dataclass
class _Window:
    """A failure that was told at `since`, and how often it has happened again."""

    event: Event
    since: float
    more: int = 0


class Recorder:
    """Takes events from the whole hub, in the thread of its event loop; `emit` is jupyter_events' method.

    `role_of` returns the role that somebody has in the hub so far, None for those who are new. Never raises: what
    cannot be told is an error in the log, without its values.
    """

    def __init__(
        self,
        emit: Callable[..., Any],
        course: str,
        log: Any,
        *,
        addresses: Addresses = "network",
        role_of: Callable[[str], str | None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._emit = emit
        self._course = course
        self._log = log
        self._addresses = addresses
        self._role_of = role_of
        self._clock = clock
        self._windows: dict[_Key, _Window] = {}

    def __call__(self, event: Event) -> None:
        """Tell one event now, or together with others of its minute."""
        event = self._without_address(event)
        if event.is_failure:
            self._failure(event)
            return
        if event.action == "succeeded":
            self._change_of_role(event)
        self._tell(event)

    def flush(self, everything: bool = False) -> None:
        """Tell how often failures were repeated whose minute is over, or all of them."""
        now = self._clock()
        for key, window in list(self._windows.items()):
            if everything or now - window.since >= WINDOW:
                del self._windows[key]
                self._tell_again(window)

    def _failure(self, event: Event) -> None:
        now = self._clock()
        if _key(event) not in self._windows and len(self._windows) >= MOST_DIFFERENT:
            event = replace(event, data={"action": event.action, "method": event.data["method"]})
        key = _key(event)
        window = self._windows.get(key)
        if window is not None and now - window.since < WINDOW:
            window.more += 1
            return
        if window is not None:
            self._tell_again(window)
        self._windows[key] = _Window(event, now)
        self._tell(event)

    def _tell_again(self, window: _Window) -> None:
        if window.more:
            self._tell(replace(window.event, data={**window.event.data, "count": window.more}))

    def _change_of_role(self, event: Event) -> None:
        person, role = str(event.data.get("person", "")), str(event.data.get("role", ""))
        was = self._role_of(person)
        if was is not None and was != role:
            self._tell(role_changed(person, was=was, role=role, reason=str(event.data.get("reason", ""))))

    def _without_address(self, event: Event) -> Event:
        if "address" not in event.data:
            return event
        data = {key: value for key, value in event.data.items() if key != "address"}
        kept = shortened(str(event.data["address"]), self._addresses)
        return replace(event, data={**data, "address": kept} if kept else data)

    def _tell(self, event: Event) -> None:
        try:
            self._emit(schema_id=event.schema_id, data={"course": self._course, **event.data})
        except Exception as error:  # noqa: BLE001 - a login must not fail because it cannot be told
            self._log.error(
                "An event (%s %s) is missing from the audit: %s", event.schema, event.action, type(error).__name__
            )
