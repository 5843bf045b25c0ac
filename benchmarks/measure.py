"""The pure part of the benchmarks: statistics, the table, and what ``/proc`` files say.

Units are named by each function; nothing here reads a file, a clock or the network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median as _median

MIB = 1024 * 1024


def median(values: Sequence[float]) -> float:
    """The middle value (the mean of the two middle ones); `ValueError` when there is none."""
    if not values:
        raise ValueError("a median needs at least one value")
    return float(_median(values))


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 < share <= 1) of the values do not exceed."""
    if not values:
        raise ValueError("a quantile needs at least one value")
    if not 0 < share <= 1:
        raise ValueError("the share of a quantile is above 0 and at most 1")
    return float(sorted(values)[math.ceil(share * len(values)) - 1])


@dataclass(frozen=True)
class Aim:
    """At most `ratio` of stock's figure, at most `value` in the row's unit, or both."""

    ratio: float | None = None
    value: float | None = None

    def __str__(self) -> str:
        parts = [] if self.value is None else [f"≤ {self.value:g}"]
        parts += [] if self.ratio is None else [f"≤ {self.ratio:g}×"]
        return ", ".join(parts)


@dataclass(frozen=True)
class Row:
    """One metric on both stacks: the values of all runs, summed up by a quantile (0.5: median)."""

    metric: str
    unit: str
    stock: tuple[float, ...]
    ours: tuple[float, ...]
    aim: Aim | None = None
    share: float = 0.5
    note: str = ""

    def figure(self, values: Sequence[float]) -> float | None:
        """The one number for these runs, or None when nothing was measured."""
        if not values:
            return None
        return median(values) if self.share == 0.5 else quantile(values, self.share)

    @property
    def ratio(self) -> float | None:
        """Ours divided by stock's; None when one is missing or is noise (stock's <= 0, ours < 0)."""
        stock, ours = self.figure(self.stock), self.figure(self.ours)
        return None if stock is None or ours is None or stock <= 0 or ours < 0 else ours / stock

    @property
    def met(self) -> bool | None:
        """Whether the aim is reached; None without an aim or without our figure to judge."""
        ours = self.figure(self.ours)
        if self.aim is None or ours is None:
            return None
        if self.aim.ratio is not None and self.ratio is None:
            return None
        value_met = self.aim.value is None or ours <= self.aim.value
        ratio_met = self.aim.ratio is None or (self.ratio or 0.0) <= self.aim.ratio
        return value_met and ratio_met

    def as_json(self) -> dict[str, object]:
        """The row with every single value, for a machine to read."""
        return {
            "metric": self.metric,
            "unit": self.unit,
            "summary": "median" if self.share == 0.5 else f"p{self.share * 100:g}",
            "stock": {"figure": self.figure(self.stock), "values": list(self.stock)},
            "ours": {"figure": self.figure(self.ours), "values": list(self.ours)},
            "ratio": self.ratio,
            "aim": None if self.aim is None else {"ratio": self.aim.ratio, "value": self.aim.value},
            "met": self.met,
            "note": self.note,
        }


HEADINGS = ("metric", "unit", "stock", "ours", "ours/stock", "runs", "aim", "")


def table(rows: Sequence[Row]) -> str:
    """All rows as aligned plain text; figures carry the range of the runs in brackets."""
    cells = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    lines.insert(1, "  ".join("-" * width for width in widths if width))
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    verdict = {True: "met", False: "MISSED", None: ""}[row.met]
    return (
        row.metric,
        row.unit,
        _figure_with_range(row, row.stock),
        _figure_with_range(row, row.ours),
        "–" if row.ratio is None else f"{row.ratio:.3g}×",
        f"{len(row.stock)}/{len(row.ours)}",
        "" if row.aim is None else str(row.aim),
        verdict,
    )


def _figure_with_range(row: Row, values: Sequence[float]) -> str:
    figure = row.figure(values)
    if figure is None:
        return "–"
    shown = number(figure)
    if len(values) == 1:
        return shown
    return f"{shown} ({number(min(values))}–{number(max(values))})"


def number(value: float) -> str:
    """Three digits that matter, never in powers of ten."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def parse_pss(smaps_rollup: str, kind: str = "Pss") -> int:
    """Bytes of proportional set size, or another line, in ``/proc/PID/smaps_rollup`` (0: a dead process)."""
    for line in smaps_rollup.splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * 1024
    return 0


def parse_available(meminfo: str) -> int:
    """Bytes of ``MemAvailable`` in the text of ``/proc/meminfo``; `ValueError` without the line."""
    return _meminfo(meminfo, "MemAvailable")


def parse_total(meminfo: str) -> int:
    """Bytes of ``MemTotal`` in the text of ``/proc/meminfo``; `ValueError` without the line."""
    return _meminfo(meminfo, "MemTotal")


def _meminfo(meminfo: str, field: str) -> int:
    for line in meminfo.splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no {field} line")


def parse_busy(stat: str) -> tuple[int, int]:
    """Clock ticks of all cores since boot in ``/proc/stat``: busy ones, and all of them."""
    ticks = [int(field) for field in stat.splitlines()[0].split()[1:9]]
    resting = ticks[3] + ticks[4]  # idle, waiting for the disk
    return sum(ticks) - resting, sum(ticks)


def parse_usage(cpu_stat: str) -> float:
    """Processor seconds in the text of a control group's ``cpu.stat``; `ValueError` without the line."""
    for line in cpu_stat.splitlines():
        if line.startswith("usage_usec "):
            return int(line.split()[1]) / 1e6
    raise ValueError("no usage_usec line")


@dataclass(frozen=True)
class Stat:
    """The used part of ``/proc/PID/stat``; `cpu_ticks` includes children already reaped."""

    pid: int
    parent: int
    state: str
    cpu_ticks: int


def parse_stat(stat: str) -> Stat:
    """Read one ``/proc/PID/stat`` line; the program's name may hold spaces and brackets."""
    head, _, tail = stat.rpartition(")")
    fields = tail.split()
    return Stat(
        pid=int(head.split("(", 1)[0]),
        parent=int(fields[1]),
        state=fields[0],
        cpu_ticks=sum(int(field) for field in fields[11:15]),
    )


def descendants(parents: Mapping[int, int], root: int) -> set[int]:
    """All processes below `root` (itself not included), given the parent of each process."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = list(children.get(root, ()))
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return found
