from __future__ import annotations

import traceback
from datetime import date, time
from pathlib import Path

import pytest
from pydantic import ValidationError

from runtime.dicom.metadata import MAXIMUM_FRAMES, MODALITIES, PatientMetadata, extract_metadata, object_facts
from tests.unit.dicom.builder import (
    DATA,
    UNREADABLE,
    bundled,
    encode,
    explicit,
    header_of,
    part10,
    pydicom_files,
    valid_image,
)


def charset_file(name: str) -> bytes:
    return (DATA / "charset_files" / name).read_bytes()


def test_should_extract_what_the_header_tells() -> None:
    metadata = extract_metadata(header_of(bundled("CT_small.dcm")))
    assert metadata.patient.patient_name == "CompressedSamples^CT1"
    assert metadata.patient.patient_id == "1CT1"
    assert metadata.patient.sex == "O"
    assert metadata.study.study_date == date(2004, 1, 19)
    assert metadata.study.study_time == time(7, 27, 30)
    assert metadata.study.description == "e+1"
    assert metadata.series.modality == "CT"
    assert metadata.series.series_number == 1
    assert metadata.series.manufacturer == "GE MEDICAL SYSTEMS"
    assert metadata.image.sop_class_uid == "1.2.840.10008.5.1.4.1.1.2"
    assert (metadata.image.rows, metadata.image.columns, metadata.image.bits_allocated) == (128, 128, 16)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chrH31.dcm", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("chrI2.dcm", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("chrX1.dcm", "Wang^XiaoDong=王^小東="),
        ("chrRuss.dcm", "Люкceмбypг"),  # noqa: RUF001
        ("chrGerm.dcm", "Äneas^Rüdiger"),
    ],
)
def test_should_decode_person_names_with_their_component_groups(name: str, expected: str) -> None:
    assert extract_metadata(header_of(charset_file(name))).patient.patient_name == expected


def test_should_read_big_endian_numbers() -> None:
    image = extract_metadata(header_of(bundled("MR_small_bigendian.dcm"))).image
    assert (image.rows, image.columns, image.samples_per_pixel) == (64, 64, 1)


READABLE = [path for path in pydicom_files() if path.name not in UNREADABLE]


@pytest.mark.parametrize("path", READABLE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_should_never_raise_for_a_header_that_was_read(path: Path) -> None:
    header = header_of(path.read_bytes())
    extract_metadata(header)
    assert object_facts(header, bytes_read=0).element_count >= len(header.data_set.elements)


@pytest.mark.parametrize("value", [b"", b"\0" * 8, b"\xff" * 8, b"Jane Doe", b"9" * 60, b"1\\2", b"20241301"])
def test_should_give_none_for_odd_values(value: bytes) -> None:
    odd = b"".join(
        explicit(tag, vr, value + b" " * (len(value) % 2))
        for tag, vr in [(0x00080020, "DA"), (0x00080030, "TM"), (0x00280008, "IS"), (0x00280010, "OB")]
    )
    metadata = extract_metadata(header_of(part10(odd)))
    assert metadata.study.study_date is None
    assert metadata.study.study_time is None or value == b"20241301"
    assert metadata.image.number_of_frames is None or value == b"20241301"


def test_should_show_no_value_when_printed_logged_or_raised() -> None:
    data_set = valid_image(
        PatientName="Marker^Name", PatientID="MARKER", StudyDescription="Marker", Manufacturer="Marker"
    )
    metadata = extract_metadata(header_of(encode(data_set)))
    texts = [repr(metadata), str(metadata), f"{metadata.patient!r}", str(metadata.study), str([metadata.series])]
    with pytest.raises(ValidationError) as caught:
        PatientMetadata.model_validate({"patient_name": ["Marker"], "extra": "MARKER"})
    texts += [str(caught.value), *traceback.format_exception_only(caught.value)]
    assert not [text for text in texts if "Marker" in text or "MARKER" in text]
    assert metadata.patient.patient_name == "Marker^Name"


def test_should_answer_with_facts_of_a_real_file() -> None:
    header = header_of(bundled("CT_small.dcm"))
    facts = object_facts(header, bytes_read=8192)
    assert facts.sop_class_uid == "1.2.840.10008.5.1.4.1.1.2"
    assert facts.transfer_syntax_uid == "1.2.840.10008.1.2.1"
    assert facts.modality == "CT"
    assert (facts.rows, facts.columns, facts.samples_per_pixel, facts.bits_allocated) == (128, 128, 1, 16)
    assert facts.element_count == 260
    assert facts.header_size == header.data_set.stop
    assert facts.bytes_read == 8192


def test_should_let_no_value_pass_that_dicom_does_not_define() -> None:
    data_set = valid_image(SOPClassUID="1.2.840.4711.19700101", Modality="DOE_JANE", SOPInstanceUID="1.2.3")
    facts = object_facts(header_of(encode(data_set)), bytes_read=0)
    assert facts.sop_class_uid is None
    assert facts.modality is None
    assert "4711" not in facts.model_dump_json()


def test_should_let_no_transfer_syntax_pass_as_a_sop_class() -> None:
    data_set = valid_image(SOPClassUID="1.2.840.10008.1.2.1")
    assert object_facts(header_of(encode(data_set)), bytes_read=0).sop_class_uid is None


@pytest.mark.parametrize(("frames", "expected"), [(3, 3), (MAXIMUM_FRAMES, MAXIMUM_FRAMES)])
def test_should_answer_with_the_number_of_frames(frames: int, expected: int) -> None:
    data_set = valid_image(NumberOfFrames=frames)
    assert object_facts(header_of(encode(data_set)), bytes_read=0).number_of_frames == expected


@pytest.mark.parametrize("frames", [b"0 ", b"-1", b"47111970010199", b"12.0"])
def test_should_bound_the_number_of_frames(frames: bytes) -> None:
    header = header_of(part10(explicit(0x00280008, "IS", frames)))
    assert object_facts(header, bytes_read=0).number_of_frames is None


@pytest.mark.parametrize("modality", ["CT", "MR", "US", "RTSTRUCT", "SR", "SEG", "PT", "OT", "SM", "ECG"])
def test_should_know_the_modalities_in_use(modality: str) -> None:
    assert modality in MODALITIES


def test_should_know_modalities_that_are_code_strings() -> None:
    assert all(term.isalnum() and term.isupper() and len(term) <= 16 for term in MODALITIES)
