"""All functions of a stage in moto, invoked as Lambda's runtime does, and errors for whoever asks AWS something."""

from __future__ import annotations

import importlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.endpoint import Endpoint

from runtime.contract.ledger import LedgerStatus
from runtime.contract.names import Function
from runtime.contract.objects import ExecutionInput
from runtime.contract.replay import ReplayFilter, ReplayItem
from runtime.ledger.table import hashed
from tests.unit.conftest import RAW, SECRET, dicom_file
from tests.unit.intake.conftest import STATE_MACHINE, Context, message
from tests.unit.operations.conftest import Operator, Stage, functions, operator, stage  # noqa: F401 - fixtures

# Before the tests, since the X-Ray SDK opens a socket when it is imported.
importlib.import_module("runtime.observability.entry_points")

__all__ = ["functions", "operator", "stage"]

CT = dicom_file("CT_small.dcm")


@dataclass
class Faults:
    """What happens to requests to AWS from the `after`-th on, if anything."""

    error: Callable[[], None] | None = None
    after: int = 1
    requests: int = 0

    def provoke(self, error: Callable[[], None] | None, after: int = 1) -> None:
        self.error, self.after, self.requests = error, after, 0

    @property
    def happened(self) -> bool:
        return self.requests >= self.after


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Let requests fail where botocore's connection would: what it retries, it retries."""
    faults = Faults()
    endpoints: Any = Endpoint
    get_response = endpoints._get_response

    def respond(endpoint: Any, request: Any, operation_model: Any, context: Any) -> Any:
        faults.requests += 1
        if faults.error is None or faults.requests < faults.after:
            return get_response(endpoint, request, operation_model, context)
        try:
            faults.error()
        except Exception as error:  # noqa: BLE001 - as botocore does
            return None, error
        raise AssertionError("nothing was provoked")

    monkeypatch.setattr(endpoints, "_get_response", respond)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    return faults


@dataclass
class Outcome:
    """What of an invocation leaves the function."""

    answer: Any
    error: BaseException | None
    written: str

    @property
    def told(self) -> str:
        """Everything that anybody can read of it: Lambda's log, its answer and trace, and the chain of errors."""
        return self.written + ("".join(traceback.format_exception(self.error)) if self.error else "")


class LambdaRuntime:
    """Invokes handlers as AWS does, whose client of the runtime interface tells errors so (`bootstrap.py`)."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def invoke(self, function: Function, event: Mapping[str, Any], milliseconds_left: int = 1000) -> Outcome:
        self._capsys.readouterr()
        answer: Any = None
        error: BaseException | None = None
        try:
            handler = importlib.import_module(f"runtime.handlers.{function}").handler
            answer = handler(json.loads(json.dumps(event)), Context(milliseconds_left))
        except BaseException as raised:  # noqa: BLE001 - as AWS does; of what is no Exception, Python writes all
            error = raised
            frames = traceback.extract_tb(error.__traceback__)
            document = {
                "errorMessage": str(error),
                "errorType": type(error).__name__,
                "requestId": "",
                "stackTrace": traceback.format_list(frames),
            }
            stack = [{"label": frame.name, "path": frame.filename, "line": frame.lineno} for frame in frames]
            x_ray = {"exceptions": [{"message": str(error), "type": type(error).__name__, "stack": stack}]}
            sys.stdout.write(f"[ERROR] {json.dumps(document)}\n{json.dumps(x_ray)}\n")
        return Outcome(answer, error, "".join(self._capsys.readouterr()))


@pytest.fixture
def lambda_runtime(output: pytest.CaptureFixture[str]) -> LambdaRuntime:
    return LambdaRuntime(output)


@dataclass
class AllFunctions:
    """Every function of a stage, with an event that gives it work."""

    stage: Stage

    def event(self, function: Function, key: str) -> dict[str, Any]:
        """Return an event that makes a function ask AWS for something about an object of this key."""
        if function is Function.COMPLETENESS:
            self._quiet_study(key)
            return {"source": "aws.events", "resources": [key]}
        coordinates = self.stage.buckets.upload(CT, key)
        if function is Function.RECONCILIATION:
            self.stage.buckets.upload(b"", f"{key}-other.dcm")
            return {"start": True}
        if function is Function.REPLAY:
            replay = ReplayItem(
                bucket=RAW, key=key, filter=ReplayFilter(requested_at="2100-01-01T00:00:00.000Z", reason_code=None)
            )
            return replay.model_dump(mode="json")
        if function is Function.DISPATCHER:
            return {"Records": [_record(message(coordinates))]}
        execution = ExecutionInput(object=coordinates)
        self.stage.ledger.receive(execution)
        self.stage.ledger.run(execution, "arn")
        return execution.model_dump(mode="json")

    def _quiet_study(self, key: str) -> None:
        coordinates = self.stage.buckets.upload(CT, key)
        self.stage.finish(coordinates, LedgerStatus.DELIVERED, study_id=hashed(coordinates.object_id))
        self.stage.change(coordinates, updated_at="2026-01-01T00:00:00.000Z")


def _record(body: str) -> dict[str, Any]:
    return {"messageId": "1", "body": body, "eventSource": "aws:sqs", "receiptHandle": "", "attributes": {}}


@pytest.fixture
def all_functions(faults: Faults, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Iterator[AllFunctions]:
    executions = importlib.import_module("runtime.aws.executions").Executions(stage.states, STATE_MACHINE)
    resources = {"s3": stage.buckets.s3, "ledger": stage.ledger, "executions": executions}
    resources["cloudwatch"] = boto3.client("cloudwatch")
    for function in Function:
        module = importlib.import_module(f"runtime.handlers.{function}")
        for name, resource in resources.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, resource)
    replay = importlib.import_module("runtime.handlers.replay")
    monkeypatch.setattr(replay, "RETRY_SECONDS", 0.0)
    reconciliation = importlib.import_module("runtime.handlers.reconciliation")
    variables = reconciliation.variables.model_copy(update={"STUCK_AFTER_SECONDS": 0})
    monkeypatch.setattr(reconciliation, "variables", variables)
    monkeypatch.setattr("runtime.operations.reconciliation.START_SECONDS", 0.0)
    boto3.client("secretsmanager").create_secret(Name=SECRET, SecretString="0123456789abcdef" * 4)
    deidentifier = importlib.import_module("runtime.handlers.deidentification").deidentifier
    yield AllFunctions(stage)
    deidentifier.cache_clear()
