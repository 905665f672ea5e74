import json
from datetime import UTC, datetime, timedelta
from typing import Literal

import boto3
import pytest

from runtime.contract.ledger import LedgerStatus
from runtime.contract.names import Output
from runtime.contract.objects import ExecutionInput
from tests.unit.operations.conftest import KEY, Operator, Stage
from tests.unit.operations.test_dead_letters import send

LONG_AGO = "2026-01-02T03:04:05.678Z"


def alarm(name: str, state: Literal["ALARM", "OK"] = "ALARM") -> None:
    client = boto3.client("cloudwatch")
    client.put_metric_alarm(
        AlarmName=name,
        AlarmDescription="Objects wait.",
        MetricName="m",
        Namespace="n",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        Statistic="Sum",
    )
    client.set_alarm_state(AlarmName=name, StateValue=state, StateReason="test")


def fill(stage: Stage) -> None:
    for number in range(3):
        stage.finish(stage.buckets.upload(b"1", f"{number}.dcm"), LedgerStatus.DELIVERED)
    old = stage.buckets.upload(b"1", "old.dcm")
    stage.finish(old, LedgerStatus.DELIVERED)
    stage.change(old, updated_at=LONG_AGO)
    stage.finish(stage.buckets.upload(b"1", KEY), LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM")
    stage.ledger.ignore(stage.buckets.upload(b"1", "DOE^JANE/notes.txt"))
    running = stage.buckets.upload(b"1", "running.dcm")
    stage.ledger.receive(ExecutionInput(object=running))
    stage.change(running, opened_at=LONG_AGO)


def test_should_count_what_came_to_which_end_since_a_day_ago(operator: Operator) -> None:
    fill(operator.stage)
    lines = operator.table("status")
    assert lines[0][:3] == ["VERDICT", "OBJECTS", "SINCE"]
    assert dict(line for line in lines[1:6]) == {
        "delivered": "3",
        "quarantined": "1",
        "failed": "0",
        "duplicate": "0",
        "ignored": "1",
    }
    assert json.loads(operator.run("status", "--json", "--since", "2026-01")[1])["verdicts"]["delivered"] == 4


def test_should_tell_what_waits_and_since_when(operator: Operator) -> None:
    stage = operator.stage
    fill(stage)
    send(stage, Output.INTAKE_QUEUE_URL, "{}")
    send(stage, Output.SCHEDULE_DEAD_LETTERS_URL, "{}")
    boto3.client("cloudwatch").put_metric_data(
        Namespace="AWS/SQS",
        MetricData=[
            {
                "MetricName": "ApproximateAgeOfOldestMessage",
                "Dimensions": [{"Name": "QueueName", "Value": Output.INTAKE_QUEUE_URL.value}],
                "Timestamp": datetime.now(UTC) - timedelta(minutes=1),
                "Value": 90.0,
            }
        ],
    )
    told = json.loads(operator.run("status", "--json")[1])
    assert (told["queued"], told["oldest_queued_seconds"]) == (1, 90)
    assert (told["in_work"], told["oldest_in_work"]) == (1, LONG_AGO)
    assert {each["edge"]: each["visible"] for each in told["dead_letters"]} == {
        "intake": 0,
        "schedule": 1,
        "notification": 0,
    }
    out = operator.run("status")[1]
    assert "0:01:30" in out
    assert "dead letters: schedule" in out


def test_should_name_the_alarms_of_this_stage_that_ring(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "No alarm rings." in operator.run("status")[1]
    alarm("medical-imaging-pipeline-test-IntakeQueueAge")
    alarm("medical-imaging-pipeline-test-Unaccounted", "OK")
    alarm("medical-imaging-pipeline-test-two-Unaccounted")
    [told] = json.loads(operator.run("status", "--json")[1])["alarms"]
    assert (told["name"], told["meaning"]) == ("IntakeQueueAge", "Objects wait.")
    out = operator.run("status")[1]
    assert "IntakeQueueAge" in out
    assert max(map(len, out.splitlines())) <= 80


def test_should_list_the_objects_with_a_verdict_and_keys_only_when_asked(operator: Operator) -> None:
    fill(operator.stage)
    [row] = operator.stage.ledger.with_status(LedgerStatus.IGNORED)
    lines = operator.table("status", "ignored")
    assert [line[0] for line in lines[1:]] == [row.object_id]
    for options in ((), ("--json",)):
        assert "DOE" not in operator.run("status", "ignored", *options)[1]
        assert "DOE^JANE/notes.txt" in operator.run("status", "ignored", "--keys", *options)[1]


def test_should_list_what_is_in_work_however_old(operator: Operator) -> None:
    fill(operator.stage)
    assert len(operator.table("status", "received")) == 2
    assert len(operator.table("status", "delivered")) == 4
    assert len(operator.table("status", "delivered", "--since", "2026-01-01")) == 5
