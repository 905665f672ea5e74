"""The result says what was done to it, in its own header and in the report."""

from __future__ import annotations

import pytest
from pydicom import Dataset

from runtime.deidentification.engine import IMPLEMENTATION_CLASS_UID, Deidentifier
from runtime.deidentification.profile import Policy, Risk
from runtime.deidentification.pseudonyms import Pseudonyms
from runtime.deidentification.report import DeidentificationReport
from runtime.deidentification.rules.options import Option
from runtime.deidentification.rules.table import Action
from runtime.dicom.errors import DicomError
from runtime.dicom.header import read_header
from runtime.dicom.source import BytesSource
from tests.deidentification import KEY, Result, bundled_file, deidentified, encoded, opened, releasing, with_options

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")

FILES = ("CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "image_dfl.dcm", "JPEG2000.dcm")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("profile_name", "codes", "temporal"),
    [
        ("basic", ["113100"], "REMOVED"),
        ("research", ["113100", "113103", "113104", "113105", "113107", "113108", "113111"], "MODIFIED"),
    ],
)
def test_should_declare_the_deidentification(name: str, profile_name: str, codes: list[str], temporal: str) -> None:
    result = deidentified(bundled_file(name), profile_name)
    data_set, report = result.data_set, result.deidentified.report
    assert data_set.PatientIdentityRemoved == "YES"
    assert data_set.LongitudinalTemporalInformationModified == temporal
    items = data_set.DeidentificationMethodCodeSequence
    assert [item.CodeValue for item in items] == codes
    assert {item.CodingSchemeDesignator for item in items} == {"DCM"}
    method = list(data_set.DeidentificationMethod)
    assert method == [f"profile {profile_name}", report.profile_hash, f"key {Pseudonyms(KEY).key_id}"]
    assert all(len(value) <= 64 for value in method)


def test_should_say_that_dates_are_unmodified_where_they_are() -> None:
    by = Deidentifier(with_options(Option.RETAIN_LONGITUDINAL_FULL_DATES), Pseudonyms(KEY))
    data_set = Result(bundled_file("CT_small.dcm"), by).data_set
    assert data_set.LongitudinalTemporalInformationModified == "UNMODIFIED"
    assert data_set.StudyDate == "20040119"


def test_should_replace_what_the_source_declares() -> None:
    source = opened(bundled_file("CT_small.dcm"))
    source.PatientIdentityRemoved, source.DeidentificationMethod = "NO", "Dr. Miller's eraser"
    source.LongitudinalTemporalInformationModified = "UNMODIFIED"
    nested = Dataset()
    nested.PatientIdentityRemoved = "NO"
    source.AnatomicRegionSequence = [nested]
    data_set = deidentified(encoded(source)).data_set
    assert (data_set.PatientIdentityRemoved, data_set.LongitudinalTemporalInformationModified) == ("YES", "MODIFIED")
    assert "Miller" not in "".join(data_set.DeidentificationMethod)
    assert "PatientIdentityRemoved" not in data_set.AnatomicRegionSequence[0]


@pytest.mark.parametrize("name", FILES)
def test_should_write_file_meta_anew(name: str) -> None:
    content = bytearray(bundled_file(name))
    content[:128] = b"Quillfeather^Zebediah".ljust(128)
    result = deidentified(bytes(content))
    assert result.content[:132] == bytes(128) + b"DICM"
    meta = result.data_set.file_meta
    assert [element.tag.element for element in meta] == [0, 1, 2, 3, 0x10, 0x12, 0x13]
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.MediaStorageSOPInstanceUID == result.data_set.SOPInstanceUID
    assert meta.TransferSyntaxUID == opened(bundled_file(name)).file_meta.TransferSyntaxUID


def test_should_keep_elements_in_order_and_drop_group_lengths() -> None:
    for name in FILES:
        tags = [
            element.tag
            for element in read_header(BytesSource(deidentified(bundled_file(name)).content)).data_set.elements
        ]
        assert tags == sorted(set(tags))
        assert not [tag for tag in tags if tag & 0xFFFF == 0]


@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "MR_small_implicit.dcm"])
def test_should_drop_what_follows_the_pixel_data_and_say_how_many_bytes(name: str) -> None:
    content = bundled_file(name)
    trailing = b"\xfc\xff\xfc\xffOB\0\0\x08\0\0\0Doe Jane" + b"more of Jane Doe"
    result = deidentified(content + trailing)
    assert b"Doe" not in result.content
    before = deidentified(content).deidentified.report.trailing_bytes_dropped
    assert result.deidentified.report.trailing_bytes_dropped == before + len(trailing)


def test_should_report_what_was_done_without_values() -> None:
    result = deidentified(bundled_file("CT_small.dcm"))
    report = result.deidentified.report
    assert DeidentificationReport.model_validate_json(report.model_dump_json()) == report
    assert report.profile == "research"
    assert report.options == tuple(sorted(releasing("research").options))
    assert report.action_counts[Action.REMOVE] > 100  # private attributes above all
    source = opened(bundled_file("CT_small.dcm"))
    text = report.model_dump_json()
    assert not [value for value in (source.PatientID, source.StudyDate, source.StudyInstanceUID) if value in text]


def test_should_stamp_another_hash_for_another_policy() -> None:
    profile = releasing("basic")
    other = profile.model_copy(update={"risks": {**profile.risks, Risk.VIDEO: Policy.QUARANTINE}})
    reports = [
        Result(bundled_file("CT_small.dcm"), Deidentifier(chosen, Pseudonyms(KEY))).deidentified.report
        for chosen in (profile, other)
    ]
    assert reports[0].profile_hash != reports[1].profile_hash
    assert reports[0].action_counts == reports[1].action_counts


def test_should_deidentify_a_result_again() -> None:
    for profile_name in ("basic", "research"):
        once = deidentified(bundled_file("CT_small.dcm"), profile_name)
        twice = deidentified(once.content, profile_name)
        assert [e.tag for e in twice.data_set] == [e.tag for e in once.data_set]
        assert twice.data_set.PatientID != once.data_set.PatientID
        assert twice.data_set.PixelData == once.data_set.PixelData


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("present", [True, False])
def test_should_reject_an_object_without_a_place(keyword: str, *, present: bool) -> None:
    source = opened(bundled_file("CT_small.dcm"))
    if present:
        source[keyword].value = ""
    else:
        del source[keyword]
    content = encoded(source)
    with pytest.raises(DicomError) as error:
        deidentified(content)
    assert error.value.code.startswith("MISSING_")
    assert error.value.attribute == keyword


def test_should_not_let_a_kept_uid_lead_the_output_key_elsewhere() -> None:
    content = bundled_file("CT_small.dcm")
    uid = opened(content).SeriesInstanceUID.encode()
    by = Deidentifier(with_options(Option.RETAIN_UIDS), Pseudonyms(KEY))
    assert uid.decode() in Result(content, by).deidentified.output_key
    with pytest.raises(DicomError, match="MISSING_SERIES_INSTANCE_UID"):
        Result(content.replace(uid, b"../../etc".ljust(len(uid), b"x")), by)
