"""The header of an object: everything before its bulk data, read in ranges and never decoded as a whole."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import cached_property

from pydicom.config import IGNORE
from pydicom.uid import UID

from runtime.dicom.character_sets import read_ascii
from runtime.dicom.elements import (
    EXPLICIT_LITTLE,
    DataSet,
    Element,
    Encoding,
    EndOfBuffer,
    parse_data_set,
)
from runtime.dicom.errors import DicomError
from runtime.dicom.source import ByteSource, BytesSource
from runtime.dicom.tags import TRANSFER_SYNTAX_UID

FIRST_READ = 8 * 1024
GROWTH = 4
MAXIMUM_HEADER = 64 * 1024 * 1024
MAXIMUM_INFLATED = 64 * 1024 * 1024

_PREAMBLE = 128
_PREFIX = b"DICM"
_META_START = _PREAMBLE + len(_PREFIX)


@dataclass(frozen=True)
class Header:
    """A parsed header and what its offsets refer to."""

    source: ByteSource
    """the object; of a deflated one its file meta followed by the inflated data set"""
    content: bytes = field(repr=False)
    """the object's bytes from its start to `data_set.stop`"""
    file_meta: list[Element]
    data_set: DataSet
    transfer_syntax: UID
    encoding: Encoding

    def value(self, element: Element) -> bytes:
        """Return an element's value as encoded."""
        return self.content[element.value_start : element.value_stop]

    def find(self, tag: int) -> Element | None:
        """Return the top-level element of the data set with this tag; the last one if it is there twice."""
        return self._by_tag.get(tag)

    def find_all(self, tag: int) -> list[Element]:
        """Return each top-level element of the data set with this tag: readers differ in which of several they take."""
        element = self._by_tag.get(tag)
        if element is None:
            return []
        if len(self._by_tag) == len(self.data_set.elements):
            return [element]
        return [element for element in self.data_set.elements if element.tag == tag]

    @cached_property
    def _by_tag(self) -> dict[int, Element]:
        return {element.tag: element for element in self.data_set.elements}

    def text(self, tag: int) -> str | None:
        """Return a top-level value as ASCII text without padding; None where it is absent or empty.

        For UIDs, codes and numbers, which DICOM keeps in the default repertoire (PS3.5 6.1.2.1).
        """
        element = self.find(tag)
        return None if element is None else read_ascii(self.value(element)) or None


def read_header(source: ByteSource) -> Header:
    """Read as much of an object as its header needs.

    Reads `FIRST_READ` bytes, then `GROWTH` times as much each time, until the bulk data or the end is reached.

    Raises
    ------
    DicomError
        ``EMPTY_OBJECT``, ``NOT_DICOM``, ``TRUNCATED_HEADER``, ``MALFORMED_HEADER``, ``NESTED_TOO_DEEP``,
        ``TOO_MANY_ELEMENTS``, ``HEADER_TOO_LARGE``, ``MISSING_TRANSFER_SYNTAX``, ``UNKNOWN_TRANSFER_SYNTAX``,
        ``CORRUPT_DEFLATE_STREAM`` or ``INFLATES_TOO_LARGE``.
    """
    if source.size == 0:
        raise DicomError("EMPTY_OBJECT")
    start = source.read(0, FIRST_READ)
    if start[_PREAMBLE:_META_START] != _PREFIX:
        raise DicomError("NOT_DICOM", offset=min(_PREAMBLE, source.size))
    content, meta = _parse_growing(source, start, _META_START, EXPLICIT_LITTLE, only_group=0x0002)
    transfer_syntax = _transfer_syntax(content, meta)
    if transfer_syntax.is_deflated:
        source = _inflate(source, meta.stop)
        content = source.read(0, FIRST_READ)
    encoding = Encoding(transfer_syntax.is_implicit_VR, transfer_syntax.is_little_endian)
    content, data_set = _parse_growing(source, content, meta.stop, encoding)
    return Header(
        source=source,
        content=content[: data_set.stop],
        file_meta=meta.elements,
        data_set=data_set,
        transfer_syntax=transfer_syntax,
        encoding=encoding,
    )


def _parse_growing(
    source: ByteSource, content: bytes, start: int, encoding: Encoding, *, only_group: int | None = None
) -> tuple[bytes, DataSet]:
    """Parse a data set, fetching what is missing; return the bytes read so far with it."""
    while True:
        try:
            return content, parse_data_set(content, start, encoding, size=source.size, only_group=only_group)
        except EndOfBuffer as end:
            if end.needed > source.size:
                raise DicomError("TRUNCATED_HEADER", offset=end.offset) from None
            if end.needed > MAXIMUM_HEADER:
                raise DicomError("HEADER_TOO_LARGE", offset=end.offset) from None
            wanted = min(max(end.needed, GROWTH * len(content)), source.size)
            content += source.read(len(content), wanted)
            if len(content) < wanted:
                raise DicomError("TRUNCATED_HEADER", offset=len(content)) from None


def _transfer_syntax(content: bytes, meta: DataSet) -> UID:
    for element in meta.elements:
        if element.tag == TRANSFER_SYNTAX_UID:
            uid = UID(read_ascii(content[element.value_start : element.value_stop]), IGNORE)  # a warning would quote it
            if not (uid.is_transfer_syntax and not uid.is_private):
                raise DicomError("UNKNOWN_TRANSFER_SYNTAX", attribute="TransferSyntaxUID", offset=element.value_start)
            return uid
    raise DicomError("MISSING_TRANSFER_SYNTAX", attribute="TransferSyntaxUID", offset=meta.stop)


def _inflate(source: ByteSource, start: int) -> ByteSource:
    """Return the object with its data set inflated (DICOM PS3.5 A.5), within `MAXIMUM_INFLATED` bytes."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = bytearray(source.read(0, start))
    position = start
    while position < source.size and not inflater.eof:
        chunk = source.read(position, position + 1024 * 1024)
        position += len(chunk)
        try:
            inflated += inflater.decompress(chunk, MAXIMUM_INFLATED + 1 - len(inflated))
        except zlib.error:
            raise DicomError("CORRUPT_DEFLATE_STREAM", offset=start) from None
        if len(inflated) > MAXIMUM_INFLATED:
            raise DicomError("INFLATES_TOO_LARGE", offset=start)
    if not inflater.eof:
        raise DicomError("CORRUPT_DEFLATE_STREAM", offset=source.size)
    return BytesSource(bytes(inflated))
