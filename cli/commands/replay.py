"""`imaging-pipeline replay`: run raw objects again: those that are named, that a filter selects, or all of them."""

import argparse
import sys
from datetime import UTC, datetime

from cli import console
from cli.operations import objects, replays
from cli.stage import Stage
from runtime.aws.clients import client
from runtime.aws.clock import timestamp
from runtime.contract.objects import ObjectCoordinates
from runtime.contract.replay import Replayed, ReplayFilter, ReplayInput
from runtime.operations.replay import replay


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    console.add_common_arguments(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="every object, whatever its verdict")
    which.add_argument(
        "--unfinished", action="store_true", help="objects that failed, were ignored and are accepted now, or never ran"
    )
    which.add_argument(
        "--reason", type=console.reason_code, metavar="CODE", help="objects in quarantine for this reason"
    )
    which.add_argument("--profile-hash", metavar="HASH", help="objects that this profile wrote; its beginning suffices")
    which.add_argument("objects", nargs="*", default=[], metavar="OBJECT", help="these: by id, or the newest of a key")
    parser.add_argument("--received-since", type=console.moment, metavar="TIME", help="in UTC, as 2026-11-23")
    parser.add_argument("--received-before", type=console.moment, metavar="TIME", help="in UTC, as 2026-11-24")
    parser.add_argument("--prefix", default="", help="only objects whose key begins so")
    parser.add_argument("--dry-run", action="store_true", help="say how many it would start, and start nothing")
    parser.add_argument("--follow", action="store_true", help="wait for its end, and tell how far it is")
    parser.add_argument("--yes", action="store_true", help="with --all: don't ask")


@console.tells_trouble
def run(arguments: argparse.Namespace) -> int:
    """Start what was asked for, which goes on by itself, and return the exit status."""
    stage, now = Stage(arguments.stage), datetime.now(UTC)
    if arguments.objects:
        return _replay_named(arguments, stage, now)
    asked = ReplayInput(
        prefix=arguments.prefix,
        filter=ReplayFilter(
            requested_at=timestamp(now),
            unfinished=arguments.unfinished,
            reason_code=arguments.reason,
            received_since=arguments.received_since,
            received_before=arguments.received_before,
            profile_hash=arguments.profile_hash,
        ),
    )
    if arguments.dry_run:
        plan = replays.plan(stage, asked)
        if arguments.json:
            console.print_json([plan])
        else:
            sys.stdout.write(f"It would start {plan.objects} attempts, at versions of {plan.keys} keys.\n")
        return 0
    if arguments.all and not arguments.yes and not _confirmed(arguments):
        return 2
    execution = replays.start(client("stepfunctions"), stage, asked, now)
    if arguments.json:
        console.print_json([{"execution": execution}])
    else:
        sys.stdout.write(f"{execution}\n")
    sys.stdout.flush()
    return _follow(arguments, execution) if arguments.follow else 0


def _confirmed(arguments: argparse.Namespace) -> bool:
    """Ask a person at a terminal whether everything is to be run again."""
    below = " below the prefix" if arguments.prefix else ""
    if not sys.stdin.isatty():
        console.complain(arguments, f"it would run everything{below} again: add --yes, or look with --dry-run before.")
        return False
    sys.stderr.write(f"This runs every object of stage {arguments.stage!r}{below} again. Go on? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    console.complain(arguments, "nothing was started.")
    return False


def _follow(arguments: argparse.Namespace, execution: str) -> int:
    status = ""
    for progress in replays.follow(client("stepfunctions"), execution):
        status = progress.status
        counts = f": {progress.done} of {progress.total} keys done, {progress.failed} failed" if progress.total else ""
        console.complain(arguments, f"{status.lower()}{counts}")
    return 0 if status == "SUCCEEDED" else 1


def _replay_named(arguments: argparse.Namespace, stage: Stage, now: datetime) -> int:
    """Start the next attempts at the objects that were named, accepted by the stage or not."""
    if arguments.received_since or arguments.received_before or arguments.prefix:
        console.complain(arguments, "name objects, or give --received-since, --received-before and --prefix: not both.")
        return 2
    places = {each.object_id: each for each in (objects.coordinates(stage, text) for text in arguments.objects)}
    if arguments.dry_run:
        if arguments.json:
            console.print_json([replays.Plan(objects=len(places), keys=len({each.key for each in places.values()}))])
        else:
            sys.stdout.write(f"It would start {len(places)} attempts.\n")
        return 0
    ledger, executions, filter_ = stage.ledger, stage.executions, ReplayFilter(requested_at=timestamp(now))

    def start(coordinates: ObjectCoordinates) -> bool:
        return replay(ledger, executions, coordinates, filter_) is Replayed.STARTED

    status = console.start_each(arguments, list(places), lambda object_id: start(places[object_id]))
    if arguments.follow:
        rows = replays.await_verdicts(stage, list(places))
        told = ((row.object_id, row.status, " ".join(row.reasons) or row.output_key) for row in rows)
        console.print_table(("OBJECT", "VERDICT", "WHY OR RESULT"), told)
    return status
