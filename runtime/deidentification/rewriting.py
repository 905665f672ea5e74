"""Writing a header anew: decided element by element, copied as bytes wherever nothing changes.

What stays is never decoded. Sequences keep their kind of length, defined lengths are counted again from the inside out.
Nesting lives on a list, not on Python's stack.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from runtime.deidentification.rules.decision import Decision
from runtime.dicom.elements import Element, Encoding, Item
from runtime.dicom.vr import LONG_VRS

_ITEM_HEADER: Final = 8
_DELIMITER: Final = 8
_NUL_PADDED: Final = frozenset(("UI", "OB", "UN"))
_UNDEFINED: Final = b"\xff\xff\xff\xff"
_SHORT_LENGTH_LIMIT: Final = 0x10000


class Scope(NamedTuple):
    """Context of the elements of one data set, the top-level one or an item's."""

    path: tuple[int, ...]
    """tags of the sequences around it"""
    encoding: Encoding
    encodings: tuple[str, ...]
    """Python's codecs for its Specific Character Set"""
    private: Mapping[int, Decision]
    """decisions for its private elements, by their offsets; those left out are removed"""
    content: Decision | None = None
    """CLEAN or DUMMY where a rule for a sequence around it asks for either of the text in it"""
    keeps_codes: bool = True
    """whether a coded entry says what an item is about, rather than being what the rule wants replaced"""


Decide = Callable[[Element, Scope], bytes | None]
"""Returns an element's new encoding, empty to remove it, or None to keep it and go into its items."""
Enter = Callable[[Element, Item, Scope], Scope]
"""Returns the scope of an item."""


@dataclass
class _Plan:
    """One data set of the result: ranges to copy, new bytes, and sequences whose items have plans of their own."""

    pieces: list[tuple[int, int] | bytes | _Sequence] = field(default_factory=list)
    length: int = 0


@dataclass
class _Sequence:
    element: Element
    plans: range
    byte_order: str
    """of its own length; in VR UN its items may have another"""
    length: int = 0
    """of the value, delimiter not included"""


class Rewriter:
    """Writes a data set anew.

    Parameters
    ----------
    content
        What the elements' offsets refer to.
    decide, enter
        What to do with an element, and with which scope to go into an item.
    """

    def __init__(self, content: bytes, decide: Decide, enter: Enter) -> None:
        self._content = content
        self._decide = decide
        self._enter = enter
        self._jobs: list[tuple[list[Element], int, int, Scope]] = []
        self._plans: list[_Plan] = []

    def rewrite(
        self, elements: list[Element], start: int, stop: int, scope: Scope, additions: list[tuple[int, bytes]]
    ) -> bytes:
        """Write a top-level data set.

        Parameters
        ----------
        elements, start, stop
            The data set and its extent in the content.
        scope
            Of the data set.
        additions
            Tags and encodings of elements to insert where they belong, ascending. The elements that they replace must
            be removed by `decide`.
        """
        self._jobs = [(elements, start, stop, scope)]
        self._plans = []
        while len(self._plans) < len(self._jobs):
            self._plans.append(self._plan(*self._jobs[len(self._plans)], additions))
            additions = []
        for plan in reversed(self._plans):
            self._measure(plan)
        return self._assemble()

    def _plan(
        self, elements: list[Element], start: int, stop: int, scope: Scope, additions: list[tuple[int, bytes]]
    ) -> _Plan:
        """Decide each element of one data set; leave its items as further jobs."""
        plan, run = _Plan(), start
        pieces, decide = plan.pieces, self._decide
        cuts = [(_position(elements, tag, stop), encoded) for tag, encoded in additions]
        for element in elements:
            while cuts and element.start >= cuts[0][0]:
                pieces += [(run, element.start), cuts.pop(0)[1]]
                run = element.start
            new = decide(element, scope)
            if new is None and not element.items:
                continue
            if run < element.start:
                pieces.append((run, element.start))
            if new is None:
                pieces.append(self._open(element, scope))
            elif new:
                pieces.append(new)
            run = element.stop
        pieces.append((run, stop))
        pieces += [encoded for _, encoded in cuts]
        return plan

    def _open(self, element: Element, scope: Scope) -> _Sequence:
        first = len(self._jobs)
        for item in element.items or ():
            delimiter = _DELIMITER if self._content[item.start + 4 : item.start + 8] == _UNDEFINED else 0
            inner = self._enter(element, item, scope)
            self._jobs.append((item.elements, item.start + _ITEM_HEADER, item.stop - delimiter, inner))
        return _Sequence(element, range(first, len(self._jobs)), scope.encoding.byte_order)

    def _measure(self, plan: _Plan) -> None:
        """Add up a plan's length; plans of its sequences' items are measured already."""
        for piece in plan.pieces:
            if isinstance(piece, tuple):
                plan.length += piece[1] - piece[0]
            elif isinstance(piece, bytes):
                plan.length += len(piece)
            else:
                items = piece.element.items or ()
                piece.length = sum(
                    _ITEM_HEADER + self._plans[number].length + item.stop - self._jobs[number][2]
                    for item, number in zip(items, piece.plans, strict=True)
                )
                element = piece.element
                plan.length += element.value_start - element.start + piece.length + element.stop - element.value_stop

    def _assemble(self) -> bytes:
        """Join all plans' pieces in their order."""
        output: list[bytes] = []
        pending: list[tuple[int, int] | bytes | _Sequence] = list(reversed(self._plans[0].pieces))
        while pending:
            piece = pending.pop()
            if isinstance(piece, tuple):
                output.append(self._content[piece[0] : piece[1]])
            elif isinstance(piece, bytes):
                output.append(piece)
            else:
                pending.extend(reversed(self._expand(piece)))
        return b"".join(output)

    def _expand(self, sequence: _Sequence) -> list[tuple[int, int] | bytes | _Sequence]:
        """Return a sequence's header, its items with their pieces, and its delimiter."""
        element, content = sequence.element, self._content
        items = element.items or []
        length = content[element.value_start - 4 : element.value_start]
        if length != _UNDEFINED:
            length = struct.pack(sequence.byte_order + "L", sequence.length)
        pieces: list[tuple[int, int] | bytes | _Sequence] = [content[element.start : element.value_start - 4] + length]
        for item, number in zip(items, sequence.plans, strict=True):
            stop = self._jobs[number][2]
            length = struct.pack(item.encoding.byte_order + "L", self._plans[number].length)
            pieces.append(content[item.start : item.start + 4] + (_UNDEFINED if stop < item.stop else length))
            pieces += self._plans[number].pieces
            pieces.append(content[stop : item.stop])
        pieces.append(content[element.value_stop : element.stop])
        return pieces


def _position(elements: list[Element], tag: int, stop: int) -> int:
    """Return where an element with this tag belongs."""
    index = bisect_right(elements, tag, key=lambda element: element.tag)
    return elements[index].start if index < len(elements) else stop


def encode_element(tag: int, vr: str, value: bytes, encoding: Encoding) -> bytes:
    """Encode one element, its value padded to even length (DICOM PS3.5 6.2, 7.1)."""
    if len(value) % 2:
        value += b"\0" if vr in _NUL_PADDED else b" "
    order = encoding.byte_order
    if encoding.implicit:
        return struct.pack(order + "HHL", tag >> 16, tag & 0xFFFF, len(value)) + value
    if vr in LONG_VRS:
        return struct.pack(order + "HH2sHL", tag >> 16, tag & 0xFFFF, vr.encode(), 0, len(value)) + value
    if len(value) >= _SHORT_LENGTH_LIMIT:
        return struct.pack(order + "HH2sHL", tag >> 16, tag & 0xFFFF, b"UN", 0, len(value)) + value
    return struct.pack(order + "HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def encode_sequence(tag: int, items: list[bytes], encoding: Encoding) -> bytes:
    """Encode a sequence of encoded items with defined lengths (DICOM PS3.5 7.5.1)."""
    order = encoding.byte_order
    value = b"".join(struct.pack(order + "HHL", 0xFFFE, 0xE000, len(item)) + item for item in items)
    return encode_element(tag, "SQ", value, encoding)
