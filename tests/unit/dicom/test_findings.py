from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import runtime
from runtime.contract.objects import ObjectCoordinates, Severity
from runtime.contract.steps import StepResponse
from runtime.deidentification.profile import Risk
from runtime.dicom.errors import DicomError
from runtime.dicom.findings import (
    FINDINGS,
    MAXIMUM_PATH,
    MAXIMUM_REPORTED,
    as_errors,
    finding,
    from_error,
    reported,
)

SOURCES = [path for path in Path(runtime.__file__).parent.rglob("*.py") if path.name != "findings.py"]
STRINGS = {string for path in SOURCES for string in re.findall(r'"([A-Z][A-Z0-9_]+)"', path.read_text("utf-8"))}
RAISED = {
    code
    for path in SOURCES
    for code in re.findall(r'(?:DicomError|\bfinding)\(\s*"([A-Z0-9_]+)"', path.read_text("utf-8"))
}


def test_should_have_a_rule_for_every_code_that_is_raised() -> None:
    assert set(FINDINGS) >= RAISED | {risk.code for risk in Risk}


def test_should_have_no_rule_that_nothing_uses() -> None:
    assert set(FINDINGS) - STRINGS - {risk.code for risk in Risk} == {"MORE_FINDINGS"} - STRINGS


@pytest.mark.parametrize("code", FINDINGS)
def test_should_say_in_one_sentence_what_to_do(code: str) -> None:
    message = FINDINGS[code].message
    assert re.match(r"[A-Z].*\.$", message)
    assert ". " not in message
    assert len(message) <= 110
    assert finding(code).severity is FINDINGS[code].severity


def test_should_quarantine_for_exactly_what_makes_an_object_unusable_or_unsafe() -> None:
    warnings = {code for code, rule in FINDINGS.items() if rule.severity is Severity.WARNING}
    assert not warnings & {"TRUNCATED_HEADER", "MISSING_STUDY_INSTANCE_UID", "PIXEL_DATA_TOO_SHORT", "NOT_DICOM"}
    assert warnings >= {"INVALID_DATE", "MISSING_TYPE_1", "MISSING_TYPE_2", "VR_MISMATCH", "PIXEL_DATA_TOO_LONG"}


def test_should_take_place_from_an_error() -> None:
    found = from_error(DicomError("TRUNCATED_PIXEL_DATA", attribute="PixelData", offset=7))
    assert (found.code, found.severity, found.attribute, found.offset) == (
        "TRUNCATED_PIXEL_DATA",
        Severity.ERROR,
        "PixelData",
        7,
    )


def test_should_lift_warnings_for_a_strict_stage() -> None:
    lifted = as_errors([finding("INVALID_DATE"), finding("NOT_DICOM")])
    assert [found.severity for found in lifted] == [Severity.ERROR] * 2


def test_should_shorten_a_path_that_a_hostile_object_makes_endless() -> None:
    path = finding("INVALID_DATE", attribute="ReferencedStudySequence[1]." * 1000 + "StudyDate").attribute
    assert path is not None
    assert len(path) == MAXIMUM_PATH + 3
    assert path.startswith("ReferencedStudySequence[1].")
    assert path.endswith("StudyDate")


def test_should_report_errors_first_within_what_passes_between_states() -> None:
    path = "ReferencedStudySequence[1]." * 1000
    findings = [finding("INVALID_NUMBER", attribute=path, offset=2**40) for _ in range(1000)] + [finding("NOT_DICOM")]
    cut = reported(findings)
    assert len(cut) == MAXIMUM_REPORTED
    assert cut[0].code == "NOT_DICOM"
    assert cut[-1].code == "MORE_FINDINGS"
    coordinates = ObjectCoordinates(bucket="b", key="\u00e9" * 512, version_id="v", size=0, etag="e")
    assert len(json.dumps(StepResponse.rejected(coordinates, cut).model_dump(mode="json"))) < 128 * 1024
    assert reported(findings[:3]) == findings[:3]
