"""What a header says about who it is about: the values that must not be found in the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from runtime.deidentification.dummies import dummy_value
from runtime.deidentification.pseudonyms import is_well_known
from runtime.deidentification.table import Action
from runtime.deidentification.text import Identifiers, Kind, kind_of
from runtime.dicom.character_sets import DEFAULT_CODECS, codecs_of, decode_text
from runtime.dicom.elements import LONG_VRS, SHORT_VRS, Element, dictionary_vr
from runtime.dicom.header import Header

_SPECIFIC_CHARACTER_SET: Final = 0x00080005
_PRIVATE: Final = 0x10000
_KNOWN_VRS: Final = SHORT_VRS | LONG_VRS - {"UN"}


@dataclass(frozen=True)
class SourceIdentifiers:
    """The identifying values of a header."""

    text: Identifiers
    """what may be repeated in text: people, codes, dates, places"""
    uids: frozenset[str]
    codecs: frozenset[tuple[str, ...]]
    """Python's codecs for each Specific Character Set that a data set of the header is in"""


def collect_identifiers(header: Header, actions: Mapping[int, Action]) -> SourceIdentifiers:
    """Gather the identifiers at every depth of a header.

    Parameters
    ----------
    header
        The source; dummies that an earlier de-identification put into it identify nobody.
    actions
        What the profile does to an attribute: one that it keeps identifies nobody to it, nor does a date or UID that
        no rule names, such as SOP Class UID.
    """
    values: list[tuple[Kind, str]] = []
    uids: set[str] = set()
    character_sets: set[tuple[str, ...]] = set()
    for elements, codecs in _data_sets(header):
        character_sets.add(codecs)
        for element in elements:
            if element.tag & _PRIVATE and element.vr != "PN":
                continue
            vr = known_vr(element)
            kind = kind_of(element.tag, vr)
            if (kind is None and vr != "UI") or element.items is not None:
                continue
            if actions.get(element.tag, Action.REMOVE if kind is Kind.PERSON else Action.KEEP) is Action.KEEP:
                continue
            value = header.value(element)
            if kind is None:
                uids.update(value.decode("ascii", "replace").strip("\0 ").split("\\"))
            elif value and value.rstrip() != dummy_value(vr):
                values.append((kind, decode_text(value, codecs, person_name=kind is Kind.PERSON)))
    identifying = frozenset(uid for uid in uids if not is_well_known(uid))
    return SourceIdentifiers(Identifiers.of(values), identifying, frozenset(character_sets))


def known_vr(element: Element) -> str:
    """Return an element's VR; that of the dictionary where its own says nothing."""
    return element.vr if element.vr in _KNOWN_VRS else dictionary_vr(element.tag)


def data_set_codecs(header: Header, elements: list[Element], inherited: tuple[str, ...]) -> tuple[str, ...]:
    """Return the codecs of a data set: of its own Specific Character Set, else inherited (DICOM PS3.5 7.5.3)."""
    for element in elements:
        if element.tag >= _SPECIFIC_CHARACTER_SET:
            return codecs_of(header.value(element)) if element.tag == _SPECIFIC_CHARACTER_SET else inherited
    return inherited


def _data_sets(header: Header) -> Iterator[tuple[list[Element], tuple[str, ...]]]:
    """Yield the elements of each data set, at every depth, with the codecs of their text."""
    pending: list[tuple[list[Element], tuple[str, ...]]] = [(header.data_set.elements, DEFAULT_CODECS)]
    while pending:
        elements, inherited = pending.pop()
        codecs = data_set_codecs(header, elements, inherited)
        yield elements, codecs
        for element in elements:
            if element.items:
                pending.extend((item.elements, codecs) for item in element.items)
