"""The directive `cli-help`: the help text of a command, from the parser of the command line itself.

    ```{cli-help} course create
    ```

Without an argument it shows the help of `coursewarehub` alone.
"""

from __future__ import annotations

import argparse
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from coursewarehub.cli import build_parser

WIDTH = 88


def parser_of(words: list[str]) -> argparse.ArgumentParser:
    """The parser of a command such as `["course", "create"]`. Raises KeyError when there is none."""
    parser = build_parser(words)
    for word in words:
        choices: dict[str, argparse.ArgumentParser] = {}
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                choices |= action.choices
        parser = choices[word]
    return parser


def help_of(words: list[str]) -> str:
    """What `coursewarehub <words> --help` prints in a terminal of `WIDTH` columns."""
    parser = parser_of(words)
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=WIDTH)
    return parser.format_help().rstrip()


class CliHelp(Directive):
    """Shows a command's help as literal text."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """One literal block; an error of the build when there is no such command."""
        words = self.arguments[0].split() if self.arguments else []
        try:
            text = help_of(words)
        except KeyError as error:
            raise self.error(f"there is no command {error} in the command line") from None
        return [nodes.literal_block(text, text, language="text")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("cli-help", CliHelp)
    return {"parallel_read_safe": True}
