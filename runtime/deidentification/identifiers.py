"""What a header says about who it is about: the values that must not be found in the result."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from runtime.deidentification.table import Action
from runtime.dicom.character_sets import DEFAULT_CODECS, codecs_of, decode_text
from runtime.dicom.elements import Element
from runtime.dicom.header import Header

SPECIFIC_CHARACTER_SET: Final = 0x00080005

_IDS: Final = frozenset(
    {
        0x00080050,  # AccessionNumber
        0x00100020,  # PatientID
        0x00101000,  # OtherPatientIDs
        0x00101050,  # InsurancePlanIdentification
        0x00101090,  # MedicalRecordLocator
        0x00200010,  # StudyID
        0x00380010,  # AdmissionID
        0x00380060,  # ServiceEpisodeID
        0x00400009,  # ScheduledProcedureStepID
        0x00400253,  # PerformedProcedureStepID
        0x00401001,  # RequestedProcedureID
        0x00402016,  # PlacerOrderNumberImagingServiceRequest
        0x00402017,  # FillerOrderNumberImagingServiceRequest
        0x00102154,  # PatientTelephoneNumbers
        0x00080094,  # ReferringPhysicianTelephoneNumbers
        0x00401103,  # PersonTelephoneNumbers
    }
)
_PLACES: Final = frozenset(
    {
        0x00101040,  # PatientAddress
        0x00080092,  # ReferringPhysicianAddress
        0x00401102,  # PersonAddress
        0x00380300,  # CurrentPatientLocation
        0x00380400,  # PatientInstitutionResidence
    }
)
_INSTITUTIONS: Final = frozenset(
    {
        0x00080080,  # InstitutionName
        0x00080081,  # InstitutionAddress
    }
)
_TEXT_KINDS: Final = {
    **dict.fromkeys(_IDS, "ids"),
    **dict.fromkeys(_PLACES, "places"),
    **dict.fromkeys(_INSTITUTIONS, "institutions"),
}
_KINDS_OF_VR: Final = {"PN": "names", "DA": "dates", "DT": "dates", "UI": "uids"}
_DATE: Final = re.compile(r"\d{8}|\d{4}\.\d\d\.\d\d", re.ASCII)


@dataclass(frozen=True)
class SourceIdentifiers:
    """Values of a header by kind, decoded, single values without padding."""

    names: set[str] = field(default_factory=set)
    """component groups of person names, as in ``Doe^Jane``"""
    ids: set[str] = field(default_factory=set)
    dates: set[str] = field(default_factory=set)
    """eight digits each"""
    places: set[str] = field(default_factory=set)
    institutions: set[str] = field(default_factory=set)
    uids: set[str] = field(default_factory=set)


def collect_identifiers(header: Header, actions: Mapping[int, Action]) -> SourceIdentifiers:
    """Gather the identifiers at every depth of a header.

    Parameters
    ----------
    header
        The source.
    actions
        What the profile does to an attribute. A date or UID identifies only where one is named, as in SOP Class UID
        none is; what the profile keeps is no identifier to it.
    """
    found = SourceIdentifiers()
    pending: list[tuple[list[Element], tuple[str, ...]]] = [(header.data_set.elements, DEFAULT_CODECS)]
    while pending:
        elements, codecs = pending.pop()
        codecs = data_set_codecs(header, elements, codecs)
        for element in elements:
            if element.items:
                pending.extend((item.elements, codecs) for item in element.items)
                continue
            kind = _KINDS_OF_VR.get(element.vr) or _TEXT_KINDS.get(element.tag)
            if kind is None or element.value_start == element.value_stop:
                continue
            action = actions.get(element.tag, Action.REMOVE if kind == "names" else Action.KEEP)
            if action is not Action.KEEP:
                values = _values(header.value(element), kind, codecs)
                getattr(found, kind).update(values)
    return found


def data_set_codecs(header: Header, elements: list[Element], inherited: tuple[str, ...]) -> tuple[str, ...]:
    """Return the codecs of a data set: of its own Specific Character Set, else inherited (DICOM PS3.5 7.5.3)."""
    for element in elements:
        if element.tag >= SPECIFIC_CHARACTER_SET:
            return codecs_of(header.value(element)) if element.tag == SPECIFIC_CHARACTER_SET else inherited
    return inherited


def _values(value: bytes, kind: str, codecs: tuple[str, ...]) -> Iterable[str]:
    if kind == "uids":
        return value.decode("ascii", "replace").strip("\0 ").split("\\")
    text = decode_text(value, codecs, person_name=kind == "names").strip("\0 ")
    if kind == "dates":
        return (date.replace(".", "") for date in _DATE.findall(text))
    separators = r"[\\=]" if kind == "names" else r"\\"
    return filter(None, (part.strip(" ^") for part in re.split(separators, text)))
