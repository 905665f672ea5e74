"""A deployed stage as its users see it: put objects in, see what became of each."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from local.errors import LocalRunError
from runtime.contract.ledger import LedgerAttribute, LedgerStatus
from runtime.contract.names import Output, State
from runtime.contract.objects import ExecutionInput, ObjectCoordinates

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions.type_defs import HistoryEventTypeDef

STEPS = (State.INGESTION_STEP, State.VALIDATION_STEP, State.DEIDENTIFICATION_STEP)
POLL_SECONDS = 0.25
AT_ONCE = min(8, max(2, os.cpu_count() or 1))


@dataclass(frozen=True)
class Outcome:
    """What became of one object, and how its execution ended."""

    execution_arn: str
    """Empty where none was started."""
    key: str
    end: State | None
    """None where the object was ignored: the stage accepts no key like its."""
    seconds: Mapping[State, float]
    """Of each step that ran, its retries included."""
    facts: Mapping[str, Any]
    """What ingestion told; empty where it rejected the object."""
    result: Mapping[str, Any]
    """What the last state was given: what was done to a released object, findings of a quarantined one."""

    @property
    def released(self) -> bool:
        """Tell whether the object's own result is in the processed bucket."""
        return self.end is State.SUCCESS

    @property
    def output_key(self) -> str | None:
        """Key of the result in the processed bucket; of a duplicate's, the one that the first of its bytes has."""
        if self.end is State.DUPLICATE:
            return str(self.result["step"]["body"]["output_key"])
        return self.result["deidentification"]["output_key"] if self.released else None

    @property
    def reason_codes(self) -> tuple[str, ...]:
        """Why the object was quarantined, or what failed."""
        if self.end is State.QUARANTINED:
            return tuple(self.result["reason_codes"].split())
        return (self.result["error"],) if self.end is State.FAILURE else ()


class Pipeline:
    """Clients of one deployed stage.

    Parameters
    ----------
    outputs
        Outputs of its stack.

    Attributes
    ----------
    outputs
        Names and addresses that the stack published.
    """

    def __init__(self, outputs: Mapping[Output, str]) -> None:
        self.outputs = outputs
        self.raw_bucket = outputs[Output.RAW_BUCKET_NAME]
        self.processed_bucket = outputs[Output.PROCESSED_BUCKET_NAME]
        self.state_machine_arn = outputs[Output.STATE_MACHINE_ARN]
        self.s3 = boto3.client("s3")
        self.step_functions = boto3.client("stepfunctions")
        self.dynamodb = boto3.client("dynamodb")
        self._keys: dict[str, str] = {}
        self._told: set[str] = set()

    def upload(self, key: str, content: bytes | Path) -> str:
        """Put an object into the raw bucket, as a scanner does, and return its version id."""
        with BytesIO(content) if isinstance(content, bytes) else content.open("rb") as body:
            return self.s3.put_object(Bucket=self.raw_bucket, Key=key, Body=body)["VersionId"]

    def processed(self, key: str) -> bytes:
        """Read a result."""
        return self.s3.get_object(Bucket=self.processed_bucket, Key=key)["Body"].read()

    def process_all(
        self, objects: Mapping[str, bytes | Path], *, at_once: int = AT_ONCE, timeout_seconds: float = 300
    ) -> Iterator[Outcome]:
        """Upload objects, a few at a time, and yield the outcome of each as soon as there is one.

        Parameters
        ----------
        objects
            Keys and contents.
        at_once
            How many may be on their way. The emulator answers a call too many as a crash, not as throttling, so this
            must not exceed the functions that it runs at once.
        timeout_seconds
            How long to wait for the next outcome.

        Raises
        ------
        LocalRunError
            No object got an outcome within `timeout_seconds`.
        """
        queue = deque(objects.items())
        waiting: dict[str, str] = {}  # versions of keys
        deadline = time.monotonic() + timeout_seconds
        while queue or waiting:
            while queue and len(waiting) < at_once:
                key, content = queue.popleft()
                waiting[key] = self.upload(key, content)
            for outcome in (*map(self.outcome, self._ended(waiting)), *self._ignored(waiting)):
                waiting.pop(outcome.key, None)
                deadline = time.monotonic() + timeout_seconds
                yield outcome
            if time.monotonic() > deadline:
                raise LocalRunError(f"{len(waiting)} object(s) have no outcome after {timeout_seconds:.0f} s.")
            time.sleep(POLL_SECONDS)

    def process(self, key: str, content: bytes | Path) -> Outcome:
        """Upload one object and wait for its outcome."""
        return next(self.process_all({key: content}))

    def ended(self, key: str, count: int, *, timeout_seconds: float = 120) -> list[Outcome]:
        """Wait until so many executions for a key have ended, and return their outcomes."""
        deadline = time.monotonic() + timeout_seconds
        while len(arns := self._ended({key})) < count:
            if time.monotonic() > deadline:
                raise LocalRunError(f"{len(arns)} of {count} executions ended within {timeout_seconds:.0f} s.")
            time.sleep(POLL_SECONDS)
        return [self.outcome(arn) for arn in arns]

    def start(self, execution: ExecutionInput) -> Outcome:
        """Start an execution by hand, past the intake, and wait for its outcome."""
        arn = self.step_functions.start_execution(
            stateMachineArn=self.state_machine_arn, name=execution.execution_name, input=execution.model_dump_json()
        )["executionArn"]
        while self.step_functions.describe_execution(executionArn=arn)["status"] == "RUNNING":
            time.sleep(POLL_SECONDS)
        return self.outcome(arn)

    def outcome(self, execution_arn: str) -> Outcome:
        """Read the outcome of an execution that ended from its history."""
        self._told.add(execution_arn)
        events = list(self.history(execution_arn))
        entered = {
            details["name"]: details["input"]
            for event in events
            if (details := event.get("stateEnteredEventDetails")) is not None
        }
        end, result = list(entered.items())[-1]
        after_ingestion = json.loads(entered.get(State.VALIDATION_STEP, "{}"))
        return Outcome(
            execution_arn=execution_arn,
            key=self._key(execution_arn),
            end=State(end),
            seconds=_durations(events),
            facts=after_ingestion.get("ingestion", {}).get("facts", {}),
            result=json.loads(result),
        )

    def history(self, execution_arn: str) -> Iterator[HistoryEventTypeDef]:
        """Yield the events of an execution, the first one first."""
        pages = self.step_functions.get_paginator("get_execution_history").paginate(executionArn=execution_arn)
        for page in pages:
            yield from page["events"]

    def executions(self) -> Iterator[tuple[str, str]]:
        """Yield ARN and status of every execution, the last one started first."""
        pages = self.step_functions.get_paginator("list_executions").paginate(stateMachineArn=self.state_machine_arn)
        for page in pages:
            yield from ((each["executionArn"], each["status"]) for each in page["executions"])

    def _ended(self, keys: Collection[str]) -> list[str]:
        """Return the executions that ended for these objects, but for those whose outcome was told."""
        ended = (arn for arn, status in self.executions() if status != "RUNNING" and arn not in self._told)
        return [arn for arn in ended if self._key(arn) in keys]

    def _ignored(self, versions: Mapping[str, str]) -> Iterator[Outcome]:
        """Yield the outcome of those among these objects of which the ledger says that they were ignored."""
        started = {self._key(arn) for arn, _ in self.executions()}
        for key, version_id in versions.items():
            if key not in started and self._status(key, version_id) == LedgerStatus.IGNORED:
                yield Outcome(execution_arn="", key=key, end=None, seconds={}, facts={}, result={})

    def _status(self, key: str, version_id: str) -> str | None:
        """Return the status of an object's row in the ledger, if it has one."""
        place = ObjectCoordinates(bucket=self.raw_bucket, key=key, version_id=version_id, size=0, etag="")
        item = self.dynamodb.get_item(
            TableName=self.outputs[Output.LEDGER_TABLE_NAME],
            Key={LedgerAttribute.OBJECT_ID: {"S": place.object_id}},
        ).get("Item", {})
        return item[LedgerAttribute.STATUS]["S"] if item else None

    def _key(self, execution_arn: str) -> str:
        """Return the key of the object that started an execution."""
        if execution_arn not in self._keys:
            event = self.step_functions.describe_execution(executionArn=execution_arn)["input"]
            self._keys[execution_arn] = json.loads(event)["object"]["key"]
        return self._keys[execution_arn]


def _durations(events: list[HistoryEventTypeDef]) -> dict[State, float]:
    entered: dict[str, datetime] = {}
    durations = {}
    for event in events:
        if "stateEnteredEventDetails" in event:
            entered[event["stateEnteredEventDetails"]["name"]] = event["timestamp"]
        elif "stateExitedEventDetails" in event and event["stateExitedEventDetails"]["name"] in STEPS:
            name = event["stateExitedEventDetails"]["name"]
            durations[State(name)] = (event["timestamp"] - entered[name]).total_seconds()
    return durations
