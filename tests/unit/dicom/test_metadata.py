from __future__ import annotations

from pathlib import Path

import pytest

from runtime.dicom.character_sets import read_text
from runtime.dicom.metadata import MAXIMUM_FRAMES, MODALITIES, describe_image, object_facts
from runtime.dicom.nesting import nested_data_sets
from runtime.dicom.tags import PATIENT_NAME
from tests.unit.dicom.builder import (
    DATA,
    UNREADABLE,
    bundled,
    encode,
    explicit,
    header_of,
    item,
    part10,
    pydicom_files,
    valid_image,
)


def charset_file(name: str) -> bytes:
    return (DATA / "charset_files" / name).read_bytes()


def test_should_describe_the_image() -> None:
    image = describe_image(header_of(bundled("CT_small.dcm")))
    assert (image.rows, image.columns, image.samples_per_pixel) == (128, 128, 1)
    assert (image.bits_allocated, image.bits_stored, image.high_bit) == (16, 16, 15)
    assert image.photometric_interpretation == "MONOCHROME2"
    assert image.number_of_frames is None


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
def test_should_read_person_names_with_their_component_groups(name: str, expected: str) -> None:
    header = header_of(charset_file(name))
    element = header.find(PATIENT_NAME)
    assert element is not None
    codecs = next(nested_data_sets(header)).codecs
    assert read_text(header.value(element), codecs, person_name=True) == expected


def test_should_read_big_endian_numbers() -> None:
    image = describe_image(header_of(bundled("MR_small_bigendian.dcm")))
    assert (image.rows, image.columns, image.samples_per_pixel) == (64, 64, 1)


READABLE = [path for path in pydicom_files() if path.name not in UNREADABLE]


@pytest.mark.parametrize("path", READABLE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_should_never_raise_for_a_header_that_was_read(path: Path) -> None:
    header = header_of(path.read_bytes())
    describe_image(header)
    assert object_facts(header, bytes_read=0).element_count >= len(header.data_set.elements)


@pytest.mark.parametrize("value", [b"", b"\0" * 8, b"\xff" * 8, b"Jane Doe", b"9" * 60, b"9" * 6000, b"1\\2"])
def test_should_give_none_for_odd_values(value: bytes) -> None:
    odd = explicit(0x00280008, "IS", value + b" " * (len(value) % 2)) + explicit(0x00280010, "OB", b"")
    image = describe_image(header_of(part10(odd)))
    assert image.number_of_frames is None
    assert image.rows is None


def test_should_take_no_number_from_a_sequence() -> None:
    sequence = explicit(0x00280010, "SQ", item(explicit(0x00280010, "US", b"\1\0")))
    assert describe_image(header_of(part10(sequence))).rows is None


def test_should_show_no_value_when_printed() -> None:
    data_set = valid_image(PhotometricInterpretation="MARKER")
    image = describe_image(header_of(encode(data_set)))
    assert image.photometric_interpretation == "MARKER"
    assert "MARKER" not in f"{image!r} {image}"


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
