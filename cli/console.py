"""What the commands for operators share: the stage's argument, how rows are printed, and how trouble is told."""

import argparse
import functools
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel

from cli.stage import OperationError
from runtime.aws.retries import is_transient
from runtime.observability.redaction import error_code

Command = Callable[[argparse.Namespace], int]
TROUBLE: Final = (OperationError, ClientError, BotoCoreError)
"""What may keep a command from its work."""


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stage, and the choice between a table for people and JSON Lines for machines."""
    parser.add_argument("--stage", required=True, help="name of the stage, as dev or prod")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line instead of a table")


def object_id(text: str) -> str:
    """Parse an object's id."""
    if re.fullmatch(r"[0-9a-f]{32}", text) is None:
        raise argparse.ArgumentTypeError("an object's id has 32 hexadecimal digits")
    return text


def moment(text: str) -> str:
    """Parse a time in UTC, or its beginning: it is compared with the ledger's times as text."""
    if re.fullmatch(r"\d{4}-\d\d(-\d\d(T\d\d(:\d\d(:\d\d(\.\d{1,3})?)?)?Z?)?)?", text, re.ASCII) is None:
        raise argparse.ArgumentTypeError("say it in UTC as 2026-11-23 or 2026-11-23T14:30")
    return text.removesuffix("Z")


def tells_trouble(command: Command) -> Command:
    """Make a command say in a sentence what kept it from its work, and return 1, instead of raising.

    What AWS answers may quote keys, so its error code is told and not its text.
    """

    @functools.wraps(command)
    def run(arguments: argparse.Namespace) -> int:
        try:
            return command(arguments)
        except TROUBLE as error:
            complain(arguments, sentence(error))
            return 1

    return run


def sentence(error: Exception) -> str:
    """Return what there is to say of one of `TROUBLE`."""
    if isinstance(error, ClientError):
        return f"AWS refused {error.operation_name}: {error_code(error)}."
    if isinstance(error, BotoCoreError):
        return f"AWS can't be asked: {type(error).__name__}. Check credentials, region and network."
    return str(error)


def start_each(arguments: argparse.Namespace, object_ids: Sequence[str], start: Callable[[str], bool]) -> int:
    """Start an attempt at each object, print the outcomes, and return the exit status.

    What is refused for one object keeps no other back. After trouble that all would meet, the rest is not tried.
    """
    outcomes: dict[str, str] = dict.fromkeys(object_ids, "not tried")
    started = 0
    for object_id in outcomes:
        try:
            outcomes[object_id] = "started" if start(object_id) else "already started"
            started += 1
        except TROUBLE as error:
            outcomes[object_id] = sentence(error).removeprefix(f"{object_id}: ")
            if _all_would_meet(error):
                break
    if arguments.json:
        print_json({"object_id": object_id, "outcome": outcome} for object_id, outcome in outcomes.items())
    else:
        print_table(("OBJECT", "OUTCOME"), outcomes.items())
    undone = len(outcomes) - started
    complain(arguments, f"{started} started, {undone} not")
    return 1 if undone else 0


def _all_would_meet(error: Exception) -> bool:
    """Tell whether AWS is away or throttles, or does not know the caller or what he may do."""
    denied = isinstance(error, ClientError) and error_code(error).startswith(("AccessDenied", "ExpiredToken"))
    return denied or isinstance(error, BotoCoreError) or is_transient(error)


def complain(arguments: argparse.Namespace, sentence: str) -> None:
    """Say on standard error what went wrong, or how much was done."""
    sys.stderr.write(f"{arguments.command}: {sentence}\n")


def print_json(models: Iterable[BaseModel | dict[str, object]]) -> None:
    """Print one JSON object a line."""
    for model in models:
        document = model.model_dump(mode="json") if isinstance(model, BaseModel) else model
        sys.stdout.write(f"{json.dumps(document)}\n")


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print columns as wide as their widest cell. What would control the terminal is escaped."""
    cells = [list(header), *([_printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        sys.stdout.write("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


def _printable(cell: object) -> str:
    text = "-" if cell is None else str(cell)
    return text if text.isprintable() else repr(text)
