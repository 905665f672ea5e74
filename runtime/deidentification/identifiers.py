"""What a header says about who it is about: the values that must not be found in the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from runtime.deidentification.table import Action
from runtime.deidentification.text import Identifiers, Kind, kind_of
from runtime.dicom.character_sets import DEFAULT_CODECS, codecs_of, decode_text
from runtime.dicom.elements import Element
from runtime.dicom.header import Header

_SPECIFIC_CHARACTER_SET: Final = 0x00080005


@dataclass(frozen=True)
class SourceIdentifiers:
    """The identifying values of a header."""

    text: Identifiers
    """what may be repeated in text: people, codes, dates, places"""
    uids: frozenset[str]


def collect_identifiers(header: Header, actions: Mapping[int, Action]) -> SourceIdentifiers:
    """Gather the identifiers at every depth of a header.

    Parameters
    ----------
    header
        The source.
    actions
        What the profile does to an attribute: one that it keeps identifies nobody to it, nor does a date or UID that
        the standard's table doesn't name, such as SOP Class UID.
    """
    values: list[tuple[Kind, str]] = []
    uids: set[str] = set()
    for element, codecs in _values(header):
        kind = kind_of(element.tag, element.vr)
        is_uid = element.vr == "UI"
        if kind is None and not is_uid:
            continue
        if actions.get(element.tag, Action.REMOVE if kind is Kind.PERSON else Action.KEEP) is Action.KEEP:
            continue
        if kind is not None:
            values.append((kind, decode_text(header.value(element), codecs, person_name=kind is Kind.PERSON)))
        else:
            uids.update(header.value(element).decode("ascii", "replace").strip("\0 ").split("\\"))
    return SourceIdentifiers(Identifiers.of(values), frozenset(uids))


def data_set_codecs(header: Header, elements: list[Element], inherited: tuple[str, ...]) -> tuple[str, ...]:
    """Return the codecs of a data set: of its own Specific Character Set, else inherited (DICOM PS3.5 7.5.3)."""
    for element in elements:
        if element.tag >= _SPECIFIC_CHARACTER_SET:
            return codecs_of(header.value(element)) if element.tag == _SPECIFIC_CHARACTER_SET else inherited
    return inherited


def _values(header: Header) -> Iterator[tuple[Element, tuple[str, ...]]]:
    """Yield the elements with a value, at every depth, with the codecs of their text."""
    pending: list[tuple[list[Element], tuple[str, ...]]] = [(header.data_set.elements, DEFAULT_CODECS)]
    while pending:
        elements, codecs = pending.pop()
        codecs = data_set_codecs(header, elements, codecs)
        for element in elements:
            if element.items:
                pending.extend((item.elements, codecs) for item in element.items)
            elif element.value_start < element.value_stop:
                yield element, codecs
