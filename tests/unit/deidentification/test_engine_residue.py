"""The search before release: what the table doesn't name may repeat an identifier, and is found."""

from __future__ import annotations

import pytest
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from runtime.contract.objects import Finding
from runtime.deidentification.engine import RejectedError
from runtime.dicom.errors import DicomError
from tests.deidentification import bundled_file, bundled_files, deidentified, encoded, opened

IDENTIFYING = {"PatientName": "Quillfeather^Zebediah", "PatientID": "QZ-778-4411"}
SAFE_SEQUENCE = (0x2001, "Philips Imaging DD 001", 0x5F)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def image(**values: object) -> Dataset:
    data_set = opened(bundled_file("CT_small.dcm"))
    for keyword, value in {**IDENTIFYING, **values}.items():
        setattr(data_set, keyword, value)
    return data_set


def code(meaning: str) -> Dataset:
    data_set = Dataset()
    data_set.CodeValue, data_set.CodingSchemeDesignator, data_set.CodeMeaning = "T1", "99LOCAL", meaning
    return data_set


def residue(data_set: Dataset, profile_name: str = "basic") -> set[str | None]:
    """Return the attributes in which the search found something."""
    findings: list[Finding] = []
    try:
        deidentified(encoded(data_set), profile_name)
    except RejectedError as error:
        findings = error.findings
    assert {reason.code for reason in findings} <= {"RESIDUAL_IDENTIFIER"}
    told = "".join(reason.model_dump_json() for reason in findings)
    assert not [value for value in ("Quill", "Zebediah", "778", "4411") if value in told]
    return {reason.attribute for reason in findings}


@pytest.mark.parametrize(
    "text",
    [
        "Head QUILLFEATHER",
        "zebediah quillfeather",
        "id QZ-778-4411",
        "QZ7784411",
        "from 20040119",
        "uid {StudyInstanceUID}",
    ],
)
def test_should_reject_an_identifier_in_an_attribute_that_the_table_does_not_name(text: str) -> None:
    data_set = image(StudyDate="20040119")
    data_set.SequenceName = text.format(StudyInstanceUID=data_set.StudyInstanceUID)[:64]
    assert residue(data_set) == {"SequenceName"}


def test_should_give_the_path_of_what_is_nested() -> None:
    region = code("Head of Quillfeather")
    region.AnatomicRegionModifierSequence = [code("Left"), code("QZ-778-4411")]
    data_set = image(AnatomicRegionSequence=[region])
    assert residue(data_set) == {
        "AnatomicRegionSequence[1].CodeMeaning",
        "AnatomicRegionSequence[1].AnatomicRegionModifierSequence[2].CodeMeaning",
    }


def test_should_clean_what_the_search_finds_where_the_profile_cleans_text() -> None:
    data_set = image(SequenceName="fl3d Quillfeather", AnatomicRegionSequence=[code("Head of Zebediah")])
    result = deidentified(encoded(data_set))
    assert result.data_set.SequenceName.strip() == "fl3d"
    assert "Zebediah" not in result.data_set.AnatomicRegionSequence[0].CodeMeaning
    assert result.data_set.AnatomicRegionSequence[0].CodeValue == "T1"
    assert {"SequenceName", "CodeMeaning"} <= result.deidentified.attributes.keys()


@pytest.mark.parametrize("profile_name", ["basic", "research"])
def test_should_reject_an_identifier_in_a_value_that_nobody_can_read(profile_name: str) -> None:
    data_set = image()
    data_set.add_new(0x00281201, "OW", b"\0\1\2\3Quillfeather\0\1\2\3")  # Red Palette Color Lookup Table Data
    assert residue(data_set, profile_name) == {"RedPaletteColorLookupTableData"}


def test_should_clean_safe_private_text_and_drop_the_rest() -> None:
    data_set = image()
    block = data_set.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", 1000)  # B value, on the standard's list
    block.add_new(0x0D, "CS", "QUILLFEATHER")  # diffusion directionality, on it as well
    block.add_new(0x77, "LO", "Quillfeather")
    after = deidentified(encoded(data_set)).data_set
    kept = after.private_block(0x0019, "SIEMENS MR HEADER")
    assert kept[0x0C].value == 1000
    assert "QUILL" not in kept[0x0D].value
    assert 0x77 not in kept
    assert not [element for element in deidentified(encoded(data_set), "basic").data_set if element.tag.is_private]


def test_should_find_names_in_other_character_sets_and_cases() -> None:
    data_set = image(PatientName="Müllerin^Änne", SpecificCharacterSet="ISO_IR 192")
    region = code("Kopf MÜLLERIN")
    data_set.AnatomicRegionSequence = [region]
    assert residue(data_set) == {"AnatomicRegionSequence[1].CodeMeaning"}
    region.SpecificCharacterSet = "ISO_IR 100"
    assert residue(data_set) == {"AnatomicRegionSequence[1].CodeMeaning"}
    region.CodeMeaning = "Kopf Muellerin"
    assert residue(data_set) == {"AnatomicRegionSequence[1].CodeMeaning"}


@pytest.mark.parametrize("character_set", [["", "ISO 2022 IR 87"], "ISO_IR 192", "GB18030"])
def test_should_find_ideographic_names_of_two_characters(character_set: str | list[str]) -> None:
    data_set = image(SpecificCharacterSet=character_set, PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう")
    data_set.AnatomicRegionSequence = [code("頭部 山田")]
    assert residue(data_set) == {"AnatomicRegionSequence[1].CodeMeaning"}
    data_set.AnatomicRegionSequence = [code("頭部")]
    assert residue(data_set) == set()


@pytest.mark.parametrize("profile_name", ["basic", "research"])
def test_should_treat_values_in_vr_un_by_what_they_are(profile_name: str) -> None:
    data_set = image(PatientAge="094Y")
    content = encoded(data_set)
    for tag, vr, value in ((b"\x10\0\x10\0", b"PN", b"Quillfeather^Zebediah "), (b"\x10\0\x10\x10", b"AS", b"094Y")):
        known = tag + vr + len(value).to_bytes(2, "little") + value
        assert known in content
        content = content.replace(known, tag + b"UN\0\0" + len(value).to_bytes(4, "little") + value)
    result = deidentified(content, profile_name)
    assert b"094Y" not in result.content
    assert b"Quillfeather" not in result.content
    if profile_name == "research":
        assert result.data_set.PatientAge == "090Y"


@pytest.mark.parametrize("words", ["HEAD", "CT^Chest", "Small^Brain"])
def test_should_not_take_clinical_words_for_a_patients_name(words: str) -> None:
    data_set = image(PatientName=words, AnatomicRegionSequence=[code("Brain and head, chest")])
    assert residue(data_set) == set()


def test_should_find_nothing_in_most_bundled_files() -> None:
    rejected = set()
    for path in bundled_files():
        try:
            deidentified(path.read_bytes(), "basic")
        except RejectedError:
            rejected.add(path.name)
        except DicomError:  # other tests say which and why
            continue
    assert rejected == {"reportsi.dcm", "reportsi_with_empty_number_tags.dcm"}


def test_should_search_implicit_vr_as_well() -> None:
    data_set = image(SequenceName="Quillfeather")
    data_set.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    assert residue(data_set) == {"SequenceName"}


def test_should_clean_text_inside_a_safe_private_sequence() -> None:
    inner = Dataset()
    inner.TextValue = "Tumour seen by Dr. Brown"
    data_set = image()
    data_set.private_block(*SAFE_SEQUENCE[:2], create=True).add_new(SAFE_SEQUENCE[2], "SQ", [inner])
    kept = deidentified(encoded(data_set)).data_set.private_block(*SAFE_SEQUENCE[:2])
    assert kept[SAFE_SEQUENCE[2]].value[0].TextValue.startswith("Tumour")
    assert "Brown" not in kept[SAFE_SEQUENCE[2]].value[0].TextValue
