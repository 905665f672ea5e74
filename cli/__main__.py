"""The pipeline's tools on the command line: `python -m runtime COMMAND`.

Exit status: 0 when everything asked for was done, 1 when some of it was not, 2 when it was asked for wrongly.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from cli.commands import COMMANDS
from runtime.observability.redaction import describe, silence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit status; only the module of that sub-command is imported."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m runtime")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name in argv[:1]:
            command = importlib.import_module(f"cli.commands.{name.replace('-', '_')}")
            command.add_arguments(subparser)
    arguments = parser.parse_args(argv)
    try:
        with silence():
            status: int = command.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` for one, has seen enough; Python would complain again when it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - a traceback would tell the error's text, which may quote a key
        sys.stderr.write(f"{arguments.command}: failed unexpectedly: {describe(error)}\n")
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
