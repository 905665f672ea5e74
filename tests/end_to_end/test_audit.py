"""Every verdict, release and download link is in the audit log, once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from io import BytesIO

import boto3
import pydicom
import pytest

from cli.__main__ import main
from imaging_pipeline.building_blocks.runtime_code import code_version
from local.environment import isolation
from local.pipeline import Outcome, Pipeline
from local.samples import BUNDLED, as_instance
from runtime.aws import clients
from runtime.aws.audit import AuditLog
from runtime.contract.audit import AuditEvent, AuditRecord
from runtime.contract.names import Output
from runtime.contract.objects import ExecutionInput, ObjectCoordinates
from tests.end_to_end.conftest import Stage
from tests.end_to_end.test_verdicts import processed_bucket_missing

CT = as_instance((BUNDLED / "CT_small.dcm").read_bytes(), 4711)
APPLIED = ("profile", "profile_hash", "key_id")


@pytest.fixture
def audit(stage: Stage) -> Iterator[AuditLog]:
    with isolation(stage.environment):
        yield AuditLog(clients.client("dynamodb"), stage.outputs[Output.AUDIT_TABLE_NAME])


def execution(pipeline: Pipeline, outcome: Outcome) -> ExecutionInput:
    described = pipeline.step_functions.describe_execution(executionArn=outcome.execution_arn)
    return ExecutionInput.model_validate_json(described["input"])


def record_of(audit: AuditLog, pipeline: Pipeline, outcome: Outcome) -> AuditRecord:
    """The only record of an execution's object."""
    started = execution(pipeline, outcome)
    [record] = audit.of_subject(started.object.object_id)
    assert (record.attempt, record.execution) == (started.attempt, outcome.execution_arn)
    assert record.code_version == code_version()
    return record


def with_burned_in_annotation(content: bytes) -> bytes:
    dataset = pydicom.dcmread(BytesIO(content))
    dataset.BurnedInAnnotation = "YES"
    written = BytesIO()
    dataset.save_as(written)
    return written.getvalue()


def test_should_record_each_verdict_once_with_what_led_to_it(
    audit: AuditLog, pipeline: Pipeline, isolated_boto3: boto3.Session
) -> None:
    delivered = pipeline.process("audit/delivered.dcm", CT)
    duplicate = pipeline.process("audit/duplicate.dcm", CT)
    quarantined = pipeline.process("audit/quarantined.dcm", b"no DICOM")
    with processed_bucket_missing(isolated_boto3):
        failed = pipeline.process("audit/failed.dcm", as_instance(CT, 4712))

    record = record_of(audit, pipeline, delivered)
    result = delivered.result["deidentification"]
    assert (record.event, record.output_key) == (AuditEvent.DELIVERED, delivered.output_key)
    assert [getattr(record, name) for name in APPLIED] == [result[name] for name in APPLIED]
    again = record_of(audit, pipeline, duplicate)
    assert (again.event, again.output_key) == (AuditEvent.DUPLICATE, delivered.output_key)
    assert again.duplicate_of == record.subject
    refused = record_of(audit, pipeline, quarantined)
    assert (refused.event, refused.reason_codes) == (AuditEvent.QUARANTINED, "NOT_DICOM")
    assert [getattr(refused, name) for name in APPLIED] == [None] * 3, "no profile was applied to it"
    lost = record_of(audit, pipeline, failed)
    assert (lost.event, lost.error) == (AuditEvent.FAILED, failed.result["error"])

    assert delivered.output_key is not None
    assert set(audit.of_output(delivered.output_key)) == {record, again}


def test_should_go_on_and_leave_the_record_as_it_is_when_an_execution_gets_there_again(
    audit: AuditLog, pipeline: Pipeline
) -> None:
    """As after a redrive, or when an EXPRESS execution is started twice: here the record is there before."""
    version_id = pipeline.upload("audit/twice.bin", b"no DICOM")
    coordinates = ObjectCoordinates(
        bucket=pipeline.raw_bucket, key="audit/twice.bin", version_id=version_id, size=8, etag=""
    )
    first = AuditRecord(
        subject=coordinates.object_id, record_id="1#quarantined", event=AuditEvent.QUARANTINED, at="2026", attempt=1
    )
    audit.record(first)

    outcome = pipeline.start(ExecutionInput(object=coordinates))

    assert outcome.reason_codes == ("NOT_DICOM",)
    assert list(audit.of_subject(coordinates.object_id)) == [first]


def test_should_record_a_release_and_what_became_of_it(
    audit: AuditLog, pipeline: Pipeline, isolated_boto3: boto3.Session, capsys: pytest.CaptureFixture[str]
) -> None:
    risky = pipeline.process("audit/risky.dcm", with_burned_in_annotation(as_instance(CT, 4713)))
    object_id = execution(pipeline, risky).object.object_id
    reason = "Looked at every frame: no text is burned in."
    arguments = ["quarantine", "release", "--stage", "local", object_id, "--by", "Dr. Ada Byron", "--reason", reason]

    assert main(arguments) == 0
    [released] = pipeline.ended("audit/risky.dcm", 1)

    capsys.readouterr()
    assert main(["audit", "--stage", "local", "--object", object_id, "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(record["event"], record["attempt"]) for record in told] == [
        ("quarantined", 1),
        ("released", 2),
        ("delivered", 2),
    ]
    assert (told[1]["by"], told[1]["reason_codes"]) == ("Dr. Ada Byron", told[0]["reason_codes"])
    assert told[1]["reason_sha256"] == hashlib.sha256(reason.encode()).hexdigest()
    assert told[1]["principal"] == isolated_boto3.client("sts").get_caller_identity()["Arn"]
    assert told[2]["output_key"] == released.output_key
    assert told[0]["profile_hash"] == told[2]["profile_hash"], "the profile that found the risk is told, too"


def test_should_tell_who_got_links_to_a_study(
    pipeline: Pipeline, isolated_boto3: boto3.Session, capsys: pytest.CaptureFixture[str]
) -> None:
    key = pipeline.process("audit/linked.dcm", as_instance(CT, 4714)).output_key
    assert key is not None
    study = "/".join(key.split("/")[:2]) + "/"

    assert main(["links", "--stage", "local", "--for", "Dr. Grace Hopper", key]) == 0
    capsys.readouterr()
    assert main(["audit", "--stage", "local", "--output-key", study, "--event", "link-issued", "--json"]) == 0

    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(record["output_key"], record["recipient"]) for record in told if record["output_key"] == key] == [
        (key, "Dr. Grace Hopper")
    ]
    assert all("url" not in record for record in told)
