from __future__ import annotations

import random
import re
import time
import warnings
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from runtime.contract.objects import Finding, Severity
from runtime.dicom.checks.compliance import MAXIMUM_FINDINGS, check_compliance
from runtime.dicom.errors import DicomError
from runtime.dicom.findings import FINDINGS, from_error
from tests.unit.dicom.builder import (
    BIG_ENDIAN,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    UNREADABLE,
    bundled,
    data_set_of,
    encode,
    explicit,
    fragments,
    header_of,
    implicit,
    item,
    part10,
    pydicom_files,
    valid_image,
)

NO_IDENTITY = {
    "MISSING_SOP_CLASS_UID",
    "MISSING_SOP_INSTANCE_UID",
    "MISSING_STUDY_INSTANCE_UID",
    "MISSING_SERIES_INSTANCE_UID",
}
NO_PIXELS = {"MISSING_PIXEL_DATA"}
NO_STUDY = {"MISSING_STUDY_INSTANCE_UID", "MISSING_SERIES_INSTANCE_UID"}
ERRORS_OF_BUNDLED_FILES = {
    "MR_truncated.dcm": {"TRUNCATED_PIXEL_DATA"},
    "badVR.dcm": {"CONTRADICTORY_PIXEL_DESCRIPTION"},  # Number of Frames 1A
    "nested_priv_SQ.dcm": NO_IDENTITY | {"MISSING_PIXEL_DESCRIPTION"},
    # fragments of objects, made to test one thing
    **dict.fromkeys(("UN_sequence.dcm", "empty_charset_LEI.dcm", "no_meta_group_length.dcm"), NO_IDENTITY),
    **dict.fromkeys(("priv_SQ.dcm", "chrSQEncoding.dcm", "chrSQEncoding1.dcm"), NO_IDENTITY),
    **dict.fromkeys(("JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm"), NO_STUDY),
    **dict.fromkeys(("SC_rgb_jls_lossy_line.dcm", "SC_rgb_jls_lossy_sample.dcm"), NO_STUDY),
    # images whose pixels were cut away
    **dict.fromkeys(("chrJapMulti.dcm", "chrJapMultiExplicitIR6.dcm", "chrKoreanMulti.dcm"), NO_PIXELS),
}
READABLE = [path for path in pydicom_files() if path.name not in UNREADABLE]


def findings_of(content: bytes) -> list[Finding]:
    return check_compliance(header_of(content))


def places(data_set: Dataset) -> list[tuple[str, str | None]]:
    return [(found.code, found.attribute) for found in findings_of(encode(data_set))]


def compressed(value: bytes, **attributes: Any) -> Dataset:
    values: dict[str, Any] = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelData": value[:-8]}
    return valid_image(JPEG, **values | attributes)


@pytest.mark.parametrize("path", READABLE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_should_find_errors_in_no_bundled_file_but_the_broken_ones(path: Path) -> None:
    errors = {found.code for found in findings_of(path.read_bytes()) if found.severity is Severity.ERROR}
    if path.name.startswith("DICOMDIR"):
        assert errors == {"DICOM_DIRECTORY"}
    elif "TINY_ALPHA" in str(path):
        assert errors == {"MISSING_PIXEL_DATA"}
    else:
        assert errors == ERRORS_OF_BUNDLED_FILES.get(path.name, set())


@pytest.mark.parametrize("transfer_syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_should_find_nothing_in_an_image_that_complies(transfer_syntax: str) -> None:
    assert places(valid_image(transfer_syntax)) == []


def test_should_find_nothing_in_compressed_pixels_that_comply() -> None:
    assert places(compressed(fragments(b"1234"))) == []
    assert places(compressed(fragments(b"12", b"34", table=pack("<LL", 0, 10)), NumberOfFrames=2)) == []
    assert places(compressed(fragments(b"12", b"34", b"56", table=pack("<LL", 0, 20)), NumberOfFrames=2)) == []


def in_item(**attributes: Any) -> Dataset:
    return valid_image(ReferencedStudySequence=Sequence([Dataset(), data_set_of(**attributes)]))


@pytest.mark.parametrize(
    ("keyword", "value", "code"),
    [
        ("StudyInstanceUID", "1.02.3", "INVALID_UID"),
        ("StudyInstanceUID", "1." + "2" * 64, "INVALID_UID"),
        ("StudyInstanceUID", "1..2", "INVALID_UID"),
        ("StudyInstanceUID", "1.2.a", "INVALID_UID"),
        ("StudyDate", "20230229", "INVALID_DATE"),
        ("StudyDate", "2024.02.29", "INVALID_DATE"),
        ("StudyDate", "20240001", "INVALID_DATE"),
        ("StudyTime", "240000", "INVALID_TIME"),
        ("StudyTime", "126000", "INVALID_TIME"),
        ("StudyTime", "12:30:00", "INVALID_TIME"),
        ("StudyTime", "1", "INVALID_TIME"),
        ("AcquisitionDateTime", "20230229120000", "INVALID_DATE_TIME"),
        ("AcquisitionDateTime", "20240229120000+1500", "INVALID_DATE_TIME"),
        ("AcquisitionDateTime", "20240229120000-0000", "INVALID_DATE_TIME"),
        ("PatientAge", "45", "INVALID_AGE"),
        ("PatientAge", "45Y", "INVALID_AGE"),
        ("Modality", "ct", "INVALID_CODE"),
        ("Modality", "A" * 17, "VALUE_TOO_LONG"),
        ("PatientID", "1" * 65, "VALUE_TOO_LONG"),
        ("AccessionNumber", "1" * 17, "VALUE_TOO_LONG"),
        ("AdditionalPatientHistory", "x" * 10241, "VALUE_TOO_LONG"),
        ("StationAETitle", "AE\tTITLE", "INVALID_CHARACTER"),
        ("PatientID", "4711\n", "INVALID_CHARACTER"),
        ("PatientName", "a^b^c^d^e^f", "INVALID_PERSON_NAME"),
        ("PatientName", "a=b=c=d", "INVALID_PERSON_NAME"),
        ("PatientName", "a" * 65, "VALUE_TOO_LONG"),
        ("RetrieveURL", "https://a b", "INVALID_URI"),
        ("PatientOrientation", "L", "VALUE_MULTIPLICITY"),
        ("ImageOrientationPatient", [1, 0, 0, 0, 1], "VALUE_MULTIPLICITY"),
        ("StudyID", ["1", "2"], "VALUE_MULTIPLICITY"),
        ("SpecificCharacterSet", "ISO_IR 999", "UNKNOWN_CHARACTER_SET"),
    ],
)
def test_should_tell_a_value_that_its_vr_does_not_allow(keyword: str, value: Any, code: str) -> None:
    found = places(valid_image(**{keyword: value}))
    assert (code, keyword) in found
    assert {attribute for _, attribute in found} <= {keyword, "MediaStorageSOPClassUID"}


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyInstanceUID", "1." + "2" * 62),
        ("StudyInstanceUID", "0.0"),
        ("StudyDate", "20000229"),
        ("StudyTime", "235960"),
        ("StudyTime", "23"),
        ("StudyTime", "2359"),
        ("AcquisitionDateTime", "2024"),
        ("AcquisitionDateTime", "202402291200-1200"),
        ("AcquisitionDateTime", "20240229120060.123456+1400"),
        ("PatientAge", "045Y"),
        ("PatientID", "1" * 64),
        ("PatientName", "a^b^c^d^e=a^b^c^d^e=" + "a" * 64),
        ("SliceThickness", "-1.5e+10"),
        ("RetrieveURL", "https://example.org/a?b=c#d"),
        ("ImageOrientationPatient", [1, 0, 0, 0, 1, 0]),
        ("AdditionalPatientHistory", "two\r\nlines\twith \\ and tab"),
        ("PatientComments", "Ünïcödé"),
    ],
)
def test_should_accept_what_the_vr_allows(keyword: str, value: Any) -> None:
    assert places(valid_image(**{keyword: value})) == []


@pytest.mark.parametrize("value", [b"1A", b"1.5 ", b"2147483648", b"-2147483649 ", b"1 2 "])
def test_should_tell_an_integer_string_that_is_no_integer_of_32_bits(value: bytes) -> None:
    assert ("INVALID_NUMBER", "SeriesNumber") in raw(explicit(0x00200011, "IS", value))


@pytest.mark.parametrize("value", [b"1,5 ", b"1e", b"0x10", b"NaN "])
def test_should_tell_a_decimal_string_that_is_no_number(value: bytes) -> None:
    assert ("INVALID_NUMBER", "SliceThickness") in raw(explicit(0x00180050, "DS", value))


def raw(elements: bytes, transfer_syntax: str = EXPLICIT) -> list[tuple[str, str | None]]:
    return [(found.code, found.attribute) for found in findings_of(part10(elements, transfer_syntax))]


def test_should_tell_lengths_that_do_not_fit_the_vr() -> None:
    assert ("INVALID_LENGTH", "Rows") in raw(explicit(0x00280010, "US", b"\1\0\0"))
    assert ("INVALID_LENGTH", "PatientID") in raw(explicit(0x00100020, "LO", b"odd"))
    assert ("INVALID_LENGTH", "FrameIncrementPointer") in raw(explicit(0x00280009, "AT", b"\1\0"))


def test_should_tell_vrs_that_are_not_the_attributes() -> None:
    assert ("VR_MISMATCH", "PatientID") in raw(explicit(0x00100020, "SH", b"4711"))
    assert ("VR_MISMATCH", "(0010,0000)") in raw(explicit(0x00100000, "LO", b"4711"))
    assert ("UNKNOWN_VR", "PatientID") in raw(explicit(0x00100020, "ZZ", b"4711"))
    accepted = explicit(0x00100020, "UN", b"4711") + explicit(0x00280106, "SS", b"\1\0")
    assert not [place for place in raw(accepted) if place[0] in ("VR_MISMATCH", "UNKNOWN_VR")]


def test_should_tell_elements_out_of_order_and_duplicates() -> None:
    patient_id, sex = explicit(0x00100020, "LO", b"4711"), explicit(0x00100040, "CS", b"F ")
    assert ("ELEMENTS_OUT_OF_ORDER", "PatientID") in raw(sex + patient_id)
    assert ("DUPLICATE_ELEMENT", "PatientID") in raw(patient_id * 2)
    assert not [place for place in raw(patient_id + sex) if place[1] == "PatientID"]


def test_should_say_where_in_sequences_and_file_a_fault_is() -> None:
    content = encode(in_item(StudyDate="20230229"))
    (found,) = findings_of(content)
    assert (found.code, found.attribute) == ("INVALID_DATE", "ReferencedStudySequence[2].StudyDate")
    assert found.offset is not None
    assert content[found.offset :].startswith(b"\x08\x00\x20\x00DA\x08\x0020230229")


def test_should_name_a_private_attribute_by_its_tag() -> None:
    places_ = raw(explicit(0x00091001, "DA", b"Jane Doe"))
    assert ("INVALID_DATE", "(0009,1001)") in places_


def test_should_look_into_sequences_in_un() -> None:
    value = item(implicit(0x00080020, b"20230229"))
    assert ("INVALID_DATE", "(0009,1001)[1].StudyDate") in raw(explicit(0x00091001, "UN", value))


def test_should_judge_text_by_the_character_set_that_applies() -> None:
    name = explicit(0x00100010, "PN", "Äneas^Rüdiger ".encode("latin-1"))
    assert ("UNDECODABLE_TEXT", "PatientName") in raw(name)
    assert ("UNDECODABLE_TEXT", "PatientName") in raw(explicit(0x00080005, "CS", b"ISO_IR 192") + name)
    latin = explicit(0x00080005, "CS", b"ISO_IR 100")
    assert ("UNDECODABLE_TEXT", "PatientName") not in raw(latin + name)
    inner = explicit(0x00081110, "SQ", item(name) + item(explicit(0x00080005, "CS", b"ISO_IR 192") + name))
    found = raw(latin + inner)
    assert ("UNDECODABLE_TEXT", "ReferencedStudySequence[2].PatientName") in found
    assert ("UNDECODABLE_TEXT", "ReferencedStudySequence[1].PatientName") not in found


def test_should_count_characters_and_not_bytes() -> None:
    character_set = explicit(0x00080005, "CS", b"ISO_IR 192")
    assert not [p for p in raw(character_set + explicit(0x00100020, "LO", "é".encode() * 64)) if p[1] == "PatientID"]
    assert ("VALUE_TOO_LONG", "PatientID") in raw(
        character_set + explicit(0x00100020, "LO", "é".encode() * 65 + b" " * 0)
    )


@pytest.mark.parametrize(
    ("keyword", "code"),
    [
        ("SOPClassUID", "MISSING_SOP_CLASS_UID"),
        ("SOPInstanceUID", "MISSING_SOP_INSTANCE_UID"),
        ("StudyInstanceUID", "MISSING_STUDY_INSTANCE_UID"),
        ("SeriesInstanceUID", "MISSING_SERIES_INSTANCE_UID"),
        ("Modality", "MISSING_TYPE_1"),
        ("PhotometricInterpretation", "MISSING_TYPE_1"),
        ("BitsStored", "MISSING_TYPE_1"),
        ("HighBit", "MISSING_TYPE_1"),
        ("PixelRepresentation", "MISSING_TYPE_1"),
        ("Rows", "MISSING_PIXEL_DESCRIPTION"),
        ("Columns", "MISSING_PIXEL_DESCRIPTION"),
        ("BitsAllocated", "MISSING_PIXEL_DESCRIPTION"),
        ("SamplesPerPixel", "MISSING_PIXEL_DESCRIPTION"),
        *[
            (keyword, "MISSING_TYPE_2")
            for keyword in (
                *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"),
                *("AccessionNumber", "ReferringPhysicianName", "StudyID", "SeriesNumber"),
            )
        ],
    ],
)
def test_should_require_attributes_by_their_type(keyword: str, code: str) -> None:
    content = encode(valid_image())
    element = next(
        element for element in header_of(content).data_set.elements if element.tag == valid_image()[keyword].tag
    )
    absent = findings_of(content[: element.start] + content[element.stop :])
    assert (code, keyword) in [(found.code, found.attribute) for found in absent]
    length = pack("<H", 0)
    empty = findings_of(content[: element.value_start - 2] + length + content[element.value_stop :])
    assert ((code, keyword) in [(found.code, found.attribute) for found in empty]) is (code != "MISSING_TYPE_2")


def test_should_require_what_colour_needs() -> None:
    colour = valid_image(PhotometricInterpretation="RGB", SamplesPerPixel=3, PixelData=bytes(48))
    assert places(colour) == [("MISSING_TYPE_1", "PlanarConfiguration")]
    palette = places(valid_image(PhotometricInterpretation="PALETTE COLOR"))
    assert ("MISSING_TYPE_1", "RedPaletteColorLookupTableDescriptor") in palette


def test_should_tell_an_image_cut_before_its_pixels() -> None:
    assert ("MISSING_PIXEL_DATA", "PixelData") in places(valid_image(PixelData=None))
    assert places(valid_image(PixelData=None, PixelDataProviderURL="https://example.org/")) == []
    report = valid_image(PixelData=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR")
    assert places(report) == []


def test_should_compare_file_meta_with_the_data_set() -> None:
    content = encode(valid_image())
    start = content.index(b"\x02\x00\x03\x00UI")
    other = content[: start + 8] + b"9" + content[start + 9 :]
    assert [(f.code, f.attribute) for f in findings_of(other)] == [("FILE_META_MISMATCH", "MediaStorageSOPInstanceUID")]
    assert findings_of(content[:140] + pack("<L", 7) + content[144:])[0].code == "FILE_META_LENGTH"
    missing = {found.attribute for found in findings_of(part10(b"")) if found.code == "MISSING_FILE_META"}
    assert missing == {
        *("FileMetaInformationVersion", "MediaStorageSOPClassUID"),
        *("MediaStorageSOPInstanceUID", "ImplementationClassUID"),
    }


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"PixelData": bytes(14)}, "PIXEL_DATA_TOO_SHORT"),
        ({"PixelData": bytes(18)}, "PIXEL_DATA_TOO_LONG"),
        ({"NumberOfFrames": 2}, "PIXEL_DATA_TOO_SHORT"),
        ({"BitsAllocated": 32}, "PIXEL_DATA_TOO_SHORT"),
        ({"BitsStored": 17, "HighBit": 16}, "CONTRADICTORY_PIXEL_DESCRIPTION"),
        ({"BitsStored": 0}, "CONTRADICTORY_PIXEL_DESCRIPTION"),
        ({"SamplesPerPixel": 3, "PixelData": bytes(48), "PlanarConfiguration": 0}, "CONTRADICTORY_PIXEL_DESCRIPTION"),
        ({"NumberOfFrames": 0}, "CONTRADICTORY_PIXEL_DESCRIPTION"),
        ({"Rows": 0}, "CONTRADICTORY_PIXEL_DESCRIPTION"),
        ({"HighBit": 15}, "UNUSUAL_HIGH_BIT"),
    ],
)
def test_should_tell_native_pixels_that_contradict_their_description(attributes: dict[str, Any], code: str) -> None:
    assert {found for found, _ in places(valid_image(**attributes))} == {code}


ONE_BIT = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}
EIGHT_BITS = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
SUBSAMPLED = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PhotometricInterpretation": "YBR_FULL_422"}


@pytest.mark.parametrize(
    "attributes",
    [
        ONE_BIT | {"PixelData": bytes(2)},
        ONE_BIT | {"NumberOfFrames": 3, "Rows": 3, "PixelData": bytes(6)},
        EIGHT_BITS | {"Rows": 1, "Columns": 3, "PixelData": bytes(4)},
        EIGHT_BITS | SUBSAMPLED | {"PixelData": bytes(16)},
    ],
    ids=["one bit", "one bit across frames", "odd and padded", "subsampled"],
)
def test_should_know_how_native_pixels_are_packed(attributes: dict[str, Any]) -> None:
    assert places(valid_image(**attributes)) == []


@pytest.mark.parametrize(
    ("value", "attributes", "code"),
    [
        (fragments(b"12"), {"NumberOfFrames": 2}, "TOO_FEW_FRAGMENTS"),
        (fragments(b"12", b"34", table=pack("<LL", 0, 8)), {"NumberOfFrames": 2}, "OFFSET_TABLE_INCONSISTENT"),
        (fragments(b"12", b"34", table=pack("<LL", 10, 0)), {"NumberOfFrames": 2}, "OFFSET_TABLE_INCONSISTENT"),
        (fragments(b"12", b"34", table=pack("<LL", 0, 0)), {"NumberOfFrames": 2}, "OFFSET_TABLE_INCONSISTENT"),
        (fragments(b"1", b"2", b"3", table=pack("<LL", 9, 18)), {"NumberOfFrames": 2}, "OFFSET_TABLE_INCONSISTENT"),
        (fragments(b"12", b"34", table=pack("<L", 0)), {"NumberOfFrames": 2}, "OFFSET_TABLE_INCONSISTENT"),
        (fragments(b"12", b"34", table=b"\0\0"), {"NumberOfFrames": 2}, "OFFSET_TABLE_INCONSISTENT"),
        (fragments(b"12", b"34", b"56"), {"NumberOfFrames": 2}, "FRAMES_NOT_DELIMITED"),
        (fragments(b"123", b"4"), {}, "ODD_PIXEL_DATA_LENGTH"),
        (fragments(b"12", b""), {}, "EMPTY_FRAGMENT"),
        (fragments()[8:], {}, "MALFORMED_FRAGMENTS"),
    ],
)
def test_should_tell_fragments_that_contradict_frames(value: bytes, attributes: dict[str, Any], code: str) -> None:
    content = encode(compressed(fragments(b"12"), **attributes))
    start = content.index(b"\xe0\x7f\x10\x00OB") + 12
    assert code in {found.code for found in findings_of(content[:start] + value)}


def extended(offsets: list[int], lengths: list[int], table: bytes = b"") -> Dataset:
    return compressed(
        fragments(b"12", b"3456", table=table),
        NumberOfFrames=2,
        ExtendedOffsetTable=pack(f"<{len(offsets)}Q", *offsets),
        ExtendedOffsetTableLengths=pack(f"<{len(lengths)}Q", *lengths),
    )


def test_should_check_the_extended_offset_table() -> None:
    assert places(extended([0, 10], [2, 3])) == []
    for offsets, lengths in [([0, 12], [2, 4]), ([0], [2]), ([0, 10], [2, 9]), ([0, 10], [2])]:
        assert places(extended(offsets, lengths)) == [("OFFSET_TABLE_INCONSISTENT", "ExtendedOffsetTable")]
    both = extended([0, 10], [2, 3], table=pack("<LL", 0, 10))
    assert places(both) == [("OFFSET_TABLE_INCONSISTENT", "ExtendedOffsetTable")]


def test_should_want_one_fragment_a_frame_of_rle_and_any_of_video() -> None:
    content = encode(compressed(fragments(b"12", b"34")))
    rle = content.replace(b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.5\0\0\0")
    assert "FRAGMENTS_CONTRADICT_FRAMES" in {found.code for found in findings_of(rle)}
    video = encode(compressed(fragments(b"12"), NumberOfFrames=100))
    start = video.index(b"1.2.840.10008.1.2.4.50")
    mpeg = video[: start - 2] + pack("<H", 24) + b"1.2.840.10008.1.2.4.102\0" + video[start + 22 :]
    assert "TOO_FEW_FRAGMENTS" in {found.code for found in findings_of(video)}
    assert "TOO_FEW_FRAGMENTS" not in {found.code for found in findings_of(mpeg)}


def test_should_tell_bytes_after_the_pixels_that_are_no_element() -> None:
    content = encode(valid_image())
    assert [found.code for found in findings_of(content + bytes(20))] == ["TRAILING_DATA"]
    assert findings_of(content + explicit(0xFFFCFFFC, "OB", bytes(20))) == []


def test_should_check_floating_pixels_by_their_own_module() -> None:
    attributes: dict[str, Any] = {"BitsAllocated": 32, "PixelRepresentation": None, "BitsStored": None, "HighBit": None}
    floating = valid_image(PixelData=None, FloatPixelData=bytes(32), **attributes)
    assert places(floating) == []
    floating.BitsAllocated = 64
    assert ("CONTRADICTORY_PIXEL_DESCRIPTION", "BitsAllocated") in places(floating)


def test_should_report_all_findings_and_not_the_first() -> None:
    found = places(valid_image(StudyDate="1", StudyTime="x", PatientSex="f", PixelData=bytes(2), PatientID=None))
    assert {code for code, _ in found} >= {
        *("INVALID_DATE", "INVALID_TIME", "INVALID_CODE"),
        *("PIXEL_DATA_TOO_SHORT", "MISSING_TYPE_2"),
    }


def test_should_stop_at_a_thousand_findings_without_losing_an_error() -> None:
    started = time.perf_counter()
    found = findings_of(part10(explicit(0x00091001, "DA", b"Jane Doe") * 50_000))
    assert time.perf_counter() - started < 10
    assert len(found) == MAXIMUM_FINDINGS + 1
    assert found[-1].code == "MORE_FINDINGS"
    assert {code for code in NO_IDENTITY if code in FINDINGS} <= {finding.code for finding in found}


def test_should_carry_no_value() -> None:
    data_set = valid_image(
        PatientID="MARKER\n" * 20, PatientName="MARKER=" * 20, StudyDate="MARKER", StudyTime="MARKER"
    )
    found = findings_of(encode(data_set))
    assert found
    assert not [finding for finding in found if "MARKER" in finding.model_dump_json()]
    name = re.compile(r"(?:\w+|\([0-9A-F]{4},[0-9A-F]{4}\))(?:\[\d+\]\.(?:\w+|\([0-9A-F]{4},[0-9A-F]{4}\)))*")
    assert all(finding.attribute is None or name.fullmatch(finding.attribute) for finding in found)


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_RLE.dcm", "chrH32.dcm", "rtplan.dcm"]
)
def test_should_survive_mutations_of_real_files(name: str) -> None:
    path = next(path for path in pydicom_files() if path.name == name)
    original = path.read_bytes()
    generator = random.Random(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pydicom's warnings quote values
        for _ in range(200):
            content = bytearray(original)
            for _ in range(generator.randint(1, 8)):
                content[generator.randrange(160, min(len(content), 8000))] = generator.randrange(256)
            check_or_reject(bytes(content))


def check_or_reject(content: bytes) -> None:
    try:
        findings_of(content)
    except DicomError as error:
        from_error(error)


def test_should_check_a_small_file_within_milliseconds() -> None:
    header = header_of(bundled("CT_small.dcm"))
    check_compliance(header)
    started = time.process_time()
    for _ in range(20):
        check_compliance(header)
    assert (time.process_time() - started) / 20 < 0.01
