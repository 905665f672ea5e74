"""`imaging-pipeline redrive`: the next attempt at objects whose execution failed.

Step Functions' own redrive would begin at the state that failed the execution on purpose, and change nothing.
"""

import argparse

from cli import console
from cli.operations import objects, quarantine
from cli.stage import Stage
from cli.words import minute
from runtime.contract.ledger import LedgerStatus
from runtime.ledger.rows import Row


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    console.add_common_arguments(parser)
    parser.add_argument("--since", type=console.moment, help="of the failure, in UTC, as 2026-11-23")
    parser.add_argument("--error", help="only objects that failed with this error, as Lambda.Unknown")
    parser.add_argument("--dry-run", action="store_true", help="list them, and start nothing")
    parser.add_argument("objects", nargs="*", metavar="OBJECT", help="its id or key; default: all")


@console.tells_trouble
def run(arguments: argparse.Namespace) -> int:
    """Start what was asked for and return the exit status."""
    stage = Stage(arguments.stage)
    if arguments.dry_run:
        _list(arguments, stage)
        return 0
    ledger, executions = stage.ledger, stage.executions
    return console.start_each(
        arguments,
        objects.identify(stage, arguments.objects) or [row.object_id for row in _failed(arguments, stage)],
        lambda object_id: quarantine.retry(ledger, executions, _find(stage, object_id)),
    )


def _find(stage: Stage, object_id: str) -> Row:
    """Return the row of an object that failed, or of which an attempt was opened and not started."""
    return quarantine.find_row(stage.ledger, object_id, LedgerStatus.FAILED, LedgerStatus.RECEIVED)


def _list(arguments: argparse.Namespace, stage: Stage) -> None:
    if arguments.objects:
        rows = [_find(stage, object_id) for object_id in objects.identify(stage, arguments.objects)]
    else:
        rows = _failed(arguments, stage)
    if arguments.json:
        columns = {"object_id", "updated_at", "attempt", "error"}
        console.print_json(row.model_dump(mode="json", include=columns) for row in rows)
    else:
        table = ((row.object_id, minute(row.updated_at), row.attempt, row.error) for row in rows)
        console.print_table(("OBJECT", "SINCE", "ATTEMPT", "ERROR"), table)


def _failed(arguments: argparse.Namespace, stage: Stage) -> list[Row]:
    since = arguments.since or ""
    return list(quarantine.list_rows(stage.ledger, LedgerStatus.FAILED, since=since, reason_code=arguments.error))
