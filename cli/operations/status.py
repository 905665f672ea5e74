"""How a stage is doing: what came to which end, what waits, what could not be delivered, what rings. Talks to AWS."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from cli.operations.dead_letters import DeadLetters, Edge, Waiting
from cli.stage import Stage
from runtime.aws.clients import client
from runtime.aws.clock import timestamp
from runtime.contract.ledger import LedgerStatus
from runtime.contract.models import Frozen
from runtime.contract.names import PROJECT, Output

ENDS: Final = (
    LedgerStatus.DELIVERED,
    LedgerStatus.QUARANTINED,
    LedgerStatus.FAILED,
    LedgerStatus.DUPLICATE,
    LedgerStatus.IGNORED,
)
_ATTEMPTS: Final = 5
_AGE_MINUTES: Final = 15
"""In which SQS has told the age of a queue's oldest message."""


class Alarm(Frozen):
    """An alarm that rings."""

    name: str
    since: str
    """ISO 8601, UTC"""
    meaning: str


class Status(Frozen):
    """How a stage is doing."""

    stage: str
    since: str
    """ISO 8601, UTC; of the counts by verdict"""
    verdicts: Mapping[LedgerStatus, int]
    """objects by the end that they came to since then, as the ledger's index has them"""
    queued: int
    """events in the intake queue, those included that a dispatcher has; approximately as SQS counts"""
    oldest_queued_seconds: int | None
    """None where CloudWatch doesn't tell it: the queue is empty, or was until a moment ago"""
    in_work: int
    """objects without a verdict"""
    oldest_in_work: str | None
    """when its attempt was opened (ISO 8601, UTC)"""
    dead_letters: tuple[Waiting, ...]
    alarms: tuple[Alarm, ...]


def look(stage: Stage, since: str) -> Status:
    """Look at a stage; count verdicts since a time (ISO 8601, UTC, or its beginning)."""
    ledger, dead_letters = stage.ledger, DeadLetters(stage)
    queue = stage.output(Output.INTAKE_QUEUE_URL)
    in_work = ledger.count_in_work()
    return Status(
        stage=stage.name,
        since=since,
        verdicts={status: ledger.count(status, since=since) for status in ENDS},
        queued=_queued(queue),
        oldest_queued_seconds=_oldest_queued_seconds(queue),
        in_work=in_work,
        oldest_in_work=ledger.oldest_in_work() if in_work else None,
        dead_letters=tuple(dead_letters.count(edge) for edge in Edge),
        alarms=tuple(_alarms(stage.name)),
    )


def yesterday() -> str:
    """Return the time a day ago, as the ledger writes it."""
    return timestamp(datetime.now(UTC) - timedelta(days=1))


def _queued(queue: str) -> int:
    attributes = client("sqs", attempts=_ATTEMPTS).get_queue_attributes(
        QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    )["Attributes"]
    return sum(map(int, attributes.values()))


def _oldest_queued_seconds(queue: str) -> int | None:
    now = datetime.now(UTC)
    answer = client("cloudwatch", attempts=_ATTEMPTS).get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": queue.rpartition("/")[2]}],
        StartTime=now - timedelta(minutes=_AGE_MINUTES),
        EndTime=now,
        Period=60,
        Statistics=["Maximum"],
    )
    points = sorted(answer["Datapoints"], key=lambda point: point["Timestamp"])
    return int(points[-1]["Maximum"]) if points else None


def _alarms(stage: str) -> list[Alarm]:
    """Return the stage's alarms that ring, in its region; what another stage's name begins with is none of them."""
    prefix = f"{PROJECT}-{stage}-"
    pages = client("cloudwatch", attempts=_ATTEMPTS).get_paginator("describe_alarms")
    return [
        Alarm(
            name=alarm["AlarmName"].removeprefix(prefix),
            since=timestamp(alarm["StateUpdatedTimestamp"]),
            meaning=alarm.get("AlarmDescription", ""),
        )
        for page in pages.paginate(AlarmNamePrefix=prefix, StateValue="ALARM", AlarmTypes=["MetricAlarm"])
        for alarm in page["MetricAlarms"]
        if alarm["StateValue"] == "ALARM" and alarm["AlarmName"].removeprefix(prefix)[:1].isupper()
    ]
