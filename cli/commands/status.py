"""`imaging-pipeline status`: how a stage is doing, and which objects came to an end or are in work."""

import argparse
import sys
from datetime import UTC, datetime, timedelta

from cli import console
from cli.operations import quarantine, status
from cli.operations.status import Status
from cli.stage import Stage
from cli.tables import OneLine
from cli.words import minute
from runtime.contract.ledger import LedgerStatus


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    console.add_common_arguments(parser)
    parser.add_argument("--since", type=console.moment, help="of verdicts, in UTC, as 2026-11-23; default: a day ago")
    parser.add_argument("--keys", action="store_true", help="with VERDICT: the keys too, which may identify patients")
    parser.add_argument(
        "verdict",
        nargs="?",
        metavar="VERDICT",
        choices=[each.value for each in LedgerStatus],
        help=f"list the objects with it: {', '.join(LedgerStatus)}",
    )


@console.tells_trouble
def run(arguments: argparse.Namespace) -> int:
    """Print the counts, or the objects with a verdict."""
    stage, since = Stage(arguments.stage), arguments.since or status.yesterday()
    if arguments.verdict:
        return _list(arguments, stage, since)
    found = status.look(stage, since)
    if arguments.json:
        console.print_json([found])
    else:
        _print(found)
    return 0


def _list(arguments: argparse.Namespace, stage: Stage, since: str) -> int:
    wanted = LedgerStatus(arguments.verdict)
    since = "" if wanted in (LedgerStatus.RECEIVED, LedgerStatus.RUNNING) and not arguments.since else since
    rows = list(stage.ledger.with_status(wanted, since=since))
    if arguments.json:
        console.print_json(row.model_dump(mode="json", exclude=quarantine.hidden(keys=arguments.keys)) for row in rows)
        return 0
    header, key = ("OBJECT", "SINCE", "ATTEMPT", "WHY"), ("KEY",) if arguments.keys else ()
    told = (
        (
            row.object_id,
            minute(row.updated_at),
            row.attempt,
            " ".join(row.reasons) or row.duplicate_of,
            *((OneLine(row.key),) if arguments.keys else ()),
        )
        for row in rows
    )
    console.print_table((*header, *key), told)
    return 0


def _print(found: Status) -> None:
    console.print_table(
        ("VERDICT", f"OBJECTS SINCE {minute(found.since)}"), [(name, count) for name, count in found.verdicts.items()]
    )
    sys.stdout.write("\n")
    seconds = found.oldest_queued_seconds
    waiting: list[tuple[str, int, str | None]] = [
        ("in the intake queue", found.queued, None if seconds is None else f"{timedelta(seconds=seconds)}"),
        ("in work", found.in_work, _age(found.oldest_in_work)),
    ]
    waiting += [(f"dead letters: {each.edge}", each.visible + each.hidden, None) for each in found.dead_letters]
    console.print_table(("WAITING", "OBJECTS", "OLDEST FOR"), waiting)
    sys.stdout.write("\n")
    if found.alarms:
        alarms = [(alarm.name, minute(alarm.since), alarm.meaning) for alarm in found.alarms]
        console.print_table(("ALARM", "SINCE", "MEANING"), alarms)
    else:
        sys.stdout.write("No alarm rings.\n")


def _age(opened_at: str | None) -> str | None:
    if opened_at is None:
        return None
    age = datetime.now(UTC) - datetime.fromisoformat(opened_at)
    return str(timedelta(seconds=max(int(age.total_seconds()), 0)))
