"""Each SOP instance is delivered once, whoever else has it and whatever dies meanwhile."""

import importlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import pydicom
import pytest
from pydicom.uid import generate_uid

from runtime.aws import storage
from runtime.contract.ledger import LedgerStatus
from runtime.contract.objects import ObjectCoordinates, Release
from runtime.contract.steps import PixelIdentity
from runtime.dicom.source import Origin
from runtime.ledger.claims import Claims, Delivery, InstanceClaim
from runtime.ledger.fingerprint import Fingerprint, fingerprint_of, same_content
from runtime.ledger.table import hashed
from runtime.observability.entry_points import StepFailedError
from tests.unit.conftest import PROCESSED, RAW, dicom_file
from tests.unit.intake.conftest import Stage, execution

CT = dicom_file("CT_small.dcm")
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def changed(content: bytes = CT, **attributes: Any) -> bytes:
    """Return a file with other values in some attributes."""
    data_set = pydicom.dcmread(io.BytesIO(content))
    for keyword, value in attributes.items():
        setattr(data_set, keyword, value)
    written = io.BytesIO()
    data_set.save_as(written)
    return written.getvalue()


OTHER_PATIENT = changed(PatientID="other", PatientName="ROE^RICHARD")


def one_after_another(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let requests for an item be atomic, as DynamoDB's are and moto's are not."""
    lock, client = Lock(), stage.ledger.table.client

    def locked(request: Callable[..., Any]) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            with lock:
                return request(**arguments)

        return call

    monkeypatch.setattr(client, "update_item", locked(client.update_item))
    monkeypatch.setattr(client, "get_item", locked(client.get_item))


def upload_in_parts(stage: Stage, content: bytes, key: str) -> ObjectCoordinates:
    """Upload as a multipart object, whose ETag is no digest of its content and which has no full-object checksum."""
    s3 = stage.buckets.s3
    upload = s3.create_multipart_upload(Bucket=RAW, Key=key)["UploadId"]
    part = s3.upload_part(Bucket=RAW, Key=key, UploadId=upload, PartNumber=1, Body=content)
    parts: Any = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    answer = s3.complete_multipart_upload(Bucket=RAW, Key=key, UploadId=upload, MultipartUpload=parts)
    etag = answer["ETag"].strip('"')
    return ObjectCoordinates(bucket=RAW, key=key, version_id=answer["VersionId"], size=len(content), etag=etag)


def while_writing(stage: Stage, act: Callable[[], object]) -> None:
    """Do something once, just before S3 gets the next result."""
    pending = [act]

    def run(**_: Any) -> None:
        if pending:
            pending.pop()()

    stage.buckets.s3.meta.events.register("before-call.s3.PutObject", run)


def after_writing(stage: Stage, act: Callable[[], object]) -> None:
    """Do something once, just after S3 got the next result."""
    pending = [act]

    def run(**_: Any) -> None:
        if pending:
            pending.pop()()

    stage.buckets.s3.meta.events.register("after-call.s3.PutObject", run)


def die() -> None:
    raise MemoryError


def empty(stage: Stage, bucket: str = PROCESSED) -> None:
    for key in stage.results():
        stage.buckets.s3.delete_object(Bucket=bucket, Key=key)


def versions(stage: Stage) -> int:
    return len(stage.buckets.s3.list_object_versions(Bucket=PROCESSED).get("Versions", []))


def reasons(answer: dict[str, Any]) -> str:
    assert answer["statusCode"] == 422
    codes: str = answer["body"]["reason_codes"]
    return codes


def test_should_deliver_staged_pixels_under_the_claim_of_their_source(stage: Stage) -> None:
    source = storage.S3Object(stage.buckets.s3, stage.buckets.upload(CT))
    pixels = storage.StagedObject(stage.buckets.s3, stage.buckets.upload(b"masked", "staged"))
    result = storage.Result(PROCESSED, "p/s/s/i.dcm", b"header", Origin(pixels, 0, pixels.size))
    claim = InstanceClaim(stage.ledger, stage.buckets.s3, source, "1.2.3")
    assert claim.deliver(result) == Delivery("p/s/s/i.dcm", PixelIdentity.PROVED_STAGED, None)
    assert stage.buckets.result("p/s/s/i.dcm") == b"headermasked"
    assert (
        Claims(stage.ledger.table).claim("1.2.3", "another", fingerprint_of(source)).holder
        == source.coordinates.object_id
    )


def test_should_deliver_an_object_and_record_its_study(stage: Stage) -> None:
    coordinates = stage.buckets.upload(CT)
    body = stage.process(execution(coordinates))["body"]
    assert (body["outcome"], body["duplicate_of"], body["pixel_identity"]) == ("delivered", None, "proved")
    row = stage.ledger.row(coordinates.object_id)
    assert row is not None
    assert (row.status, row.output_key) == (LedgerStatus.DELIVERED, stage.results()[0])
    study = str(pydicom.dcmread(io.BytesIO(CT)).StudyInstanceUID)
    assert [found.object_id for found in stage.ledger.rows_of_study(hashed(study))] == [coordinates.object_id]


def test_should_deliver_the_same_file_under_many_keys_once(stage: Stage) -> None:
    uploaded = [stage.buckets.upload(CT, f"{number}.dcm") for number in range(6)]
    bodies = [stage.process(execution(coordinates))["body"] for coordinates in uploaded]
    assert [body["outcome"] for body in bodies] == ["delivered"] + ["duplicate"] * 5
    assert {body["duplicate_of"] for body in bodies[1:]} == {uploaded[0].object_id}
    assert {body["output_key"] for body in bodies} == set(stage.results())
    assert (versions(stage), bodies[1]["bytes_written"], bodies[1]["pixel_identity"]) == (1, 0, None)


def test_should_deliver_once_when_copies_are_processed_at_the_same_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_after_another(stage, monkeypatch)
    uploaded = [stage.buckets.upload(CT, f"{number}.dcm") for number in range(8)]
    inputs = [execution(coordinates) for coordinates in uploaded]
    sources = [storage.S3Object(stage.buckets.s3, coordinates) for coordinates in uploaded]
    module = importlib.import_module("runtime.handlers.deidentification")
    module.deidentifier("research")
    for given in inputs:
        stage.ledger.receive(given)
    with ThreadPoolExecutor(8) as threads:
        bodies = list(threads.map(module.deidentify, inputs, sources))
    outcomes = zip(uploaded, bodies, strict=True)
    delivered = [coordinates.object_id for coordinates, body in outcomes if body.outcome == "delivered"]
    assert len(delivered) == 1
    assert {body.duplicate_of for body in bodies if body.outcome == "duplicate"} == set(delivered)
    assert len(stage.results()) == 1


def test_should_not_rely_on_a_copy_that_has_not_been_delivered(stage: Stage) -> None:
    """The first to confirm delivers; the one that claimed first finds that out after it has written the same bytes."""
    first, second = stage.buckets.upload(CT, "1.dcm"), stage.buckets.upload(CT, "2.dcm")
    answers: list[dict[str, Any]] = []
    while_writing(stage, lambda: answers.append(stage.process(execution(second))))
    body = stage.process(execution(first))["body"]
    assert answers[0]["body"]["outcome"] == "delivered"
    assert (body["outcome"], body["duplicate_of"]) == ("duplicate", second.object_id)
    assert len(stage.results()) == 1


def test_should_deliver_by_a_copy_when_the_first_died_before_it_wrote(stage: Stage) -> None:
    first, second = stage.buckets.upload(CT, "1.dcm"), stage.buckets.upload(CT, "2.dcm")
    while_writing(stage, die)
    with pytest.raises(StepFailedError):
        stage.process(execution(first))
    assert stage.results() == []
    assert stage.process(execution(second))["body"]["outcome"] == "delivered"
    assert stage.step("deidentification", execution(first))["body"]["duplicate_of"] == second.object_id


def test_should_deliver_when_a_step_is_repeated_after_it_died_with_the_result_written(stage: Stage) -> None:
    coordinates = stage.buckets.upload(CT)
    after_writing(stage, die)
    with pytest.raises(StepFailedError):
        stage.process(execution(coordinates))
    written = stage.buckets.result(stage.results()[0])
    assert stage.process(execution(coordinates))["body"]["outcome"] == "delivered"
    assert stage.buckets.result(stage.results()[0]) == written
    assert stage.status(coordinates) == "delivered"


def test_should_deliver_in_both_of_two_executions_of_one_object(stage: Stage) -> None:
    """EXPRESS executions run at least once: the second verdict says the same and changes nothing."""
    coordinates = stage.buckets.upload(CT)
    answers: list[dict[str, Any]] = []
    while_writing(stage, lambda: answers.append(stage.process(execution(coordinates))))
    answers.append(stage.process(execution(coordinates)))
    assert [answer["body"]["outcome"] for answer in answers] == ["delivered", "delivered"]
    assert (len(stage.results()), versions(stage), stage.status(coordinates)) == (1, 2, "delivered")


def test_should_quarantine_other_bytes_with_the_same_instance_and_keep_what_was_delivered(stage: Stage) -> None:
    first, second = stage.buckets.upload(CT, "1.dcm"), stage.buckets.upload(OTHER_PATIENT, "2.dcm")
    stage.process(execution(first))
    delivered = stage.buckets.result(stage.results()[0])
    assert reasons(stage.process(execution(second))) == "CONFLICTING_INSTANCE"
    assert (versions(stage), stage.buckets.result(stage.results()[0])) == (1, delivered)
    assert (stage.status(first), stage.status(second)) == ("delivered", "quarantined")


def test_should_quarantine_a_corrected_version_under_the_same_key(stage: Stage) -> None:
    first = stage.buckets.upload(CT)
    second = stage.buckets.upload(changed(Rows=64, Columns=256))
    assert stage.process(execution(first))["body"]["outcome"] == "delivered"
    assert reasons(stage.process(execution(second))) == "CONFLICTING_INSTANCE"


def test_should_not_replace_what_may_be_about_to_be_delivered(stage: Stage) -> None:
    first, second = stage.buckets.upload(CT, "1.dcm"), stage.buckets.upload(OTHER_PATIENT, "2.dcm")
    answers: list[dict[str, Any]] = []
    while_writing(stage, lambda: answers.append(stage.process(execution(second))))
    assert stage.process(execution(first))["body"]["outcome"] == "delivered"
    assert reasons(answers[0]) == "CONFLICTING_INSTANCE"


def test_should_take_over_the_instance_of_an_object_that_was_given_up(stage: Stage) -> None:
    first, second = stage.buckets.upload(CT, "1.dcm"), stage.buckets.upload(OTHER_PATIENT, "2.dcm")
    while_writing(stage, die)
    with pytest.raises(StepFailedError):
        stage.process(execution(first))
    assert reasons(stage.step("deidentification", execution(second))) == "CONFLICTING_INSTANCE"
    stage.ledger.record(execution(first), LedgerStatus.FAILED, error="StepFailedError")
    assert stage.process(execution(second))["body"]["outcome"] == "delivered"
    assert reasons(stage.process(execution(first, 2))) == "CONFLICTING_INSTANCE"


def test_should_not_take_over_what_was_delivered_though_its_execution_failed_afterwards(stage: Stage) -> None:
    first, second = stage.buckets.upload(CT, "1.dcm"), stage.buckets.upload(OTHER_PATIENT, "2.dcm")
    stage.ledger.receive(execution(first))
    stage.step("deidentification", execution(first))
    stage.ledger.record(execution(first), LedgerStatus.FAILED, error="States.Timeout")
    assert reasons(stage.process(execution(second))) == "CONFLICTING_INSTANCE"


def test_should_restore_an_emptied_bucket_byte_for_byte(stage: Stage) -> None:
    contents = [CT, CT, dicom_file("MR_small.dcm")]
    uploaded = [stage.buckets.upload(content, f"{number}.dcm") for number, content in enumerate(contents)]
    for coordinates in uploaded:
        stage.process(execution(coordinates))
    before = {key: stage.buckets.result(key) for key in stage.results()}
    assert len(before) == 2
    empty(stage)
    for coordinates in reversed(uploaded):
        row = stage.ledger.row(coordinates.object_id)
        assert row is not None
        assert stage.process(row.next_attempt())["statusCode"] == 200
    assert {key: stage.buckets.result(key) for key in stage.results()} == before


def test_should_restore_from_a_copy_when_the_object_that_was_delivered_is_gone(stage: Stage) -> None:
    first, second = stage.buckets.upload(CT, "1.dcm"), stage.buckets.upload(CT, "2.dcm")
    for coordinates in (first, second):
        stage.process(execution(coordinates))
    empty(stage)
    stage.buckets.s3.delete_object(Bucket=RAW, Key="1.dcm", VersionId=first.version_id)
    assert stage.process(execution(second, 2))["body"]["outcome"] == "delivered"
    assert reasons(stage.process(execution(first, 2))) == "OBJECT_DELETED"
    assert len(stage.results()) == 1


@pytest.mark.parametrize(("content", "status"), [(CT, 200), (CT[:-1] + b"\1", 422)])
def test_should_compare_the_bytes_where_checksums_do_not_tell(stage: Stage, content: bytes, status: int) -> None:
    stage.process(execution(stage.buckets.upload(CT, "1.dcm", checksum="SHA256")))
    second = upload_in_parts(stage, content, "2.dcm")
    answer = stage.process(execution(second))
    assert answer["statusCode"] == status
    if status == 200:
        assert answer["body"]["outcome"] == "duplicate"


def test_should_not_take_an_object_for_a_copy_of_one_that_is_gone(stage: Stage) -> None:
    first = stage.buckets.upload(CT, "1.dcm", checksum="SHA256")
    stage.process(execution(first))
    stage.buckets.s3.delete_object(Bucket=RAW, Key="1.dcm", VersionId=first.version_id)
    second = upload_in_parts(stage, CT, "2.dcm")
    assert reasons(stage.process(execution(second))) == "CONFLICTING_INSTANCE"


def test_should_quarantine_what_is_deleted_before_it_is_read(stage: Stage) -> None:
    coordinates = stage.buckets.upload(CT)
    stage.buckets.s3.delete_object(Bucket=RAW, Key=coordinates.key, VersionId=coordinates.version_id)
    assert reasons(stage.process(execution(coordinates))) == "OBJECT_DELETED"


def test_should_release_what_only_a_risk_keeps(stage: Stage) -> None:
    risky = changed(SOPClassUID=SECONDARY_CAPTURE)
    coordinates = stage.buckets.upload(risky)
    assert "RISK_SECONDARY_CAPTURE" in reasons(stage.process(execution(coordinates)))
    row = stage.ledger.row(coordinates.object_id)
    assert row is not None
    assert stage.ledger.release(row, Release(by="Dr. A", reason="No text in the pixels."))
    row = stage.ledger.row(coordinates.object_id)
    assert row is not None
    body = stage.process(row.next_attempt())["body"]
    assert (body["outcome"], body["risks"]) == ("delivered", ["secondary-capture"])
    row = stage.ledger.row(coordinates.object_id)
    assert row is not None
    assert stage.process(row.next_attempt())["body"]["outcome"] == "delivered"


def test_should_release_nothing_but_risks(stage: Stage) -> None:
    release = Release(by="Dr. A", reason="No text in the pixels.")
    first, second = stage.buckets.upload(CT, "1.dcm"), stage.buckets.upload(OTHER_PATIENT, "2.dcm")
    stage.process(execution(first))
    assert reasons(stage.process(execution(second, release=release))) == "CONFLICTING_INSTANCE"


def test_should_de_identify_with_the_profile_that_an_attempt_asks_for(stage: Stage) -> None:
    coordinates = stage.buckets.upload(changed(SOPInstanceUID=generate_uid()))
    first = stage.process(execution(coordinates))["body"]
    second = stage.process(execution(coordinates, 2, profile="basic"))["body"]
    assert (first["profile"], second["profile"]) == ("research", "basic")
    assert first["profile_hash"] != second["profile_hash"]
    row = stage.ledger.row(coordinates.object_id)
    assert row is not None
    assert (row.attempt, row.profile) == (2, "basic")


def test_should_log_nothing_that_identifies(stage: Stage, output: pytest.CaptureFixture[str]) -> None:
    first, second = stage.buckets.upload(CT, "DOE^1.dcm"), stage.buckets.upload(OTHER_PATIENT, "DOE^2.dcm")
    for coordinates in (first, second, first):
        stage.process(execution(coordinates))
    written = output.readouterr()
    assert "CONFLICTING_INSTANCE" in written.out
    for marker in ("DOE", "ROE", str(pydicom.dcmread(io.BytesIO(CT)).SOPInstanceUID)):
        assert marker not in written.out + written.err


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (("1", "a" * 16), ("2", "a" * 16), True),
        (("1", "a" * 16), ("1", "b" * 16), False),
        (("1", None), ("1", "b" * 16), True),
        (("1", None), ("2", None), None),
    ],
)
def test_should_tell_from_checksums_and_etags_what_they_tell(
    one: tuple[str, str | None], other: tuple[str, str | None], expected: bool | None
) -> None:
    first, second = (Fingerprint(size=5, etag=etag, checksum=checksum) for etag, checksum in (one, other))
    assert first.agrees(second) is expected
    assert first.agrees(second.model_copy(update={"size": 6})) is False


def test_should_compare_every_byte(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.ledger.fingerprint.CHUNK", 1000)
    source = stage.buckets.source(CT, "1.dcm")
    assert same_content(source, stage.buckets.source(CT, "2.dcm"))
    for position in (0, 999, 1000, len(CT) - 1):
        other = CT[:position] + bytes([CT[position] ^ 1]) + CT[position + 1 :]
        assert not same_content(source, stage.buckets.source(other, "3.dcm"))
