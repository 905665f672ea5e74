"""A verification begins on the right stage, tells what it saw, and removes what it made, whatever comes between."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from acceptance.verification import __main__ as command
from acceptance.verification import cleanup
from acceptance.verification.check import Check, Judgement, Line, Outcome, unset
from acceptance.verification.checks import events, verdicts
from acceptance.verification.objects import (
    EXPECTED,
    Sample,
    content,
    patient_id,
    pixels,
    sop_instance_uids,
    study_instance_uid,
)
from acceptance.verification.page import Page
from acceptance.verification.run import FOLDER, Run, beginning_of, new_run_id
from imaging_pipeline.stages.definitions import STAGES
from runtime.aws.storage import SINGLE_PUT_LIMIT
from runtime.contract.events import RevisionCause
from runtime.deidentification.risks import assess_risks
from runtime.dicom.checks.compliance import check_compliance
from runtime.ledger.claims import Claims
from runtime.ledger.fingerprint import Fingerprint
from runtime.ledger.rows import Ledger
from runtime.ledger.studies import Studies, StudyRevision
from runtime.ledger.table import hashed
from tests.unit.acceptance.conftest import BUS, OPERATIONS, Answers, Pipeline
from tests.unit.conftest import LEDGER_TABLE, PROCESSED, RAW
from tests.unit.dicom.builder import header_of

RUN_ID = "6b0ac15999"
HOURS_AGO = f"{int((datetime.now(UTC) - timedelta(hours=3)).timestamp()):08x}ff"
MINUTES_AGO = f"{int((datetime.now(UTC) - timedelta(minutes=3)).timestamp()):08x}ff"


@pytest.fixture
def run(begin: Callable[..., Run]) -> Run:
    boto3.client("events").create_event_bus(Name=BUS)
    return begin()


def raw_versions(run: Run) -> list[Any]:
    return list(run.s3.list_object_versions(Bucket=RAW).get("Versions", []))


def results(run: Run) -> list[Any]:
    listed = run.s3.list_object_versions(Bucket=PROCESSED)
    return [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]


def items() -> list[str]:
    """Names of the ledger's items."""
    return [item["object_id"]["S"] for item in boto3.client("dynamodb").scan(TableName=LEDGER_TABLE)["Items"]]


# Objects.


@pytest.mark.parametrize("sample", Sample)
def test_should_make_objects_that_a_strict_stage_of_any_profile_judges_as_expected(sample: Sample) -> None:
    header = header_of(content(RUN_ID, sample))
    reason = EXPECTED[sample].reason_code
    expected = {reason} if sample is Sample.QUARANTINED else set()
    assert {finding.code for finding in check_compliance(header)} == expected
    assert assess_risks(header) == {}


def test_should_make_objects_that_are_nobodys_and_each_runs_own() -> None:
    assert len(pixels(RUN_ID, Sample.LARGE)) > SINGLE_PUT_LIMIT
    assert content(RUN_ID, Sample.LARGE).endswith(pixels(RUN_ID, Sample.LARGE))
    assert content(RUN_ID, Sample.DUPLICATE) == content(RUN_ID, Sample.DELIVERED)
    assert content(RUN_ID, Sample.CONFLICT) != content(RUN_ID, Sample.DELIVERED)
    assert patient_id(RUN_ID).encode() in content(RUN_ID, Sample.DELIVERED)
    assert study_instance_uid(RUN_ID) != study_instance_uid(HOURS_AGO)


def test_should_keep_below_the_stages_prefix_and_names_within_what_aws_allows(begin: Callable[..., Run]) -> None:
    run = begin(stage="a" * 16, accepted_prefixes=("scanner/", "other/"), accepted_suffixes=(".IMA",))
    assert run.prefix == f"scanner/{FOLDER}{run.id}/"
    assert len(run.temporary_name) <= 64


# Removal.


def test_should_remove_everything_but_the_audit_records(run: Run, ledger: Ledger, pipeline: Pipeline) -> None:
    run.s3.put_object(Bucket=RAW, Key="somebody/else.dcm", Body=b"else")
    for key in ("P1/2.25.12/else.dcm", "P12/2.25.1/else.dcm"):  # of the same patient even
        run.s3.put_object(Bucket=PROCESSED, Key=key, Body=b"else")
    events.subscribed.line(run)
    run.rows()
    boto3.client("dynamodb").put_item(TableName=LEDGER_TABLE, Item={"object_id": {"S": "somebody"}})

    line = cleanup.own.line(run)

    assert line.outcome is Outcome.OK
    assert line.seen == (
        "removed: a rule, a queue, ledger's rows, 3 versions of results, 6 of raw objects;"
        " stays: 6 audit records, which nobody can delete"
    )
    assert [each["Key"] for each in raw_versions(run)] == ["somebody/else.dcm"]
    assert [each["Key"] for each in results(run)] == ["P1/2.25.12/else.dcm", "P12/2.25.1/else.dcm"]
    assert items() == ["somebody"]
    assert boto3.client("events").list_rules(EventBusName=BUS)["Rules"] == []
    assert boto3.client("sqs").list_queues().get("QueueUrls", []) == []


def test_should_forget_instances_and_study_too(run: Run, ledger: Ledger) -> None:
    run.rows()
    for uid in sop_instance_uids(run.id):
        Claims(ledger.table).claim(uid, "0" * 32, Fingerprint(size=1, etag="e"))
    revision = StudyRevision(revision=1, digest="d", cause=RevisionCause.COMPLETE, objects=6, claimed_at="2026")
    Studies(ledger.table).revise(hashed(study_instance_uid(run.id)), None, revision)
    assert len(items()) == 6 + 4 + 1

    assert cleanup.own.line(run).outcome is Outcome.OK

    assert items() == []


def test_should_keep_all_of_what_is_locked(run: Run, answers: Answers) -> None:
    run.rows()
    before = items()
    answers.add("s3", "HeadObject", ObjectLockRetainUntilDate=datetime(2999, 1, 2, tzinfo=UTC))

    line = cleanup.own.line(run)

    assert line.outcome is Outcome.OK
    assert "raw objects, locked until 2999-01-02, with rows and results" in line.seen
    assert (len(raw_versions(run)), len(results(run)), items()) == (6, 3, before)


def test_should_remove_no_raw_object_whose_row_has_to_stay(run: Run, answers: Answers) -> None:
    run.rows()
    answers.refuse("dynamodb", "DeleteItem", "AccessDeniedException")

    line = cleanup.own.line(run)

    assert (line.outcome, line.seen) == (
        Outcome.FAILED,
        "left: objects: AWS refused DeleteItem: AccessDeniedException. The credentials lack the right to it: "
        "docs/rights.md says what each command needs.",
    )
    assert (len(raw_versions(run)), len(results(run))) == (6, 3)


def test_should_wait_for_executions_under_way(run: Run, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "ENDING_SECONDS", 0)
    run.coordinates(Sample.DELIVERED)

    line = cleanup.own.line(run)

    assert line.outcome is Outcome.OK
    assert line.seen.startswith("removed: ledger's rows, 3 versions of results, 4 of raw objects")
    assert items() == []


def test_should_leave_everything_where_they_do_not_end(
    run: Run, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "ENDING_SECONDS", 0)
    pipeline.works = False
    run.coordinates(Sample.DELIVERED)

    line = cleanup.own.line(run)

    assert line.outcome is Outcome.FAILED
    assert line.seen == "left: objects: executions are under way: a later run removes all"
    assert len(raw_versions(run)) == 4


def test_should_remove_what_a_killed_run_left(run: Run, pipeline: Pipeline) -> None:
    killed = Run(run.config, HOURS_AGO)
    pipeline.run = killed
    killed.rows()
    events.subscribed.line(killed)

    line = cleanup.leftovers.line(run)

    assert line.outcome is Outcome.OK
    assert line.seen.startswith(
        f"{HOURS_AGO}: removed: a rule, a queue, ledger's rows, 3 versions of results, 6 of raw"
    )
    assert (raw_versions(run), results(run), items()) == ([], [], [])
    assert cleanup.leftovers.line(run).seen == "nothing"


def test_should_leave_a_run_alone_that_may_be_at_work(run: Run, pipeline: Pipeline) -> None:
    other = Run(run.config, MINUTES_AGO)
    pipeline.run = other
    other.rows()

    line = cleanup.leftovers.line(run)

    assert (line.outcome, line.seen) == (Outcome.OK, f"{MINUTES_AGO} may be at work")
    assert len(raw_versions(run)) == 6


def test_should_remove_the_replicas_too(begin: Callable[..., Run], answers: Answers, pipeline: Pipeline) -> None:
    boto3.client("events").create_event_bus(Name=BUS)
    run = begin(account="123456789012", region="us-east-1", replica_region="eu-west-1")
    names = {"RawReplicaName": "raw-replica", "ProcessedReplicaName": "processed-replica"}
    outputs = [{"OutputKey": key, "OutputValue": name} for key, name in names.items()]
    answers.give("cloudformation", "DescribeStacks", {"Stacks": [{"Outputs": outputs}]})
    replicas = boto3.client("s3", region_name="eu-west-1")
    for name in names.values():
        replicas.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        replicas.put_object(Bucket=name, Key="somebody/else.dcm", Body=b"else")
    replicas.put_object(Bucket="raw-replica", Key=run.coordinates(Sample.DELIVERED).key, Body=b"replica")
    replicas.put_object(Bucket="processed-replica", Key=run.output_key(Sample.DELIVERED), Body=b"replica")

    assert cleanup.own.line(run).outcome is Outcome.OK

    for name in names.values():
        assert [each["Key"] for each in replicas.list_objects_v2(Bucket=name)["Contents"]] == ["somebody/else.dcm"]


def test_should_remove_what_a_replay_reported(run: Run, answers: Answers) -> None:
    answers.give("stepfunctions", "ListMapRuns", {"mapRuns": [{"mapRunArn": "arn:mapRun:stage/x:run1"}]})
    for key in ("replays/run1/manifest.json", "replays/run2/manifest.json"):
        run.s3.put_object(Bucket=OPERATIONS, Key=key, Body=b"{}")

    assert cleanup.own.line(run).outcome is Outcome.OK

    left = run.s3.list_objects_v2(Bucket=OPERATIONS)["Contents"]
    assert [each["Key"] for each in left] == ["replays/run2/manifest.json"]


def test_should_look_for_no_report_where_nothing_was_replayed(run: Run, answers: Answers) -> None:
    answers.refuse("stepfunctions", "ListMapRuns", "ExecutionDoesNotExist")
    assert cleanup.own.line(run).outcome is Outcome.OK


# The table.


def test_should_skip_what_settings_or_emulator_leave_out(begin: Callable[..., Run]) -> None:
    def fail(_: Run) -> Judgement:
        raise AssertionError

    seen = Check("replicas", fail, skip=unset("replica_region")).line(begin())
    assert (seen.outcome, seen.seen) == (Outcome.SKIPPED, "replica_region is not set")
    tags = Check("tags", fail, emulator="stores none")
    assert tags.line(begin()).outcome is Outcome.FAILED
    seen = tags.line(begin(runs_on_this_machine=True, retain_data=False))
    assert (seen.outcome, seen.seen) == (Outcome.SKIPPED, "the emulator stores none")


def test_should_tell_no_text_of_an_error(begin: Callable[..., Run]) -> None:
    def fail(_: Run) -> Judgement:
        raise ValueError("acceptance/key")

    seen = Check("odd", fail).line(begin())
    assert seen.outcome is Outcome.FAILED
    assert seen.seen.startswith("failed unexpectedly: ValueError test_run.py:")


# The command.


@pytest.fixture
def verify(run: Run, pipeline: Pipeline, answers: Answers, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the command with a few checks."""
    monkeypatch.setattr(command, "CHECKS", (cleanup.leftovers, verdicts.VERDICTS[0]))
    monkeypatch.setitem(STAGES, "test", lambda: {"study_quiet_seconds": 10})

    class Followed(Run):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            pipeline.run = self

    monkeypatch.setattr(command, "Run", Followed)
    return lambda *arguments: command.main(["--stage", "test", *arguments])


def test_should_return_0_and_leave_nothing(verify: Callable[..., int], run: Run, capsys: Any) -> None:
    assert verify() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "         CHECK                    EXPECTED              SEEN"
    assert lines[-1] == "3 ok"
    assert raw_versions(run) == []


def test_should_return_1_where_a_check_fails(verify: Callable[..., int], pipeline: Pipeline, capsys: Any) -> None:
    pipeline.verdicts[Sample.DELIVERED] = pipeline.verdicts[Sample.QUARANTINED]
    assert verify("--json") == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["outcome"] for line in lines] == ["ok", "FAILED", "ok"]
    assert lines[1] == {
        "check": "verdict: delivered",
        "outcome": "FAILED",
        "expected": "delivered",
        "seen": "quarantined TRUNCATED_PIXEL_DATA",
    }


def test_should_return_1_where_the_caller_may_not_look(
    verify: Callable[..., int], answers: Answers, capsys: Any
) -> None:
    answers.refuse("s3", "PutObject")
    assert verify() == 1
    out = capsys.readouterr().out
    assert "no right verdict: delivered       AWS refused PutObject: AccessDenied." in out
    assert "acceptance/key" not in out


def test_should_remove_what_it_made_where_it_is_interrupted(
    verify: Callable[..., int], run: Run, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def interrupt(_: Run) -> Judgement:
        assert len(raw_versions(run)) == 4
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "CHECKS", (*command.CHECKS, Check("interrupted", interrupt), *command.CHECKS))
    assert verify() == 1
    told = capsys.readouterr()
    assert "Interrupted" in told.err
    assert "3 versions of results, 4" in told.out
    assert raw_versions(run) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--stage", "nope"], "There is no stage 'nope': choose one of"),
        (["--stage", "dev"], "This account and region have no stage 'dev'"),
        (["--stage", "dev", "-c", "account"], "Say a setting as <setting>=<value>."),
        (
            ["--stage", "dev", "-c", "account=210987654321"],
            "The credentials are of account 123456789012, and the stage is of 210987654321.",
        ),
    ],
)
def test_should_return_2_where_nothing_can_be_tried(
    arguments: list[str], sentence: str, run: Run, answers: Answers, capsys: Any
) -> None:
    answers.forget("ssm", "GetParameter")
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(sentence)
    assert raw_versions(run) == []


def test_should_take_the_region_from_the_settings(
    monkeypatch: pytest.MonkeyPatch, run: Run, answers: Answers, capsys: Any
) -> None:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    regions = []
    answers.replace("ssm", "GetParameter", lambda client, _: regions.append(client.meta.region_name))
    with pytest.raises(TypeError):
        command.main(["--stage", "dev", "-c", "region=eu-west-3"])
    assert regions == ["eu-west-3"]


def test_should_be_readable_at_80_columns(capsys: Any) -> None:
    page = Page(as_json=False)
    page.add(Line(check="c" * 60, outcome=Outcome.FAILED, expected="aws:kms arn:" + "k" * 90, seen="many words " * 20))
    page.add(Line(check="refused", outcome=Outcome.SKIPPED, seen="the emulator " * 12))
    page.add(Line(check="odd", outcome=Outcome.OK, expected="a", seen="\x1b[31m"))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out


def test_should_name_a_run_by_when_it_began() -> None:
    run_id = new_run_id()
    assert len(run_id) == 10
    assert abs(beginning_of(run_id) - datetime.now(UTC)) < timedelta(minutes=1)
