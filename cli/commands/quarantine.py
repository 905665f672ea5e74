"""`imaging-pipeline quarantine`: what was not released and why, and the ways back into work."""

import argparse
import sys

from cli import console
from cli.operations import objects, quarantine
from cli.stage import OperationError, Stage
from cli.tables import OneLine, text_table
from cli.words import in_words, minute
from runtime.aws.clients import client
from runtime.contract.ledger import LedgerStatus
from runtime.contract.objects import Decision, Release
from runtime.deidentification.profile import profile_names
from runtime.ledger.rows import RecordedDismissal, RecordedRelease, Row


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="objects in quarantine, and how many for each reason")
    console.add_common_arguments(listing)
    _add_filters(listing)
    listing.add_argument("--all", action="store_true", help="those too that were dismissed, or have a newer version")
    listing.add_argument("--keys", action="store_true", help="tell the objects' keys too, which may identify patients")

    showing = actions.add_parser("show", help="one object, with every finding")
    console.add_common_arguments(showing)
    showing.add_argument("--keys", action="store_true", help="tell the object's key too, which may identify a patient")
    showing.add_argument("object", metavar="OBJECT", help="its id or key")

    retrying = actions.add_parser("retry", help="start the next attempt, after a fix or with another profile")
    console.add_common_arguments(retrying)
    _add_filters(retrying)
    retrying.add_argument(
        "--deidentification-profile",
        dest="profile",
        choices=profile_names(),
        help="instead of the last attempt's; --profile is the AWS one",
    )
    retrying.add_argument("objects", nargs="*", metavar="OBJECT", help="its id or key")

    releasing = actions.add_parser("release", help="start an attempt that heeds a person's written decision")
    console.add_common_arguments(releasing)
    _add_decision(releasing, "why the object may leave, in a sentence; it is kept")

    dismissing = actions.add_parser("dismiss", help="take from the list what needs nothing more, by a written decision")
    console.add_common_arguments(dismissing)
    _add_decision(dismissing, "why nothing more is to be done, in a sentence; it is kept")


@console.tells_trouble
def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for and return the exit status."""
    actions = {"list": _list, "show": _show, "retry": _retry, "release": _release, "dismiss": _dismiss}
    return actions[arguments.action](arguments, Stage(arguments.stage))


def _list(arguments: argparse.Namespace, stage: Stage) -> int:
    rows = _rows(arguments, stage)
    superseded = objects.superseding(client("s3"), rows)
    if not arguments.all:
        rows = [row for row in rows if not row.is_dismissed and row.object_id not in superseded]
    if arguments.json:
        for row in rows:
            document = row.model_dump(mode="json", exclude=quarantine.hidden(keys=arguments.keys))
            console.print_json([document | {"superseded_by": superseded.get(row.object_id)}])
        return 0
    header = [
        *("OBJECT", "SINCE", "ATTEMPT", "REASONS"),
        *(("STATE",) if arguments.all else ()),
        *(("KEY",) if arguments.keys else ()),
    ]
    told = (
        [
            *(row.object_id, minute(row.updated_at), row.attempt, row.reason_codes),
            *((_state(row, superseded),) if arguments.all else ()),
            *((OneLine(row.key),) if arguments.keys else ()),
        ]
        for row in rows
    )
    console.print_table(header, told)
    sys.stdout.write("\n")
    counts = quarantine.count_reasons(rows).most_common()
    console.print_table(("OBJECTS", "REASON"), [(count, *in_words([code])) for code, count in counts])
    return 0


def _state(row: Row, superseded: dict[str, str]) -> str | None:
    if row.is_dismissed and row.dismissal:
        return f"dismissed by {row.dismissal.by}"
    return "superseded" if row.object_id in superseded else None


def _show(arguments: argparse.Namespace, stage: Stage) -> int:
    (object_id,) = objects.identify(stage, [arguments.object])
    row = quarantine.find_row(stage.ledger, object_id)
    findings = quarantine.findings(client("stepfunctions"), row)
    document = row.model_dump(mode="json", exclude=quarantine.hidden(keys=arguments.keys))
    if arguments.json:
        listed = [finding.model_dump(mode="json") for finding in findings]
        console.print_json([document | {"findings": listed}])
        return 0
    facts = [
        (name, value) for name, value in document.items() if name not in ("releases", "dismissal") and value is not None
    ]
    decisions = [("released", _told(each)) for each in row.releases]
    if row.is_dismissed and row.dismissal:
        decisions.append(("dismissed", _told(row.dismissal)))
    sys.stdout.write(f"{text_table([*facts, *decisions])}\n")
    console.print_table(
        ("FINDING", "SEVERITY", "ATTRIBUTE", "OFFSET", "MESSAGE"),
        ((each.code, each.severity, each.attribute, each.offset, each.message) for each in findings),
    )
    return 0


def _told(decision: RecordedRelease | RecordedDismissal) -> str:
    return f"{decision.at} by {decision.by!r}: {decision.reason!r}"


def _retry(arguments: argparse.Namespace, stage: Stage) -> int:
    if bool(arguments.objects) == bool(arguments.since or arguments.reason):
        console.complain(arguments, "say which: objects, or --since or --reason.")
        return 2
    ledger, executions = stage.ledger, stage.executions
    return console.start_each(
        arguments,
        objects.identify(stage, arguments.objects) or [row.object_id for row in _open_rows(arguments, stage)],
        lambda object_id: quarantine.retry(
            ledger,
            executions,
            quarantine.find_row(ledger, object_id, LedgerStatus.QUARANTINED, LedgerStatus.RECEIVED),
            profile=arguments.profile,
        ),
    )


def _release(arguments: argparse.Namespace, stage: Stage) -> int:
    decision = _decision(arguments)
    if decision is None:
        return 2
    ledger, executions, audit = stage.ledger, stage.executions, stage.audit
    return console.start_each(
        arguments,
        objects.identify(stage, arguments.objects),
        lambda object_id: quarantine.release(
            ledger,
            executions,
            audit,
            quarantine.find_row(ledger, object_id, LedgerStatus.QUARANTINED),
            Release(**decision.model_dump()),
            principal=stage.principal,
        ),
    )


def _dismiss(arguments: argparse.Namespace, stage: Stage) -> int:
    decision = _decision(arguments)
    if decision is None:
        return 2
    object_ids, dismissed = objects.identify(stage, arguments.objects), 0
    for object_id in object_ids:
        try:
            row = quarantine.find_row(stage.ledger, object_id, LedgerStatus.QUARANTINED)
            quarantine.dismiss(stage.ledger, stage.audit, row, decision, principal=stage.principal)
            dismissed += 1
        except OperationError as error:
            console.complain(arguments, str(error))
    undone = len(object_ids) - dismissed
    console.complain(arguments, f"{dismissed} dismissed, {undone} not")
    return 1 if undone else 0


def _decision(arguments: argparse.Namespace) -> Decision | None:
    try:
        return Decision(by=arguments.by.strip(), reason=arguments.reason.strip())
    except ValueError:
        console.complain(arguments, "give a name of 3 to 200 characters, and a reason of 10 to 1000.")
        return None


def _add_decision(parser: argparse.ArgumentParser, reason: str) -> None:
    parser.add_argument("--by", required=True, help="name of the person who looked at the object and decides")
    parser.add_argument("--reason", required=True, help=reason)
    parser.add_argument("objects", nargs="+", metavar="OBJECT", help="its id or key")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", type=console.moment, help="of the verdict, in UTC, as 2026-11-23")
    parser.add_argument("--reason", type=console.reason_code, metavar="CODE", help="only objects with this reason code")


def _rows(arguments: argparse.Namespace, stage: Stage) -> list[Row]:
    return list(
        quarantine.list_rows(
            stage.ledger, LedgerStatus.QUARANTINED, since=arguments.since or "", reason_code=arguments.reason
        )
    )


def _open_rows(arguments: argparse.Namespace, stage: Stage) -> list[Row]:
    """Return the rows that still need somebody: neither dismissed nor superseded by a newer version."""
    rows = _rows(arguments, stage)
    superseded = objects.superseding(client("s3"), rows)
    return [row for row in rows if not row.is_dismissed and row.object_id not in superseded]
