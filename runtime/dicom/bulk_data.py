"""Extent of an object's pixel data, found by its item headers without reading a pixel."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from runtime.dicom.elements import UNDEFINED_LENGTH, Element
from runtime.dicom.errors import DicomError
from runtime.dicom.header import Header
from runtime.dicom.source import ByteSource
from runtime.dicom.tags import ITEM, PIXEL_DATA, SEQUENCE_DELIMITATION_ITEM

READ_AHEAD = 16 * 1024
"""Item headers closer together than this are fetched in one read."""
MAXIMUM_FRAGMENTS = 1_000_000
"""So many take about 150 MB to list."""

_ITEM_HEADER = struct.Struct("<HHL")


@dataclass(frozen=True)
class BulkData:
    """Float, double float or integer pixel data of an object (DICOM PS3.3 C.7.6.3, PS3.5 A.4)."""

    element: Element
    start: int
    """first byte of the value"""
    stop: int
    """first byte after the value; of encapsulated data after its sequence delimiter"""
    fragments: list[tuple[int, int]] | None
    """start and stop of each item's content, the basic offset table first; None for native data"""


def locate_bulk_data(header: Header) -> BulkData | None:
    """Find the extent of the bulk data; None where the object has none.

    Raises
    ------
    DicomError
        ``TRUNCATED_PIXEL_DATA`` where the object ends too early, ``MALFORMED_FRAGMENTS`` where encapsulated data is
        not a sequence of items, ``TOO_MANY_FRAGMENTS`` beyond `MAXIMUM_FRAGMENTS` of them,
        ``UNEXPECTED_ENCAPSULATION`` or ``MISSING_ENCAPSULATION`` where the transfer syntax says otherwise.
    """
    element = header.data_set.bulk_data
    if element is None:
        return None
    encapsulated = element.value_stop < 0
    if encapsulated != (header.transfer_syntax.is_encapsulated and element.tag == PIXEL_DATA):
        code = "UNEXPECTED_ENCAPSULATION" if encapsulated else "MISSING_ENCAPSULATION"
        raise DicomError(code, attribute="PixelData", offset=element.start)
    if encapsulated:
        fragments, stop = _walk_fragments(header.source, element.value_start)
        return BulkData(element, element.value_start, stop, fragments)
    if element.value_stop > header.source.size:
        raise DicomError("TRUNCATED_PIXEL_DATA", attribute="PixelData", offset=header.source.size)
    return BulkData(element, element.value_start, element.value_stop, None)


def _walk_fragments(source: ByteSource, start: int) -> tuple[list[tuple[int, int]], int]:
    """Follow the item headers from `start` to the sequence delimiter; return the fragments and the end."""
    fragments: list[tuple[int, int]] = []
    window, window_start, position = b"", start, start
    while True:
        if position + 8 > window_start + len(window):
            # The first item is the offset table, whose size tells nothing of the fragments'.
            dense = len(fragments) > 1 and fragments[-1][1] - fragments[-1][0] < READ_AHEAD
            window, window_start = source.read(position, position + (READ_AHEAD if dense else 16)), position
        if len(window) < position - window_start + 8:
            raise DicomError("TRUNCATED_PIXEL_DATA", attribute="PixelData", offset=position)
        group, number, length = _ITEM_HEADER.unpack_from(window, position - window_start)
        tag = group << 16 | number
        if tag == SEQUENCE_DELIMITATION_ITEM:
            return fragments, position + 8
        if tag != ITEM or length == UNDEFINED_LENGTH:
            raise DicomError("MALFORMED_FRAGMENTS", attribute="PixelData", offset=position)
        if len(fragments) == MAXIMUM_FRAGMENTS:
            raise DicomError("TOO_MANY_FRAGMENTS", attribute="PixelData", offset=position)
        fragments.append((position + 8, position + 8 + length))
        position += 8 + length
