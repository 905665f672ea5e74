"""A stage as operators find it: its parameters, ledger, buckets, workflow, queues and event bus in moto."""

import contextlib
import importlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from cli.__main__ import main
from runtime.aws.audit import AuditLog
from runtime.contract.ledger import LedgerStatus
from runtime.contract.names import Output
from runtime.contract.objects import ExecutionInput, ObjectCoordinates
from runtime.ledger.rows import Ledger, Row
from tests.unit.audit_tables import audit_log
from tests.unit.conftest import AUDIT_TABLE, LEDGER_TABLE, PROCESSED, RAW, Buckets, Context
from tests.unit.intake.conftest import STATE_MACHINE

os.environ.update(
    RAW_BUCKET=RAW,
    STUCK_AFTER_SECONDS="10800",
    TIMEOUT_SECONDS="900",
    EVENT_BUS_NAME="stage",
    STUDY_QUIET_SECONDS="600",
)

KEY = "DOE^JANE/scan 1.dcm"
REPLAY_MACHINE = STATE_MACHINE + "-replay"
DELIVERED = {"profile": "research", "profile_hash": "ab" * 32, "key_id": "k1"}
LINK_AUDIT_TABLE = "stage-link-audit"
_HANDLERS = ("reconciliation", "replay", "completeness")


class Body:
    """A response's body, as botocore streams it."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.content

    def read(self, *_: Any, **__: Any) -> bytes:
        content, self.content = self.content, b""
        return content


@dataclass
class Stage:
    """A stage's resources, and its functions invoked as AWS invokes them."""

    buckets: Buckets
    ledger: Ledger
    audit: AuditLog
    link_audit: AuditLog
    states: Any
    sqs: Any

    def invoke(self, name: str, event: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = importlib.import_module(f"runtime.handlers.{name}").handler(event, Context())
        return answer

    def row(self, coordinates: ObjectCoordinates) -> Row:
        row = self.ledger.row(coordinates.object_id)
        assert row is not None
        return row

    def started(self, machine: str = STATE_MACHINE) -> list[dict[str, Any]]:
        """Return the inputs of the executions that were started."""
        listed = self.states.list_executions(stateMachineArn=machine)["executions"]
        arns = [execution["executionArn"] for execution in listed]
        return [json.loads(self.states.describe_execution(executionArn=arn)["input"]) for arn in arns]

    def finish(
        self,
        coordinates: ObjectCoordinates,
        status: LedgerStatus,
        *,
        study_id: str = "",
        attempt: int = 1,
        **facts: str,
    ) -> Row:
        """Take an object to its verdict."""
        execution = ExecutionInput(object=coordinates, attempt=attempt)
        self.ledger.receive(execution)
        if study_id:
            self.ledger.identify(coordinates.object_id, study_id)
        if status is LedgerStatus.DELIVERED:
            facts = DELIVERED | {"output_key": f"P1/2.25.1/2.25.2/{coordinates.object_id}.dcm"} | facts
            self.buckets.s3.put_object(Bucket=PROCESSED, Key=facts["output_key"], Body=b"result")
        assert self.ledger.record(execution, status, **facts)
        return self.row(coordinates)

    def change(self, coordinates: ObjectCoordinates, **attributes: str) -> None:
        """Set attributes of a row, such as its times, whatever the rules."""
        for name, value in attributes.items():
            boto3.client("dynamodb").update_item(
                TableName=LEDGER_TABLE,
                Key={"object_id": {"S": coordinates.object_id}},
                UpdateExpression="SET #name = :value",
                ExpressionAttributeNames={"#name": name},
                ExpressionAttributeValues={":value": {"S": value}},
            )


@pytest.fixture
def stage(
    buckets: Buckets,
    ledger: Ledger,
    audit: AuditLog,
    output: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Stage:
    states, sqs = boto3.client("stepfunctions"), boto3.client("sqs")
    definition = json.dumps({"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 60, "End": True}}})
    for arn in (STATE_MACHINE, REPLAY_MACHINE):
        role = "arn:aws:iam::123456789012:role/states-service"
        states.create_state_machine(name=arn.rpartition(":")[2], definition=definition, roleArn=role)
    values = {
        Output.LEDGER_TABLE_NAME: LEDGER_TABLE,
        Output.STATE_MACHINE_ARN: STATE_MACHINE,
        Output.REPLAY_STATE_MACHINE_ARN: REPLAY_MACHINE,
        Output.RAW_BUCKET_NAME: RAW,
        Output.PROCESSED_BUCKET_NAME: PROCESSED,
        Output.EVENT_BUS_NAME: "stage",
        Output.AUDIT_TABLE_NAME: AUDIT_TABLE,
        Output.LINK_AUDIT_TABLE_NAME: LINK_AUDIT_TABLE,
        **{
            queue: sqs.create_queue(QueueName=queue.value)["QueueUrl"]
            for queue in (
                Output.INTAKE_QUEUE_URL,
                Output.INTAKE_DEAD_LETTERS_URL,
                Output.SCHEDULE_DEAD_LETTERS_URL,
                Output.NOTIFICATION_DEAD_LETTERS_URL,
            )
        },
    }
    ssm = boto3.client("ssm")
    for name, value in values.items():
        ssm.put_parameter(Name=name.parameter("test"), Value=value, Type="String")
    events = boto3.client("events")
    events.create_event_bus(Name="stage")
    executions = importlib.import_module("runtime.aws.executions").Executions(states, STATE_MACHINE)
    clients: dict[str, object] = {"ledger": ledger, "s3": buckets.s3, "executions": executions}
    clients["cloudwatch"] = boto3.client("cloudwatch")
    for handler in _HANDLERS:
        module = importlib.import_module(f"runtime.handlers.{handler}")
        for attribute, client in clients.items():
            if hasattr(module, attribute):
                monkeypatch.setattr(module, attribute, client)
    completeness = importlib.import_module("runtime.operations.completeness")
    publisher = completeness.Publisher(buckets.s3, events, bucket=PROCESSED, bus="stage")
    monkeypatch.setattr(importlib.import_module("runtime.handlers.completeness"), "publisher", publisher)
    return Stage(buckets, ledger, audit, audit_log(LINK_AUDIT_TABLE, monkeypatch), states, sqs)


@dataclass
class Operator:
    """Somebody at the command line."""

    stage: Stage
    captured: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command; return its exit status, and what it wrote to standard output and standard error."""
        self.captured.readouterr()
        status = main([*arguments, "--stage", "test"])
        return status, *self.captured.readouterr()

    def table(self, *arguments: str) -> list[list[str]]:
        """Run a command that succeeds, and return its output's words by line."""
        status, out, _ = self.run(*arguments)
        assert status == 0
        return [line.split() for line in out.splitlines()]


@pytest.fixture
def operator(stage: Stage, output: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Operator:
    monkeypatch.setenv("COLUMNS", "300")  # so that a row of a table is a line
    return Operator(stage, output)


@pytest.fixture
def functions(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Let AWS Lambda invoke the handlers of this process; return the list of what was invoked how."""
    invoked: list[tuple[str, str]] = []

    def invoke(request: Any, **_: Any) -> AWSResponse:
        name = request.url.split("/functions/")[1].split("/")[0]
        kind = request.headers.get("X-Amz-Invocation-Type", b"RequestResponse")
        invoked.append((name, kind.decode() if isinstance(kind, bytes) else kind))
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # a function's log is not the command's output
                answer = stage.invoke(name.rpartition("-")[2], json.loads(request.body))
            return http_answer(request, answer)
        except Exception as error:  # noqa: BLE001 - as Lambda does
            return http_answer(request, {"errorMessage": str(error)}, X_Amz_Function_Error="Unhandled")

    answer_requests("lambda.Invoke", invoke, monkeypatch)
    return invoked


def refusal(code: str) -> ClientError:
    """Return how Step Functions refuses a start."""
    return ClientError({"Error": {"Code": code, "Message": KEY}}, "StartExecution")


def refuse_first_start(stage: Stage, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    start, refusals = stage.states.start_execution, [refusal(code)]

    def start_execution(**arguments: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return start(**arguments)

    monkeypatch.setattr(stage.states, "start_execution", start_execution)


def answer_requests(operation: str, answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a function answer an AWS operation of clients that are made from now on."""
    session = boto3.Session()
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
    session.events.register_first(f"before-send.{operation}", answer)


def http_answer(request: Any, document: Any, *, status: int = 200, **headers: str) -> AWSResponse:
    """Return an AWS service's answer in JSON."""
    named: Any = {name.replace("_", "-"): value for name, value in headers.items()}
    return AWSResponse(request.url, status, named, Body(json.dumps(document).encode()))
