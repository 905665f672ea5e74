"""`imaging-pipeline replay`: start the replay workflow over the raw bucket or a prefix of it."""

import argparse
import sys
from datetime import UTC, datetime

from cli import console
from cli.stage import Stage
from runtime.aws.clients import client
from runtime.aws.clock import timestamp
from runtime.contract.names import Output
from runtime.contract.replay import ReplayFilter, ReplayInput


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    console.add_common_arguments(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="every object, whatever its verdict")
    which.add_argument("--unfinished", action="store_true", help="objects that failed, or were never started")
    which.add_argument("--reason", metavar="CODE", help="objects in quarantine for this reason")
    which.add_argument("--profile-hash", metavar="HASH", help="objects that this profile wrote; its beginning suffices")
    parser.add_argument("--received-since", type=console.moment, metavar="TIME", help="in UTC, as 2026-11-23")
    parser.add_argument("--received-before", type=console.moment, metavar="TIME", help="in UTC, as 2026-11-24")
    parser.add_argument("--prefix", default="", help="only objects whose key begins so")


@console.tells_trouble
def run(arguments: argparse.Namespace) -> int:
    """Start the workflow and print its execution, which goes on by itself."""
    stage = Stage(arguments.stage)
    now = datetime.now(UTC)
    replay = ReplayInput(
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
    answer = client("stepfunctions").start_execution(
        stateMachineArn=stage.output(Output.REPLAY_STATE_MACHINE_ARN),
        name=f"replay-{now:%Y%m%dT%H%M%S%f}",
        input=replay.model_dump_json(exclude_none=True),
    )
    if arguments.json:
        console.print_json([{"execution": answer["executionArn"]}])
    else:
        sys.stdout.write(f"{answer['executionArn']}\n")
    return 0
