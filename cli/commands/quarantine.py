"""`imaging-pipeline quarantine`: what was not released and why, and the ways back into work."""

import argparse
import sys
from collections.abc import Iterable

from cli import console
from cli.operations import quarantine
from cli.stage import Stage
from runtime.aws.clients import client
from runtime.contract.ledger import LedgerStatus
from runtime.contract.objects import Release
from runtime.deidentification.profile import profile_names
from runtime.ledger.rows import Row

_KEYS = {"bucket", "key", "version_id", "etag", "execution"}
"""What of a row names the raw object; the execution's ARN leads to it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="objects in quarantine, and how many for each reason")
    console.add_common_arguments(listing)
    _add_filters(listing)
    listing.add_argument("--keys", action="store_true", help="tell the objects' keys too, which may identify patients")

    showing = actions.add_parser("show", help="one object, with every finding")
    console.add_common_arguments(showing)
    showing.add_argument("--keys", action="store_true", help="tell the object's key too, which may identify a patient")
    showing.add_argument("object_id", type=console.object_id, metavar="OBJECT_ID")

    retrying = actions.add_parser("retry", help="start the next attempt, after a fix or with another profile")
    console.add_common_arguments(retrying)
    _add_filters(retrying)
    retrying.add_argument(
        "--deidentification-profile",
        dest="profile",
        choices=profile_names(),
        help="instead of the last attempt's; --profile is the AWS one",
    )
    retrying.add_argument("object_ids", nargs="*", type=console.object_id, metavar="OBJECT_ID")

    releasing = actions.add_parser("release", help="start an attempt that heeds a person's written decision")
    console.add_common_arguments(releasing)
    releasing.add_argument("--by", required=True, help="name of the person who looked at the object and decides")
    releasing.add_argument("--reason", required=True, help="why the object may leave, in a sentence; it is kept")
    releasing.add_argument("object_ids", nargs="+", type=console.object_id, metavar="OBJECT_ID")


@console.tells_trouble
def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for and return the exit status."""
    actions = {"list": _list, "show": _show, "retry": _retry, "release": _release}
    return actions[arguments.action](arguments, Stage(arguments.stage))


def _list(arguments: argparse.Namespace, stage: Stage) -> int:
    rows = list(_filtered(arguments, stage))
    if arguments.json:
        console.print_json(_document(row, keys=arguments.keys) for row in rows)
        return 0
    key_column = ("KEY",) if arguments.keys else ()
    console.print_table(
        ("OBJECT", "SINCE", "ATTEMPT", "REASONS", *key_column),
        (
            (row.object_id, row.updated_at, row.attempt, row.reason_codes, *((row.key,) if arguments.keys else ()))
            for row in rows
        ),
    )
    sys.stdout.write("\n")
    console.print_table(("REASON", "OBJECTS"), quarantine.count_reasons(rows).most_common())
    return 0


def _show(arguments: argparse.Namespace, stage: Stage) -> int:
    row = quarantine.find_row(stage.ledger, arguments.object_id)
    findings = quarantine.findings(client("stepfunctions"), row)
    document = _document(row, keys=arguments.keys)
    if arguments.json:
        listed = [finding.model_dump(mode="json") for finding in findings]
        console.print_json([document | {"findings": listed}])
        return 0
    for name, value in document.items():
        if name != "releases" and value is not None:
            sys.stdout.write(f"{name:18}{value if str(value).isprintable() else repr(value)}\n")
    for release in row.releases:
        sys.stdout.write(f"{'released':18}{release.at} by {release.by!r}: {release.reason!r}\n")
    sys.stdout.write("\n")
    console.print_table(
        ("FINDING", "SEVERITY", "ATTRIBUTE", "OFFSET", "MESSAGE"),
        ((each.code, each.severity, each.attribute, each.offset, each.message) for each in findings),
    )
    return 0


def _retry(arguments: argparse.Namespace, stage: Stage) -> int:
    if bool(arguments.object_ids) == bool(arguments.since or arguments.reason):
        console.complain(arguments, "say which: object ids, or --since or --reason.")
        return 2
    ledger, executions = stage.ledger, stage.executions
    return console.start_each(
        arguments,
        arguments.object_ids or [row.object_id for row in _filtered(arguments, stage)],
        lambda object_id: quarantine.retry(
            ledger,
            executions,
            quarantine.find_row(ledger, object_id, LedgerStatus.QUARANTINED, LedgerStatus.RECEIVED),
            profile=arguments.profile,
        ),
    )


def _release(arguments: argparse.Namespace, stage: Stage) -> int:
    try:
        decision = Release(by=arguments.by.strip(), reason=arguments.reason.strip())
    except ValueError:
        console.complain(arguments, "give a name of 3 to 200 characters, and a reason of 10 to 1000.")
        return 2
    ledger, executions, audit = stage.ledger, stage.executions, stage.audit
    return console.start_each(
        arguments,
        arguments.object_ids,
        lambda object_id: quarantine.release(
            ledger,
            executions,
            audit,
            quarantine.find_row(ledger, object_id, LedgerStatus.QUARANTINED),
            decision,
            principal=stage.principal,
        ),
    )


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", type=console.moment, help="of the verdict, in UTC, as 2026-11-23")
    parser.add_argument("--reason", metavar="CODE", help="only objects with this reason code")


def _filtered(arguments: argparse.Namespace, stage: Stage) -> Iterable[Row]:
    return quarantine.list_rows(
        stage.ledger, LedgerStatus.QUARANTINED, since=arguments.since or "", reason_code=arguments.reason
    )


def _document(row: Row, *, keys: bool) -> dict[str, object]:
    return row.model_dump(mode="json", exclude=set() if keys else _KEYS)
