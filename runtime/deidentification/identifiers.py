"""Collection of a header's identifying values, which must not be found in the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runtime.deidentification.dummies import dummy_value
from runtime.deidentification.pseudonyms import is_well_known
from runtime.deidentification.rules.decision import UNNAMED
from runtime.deidentification.rules.resolution import Ruleset
from runtime.deidentification.rules.table import Action
from runtime.deidentification.text import Identifiers, Kind, kind_of
from runtime.dicom.character_sets import decode_text, read_ascii, readings
from runtime.dicom.dictionary import effective_vr
from runtime.dicom.elements import Element
from runtime.dicom.errors import DicomError
from runtime.dicom.header import Header
from runtime.dicom.nesting import nested_data_sets
from runtime.dicom.tags import is_private

MAXIMUM_IDENTIFIERS: Final = 10_000
"""Distinct people, ids and places of a header: each is searched for in each of its texts."""


@dataclass(frozen=True)
class SourceIdentifiers:
    """The identifying values of a header."""

    text: Identifiers
    """what may be repeated in text: people, codes, dates, places"""
    uids: frozenset[str]
    codecs: frozenset[tuple[str, ...]]
    """Python's codecs for each Specific Character Set that a data set of the header is in"""


def collect_identifiers(header: Header, ruleset: Ruleset) -> SourceIdentifiers:
    """Gather the identifiers at every depth of a header.

    Parameters
    ----------
    header
        The source; dummies that an earlier de-identification put into it identify nobody.
    ruleset
        The profile's rules. An attribute that they keep identifies nobody, nor does a date or UID that no rule names,
        such as SOP Class UID; a person's name does.

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
            if is_private(element.tag) and element.vr != "PN":
                continue
            vr = effective_vr(element.tag, element.vr)
            kind = _kind(element, vr)
            if (kind is None and vr != "UI") or element.items is not None:
                continue
            decision = ruleset.decisions.get(element.tag, UNNAMED)
            if decision.action is Action.KEEP and not (decision is UNNAMED and kind is Kind.PERSON):
                continue
            value = header.value(element)
            if kind is None:
                uids.update(read_ascii(value).split("\\"))
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
