"""What each command asks of AWS is what `docs/rights.md` tells people to be granted: no less, and no more."""

import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.client import BaseClient

from runtime.aws.executions import Executions
from runtime.contract.ledger import LedgerStatus
from runtime.contract.names import Output
from runtime.contract.objects import ExecutionInput
from runtime.ledger.rows import Ledger, Row
from tests.unit.intake.conftest import STATE_MACHINE
from tests.unit.operations.conftest import KEY, Operator, http_answer
from tests.unit.operations.test_dead_letters import send
from tests.unit.operations.test_quarantine import DECISION, RISKS, quarantine

RIGHTS = Path(__file__).parents[3] / "docs" / "rights.md"
ACTIONS = {
    ("lambda", "Invoke"): "lambda:InvokeFunction",
    ("dynamodb", "ExecuteStatement"): "dynamodb:PartiQLInsert",
    ("s3", "HeadObject"): "s3:GetObject",
    ("s3", "ListObjectsV2"): "s3:ListBucket",
    ("s3", "ListObjectVersions"): "s3:ListBucketVersions",
}
"""By service and operation, the action that permits it, where its name is not the operation's."""
PREFIXES = {"stepfunctions": "states"}
OF_EVERYBODY = {"ssm:GetParameter", "sts:GetCallerIdentity"}
"""The one is said above the table, the other needs no right."""


def documented() -> dict[str, set[str]]:
    """Actions by command."""
    _, _, section = RIGHTS.read_text().partition("## What people need\n")
    rights: dict[str, set[str]] = {}
    for line in re.findall(r"^\| `.*", section.partition("\n## ")[0], re.MULTILINE):
        commands, actions = (re.findall("`([^`]+)`", cell) for cell in line.split("|")[1:3])
        rights |= {command: set(actions) for command in commands}
    return rights


def see_in_quarantine(operator: Operator) -> str:
    stage = operator.stage
    row = stage.ledger.row(quarantine(stage, RISKS))
    assert row is not None
    execution = stage.states.start_execution(stateMachineArn=STATE_MACHINE)["executionArn"]
    stage.change(row.coordinates, execution=execution)
    take_next_name(operator, row)
    return row.object_id


def take_next_name(operator: Operator, row: Row) -> None:
    """Have run the next attempt before the ledger was restored, so that its execution's name is taken."""
    states = operator.stage.states
    states.stop_execution(executionArn=Executions(states, STATE_MACHINE).start(row.next_attempt()))


def lose_messages(operator: Operator) -> None:
    topic = boto3.client("sns").create_topic(Name="deliveries")["TopicArn"]
    rule = "arn:aws:events:us-east-1:123456789012:rule/medical-imaging-pipeline-test-reconciliation"
    send(operator.stage, Output.INTAKE_DEAD_LETTERS_URL, "{}")
    send(operator.stage, Output.SCHEDULE_DEAD_LETTERS_URL, {"resources": [rule]})
    send(operator.stage, Output.NOTIFICATION_DEAD_LETTERS_URL, {"TopicArn": topic, "Message": "FAILED"})
    announcement = {"source": "medical-imaging-pipeline", "detail-type": "InstanceDelivered", "detail": {}}
    send(operator.stage, Output.NOTIFICATION_DEAD_LETTERS_URL, announcement)


def deliver(operator: Operator) -> str:
    row = operator.stage.finish(operator.stage.buckets.upload(b"content", KEY), LedgerStatus.DELIVERED)
    assert row.output_key
    return row.output_key


def fail(operator: Operator) -> None:
    stage = operator.stage
    row = stage.finish(stage.buckets.upload(b"content", KEY), LedgerStatus.FAILED, error="States.Timeout")
    take_next_name(operator, row)


RUNS: dict[str, tuple[Callable[[Operator], str | None], list[tuple[str, ...]]]] = {
    "status": (fail, [(), ("failed",)]),
    "where": (see_in_quarantine, [("{}",), (KEY,), ("P1/2.25.1/2.25.2/2.25.3.dcm",)]),
    "quarantine list": (see_in_quarantine, [()]),
    "quarantine show": (see_in_quarantine, [("{}",), (KEY,)]),
    "quarantine retry": (see_in_quarantine, [("--reason", "RISK_ULTRASOUND"), ("{}",), (KEY,)]),
    "quarantine release": (see_in_quarantine, [("{}", *DECISION), (KEY, *DECISION)]),
    "quarantine dismiss": (see_in_quarantine, [("{}", *DECISION), (KEY, *DECISION)]),
    "redrive": (fail, [(), (KEY,)]),
    "replay": (fail, [("--all", "--yes"), ("--all", "--dry-run"), ("--reason", "RISK_ULTRASOUND", "--follow"), (KEY,)]),
    "reconcile": (fail, [()]),
    "dead-letters list": (lose_messages, [()]),
    "dead-letters replay": (lose_messages, [()]),
    "links": (deliver, [("--for", "whom", "{}"), ("--for", "whom", "--prefix", "P1/"), ("--for", "whom", "0" * 32)]),
    "audit": (
        deliver,
        [("--object", "0" * 32), ("--object", KEY), ("--output-key", "P1/2.25.1/"), ("--since", "2026-11-01")],
    ),
}
"""By command, what makes it useful (what that returns stands for `{}`), and the arguments of its runs."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Actions that were asked of AWS; those of an invoked function, which has rights of its own, are none of them."""
    actions: list[str] = []
    inside: list[str] = []
    call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def record(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        service = client.meta.service_model.service_name
        if not inside:
            actions.append(ACTIONS.get((service, operation), f"{PREFIXES.get(service, service)}:{operation}"))
        inside.append(operation)
        try:
            return call(client, operation, parameters)
        finally:
            inside.pop()

    monkeypatch.setattr(BaseClient, "_make_api_call", record)
    return actions


@pytest.fixture
def contested(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another caller open each attempt a moment before, so that whether its execution runs has to be asked."""
    open_ = Ledger.open

    def open_second(ledger: Ledger, execution: ExecutionInput) -> tuple[Row, bool]:
        open_(ledger, execution)
        return open_(ledger, execution)

    monkeypatch.setattr(Ledger, "open", open_second)


def _answer(document: Any, request: Any, **_: Any) -> AWSResponse:
    return http_answer(request, document)


@pytest.fixture
def watched(functions: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer what moto knows nothing of, and lose patience with a replay after one look."""
    counts = dict.fromkeys(("succeeded", "failed", "timedOut", "aborted", "total"), 0)
    answers: dict[str, Any] = {
        "lambda.GetFunctionConfiguration": {"Environment": {"Variables": dict(os.environ)}},
        "sfn.ListMapRuns": {"mapRuns": [{"mapRunArn": "arn"}]},
        "sfn.DescribeMapRun": {"itemCounts": counts},
    }
    session = boto3.DEFAULT_SESSION
    assert session is not None
    for operation, document in answers.items():
        answer: Any = partial(_answer, document)
        session.events.register_first(f"before-send.{operation}", answer)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.operations.replays.time.sleep", interrupt)


def test_should_say_of_each_command_what_it_needs() -> None:
    assert set(documented()) == set(RUNS)


@pytest.mark.usefixtures("functions", "contested", "watched")
@pytest.mark.parametrize("command", RUNS)
def test_should_ask_for_what_is_documented_and_nothing_else(command: str, operator: Operator, asked: list[str]) -> None:
    prepare, runs = RUNS[command]
    what = prepare(operator)
    asked.clear()
    for arguments in runs:
        operator.run(*command.split(), *(str(what) if argument == "{}" else argument for argument in arguments))
    assert set(asked) - OF_EVERYBODY == documented()[command]
