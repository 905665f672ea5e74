"""Check of elements against DICOM PS3.5 and PS3.6: order, VR, multiplicity and values."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VM, dictionary_VR

from runtime.contract.objects import Finding
from runtime.dicom.character_sets import DEFAULT_CODECS, read_ascii
from runtime.dicom.checks.values import check_value
from runtime.dicom.elements import EXPLICIT_LITTLE, Element, attribute_text
from runtime.dicom.findings import finding
from runtime.dicom.header import Header
from runtime.dicom.nesting import NestedDataSet, nested_data_sets
from runtime.dicom.tags import SPECIFIC_CHARACTER_SET, is_private
from runtime.dicom.vr import VRS


class _Definition(NamedTuple):
    """Definition of an attribute in DICOM PS3.6: its VRs and its multiplicity."""

    vrs: frozenset[str]
    minimum: int
    maximum: int | None
    step: int

    def allows(self, multiplicity: int) -> bool:
        if self.maximum is not None and multiplicity > self.maximum:
            return False
        return multiplicity >= self.minimum and (multiplicity - self.minimum) % self.step == 0


def check_elements(header: Header) -> Iterator[Finding]:
    """Yield what is wrong with the elements of the file meta information and of the data set at every depth."""
    yield from _check_data_set(header, NestedDataSet(header.file_meta, EXPLICIT_LITTLE, DEFAULT_CODECS, None, (0, 0)))
    for data_set in nested_data_sets(header):
        yield from _check_data_set(header, data_set)


def _check_data_set(header: Header, data_set: NestedDataSet) -> Iterator[Finding]:
    seen: set[int] = set()
    highest = -1
    for element in data_set.elements:
        tag = element.tag
        codes = _check_element(header, element, data_set)
        if tag in seen:
            codes.add("DUPLICATE_ELEMENT")
        elif tag < highest:
            codes.add("ELEMENTS_OUT_OF_ORDER")
        seen.add(tag)
        highest = max(highest, tag)
        for code in sorted(codes):
            yield finding(code, attribute=data_set.path + attribute_text(tag), offset=element.start)


def _check_element(header: Header, element: Element, data_set: NestedDataSet) -> set[str]:
    """Return the codes of what is wrong with one element; sequences are checked by their items."""
    vr = element.vr
    if vr not in VRS:
        return {"UNKNOWN_VR"}
    definition = _definition(element.tag)
    mismatch = definition is not None and vr not in definition.vrs and vr != "UN" and not data_set.encoding.implicit
    if vr == "SQ" or element.items is not None:
        return {"VR_MISMATCH"} if mismatch else set()
    value = header.value(element)
    codes, multiplicity = check_value(vr, value, data_set.codecs)
    if mismatch:
        codes.add("VR_MISMATCH")
    if value and multiplicity is not None and definition is not None and not definition.allows(multiplicity):
        codes.add("VALUE_MULTIPLICITY")
    if element.tag == SPECIFIC_CHARACTER_SET and not _are_known_character_sets(value):
        codes.add("UNKNOWN_CHARACTER_SET")
    return codes


@lru_cache(maxsize=16384)
def _definition(tag: int) -> _Definition | None:
    """Return what the dictionary says of a tag; None of a private or unknown one."""
    if tag & 0xFFFF == 0:
        return _Definition(frozenset(("UL",)), 1, 1, 1)
    if is_private(tag):
        return None
    try:
        vr, vm = dictionary_VR(tag), dictionary_VM(tag)
    except KeyError:
        return None
    least, _, most = vm.partition("-")
    step = int(most[:-1] or 1) if most.endswith("n") else 1
    maximum = None if most.endswith("n") else int(most or least)
    return _Definition(frozenset(vr.split(" or ")), int(least), maximum, step)


def _are_known_character_sets(value: bytes) -> bool:
    return all(term.strip() in python_encoding for term in read_ascii(value).split("\\"))
