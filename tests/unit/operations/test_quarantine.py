import hashlib
import json
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import EndpointConnectionError

from cli.__main__ import main
from cli.operations import quarantine as quarantines
from cli.stage import OperationError
from runtime.aws.executions import Executions
from runtime.contract.ledger import LedgerStatus
from runtime.contract.objects import Finding, Release, Severity
from tests.unit.audit_tables import away
from tests.unit.conftest import AUDIT_TABLE, RAW
from tests.unit.intake.conftest import STATE_MACHINE
from tests.unit.operations.conftest import (
    KEY,
    Operator,
    Stage,
    answer_requests,
    http_answer,
    refusal,
    refuse_first_start,
)

RISKS = "RISK_ULTRASOUND RISK_BURNED_IN_ANNOTATION"
DECISION = ("--by", "Dr. Ada Byron", "--reason", "Looked at every frame: no text is burned in.")


def quarantine(stage: Stage, reasons: str = "NOT_DICOM", key: str = KEY) -> str:
    coordinates = stage.buckets.upload(b"no DICOM", key)
    return stage.finish(coordinates, LedgerStatus.QUARANTINED, reason_codes=reasons).object_id


def test_should_list_what_is_in_quarantine_and_count_its_reasons(operator: Operator) -> None:
    first, second = quarantine(operator.stage), quarantine(operator.stage, f"NOT_DICOM {RISKS}", "b.dcm")
    operator.stage.finish(operator.stage.buckets.upload(b"", "c.dcm"), LedgerStatus.FAILED, error="States.Timeout")
    lines = operator.table("quarantine", "list")
    assert [line[0] for line in lines[1:3]] == [first, second]
    assert lines[2][4:] == ["NOT_DICOM", *RISKS.split()]
    counts = {line[1].rstrip(":"): line[0] for line in lines[lines.index([]) + 2 :] if line[0].isdecimal()}
    assert counts == {"NOT_DICOM": "2", **dict.fromkeys(RISKS.split(), "1")}


@pytest.mark.parametrize("action", [("list",), ("list", "--json"), ("show",), ("show", "--json")])
def test_should_tell_keys_only_when_asked(operator: Operator, action: tuple[str, ...]) -> None:
    object_id = quarantine(operator.stage)
    which = (object_id,) if action[0] == "show" else ()
    assert "DOE" not in operator.run("quarantine", *action, *which)[1]
    assert KEY in operator.run("quarantine", *action, "--keys", *which)[1]


def test_should_list_by_time_and_reason(operator: Operator) -> None:
    old, new = quarantine(operator.stage), quarantine(operator.stage, RISKS, "b.dcm")
    [coordinates] = [row.coordinates for row in [operator.stage.ledger.row(old)] if row]
    operator.stage.change(coordinates, updated_at="2026-01-02T03:04:05.678Z")

    def listed(*filters: str) -> list[str]:
        out = operator.run("quarantine", "list", "--json", *filters)[1]
        return [json.loads(line)["object_id"] for line in out.splitlines()]

    assert listed() == [old, new]
    assert listed("--since", "2026-01-03") == [new]
    assert listed("--since", "2026-01-02T03:04") == [old, new]
    assert listed("--reason", "NOT_DICOM") == [old]


def answer_describing(arn: str, output: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an execution have succeeded with an output, which moto's never do."""

    def describe(request: Any, **_: Any) -> AWSResponse:
        assert json.loads(request.body) == {"executionArn": arn}
        answer = {"executionArn": arn, "status": "SUCCEEDED", "output": json.dumps(output)}
        return http_answer(request, answer)

    answer_requests("sfn.DescribeExecution", describe, monkeypatch)


def test_should_show_every_finding_of_the_execution(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = operator.stage
    object_id = quarantine(stage)
    finding = Finding(code="TRUNCATED_PIXEL_DATA", severity=Severity.ERROR, offset=4711, message="It ends early.")
    output = {"verdict": "quarantined", "findings": [finding.model_dump(mode="json")]}
    arn = stage.states.start_execution(stateMachineArn=STATE_MACHINE, name=object_id)["executionArn"]
    answer_describing(arn, output, monkeypatch)
    row = stage.ledger.row(object_id)
    assert row is not None
    stage.change(row.coordinates, execution=arn)
    lines = operator.table("quarantine", "show", object_id)
    assert ["TRUNCATED_PIXEL_DATA", "error", "-", "4711", "It", "ends", "early."] in lines


def test_should_show_what_the_reasons_mean_where_the_execution_is_gone(operator: Operator) -> None:
    object_id = quarantine(operator.stage, RISKS)
    out = operator.run("quarantine", "show", object_id)[1]
    assert "Ultrasound images often show the patient's name" in out
    row = operator.stage.ledger.row(object_id)
    assert row is not None
    operator.stage.change(row.coordinates, execution="arn:aws:states:us-east-1:123456789012:execution:stage:gone")
    assert operator.run("quarantine", "show", object_id)[1].count("RISK_ULTRASOUND") == out.count("RISK_ULTRASOUND")


def test_should_retry_once_with_another_profile(operator: Operator) -> None:
    object_id = quarantine(operator.stage)
    assert operator.run("quarantine", "retry", object_id, "--deidentification-profile", "basic")[0] == 0
    [started] = operator.stage.started()
    assert (started["attempt"], started["profile"], started["object"]["key"]) == (2, "basic", KEY)
    status, out, _ = operator.run("quarantine", "retry", object_id)
    assert status == 1
    assert "it is running, not quarantined" in out
    assert len(operator.stage.started()) == 1


def test_should_retry_all_of_a_reason(operator: Operator) -> None:
    wanted, other = quarantine(operator.stage), quarantine(operator.stage, RISKS, "b.dcm")
    assert operator.run("quarantine", "retry", "--reason", "NOT_DICOM")[0] == 0
    assert [each["object"]["key"] for each in operator.stage.started()] == [KEY]
    assert [operator.stage.ledger.row(each).status for each in (wanted, other)] == ["running", "quarantined"]  # type: ignore[union-attr]


def test_should_keep_who_released_an_object_and_why(operator: Operator) -> None:
    object_id = quarantine(operator.stage, RISKS)
    assert operator.run("quarantine", "release", object_id, *DECISION)[0] == 0
    [started] = operator.stage.started()
    assert started["release"] == {"by": DECISION[1], "reason": DECISION[3]}
    assert started["attempt"] == 2
    row = operator.stage.ledger.row(object_id)
    assert row is not None
    [release] = row.releases
    assert (release.by, release.reason) == (DECISION[1], DECISION[3])
    assert DECISION[1] in operator.run("quarantine", "show", object_id)[1]


def test_should_start_one_attempt_of_two_releases_at_once(operator: Operator) -> None:
    """The second person looked at the object before the first released it."""
    stage = operator.stage
    seen = stage.ledger.row(quarantine(stage, RISKS))
    assert seen is not None

    def release(by: str) -> bool:
        decision = Release(by=by, reason=DECISION[3])
        executions = Executions(stage.states, STATE_MACHINE)
        return quarantines.release(stage.ledger, executions, stage.audit, seen, decision, principal="arn")

    assert release("Dr. Ada Byron")
    with pytest.raises(OperationError, match="somebody else"):
        release("Dr. Grace Hopper")
    [started] = stage.started()
    assert (started["attempt"], started["release"]["by"]) == (2, "Dr. Ada Byron")


def test_should_audit_who_released_an_object_under_which_principal_without_the_text(operator: Operator) -> None:
    object_id = quarantine(operator.stage, RISKS)
    assert operator.run("quarantine", "release", object_id, *DECISION)[0] == 0
    [record] = operator.stage.audit.of_subject(object_id)
    assert (record.event, record.attempt, record.by, record.reason_codes) == ("released", 2, DECISION[1], RISKS)
    assert record.principal == boto3.client("sts").get_caller_identity()["Arn"]
    assert record.reason_sha256 == hashlib.sha256(DECISION[3].encode()).hexdigest()
    assert DECISION[3] not in record.model_dump_json()


def test_should_release_nothing_that_the_audit_log_does_not_know(operator: Operator) -> None:
    object_id = quarantine(operator.stage, RISKS)
    with away(AUDIT_TABLE):
        status, out, _ = operator.run("quarantine", "release", object_id, *DECISION)
    assert status == 1
    assert "the audit log can't record the decision, so it stays in quarantine" in out
    assert operator.stage.started() == []
    row = operator.stage.ledger.row(object_id)
    assert row is not None
    assert (row.status, row.releases) == ("quarantined", ())


@pytest.mark.parametrize("reasons", ["NOT_DICOM", f"{RISKS} RESIDUAL_IDENTIFIER", "CONFLICTING_INSTANCE"])
def test_should_not_release_what_is_no_risk_to_accept(operator: Operator, reasons: str) -> None:
    object_id = quarantine(operator.stage, reasons)
    status, out, _ = operator.run("quarantine", "release", object_id, *DECISION)
    assert status == 1
    assert "no risk that a person can accept" in out
    assert operator.stage.started() == []
    row = operator.stage.ledger.row(object_id)
    assert row is not None
    assert row.releases == ()
    assert list(operator.stage.audit.of_subject(object_id)) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("release", "0" * 32, "--by", "X", "--reason", "long enough to be one"),
        ("release", "0" * 32, "--by", "Dr. X", "--reason", "  short  "),
        ("retry",),
        ("retry", "0" * 32, "--reason", "NOT_DICOM"),
    ],
)
def test_should_refuse_what_is_asked_for_wrongly(operator: Operator, arguments: tuple[str, ...]) -> None:
    status, _, err = operator.run("quarantine", *arguments)
    assert status == 2
    assert err.startswith("quarantine: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--reason", "NOT_A_REASON"),
        ("list", "--since", "yesterday"),
        ("retry", "0" * 32, "--deidentification-profile", "none"),
        ("drop",),
    ],
)
def test_should_refuse_arguments_that_mean_nothing(operator: Operator, arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as stopped:
        operator.run("quarantine", *arguments)
    assert stopped.value.code == 2


def test_should_tell_in_a_sentence_that_there_is_no_such_object_or_stage(operator: Operator) -> None:
    status, out, err = operator.run("quarantine", "show", "0" * 32)
    assert (status, out) == (1, "")
    assert "the ledger has no such object" in err
    assert main(["quarantine", "list", "--stage", "nowhere"]) == 1
    assert "no stage 'nowhere'" in operator.captured.readouterr().err


def test_should_redrive_what_failed_and_nothing_else(operator: Operator) -> None:
    stage = operator.stage
    quarantine(stage)
    failed = stage.buckets.upload(b"1", "b.dcm")
    stage.finish(failed, LedgerStatus.FAILED, error="Lambda.Unknown")
    stage.finish(stage.buckets.upload(b"2", "c.dcm"), LedgerStatus.FAILED, error="States.Timeout")
    assert len(operator.table("redrive", "--dry-run")) == 3
    assert stage.started() == []
    assert operator.run("redrive", "--error", "Lambda.Unknown")[0] == 0
    assert [(each["object"]["key"], each["attempt"]) for each in stage.started()] == [("b.dcm", 2)]
    assert operator.run("redrive", failed.object_id)[0] == 1
    assert operator.run("redrive")[0] == 0
    assert len(stage.started()) == 2


def failed_objects(stage: Stage, count: int) -> list[str]:
    objects = [stage.buckets.upload(b"content", f"{number}.dcm") for number in range(count)]
    return [stage.finish(each, LedgerStatus.FAILED, error="Lambda.Unknown").object_id for each in objects]


def test_should_redrive_the_others_where_one_is_started_already(operator: Operator) -> None:
    first, second, third = failed_objects(operator.stage, 3)
    assert operator.run("redrive", first)[0] == 0
    status, out, err = operator.run("redrive", first, second, third)
    assert (status, err) == (1, "redrive: 2 started, 1 not\n")
    assert "it is running, not failed" in out
    assert len(operator.stage.started()) == 3


def test_should_go_on_where_a_start_was_refused_and_be_repeatable(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = operator.stage
    objects = failed_objects(stage, 2)
    refuse_first_start(stage, monkeypatch, "InvalidExecutionInput")
    monkeypatch.setattr("cli.stage.Stage.executions", Executions(stage.states, STATE_MACHINE))
    status, out, err = operator.run("redrive", *objects)
    assert (status, err) == (1, "redrive: 1 started, 1 not\n")
    assert [line.split(maxsplit=1)[1] for line in out.splitlines()[1:]] == [
        "AWS refused StartExecution: InvalidExecutionInput.",
        "started",
    ]
    assert operator.run("redrive", objects[0])[0] == 0
    assert [each["attempt"] for each in stage.started()] == [2, 2]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (EndpointConnectionError(endpoint_url="https://states"), "AWS can't be reached: check region and network."),
        (refusal("ExpiredTokenException"), "AWS refused StartExecution: ExpiredTokenException. The credentials are"),
        (refusal("ThrottlingException"), "AWS refused StartExecution: ThrottlingException."),
    ],
)
def test_should_stop_where_all_would_meet_the_same_trouble(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: str
) -> None:
    objects = failed_objects(operator.stage, 3)
    client = operator.stage.states
    asked: list[str] = []

    def refuse(**arguments: Any) -> Any:
        asked.append(arguments["name"])
        raise error

    monkeypatch.setattr(client, "start_execution", refuse)
    monkeypatch.setattr("cli.stage.Stage.executions", Executions(client, STATE_MACHINE))
    monkeypatch.setattr("cli.operations.quarantine.START_SECONDS", 0)
    status, out, err = operator.run("redrive", *objects)
    assert (status, err) == (1, "redrive: 0 started, 3 not\n")
    first, *others = (line.split(maxsplit=1)[1] for line in out.splitlines()[1:])
    assert first.startswith(outcome)
    assert others == ["not tried"] * 2
    assert len(asked) == 1


def test_should_not_start_an_open_attempt_with_another_profile_than_it_was_opened_with(operator: Operator) -> None:
    stage = operator.stage
    row = stage.ledger.row(quarantine(stage))
    assert row is not None
    stage.ledger.receive(row.next_attempt())
    status, out, _ = operator.run("quarantine", "retry", row.object_id, "--deidentification-profile", "basic")
    assert status == 1
    assert "its next attempt was opened with the stage's profile; start it without --deidentification-profile." in out
    assert stage.started() == []
    assert operator.run("quarantine", "retry", row.object_id)[0] == 0
    assert [each["attempt"] for each in stage.started()] == [2]


def listed(operator: Operator, *options: str) -> list[str]:
    out = operator.run("quarantine", "list", "--json", *options)[1]
    return [json.loads(line)["object_id"] for line in out.splitlines()]


def test_should_leave_out_of_the_list_what_a_newer_version_supersedes(operator: Operator) -> None:
    bad, other = quarantine(operator.stage), quarantine(operator.stage, key="b.dcm")
    assert listed(operator) == [bad, other]
    corrected = operator.stage.buckets.upload(b"corrected", KEY)  # whatever becomes of it
    operator.stage.buckets.upload(b"another", f"{KEY}.dcm")
    assert listed(operator) == [other]
    assert listed(operator, "--all") == [bad, other]
    documents = [json.loads(line) for line in operator.run("quarantine", "list", "--json", "--all")[1].splitlines()]
    assert [each["superseded_by"] for each in documents] == [corrected.object_id, None]
    assert "superseded" in operator.run("quarantine", "list", "--all")[1]


def test_should_list_the_newer_version_where_it_is_bad_too(operator: Operator) -> None:
    quarantine(operator.stage)
    coordinates = operator.stage.buckets.upload(b"still no DICOM", KEY)
    newer = operator.stage.finish(coordinates, LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM")
    assert listed(operator) == [newer.object_id]


def test_should_list_what_was_deleted_since(operator: Operator) -> None:
    """Whatever has no newer version, gone for good or behind a delete marker."""
    first, second = quarantine(operator.stage), quarantine(operator.stage, key="b.dcm")
    operator.stage.buckets.s3.delete_object(Bucket=RAW, Key=KEY)
    row = operator.stage.ledger.row(second)
    assert row is not None
    operator.stage.buckets.s3.delete_object(Bucket=RAW, Key="b.dcm", VersionId=row.version_id)
    assert listed(operator) == [first, second]


DISMISSAL = ("--by", "Dr. Ada Byron", "--reason", "A letter, sent here by mistake.")


def test_should_dismiss_by_a_recorded_decision(operator: Operator) -> None:
    gone, left = quarantine(operator.stage), quarantine(operator.stage, key="b.dcm")
    status, _, err = operator.run("quarantine", "dismiss", KEY, *DISMISSAL)
    assert (status, err) == (0, "quarantine: 1 dismissed, 0 not\n")
    assert listed(operator) == [left]
    assert listed(operator, "--all") == [gone, left]
    assert "dismissed by Dr. Ada Byron" in " ".join(operator.run("quarantine", "list", "--all")[1].split())
    assert DISMISSAL[3] in operator.run("quarantine", "show", gone)[1]
    [record] = operator.stage.audit.of_subject(gone)
    assert (record.event, record.attempt, record.by, record.reason_codes) == ("dismissed", 1, DISMISSAL[1], "NOT_DICOM")
    assert record.principal == boto3.client("sts").get_caller_identity()["Arn"]
    assert record.reason_sha256 == hashlib.sha256(DISMISSAL[3].encode()).hexdigest()
    assert DISMISSAL[3] not in record.model_dump_json()
    assert operator.stage.started() == []


def test_should_dismiss_once_and_nothing_that_is_not_in_quarantine(operator: Operator) -> None:
    object_id = quarantine(operator.stage)
    assert operator.run("quarantine", "dismiss", object_id, *DISMISSAL)[0] == 0
    status, _, err = operator.run("quarantine", "dismiss", object_id, *DISMISSAL)
    assert status == 1
    assert "it was dismissed before" in err
    assert len(list(operator.stage.audit.of_subject(object_id))) == 1
    delivered = operator.stage.finish(operator.stage.buckets.upload(b"1", "b.dcm"), LedgerStatus.DELIVERED)
    assert "it is delivered, not quarantined" in operator.run("quarantine", "dismiss", "b.dcm", *DISMISSAL)[2]
    assert list(operator.stage.audit.of_subject(delivered.object_id)) == []


def test_should_dismiss_nothing_that_the_audit_log_does_not_know(operator: Operator) -> None:
    object_id = quarantine(operator.stage)
    with away(AUDIT_TABLE):
        status, _, err = operator.run("quarantine", "dismiss", object_id, *DISMISSAL)
    assert status == 1
    assert "the audit log can't record the decision" in err
    assert listed(operator) == [object_id]


def test_should_list_once_more_what_was_dismissed_and_retried(operator: Operator) -> None:
    object_id = quarantine(operator.stage)
    assert operator.run("quarantine", "dismiss", object_id, *DISMISSAL)[0] == 0
    assert operator.run("quarantine", "retry", KEY)[0] == 0
    row = operator.stage.ledger.row(object_id)
    assert row is not None
    operator.stage.ledger.record(row.current_attempt, LedgerStatus.QUARANTINED, reason_codes="NOT_DICOM")
    assert listed(operator) == [object_id]


def test_should_retry_of_a_reason_only_what_still_needs_somebody(operator: Operator) -> None:
    quarantine(operator.stage)
    operator.stage.buckets.upload(b"corrected", KEY)
    dismissed, left = quarantine(operator.stage, key="b.dcm"), quarantine(operator.stage, key="c.dcm")
    assert operator.run("quarantine", "dismiss", dismissed, *DISMISSAL)[0] == 0
    assert operator.run("quarantine", "retry", "--reason", "NOT_DICOM")[0] == 0
    assert [each["object"]["key"] for each in operator.stage.started()] == ["c.dcm"]
    assert listed(operator, "--all") == [
        quarantine_id for quarantine_id in listed(operator, "--all") if quarantine_id != left
    ]


def test_should_start_nothing_where_a_key_is_none(operator: Operator) -> None:
    quarantine(operator.stage)
    status, out, err = operator.run("quarantine", "retry", KEY, "DOE^JANE/nowhere.dcm")
    assert (status, out) == (1, "")
    assert "No object has this id or key" in err
    assert operator.stage.started() == []


def test_should_understand_keys_where_ids_are_expected(operator: Operator) -> None:
    object_id = quarantine(operator.stage, RISKS)
    assert object_id in operator.run("quarantine", "show", KEY)[1]
    assert operator.run("quarantine", "release", f"s3://{RAW}/{KEY}", *DECISION)[0] == 0
    assert len(operator.stage.started()) == 1
