"""A stage's ledger, state machine and metrics in moto, and the handlers on them."""

import importlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from runtime.aws.audit import AuditLog
from runtime.contract.ledger import LedgerStatus
from runtime.contract.objects import ExecutionInput, ObjectCoordinates
from runtime.ledger.rows import Ledger
from tests.unit.conftest import PROCESSED, RAW, SECRET, Buckets

STATE_MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:stage"

os.environ.update(STATE_MACHINE_ARN=STATE_MACHINE, ACCEPTED_PREFIXES="[]", ACCEPTED_SUFFIXES='[".dcm"]')


def execution(coordinates: ObjectCoordinates, attempt: int = 1, **changes: Any) -> ExecutionInput:
    return ExecutionInput(object=coordinates, attempt=attempt, **changes)


@dataclass
class Context(LambdaContext):
    """What Lambda tells a function of its invocation, with the time that it has left."""

    milliseconds_left: int = 60_000
    _function_name: str = "function"
    _memory_limit_in_mb: int = 512
    _invoked_function_arn: str = "arn:aws:lambda:us-east-1:123456789012:function:function"
    _aws_request_id: str = "00000000-0000-0000-0000-000000000000"

    def get_remaining_time_in_millis(self) -> int:  # type: ignore[override]  # theirs is static
        return self.milliseconds_left


@dataclass
class Stage:
    """The functions around the ledger, invoked as AWS invokes them."""

    buckets: Buckets
    ledger: Ledger
    audit: AuditLog
    dispatcher: Any
    states: Any

    def dispatch(self, *bodies: str, milliseconds_left: int = 60_000) -> list[str]:
        """Deliver messages in one batch; return the bodies that have to come again."""
        records = [
            {"messageId": str(number), "body": body, "eventSource": "aws:sqs", "receiptHandle": "", "attributes": {}}
            for number, body in enumerate(bodies)
        ]
        answer = self.dispatcher.handler({"Records": records}, Context(milliseconds_left))
        return [bodies[int(failure["itemIdentifier"])] for failure in answer["batchItemFailures"]]

    def executions(self) -> list[dict[str, Any]]:
        return list(self.states.list_executions(stateMachineArn=STATE_MACHINE)["executions"])

    def step(self, name: str, execution: ExecutionInput) -> dict[str, Any]:
        module = importlib.import_module(f"runtime.handlers.{name}")
        answer: dict[str, Any] = module.handler(execution.model_dump(mode="json"), Context())
        return answer

    def process(self, execution: ExecutionInput) -> dict[str, Any]:
        """Run an attempt from its start to its verdict, as the workflow would; return the last step's answer."""
        self.ledger.receive(execution)
        self.ledger.run(execution, "arn")
        answer = self.step("ingestion", execution)
        if answer["statusCode"] == 200:
            answer = self.step("deidentification", execution)
        body = answer["body"]
        if answer["statusCode"] == 422:
            self.ledger.record(execution, LedgerStatus.QUARANTINED, reason_codes=body["reason_codes"])
        elif body["outcome"] == "duplicate":
            facts = {name: body[name] for name in ("duplicate_of", "output_key")}
            self.ledger.record(execution, LedgerStatus.DUPLICATE, **facts)
        else:
            facts = {name: body[name] for name in ("output_key", "profile", "profile_hash", "key_id")}
            self.ledger.record(execution, LedgerStatus.DELIVERED, **facts)
        return answer

    def status(self, coordinates: ObjectCoordinates) -> str:
        row = self.ledger.row(coordinates.object_id)
        assert row is not None
        return row.status.value

    def results(self) -> list[str]:
        listed = self.buckets.s3.list_objects_v2(Bucket=PROCESSED)
        return [entry["Key"] for entry in listed.get("Contents", [])]

    def count(self, metric: str) -> float:
        statistics = boto3.client("cloudwatch").get_metric_statistics(
            Namespace="MedicalImaging/Pipeline",
            MetricName=metric,
            Dimensions=[{"Name": "Stage", "Value": "test"}],
            StartTime="2020-01-01T00:00:00Z",
            EndTime="2100-01-01T00:00:00Z",
            Period=60 * 60 * 24 * 365 * 100,
            Statistics=["Sum"],
        )
        return sum(point["Sum"] for point in statistics["Datapoints"])


def message(coordinates: ObjectCoordinates, *, version: bool = True) -> str:
    """Return the body of an intake message, without the version's id where the event carries none."""
    object_ = {"key": coordinates.key, "size": coordinates.size, "etag": coordinates.etag}
    if version:
        object_["version-id"] = coordinates.version_id
    detail = {"version": "0", "bucket": {"name": RAW}, "object": object_, "reason": "PutObject"}
    return json.dumps({"source": "aws.s3", "detail-type": "Object Created", "detail": detail})


@pytest.fixture
def stage(
    buckets: Buckets,
    ledger: Ledger,
    audit: AuditLog,
    output: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stage]:
    boto3.client("secretsmanager").create_secret(Name=SECRET, SecretString="0123456789abcdef" * 4)
    states = boto3.client("stepfunctions")
    definition = json.dumps({"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 60, "End": True}}})
    states.create_state_machine(
        name="stage", definition=definition, roleArn="arn:aws:iam::123456789012:role/states-service"
    )
    deidentification = importlib.import_module("runtime.handlers.deidentification")
    dispatcher = importlib.import_module("runtime.handlers.dispatcher")
    for module in (importlib.import_module("runtime.handlers.ingestion"), deidentification, dispatcher):
        monkeypatch.setattr(module, "s3", buckets.s3)
        monkeypatch.setattr(module, "ledger", ledger)
    executions = importlib.import_module("runtime.aws.executions")
    monkeypatch.setattr(dispatcher, "executions", executions.Executions(states, STATE_MACHINE))
    monkeypatch.setattr(dispatcher, "audit", audit)
    monkeypatch.setattr(dispatcher, "cloudwatch", boto3.client("cloudwatch"))
    monkeypatch.setattr("runtime.aws.retries.time.sleep", lambda _: None)
    yield Stage(buckets, ledger, audit, dispatcher, states)
    deidentification.deidentifier.cache_clear()
