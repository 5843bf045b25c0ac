"""The command `coursewarehub`: one module per noun.

Runs in: CLI. A noun's module has `register(subparsers)`, which sets `run`, a function that takes the
parsed arguments (`args.site` is the site folder) and returns the exit code. Modules import what is
heavy inside their functions, and only the module of the noun in use is imported.

Exit codes: 0 done; 1 it could not be done (one sentence says why); 2 the configuration or the command
line is wrong (one sentence for each problem).
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

from coursewarehub import __version__
from coursewarehub.cli.errors import CommandError

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


@dataclass(frozen=True)
class Noun:
    """A first word of the command line; its module is `coursewarehub.cli.<name>`."""

    name: str
    help: str


NOUNS = (
    Noun("init", "make a new site folder"),
    Noun("up", "run the site"),
    Noun("check", "check the configuration"),
    Noun("status", "show what runs"),
    Noun("course", "list, create, show, open, close or archive courses"),
    Noun("lti", "register, list and test learning platforms"),
    Noun("deploy", "make a swarm run the site"),
    Noun("node", "list, drain or resume the nodes of the swarm"),
    Noun("plan", "compute what so many students need"),
    Noun("image", "build, verify, push or pre-pull the images"),
    Noun("schema", "print the JSON Schema, reference or example of the files"),
    Noun("doctor", "find out why something does not work"),
)

_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; never raises for what a user can cause."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        args = build_parser(arguments).parse_args(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    return _run(args)


def build_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser; only the noun that `arguments` name gets its full one."""
    parser = argparse.ArgumentParser(prog="coursewarehub", description="JupyterHub for teaching: one hub per course.")
    parser.add_argument("--version", action="version", version=f"coursewarehub {__version__}")
    _add_site(parser, Path())
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for noun in NOUNS:
        if noun.name in arguments:
            import_module(f"{__name__}.{noun.name}").register(subparsers)
        else:
            subparsers.add_parser(noun.name, help=noun.help)
    _add_site_below(parser)
    return parser


def _add_site(parser: argparse.ArgumentParser, default: Path | str) -> None:
    parser.add_argument(
        "--site",
        type=Path,
        default=default,
        metavar="DIR",
        help="the site folder (default: the current folder)",
    )


def _add_site_below(parser: argparse.ArgumentParser) -> None:
    """Accept `--site` after the noun and after its verb as well."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                _add_site(inner, argparse.SUPPRESS)
                _add_site_below(inner)


def _run(args: argparse.Namespace) -> int:
    from coursewarehub.model.problems import ConfigurationError

    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    except CommandError as error:
        print(f"coursewarehub: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"coursewarehub: {_sentence(error)}", file=sys.stderr)
        return 1
    return code


def _sentence(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}." if error.filename is not None else f"{reason}."
