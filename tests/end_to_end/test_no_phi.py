"""Nothing of a header but coded facts gets into states, logs, metrics, tags, keys or outputs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import boto3
import pydicom
import pytest
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from local.pipeline import Pipeline
from local.samples import BUNDLED
from runtime.contract import METRIC_NAMESPACE, State
from tests.end_to_end.conftest import Stage
from tests.end_to_end.test_verdicts import processed_bucket_missing

TEXT = {"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"}
MARKER = re.compile(r"ZQ\d{5}QZ")
UID_ROOT = "1.2.826.0.1.3680043.10.777."

# Coded values without which the file says something else, or what it says of its pixels is wrong.
KEPT = {"SpecificCharacterSet", "PhotometricInterpretation", "ImageType", "BurnedInAnnotation"}
# Must not be found in the result either: what names the patient, the people and the places.
IDENTIFYING = frozenset(
    (
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "OtherPatientNames",
        "PatientBirthName",
        "PatientMotherBirthName",
        "PatientAddress",
        "PatientTelephoneNumbers",
        "MilitaryRank",
        "CountryOfResidence",
        "RegionOfResidence",
        "AccessionNumber",
        "StudyID",
        "ReferringPhysicianName",
        "ReferringPhysicianAddress",
        "ReferringPhysicianTelephoneNumbers",
        "PhysiciansOfRecord",
        "PerformingPhysicianName",
        "NameOfPhysiciansReadingStudy",
        "OperatorsName",
        "RequestingPhysician",
        "InstitutionName",
        "InstitutionAddress",
        "InstitutionalDepartmentName",
        "StationName",
        "ResponsiblePerson",
        "ResponsibleOrganization",
        "PersonName",
        "PersonAddress",
        "MedicalRecordLocator",
        "AdmissionID",
    )
)


class Marked:
    """A CT image with a unique marker in every text attribute, at the top and in a sequence, and unique UIDs."""

    def __init__(self) -> None:
        self.dataset = pydicom.dcmread(BUNDLED / "CT_small.dcm")
        self.markers: dict[str, str] = {}
        self._count = 0
        self._plant(self.dataset, "")
        item = Dataset()
        self._plant(item, "RequestAttributesSequence.")
        self.dataset.RequestAttributesSequence = Sequence([item])
        self.dataset.private_block(0x0011, "ZQ PRIVATE", create=True).add_new(1, "LO", self._marker("private"))
        for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            setattr(self.dataset, keyword, UID_ROOT + str(self._count))
            self._count += 1
        self.dataset.file_meta.MediaStorageSOPInstanceUID = self.dataset.SOPInstanceUID

    @property
    def content(self) -> bytes:
        written = BytesIO()
        self.dataset.save_as(written)
        return written.getvalue()

    def _plant(self, dataset: Dataset, path: str) -> None:
        for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
            if vr in TEXT and keyword not in KEPT and tag >> 16 not in {0x0000, 0x0002, 0x0004} and tag < 0x50000000:
                dataset.add_new(tag, vr, self._marker(path + keyword))

    def _marker(self, place: str) -> str:
        self._count += 1
        marker = f"ZQ{self._count:05}QZ"
        self.markers[marker] = place
        return marker


@pytest.fixture(scope="module")
def marked() -> Marked:
    return Marked()


def test_should_let_no_planted_text_out_of_the_header(
    marked: Marked, stage: Stage, pipeline: Pipeline, isolated_boto3: boto3.Session
) -> None:
    content = marked.content
    assert set(MARKER.findall(content.decode("latin-1"))) == set(marked.markers)
    assert len(marked.markers) > 2000

    rejected = pipeline.process("marked/rejected.dcm", content[:-1000])
    with processed_bucket_missing(isolated_boto3):
        failed = pipeline.process("marked/failed.dcm", content)
    released = pipeline.process("marked/released.dcm", content)

    assert [outcome.end for outcome in (released, rejected, failed)] == [
        State.SUCCESS,
        State.QUARANTINED,
        State.FAILURE,
    ], (released.reason_codes, rejected.reason_codes, failed.reason_codes)
    places = set()
    for place, text in everything_said(stage, isolated_boto3):
        places.add(place.split(" ")[0])
        found = {marked.markers[marker] for marker in MARKER.findall(text.upper())}
        assert not found, place
        assert UID_ROOT not in text, place
    assert places == {"history", "log", "metric", "tag", "key", "output", "parameter"}

    assert released.output_key is not None
    result = pipeline.processed(released.output_key)
    survivors = {marked.markers[marker] for marker in MARKER.findall(result.decode("latin-1"))}
    assert not {place for place in survivors if place.rpartition(".")[2] in IDENTIFYING | {"private"}}
    assert UID_ROOT.encode() not in result


def test_should_know_the_identifying_attributes_by_their_keywords() -> None:
    assert all(tag_for_keyword(keyword) for keyword in IDENTIFYING)


def everything_said(stage: Stage, session: boto3.Session) -> Iterator[tuple[str, str]]:
    """Yield all that the deployed stage said about any object, and where."""
    pipeline = stage.pipeline
    for arn, _ in pipeline.executions():
        yield f"history {arn}", text(list(pipeline.history(arn)))
        yield f"history {arn}", text(pipeline.step_functions.describe_execution(executionArn=arn))
    logs = session.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
            yield f"log {group['logGroupName']}", text(page["events"])
    metrics = session.client("cloudwatch").get_paginator("list_metrics").paginate(Namespace=METRIC_NAMESPACE)
    yield from (("metric names", text(page["Metrics"])) for page in metrics)
    for version in pipeline.s3.list_object_versions(Bucket=pipeline.raw_bucket, Prefix="marked/")["Versions"]:
        yield "tag set", text(pipeline.s3.get_object_tagging(Bucket=pipeline.raw_bucket, Key=version["Key"]))
    results = pipeline.s3.get_paginator("list_objects_v2").paginate(Bucket=pipeline.processed_bucket)
    for result in (found for page in results for found in page.get("Contents", [])):
        yield "key of a result", result["Key"]
        yield "key with metadata", text(pipeline.s3.head_object(Bucket=pipeline.processed_bucket, Key=result["Key"]))
    yield "output values", text(dict(stage.outputs))
    parameters = session.client("ssm").get_paginator("get_parameters_by_path").paginate(Path="/", Recursive=True)
    yield from (("parameter values", text(page["Parameters"])) for page in parameters)


def text(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
