"""Every object ends somewhere: released, quarantined for a reason, or failed and counted."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING

import boto3
import pydicom
import pytest

from cli.operations.links import PresignedUrlHandler
from local.environment import REGION
from local.pipeline import Outcome, Pipeline
from local.samples import BUNDLED, as_instance
from runtime.aws import clients
from runtime.aws.audit import AuditLog
from runtime.aws.clock import timestamp
from runtime.contract.audit import AuditEvent
from runtime.contract.ledger import LedgerStatus
from runtime.contract.names import METRIC_NAMESPACE, PROJECT, Metric, Output, State
from runtime.contract.objects import ExecutionInput, ObjectCoordinates
from runtime.ledger.rows import Ledger
from tests.end_to_end.conftest import Stage

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

CT = (BUNDLED / "CT_small.dcm").read_bytes()
MR = (BUNDLED / "MR_small.dcm").read_bytes()


def with_more_rows(content: bytes) -> bytes:
    dataset = pydicom.dcmread(BytesIO(content))
    dataset.Rows *= 2
    written = BytesIO()
    dataset.save_as(written)
    return written.getvalue()


# Objects by what a test says of them. They go through the pipeline together, which is quicker than one by one.
OBJECTS: Mapping[str, bytes] = {
    "ct.dcm": CT,
    "dose-implicit.dcm": (BUNDLED / "rtdose.dcm").read_bytes(),
    "segmentation-big-endian.dcm": (BUNDLED / "liver_expb_1frame.dcm").read_bytes(),
    "ct-compressed.dcm": (BUNDLED / "693_J2KI.dcm").read_bytes(),
    "text.dcm": b"Dear colleague, thank you for referring this patient.\n" * 20,
    "not-dicom.dcm": bytes(range(256)) * 16,
    "empty.dcm": b"",
    "cut-in-header.dcm": CT[:3000],
    "cut-in-pixels.dcm": CT[:-5000],
    "more-rows-than-pixels.dcm": with_more_rows(CT),
    "dicomdir.dcm": (BUNDLED / "dicomdirtests" / "DICOMDIR").read_bytes(),
    # Keys that a careless consumer of events decodes twice, not at all, or truncates.
    "UPPER CASE.DCM": as_instance(MR, 1),
    "key with spaces/a  b.dcm": as_instance(MR, 2),
    "plus+and%20percent%.dcm": as_instance(MR, 3),
    "Röntgen/胸部/صدر.dcm": as_instance(MR, 4),
    "long/".ljust(1020, "k") + ".dcm": as_instance(MR, 5),
}
KEYS = list(OBJECTS)[-5:]


@pytest.fixture(scope="session")
def outcomes(pipeline: Pipeline) -> Mapping[str, Outcome]:
    """What became of each of `OBJECTS`."""
    return {outcome.key: outcome for outcome in pipeline.process_all(OBJECTS)}


@pytest.mark.parametrize("key", ["ct.dcm", "dose-implicit.dcm", "segmentation-big-endian.dcm", "ct-compressed.dcm"])
def test_should_deliver_a_valid_file_with_its_pixels_and_without_its_patient(
    key: str, outcomes: Mapping[str, Outcome], pipeline: Pipeline
) -> None:
    outcome = outcomes[key]

    assert (outcome.end, outcome.reason_codes) == (State.SUCCESS, ())
    assert outcome.output_key is not None
    source = pydicom.dcmread(BytesIO(OBJECTS[key]))
    result = pydicom.dcmread(BytesIO(pipeline.processed(outcome.output_key)))
    assert result.PixelData == source.PixelData
    assert result.file_meta.TransferSyntaxUID == source.file_meta.TransferSyntaxUID
    assert result.PatientIdentityRemoved == "YES"
    assert result.PatientID != source.PatientID
    assert result.SOPInstanceUID != source.SOPInstanceUID
    assert result.Modality == source.Modality


def test_should_deliver_through_a_link_that_needs_no_credentials(
    outcomes: Mapping[str, Outcome], pipeline: Pipeline, isolated_boto3: boto3.Session
) -> None:
    key = outcomes["ct.dcm"].output_key
    assert key is not None

    audit = AuditLog(clients.client("dynamodb"), pipeline.outputs[Output.LINK_AUDIT_TABLE_NAME])
    link = PresignedUrlHandler(pipeline.processed_bucket, REGION, audit=audit).generate_secure_download_url(key)

    [record] = audit.of_subject(key)
    assert (record.event, record.expires_at) == (AuditEvent.LINK_ISSUED, timestamp(link.expires_at))
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(link.url) as answer:
        assert answer.headers["Content-Type"] == "application/dicom"
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.read() == pipeline.processed(key)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("text.dcm", "NOT_DICOM"),
        ("not-dicom.dcm", "NOT_DICOM"),
        ("empty.dcm", "EMPTY_OBJECT"),
        ("cut-in-header.dcm", "TRUNCATED_HEADER"),
        ("cut-in-pixels.dcm", "TRUNCATED_PIXEL_DATA"),
        ("more-rows-than-pixels.dcm", "PIXEL_DATA_TOO_SHORT"),
        ("dicomdir.dcm", "DICOM_DIRECTORY"),
    ],
)
def test_should_quarantine_what_is_not_acceptable_and_leave_it_in_place(
    key: str, reason: str, outcomes: Mapping[str, Outcome], pipeline: Pipeline
) -> None:
    outcome = outcomes[key]

    assert outcome.end is State.QUARANTINED
    assert reason in outcome.reason_codes
    assert all(finding["message"] for finding in outcome.result["findings"])
    raw = pipeline.s3.get_object(Bucket=pipeline.raw_bucket, Key=key)["Body"].read()
    assert raw == OBJECTS[key]
    # What the tag says is asserted on the template: the emulator takes this call and stores nothing.
    assert states(pipeline, outcome)[-7:] == [
        State.QUARANTINE_HANDLER,
        State.TAG_QUARANTINED_OBJECT,
        State.AUDIT_QUARANTINE,
        State.RECORD_QUARANTINE,
        State.ANNOUNCE_QUARANTINE,
        State.PUBLISH_QUARANTINE_METRIC,
        State.QUARANTINED,
    ]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key[:20])
def test_should_process_an_object_whatever_its_key(key: str, outcomes: Mapping[str, Outcome]) -> None:
    assert len(next(key for key in KEYS if key.startswith("long/")).encode()) == 1024
    assert outcomes[key].end is State.SUCCESS
    assert outcomes[key].result["object"]["key"] == key


def test_should_take_a_name_without_suffix_and_record_what_it_does_not_take(
    pipeline: Pipeline, isolated_boto3: boto3.Session
) -> None:
    ignored = {key: pipeline.upload(key, b"Dear colleague") for key in ("ward 7/letter.txt", "ward 7/")}

    assert pipeline.process("ward 7/IM0001", as_instance(CT, 4)).end is State.SUCCESS

    ledger = Ledger(isolated_boto3.client("dynamodb"), pipeline.outputs[Output.LEDGER_TABLE_NAME])
    deadline = time.monotonic() + 60
    while len(rows := {row.key: row for row in ledger.with_status(LedgerStatus.IGNORED)}.keys() & ignored) < 2:
        assert time.monotonic() < deadline
        time.sleep(1)
    for row in ledger.with_status(LedgerStatus.IGNORED):
        assert row.key not in rows or (row.version_id, row.attempt, row.execution) == (ignored[row.key], 0, None)


def test_should_quarantine_an_object_that_was_deleted_before_it_was_read(pipeline: Pipeline) -> None:
    version_id = pipeline.upload("deleted.bin", CT)
    pipeline.s3.delete_object(Bucket=pipeline.raw_bucket, Key="deleted.bin", VersionId=version_id)
    coordinates = ObjectCoordinates(
        bucket=pipeline.raw_bucket, key="deleted.bin", version_id=version_id, size=len(CT), etag=""
    )

    outcome = pipeline.start(ExecutionInput(object=coordinates))

    assert (outcome.end, outcome.reason_codes) == (State.QUARANTINED, ("OBJECT_DELETED",))


def test_should_deliver_each_version_of_an_object_that_was_overwritten(pipeline: Pipeline) -> None:
    first = pipeline.upload("overwritten.dcm", as_instance(CT, 1))
    second = pipeline.upload("overwritten.dcm", as_instance(MR, 6))

    # The emulator's events name no version: the dispatcher finds it by the content that the event tells of.
    outcomes = pipeline.ended("overwritten.dcm", 2)

    assert {outcome.result["object"]["version_id"]: outcome.facts["modality"] for outcome in outcomes} == {
        first: "CT",
        second: "MR",
    }
    assert [outcome.end for outcome in outcomes] == [State.SUCCESS, State.SUCCESS]


def test_should_deliver_an_instance_once_and_never_replace_it(
    outcomes: Mapping[str, Outcome], pipeline: Pipeline
) -> None:
    delivered = outcomes["ct.dcm"].output_key
    assert delivered is not None
    before = pipeline.processed(delivered)

    duplicate = pipeline.process("ct-again.dcm", CT)
    conflict = pipeline.process("ct-changed.dcm", CT.replace(b"CompressedSamples^CT1", b"CompressedSamples^CT2"))

    assert (duplicate.end, duplicate.output_key) == (State.DUPLICATE, delivered)
    assert (conflict.end, conflict.reason_codes) == (State.QUARANTINED, ("CONFLICTING_INSTANCE",))
    assert pipeline.processed(delivered) == before


def test_should_count_a_step_that_raises_as_failure_and_move_the_alarms_metric(
    stage: Stage, pipeline: Pipeline, isolated_boto3: boto3.Session
) -> None:
    cloudwatch = isolated_boto3.client("cloudwatch")
    alarm = cloudwatch.describe_alarms(AlarmNames=[f"{PROJECT}-local-PipelineFailures"])["MetricAlarms"][0]
    assert (alarm["Namespace"], alarm["MetricName"]) == (METRIC_NAMESPACE, Metric.FAILURE)
    before = total(cloudwatch, Metric.FAILURE)

    with processed_bucket_missing(isolated_boto3):
        outcome = pipeline.process("fails.dcm", as_instance(CT, 2))

    assert states(pipeline, outcome)[-5:] == [
        State.ERROR_HANDLER,
        State.AUDIT_FAILURE,
        State.RECORD_FAILURE,
        State.PUBLISH_FAILURE_METRIC,
        State.FAILURE,
    ]
    assert outcome.result["verdict"] == "failed"
    assert total(cloudwatch, Metric.FAILURE) == before + 1


def test_should_count_every_verdict(
    outcomes: Mapping[str, Outcome], pipeline: Pipeline, isolated_boto3: boto3.Session
) -> None:
    cloudwatch = isolated_boto3.client("cloudwatch")
    before = {metric: total(cloudwatch, metric) for metric in Metric}

    pipeline.process("counted.dcm", as_instance(CT, 3))
    pipeline.process("counted-again.dcm", as_instance(CT, 3))
    pipeline.process("counted-text.dcm", b"text")

    assert total(cloudwatch, Metric.SUCCESS) == before[Metric.SUCCESS] + 1
    assert total(cloudwatch, Metric.DUPLICATE) == before[Metric.DUPLICATE] + 1
    assert total(cloudwatch, Metric.QUARANTINE) == before[Metric.QUARANTINE] + 1
    assert total(cloudwatch, Metric.FAILURE) == before[Metric.FAILURE]


def test_should_publish_every_output_as_a_parameter_too(stage: Stage, isolated_boto3: boto3.Session) -> None:
    pages = isolated_boto3.client("ssm").get_paginator("get_parameters_by_path")
    path = f"/{PROJECT}/local/"
    parameters = {
        parameter["Name"].removeprefix(path): parameter["Value"]
        for page in pages.paginate(Path=path, Recursive=True)
        for parameter in page["Parameters"]
    }

    assert sorted(parameters.values()) == sorted(stage.outputs[name] for name in Output)


def states(pipeline: Pipeline, outcome: Outcome) -> list[str]:
    """The states that an execution went through."""
    events = pipeline.history(outcome.execution_arn)
    return [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]


def total(cloudwatch: CloudWatchClient, metric: Metric) -> float:
    """How often a metric was counted."""
    now = datetime.now(UTC)
    answer = cloudwatch.get_metric_statistics(
        Namespace=METRIC_NAMESPACE,
        MetricName=metric,
        Dimensions=[{"Name": "Stage", "Value": "local"}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )
    return sum(point["Sum"] for point in answer["Datapoints"])


@contextmanager
def processed_bucket_missing(session: boto3.Session) -> Iterator[None]:
    """Make the de-identification function raise: the bucket that it writes to does not exist."""
    functions = session.client("lambda")
    name = f"{PROJECT}-local-deidentification"
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    functions.update_function_configuration(
        FunctionName=name, Environment={"Variables": variables | {"PROCESSED_BUCKET": "there-is-no-such-bucket"}}
    )
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
