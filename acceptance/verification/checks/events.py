"""Checks of the stage's bus: a temporary rule and queue, and what arrives there of the run's objects."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import boto3

from acceptance.verification.check import Judgement, check, same
from acceptance.verification.objects import EXPECTED, Sample
from acceptance.verification.run import Run
from acceptance.verification.waiting import NotSeenError, until
from imaging_pipeline.stages.config import StageConfig
from runtime.contract.events import ANNOUNCEMENTS, EventType, StudyDelivered
from runtime.contract.ledger import LedgerStatus
from runtime.contract.names import PROJECT, Output

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

SETTLES_SECONDS = 60
"""EventBridge asks to wait a while until a new rule works."""
EVENT_SECONDS = 120
LONGEST_QUIET_SECONDS: Final = 1800
"""More than that nobody waits for a test; the stage's own setting may be hours."""
STUDY_SECONDS = 300
"""Beyond the study's quiet time: the completeness function looks every minute."""


class Subscription:
    """A queue that hears of the run's objects and of its patient's study, by a rule on the stage's bus."""

    def __init__(self, run: Run) -> None:
        self._sqs: SQSClient = boto3.client("sqs")
        self._url = self._sqs.create_queue(QueueName=run.temporary_name)["QueueUrl"]
        self._made = time.monotonic()
        self._settles = 0 if run.config.runs_on_this_machine else SETTLES_SECONDS
        self._received: list[tuple[EventType, dict[str, Any]]] = []
        queue = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        ids = [run.coordinates(sample).object_id for sample in Sample]
        pattern = {
            "source": [PROJECT],
            "detail": {"$or": [{"object_id": ids}, {"patient_id": [run.patient()]}]},
        }
        events, bus = boto3.client("events"), run.stage.output(Output.EVENT_BUS_NAME)
        rule = events.put_rule(
            Name=run.temporary_name,
            EventBusName=bus,
            EventPattern=json.dumps(pattern),
            Description="Temporary: belongs to an acceptance test",
        )["RuleArn"]
        self._sqs.set_queue_attributes(QueueUrl=self._url, Attributes={"Policy": _only_from(rule, queue)})
        events.put_targets(Rule=run.temporary_name, EventBusName=bus, Targets=[{"Id": "queue", "Arn": queue}])

    def settle(self) -> None:
        """Wait until the rule works."""
        time.sleep(max(0.0, self._made + self._settles - time.monotonic()))

    def heard(self) -> list[tuple[EventType, dict[str, Any]]]:
        """Return what has arrived by now, each event with its detail, which its schema has to fit."""
        while messages := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=2).get(
            "Messages", []
        ):
            for message in messages:
                event = json.loads(message["Body"])
                kind = EventType(event["detail-type"])
                ANNOUNCEMENTS[kind].model_validate(event["detail"])
                self._received.append((kind, event["detail"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return self._received


def _only_from(rule_arn: str, queue_arn: str) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _impatient(config: StageConfig) -> str:
    quiet = config.study_quiet_seconds
    return f"study_quiet_seconds is {quiet}: too long to wait" if quiet > LONGEST_QUIET_SECONDS else ""


@check("bus: a temporary rule and queue")
def subscribed(run: Run) -> Judgement:
    """Make rule and queue, which hear of what is replayed, and wait until they work."""
    subscription = run.subscription = Subscription(run)
    subscription.settle()
    return same("made", "made")


@check("bus: an event for each verdict")
def announced(run: Run) -> Judgement:
    """Wait for the events of the second attempt, as consumers get them."""
    kinds = {
        LedgerStatus.DELIVERED: EventType.INSTANCE_DELIVERED,
        LedgerStatus.QUARANTINED: EventType.INSTANCE_QUARANTINED,
    }
    expected = Counter(kinds[each.verdict] for each in EXPECTED.values() if each.verdict in kinds)
    seen: Counter[EventType] = Counter()

    def look() -> bool | None:
        nonlocal seen
        told = {(kind, detail["object_id"]) for kind, detail in run.heard() if detail.get("attempt") == 2}
        seen = Counter(kind for kind, _ in told)
        return True if seen == expected else None

    with suppress(NotSeenError):  # the counts say it
        until(look, time.monotonic() + EVENT_SECONDS, str)
    return same(_counts(expected), _counts(seen))


@check("bus: the study, once it is complete", skip=_impatient)
def study_announced(run: Run) -> Judgement:
    """Wait for the study's announcement, whose counts are those of the objects."""
    expected = Counter(each.verdict for each in EXPECTED.values())
    seconds = run.config.study_quiet_seconds + STUDY_SECONDS

    def look() -> StudyDelivered | None:
        told = [
            StudyDelivered.model_validate(detail) for kind, detail in run.heard() if kind is EventType.STUDY_DELIVERED
        ]
        return max(told, key=lambda each: each.revision, default=None)

    last = until(look, time.monotonic() + seconds, lambda: f"not announced {seconds} s after the last verdict")
    return same(_counts(expected), _counts({status: getattr(last, status) for status in expected}))


def _counts(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{counts[name]} {name}" for name in sorted(counts)) or "none"
