from __future__ import annotations

import gzip
import random
import subprocess
import sys
import warnings
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from struct import pack

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from runtime.dicom import header as header_module
from runtime.dicom.elements import BULK_DATA, MAXIMUM_ELEMENTS, Element
from runtime.dicom.errors import DicomError
from runtime.dicom.findings import from_error
from runtime.dicom.header import FIRST_READ, GROWTH, Header, read_header
from runtime.dicom.nesting import nested_data_sets
from runtime.dicom.source import BytesSource, FileSource
from runtime.dicom.tags import PIXEL_DATA
from tests.unit.dicom.builder import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    SEQUENCE_END,
    UNDEFINED,
    UNREADABLE,
    bundled,
    explicit,
    header_of,
    implicit,
    item,
    part10,
    pydicom_files,
)

OPENED_BY_US_ALONE = {"priv_SQ.dcm"}  # sequences in VR UN of defined length, which pydicom leaves closed
SEQUENCE = 0x00081110
NAME = 0x00100010


class CountingSource(BytesSource):
    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.reads: list[tuple[int, int]] = []

    def read(self, start: int, stop: int) -> bytes:
        content = super().read(start, stop)
        self.reads.append((start, start + len(content)))
        return content


def places(header: Header) -> list[tuple[Element, str]]:
    """Return all elements in the order of the header, each with the path before it."""
    found = [(element, data_set.path) for data_set in nested_data_sets(header) for element in data_set.elements]
    return sorted(found, key=lambda place: place[0].start)


def tags(header: Header) -> list[int]:
    return [element.tag for element, _ in places(header)]


def pydicom_tags(data_set: Dataset, *, top: bool = True) -> Iterator[int]:
    for element in data_set:
        if top and (element.tag in BULK_DATA or element.tag > PIXEL_DATA):
            return
        yield int(element.tag)
        if element.VR == "SQ":
            for inner in element.value:
                yield from pydicom_tags(inner, top=False)


def code_of(content: bytes) -> str:
    with pytest.raises(DicomError) as caught:
        header_of(content)
    return caught.value.code


@pytest.mark.parametrize("path", pydicom_files(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_should_find_the_elements_that_pydicom_finds(path: Path) -> None:
    if path.name in UNREADABLE:
        assert code_of(path.read_bytes()) == UNREADABLE[path.name]
        return
    found = tags(read_header(FileSource(path)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = list(pydicom_tags(pydicom.dcmread(path)))
    if path.name in OPENED_BY_US_ALONE:
        assert set(found) > set(expected)
    else:
        assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm"])
def test_should_find_the_values_that_pydicom_finds(name: str) -> None:
    header = header_of(bundled(name))
    data_set = pydicom.dcmread(BytesIO(bundled(name)))
    for element in header.data_set.elements:
        raw = data_set.get_item(element.tag)
        if isinstance(raw, RawDataElement):
            assert header.value(element) == (raw.value or b"")


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"", "EMPTY_OBJECT"), (b"Dear colleague", "NOT_DICOM"), (bytes(5000), "NOT_DICOM"), (bytes(128), "NOT_DICOM")],
)
def test_should_tell_what_is_not_dicom(content: bytes, code: str) -> None:
    assert code_of(content) == code


@pytest.mark.parametrize(
    "uid", ["1.2.840.10008.1.2.4.999", "1.2.840.113619.5.2", "1.2.840.10008.5.1.4.1.1.2", "Jane Doe"]
)
def test_should_refuse_a_transfer_syntax_that_dicom_does_not_define(uid: str) -> None:
    assert code_of(part10(b"", uid)) == "UNKNOWN_TRANSFER_SYNTAX"


def test_should_read_a_header_or_tell_an_error_wherever_a_file_is_cut() -> None:
    content = bundled("MR_small_jpeg_ls_lossless.dcm")
    end = header_of(content).data_set.stop
    codes = {}
    for length in range(end):
        try:
            header_of(content[:length])
        except DicomError as error:
            codes[length] = error.code
    assert set(codes.values()) == {"EMPTY_OBJECT", "NOT_DICOM", "TRUNCATED_HEADER", "MISSING_TRANSFER_SYNTAX"}
    assert len(codes) > end - 100  # a cut between two elements can't be told from a complete header


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_bigendian.dcm", "liver_1frame.dcm", "rtplan.dcm"])
def test_should_read_no_pixels(name: str) -> None:
    source = CountingSource(bundled(name))
    header = read_header(source)
    read = sum(stop - start for start, stop in source.reads)
    assert read <= max(FIRST_READ, GROWTH * header.data_set.stop)
    assert all(before[1] == after[0] for before, after in zip(source.reads, source.reads[1:], strict=False))


def test_should_fetch_a_large_header_in_few_reads_that_do_not_overlap() -> None:
    elements = b"".join(explicit(0x00091000 + number, "LO", b"value " * 10) for number in range(60_000 // 2))
    pixels = explicit(PIXEL_DATA, "OW", bytes(50_000_000))
    source = CountingSource(part10(elements + pixels))
    header = read_header(source)
    assert len(header.data_set.elements) == 30_000
    assert header.data_set.bulk_data is not None
    assert len(source.reads) <= 6
    assert sum(stop - start for start, stop in source.reads) <= GROWTH * len(elements)


def test_should_ask_for_a_long_value_at_once() -> None:
    source = CountingSource(part10(explicit(0x00091001, "OB", bytes(5_000_000)) + explicit(PIXEL_DATA, "OW", bytes(2))))
    assert read_header(source).data_set.bulk_data is not None
    assert len(source.reads) == 3


def nested(depth: int, *, is_explicit: bool, undefined: bool) -> bytes:
    content = explicit(NAME, "PN", b"Doe^Jane") if is_explicit else implicit(NAME, b"Doe^Jane")
    for _ in range(depth):
        value = item(content, undefined=undefined) + (SEQUENCE_END if undefined else b"")
        length = UNDEFINED if undefined else len(value)
        content = explicit(SEQUENCE, "SQ", value, length) if is_explicit else implicit(SEQUENCE, value, length)
    return part10(content, EXPLICIT if is_explicit else IMPLICIT)


@pytest.mark.parametrize("is_explicit", [True, False])
@pytest.mark.parametrize("undefined", [True, False])
def test_should_parse_a_thousand_levels_and_refuse_two_thousand(*, is_explicit: bool, undefined: bool) -> None:
    found = tags(header_of(nested(1000, is_explicit=is_explicit, undefined=undefined)))
    assert found == [SEQUENCE] * 1000 + [NAME]
    assert code_of(nested(2000, is_explicit=is_explicit, undefined=undefined)) == "NESTED_TOO_DEEP"


def unknown(depth: int) -> bytes:
    content = implicit(NAME, b"Doe^Jane")
    for _ in range(depth):
        content = implicit(SEQUENCE + 0x00010000, item(content))
    return part10(explicit(SEQUENCE + 0x00010000, "UN", item(content)))


def test_should_bound_the_depth_of_sequences_in_un() -> None:
    assert tags(header_of(unknown(500)))[-1] == NAME
    assert code_of(unknown(2000)) == "NESTED_TOO_DEEP"


@pytest.mark.parametrize(
    "value",
    [
        item(implicit(NAME, b"Doe^Jane")),
        item(explicit(NAME, "PN", b"Doe^Jane")),
        item(implicit(NAME, b"Doe^Jane"), undefined=True),
        item(explicit(NAME, "PN", b"Doe^Jane"), undefined=True) + SEQUENCE_END,
    ],
)
def test_should_open_a_sequence_in_un_of_defined_length(value: bytes) -> None:
    header = header_of(part10(explicit(0x00091001, "UN", value)))
    assert tags(header) == [0x00091001, NAME]


def test_should_open_a_sequence_in_un_of_undefined_length_as_implicit() -> None:
    value = item(implicit(NAME, b"Doe^Jane"), undefined=True) + SEQUENCE_END
    header = header_of(part10(explicit(0x00091001, "UN", value, UNDEFINED) + explicit(0x00091002, "LO", b"next")))
    assert tags(header) == [0x00091001, NAME, 0x00091002]


def test_should_leave_a_value_in_un_closed_that_only_begins_like_a_sequence() -> None:
    header = header_of(part10(explicit(0x00091001, "UN", b"\xfe\xff\x00\xe0 no item at all ")))
    assert header.data_set.elements[0].items is None


def test_should_inflate_a_deflated_data_set() -> None:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    content = explicit(NAME, "PN", b"Doe^Jane") + explicit(PIXEL_DATA, "OW", bytes(1000))
    header = header_of(part10(deflater.compress(content) + deflater.flush(), DEFLATED))
    assert header.text(NAME) == "Doe^Jane"
    assert header.data_set.bulk_data is not None
    assert header.source.read(header.data_set.bulk_data.value_start, header.source.size) == bytes(1000)


def test_should_refuse_a_deflate_bomb_and_a_broken_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_module, "MAXIMUM_INFLATED", 1_000_000)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = deflater.compress(explicit(NAME, "PN", b"Doe^Jane") + bytes(20_000_000)) + deflater.flush()
    assert len(bomb) < 30_000
    assert code_of(part10(bomb, DEFLATED)) == "INFLATES_TOO_LARGE"
    assert code_of(part10(bomb[:100], DEFLATED)) == "CORRUPT_DEFLATE_STREAM"
    assert code_of(part10(b"\xff" * 100, DEFLATED)) == "CORRUPT_DEFLATE_STREAM"


def test_should_read_big_endian() -> None:
    element = pack(">HH2sH", 0x28, 0x10, b"US", 2) + pack(">H", 512)
    header = header_of(part10(element, BIG_ENDIAN))
    assert header.data_set.elements[0].tag == 0x00280010
    assert header.value(header.data_set.elements[0]) == b"\x02\x00"
    assert header.encoding.byte_order == ">"


def test_should_refuse_more_elements_than_memory_allows() -> None:
    assert code_of(part10(implicit(0x00080005, b"") * (MAXIMUM_ELEMENTS + 1), IMPLICIT)) == "TOO_MANY_ELEMENTS"


def test_should_refuse_a_header_that_is_larger_than_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header_module, "MAXIMUM_HEADER", 100_000)
    assert code_of(part10(explicit(0x00091001, "OB", bytes(200_000)))) == "HEADER_TOO_LARGE"


def test_should_tell_an_item_that_does_not_fit_into_its_sequence() -> None:
    broken = explicit(SEQUENCE, "SQ", pack("<HHL", 0xFFFE, 0xE000, 50) + bytes(8)) + bytes(200)
    with pytest.raises(DicomError, match=r"MALFORMED_HEADER in ReferencedStudySequence\[1\]"):
        header_of(part10(broken))


def test_should_walk_elements_with_their_paths() -> None:
    inner = explicit(0x00081140, "SQ", item(explicit(0x00081150, "UI", b"1.2\0")) * 2)
    header = header_of(part10(explicit(SEQUENCE, "SQ", item(inner) + item(b"")) + explicit(NAME, "PN", b"")))
    assert [(element.tag, path) for element, path in places(header)] == [
        (SEQUENCE, ""),
        (0x00081140, "ReferencedStudySequence[1]."),
        (0x00081150, "ReferencedStudySequence[1].ReferencedImageSequence[1]."),
        (0x00081150, "ReferencedStudySequence[1].ReferencedImageSequence[2]."),
        (NAME, ""),
    ]


def test_should_show_no_value_in_its_text() -> None:
    assert "Doe" not in repr(header_of(part10(explicit(NAME, "PN", b"Doe^Jane"))))


def read_or_reject(content: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pydicom's warnings quote values
        try:
            header = header_of(content)
            tags(header)
        except DicomError as error:
            from_error(error)


FUZZED = ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "nested_priv_SQ.dcm", "image_dfl.dcm"]


@pytest.mark.parametrize("name", FUZZED)
def test_should_survive_mutations_of_real_files(name: str) -> None:
    original = bundled(name)[:20_000]
    generator = random.Random(name)
    for _ in range(300):
        content = bytearray(original)
        for _ in range(generator.randint(1, 8)):
            content[generator.randrange(132, min(len(content), 4000))] = generator.randrange(256)
        read_or_reject(bytes(content))


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=400), st.sampled_from([EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED]))
def test_should_survive_any_bytes_as_a_data_set(data_set: bytes, transfer_syntax: str) -> None:
    read_or_reject(part10(data_set, transfer_syntax))


def test_should_read_the_file_that_pydicom_ships_compressed() -> None:
    content = gzip.decompress((Path(pydicom.__file__).parent / "data/test_files/zipMR.gz").read_bytes())
    assert header_of(content).text(0x00080060) == "MR"


def test_should_import_no_numpy() -> None:
    modules = (
        "bulk_data character_sets checks.compliance elements errors findings header metadata nesting source tags vr"
    )
    program = "import sys; sys.modules['numpy'] = None\n" + "\n".join(
        f"import runtime.dicom.{module}" for module in modules.split()
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[3])
