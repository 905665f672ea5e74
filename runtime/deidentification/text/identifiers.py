"""What a header reveals about people, and which of its attributes do."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self


class Kind(StrEnum):
    """How a value identifies, and so how it may turn up in free text."""

    PERSON = "person"
    CODE = "code"
    DATE = "date"
    BIRTH_DATE = "birth-date"
    PLACE = "place"


@dataclass(frozen=True, slots=True)
class Identifiers:
    """The identifying values of one header, decoded, of every depth.

    Attributes
    ----------
    people : tuple of str
        PN values, with all their component groups.
    codes : tuple of str
        Identifiers that an institution assigns: PatientID, AccessionNumber, telephone numbers and the like.
    dates, birth_dates : tuple of str
        DA and DT values.
    places : tuple of str
        Institutions, departments, addresses.
    """

    people: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    birth_dates: tuple[str, ...] = ()
    places: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Iterable[tuple[Kind, str]]) -> Self:
        """Collect values by their kind, each distinct one once; backslashes separate values as in DICOM PS3.5 6.4."""
        found: dict[Kind, dict[str, None]] = {kind: {} for kind in Kind}
        for kind, value in values:
            found[kind].update(dict.fromkeys(filter(None, (part.strip(" \0") for part in value.split("\\")))))
        return cls(
            people=tuple(found[Kind.PERSON]),
            codes=tuple(found[Kind.CODE]),
            dates=tuple(found[Kind.DATE]),
            birth_dates=tuple(found[Kind.BIRTH_DATE]),
            places=tuple(found[Kind.PLACE]),
        )


def kind_of(tag: int, vr: str) -> Kind | None:
    """Tell how the values of an attribute identify, if they do: by its VR, or by its tag for codes and places."""
    return _KIND_OF_TAG.get(tag) or _KIND_OF_VR.get(vr)


def parsed_date(value: str) -> datetime.date | None:
    """Return the day of a DA or DT value, ``None`` where it has none."""
    match = re.match(r"(\d{4})[-./]?(\d\d)[-./]?(\d\d)", value)
    try:
        return datetime.date(*map(int, match.groups())) if match else None
    except ValueError:
        return None


_KIND_OF_VR: Final = {"PN": Kind.PERSON, "DA": Kind.DATE, "DT": Kind.DATE}
_CODES: Final = (
    0x00080050,  # AccessionNumber
    0x00080094,  # ReferringPhysicianTelephoneNumbers
    0x00081010,  # StationName
    0x00100020,  # PatientID
    0x00101000,  # OtherPatientIDs
    0x00101090,  # MedicalRecordLocator
    0x00102154,  # PatientTelephoneNumbers
    0x00120040,  # ClinicalTrialSubjectID
    0x00120042,  # ClinicalTrialSubjectReadingID
    0x00181000,  # DeviceSerialNumber
    0x00200010,  # StudyID
    0x00380010,  # AdmissionID
    0x00380060,  # ServiceEpisodeID
    0x00400009,  # ScheduledProcedureStepID
    0x00400253,  # PerformedProcedureStepID
    0x00400512,  # ContainerIdentifier
    0x00400551,  # SpecimenIdentifier
    0x00401001,  # RequestedProcedureID
    0x00401103,  # PersonTelephoneNumbers
    0x00402016,  # PlacerOrderNumberImagingServiceRequest
    0x00402017,  # FillerOrderNumberImagingServiceRequest
)
_PLACES: Final = (
    0x00080080,  # InstitutionName
    0x00080081,  # InstitutionAddress
    0x00080092,  # ReferringPhysicianAddress
    0x00081040,  # InstitutionalDepartmentName
    0x00100021,  # IssuerOfPatientID
    0x00101040,  # PatientAddress
    0x00102152,  # RegionOfResidence
    0x00102299,  # ResponsibleOrganization
    0x00120031,  # ClinicalTrialSiteName
    0x00380300,  # CurrentPatientLocation
    0x00380400,  # PatientInstitutionResidence
    0x00401102,  # PersonAddress
)
_KIND_OF_TAG: Final = {
    0x00100030: Kind.BIRTH_DATE,  # PatientBirthDate
    **dict.fromkeys(_CODES, Kind.CODE),
    **dict.fromkeys(_PLACES, Kind.PLACE),
}
