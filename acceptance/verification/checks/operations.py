"""Checks of what operators rely on: metrics, alarms, dead letters, and what a replay reports."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import boto3
from botocore.exceptions import ClientError

from acceptance.verification.check import Check, Judgement, alike, check, same
from acceptance.verification.checks.storage import encryption_of, expected_encryption
from acceptance.verification.objects import EXPECTED
from acceptance.verification.run import Run
from acceptance.verification.waiting import NotSeenError, until
from cli.operations.dead_letters import DeadLetters, Edge
from runtime.aws.clients import client as aws_client
from runtime.contract.ledger import LedgerStatus
from runtime.contract.names import METRIC_NAMESPACE, STAGE_DIMENSION, Metric, Output
from runtime.observability.redaction import error_code

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.type_defs import MetricAlarmTypeDef

MINUTE: Final = timedelta(minutes=1)
ARRIVAL_SECONDS = 300
"""That metrics, logs and traces may take to arrive."""
REPORTS: Final = "replays/"
OWN_DOING: Final = "DeniedRequests"
"""Alarms on refused requests, for which this test asks."""
COUNTED: Final = {
    Metric.SUCCESS: LedgerStatus.DELIVERED,
    Metric.QUARANTINE: LedgerStatus.QUARANTINED,
    Metric.DUPLICATE: LedgerStatus.DUPLICATE,
}


def _metric(metric: Metric, run: Run) -> Judgement:
    """Wait until a metric has counted the run's objects; others' count too."""
    verdicts = Counter(each.verdict for each in EXPECTED.values())
    expected = verdicts[COUNTED[metric]] * run.attempt
    cloudwatch = boto3.client("cloudwatch")
    seen = 0.0

    def look() -> bool | None:
        nonlocal seen
        points = cloudwatch.get_metric_statistics(
            Namespace=METRIC_NAMESPACE,
            MetricName=metric,
            Dimensions=[{"Name": STAGE_DIMENSION, "Value": run.config.stage}],
            StartTime=run.began.replace(second=0),
            EndTime=datetime.now(UTC).replace(second=0, microsecond=0) + MINUTE,
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        seen = sum(point["Sum"] for point in points)
        return True if seen >= expected else None

    with suppress(NotSeenError):  # the count says it
        until(look, time.monotonic() + ARRIVAL_SECONDS, str)
    return Judgement(f"{expected} or more", f"{seen:.0f}", seen >= expected)


METRICS = tuple(Check(f"metric: {metric}", partial(_metric, metric)) for metric in COUNTED)


@check("alarms: notify the topic")
def alarms_notify(run: Run) -> Judgement:
    """Look whether every alarm of the stage tells its topic."""
    topic = run.stage.output(Output.NOTIFICATION_TOPIC_ARN)
    seen = {name: "told" if alarm["AlarmActions"] == [topic] else "not told" for name, alarm in _alarms(run).items()}
    return alike("told", seen)


@check("alarms: none rings", emulator="knows no dimensions of alarms")
def alarms_silent(run: Run) -> Judgement:
    """Look for alarms that ring, but for those that refusals rang which the run before asked for."""
    ringing = [name for name, alarm in _alarms(run).items() if alarm["StateValue"] == "ALARM"]
    others = [name for name in ringing if not name.endswith(OWN_DOING)]
    return Judgement(f"none but {OWN_DOING}", ", ".join(ringing) or "none", not others)


def _alarms(run: Run) -> dict[str, MetricAlarmTypeDef]:
    """Return the stage's alarms by name; not those of a stage whose name begins as this one's does."""
    prefix = f"{run.config.name}-"
    pages = boto3.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNamePrefix=prefix)
    alarms = {alarm["AlarmName"].removeprefix(prefix): alarm for page in pages for alarm in page["MetricAlarms"]}
    return {name: alarm for name, alarm in alarms.items() if "-" not in name}


def _dead_letters(edge: Edge, run: Run) -> Judgement:
    waiting = DeadLetters(run.stage).count(edge)
    return same(0, waiting.visible + waiting.hidden)


DEAD_LETTERS = tuple(Check(f"dead letters: {edge}", partial(_dead_letters, edge)) for edge in Edge)


@check("replay: its report, encryption and key", emulator="writes no reports of replays")
def report(run: Run) -> Judgement:
    """Look at the encryption of what the replay reported."""
    bucket = run.stage.output(Output.OPERATIONS_BUCKET_NAME)
    found = {}
    for folder in report_folders(run):
        for each in run.s3.list_objects_v2(Bucket=bucket, Prefix=folder).get("Contents", []):
            name = each["Key"].rpartition("/")[2]
            found[name] = encryption_of(run.s3.head_object(Bucket=bucket, Key=each["Key"]))
    return alike(expected_encryption(run.key_arn("phi")), found)


def report_folders(run: Run) -> list[str]:
    """Return the prefixes of what the run's replay reported; none where nothing was replayed."""
    client = aws_client("stepfunctions")
    machine = run.stage.output(Output.REPLAY_STATE_MACHINE_ARN)
    execution = f"{machine.replace(':stateMachine:', ':execution:')}:{run.replay_name}"
    try:
        runs = client.list_map_runs(executionArn=execution)["mapRuns"]
    except ClientError as error:
        if error_code(error) == "ExecutionDoesNotExist":
            return []
        raise
    return [f"{REPORTS}{each['mapRunArn'].rpartition(':')[2]}/" for each in runs]


CHECKS = (
    *METRICS,
    *DEAD_LETTERS,
    alarms_notify,
    alarms_silent,
)
