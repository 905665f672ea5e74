"""The deployed stage as a stress test sees it: what it is given, what it did with it, and how to trouble it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from local.environment import PROJECT_ROOT
from runtime.aws import clients
from runtime.contract.ledger import LedgerStatus
from runtime.contract.names import PROJECT, Function, Output, ReplayState
from runtime.deidentification.engine import Deidentifier
from runtime.deidentification.profile import load_profile
from runtime.deidentification.pseudonyms import Pseudonyms
from runtime.dicom.header import read_header
from runtime.dicom.source import BytesSource
from runtime.ledger.rows import Ledger, Row

STAGE = "local"
PROFILE = "research"
IN_WORK = frozenset((LedgerStatus.RECEIVED, LedgerStatus.RUNNING))
STEPS = (Function.INGESTION, Function.VALIDATION, Function.DEIDENTIFICATION)
AT_ONCE = {Function.DISPATCHER: 2} | dict.fromkeys(STEPS, 4)
"""Functions at once, as reserved concurrency bounds them: far fewer than executions, so that they are throttled."""
VISIBILITY_SECONDS = 60
"""How long a message that a dispatcher has is hidden. With the stage's own setting each test would wait longer."""


@dataclass(frozen=True)
class Accounts:
    """What became of the objects below one prefix."""

    rows: Sequence[Row]
    executions: int
    failed_attempts: int
    """of tasks of these executions, which Step Functions repeated or gave up"""
    results: Mapping[str, Sequence[str]]
    """by key in the processed bucket, SHA-256 of each of its versions"""
    seconds: float

    @property
    def statuses(self) -> Counter[LedgerStatus]:
        return Counter(row.status for row in self.rows)

    def key_of(self, status: LedgerStatus) -> dict[str, Row]:
        """Rows of a status by the objects' keys."""
        return {row.key: row for row in self.rows if row.status is status}


@dataclass
class Deployed:
    """Clients of a deployed stage `local`, to be used within `local.environment.isolation`."""

    environment: Mapping[str, str]
    outputs: Mapping[Output, str]
    folder: Path
    """of the emulator"""
    _began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.raw = self.outputs[Output.RAW_BUCKET_NAME]
        self.processed = self.outputs[Output.PROCESSED_BUCKET_NAME]
        self.s3 = boto3.client("s3")
        self.sqs = boto3.client("sqs")
        self.lambda_ = boto3.client("lambda")
        self.events = boto3.client("events")
        self.step_functions = boto3.client("stepfunctions")
        self.ledger = Ledger(clients.client("dynamodb"), self.outputs[Output.LEDGER_TABLE_NAME])
        secrets = boto3.client("secretsmanager")
        key = secrets.get_secret_value(SecretId=f"{PROJECT}-{STAGE}/pseudonym-key")["SecretString"]
        self._engine = Deidentifier(load_profile(PROFILE), Pseudonyms.from_hex(key))

    # What it is given.

    def bound(self) -> None:
        """Bound the functions' concurrency, and how long a message is hidden."""
        self.hide_messages(VISIBILITY_SECONDS)
        for function, count in AT_ONCE.items():
            self.lambda_.put_function_concurrency(
                FunctionName=self.function_name(function), ReservedConcurrentExecutions=count
            )

    def hide_messages(self, seconds: int) -> None:
        """Set how long a message that a dispatcher has is hidden from others."""
        self.sqs.set_queue_attributes(
            QueueUrl=self.outputs[Output.INTAKE_QUEUE_URL], Attributes={"VisibilityTimeout": str(seconds)}
        )

    def upload(self, objects: Mapping[str, bytes]) -> None:
        """Put objects into the raw bucket, several at a time."""
        self._began = time.monotonic()

        def put(item: tuple[str, bytes]) -> None:
            self.s3.put_object(Bucket=self.raw, Key=item[0], Body=item[1])

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(put, objects.items()))

    def send_events(self, keys: Sequence[str], queue: Output = Output.INTAKE_QUEUE_URL) -> None:
        """Put the event "Object Created" of each key into a queue, as often as it is among `keys`."""
        bodies = [json.dumps({"detail": {"bucket": {"name": self.raw}, "object": {"key": key}}}) for key in keys]
        for first in range(0, len(bodies), 10):
            entries = enumerate(bodies[first : first + 10])
            self.sqs.send_message_batch(
                QueueUrl=self.outputs[queue],
                Entries=[{"Id": str(number), "MessageBody": body} for number, body in entries],
            )

    @contextmanager
    def without_rule(self) -> Iterator[None]:
        """Let no event of S3 reach the queue."""
        name = f"{PROJECT}-{STAGE}-object-created"
        self.events.disable_rule(Name=name)
        try:
            yield
        finally:
            self.events.enable_rule(Name=name)

    @contextmanager
    def without_dispatcher(self) -> Iterator[None]:
        """Leave what arrives in the queue."""
        name = self.function_name(Function.DISPATCHER)
        (mapping,) = self.lambda_.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        self.lambda_.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        try:
            yield
        finally:
            self.lambda_.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)

    def replay_at_once(self, keys: int) -> None:
        """Bound what a replay has in work."""
        arn = self.outputs[Output.REPLAY_STATE_MACHINE_ARN]
        definition = json.loads(self.step_functions.describe_state_machine(stateMachineArn=arn)["definition"])
        definition["States"][ReplayState.REPLAY_OBJECTS]["MaxConcurrency"] = keys
        self.step_functions.update_state_machine(stateMachineArn=arn, definition=json.dumps(definition))

    # How it is troubled.

    @contextmanager
    def reaching_aws_at(self, endpoint: str, functions: Iterable[Function] = Function) -> Iterator[None]:
        """Let functions reach AWS at another address."""
        names = [self.function_name(function) for function in functions]
        before = {name: self._variables(name) for name in names}
        try:
            for name in names:
                self._set_variables(name, before[name] | {"AWS_ENDPOINT_URL": endpoint})
            yield
        finally:
            for name in names:
                self._set_variables(name, before[name])

    def kill(self, function: Function) -> int:
        """Kill the processes of a function, as AWS does with one that is out of memory; return their number."""
        killed = 0
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if f"{self.folder}/ministack-lambda-{self.function_name(function)}-" in command:
                os.kill(int(process.name), signal.SIGKILL)
                killed += 1
        return killed

    def run(self, *arguments: str, endpoint: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of `imaging-pipeline` for the stage, as an operator does."""
        return subprocess.run(
            [sys.executable, "-m", "cli", *arguments, "--stage", STAGE],
            cwd=PROJECT_ROOT,
            env={**self.environment, **({"AWS_ENDPOINT_URL": endpoint} if endpoint else {})},
            capture_output=True,
            text=True,
            check=False,
        )

    # What it did.

    def settle(self, prefix: str, objects: int, *, timeout_seconds: float = 300) -> Accounts:
        """Wait until so many objects below a prefix have verdicts and nothing of them is on its way.

        Raises
        ------
        AssertionError
            Some had none in time.
        """
        done: list[Row] = []

        def settled() -> bool:
            done[:] = [row for row in self.rows(prefix) if row.status not in IN_WORK]
            return len(done) >= objects and self.messages() == 0

        wait_for(settled, timeout_seconds, lambda: f"{len(done)} of {objects} objects have a verdict")
        return self.accounts(prefix)

    def accounts(self, prefix: str) -> Accounts:
        """Account for every object below a prefix."""
        seconds = time.monotonic() - self._began
        rows = self.rows(prefix)
        ids = {row.object_id for row in rows}
        arns = [arn for arn in self.executions() if arn.rpartition(":")[2].partition("-")[0] in ids]
        keys = {row.output_key for row in rows if row.output_key}
        versions: dict[str, list[str]] = {}
        for page in self.s3.get_paginator("list_object_versions").paginate(Bucket=self.processed):
            for version in page.get("Versions", []):
                if version["Key"] in keys:
                    content = self.result(version["Key"], VersionId=version["VersionId"])
                    versions.setdefault(version["Key"], []).append(hashlib.sha256(content).hexdigest())
        return Accounts(rows, len(arns), sum(map(self._failed_attempts, arns)), versions, seconds)

    def rows(self, prefix: str) -> list[Row]:
        """Rows of the objects below a prefix."""
        found = (row for status in LedgerStatus for row in self.ledger.with_status(status))
        return list({row.object_id: row for row in found if row.key.startswith(prefix)}.values())

    def messages(self) -> int:
        """Messages in the intake queue, those being worked on included."""
        attributes = self.sqs.get_queue_attributes(
            QueueUrl=self.outputs[Output.INTAKE_QUEUE_URL],
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )["Attributes"]
        return sum(map(int, attributes.values()))

    def executions(self) -> list[str]:
        """ARNs of all executions."""
        pages = self.step_functions.get_paginator("list_executions").paginate(
            stateMachineArn=self.outputs[Output.STATE_MACHINE_ARN]
        )
        return [execution["executionArn"] for page in pages for execution in page["executions"]]

    def result(self, key: str, **version: Any) -> bytes:
        """Read a result, or the version of it that `VersionId` names."""
        return self.s3.get_object(Bucket=self.processed, Key=key, **version)["Body"].read()

    def results(self) -> dict[str, bytes]:
        """Read every result; manifests of studies are none."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.processed)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return {key: self.result(key) for key in keys if key.endswith(".dcm")}

    def expected(self, content: bytes) -> bytes:
        """Return what the result of an object must be, byte for byte."""
        result = self._engine.deidentify(read_header(BytesSource(content)), release_risks=False)
        return result.header + (b"" if result.origin is None else result.origin.read())

    def uploads(self) -> list[tuple[str, str]]:
        """Key and id of the multipart uploads that were begun and neither completed nor aborted."""
        answer = self.s3.list_multipart_uploads(Bucket=self.processed)
        return [(upload["Key"], upload["UploadId"]) for upload in answer.get("Uploads", [])]

    def sweep(self) -> int:
        """Abort the uploads that were left behind, as the bucket's lifecycle rule does, which the emulator ignores."""
        left = self.uploads()
        for key, upload_id in left:
            self.s3.abort_multipart_upload(Bucket=self.processed, Key=key, UploadId=upload_id)
        return len(left)

    def function_name(self, function: Function) -> str:
        return f"{PROJECT}-{STAGE}-{function}"

    def _failed_attempts(self, execution_arn: str) -> int:
        pages = self.step_functions.get_paginator("get_execution_history").paginate(executionArn=execution_arn)
        return sum(event["type"] == "TaskFailed" for page in pages for event in page["events"])

    def _variables(self, name: str) -> dict[str, str]:
        return self.lambda_.get_function_configuration(FunctionName=name)["Environment"]["Variables"]

    def _set_variables(self, name: str, variables: Mapping[str, str]) -> None:
        self.lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": variables})


def wait_for(condition: Callable[[], Any], timeout_seconds: float, describe: Callable[[], str] = str) -> None:
    """Wait until a condition holds.

    Raises
    ------
    AssertionError
        It did not in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {timeout_seconds:.0f} s: {describe()}"
        time.sleep(0.5)
