"""The grammar of the command line, and a parser that says what may have been meant."""

from __future__ import annotations

import argparse
import difflib
import importlib
import itertools
from collections.abc import Collection, Iterable, Sequence
from types import ModuleType
from typing import Any

from cli import PROGRAM, VERSION
from cli.commands import COMMANDS

_LISTED = 8
"""Values that a message lists; of more it proposes one."""


def command_line(complete: Collection[str]) -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Parameters
    ----------
    complete
        Commands of which it knows the arguments, and not the name alone.
    """
    parser = Parser(prog=PROGRAM, description="De-identify DICOM files, and operate a stage of the pipeline on AWS.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {VERSION}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name in complete:
            command_module(name).add_arguments(subparser)
    return parser


def command_module(command: str) -> ModuleType:
    """Import the module of a command."""
    return importlib.import_module(f"cli.commands.{command.replace('-', '_')}")


class Parser(argparse.ArgumentParser):
    """Parser that takes no abbreviations, and proposes what is closest to what it does not know."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - those of its base, whatever the version
        super().__init__(**settings, allow_abbrev=False)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, and refuse what is left: by the parser of the sub-command, which knows its options."""
        if self._subparsers is None:
            self._refuse_unknown_options(itertools.takewhile(lambda text: text != "--", args or ()))
        arguments, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"{unknown[0]!r} is one argument too many")
        return arguments, unknown

    def _refuse_unknown_options(self, args: Iterable[str]) -> None:
        """Refuse before anything that is missing is missed: what is misspelt is both."""
        options = [name for action in self._actions for name in action.option_strings]
        for option in (text.partition("=")[0] for text in args if text.startswith("--")):
            if option not in options:
                self.error(f"there is no option {option}{proposal(option, options)}")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if value == []:  # of arguments that may be left out, and were
            return
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, unknown(str(value), action.choices))


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """Declare the choice between text for people and JSON Lines for machines."""
    parser.add_argument("--json", action="store_true", help="print one JSON object a line, with every value in full")


def unknown(text: str, known: Iterable[object]) -> str:
    """Return the sentence that refuses a value, with the one that is closest, or with all where they are few."""
    names = [str(name) for name in known]
    closest = proposal(text, names)
    if not closest and len(names) <= _LISTED:
        closest = f"; it is one of {', '.join(names)}"
    return f"{text!r} is not known{closest}"


def proposal(text: str, known: Sequence[str]) -> str:
    """Return the end of a sentence that proposes the closest, or nothing if none is close."""
    by_upper = {name.upper(): name for name in known}
    closest = difflib.get_close_matches(text.upper(), by_upper, n=1)
    return f"; did you mean {by_upper[closest[0]]}?" if closest else ""
