"""`imaging-pipeline reconcile`: the hourly comparison of raw bucket, ledger and processed bucket, now.

The stage's own function does it, with its rights and settings, so that the caller needs none of the PHI zone's.
"""

import argparse
import json
import sys

from cli import console
from cli.stage import OperationError, Stage
from runtime.aws import clients
from runtime.contract.names import Function
from runtime.operations.reconciliation import Report

LONGEST_SECONDS = 900
"""How long AWS Lambda lets a function run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    console.add_common_arguments(parser)
    parser.add_argument("--check-only", action="store_true", help="start nothing of what is missing or stuck")


@console.tells_trouble
def run(arguments: argparse.Namespace) -> int:
    """Print what was found; 1 if an object is unaccounted, or not all were looked at."""
    report = _reconcile(Stage(arguments.stage), start=not arguments.check_only)
    if arguments.json:
        console.print_json([report])
    else:
        _print(report)
    console.complain(arguments, f"{report.total} unaccounted, {report.started} of them started")
    if not report.complete:
        reasons = "time ended, starts were throttled, or the check before had ended half-way"
        console.complain(arguments, f"not all was compared: {reasons}")
    return 1 if report.total or not report.complete else 0


def _reconcile(stage: Stage, *, start: bool) -> Report:
    client = clients.client("lambda", attempts=1, read_timeout=LONGEST_SECONDS + 10)
    try:
        answer = client.invoke(
            FunctionName=stage.function_name(Function.RECONCILIATION), Payload=json.dumps({"start": start}).encode()
        )
    except client.exceptions.ResourceNotFoundException:
        raise OperationError(f"This account and region have no stage {stage.name!r} that reconciles.") from None
    payload = answer["Payload"].read()
    if "FunctionError" in answer:
        raise OperationError("The reconciliation function failed: its log group has the reason.")
    return Report.model_validate_json(payload)


def _print(report: Report) -> None:
    counts = report.model_dump(exclude={"complete", "unaccounted"})
    table = [(name.replace("_", " "), count) for name, count in counts.items()]
    console.print_table(("WHAT", "OBJECTS"), table)
    if report.unaccounted:
        sys.stdout.write("\n")
        console.print_table(("OBJECT", "PROBLEM"), ((each.object_id, each.problem) for each in report.unaccounted))
