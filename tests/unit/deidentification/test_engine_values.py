"""Odd values, and text in every character set, through both shipped profiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.data import get_charset_files
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from runtime.dicom.header import read_header
from runtime.dicom.source import BytesSource
from tests.deidentification import bundled_file, deidentified, encoded, opened

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def image(**values: Any) -> Dataset:
    data_set = opened(bundled_file("CT_small.dcm"))
    for keyword, value in values.items():
        setattr(data_set, keyword, value)
    return data_set


def inserted(tag: int, vr: bytes, value: bytes, *, long: bool = False) -> bytes:
    """Return an image with one element as encoded, in place of its own."""
    content = bundled_file("CT_small.dcm")
    header = read_header(BytesSource(content))
    following = next(element for element in header.data_set.elements if element.tag >= tag)
    stop = following.stop if following.tag == tag else following.start
    length = b"\0\0" + len(value).to_bytes(4, "little") if long else len(value).to_bytes(2, "little")
    element = (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little") + vr + length + value
    return content[: following.start] + element + content[stop:]


@pytest.mark.parametrize("path", [*map(Path, get_charset_files("*.dcm"))], ids=lambda path: path.name)
@pytest.mark.parametrize("profile_name", ["basic", "research"])
def test_should_keep_text_valid_in_its_character_set(path: Path, profile_name: str) -> None:
    source = opened(path.read_bytes())
    for keyword, root in (("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"), ("SOPInstanceUID", "1.2.3.4.5.6.7")):
        setattr(source, keyword, source.get(keyword) or root)
    source.StudyInstanceUID, source.SeriesInstanceUID = "1.2.3.4.5.6.8", "1.2.3.4.5.6.9"
    source.file_meta.MediaStorageSOPClassUID = source.SOPClassUID
    if source.get("PatientName"):
        source.StudyDescription = "CT 1.5 mm"
    names = _name_parts(source)
    result = deidentified(encoded(source), profile_name)
    after = result.data_set
    after.decode()
    assert after.get("SpecificCharacterSet") == source.get("SpecificCharacterSet")
    assert _name_parts(after).isdisjoint(names)
    text = str(after)
    assert not [part for part in names if part in text]
    if profile_name == "research" and source.get("PatientName"):
        assert after.StudyDescription == "CT 1.5 mm"


def _name_parts(data_set: Dataset) -> set[str]:
    data_set.decode()
    values = [str(element.value) for element in data_set.iterall() if element.VR == "PN"]
    return {part for value in values for group in value.split("=") for part in group.split("^") if len(part) > 1}


@pytest.mark.parametrize(
    ("character_set", "description", "expected"),
    [
        ("ISO_IR 192", "Schädel für Müller 5 µm", "Schädel"),
        ("ISO_IR 100", "Schädel für Müller 5 µm", "Schädel"),
        (["", "ISO 2022 IR 87"], "頭部 for 山田", "頭部"),
        ("GB18030", "头部 for 王小东", "头部"),
        (["", "ISO 2022 IR 149"], "두부 for 김희중", "두부"),
    ],
)
def test_should_clean_text_within_its_character_set(
    character_set: str | list[str], description: str, expected: str
) -> None:
    names = {"山": "Yamada^Tarou=山田^太郎", "王": "Wang^XiaoDong=王^小东", "김": "Hong^Gildong=김^희중"}
    name = next((value for key, value in names.items() if key in description), "Müller^Anna")
    data_set = image(SpecificCharacterSet=character_set, PatientName=name, SeriesDescription=description)
    after = deidentified(encoded(data_set)).data_set
    assert after.SeriesDescription.startswith(expected)
    assert not [part for part in ("Müller", "山田", "王", "小东", "김희중", "희중") if part in after.SeriesDescription]


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("PatientAge", "090Y", "090Y"),
        ("PatientAge", "089Y", "089Y"),
        ("PatientAge", "107Y", "090Y"),
        ("PatientAge", "999M", "999M"),
        ("PatientAge", "abc", ""),
        ("PatientAge", "", ""),
        ("StudyDate", "", ""),
        ("SeriesDate", "20041301", ""),
        ("StudyTime", "101112.5", "101112.5"),
        ("BodyPartExamined", "CHEST", "CHEST"),
        ("SeriesDescription", "CT Chest w/o contrast", "CT Chest w/o contrast"),
    ],
)
def test_should_treat_single_values(keyword: str, value: str, expected: str) -> None:
    data_set = image()
    data_set.add_new(keyword, _vr(keyword), value)
    assert str(deidentified(encoded(data_set)).data_set.get(keyword) or "") == expected


def _vr(keyword: str) -> str:
    from pydicom.datadict import dictionary_VR, tag_for_keyword  # noqa: PLC0415

    tag = tag_for_keyword(keyword)
    assert tag is not None
    return dictionary_VR(tag)


def test_should_treat_each_of_several_values() -> None:
    data_set = image(
        DateOfSecondaryCapture="20040119",
        DateOfLastCalibration=["20040118", "20040119"],
        IrradiationEventUID=["1.2.3.4.5.6.7", "1.2.3.4.5.6.8"],
    )
    after = deidentified(encoded(data_set)).data_set
    first, second = after.IrradiationEventUID
    assert first != second
    assert {uid[:5] for uid in (first, second)} == {"2.25."}
    assert len(after.DateOfLastCalibration) == 2
    assert "20040119" not in after.DateOfLastCalibration


def test_should_hide_the_zone_that_a_patient_lives_in() -> None:
    after = deidentified(encoded(image(TimezoneOffsetFromUTC="+0545")), "basic").data_set
    assert "TimezoneOffsetFromUTC" not in after


@pytest.mark.parametrize("profile_name", ["basic", "research"])
def test_should_drop_overlays_curves_and_icons_whole(profile_name: str) -> None:
    data_set = image()
    for group in (0x6000, 0x6002, 0x601E):
        data_set.add_new(group << 16 | 0x0010, "US", 8)
        data_set.add_new(group << 16 | 0x4000, "LT", "Quillfeather")
        data_set.add_new(group << 16 | 0x3000, "OW", b"Quillfeather")
    data_set.add_new(0x50040030, "SH", "Quill")
    icon = Dataset()
    icon.Rows = icon.Columns = 2
    icon.BitsAllocated = 8
    icon.PixelData = b"Quillfeather"
    data_set.IconImageSequence = [icon]
    content = deidentified(encoded(data_set), profile_name).content
    assert b"Quill" not in content
    tags = {element.tag >> 24 for element in read_header(BytesSource(content)).data_set.elements}
    assert tags.isdisjoint({0x50, 0x60})


@pytest.mark.parametrize("profile_name", ["basic", "research"])
def test_should_drop_elements_that_have_no_place_in_a_data_set(profile_name: str) -> None:
    for tag in (0x00010010, 0x00020016, 0x00030010, 0x00040010, 0x00091001):
        content = inserted(tag, b"LO", b"Quillfeather")
        assert b"Quill" not in deidentified(content, profile_name).content, hex(tag)


@pytest.mark.parametrize("profile_name", ["basic", "research"])
def test_should_treat_duplicates_and_elements_out_of_order(profile_name: str) -> None:
    name = b"\x10\0\x10\0PN\x0c\0Quillfeather" + b"\x10\0\x20\0LO\x08\0QZ774411"
    content = bundled_file("CT_small.dcm")
    header = read_header(BytesSource(content))
    for position in (header.data_set.elements[0].start, header.data_set.elements[40].start, header.data_set.stop):
        result = deidentified(content[:position] + name + content[position:], profile_name)
        assert b"Quill" not in result.content
        assert b"QZ774411" not in result.content
        assert result.data_set.PatientIdentityRemoved == "YES"


def test_should_pass_over_odd_lengths() -> None:
    result = deidentified(inserted(0x00180015, b"CS", b"CHEST"))
    assert result.data_set.BodyPartExamined == "CHEST"
    assert len(result.content) > 30_000
    assert b"Quill" not in deidentified(inserted(0x00100010, b"PN", b"Quillfeathers")).content


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, ImplicitVRLittleEndian])
def test_should_keep_safe_private_values_in_other_encodings(syntax: str) -> None:
    data_set = opened(
        bundled_file("MR_small_bigendian.dcm" if syntax == ExplicitVRBigEndian else "MR_small_implicit.dcm")
    )
    block = data_set.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", 1000)
    block.add_new(0x0E, "FD", [0.5, 0.25, 0.125])
    block.add_new(0x77, "LO", "Quillfeather")
    result = deidentified(encoded(data_set))
    kept = result.data_set.private_block(0x0019, "SIEMENS MR HEADER")
    assert int(kept[0x0C].value) == 1000
    assert list(kept[0x0E].value) == [0.5, 0.25, 0.125]
    assert b"Quill" not in result.content


def test_should_keep_codes_and_measurements_of_a_report() -> None:
    code, concept, number, text = Dataset(), Dataset(), Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "373098007", "SCT", "Mean"
    concept.CodeValue, concept.CodingSchemeDesignator, concept.CodeMeaning = "mm", "UCUM", "millimeter"
    measured = Dataset()
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = "12.5", [concept]
    number.RelationshipType, number.ValueType = "CONTAINS", "NUM"
    number.ConceptNameCodeSequence, number.MeasuredValueSequence = [code], [measured]
    text.RelationshipType, text.ValueType, text.ConceptNameCodeSequence = "CONTAINS", "TEXT", [code]
    text.TextValue = "Seen by Dr. Quillfeather, mass of 12 mm in the left lung"
    result = deidentified(encoded(image(ValueType="CONTAINER", ContentSequence=[number, text])))
    first, second = result.data_set.ContentSequence
    assert first.ConceptNameCodeSequence[0].CodeValue == "373098007"
    assert first.MeasuredValueSequence[0].NumericValue == 12.5
    assert first.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "mm"
    assert "Quill" not in second.TextValue
    assert "mass of 12 mm in the left lung" in second.TextValue
    basic = deidentified(encoded(image(ValueType="CONTAINER", ContentSequence=[number, text])), "basic").data_set
    assert basic.ContentSequence[1].TextValue == "ANONYMIZED"
    assert basic.ContentSequence[0].ConceptNameCodeSequence[0].CodeMeaning == "Mean"


def test_should_leave_no_required_text_empty() -> None:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", "Quillfeather"
    name = "Quillfeather^Zebediah"
    data_set = image(PatientName=name, SeriesDescription=name, ValueType="CONTAINER", ContentSequence=[item])
    after = deidentified(encoded(data_set)).data_set
    assert after.ContentSequence[0].TextValue == "ANONYMIZED"
    assert not after.SeriesDescription


@pytest.mark.parametrize(("profile_name", "expected"), [("basic", "ANONYMIZED"), ("research", "Tumour")])
def test_should_treat_text_of_a_report_in_vr_un(profile_name: str, expected: str) -> None:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", "Tumour seen by Dr. Brown"
    content = encoded(image(ValueType="CONTAINER", ContentSequence=[item]))
    unknown = content.replace(b"\x40\0\x60\xa1UT", b"\x40\0\x60\xa1UN")
    assert unknown != content
    result = deidentified(unknown, profile_name)
    assert b"Brown" not in result.content
    assert result.data_set.ContentSequence[0].TextValue.startswith(expected)
