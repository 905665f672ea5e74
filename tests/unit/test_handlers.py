import json
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, generate_uid

from runtime.aws import storage
from runtime.contract.objects import ObjectCoordinates, Severity
from runtime.contract.steps import AppliedProfile, PixelIdentity, StatusCode, StepResponse
from runtime.dicom.header import FIRST_READ, GROWTH, read_header
from runtime.dicom.source import BytesSource
from runtime.handlers import validation
from tests.unit.conftest import Handlers, dicom_file

MARKER = "QXMARKERZ"
PAYLOAD_LIMIT = 256 * 1024
"""Bytes that Step Functions passes between states."""
TEXT_VRS = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UR", "UT"}
CT = dicom_file("CT_small.dcm")


def written(data_set: pydicom.Dataset) -> bytes:
    buffer = BytesIO()
    data_set.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def marked(name: str) -> bytes:
    """Plant the marker in every text attribute of a file, at every depth, in any VR, whether it allows it or not."""

    def plant(data_set: pydicom.Dataset, element: pydicom.DataElement) -> None:
        if element.VR in TEXT_VRS and element.keyword not in {"SpecificCharacterSet", "PhotometricInterpretation"}:
            keeps_meaning = element.VR in {"IS", "DS"} and element.tag.group == 0x0028
            if not keeps_meaning:
                data_set[element.tag] = pydicom.DataElement(element.tag, "LO" if element.VR != "PN" else "PN", MARKER)

    data_set = pydicom.dcmread(BytesIO(dicom_file(name)))
    with pydicom.config.disable_value_validation():
        data_set.walk(plant)
        return written(data_set)


def status(answer: dict[str, Any]) -> StatusCode:
    """Check an answer against the contract and what Step Functions takes; return its verdict."""
    assert len(json.dumps(answer).encode()) < PAYLOAD_LIMIT
    return StepResponse.model_validate(answer).statusCode


def run(handlers: Handlers, uploaded: ObjectCoordinates) -> list[dict[str, Any]]:
    """Take an object through the steps until one rejects it."""
    answers = [handlers.ingest(uploaded)]
    for step in (handlers.validate, handlers.deidentify):
        if status(answers[-1]) is StatusCode.ACCEPTED:
            answers.append(step(uploaded))
    status(answers[-1])
    return answers


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "test-SR.dcm", "rtplan.dcm", "rtdose.dcm"]
)
def test_should_deliver_real_objects(handlers: Handlers, name: str) -> None:
    content = dicom_file(name)
    uploaded = handlers.buckets.upload(content)
    ingestion, validation_, deidentification = run(handlers, uploaded)
    assert ingestion["body"]["object"] == uploaded.model_dump()
    assert ingestion["body"]["object_id"] == uploaded.object_id
    assert validation_["statusCode"] == 200
    body = deidentification["body"]
    result = handlers.buckets.result(body["output_key"])
    assert len(result) == body["output_size"]
    before, after = pydicom.dcmread(BytesIO(content)), pydicom.dcmread(BytesIO(result))
    assert after.get("PixelData") == before.get("PixelData")
    assert after.PatientIdentityRemoved == "YES"
    assert after.SOPInstanceUID != before.SOPInstanceUID
    assert body["pixel_identity"] == (PixelIdentity.PROVED if "PixelData" in before else PixelIdentity.NO_BULK_DATA)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "EMPTY_OBJECT"),
        (b"Dear colleague, attached please find", "NOT_DICOM"),
        (CT[:131], "NOT_DICOM"),
        (CT[:700], "TRUNCATED_HEADER"),
        (CT[:-9000], "TRUNCATED_PIXEL_DATA"),
        (dicom_file("meta_missing_tsyntax.dcm"), "MISSING_TRANSFER_SYNTAX"),
        (dicom_file("DICOMDIR"), "DICOM_DIRECTORY"),
        (dicom_file("SC_rgb_rle.dcm"), "RISK_SECONDARY_CAPTURE"),
    ],
)
def test_should_reject_with_the_reason(handlers: Handlers, content: bytes, reason: str) -> None:
    answers = run(handlers, handlers.buckets.upload(content))
    assert answers[-1]["statusCode"] == 422
    assert reason in answers[-1]["body"]["reason_codes"].split()


def test_should_tell_by_which_profile_and_key_an_object_was_judged(handlers: Handlers) -> None:
    risky = run(handlers, handlers.buckets.upload(dicom_file("SC_rgb_rle.dcm")))[-1]["body"]
    delivered = run(handlers, handlers.buckets.upload(CT))[-1]["body"]
    unread = run(handlers, handlers.buckets.upload(b""))[-1]["body"]
    applied = [{name: body[name] for name in AppliedProfile.model_fields} for body in (risky, delivered, unread)]
    assert applied[0] == applied[1]
    assert all(applied[0].values())
    assert not any(applied[2].values()), "no profile was applied to what could not be read"


@pytest.mark.parametrize("step", ["ingest", "validate", "deidentify"])
def test_should_reject_an_object_deleted_before_it_is_read(handlers: Handlers, step: str) -> None:
    uploaded = handlers.buckets.upload(CT)
    handlers.buckets.s3.delete_object(Bucket=uploaded.bucket, Key=uploaded.key, VersionId=uploaded.version_id)
    answer = getattr(handlers, step)(uploaded)
    assert status(answer) is StatusCode.REJECTED
    assert answer["body"]["reason_codes"] == "OBJECT_DELETED"
    assert answer["body"]["object_id"] == uploaded.object_id


def test_should_process_the_pinned_version_when_overwritten(handlers: Handlers) -> None:
    uploaded = handlers.buckets.upload(CT)
    handlers.buckets.upload(b"not DICOM at all")
    answer = handlers.ingest(uploaded)
    assert status(answer) is StatusCode.ACCEPTED
    assert answer["body"]["object"] == uploaded.model_dump()
    assert [status(step(uploaded)) for step in (handlers.validate, handlers.deidentify)] == [StatusCode.ACCEPTED] * 2


def test_should_let_nothing_of_the_header_out(handlers: Handlers, output: pytest.CaptureFixture[str]) -> None:
    for name in ("CT_small.dcm", "test-SR.dcm", "rtplan.dcm", "examples_overlay.dcm"):
        uploaded = handlers.buckets.upload(marked(name), f"{name}-upload.dcm")
        assert MARKER.encode() in read_header(BytesSource(marked(name))).content
        answers = [handlers.ingest(uploaded), handlers.validate(uploaded), handlers.deidentify(uploaded)]
        assert {status(answer) for answer in answers} <= set(StatusCode)
        captured = output.readouterr()
        assert MARKER not in json.dumps(answers) + captured.out + captured.err


def test_should_let_no_key_out_in_logs_and_metrics(handlers: Handlers, output: pytest.CaptureFixture[str]) -> None:
    uploaded = handlers.buckets.upload(CT, f"{MARKER}/scan.dcm")
    run(handlers, uploaded)
    handlers.ingest(handlers.buckets.upload(b"no DICOM", f"{MARKER}/text.dcm"))
    handlers.ingest(uploaded.model_copy(update={"version_id": "0", "etag": "0"}))
    captured = output.readouterr()
    assert MARKER not in captured.out + captured.err
    logs = [json.loads(line) for line in captured.out.splitlines() if "_aws" not in line]
    assert [log["message"] for log in logs] == ["ingested", "validated", "deidentified", "rejected", "rejected"]
    assert {log["object_id"] for log in logs[:3]} == {uploaded.object_id}
    assert all("object_id" in log for log in logs)


def test_should_write_no_output_key_and_no_pseudonym_into_logs(
    handlers: Handlers, output: pytest.CaptureFixture[str]
) -> None:
    key = run(handlers, handlers.buckets.upload(CT))[-1]["body"]["output_key"]
    logged = output.readouterr().out
    assert not [part for part in key.removesuffix(".dcm").split("/") if part in logged]


def test_should_let_warnings_through_unless_the_stage_is_strict(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_set = pydicom.dcmread(BytesIO(CT))
    del data_set.ReferringPhysicianName
    uploaded = handlers.buckets.upload(written(data_set))
    lenient = handlers.validate(uploaded)
    assert status(lenient) is StatusCode.ACCEPTED
    assert "MISSING_TYPE_2" in lenient["body"]["warning_codes"]
    monkeypatch.setattr(validation, "variables", validation.variables.model_copy(update={"STRICT": True}))
    strict = handlers.validate(uploaded)
    assert status(strict) is StatusCode.REJECTED
    assert "MISSING_TYPE_2" in strict["body"]["reason_codes"]


def test_should_answer_within_the_payload_limit_with_thousands_of_findings(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "variables", validation.variables.model_copy(update={"STRICT": True}))
    data_set = pydicom.dcmread(BytesIO(CT))
    item = pydicom.Dataset()
    with pydicom.config.disable_value_validation():
        item.StudyDate = "no date"
        item.StudyTime = "no time"
        item.Modality = "lower case"
        data_set.RequestAttributesSequence = [item] * 4000
        uploaded = handlers.buckets.upload(written(data_set))
    answer = handlers.validate(uploaded)
    assert status(answer) is StatusCode.REJECTED
    assert answer["body"]["findings"][-1]["code"] == "MORE_FINDINGS"
    assert all(entry["severity"] == Severity.ERROR for entry in answer["body"]["findings"][:-1])


def test_should_say_that_deflated_pixels_were_re_encoded(handlers: Handlers) -> None:
    data_set = pydicom.dcmread(BytesIO(CT))
    data_set.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    body = run(handlers, handlers.buckets.upload(written(data_set)))[-1]["body"]
    assert body["pixel_identity"] == PixelIdentity.RE_ENCODED
    assert pydicom.dcmread(BytesIO(handlers.buckets.result(body["output_key"]))).PixelData == data_set.PixelData


def bytes_of_header(content: bytes) -> int:
    """Return what reading the header may fetch: the growing ranges until it is whole."""
    size, header_size = FIRST_READ, read_header(BytesSource(content)).data_set.stop
    while size < header_size:
        size *= GROWTH
    return min(size, len(content))


def enlarged(rows: int) -> bytes:
    data_set = pydicom.dcmread(BytesIO(CT))
    data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data_set.Rows = rows
    data_set.PixelData = bytes(rows * data_set.Columns * 2)
    return written(data_set)


def test_should_read_the_header_and_never_the_pixels(handlers: Handlers, capsys: pytest.CaptureFixture[str]) -> None:
    """`pytest -s` shows the table."""
    objects: dict[str, Callable[[], bytes]] = {
        "CT_small.dcm, 32 KiB of pixels": lambda: CT,
        "MR_small_implicit.dcm": lambda: dicom_file("MR_small_implicit.dcm"),
        "liver_1frame.dcm, 1 bit a pixel": lambda: dicom_file("liver_1frame.dcm"),
        "examples_overlay.dcm": lambda: dicom_file("examples_overlay.dcm"),
        "J2K_pixelrep_mismatch.dcm, encapsulated": lambda: dicom_file("J2K_pixelrep_mismatch.dcm"),
        "CT, 7.5 MiB of pixels, one PUT": lambda: enlarged(30_720),
        "CT, 15 MiB of pixels, copied in S3": lambda: enlarged(61_440),
    }
    rows = []
    for name, make in objects.items():
        content = make()
        ingestion, validation_, deidentification = run(handlers, handlers.buckets.upload(content, name))
        read = [
            ingestion["body"]["facts"]["bytes_read"],
            validation_["body"]["bytes_read"],
            deidentification["body"]["bytes_read"],
        ]
        rows.append((name, len(content), *read, deidentification["body"]["bytes_written"]))
        assert read[0] == bytes_of_header(content)
        # Validation adds the item headers of encapsulated data, and what follows the pixels.
        assert read[1] <= read[0] + 64 * 1024
        # De-identification passes a small object through memory once, and 5 MiB of a large one.
        small = len(content) <= storage.SINGLE_PUT_LIMIT
        assert read[2] <= (len(content) if small else storage.MINIMUM_PART + read[0]) + 64
        assert deidentification["body"]["pixel_identity"] == PixelIdentity.PROVED
    columns = ("bytes", "object", "ingestion", "validation", "de-identification", "own bytes of result")
    table = [" | ".join(columns), *(" | ".join(map(str, row)) for row in rows)]
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *table, ""]))


@pytest.mark.parametrize("name", ["ingestion", "validation", "deidentification"])
def test_should_import_neither_numpy_nor_aws_cdk(name: str) -> None:
    code = f"import sys, runtime.handlers.{name}; print(sorted({{'numpy', 'aws_cdk', 'PIL'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
