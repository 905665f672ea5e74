"""A stage in moto whose pipeline works while somebody waits, and may be told to do it wrongly."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from typing import Any, Literal

import boto3
import pydicom
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError

from acceptance.verification import cleanup, objects, run, waiting
from acceptance.verification.checks import delivery, events, observability, operations, replicas, verdicts
from acceptance.verification.objects import EXPECTED, Sample, study_instance_uid
from acceptance.verification.run import Run, new_run_id
from cli.operations.dead_letters import QUEUES
from imaging_pipeline.stages.config import StageConfig
from runtime.aws.audit import AuditLog
from runtime.aws.clock import now
from runtime.contract.audit import AuditEvent, AuditRecord, verdict_record_id
from runtime.contract.ledger import LedgerStatus
from runtime.contract.names import PROJECT, Output
from runtime.contract.objects import ExecutionInput, ObjectCoordinates
from runtime.ledger.rows import Ledger
from runtime.ledger.table import hashed
from tests.unit.audit_tables import audit_log
from tests.unit.conftest import AUDIT_TABLE, LEDGER_TABLE, PROCESSED, RAW, Buckets

LINK_AUDIT_TABLE = "stage-link-audit"
OPERATIONS = "operations-bucket"
BUS = "stage"
TOPIC = "arn:aws:sns:us-east-1:123456789012:stage-notifications"
MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:stage"
PATIENT, STUDY = "P1", "2.25.1"

Answer = Callable[..., Any]


class Answers:
    """What AWS answers instead of moto, by service and operation."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._answers: dict[tuple[str, str], Answer] = {}
        call = BaseClient._make_api_call  # type: ignore[attr-defined]

        def answer(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
            own = self._answers.get((client.meta.service_model.service_name, operation))
            return own(client, parameters) if own else call(client, operation, parameters)

        self._call = call
        monkeypatch.setattr(BaseClient, "_make_api_call", answer)

    def replace(self, service: str, operation: str, answer: Answer) -> None:
        self._answers[service, operation] = answer

    def forget(self, service: str, operation: str) -> None:
        """Let moto answer again."""
        del self._answers[service, operation]

    def give(self, service: str, operation: str, answer: Any) -> None:
        self._answers[service, operation] = lambda *_: answer

    def refuse(self, service: str, operation: str, code: str = "AccessDenied") -> None:
        def refuse(*_: Any) -> None:
            raise ClientError({"Error": {"Code": code, "Message": "acceptance/key"}}, operation)

        self._answers[service, operation] = refuse

    def add(self, service: str, operation: str, **more: Any) -> None:
        """Let moto answer, and add what it doesn't know."""
        self._answers[service, operation] = lambda client, parameters: {
            **self._call(client, operation, parameters),
            **more,
        }


class Pipeline:
    """Takes what is uploaded to its verdict; attributes say what it does wrongly."""

    def __init__(self, buckets: Buckets, ledger: Ledger, audit: AuditLog) -> None:
        self._s3 = buckets.s3
        self._ledger = ledger
        self._audit = audit
        self.run: Run
        self.works = True
        self.verdicts: dict[Sample, tuple[LedgerStatus, str]] = {
            sample: (expected.verdict, expected.reason_code or "") for sample, expected in EXPECTED.items()
        }
        self.unaudited: set[Sample] = set()
        self.profile = "research"
        self.tags = True
        self.change: Callable[[bytes], bytes] = lambda content: content

    def work(self, attempt: int = 1) -> None:
        if not self.works:
            return
        for sample, coordinates in dict(self.run._uploaded).items():
            row = self._ledger.row(coordinates.object_id)
            if row is None or row.attempt < attempt:
                self._process(sample, coordinates, attempt)

    def _process(self, sample: Sample, at: ObjectCoordinates, attempt: int) -> None:
        execution = ExecutionInput(object=at, attempt=attempt)
        self._ledger.receive(execution)
        self._ledger.identify(at.object_id, hashed(study_instance_uid(self.run.id)))
        verdict, reason = self.verdicts[sample]
        output_key = f"{PATIENT}/{STUDY}/2.25.2/{at.object_id}.dcm"
        facts = {
            LedgerStatus.DELIVERED: {
                "output_key": output_key,
                "profile": self.profile,
                "profile_hash": "ab" * 32,
                "key_id": "k1",
            },
            LedgerStatus.QUARANTINED: {"reason_codes": reason},
            LedgerStatus.DUPLICATE: {"duplicate_of": "0" * 32, "output_key": output_key},
            LedgerStatus.FAILED: {"error": "States.Timeout"},
        }[verdict]
        if verdict is LedgerStatus.DELIVERED:
            self._s3.put_object(Bucket=PROCESSED, Key=output_key, Body=self.change(self._released(at)))
        if verdict is LedgerStatus.QUARANTINED and self.tags:
            tags = [{"Key": "verdict", "Value": "quarantined"}, {"Key": "reasons", "Value": reason}]
            self._s3.put_object_tagging(
                Bucket=at.bucket,
                Key=at.key,
                VersionId=at.version_id,
                Tagging={"TagSet": tags},  # type: ignore[typeddict-item]
            )
        if sample not in self.unaudited:
            event = AuditEvent(verdict)
            self._audit.record(
                AuditRecord(
                    subject=at.object_id,
                    record_id=verdict_record_id(attempt, event),
                    event=event,
                    at=now(),
                    output_key=output_key if verdict is LedgerStatus.DELIVERED else None,
                )
            )
        self._ledger.record(execution, verdict, **facts)

    def _released(self, at: ObjectCoordinates) -> bytes:
        content = self._s3.get_object(Bucket=at.bucket, Key=at.key, VersionId=at.version_id)["Body"].read()
        image = pydicom.dcmread(BytesIO(content))
        image.PatientName = image.PatientID = PATIENT
        image.PatientIdentityRemoved = "YES"
        written = BytesIO()
        image.save_as(written)
        return written.getvalue()


def publish(answers: Answers) -> None:
    """Publish what the stage consists of, of which the cases make what they look at."""
    queues = {queue: f"https://sqs.us-east-1.amazonaws.com/123456789012/{queue}" for queue in QUEUES.values()}
    values = {
        Output.RAW_BUCKET_NAME: RAW,
        Output.PROCESSED_BUCKET_NAME: PROCESSED,
        Output.OPERATIONS_BUCKET_NAME: OPERATIONS,
        Output.LEDGER_TABLE_NAME: LEDGER_TABLE,
        Output.AUDIT_TABLE_NAME: AUDIT_TABLE,
        Output.LINK_AUDIT_TABLE_NAME: LINK_AUDIT_TABLE,
        Output.EVENT_BUS_NAME: BUS,
        Output.NOTIFICATION_TOPIC_ARN: TOPIC,
        Output.STATE_MACHINE_ARN: MACHINE,
        Output.REPLAY_STATE_MACHINE_ARN: f"{MACHINE}-replay",
        Output.WORKFLOW_LOG_GROUP_NAME: "/aws/vendedlogs/states/stage",
        **queues,
    }
    parameters = {name.parameter("test"): value for name, value in values.items()}
    answers.give("stepfunctions", "ListMapRuns", {"mapRuns": []})
    answers.replace("ssm", "GetParameter", lambda _, asked: {"Parameter": {"Value": parameters[asked["Name"]]}})


def ring(alarm: str, state: Literal["OK", "ALARM"], *, topic: str = TOPIC) -> None:
    """Make an alarm with this state."""
    cloudwatch = boto3.client("cloudwatch")
    name = f"{PROJECT}-test-{alarm}"
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        AlarmActions=[topic],
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        Namespace="AWS/States",
        MetricName="ExecutionsFailed",
        Period=300,
        Statistic="Sum",
        Threshold=0,
    )
    cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="test")


def settings(**changes: Any) -> StageConfig:
    return StageConfig.model_validate({"stage": "test", "study_quiet_seconds": 10} | changes)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    return Answers(monkeypatch)


@pytest.fixture
def pipeline(buckets: Buckets, ledger: Ledger, audit: AuditLog) -> Pipeline:
    return Pipeline(buckets, ledger, audit)


@pytest.fixture
def begin(
    answers: Answers, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, buckets: Buckets
) -> Callable[..., Run]:
    """Begin a run on a stage with some settings; while it waits, the pipeline works and a second is a blink."""
    audit_log(LINK_AUDIT_TABLE, monkeypatch)
    publish(answers)
    buckets.s3.create_bucket(Bucket=OPERATIONS)
    for module, name in (
        (run, "VERDICT_SECONDS"),
        (events, "EVENT_SECONDS"),
        (events, "SETTLES_SECONDS"),
        (events, "STUDY_SECONDS"),
        (operations, "ARRIVAL_SECONDS"),
        (delivery, "EXPIRY_SECONDS"),
    ):
        monkeypatch.setattr(module, name, 0)
    monkeypatch.setattr(objects, "LARGE_ROWS", 4)
    clock = Clock()
    for module in (cleanup, delivery, events, observability, operations, replicas, run, verdicts, waiting):
        monkeypatch.setattr(module, "time", clock)
    clock.work = pipeline.work

    def begin(**changes: Any) -> Run:
        pipeline.run = Run(settings(**changes), new_run_id())
        return pipeline.run

    return begin


class Clock:
    """Time that passes only while somebody sleeps, which is when the pipeline works."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.work: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.passed

    def time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        self.passed += seconds
        self.work()
