"""`imaging-pipeline completion`: what a shell needs to complete commands, options and their values.

The script holds all there is to complete, so that no Python starts when somebody presses Tab.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from cli import PROGRAM
from cli.commands import COMMANDS
from cli.parser import command_line
from cli.profiles import METAVAR
from runtime.deidentification.profile import profile_names

SHELLS = ("bash", "zsh")
_PROPOSED: Final[Mapping[object, Sequence[str]]] = {METAVAR: profile_names()}
"""Values of arguments that take others as well, by their names in the help."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "shell",
        choices=SHELLS,
        help=f'of which shell; add `eval "$({PROGRAM} completion bash)"` to ~/.bashrc, or the same for zsh to ~/.zshrc',
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    levels = list(_levels(_Level("", command_line(COMMANDS))))
    cases = "\n".join(f"    {pattern}) {assignments} ;;" for pattern, assignments in _cases(levels))
    script = _SCRIPT.replace("KNOWN", "".join(f"|{level.command}" for level in levels)).replace("CASES", cases)
    zsh = "autoload -U +X bashcompinit && bashcompinit\n" if arguments.shell == "zsh" else ""
    sys.stdout.write(zsh + script.replace("PROGRAM", PROGRAM))
    return 0


class _Level(NamedTuple):
    """A parser of the command line, under the commands that lead to it."""

    command: str
    parser: argparse.ArgumentParser


def _cases(levels: Sequence[_Level]) -> Iterator[tuple[str, str]]:
    """Yield what may follow, by the commands and the option before it, as assignments of the script."""
    for command, parser in levels:
        names: list[str] = []
        options: list[str] = []
        flags = [""]
        for action in parser._actions:
            long = [option for option in action.option_strings if option.startswith("--")]
            options += long
            if not long:
                names += _values(action)
            elif action.nargs == 0:
                flags += long
            elif values := _values(action):
                yield _pattern(command, long), f"words='{' '.join(values)}'"
        yield _pattern(command, flags), f"words='{' '.join(names)}' options='{' '.join(options)}'"


def _pattern(command: str, options: Sequence[str]) -> str:
    return "|".join(f"'{command}:{option}'" for option in options)


def _levels(level: _Level) -> Iterator[_Level]:
    yield level
    for action in level.parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, parser in action.choices.items():
                yield from _levels(_Level(f"{level.command} {name}".strip(), parser))


def _values(action: argparse.Action) -> list[str]:
    return [str(choice) for choice in action.choices or _PROPOSED.get(action.metavar, ())]


_SCRIPT = """\
_imaging_pipeline() {
  local word words= options= command= option= known="KNOWN|"
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in
      -*) option=$word ;;
      *)
        if [[ -z $option && $known == *"|${command:+$command }$word|"* ]]; then
          command="${command:+$command }$word"
        fi
        option=
        ;;
    esac
  done
  case "$command:$option" in
CASES
  esac
  [[ $2 == -* ]] && words=$options
  COMPREPLY=($(compgen -W "$words" -- "$2"))
}
complete -o default -F _imaging_pipeline PROGRAM
"""
