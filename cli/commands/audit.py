"""`python -m runtime audit`: who de-identified, released or handed out what, when, and by what."""

import argparse
from collections.abc import Iterator, Sequence

from cli import console
from cli.stage import Stage
from runtime.aws.audit import AuditLog
from runtime.contract.audit import AuditEvent, AuditRecord

_FACTS = ("profile", "profile_hash", "key_id", "code_version", "reason_codes", "error", "duplicate_of")
"""What a table tells of a record besides its own columns; `--json` tells all."""
_SHOWN_DIGITS = 12
"""Of a hash in a table."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    console.add_common_arguments(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--object", type=console.object_id, metavar="ID", help="all about a raw object and its results")
    which.add_argument(
        "--output-key", type=_output_key, metavar="KEY", help="all about a result, or a study as <patient>/<study>/"
    )
    which.add_argument("--since", type=console.moment, metavar="TIME", help="all since then, in UTC, as 2026-11-23")
    parser.add_argument("--until", type=console.moment, metavar="TIME", help="with --since: before then")
    parser.add_argument(
        "--event", action="append", type=AuditEvent, choices=list(AuditEvent), help="only these; may be given often"
    )
    parser.add_argument("--by", metavar="NAME", help="only what a person released, or a principal did: part of its ARN")
    parser.add_argument("--profile-hash", metavar="HASH", help="only by this profile; its beginning suffices")
    parser.add_argument("--code-version", metavar="HASH", help="only by this code; its beginning suffices")


@console.tells_trouble
def run(arguments: argparse.Namespace) -> int:
    """Print the records that answer the question, oldest first; 1 if there are none."""
    if arguments.until and not arguments.since:
        console.complain(arguments, "say since when, too: --until bounds --since.")
        return 2
    found = _found(arguments, Stage(arguments.stage))
    records = sorted((each for each in found if _wanted(arguments, each)), key=lambda each: each.at)
    if arguments.json:
        console.print_json(record.model_dump(mode="json", exclude_none=True) for record in records)
    else:
        console.print_table(("AT", "EVENT", "SUBJECT", "ATTEMPT", "BY", "FACTS"), map(_row, records))
    console.complain(arguments, f"{len(records)} records")
    return 0 if records else 1


def _found(arguments: argparse.Namespace, stage: Stage) -> Iterator[AuditRecord]:
    if arguments.object:
        of_object = list(stage.audit.of_subject(arguments.object))
        yield from of_object
        for key in {record.output_key for record in of_object if record.output_key}:
            yield from stage.link_audit.of_subject(key)
    elif arguments.output_key:
        for log in (stage.audit, stage.link_audit):
            yield from log.of_output(arguments.output_key)
    else:
        for event in arguments.event or AuditEvent:
            log = _log(stage, event)
            yield from log.of_event(event, since=arguments.since, until=arguments.until or "~")


def _log(stage: Stage, event: AuditEvent) -> AuditLog:
    return stage.link_audit if event is AuditEvent.LINK_ISSUED else stage.audit


def _wanted(arguments: argparse.Namespace, record: AuditRecord) -> bool:
    return all(
        (
            not arguments.event or record.event in arguments.event,
            not arguments.by or arguments.by == record.by or arguments.by in (record.principal or ""),
            (record.profile_hash or "").startswith(arguments.profile_hash or ""),
            (record.code_version or "").startswith(arguments.code_version or ""),
        )
    )


def _row(record: AuditRecord) -> Sequence[object]:
    who = record.by or record.principal
    facts = {name: getattr(record, name) for name in _FACTS}
    if record.event is AuditEvent.LINK_ISSUED:
        facts |= {"for": record.recipient, "until": record.expires_at}
    elif record.output_key:
        facts |= {"output_key": record.output_key}
    shown = (f"{name}={_shown(str(value))}" for name, value in facts.items() if value is not None)
    return record.at, record.event, record.subject, record.attempt, who, " ".join(shown)


def _shown(value: str) -> str:
    return value[:_SHOWN_DIGITS] if len(value) == 64 and value.isalnum() else value


def _output_key(text: str) -> str:
    if text.count("/") < 2:
        raise argparse.ArgumentTypeError("begin with <patient>/<study>/")
    return text
