"""What a header says about who it is about: the values that must not be found in the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from runtime.deidentification.dummies import dummy_value
from runtime.deidentification.pseudonyms import is_well_known
from runtime.deidentification.rules.table import Action
from runtime.deidentification.text import Identifiers, Kind, kind_of
from runtime.dicom.character_sets import decode_text, readings
from runtime.dicom.dictionary import effective_vr
from runtime.dicom.elements import Element
from runtime.dicom.errors import DicomError
from runtime.dicom.header import Header
from runtime.dicom.nesting import nested_data_sets

MAXIMUM_IDENTIFIERS: Final = 10_000
"""Distinct people, ids and places of a header: each is searched for in each of its texts."""

_PRIVATE: Final = 0x10000


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

    Raises
    ------
    DicomError
        ``TOO_MANY_IDENTIFIERS``.
    """
    values: list[tuple[Kind, str]] = []
    uids: set[str] = set()
    character_sets: set[tuple[str, ...]] = set()
    for data_set in nested_data_sets(header):
        codecs = data_set.codecs
        character_sets.add(codecs)
        for element in data_set.elements:
            if element.tag & _PRIVATE and element.vr != "PN":
                continue
            vr = effective_vr(element.tag, element.vr)
            kind = _kind(element, vr)
            if (kind is None and vr != "UI") or element.items is not None:
                continue
            if actions.get(element.tag, Action.REMOVE if kind is Kind.PERSON else Action.KEEP) is Action.KEEP:
                continue
            value = header.value(element)
            if kind is None:
                uids.update(value.decode("ascii", "replace").strip("\0 ").split("\\"))
            elif value and value.rstrip() != dummy_value(vr):
                values.append((kind, decode_text(value, codecs, person_name=kind is Kind.PERSON)))
                if not value.isascii():
                    values += ((kind, reading) for reading in readings(value, ()))
    text = Identifiers.of(values)
    if len(text.people) + len(text.codes) + len(text.places) > MAXIMUM_IDENTIFIERS:
        raise DicomError("TOO_MANY_IDENTIFIERS")
    identifying = frozenset(uid for uid in uids if not is_well_known(uid))
    return SourceIdentifiers(text, identifying, frozenset(character_sets))


def _kind(element: Element, vr: str) -> Kind | None:
    """Tell how an element identifies; what its file calls a person's name is one, whatever the dictionary says."""
    if element.vr == "PN":
        return Kind.PERSON
    return kind_of(element.tag, vr)
