import importlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from runtime.aws.clock import timestamp
from runtime.contract.ledger import LedgerStatus
from runtime.contract.objects import ExecutionInput, ObjectCoordinates
from runtime.observability.entry_points import StepFailedError
from tests.unit.conftest import PROCESSED
from tests.unit.operations.conftest import KEY, Operator, Stage, refuse_first_start

LONG_AGO = "2026-01-02T03:04:05.678Z"
Functions = list[tuple[str, str]]


def upload_long_ago(stage: Stage, monkeypatch: pytest.MonkeyPatch, key: str = KEY) -> ObjectCoordinates:
    """Upload an object whose event must have come by now."""
    coordinates = stage.buckets.upload(b"content of " + key.encode(), key)
    monkeypatch.setattr("runtime.operations.reconciliation.datetime", Later)
    return coordinates


class Later(datetime):
    """A clock that is a day ahead of the one by which moto stamps uploads."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(days=1)


def unaccounted() -> list[float]:
    answer = boto3.client("cloudwatch").get_metric_data(
        StartTime=datetime.now(UTC) - timedelta(hours=1),
        EndTime=datetime.now(UTC) + timedelta(hours=1),
        MetricDataQueries=[
            {
                "Id": "unaccounted",
                "MetricStat": {
                    "Metric": {
                        "Namespace": "MedicalImaging/Pipeline",
                        "MetricName": "Unaccounted",
                        "Dimensions": [{"Name": "Stage", "Value": "test"}],
                    },
                    "Period": 60,
                    "Stat": "Maximum",
                },
            }
        ],
    )
    return [value for result in answer["MetricDataResults"] for value in result["Values"]]


def test_should_find_nothing_where_everything_has_its_verdict(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, status in enumerate((LedgerStatus.DELIVERED, LedgerStatus.QUARANTINED, LedgerStatus.FAILED)):
        facts: Any = {"quarantined": {"reason_codes": "NOT_DICOM"}, "failed": {"error": "States.Timeout"}}.get(
            status, {}
        )
        stage.finish(upload_long_ago(stage, monkeypatch, f"{number}.dcm"), status, **facts)
    upload_long_ago(stage, monkeypatch, "readme.txt")
    report = stage.invoke("reconciliation", {})
    assert [report[name] for name in ("raw_versions", "ignored", "results", "missing", "stuck", "lost", "started")] == [
        *(4, 1, 1, 0, 0, 0, 0)
    ]
    assert report["complete"]
    assert unaccounted() == [0]


def test_should_record_as_ignored_what_is_not_accepted_and_lost_its_event(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinates = upload_long_ago(stage, monkeypatch, "readme.txt")
    assert stage.invoke("reconciliation", {"start": False})["ignored"] == 1
    assert stage.ledger.row(coordinates.object_id) is None
    for _ in range(2):
        report = stage.invoke("reconciliation", {})
        assert (report["ignored"], report["missing"], report["unaccounted"]) == (1, 0, [])
    assert stage.row(coordinates).status is LedgerStatus.IGNORED
    assert set(unaccounted()) == {0}  # a value for each minute


def test_should_leave_to_a_replay_what_was_ignored_and_is_accepted_now(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinates = upload_long_ago(stage, monkeypatch)
    stage.ledger.ignore(coordinates)
    report = stage.invoke("reconciliation", {})
    assert (report["missing"], report["unaccounted"]) == (0, [])
    assert stage.row(coordinates).status is LedgerStatus.IGNORED


def test_should_start_once_what_has_no_row(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    coordinates = upload_long_ago(stage, monkeypatch)
    report = stage.invoke("reconciliation", {"source": "aws.events", "resources": ["arn"]})
    assert report["unaccounted"] == [{"object_id": coordinates.object_id, "problem": "missing"}]
    assert (report["missing"], report["started"]) == (1, 1)
    assert unaccounted() == [1]
    assert stage.started() == [ExecutionInput(object=coordinates).model_dump(mode="json")]
    assert stage.row(coordinates).status is LedgerStatus.RUNNING


def test_should_miss_every_version_of_a_key(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    first = upload_long_ago(stage, monkeypatch)
    second = stage.buckets.upload(b"another", KEY)
    stage.finish(second, LedgerStatus.DELIVERED)
    assert stage.invoke("reconciliation", {})["unaccounted"] == [{"object_id": first.object_id, "problem": "missing"}]


def test_should_not_miss_what_has_just_arrived(stage: Stage) -> None:
    stage.buckets.upload(b"content", KEY)
    report = stage.invoke("reconciliation", {})
    assert (report["recent"], report["missing"]) == (1, 0)
    assert stage.started() == []


@pytest.mark.parametrize(("execution", "attempt"), [("", 1), ("arn", 2)])
def test_should_start_what_is_stuck_as_far_as_it_came(stage: Stage, execution: str, attempt: int) -> None:
    coordinates = stage.buckets.upload(b"content", KEY)
    stage.ledger.receive(ExecutionInput(object=coordinates))
    if execution:
        stage.ledger.run(ExecutionInput(object=coordinates), execution)
    assert stage.invoke("reconciliation", {})["stuck"] == 0
    stage.change(coordinates, opened_at=LONG_AGO, updated_at=LONG_AGO)
    report = stage.invoke("reconciliation", {})
    assert report["unaccounted"] == [{"object_id": coordinates.object_id, "problem": "stuck"}]
    assert [started["attempt"] for started in stage.started()] == [attempt]
    assert stage.invoke("reconciliation", {})["stuck"] == 0
    assert len(stage.started()) == 1


def test_should_report_a_lost_result_and_leave_it_to_a_replay(stage: Stage) -> None:
    coordinates = stage.buckets.upload(b"content", KEY)
    row = stage.finish(coordinates, LedgerStatus.DELIVERED)
    stage.change(coordinates, opened_at=LONG_AGO, updated_at=LONG_AGO)
    assert stage.invoke("reconciliation", {})["lost"] == 0
    stage.buckets.s3.delete_object(Bucket=PROCESSED, Key=row.output_key or "")
    report = stage.invoke("reconciliation", {})
    assert report["unaccounted"] == [{"object_id": coordinates.object_id, "problem": "lost"}]
    assert stage.started() == []


@pytest.mark.parametrize(("retention_days", "age_days", "lost"), [(0, 40, 1), (30, 40, 0), (30, 28, 1), (30, 30, 0)])
def test_should_not_miss_a_result_that_expired(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, retention_days: int, age_days: int, lost: int
) -> None:
    handler = importlib.import_module("runtime.handlers.reconciliation")
    changed = handler.variables.model_copy(update={"PROCESSED_RETENTION_DAYS": retention_days})
    monkeypatch.setattr(handler, "variables", changed)
    coordinates = stage.buckets.upload(b"content", KEY)
    row = stage.finish(coordinates, LedgerStatus.DELIVERED)
    stage.change(coordinates, updated_at=timestamp(datetime.now(UTC) - timedelta(days=age_days)))
    stage.buckets.s3.delete_object(Bucket=PROCESSED, Key=row.output_key or "")
    assert stage.invoke("reconciliation", {})["lost"] == lost


def test_should_go_on_next_time_where_a_start_is_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("a.dcm", "b.dcm"):
        upload_long_ago(stage, monkeypatch, key)
    stage.states.delete_state_machine(stateMachineArn="arn:aws:states:us-east-1:123456789012:stateMachine:stage")
    report = stage.invoke("reconciliation", {})
    assert (report["missing"], report["started"]) == (2, 0)
    assert unaccounted() == [2]


def test_should_start_the_others_where_one_start_is_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("a.dcm", "b.dcm", "c.dcm"):
        upload_long_ago(stage, monkeypatch, key)
    refuse_first_start(stage, monkeypatch, "InvalidExecutionInput")
    report = stage.invoke("reconciliation", {})
    assert (report["missing"], report["started"]) == (3, 2)
    assert {started["object"]["key"] for started in stage.started()} == {"b.dcm", "c.dcm"}


def test_should_end_a_page_before_its_time_ends_and_begin_it_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        upload_long_ago(stage, monkeypatch, f"{number}.dcm")
    handler = importlib.import_module("runtime.handlers.reconciliation")
    monkeypatch.setattr(handler, "variables", handler.variables.model_copy(update={"TIMEOUT_SECONDS": 1}))
    reports = [stage.invoke("reconciliation", {}) for _ in range(4)]
    assert [(each["missing"], each["started"] > 0, each["complete"]) for each in reports] == [
        *[(1, True, False)] * 3,
        (0, True, False),  # the clock of this test makes what was started long ago
    ]


def test_should_leave_the_rest_to_the_next_run_where_throttling_does_not_pass(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("a.dcm", "b.dcm"):
        upload_long_ago(stage, monkeypatch, key)
    refuse_first_start(stage, monkeypatch, "ThrottlingException")
    monkeypatch.setattr("runtime.operations.reconciliation.START_SECONDS", 0)
    report = stage.invoke("reconciliation", {})
    assert (report["missing"], report["started"], report["complete"]) == (1, 0, False)
    assert stage.started() == []
    report = stage.invoke("reconciliation", {})
    assert (report["missing"], report["complete"]) == (1, True)
    assert {started["object"]["key"] for started in stage.started()} == {"a.dcm", "b.dcm"}


def test_should_start_what_is_missing_though_the_count_is_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_long_ago(stage, monkeypatch)
    handler = importlib.import_module("runtime.handlers.reconciliation")
    with Stubber(handler.cloudwatch) as refusing:
        refusing.add_client_error("put_metric_data", "AccessDenied")
        with pytest.raises(StepFailedError):
            stage.invoke("reconciliation", {})
    assert len(stage.started()) == 1


def test_should_start_what_is_stuck_though_the_buckets_can_not_be_compared(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinates = stage.buckets.upload(b"content", KEY)
    stage.ledger.receive(ExecutionInput(object=coordinates))
    stage.change(coordinates, opened_at=LONG_AGO, updated_at=LONG_AGO)
    with Stubber(stage.buckets.s3) as refusing:
        refusing.add_client_error("list_object_versions", "AccessDenied")
        with pytest.raises(StepFailedError):
            stage.invoke("reconciliation", {})
    assert [started["object"]["key"] for started in stage.started()] == [KEY]
    assert unaccounted() == []


@pytest.fixture
def hurried(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A stage whose reconciliation has time for one page of two versions, and for one row."""
    handler = importlib.import_module("runtime.handlers.reconciliation")
    monkeypatch.setattr(handler, "variables", handler.variables.model_copy(update={"TIMEOUT_SECONDS": 40}))
    stage.buckets.s3.meta.events.register(
        "provide-client-params.s3.ListObjectVersions", lambda params, **_: params | {"MaxKeys": 2}
    )
    return stage


def test_should_go_on_where_the_run_before_had_no_more_time(hurried: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third run reaches the end, and the fourth begins again."""
    for number in range(5):
        upload_long_ago(hurried, monkeypatch, f"DOE {number}+%41.dcm")
    reports = [hurried.invoke("reconciliation", {}) for _ in range(4)]
    assert [(each["raw_versions"], each["missing"], each["complete"]) for each in reports] == [
        (2, 2, False),
        (2, 2, False),
        (1, 1, False),
        (2, 0, False),
    ]
    assert sum(started["attempt"] == 1 for started in hurried.started()) == 5


def test_should_pass_over_no_version_of_a_key_between_two_runs(hurried: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_long_ago(hurried, monkeypatch)
    for number in range(4):
        hurried.buckets.upload(f"version {number}".encode(), KEY)
    assert sum(hurried.invoke("reconciliation", {})["missing"] for _ in range(3)) == 5


@pytest.mark.parametrize(("code", "missing"), [("InvalidArgument", [0, 1]), ("SlowDown", [1, 0])])
def test_should_begin_anew_only_where_s3_no_longer_knows_the_cursor(
    hurried: Stage, monkeypatch: pytest.MonkeyPatch, code: str, missing: list[int]
) -> None:
    """As where lifecycle removed the version that it names."""
    for number in range(3):
        upload_long_ago(hurried, monkeypatch, f"{number}.dcm")
    assert hurried.invoke("reconciliation", {})["missing"] == 2
    with Stubber(hurried.buckets.s3) as refusing:
        refusing.add_client_error("list_object_versions", code)
        with pytest.raises(StepFailedError):
            hurried.invoke("reconciliation", {})
    assert [hurried.invoke("reconciliation", {})["missing"] for _ in range(2)] == missing


def test_should_look_for_every_result_in_turn(hurried: Stage) -> None:
    objects = [hurried.buckets.upload(b"content %d" % number, f"{number}.dcm") for number in range(3)]
    for number, coordinates in enumerate(objects):
        row = hurried.finish(coordinates, LedgerStatus.DELIVERED)
        hurried.change(coordinates, updated_at=f"2026-01-0{number + 1}T00:00:00.000Z")
        hurried.buckets.s3.delete_object(Bucket=PROCESSED, Key=row.output_key or "")
    reports = [hurried.invoke("reconciliation", {}) for _ in range(4)]
    found = [{each["object_id"] for each in report["unaccounted"]} for report in reports]
    first, second, third = (coordinates.object_id for coordinates in objects)
    assert found == [{first}, {first, second}, {second, third}, {third}]


def test_should_move_no_cursor_where_it_only_looks(hurried: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        upload_long_ago(hurried, monkeypatch, f"{number}.dcm")
    reports = [hurried.invoke("reconciliation", {"start": False}) for _ in range(2)]
    assert reports[0] == reports[1]
    assert (reports[0]["missing"], reports[0]["complete"]) == (2, False)


def test_should_log_no_key(stage: Stage, monkeypatch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]) -> None:
    upload_long_ago(stage, monkeypatch)
    assert "DOE" not in json.dumps(stage.invoke("reconciliation", {}))
    assert "DOE" not in output.readouterr().out


def test_should_reconcile_at_the_command_line(
    operator: Operator, functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinates = upload_long_ago(operator.stage, monkeypatch)
    status, out, err = operator.run("reconcile", "--check-only")
    assert status == 1
    assert [coordinates.object_id, "missing"] in [line.split() for line in out.splitlines()]
    assert "1 unaccounted, 0 of them started" in err
    assert operator.stage.started() == []
    status, out, _ = operator.run("reconcile", "--json")
    assert (status, json.loads(out)["started"]) == (1, 1)
    monkeypatch.setattr("runtime.operations.reconciliation.datetime", datetime)
    assert operator.run("reconcile")[0] == 0
    assert set(functions) == {("medical-imaging-pipeline-test-reconciliation", "RequestResponse")}


def test_should_not_say_that_all_is_well_where_not_all_was_looked_at(
    operator: Operator, functions: Functions, hurried: Stage
) -> None:
    for number in range(3):
        hurried.finish(hurried.buckets.upload(b"content", f"{number}.dcm"), LedgerStatus.FAILED, error="States.Timeout")
    status, out, err = operator.run("reconcile", "--check-only")
    assert status == 1
    assert ["raw", "versions", "2"] in [line.split() for line in out.splitlines()]
    assert err.splitlines() == [
        "reconcile: 0 unaccounted, 0 of them started",
        "reconcile: not all was compared: time ended, starts were throttled, or the check before had ended half-way",
    ]


def test_should_tell_in_a_sentence_that_the_function_failed(operator: Operator, functions: Functions) -> None:
    boto3.client("dynamodb").delete_table(TableName="stage-ledger")
    status, out, err = operator.run("reconcile")
    assert (status, out) == (1, "")
    assert "its log group has the reason" in err
