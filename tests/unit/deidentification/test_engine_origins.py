"""Where the bulk data of a result comes from: the source, or an object staged instead."""

import zlib
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cli.deidentification.folder import write_result
from runtime.dicom.bulk_data import locate_bulk_data
from runtime.dicom.header import Header, read_header
from runtime.dicom.source import BytesSource, FileSource, Origin
from tests.deidentification import bundled_file, deidentified, deidentifier, encoded, opened

CT = bundled_file("CT_small.dcm")
MASKED = b"\x07" * 32_768


def header_of(content: bytes) -> Header:
    return read_header(BytesSource(content))


def test_should_take_the_range_of_the_source() -> None:
    result = deidentified(CT)
    bulk_data = locate_bulk_data(result.header)
    assert bulk_data is not None
    assert result.deidentified.origin == Origin(result.header.source, bulk_data.start, bulk_data.stop)
    assert result.deidentified.size == len(result.content)


@pytest.mark.parametrize("name", ["rtplan.dcm", "test-SR.dcm"])
def test_should_have_no_origin_without_bulk_data(name: str) -> None:
    result = deidentified(bundled_file(name))
    assert result.deidentified.origin is None
    assert result.deidentified.size == len(result.deidentified.header)


def test_should_take_what_was_staged_and_change_nothing_else() -> None:
    source, staged = header_of(CT), BytesSource(MASKED)
    result = deidentifier("research").deidentify(source, staged=staged)
    assert result.origin == Origin(staged, 0, len(MASKED))
    assert result.header == deidentified(CT).deidentified.header
    assert opened(result.header + MASKED).PixelData == MASKED


def test_should_deflate_what_was_staged_with_the_header() -> None:
    data_set = opened(CT)
    data_set.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    result = deidentifier("research").deidentify(header_of(encoded(data_set)), staged=BytesSource(MASKED))
    assert result.origin is None
    start = read_header(BytesSource(result.header)).file_meta[-1].stop
    assert zlib.decompress(result.header[start:], -zlib.MAX_WBITS).endswith(MASKED)


def test_should_take_staged_frames_of_any_length_where_they_are_encapsulated() -> None:
    staged = BytesSource(b"frames")
    result = deidentifier("basic").deidentify(header_of(bundled_file("MR_small_RLE.dcm")), staged=staged)
    assert result.origin == Origin(staged, 0, 6)


@pytest.mark.parametrize(("name", "size"), [("CT_small.dcm", 32_766), ("rtplan.dcm", 2)])
def test_should_refuse_staged_data_that_does_not_fit_the_header(name: str, size: int) -> None:
    with pytest.raises(ValueError, match="staged"):
        deidentifier("research").deidentify(header_of(bundled_file(name)), staged=BytesSource(bytes(size)))


@pytest.mark.parametrize("copies_in_the_kernel", [True, False])
def test_should_write_a_file_from_either_origin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, copies_in_the_kernel: bool
) -> None:
    if not copies_in_the_kernel:
        monkeypatch.delattr("os.copy_file_range", raising=False)
    (tmp_path / "source").write_bytes(CT)
    (tmp_path / "staged").write_bytes(MASKED)
    header, staged = read_header(FileSource(tmp_path / "source")), FileSource(tmp_path / "staged")

    write_result(tmp_path / "plain.dcm", deidentifier("research").deidentify(header))
    write_result(tmp_path / "masked.dcm", deidentifier("research").deidentify(header, staged=staged))

    assert (tmp_path / "plain.dcm").read_bytes() == deidentified(CT).content
    assert dcmread(tmp_path / "masked.dcm").PixelData == MASKED
    with pytest.raises(TypeError):
        write_result(tmp_path / "none.dcm", deidentified(CT).deidentified)
