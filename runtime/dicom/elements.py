"""Data elements of an encoded data set, found where they lie and not decoded.

A header is parsed into a tree of offsets. What isn't changed can then be copied as bytes, and what isn't looked at
costs nothing. Parsing keeps its own stack: nesting is bounded by `MAXIMUM_DEPTH`, never by Python's recursion limit.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

from pydicom.datadict import keyword_for_tag

from runtime.dicom.dictionary import dictionary_vr
from runtime.dicom.errors import DicomError
from runtime.dicom.tags import (
    DOUBLE_FLOAT_PIXEL_DATA,
    FLOAT_PIXEL_DATA,
    ITEM,
    ITEM_DELIMITATION_ITEM,
    PIXEL_DATA,
    SEQUENCE_DELIMITATION_ITEM,
)
from runtime.dicom.vr import LONG_VRS, VRS

MAXIMUM_DEPTH = 1024
MAXIMUM_ELEMENTS = 400_000
"""Elements and items of a header; so many take about 250 MB to be parsed and rewritten."""
UNDEFINED_LENGTH = 0xFFFFFFFF

_ITEM_TAGS = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")

BULK_DATA = frozenset((FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA, PIXEL_DATA))
"""Float, double float and integer pixel data: the end of a header."""

_VRS = {vr.encode(): (vr, vr in LONG_VRS) for vr in VRS}

_UNPACK_IMPLICIT = (struct.Struct(">HHL").unpack_from, struct.Struct("<HHL").unpack_from)
_UNPACK_EXPLICIT = (struct.Struct(">HH2sH").unpack_from, struct.Struct("<HH2sH").unpack_from)
_UNPACK_LENGTH = (struct.Struct(">L").unpack_from, struct.Struct("<L").unpack_from)


class Encoding(NamedTuple):
    """Encoding of a data set's elements (DICOM PS3.5 7.1)."""

    implicit: bool
    little: bool

    @property
    def byte_order(self) -> str:
        """Byte order as `struct` writes it."""
        return "<" if self.little else ">"


IMPLICIT_LITTLE = Encoding(implicit=True, little=True)
EXPLICIT_LITTLE = Encoding(implicit=False, little=True)
ENCODINGS = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, Encoding(implicit=False, little=False))
"""of all transfer syntaxes"""
_ENCODINGS_IN_UNKNOWN = (
    IMPLICIT_LITTLE,
    EXPLICIT_LITTLE,
    Encoding(implicit=False, little=False),
    Encoding(implicit=True, little=False),
)
"""Encodings of sequences in VR UN: the standard's first, then those of software that writes UN for SQ."""


class Element(NamedTuple):
    """One data element; all offsets count from the start of the buffer it was parsed from."""

    tag: int
    vr: str
    start: int
    """of the element's tag"""
    value_start: int
    value_stop: int
    stop: int
    """of the element, a sequence's delimiter included"""
    items: list[Item] | None
    """of a sequence, also one in VR UN; None for a value"""


class Item(NamedTuple):
    """One item of a sequence."""

    start: int
    """of the item's tag"""
    stop: int
    """of the item, its delimiter included"""
    elements: list[Element]
    encoding: Encoding


class EndOfBuffer(Exception):  # noqa: N818 - a request for more bytes, not an error
    """The buffer ends before the header does.

    Parameters
    ----------
    needed
        The least number of bytes, from the start of the object, with which parsing gets further.
    offset
        Where the element begins that does not fit.
    """

    def __init__(self, needed: int, offset: int) -> None:
        super().__init__(f"{needed} bytes needed")
        self.needed = needed
        self.offset = offset


class DataSet(NamedTuple):
    """The elements of a top-level data set, and where they stop."""

    elements: list[Element]
    stop: int
    """first byte after the last element; the start of the bulk data where there is any"""
    bulk_data: Element | None
    """float, double float or integer pixel data; its value is not parsed, `value_stop` is -1 if it is encapsulated"""


class _Frame:
    """A data set (the top-level one or an item's) or a sequence that is being parsed."""

    __slots__ = ("content", "encoding", "limit", "opener", "start", "stop")

    def __init__(self, start: int, stop: int, limit: int, encoding: Encoding, opener: _Opener | None) -> None:
        self.start = start
        self.stop = stop
        """where it ends; -1 where its length is undefined"""
        self.limit = limit
        """where it has to have ended"""
        self.encoding = encoding
        self.opener = opener
        """the element that opens a sequence; None for a data set"""
        self.content: list[Any] = []
        """of a data set its elements, of a sequence its items"""


class _Opener(NamedTuple):
    """The header of an element that opens a sequence."""

    tag: int
    vr: str
    start: int
    value_start: int


@lru_cache(maxsize=16384)
def attribute_text(tag: int) -> str:
    """Return the attribute's keyword, or ``(gggg,eeee)`` where DICOM PS3.6 gives it none."""
    return keyword_for_tag(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def parse_data_set(
    buffer: bytes, start: int, encoding: Encoding, *, size: int, only_group: int | None = None
) -> DataSet:
    """Parse a top-level data set up to its bulk data or its end.

    Parameters
    ----------
    buffer
        The object's bytes from its very start; may end before the object does.
    start
        Where the data set begins.
    encoding
        As the transfer syntax says.
    size
        Size of the whole object in bytes.
    only_group
        Stop before the first element of another group, as file meta does.

    Raises
    ------
    EndOfBuffer
        The buffer ends inside an element.
    DicomError
        ``MALFORMED_HEADER``, ``NESTED_TOO_DEEP`` or ``TOO_MANY_ELEMENTS``.
    """
    parser = _Parser(buffer, size, only_group)
    data_set = parser.data_set(start, encoding)
    parser.open_unknown_values()
    return data_set


class _Parser:
    """Parses one buffer with a stack of its own; values in VR UN that may be sequences are opened at the end."""

    def __init__(self, buffer: bytes, size: int, only_group: int | None = None) -> None:
        self._buffer = buffer
        self._size = size
        self._only_group = only_group
        self._bulk_data: Element | None = None
        self._stack: list[_Frame] = []
        self._base_depth = 0
        self._unknown: list[tuple[list[Element], int, int]] = []
        self._count = 0

    def data_set(self, start: int, encoding: Encoding) -> DataSet:
        """Parse top-level elements from `start`."""
        top = _Frame(start, self._size, self._size, encoding, None)
        stop = self._run(top, start)
        return DataSet(top.content, stop, self._bulk_data)

    def open_unknown_values(self) -> None:
        """Parse values in VR UN that begin as a sequence does (DICOM PS3.5 6.2.2 note 2); the others stay opaque."""
        while self._unknown:
            elements, index, depth = self._unknown.pop()
            element = elements[index]
            self._base_depth = depth
            for encoding in _ENCODINGS_IN_UNKNOWN:
                found = len(self._unknown)
                opener = _Opener(element.tag, element.vr, element.start, element.value_start)
                sequence = _Frame(element.value_start, element.stop, element.stop, encoding, opener)
                try:
                    self._run(sequence, element.value_start)
                except (DicomError, EndOfBuffer) as error:
                    if isinstance(error, DicomError) and error.code != "MALFORMED_HEADER":
                        raise  # a sequence, and more of it than can be processed
                    del self._unknown[found:]
                else:
                    elements[index] = element._replace(items=sequence.content)
                    break

    def _run(self, first: _Frame, position: int) -> int:
        """Parse `first` and all it contains; return where it stops."""
        self._stack = [first]
        while self._stack:
            if len(self._stack) > 2 * (MAXIMUM_DEPTH - self._base_depth):
                raise DicomError("NESTED_TOO_DEEP", offset=position)
            step = self._elements if self._stack[-1].opener is None else self._items
            position = step(position)
        return position

    def _elements(self, position: int) -> int:
        """Go on with the innermost data set until it ends or one of its elements opens a sequence."""
        frame = self._stack[-1]
        top = len(self._stack) == 1
        buffer, content, limit, stop = self._buffer, frame.content, frame.limit, frame.stop
        while position != stop:
            tag, vr, value_start, length = self._element_header(position, frame)
            if tag == ITEM_DELIMITATION_ITEM and stop < 0:
                position += 8
                break
            if top and (tag in BULK_DATA or self._only_group not in (None, tag >> 16)):
                self._end_of_header(tag, vr, position, value_start, length)
                break
            if vr == "SQ" or (length == UNDEFINED_LENGTH and (vr == "UN" or frame.encoding.implicit)):
                self._open_sequence(_Opener(tag, vr, position, value_start), length, frame)
                return value_start
            if length == UNDEFINED_LENGTH:
                value_stop, end = self._fragments(value_start, frame)
            else:
                value_stop = end = value_start + length
            if end > limit or end > len(buffer):
                self._overrun(end, position, frame)
            if vr == "UN" and buffer.startswith(_ITEM_TAGS, value_start, value_stop):
                self._unknown.append((content, len(content), self._base_depth + len(self._stack) // 2))
            content.append(Element(tag, vr, position, value_start, value_stop, end, None))
            position = end
        self._close_data_set(position)
        return position

    def _element_header(self, position: int, frame: _Frame) -> tuple[int, str, int, int]:
        """Return tag, VR, value's start and length of the element at `position`."""
        self._count_one(position)
        try:
            if frame.encoding.implicit:
                group, number, length = _UNPACK_IMPLICIT[frame.encoding.little](self._buffer, position)
                tag = group << 16 | number
                return tag, dictionary_vr(tag), position + 8, length
            group, number, code, length = _UNPACK_EXPLICIT[frame.encoding.little](self._buffer, position)
            tag = group << 16 | number
            known = _VRS.get(code)
            if known is None:
                return self._odd_header(tag, code, length, position)
            vr, long = known
            if not long:
                return tag, vr, position + 8, length
            (length,) = _UNPACK_LENGTH[frame.encoding.little](self._buffer, position + 8)
        except struct.error:
            self._overrun(position + 8 if len(self._buffer) < position + 8 else position + 12, position, frame)
        return tag, vr, position + 12, length

    def _count_one(self, position: int) -> None:
        self._count += 1
        if self._count > MAXIMUM_ELEMENTS:
            raise DicomError("TOO_MANY_ELEMENTS", offset=position)

    def _odd_header(self, tag: int, code: bytes, length: int, position: int) -> tuple[int, str, int, int]:
        """Return the header of an element in explicit VR whose VR is none of DICOM's."""
        if tag == ITEM_DELIMITATION_ITEM or self._only_group not in (None, tag >> 16):
            return tag, "", position + 8, 0
        if code.isalpha() and code.isupper():
            return tag, code.decode("ascii"), position + 8, length
        raise DicomError("MALFORMED_HEADER", attribute=self._path(tag), offset=position)

    def _items(self, position: int) -> int:
        """Go on with the innermost sequence: open its next item or close it."""
        frame = self._stack[-1]
        if position == frame.stop:
            self._close_sequence(position, position)
            return position
        tag, length = self._item_header(position, frame)
        if tag == SEQUENCE_DELIMITATION_ITEM and frame.stop in (-1, position + 8):
            # inside a defined length it is superfluous, and belongs to the value
            self._close_sequence(position if frame.stop < 0 else position + 8, position + 8)
        elif tag == ITEM:
            stop = -1 if length == UNDEFINED_LENGTH else position + 8 + length
            if stop > min(frame.limit, len(self._buffer)):
                self._overrun(stop, position, frame)
            limit = frame.limit if stop < 0 else stop
            self._stack.append(_Frame(position, stop, limit, frame.encoding, None))
        else:
            raise DicomError("MALFORMED_HEADER", attribute=self._path(), offset=position)
        return position + 8

    def _item_header(self, position: int, frame: _Frame) -> tuple[int, int]:
        """Return tag and length of an item or a delimiter, which have no VR in any encoding."""
        self._count_one(position)
        try:
            group, number, length = _UNPACK_IMPLICIT[frame.encoding.little](self._buffer, position)
        except struct.error:
            self._overrun(position + 8, position, frame)
        return group << 16 | number, length

    def _fragments(self, position: int, frame: _Frame) -> tuple[int, int]:
        """Step over encapsulated data inside a data set (an icon's pixels); return where value and element stop."""
        while True:
            tag, length = self._item_header(position, frame)
            if tag == SEQUENCE_DELIMITATION_ITEM:
                return position, position + 8
            if tag != ITEM or length == UNDEFINED_LENGTH:
                raise DicomError("MALFORMED_HEADER", attribute=self._path(), offset=position)
            position += 8 + length

    def _open_sequence(self, opener: _Opener, length: int, frame: _Frame) -> None:
        stop = -1 if length == UNDEFINED_LENGTH else opener.value_start + length
        if stop > min(frame.limit, len(self._buffer)):
            self._overrun(stop, opener.start, frame)
        encoding = IMPLICIT_LITTLE if opener.vr == "UN" and not frame.encoding.implicit else frame.encoding
        limit = frame.limit if stop < 0 else stop
        self._stack.append(_Frame(opener.value_start, stop, limit, encoding, opener))

    def _close_sequence(self, value_stop: int, stop: int) -> None:
        frame = self._stack.pop()
        if self._stack and frame.opener is not None:
            self._stack[-1].content.append(Element(*frame.opener, value_stop, stop, frame.content))

    def _close_data_set(self, stop: int) -> None:
        frame = self._stack.pop()
        if self._stack:
            self._stack[-1].content.append(Item(frame.start, stop, frame.content, frame.encoding))

    def _end_of_header(self, tag: int, vr: str, position: int, value_start: int, length: int) -> None:
        if tag in BULK_DATA:
            stop = -1 if length == UNDEFINED_LENGTH else value_start + length
            self._bulk_data = Element(tag, vr, position, value_start, stop, stop, None)

    def _overrun(self, needed: int, position: int, frame: _Frame) -> NoReturn:
        """Ask for more bytes, or say that an element does not fit into what contains it."""
        if needed > frame.limit < self._size:
            raise DicomError("MALFORMED_HEADER", attribute=self._path(), offset=position)
        raise EndOfBuffer(needed, position)

    def _path(self, tag: int | None = None) -> str | None:
        """Return the path of what is being parsed, for a finding."""
        parts = [
            f"{attribute_text(outer.opener.tag)}[{len(outer.content) + 1}]"
            for outer in self._stack
            if outer.opener is not None
        ]
        if tag is not None:
            parts.append(attribute_text(tag))
        return ".".join(parts) or None
