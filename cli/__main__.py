"""The pipeline's tools on the command line: `imaging-pipeline COMMAND`.

Exit status: 0 when everything asked for was done, 1 when some of it was not, 2 when it was asked for wrongly.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from cli import PROGRAM, VERSION
from cli.parser import command_line, command_module
from runtime.observability.redaction import suppress_diagnostics

_CODE = Path(__file__).parents[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit status; only the module of that sub-command is imported."""
    argv = sys.argv[1:] if argv is None else argv
    parser = command_line(argv[:1])
    if not argv:
        parser.exit(2, parser.format_help())
    arguments = parser.parse_args(argv)
    try:
        with suppress_diagnostics():
            status: int = command_module(arguments.command).run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` for one, has seen enough; Python would complain again when it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - a traceback would tell the error's text, which may quote a key
        sys.stderr.write(
            f"{arguments.command}: stopped by a defect of {PROGRAM} {VERSION} at {_place(error)}: report this line.\n"
        )
        return 1
    return status


def _place(error: BaseException) -> str:
    """Return the line of our code that raised an error."""
    frames = traceback.extract_tb(error.__traceback__)
    folders = [_CODE / package for package in ("cli", "runtime")]
    ours = [frame for frame in frames if any(Path(frame.filename).is_relative_to(folder) for folder in folders)]
    return f"{Path(ours[-1].filename).relative_to(_CODE)}:{ours[-1].lineno}"


if __name__ == "__main__":
    sys.exit(main())
