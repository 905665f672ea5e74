"""`imaging-pipeline audit`: who de-identified, released or handed out what, when, and by what."""

import argparse
import shutil
import sys
import textwrap
from collections.abc import Iterator

from cli import console
from cli.operations.objects import coordinates, object_id_in
from cli.stage import Stage
from cli.tables import printable, shorten
from cli.words import in_words, minute
from runtime.aws.audit import AuditLog
from runtime.contract.audit import AuditEvent, AuditRecord

_FACTS = ("profile", "profile_hash", "key_id", "code_version", "error", "duplicate_of")
"""What people are told of a record besides what, when and by whom; `--json` tells all."""
_SHOWN_DIGITS = 12
"""Of a hash."""
_INDENT = "    "


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    console.add_common_arguments(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--object", metavar="OBJECT", help="all about a raw object and its results: by its id or key")
    which.add_argument(
        "--output-key", type=_output_key, metavar="KEY", help="all about a result, or a study as <patient>/<study>/"
    )
    which.add_argument("--since", type=console.moment, metavar="TIME", help="all since then, in UTC, as 2026-11-23")
    parser.add_argument("--until", type=console.moment, metavar="TIME", help="with --since: before then")
    parser.add_argument(
        "--event",
        action="append",
        choices=[event.value for event in AuditEvent],
        metavar="EVENT",
        help=f"only these; may be given often: {', '.join(AuditEvent)}",
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
        sys.stdout.writelines(map(_paragraph, records))
    console.complain(arguments, f"{len(records)} records" if records else _nothing(arguments))
    return 0 if records else 1


def _nothing(arguments: argparse.Namespace) -> str:
    """Say that nothing was found, and of what there is nothing at all."""
    if arguments.object:
        return f"there is no record of {arguments.object}: no object with this id has a verdict in this stage."
    if arguments.output_key:
        return "there is no record of a result with this key, or of this study."
    return "0 records"


def _found(arguments: argparse.Namespace, stage: Stage) -> Iterator[AuditRecord]:
    named = arguments.object or (arguments.output_key if object_id_in(arguments.output_key or "") else None)
    if named:
        object_id = object_id_in(named) or coordinates(stage, named).object_id
        of_object = list(stage.audit.of_subject(object_id))
        yield from of_object
        for key in {record.output_key for record in of_object if record.output_key}:
            yield from stage.link_audit.of_subject(key)
    elif arguments.output_key:
        for log in (stage.audit, stage.link_audit):
            yield from log.of_output(arguments.output_key)
    else:
        for event in map(AuditEvent, arguments.event or AuditEvent):
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


def _paragraph(record: AuditRecord) -> str:
    """Return a line that says what happened when and to what, and below it all else, as wide as the terminal."""
    width = shutil.get_terminal_size().columns
    what = f"{minute(record.at)}  {record.event:<11}  "
    attempt = f"  attempt {record.attempt}" if record.attempt is not None else ""
    heading = f"{what}{shorten(record.subject, max(width - len(what) - len(attempt), 16))}{attempt}"
    details = [
        line
        for detail in _details(record)
        for line in textwrap.wrap(printable(detail), width - len(_INDENT), break_on_hyphens=False)
    ]
    return "".join(f"{line}\n" for line in (heading, *(f"{_INDENT}{detail}" for detail in details)))


def _details(record: AuditRecord) -> Iterator[str]:
    if who := record.by or record.principal:
        yield f"by {who}"
    if record.event is AuditEvent.LINK_ISSUED:
        yield f"for {record.recipient} until {minute(record.expires_at or '-')}"
    elif record.output_key:
        yield f"result {record.output_key}"
    yield from in_words((record.reason_codes or "").split())
    facts = {name: getattr(record, name) for name in _FACTS}
    yield "  ".join(f"{name}={_shown(str(value))}" for name, value in facts.items() if value is not None)


def _shown(value: str) -> str:
    return value[:_SHOWN_DIGITS] if len(value) == 64 and value.isalnum() else value


def _output_key(text: str) -> str:
    if text.count("/") < 2 and object_id_in(text) is None:
        raise argparse.ArgumentTypeError("begin with <patient>/<study>/")
    return text
