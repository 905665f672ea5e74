"""Check of pixel data against its description, by sizes and offset tables (DICOM PS3.5 8, A.4)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from struct import unpack
from typing import Final

from pydicom.uid import MPEGTransferSyntaxes, RLELossless

from runtime.contract.objects import Finding
from runtime.dicom import tags
from runtime.dicom.bulk_data import BulkData, locate_bulk_data
from runtime.dicom.elements import Element
from runtime.dicom.errors import DicomError
from runtime.dicom.findings import finding, from_error
from runtime.dicom.header import Header
from runtime.dicom.metadata import ImageDescription, describe_image

_AFTER_PIXEL_DATA: Final = (b"\xfa\xff\xfa\xff", b"\xfc\xff\xfc\xff")
"""Digital Signatures Sequence and Data Set Trailing Padding, little endian."""

_SAMPLES: Final = {
    **dict.fromkeys(("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"), 1),
    **dict.fromkeys(("RGB", "HSV", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420"), 3),
    **dict.fromkeys(("YBR_ICT", "YBR_RCT", "XYB"), 3),
    **dict.fromkeys(("ARGB", "CMYK"), 4),
}
"""Samples per Pixel of each Photometric Interpretation (DICOM PS3.3 C.7.6.3.1.2)."""
_SUBSAMPLED: Final = {"YBR_FULL_422": (2, 3), "YBR_PARTIAL_422": (2, 3), "YBR_PARTIAL_420": (1, 2)}
"""Share of the samples that native data has where chrominance is subsampled."""
_FLOATING_BITS: Final = {tags.FLOAT_PIXEL_DATA: 32, tags.DOUBLE_FLOAT_PIXEL_DATA: 64}
_ONE_FRAGMENT_A_FRAME: Final = frozenset((RLELossless, "1.2.840.10008.1.2.1.98", "1.2.840.10008.1.2.8.1"))
"""RLE (PS3.5 A.4.2), encapsulated uncompressed and deflated frames."""


def check_pixel_data(header: Header) -> Iterator[Finding]:
    """Yield where the pixel data contradicts its description."""
    if header.data_set.bulk_data is None:
        return
    image = describe_image(header)
    yield from _check_description(header, header.data_set.bulk_data, image)
    try:
        bulk_data = locate_bulk_data(header)
    except DicomError as error:
        yield from_error(error)
        return
    if bulk_data is None:
        return
    if bulk_data.fragments is None:
        yield from _check_native(bulk_data, image)
    else:
        yield from _check_encapsulated(header, bulk_data, bulk_data.fragments, image)
    yield from _check_what_follows(header, bulk_data)


def _check_description(header: Header, element: Element, image: ImageDescription) -> Iterator[Finding]:
    samples = _SAMPLES.get(image.photometric_interpretation or "")
    if samples and image.samples_per_pixel and samples != image.samples_per_pixel:
        yield finding("CONTRADICTORY_PIXEL_DESCRIPTION", attribute="SamplesPerPixel")
    counts = {
        "SamplesPerPixel": image.samples_per_pixel,
        "Rows": image.rows,
        "Columns": image.columns,
        "BitsAllocated": image.bits_allocated,
    }
    for keyword, count in counts.items():
        if count == 0:
            yield finding("CONTRADICTORY_PIXEL_DESCRIPTION", attribute=keyword)
    frames = header.find(tags.NUMBER_OF_FRAMES)
    if image.number_of_frames is None and frames is not None and header.value(frames).strip(b"\0 "):
        yield finding("CONTRADICTORY_PIXEL_DESCRIPTION", attribute="NumberOfFrames", offset=frames.start)
    yield from _check_bits(element, image)


def _check_bits(element: Element, image: ImageDescription) -> Iterator[Finding]:
    allocated, stored, high_bit = image.bits_allocated, image.bits_stored, image.high_bit
    if allocated and stored is not None and not 1 <= stored <= allocated:
        yield finding("CONTRADICTORY_PIXEL_DESCRIPTION", attribute="BitsStored")
    if allocated and _FLOATING_BITS.get(element.tag, allocated) != allocated:
        yield finding("CONTRADICTORY_PIXEL_DESCRIPTION", attribute="BitsAllocated")
    if stored and high_bit is not None and high_bit != stored - 1:
        yield finding("UNUSUAL_HIGH_BIT", attribute="HighBit")


def _check_native(bulk_data: BulkData, image: ImageDescription) -> Iterator[Finding]:
    length, start = bulk_data.stop - bulk_data.start, bulk_data.element.start
    expected = _native_length(image)
    if length % 2:
        yield finding("ODD_PIXEL_DATA_LENGTH", attribute="PixelData", offset=start)
    if expected is None:
        return
    if length < expected:
        yield finding("PIXEL_DATA_TOO_SHORT", attribute="PixelData", offset=start)
    elif length > expected + expected % 2:
        yield finding("PIXEL_DATA_TOO_LONG", attribute="PixelData", offset=start)


def _native_length(image: ImageDescription) -> int | None:
    """Return the bytes that native pixel data takes, bits packed across frames (DICOM PS3.5 8.1.1); None if unknown."""
    if not (image.rows and image.columns and image.samples_per_pixel and image.bits_allocated):
        return None
    samples = image.rows * image.columns * image.samples_per_pixel * (image.number_of_frames or 1)
    if image.samples_per_pixel == 3:
        share, whole = _SUBSAMPLED.get(image.photometric_interpretation or "", (1, 1))
        samples = samples * share // whole
    return -(-samples * image.bits_allocated // 8)


def _check_encapsulated(
    header: Header, bulk_data: BulkData, fragments: list[tuple[int, int]], image: ImageDescription
) -> Iterator[Finding]:
    if not fragments:
        yield finding("MALFORMED_FRAGMENTS", attribute="PixelData", offset=bulk_data.start)
        return
    table, *fragments = fragments
    yield from _check_fragments(fragments)
    if header.transfer_syntax in MPEGTransferSyntaxes:
        return
    frames = image.number_of_frames or 1
    if len(fragments) < frames:
        yield finding("TOO_FEW_FRAGMENTS", attribute="PixelData", offset=bulk_data.start)
        return
    if header.transfer_syntax in _ONE_FRAGMENT_A_FRAME and len(fragments) != frames:
        yield finding("FRAGMENTS_CONTRADICT_FRAMES", attribute="PixelData", offset=bulk_data.start)
    has_table = table[0] != table[1]
    if has_table and not _is_basic_table_right(header, table, fragments, frames):
        yield finding("OFFSET_TABLE_INCONSISTENT", attribute="PixelData", offset=table[0])
    extended = header.find(tags.EXTENDED_OFFSET_TABLE)
    if extended is not None and (has_table or not _is_extended_table_right(header, extended, fragments, frames)):
        yield finding("OFFSET_TABLE_INCONSISTENT", attribute="ExtendedOffsetTable", offset=extended.start)
    if not has_table and extended is None and 1 < frames < len(fragments):
        yield finding("FRAMES_NOT_DELIMITED", attribute="PixelData", offset=bulk_data.start)


def _check_fragments(fragments: list[tuple[int, int]]) -> Iterator[Finding]:
    for start, stop in fragments:
        if start == stop:
            yield finding("EMPTY_FRAGMENT", attribute="PixelData", offset=start)
        elif (stop - start) % 2:
            yield finding("ODD_PIXEL_DATA_LENGTH", attribute="PixelData", offset=start)


def _is_basic_table_right(
    header: Header, table: tuple[int, int], fragments: list[tuple[int, int]], frames: int
) -> bool:
    """Tell whether there is one offset a frame, ascending, each of a fragment's item (DICOM PS3.5 A.4)."""
    start, stop = table
    if stop - start != 4 * frames:
        return False
    offsets = list(unpack(f"<{frames}L", header.source.read(start, stop)))
    return _are_starts(offsets, fragments)


def _is_extended_table_right(header: Header, element: Element, fragments: list[tuple[int, int]], frames: int) -> bool:
    """Tell whether each frame's offset and length are those of its only fragment (DICOM PS3.3 C.7.6.3.1.8)."""
    lengths = header.find(tags.EXTENDED_OFFSET_TABLE_LENGTHS)
    offsets_value = header.value(element)
    if lengths is None or not len(fragments) == frames == len(offsets_value) / 8 == len(header.value(lengths)) / 8:
        return False
    sizes = unpack(f"<{frames}Q", header.value(lengths))
    padding = [stop - start - size for (start, stop), size in zip(fragments, sizes, strict=True)]
    return _are_starts(list(unpack(f"<{frames}Q", offsets_value)), fragments) and set(padding) <= {0, 1}


def _are_starts(offsets: list[int], fragments: list[tuple[int, int]]) -> bool:
    """Tell whether the offsets are ascending starts of items, counted from the first fragment's."""
    first = fragments[0][0]
    starts = {start - first for start, _ in fragments}
    ascending = all(before < after for before, after in pairwise(offsets))
    return offsets[0] == 0 and ascending and starts.issuperset(offsets)


def _check_what_follows(header: Header, bulk_data: BulkData) -> Iterator[Finding]:
    if bulk_data.stop >= header.source.size:
        return
    tag = header.source.read(bulk_data.stop, bulk_data.stop + 4)
    if not header.encoding.little:
        tag = tag[1::-1] + tag[:1:-1]
    if tag not in _AFTER_PIXEL_DATA:
        yield finding("TRAILING_DATA", offset=bulk_data.stop)
