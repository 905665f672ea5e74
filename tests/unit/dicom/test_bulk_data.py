from __future__ import annotations

import warnings
from pathlib import Path
from struct import pack

import pydicom
import pytest
from pydicom.encaps import parse_fragments

from runtime.dicom import bulk_data as bulk_data_module
from runtime.dicom.bulk_data import READ_AHEAD, locate_bulk_data
from runtime.dicom.elements import BULK_DATA
from runtime.dicom.errors import DicomError
from runtime.dicom.header import read_header
from runtime.dicom.source import BytesSource
from runtime.dicom.tags import PIXEL_DATA
from tests.unit.dicom.builder import (
    EXPLICIT,
    JPEG,
    UNDEFINED,
    UNREADABLE,
    bundled,
    explicit,
    fragments,
    header_of,
    part10,
)
from tests.unit.dicom.builder import pydicom_files as all_files

FILES = [path for path in all_files() if path.name not in set(UNREADABLE) | {"MR_truncated.dcm", "image_dfl.dcm"}]


def code_of(content: bytes) -> str:
    with pytest.raises(DicomError) as caught:
        locate_bulk_data(header_of(content))
    return caught.value.code


def encapsulated(value: bytes) -> bytes:
    return part10(explicit(PIXEL_DATA, "OB", value, UNDEFINED), JPEG)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_should_find_the_pixel_data_that_pydicom_finds(path: Path) -> None:
    content = path.read_bytes()
    located = locate_bulk_data(header_of(content))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = pydicom.dcmread(path)
        value: bytes = next((data_set[tag].value for tag in sorted(BULK_DATA) if tag in data_set), b"")
    if located is None:
        assert value == b""
    elif located.fragments is None:
        assert content[located.start : located.stop] == value
    else:
        assert content[located.start : located.stop - 8] == value.removesuffix(b"\xfe\xff\xdd\xe0\0\0\0\0")
        assert len(located.fragments) == parse_fragments(value)[0]


def test_should_find_nothing_where_there_are_no_pixels() -> None:
    assert locate_bulk_data(header_of(bundled("rtplan.dcm"))) is None


def test_should_find_the_pixels_of_a_deflated_object_in_what_it_inflates_to() -> None:
    header = header_of(bundled("image_dfl.dcm"))
    located = locate_bulk_data(header)
    assert located is not None
    assert located.stop - located.start == 512 * 512
    assert located.stop <= header.source.size


@pytest.mark.parametrize("missing", [1, 100, 8000])
def test_should_tell_native_pixel_data_that_is_cut(missing: int) -> None:
    assert code_of(bundled("MR_small.dcm")[:9690][:-missing]) == "TRUNCATED_PIXEL_DATA"


def test_should_tell_encapsulated_pixel_data_that_is_cut_anywhere() -> None:
    content = encapsulated(fragments(b"12345678", b"1234"))
    start = len(content) - len(fragments(b"12345678", b"1234"))
    assert locate_bulk_data(header_of(content)) is not None
    assert {code_of(content[:length]) for length in range(start, len(content))} == {"TRUNCATED_PIXEL_DATA"}


def test_should_list_the_fragments_with_the_offset_table_first() -> None:
    content = encapsulated(fragments(b"12345678", b"1234", table=pack("<LL", 0, 16)))
    located = locate_bulk_data(header_of(content))
    assert located is not None
    assert located.fragments is not None
    assert [content[start:stop] for start, stop in located.fragments] == [pack("<LL", 0, 16), b"12345678", b"1234"]
    assert located.stop == len(content)


@pytest.mark.parametrize(
    "value", [b"JPEG data without items", fragments()[:8] + pack("<HHL", 0xFFFE, 0xE000, UNDEFINED)]
)
def test_should_tell_what_is_no_sequence_of_fragments(value: bytes) -> None:
    assert code_of(encapsulated(value + bytes(100))) == "MALFORMED_FRAGMENTS"


def test_should_tell_an_encapsulation_that_contradicts_the_transfer_syntax() -> None:
    assert code_of(part10(explicit(PIXEL_DATA, "OB", bytes(8)), JPEG)) == "MISSING_ENCAPSULATION"
    assert (
        code_of(part10(explicit(PIXEL_DATA, "OB", fragments(b"12"), UNDEFINED), EXPLICIT)) == "UNEXPECTED_ENCAPSULATION"
    )
    assert code_of(part10(explicit(0x7FE00008, "OF", fragments(b"12"), UNDEFINED), JPEG)) == "UNEXPECTED_ENCAPSULATION"


def test_should_refuse_more_fragments_than_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_data_module, "MAXIMUM_FRAGMENTS", 1000)
    assert code_of(encapsulated(fragments(*[b""] * 1000))) == "TOO_MANY_FRAGMENTS"


def test_should_read_item_headers_and_no_pixels() -> None:
    class Counting(BytesSource):
        read_bytes = 0

        def read(self, start: int, stop: int) -> bytes:
            content = super().read(start, stop)
            self.read_bytes += len(content)
            return content

    source = Counting(encapsulated(fragments(*[bytes(1_000_000)] * 20)))
    header = read_header(source)
    before = source.read_bytes
    located = locate_bulk_data(header)
    assert located is not None
    assert located.fragments is not None
    assert len(located.fragments) == 21
    assert source.read_bytes - before <= 8 * 22 + READ_AHEAD
