"""The data sets of a header, one at a time: the top-level one and each item's at every depth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runtime.dicom.character_sets import DEFAULT_CODECS, codecs_of
from runtime.dicom.elements import Element, Encoding, attribute_text
from runtime.dicom.header import Header
from runtime.dicom.tags import SPECIFIC_CHARACTER_SET


@dataclass(frozen=True, slots=True, eq=False)
class NestedDataSet:
    """The elements of one data set, with what applies to their values and where it is."""

    elements: list[Element]
    encoding: Encoding
    codecs: tuple[str, ...]
    """of its own Specific Character Set, or of the data set around it (DICOM PS3.3 C.12.1.1.2)"""
    parent: NestedDataSet | None
    place: tuple[int, int]
    """tag of the sequence and number of the item; meaningless at top level"""

    @property
    def path(self) -> str:
        """Sequences and item numbers down to here, as in ``ReferencedStudySequence[1].``; empty at top level."""
        parts: list[str] = []
        inner = self
        while inner.parent is not None:
            tag, number = inner.place
            parts.append(f"{attribute_text(tag)}[{number}].")
            inner = inner.parent
        return "".join(reversed(parts))


def nested_data_sets(header: Header) -> Iterator[NestedDataSet]:
    """Yield the top-level data set and those inside it, the outer before the inner."""
    codecs = data_set_codecs(header, header.data_set.elements, DEFAULT_CODECS)
    top = NestedDataSet(header.data_set.elements, header.encoding, codecs, None, (0, 0))
    yield top
    pending = [_inside(header, top)]
    while pending:
        inner = next(pending[-1], None)
        if inner is None:
            pending.pop()
            continue
        yield inner
        pending.append(_inside(header, inner))


def _inside(header: Header, outer: NestedDataSet) -> Iterator[NestedDataSet]:
    for element in outer.elements:
        for number, item in enumerate(element.items or (), 1):
            codecs = data_set_codecs(header, item.elements, outer.codecs)
            yield NestedDataSet(item.elements, item.encoding, codecs, outer, (element.tag, number))


def data_set_codecs(header: Header, elements: list[Element], inherited: tuple[str, ...]) -> tuple[str, ...]:
    """Return the codecs of a data set: of its own Specific Character Set, else inherited (DICOM PS3.5 7.5.3)."""
    for element in elements:
        if element.tag == SPECIFIC_CHARACTER_SET:
            return codecs_of(header.value(element))
    return inherited
