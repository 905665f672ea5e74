"""`imaging-pipeline where`: what became of an object, by its key, its id, its file or its result."""

import argparse
import sys
from collections.abc import Iterator

from cli import console
from cli.operations import objects, quarantine
from cli.operations.objects import Version
from cli.stage import Stage
from cli.tables import OneLine, text_table
from cli.words import in_words, minute
from runtime.aws.clients import client
from runtime.contract.audit import AuditRecord
from runtime.contract.ledger import LedgerStatus

_LABEL = 10
"""Characters of a line's name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    console.add_common_arguments(parser)
    parser.add_argument("--keys", action="store_true", help="tell the object's key too, which may identify a patient")
    parser.add_argument(
        "what", metavar="OBJECT", help="key or S3 URI of an object or a result, an object's id, or a file here"
    )


@console.tells_trouble
def run(arguments: argparse.Namespace) -> int:
    """Print of each version its verdict, the reasons in words, its result and its attempts."""
    stage = Stage(arguments.stage)
    for number, version in enumerate(objects.find(stage, arguments.what)):
        attempts = sorted(stage.audit.of_subject(version.object_id), key=lambda record: record.at)
        why = list(_why(version))
        if arguments.json:
            console.print_json([_document(version, why, attempts, keys=arguments.keys)])
        else:
            sys.stdout.write("\n" if number else "")
            _print(version, why, attempts, keys=arguments.keys)
    return 0


def _why(version: Version) -> Iterator[str]:
    """Yield why the object is where it is, a sentence each."""
    row = version.row
    if row is not None and row.status is LedgerStatus.QUARANTINED:
        found = quarantine.findings(client("stepfunctions"), row)
        yield from dict.fromkeys(f"{each.code}: {each.message}" if each.message else each.code for each in found)
        if row.is_dismissed and row.dismissal:
            yield f"dismissed by {row.dismissal.by} {minute(row.dismissal.at)}: {row.dismissal.reason}"
    elif row is not None:
        yield from in_words(row.reasons)
    if meaning := objects.end_in_words(row.status if row else None):
        yield meaning
    if row is not None and row.duplicate_of:
        yield f"as object {row.duplicate_of}"


def _print(version: Version, why: list[str], attempts: list[AuditRecord], *, keys: bool) -> None:
    row = version.row
    lines: list[tuple[str, str]] = [("object", version.object_id)]
    if version.superseded_by:
        lines.append(("superseded", f"by {version.superseded_by}, the newest version of its key"))
    if row is None:
        lines.append(("verdict", "none: not received"))
    else:
        attempt = f", attempt {row.attempt}" if row.attempt else ""
        lines += [("verdict", f"{row.status} {minute(row.updated_at)}{attempt}"), ("received", minute(row.received_at))]
    lines += [("why", each) for each in why]
    if row is not None and row.status is LedgerStatus.DELIVERED and row.profile:
        lines.append(("profile", row.profile))
    if row is not None and keys:
        lines.append(("key", OneLine(row.key)))
    sys.stdout.write(text_table([(name.ljust(_LABEL), value) for name, value in lines]))
    if row is not None and row.output_key:  # on a line of its own, whole, since it is copied
        sys.stdout.write(f"{'result':{_LABEL}}  {row.output_key}\n")
    if attempts:
        told = [(minute(each.at), each.event, each.attempt, _facts(each)) for each in attempts]
        sys.stdout.write("\n" + text_table([("AT", "WHAT", "ATTEMPT", "WHY"), *told]))


def _facts(record: AuditRecord) -> str | None:
    by = f"by {record.by}" if record.by else ""
    return " ".join(filter(None, (by, record.reason_codes or record.error or record.profile))) or None


def _document(version: Version, why: list[str], attempts: list[AuditRecord], *, keys: bool) -> dict[str, object]:
    row = version.row.model_dump(mode="json", exclude=quarantine.hidden(keys=keys)) if version.row else {}
    return {
        "object_id": version.object_id,
        "status": None,
        **row,
        "superseded_by": version.superseded_by,
        "why": why,
        "attempts": [each.model_dump(mode="json", exclude_none=True) for each in attempts],
    }
